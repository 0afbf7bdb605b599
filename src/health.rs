//! Checks whether this machine is healthy: the checks of `[health]`, one after the other.
//!
//! First the checks of the settings in the order of their names, then `remote`, and `units` last, so that a unit that
//! fails late is seen. A check that fails is retried until the common time limit is over; each is tried at least
//! once, and each is in the report. A check that has passed is not repeated.
//!
//! Limits: the checks run while the machine works, and detect only what they test. A unit that fails after the last try
//! is not detected. A try that has begun may exceed the common time limit by its own.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::process::{Environment, Runner};
use crate::settings::{Env, Probe, Settings};
use crate::source::Interrupt;
use crate::text;

mod error;
mod probe;
pub(crate) mod systemd;
mod units;

pub use error::Error;
pub use units::Baseline;

use probe::{Attempt, ProbeContext};

/// The first pause before another try; each later one is twice as long.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// The variables that the programs of checks inherit: for network access, and for the language.
const PASSED: &[&str] = &[
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LOCALE_ARCHIVE",
    "NIX_SSL_CERT_FILE",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "TZ",
    "TZDIR",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// The input of the checks.
#[derive(Clone, Copy)]
pub struct HealthContext<'a> {
    /// The settings: `health`, and for `remote` those of the repository.
    pub settings: &'a Settings,
    /// The caller's environment.
    pub env: &'a Env,
    /// Runs programs and waits.
    pub runner: &'a dyn Runner,
    /// Set by a signal.
    pub interrupt: &'a Interrupt,
    /// Is told of each wait for another try.
    pub waits: &'a dyn Fn(&Wait<'_>),
}

/// A check has failed, and is tried again after a pause.
#[derive(Debug, Clone, Copy)]
pub struct Wait<'a> {
    /// Its name.
    pub name: &'a str,
    /// How often it was tried.
    pub tries: u32,
    /// The time that all checks have taken together.
    pub spent: Duration,
    /// The time that they may take.
    pub within: Duration,
}

/// The results of all checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Each check, in the order in which they were done.
    pub checks: Vec<CheckResult>,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// Its name.
    pub name: String,
    /// The kind of the check.
    pub kind: CheckKind,
    /// Whether the last try passed.
    pub passed: bool,
    /// How often it was tried.
    pub tries: u32,
    /// How long all tries took, including the pauses.
    pub seconds: u64,
    /// Why the last try failed, in one line.
    pub cause: Option<String>,
    /// The last lines of output of the program or of the failed units.
    pub lines: Vec<String>,
}

/// The kind of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// A program.
    Command,
    /// An HTTP address.
    Url,
    /// A port.
    Tcp,
    /// One unit.
    Unit,
    /// The repository.
    Remote,
    /// All units.
    Units,
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl From<&Probe> for CheckKind {
    fn from(probe: &Probe) -> Self {
        match probe {
            Probe::Command(_) => Self::Command,
            Probe::Url { .. } => Self::Url,
            Probe::Tcp { .. } => Self::Tcp,
            Probe::Unit(_) => Self::Unit,
        }
    }
}

/// A check that failed, as a part of an error.
impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.cause.as_deref().unwrap_or("failed");
        write!(f, "`{}`: {}", text::name(&self.name), text::words(cause))
    }
}

impl std::error::Error for CheckResult {}

impl miette::Diagnostic for CheckResult {
    /// The last lines that were printed.
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        if self.lines.is_empty() {
            return None;
        }
        let lines: Vec<String> = self.lines.iter().map(text::words).collect();
        Some(Box::new(format!("it has printed: {}", lines.join("; "))))
    }
}

impl HealthReport {
    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &CheckResult> {
        self.checks.iter().filter(|check| !check.passed)
    }

    /// Whether every check passed.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// The report, or an error if the machine is not healthy.
    pub fn into_result(self) -> Result<Self, Error> {
        if self.is_healthy() {
            Ok(self)
        } else {
            Err(Error::Unhealthy { report: self })
        }
    }
}

/// Runs every check. A unit that had already failed in the baseline does not fail the check `units`.
///
/// Failures are in the report; the only error is an interrupt by a signal.
pub fn run(context: &HealthContext<'_>, baseline: &Baseline) -> Result<HealthReport, Error> {
    let health = &context.settings.health;
    let environment = environment(context.env);
    let probe = ProbeContext {
        context,
        environment: &environment,
    };
    let mut tries = Tries {
        runner: context.runner,
        waits: context.waits,
        within: health.within,
        spent: Duration::ZERO,
    };
    let mut checks = Vec::new();
    for check in &health.checks {
        let kind = CheckKind::from(&check.probe);
        checks.push(tries.of(&check.name, kind, || probe.check(check))?);
    }
    if health.remote {
        checks.push(tries.of("remote", CheckKind::Remote, || probe.remote())?);
    }
    if health.units {
        checks.push(tries.of("units", CheckKind::Units, || probe.units(baseline))?);
    }
    Ok(HealthReport { checks })
}

/// What programs of checks, and systemd's, get of the caller's environment.
#[must_use]
pub fn environment(env: &Env) -> Environment {
    Environment::new(env, PASSED).with_home(env)
}

