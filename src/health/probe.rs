//! One try of a check.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::fmt::friendly::SpanPrinter;
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use super::systemd::{Systemctl, is_absent, property};
use super::{Baseline, HealthContext};
use crate::git::CommitId;
use crate::process::{Command, End, Environment, Output};
use crate::settings::{HealthCheck, Limits, Probe, Settings};
use crate::source::http::{self, Client, Request};
use crate::source::{self, Opening};
use crate::text::with_causes;

/// How many of the last lines of a program's output are kept.
const LINES: usize = 10;
/// For how many units the last lines are shown.
const UNITS: usize = 5;
/// How often a wait checks for a signal.
const TICK: Duration = Duration::from_millis(100);
/// A reference that need not exist: the check only tests whether the server responds.
const ANY_REF: &str = "HEAD";

/// The result of a try.
pub(super) enum Attempt {
    Passed,
    Failed(Failure),
    /// A signal interrupted it.
    Interrupted,
}

/// Why a try failed.
pub(super) struct Failure {
    /// In one line.
    pub(super) cause: String,
    /// The last lines of output.
    pub(super) lines: Vec<String>,
    /// Whether another try would fail too.
    pub(super) is_final: bool,
}

impl Attempt {
    pub(super) fn failed(cause: impl Into<String>) -> Self {
        Self::with_lines(cause, Vec::new())
    }

    /// A failure that no other try changes.
    pub(super) fn impossible(cause: impl Into<String>) -> Self {
        Self::Failed(Failure {
            cause: cause.into(),
            lines: Vec::new(),
            is_final: true,
        })
    }

    /// A query of systemd that failed.
    fn unanswered(cause: String) -> Self {
        if is_absent(&cause) {
            Self::impossible(cause)
        } else {
            Self::failed(cause)
        }
    }

    fn with_lines(cause: impl Into<String>, lines: Vec<String>) -> Self {
        Self::Failed(Failure {
            cause: cause.into(),
            lines,
            is_final: false,
        })
    }
}

/// An error of a request to a host.
impl From<source::Error> for Attempt {
    fn from(error: source::Error) -> Self {
        match error {
            source::Error::Interrupted => Self::Interrupted,
            error => Self::failed(with_causes(&error)),
        }
    }
}

/// The input of every try.
pub(super) struct ProbeContext<'a> {
    pub(super) context: &'a HealthContext<'a>,
    pub(super) environment: &'a Environment,
}

