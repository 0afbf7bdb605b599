//! Checks the installation: what every configuration needs, and what the settings name.
//!
//! The checks are a [table](CHECKS) of small functions over one [`Probe`](probe::Probe): the settings, the target by
//! descriptor and the rest of the system below a root directory, which tests choose. Each check reports what it found,
//! line by line, and what to do about it; a failure does not stop the others. Safe repairs are made on request, and
//! then everything is checked again.
//!
//! Nothing is evaluated, the network is not used, and of other programs only `systemctl` is run.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::exit::Exit;
use crate::fs;
use crate::nix::SyntaxError;
use crate::nix::syntax::Position;
use crate::process::Runner;
use crate::settings::{Env, Settings};

mod adoption;
mod error;
mod findings;
mod flake;
mod machine;
mod permissions;
mod places;
mod preflight;
mod probe;
mod records;
mod repair;
mod syntax;
mod table;

pub use error::Error;
pub use preflight::preflight;
pub use repair::Repair;
pub use table::{CHECKS, Check};

use findings::Findings;
use probe::Probe;

/// The input of a validation.
#[derive(Clone, Copy)]
pub struct CheckContext<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// Search path, homes, Nix's variables.
    pub env: &'a Env,
    /// Runs `systemctl`.
    pub runner: &'a dyn Runner,
    /// The root directory, `/` except in tests: absolute paths of the settings are read below it.
    pub root: &'a Path,
}

/// How many checks are run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    /// All of them.
    #[default]
    All,
    /// Only fast ones.
    Quick,
    /// Fast ones; what a first sync brings is not missed where there is no target yet.
    BeforeSync,
}

/// How thorough a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// How many checks are run.
    pub extent: Extent,
    /// Only checks that work inside the sandboxed unit.
    pub sandboxed: bool,
    /// Repairs what can be repaired safely, and checks again.
    pub fix: bool,
}

/// The worst that a check can find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The system works nevertheless.
    Warning,
    /// A sync or a rebuild would not work, or not be safe.
    Critical,
}

/// How a check, or one line of it, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    /// There was nothing to check, or it cannot be checked.
    Skipped,
    /// No problem.
    Passed,
    /// A warning.
    Warned,
    /// A critical failure.
    Failed,
}

/// The result of a check.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The check.
    pub id: &'static str,
    /// The check's name.
    pub title: &'static str,
    /// The worst it can find.
    pub severity: Severity,
    /// The worst it has found.
    pub status: CheckStatus,
    /// The findings, line by line.
    #[serde(rename = "detail")]
    pub details: Vec<Detail>,
    /// What to do about it.
    #[serde(rename = "hint")]
    pub hints: Vec<String>,
}

/// One line of a check's findings.
#[derive(Debug, Clone, Serialize)]
pub struct Detail {
    /// How this line ended.
    pub status: CheckStatus,
    /// The text.
    pub text: String,
    /// The position in a file, if it is about one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<FilePosition>,
}

/// A place in a text file.
#[derive(Debug, Clone, Serialize)]
pub struct FilePosition {
    /// The file.
    pub path: PathBuf,
    /// Line and column.
    #[serde(flatten)]
    pub position: Position,
    /// The range of bytes.
    #[serde(skip)]
    pub span: Range<usize>,
    /// The file's text.
    #[serde(skip)]
    pub source: Arc<str>,
}

/// A repair that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Repaired {
    /// The check it is for.
    pub id: &'static str,
    /// The repair.
    pub text: String,
    /// Why it failed; `None` if it succeeded.
    pub error: Option<String>,
}

/// The result of all checks.
#[derive(Debug, Clone, Serialize)]
pub struct Validation {
    /// The checks, in the order of the table.
    checks: Vec<Outcome>,
    /// The repairs that were tried first.
    repairs: Vec<Repaired>,
}

/// Runs the checks. Each repair is reported to `announce` before it is made.
pub fn run(
    context: &CheckContext<'_>,
    options: Options,
    announce: &mut dyn FnMut(&Repair),
) -> Validation {
    let probe = Probe::new(context);
    let mut checks = inspect(&probe, options);
    let mut repairs = Vec::new();
    if options.fix {
        for (check, outcome) in CHECKS.iter().zip(&checks) {
            let Some(fix) = check.fix.filter(|_| outcome.status > CheckStatus::Passed) else {
                continue;
            };
            for repair in fix(&probe) {
                announce(&repair);
                repairs.push(Repaired {
                    id: check.id,
                    error: repair.make(&probe).err(),
                    text: repair.to_string(),
                });
            }
        }
        if !repairs.is_empty() {
            checks = inspect(&Probe::new(context), options);
        }
    }
    Validation { checks, repairs }
}

