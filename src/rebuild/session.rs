//! What all steps of one rebuild share: the request, the machine, the time that is left.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::environment;
use super::error::{Error, RunningSystem, Standing};
use super::machine::Machine;
use super::record::RebuildRecord;
use super::units::Health;
use super::verdict::Verdict;
use super::{RebuildRequest, units};
use crate::process::{Command, End, Environment, Finished, Runner};
use crate::settings::Env;

/// One rebuild.
pub(super) struct RebuildContext<'a> {
    pub(super) request: &'a RebuildRequest<'a>,
    pub(super) machine: &'a Machine,
    pub(super) runner: &'a dyn Runner,
    pub(super) environment: Environment,
    pub(super) is_root: bool,
    begun: Instant,
}

impl<'a> RebuildContext<'a> {
    pub(super) fn new(
        request: &'a RebuildRequest<'a>,
        machine: &'a Machine,
        env: &Env,
        runner: &'a dyn Runner,
    ) -> Self {
        Self {
            request,
            machine,
            runner,
            environment: environment::of(env),
            is_root: env.is_root(),
            begun: Instant::now(),
        }
    }

    /// Where things stand now.
    pub(super) fn standing(&self) -> Standing {
        // The error that is being reported matters more than one of the memory.
        let record = RebuildRecord::load(self.request.state).unwrap_or_default();
        let running = self.machine.systems().current.map(|system| RunningSystem {
            commit: record.commit_of(&system),
            system,
        });
        Standing {
            tree: self.request.commit,
            running: running.map(Box::new),
        }
    }

    /// A program's path.
    pub(super) fn find(&self, program: &'static str) -> Result<PathBuf, Error> {
        self.runner
            .find(program, &self.environment)
            .ok_or_else(|| Error::ProgramMissing {
                program,
                standing: self.standing(),
            })
    }

    /// A program, in the state directory and for the time that is left.
    ///
    /// `nixos-rebuild build` leaves its `result` in the working directory: there it keeps the system from the garbage
    /// collector, and is in nobody's way.
    pub(super) fn command(&self, program: &Path, args: Vec<OsString>) -> Command<'_> {
        Command::new(
            program,
            args,
            &self.environment,
            self.request.state.path(),
            self.left(),
        )
    }

    /// The time that is left of the limit.
    pub(super) fn left(&self) -> Duration {
        self.request
            .settings
            .timeout
            .saturating_sub(self.begun.elapsed())
    }

    /// Whether evaluation may read what is not in the flake.
    pub(super) fn is_impure(&self) -> bool {
        let args = &self.request.settings.extra_args;
        args.iter().any(|arg| arg == "--impure")
    }

    /// How the units are.
    pub(super) fn health(&self) -> Health {
        Health::inspect(self.runner, &self.environment)
    }

    /// The units that have failed since `before`.
    pub(super) fn failed_since(&self, before: &Health) -> BTreeSet<String> {
        Health::failed_since(before, self.runner, &self.environment)
    }

    /// The units that are activating a system.
    pub(super) fn activating(&self) -> Vec<String> {
        units::activating(self.runner, &self.environment)
            .into_iter()
            .collect()
    }

    /// Runs a program to an exit code; being stopped is an error.
    pub(super) fn run(&self, command: &Command<'_>) -> Result<(i32, Finished), Error> {
        let finished = self.runner.run(command).map_err(|source| Error::Spawn {
            program: command.program.clone(),
            source,
            standing: self.standing(),
        })?;
        match finished.end {
            End::Exited(code) => Ok((code, finished)),
            // As a shell reports it.
            End::Killed(signal) => Ok((128 + signal, finished)),
            End::TimedOut => Err(Error::TimedOut {
                after: self.request.settings.timeout,
                activating: self.activating(),
                standing: self.standing(),
            }),
            End::Interrupted => Err(Error::Interrupted {
                activating: self.activating(),
                standing: self.standing(),
            }),
        }
    }

    /// The error of an end that is one.
    pub(super) fn failure(&self, verdict: Verdict, finished: Finished) -> Error {
        let standing = self.standing();
        let end = finished.end;
        let tail = finished.tail;
        match verdict {
            Verdict::RebootNeeded => Error::RebootNeeded { standing },
            Verdict::Busy => Error::Busy {
                unit: None,
                standing,
            },
            Verdict::NotBuilt => Error::Build {
                end,
                tail,
                standing,
            },
            // The last two are no failure; whatever they are called, it was the activation that ended.
            Verdict::NotActivated | Verdict::Done | Verdict::UnitsFailed => Error::Activation {
                action: self.request.settings.action,
                end: end.to_string(),
                tail,
                standing,
            },
        }
    }
}
