//! `[hooks]`: a program and an address that get the report of a run.
//!
//! For what hyper-sync does not do itself, as reloading a server after its files have changed, or notifying somebody. A
//! hook gets the document that `--json` prints, with the field `event`. It cannot change how the run ends: what it does
//! wrong is a warning. There is no shell.
//!
//! Limits: a program has a minute, and so has the request. A hook in the sandbox of a unit can do what the unit can.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use serde::Serialize;

use crate::health;
use crate::process::{Command, Runner};
use crate::settings::{Env, Settings};
use crate::source::Interrupt;
use crate::source::http::{self, Client, Request};
use crate::text::with_causes;

/// The time limit of a hook.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookEvent {
    /// Files of the target, or the system.
    Changed,
    /// The run failed.
    Failed,
}

/// The input of the hooks.
#[derive(Clone, Copy)]
pub struct HookContext<'a> {
    /// All settings.
    pub settings: &'a Settings,
    /// The caller's environment.
    pub env: &'a Env,
    /// Runs programs.
    pub runner: &'a dyn Runner,
    /// Set by a signal.
    pub interrupt: &'a Interrupt,
}

/// A hook that did not succeed.
#[derive(Debug)]
pub struct HookFailure {
    name: String,
    cause: String,
}

impl fmt::Display for HookFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hook `{}` failed: {}", self.name, self.cause)
    }
}

/// Runs the hooks of an event, and returns those that failed.
#[must_use]
pub fn run(context: HookContext<'_>, event: HookEvent, report: &str) -> Vec<HookFailure> {
    let hooks = &context.settings.hooks;
    let (name, program) = match event {
        HookEvent::Changed => ("hooks.changed", &hooks.changed),
        HookEvent::Failed => ("hooks.failed", &hooks.failed),
    };
    let mut failures = Vec::new();
    let mut record = |name: &str, result: Result<(), String>| {
        failures.extend(result.err().map(|cause| HookFailure {
            name: name.to_owned(),
            cause,
        }));
    };
    if let Some((program, args)) = program.split_first() {
        record(name, execute(context, program, args, report));
    }
    if let Some(url) = &hooks.url {
        record("hooks.url", send(context, url, report));
    }
    failures
}

fn execute(
    context: HookContext<'_>,
    program: &str,
    args: &[String],
    report: &str,
) -> Result<(), String> {
    let environment = health::environment(context.env);
    let path = context.runner.locate(program, &environment)?;
    let input = input(report).map_err(|error| error.to_string())?;
    let mut command = Command::new(path, args, &environment, "/".as_ref(), TIMEOUT);
    command.input = Some(&input);
    match context.runner.run(&command) {
        Ok(finished) if finished.end.is_success() => Ok(()),
        Ok(finished) => Err(finished.end.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// A file without a name, which a program may read or not: a pipe that nobody reads would block us.
fn input(report: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("report", MemfdFlags::CLOEXEC)?);
    file.write_all(report.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

fn send(context: HookContext<'_>, url: &str, report: &str) -> Result<(), String> {
    let settings = context.settings;
    let ca_file = settings.ca_file.as_deref();
    let options = http::Options::new(ca_file, settings.limits, context.env).within(TIMEOUT);
    let status = Client::new(options, context.interrupt.clone()).and_then(|client| {
        let body = report.as_bytes().to_vec();
        client.status(&Request::post(http::url(url)?, "application/json", body))
    });
    match status {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(format!("status {}", status.as_u16())),
        Err(error) => Err(with_causes(&error)),
    }
}