/// The tries of all checks, and the time that they have taken together.
///
/// A pause counts with its requested length, so that the number of tries does not depend on the runner's clock.
struct Tries<'a> {
    runner: &'a dyn Runner,
    waits: &'a dyn Fn(&Wait<'_>),
    within: Duration,
    spent: Duration,
}

impl Tries<'_> {
    /// Tries one check until it passes or the time is over.
    fn of(
        &mut self,
        name: &str,
        kind: CheckKind,
        mut attempt: impl FnMut() -> Attempt,
    ) -> Result<CheckResult, Error> {
        let before = self.spent;
        let mut pause = PAUSE;
        let mut tries = 0;
        let failure = loop {
            tries += 1;
            let begun = Instant::now();
            let attempt = attempt();
            self.spent += begun.elapsed();
            let failure = match attempt {
                Attempt::Passed => break None,
                Attempt::Interrupted => return Err(Error::Interrupted),
                Attempt::Failed(failure) => failure,
            };
            if failure.is_final || self.spent + pause >= self.within {
                break Some(failure);
            }
            (self.waits)(&Wait {
                name,
                tries,
                spent: self.spent,
                within: self.within,
            });
            if !self.runner.pause(pause) {
                return Err(Error::Interrupted);
            }
            self.spent += pause;
            pause = (2 * pause).min(PAUSE_MAX);
        };
        let passed = failure.is_none();
        let (cause, lines) = failure.map_or((None, Vec::new()), |failure| {
            (Some(failure.cause), failure.lines)
        });
        Ok(CheckResult {
            name: name.to_owned(),
            kind,
            passed,
            tries,
            seconds: self.spent.saturating_sub(before).as_secs(),
            cause,
            lines,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;

    use super::*;
    use crate::process::{Command, Finished};

    /// Notes the pauses, and is stopped in the one of this number.
    struct Pauses {
        taken: RefCell<Vec<u64>>,
        stopped_in: usize,
    }

    impl Pauses {
        fn new(stopped_in: usize) -> Self {
            Self {
                taken: RefCell::default(),
                stopped_in,
            }
        }
    }

    impl Runner for Pauses {
        fn run(&self, _: &Command<'_>) -> io::Result<Finished> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn pause(&self, time: Duration) -> bool {
            let mut taken = self.taken.borrow_mut();
            taken.push(time.as_secs());
            taken.len() != self.stopped_in
        }
    }

    fn failed(cause: &str) -> Attempt {
        Attempt::failed(cause)
    }

    fn tries(runner: &Pauses) -> Tries<'_> {
        Tries {
            runner,
            waits: &|_| (),
            within: Duration::from_secs(60),
            spent: Duration::ZERO,
        }
    }

    #[test]
    fn a_check_is_tried_again_until_it_passes() {
        let runner = Pauses::new(0);
        let mut causes = vec![failed("one"), failed("two")];
        let result = tries(&runner)
            .of("web", CheckKind::Url, || {
                causes.pop().unwrap_or(Attempt::Passed)
            })
            .unwrap();
        assert!(result.passed && result.cause.is_none());
        assert_eq!((result.tries, result.seconds), (3, 6));
        assert_eq!(*runner.taken.borrow(), [2, 4]);
    }

    #[test]
    fn each_wait_is_told_and_a_failure_that_stays_is_not_tried_again() {
        let runner = Pauses::new(0);
        let told = RefCell::new(Vec::new());
        let waits = |wait: &Wait<'_>| {
            let seconds = wait.spent.as_secs();
            told.borrow_mut()
                .push((wait.name.to_owned(), wait.tries, seconds));
        };
        let mut tries = Tries {
            waits: &waits,
            ..tries(&runner)
        };
        let mut causes = vec![failed("one"), failed("two")];
        let mut attempt = || causes.pop().unwrap_or(Attempt::Passed);
        let _ = tries.of("web", CheckKind::Url, &mut attempt).unwrap();
        let name = || "web".to_owned();
        assert_eq!(*told.borrow(), [(name(), 1, 0), (name(), 2, 2)]);
        let absent = || Attempt::impossible("systemd does not run here");
        let result = tries.of("units", CheckKind::Units, absent).unwrap();
        assert_eq!((result.passed, result.tries), (false, 1));
        assert_eq!(told.borrow().len(), 2);
    }

    #[test]
    fn all_checks_share_the_time_and_each_has_a_try() {
        let runner = Pauses::new(0);
        let mut tries = tries(&runner);
        let first = tries.of("a", CheckKind::Tcp, || failed("closed")).unwrap();
        assert_eq!((first.passed, first.tries, first.seconds), (false, 7, 59));
        assert_eq!(*runner.taken.borrow(), [2, 4, 8, 15, 15, 15]);
        assert_eq!(first.cause.as_deref(), Some("closed"));
        let second = tries.of("b", CheckKind::Tcp, || failed("closed")).unwrap();
        assert_eq!((second.passed, second.tries), (false, 1));
        let third = tries.of("c", CheckKind::Tcp, || Attempt::Passed).unwrap();
        assert!(third.passed);
    }

    #[test]
    fn a_signal_ends_the_checks_in_a_pause_and_in_a_try() {
        let runner = Pauses::new(2);
        let stopped = tries(&runner).of("a", CheckKind::Tcp, || failed("closed"));
        assert!(matches!(stopped, Err(Error::Interrupted)));
        let stopped = tries(&runner).of("a", CheckKind::Tcp, || Attempt::Interrupted);
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}