/// The checks that need nothing but the files of a commit: its lock file, and the syntax of its Nix files.
const OF_COMMIT: [&str; 2] = ["flake-lock", "nix-syntax"];

/// The checks of what a first sync brings.
const OF_FIRST_SYNC: [&str; 3] = ["target", "flake", "flake-lock"];

/// Checks the files of a commit apart from any target. The settings have their directory as the target; what is found
/// has their paths in it.
#[must_use]
pub fn of_commit(context: &CheckContext<'_>) -> Vec<Outcome> {
    let probe = Probe::new(context);
    let directory = format!("{}/", context.settings.target.display());
    let checks = CHECKS.iter().filter(|check| OF_COMMIT.contains(&check.id));
    let outcomes = checks.map(|check| check.inspect(&probe, Options::default()));
    let within = |mut outcome: Outcome| {
        for detail in &mut outcome.details {
            detail.text = detail.text.replace(&directory, "");
            if let Some(place) = &mut detail.place
                && let Ok(path) = place.path.strip_prefix(&context.settings.target)
            {
                place.path = path.to_owned();
            }
        }
        outcome
    };
    outcomes.map(within).collect()
}

fn inspect(probe: &Probe<'_>, options: Options) -> Vec<Outcome> {
    CHECKS
        .iter()
        .map(|check| check.inspect(probe, options))
        .collect()
}

impl Check {
    fn inspect(&self, probe: &Probe<'_>, options: Options) -> Outcome {
        let mut findings = Findings::new(self.severity);
        if options.extent != Extent::All && !self.quick {
            findings.skip("left out by `--quick`");
        } else if self.of_rebuild && probe.settings().rebuild.action.is_none() {
            findings.skip("nothing is rebuilt");
        } else if options.extent == Extent::BeforeSync
            && OF_FIRST_SYNC.contains(&self.id)
            && matches!(probe.target, Err(fs::Error::TargetMissing { .. }))
        {
            findings.skip("the first sync brings it");
        } else if options.sandboxed && !self.sandbox_ok {
            findings.skip(
                "cannot be seen from inside the unit's sandbox, and is checked before the rebuild",
            );
        } else {
            (self.run)(probe, &mut findings);
        }
        findings.into_outcome(self)
    }
}

impl Validation {
    /// With other words for what to do.
    #[must_use]
    pub fn with_hints(mut self, change: impl Fn(&str) -> String) -> Self {
        for check in &mut self.checks {
            for hint in &mut check.hints {
                *hint = change(hint);
            }
        }
        self
    }

    /// The result of each check, in the order of the table.
    #[must_use]
    pub fn checks(&self) -> &[Outcome] {
        &self.checks
    }

    /// The repairs that were tried before the last check.
    #[must_use]
    pub fn repairs(&self) -> &[Repaired] {
        &self.repairs
    }

    /// How many checks ended like this.
    #[must_use]
    pub fn count(&self, status: CheckStatus) -> usize {
        self.checks
            .iter()
            .filter(|check| check.status == status)
            .count()
    }

    /// The exit code: critical failures, then warnings unless only failures count.
    #[must_use]
    pub fn exit(&self, fail_on: Severity) -> Exit {
        if self.count(CheckStatus::Failed) > 0 {
            Exit::Failure
        } else if self.count(CheckStatus::Warned) > 0 && fail_on == Severity::Warning {
            Exit::Configuration
        } else {
            Exit::Done
        }
    }

    /// Whether a rebuild may begin: every critical failure stops it.
    pub fn allows_rebuild(&self) -> Result<(), Error> {
        let failed = self
            .checks
            .iter()
            .filter(|check| check.status == CheckStatus::Failed);
        let failed: Vec<_> = failed.map(|check| check.title).collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Error::Critical { failed })
        }
    }
}

impl FilePosition {
    fn of(path: &Path, source: &Arc<str>, error: &SyntaxError) -> Self {
        Self {
            path: path.to_owned(),
            position: error.position,
            span: error.span.clone(),
            source: Arc::clone(source),
        }
    }
}
