//! The errors of the health checks.

use miette::Diagnostic;

use super::HealthReport;
use crate::exit::Exit;
use crate::text;

/// The machine is not healthy, or the checks were interrupted.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// Checks failed until the time limit was over.
    #[error("{}", unhealthy(.report))]
    #[diagnostic(
        code(hyper_sync::health::unhealthy),
        help(
            "correct the cause, or the checks in the section `[health]` of the configuration file, and run `hyper-sync health` again; nothing was written"
        )
    )]
    Unhealthy {
        /// The results of all checks.
        report: HealthReport,
    },
    /// A signal interrupted the checks.
    #[error("stopped before all health checks were done")]
    #[diagnostic(
        code(hyper_sync::health::interrupted),
        help("run `hyper-sync health` again; nothing was written")
    )]
    Interrupted,
}

impl Error {
    /// The exit code of a run that ends with this error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unhealthy { .. } => Exit::Failure,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

fn unhealthy(report: &HealthReport) -> String {
    let failed = report.checks.iter().filter(|check| !check.passed);
    // The report itself says why.
    let failed: Vec<&str> = failed.map(|check| check.name.as_str()).collect();
    format!(
        "{} of {} health checks failed: {}",
        failed.len(),
        report.checks.len(),
        text::list(failed)
    )
}