impl ProbeContext<'_> {
    fn systemctl(&self) -> Systemctl<'_> {
        Systemctl {
            runner: self.context.runner,
            environment: self.environment,
        }
    }

    /// A check of the settings.
    pub(super) fn check(&self, check: &HealthCheck) -> Attempt {
        match &check.probe {
            Probe::Command(command) => self.command(command, check.timeout),
            Probe::Url { url, status } => self.url(url, *status, check.timeout),
            Probe::Tcp { host, port } => self.tcp(host, *port, check.timeout),
            Probe::Unit(unit) => self.unit(unit),
        }
    }

    /// Whether a program ends with exit code 0.
    fn command(&self, command: &[String], timeout: Duration) -> Attempt {
        let Some((name, args)) = command.split_first() else {
            return Attempt::failed("no program is given");
        };
        let runner = self.context.runner;
        let program = match runner.locate(name, self.environment) {
            Ok(program) => program,
            Err(cause) => return Attempt::impossible(cause),
        };
        let command = Command::new(program, args, self.environment, "/".as_ref(), timeout);
        let finished = match runner.run(&command.output(Output::Quiet)) {
            Ok(finished) => finished,
            Err(error) => return Attempt::failed(format!("`{name}` cannot be run: {error}")),
        };
        let cause = match finished.end {
            End::Exited(0) => return Attempt::Passed,
            End::Interrupted => return Attempt::Interrupted,
            End::TimedOut => format!("no end after {}", shown(timeout)),
            end @ (End::Exited(_) | End::Killed(_)) => end.to_string(),
        };
        let answer = finished.text();
        let printed: Vec<&str> = answer.lines().chain(finished.tail.lines()).collect();
        let last = &printed[printed.len().saturating_sub(LINES)..];
        Attempt::with_lines(cause, last.iter().map(|&line| line.to_owned()).collect())
    }

    /// Whether an address responds with the expected status. Its body is not read, and redirects are not followed.
    fn url(&self, url: &str, expected: Option<u16>, timeout: Duration) -> Attempt {
        let status = match self
            .client(timeout)
            .and_then(|client| client.status(&Request::get(http::url(url)?)))
        {
            Ok(status) => status.as_u16(),
            Err(error) => return error.into(),
        };
        match expected {
            Some(expected) if status == expected => Attempt::Passed,
            Some(expected) => Attempt::failed(format!("status {status} instead of {expected}")),
            None if (200..400).contains(&status) => Attempt::Passed,
            None => Attempt::failed(format!("status {status} instead of 2xx or 3xx")),
        }
    }

    fn client(&self, timeout: Duration) -> Result<Client, source::Error> {
        let settings = self.context.settings;
        let ca_file = settings.ca_file.as_deref();
        let options = http::Options::new(ca_file, settings.limits, self.context.env);
        Client::new(options.within(timeout), self.context.interrupt.clone())
    }

    /// Whether a port accepts a connection, at any address of the host.
    fn tcp(&self, host: &str, port: u16, timeout: Duration) -> Attempt {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return Attempt::failed(error.to_string()),
        };
        let end = Instant::now() + timeout;
        let attempt = runtime.block_on(async {
            let mut connection = std::pin::pin!(TcpStream::connect((host, port)));
            loop {
                if self.context.interrupt.load(Ordering::Relaxed) {
                    return Attempt::Interrupted;
                }
                let left = end.saturating_duration_since(Instant::now());
                match tokio::time::timeout(left.min(TICK), &mut connection).await {
                    Ok(Ok(_)) => return Attempt::Passed,
                    Ok(Err(error)) => return Attempt::failed(error.to_string()),
                    Err(_) if Instant::now() >= end => {
                        return Attempt::failed(format!("no connection after {}", shown(timeout)));
                    }
                    Err(_) => {}
                }
            }
        });
        // A name lookup that hangs is abandoned.
        runtime.shutdown_background();
        attempt
    }

    /// Whether a unit is active.
    fn unit(&self, unit: &str) -> Attempt {
        let systemctl = self.systemctl();
        let show = [
            "show",
            "--property=LoadState,ActiveState,SubState,Result",
            "--no-pager",
            "--",
            unit,
        ];
        let answer = match systemctl.ask(&show) {
            Ok(answer) => answer,
            Err(cause) => return Attempt::unanswered(cause),
        };
        let value = |name| property(&answer, name).unwrap_or("unknown");
        let state = value("ActiveState");
        if matches!(state, "active" | "reloading" | "refreshing") {
            return Attempt::Passed;
        }
        let cause = match (value("LoadState"), value("Result")) {
            ("loaded", "success" | "unknown") => {
                format!("`{unit}` is {state} ({})", value("SubState"))
            }
            ("loaded", result) => format!("`{unit}` is {state} ({result})"),
            (load, _) => format!("`{unit}` is {state}: {load}"),
        };
        Attempt::with_lines(cause, systemctl.last_lines(unit))
    }

    /// Whether the repository can be reached. The response is not stored.
    pub(super) fn remote(&self) -> Attempt {
        let HealthContext {
            settings,
            env,
            interrupt,
            ..
        } = *self.context;
        let timeout = settings.health.timeout;
        let settings = Settings {
            limits: within(settings.limits, timeout),
            ..settings.clone()
        };
        let opening = Opening {
            env,
            interrupt,
            state: None,
            known: None,
            meter: Arc::default(),
            force_full: false,
        };
        let repo = match settings.repository() {
            Ok(repo) => repo,
            Err(error) => return Attempt::failed(error.to_string()),
        };
        let source = match source::open(repo, &settings, &opening) {
            Ok(source) => source,
            Err(error) => return error.into(),
        };
        // A commit id is resolved without a request.
        let is_pinned = settings.reference.parse::<CommitId>().is_ok();
        let name = if is_pinned {
            ANY_REF
        } else {
            &settings.reference
        };
        match source.resolve(name) {
            Ok(_) => Attempt::Passed,
            Err(source::Error::UnknownRef { .. }) if is_pinned => Attempt::Passed,
            Err(error) => error.into(),
        }
    }

    /// Whether no unit has failed that had not failed before.
    pub(super) fn units(&self, baseline: &Baseline) -> Attempt {
        let runner = self.context.runner;
        let failed = match baseline.failed_since(runner, self.environment) {
            Ok(failed) if failed.is_empty() => return Attempt::Passed,
            Ok(failed) => failed,
            Err(cause) if is_absent(&cause) => {
                return Attempt::impossible(format!(
                    "{cause}, so no unit can be checked; `health.units = false` leaves this check out"
                ));
            }
            Err(cause) => return Attempt::failed(cause),
        };
        let mut lines = Vec::new();
        for unit in failed.iter().take(UNITS) {
            let printed = self.systemctl().last_lines(unit);
            lines.extend(printed.into_iter().map(|line| format!("{unit}: {line}")));
        }
        let cause = format!("failed: {}", crate::text::list(&failed));
        Attempt::with_lines(cause, lines)
    }
}

/// A time as the settings have it.
fn shown(time: Duration) -> String {
    SpanPrinter::new().unsigned_duration_to_string(&time)
}

/// The limits of a request with this time limit.
fn within(limits: Limits, timeout: Duration) -> Limits {
    Limits {
        time: timeout,
        ..limits
    }
}
