//! `hyper-sync health`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::watch::WaitView;
use super::{CliCommand, Run};
use crate::Error;
use crate::exit::Exit;
use crate::health::{self, Baseline, HealthContext, HealthReport};
use crate::process::SystemRunner;
use crate::rebuild::{Machine, RebuildRecord};
use crate::report::{self, OutputFormat};
use crate::settings::Settings;
use crate::state::StateDir;

/// Run the health checks of this machine
///
/// The checks are those of the section `[health]`: programs, addresses, ports and units of your own, whether the
/// repository is reached, and whether no unit has failed that had not failed before the running system was activated.
/// A check that fails is tried again until `health.within` is over. Exit code 0: all passed; 1: one has failed, and
/// every result is printed.
#[derive(Args)]
pub(super) struct Arguments {}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    healthy: bool,
    #[serde(flatten)]
    report: &'a HealthReport,
}

/// How long the program of a check may take to end once its time is over.
const GRACE: Duration = Duration::from_secs(5);

impl CliCommand for Arguments {
    /// It is also about the machine.
    fn needs_target(&self) -> bool {
        false
    }

    fn may_change(&self) -> bool {
        false
    }

    /// Takes no lock and writes nothing, so it can run during an update.
    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let runner = SystemRunner::new(run.interrupt.clone(), report::pass_through()).grace(GRACE);
        let report = {
            let view = WaitView::new(run.report);
            let context = HealthContext {
                settings,
                env: run.env,
                runner: &runner,
                interrupt: run.interrupt,
                waits: &|wait| view.show(wait),
            };
            health::run(&context, &baseline(settings)?)?
        };
        match run.report.format() {
            OutputFormat::Human => {
                report::health::human(run.report, &report);
                report.into_result()?;
                Ok(Exit::Done)
            }
            OutputFormat::Json => {
                let healthy = report.is_healthy();
                run.report.json(&Document {
                    healthy,
                    report: &report,
                });
                Ok(if healthy { Exit::Done } else { Exit::Failure })
            }
        }
    }
}

/// The units that had failed before the running system was activated; none if they were not recorded.
fn baseline(settings: &Settings) -> Result<Baseline, Error> {
    let Some(state) = StateDir::find(&settings.state_dir, &settings.target)? else {
        return Ok(Baseline::default());
    };
    let record = RebuildRecord::load(&state)?;
    let running = Machine::here().systems().current;
    let failed = running
        .as_deref()
        .and_then(|system| record.failed_before(system));
    Ok(Baseline::of(failed.unwrap_or_default().iter().cloned()))
}
