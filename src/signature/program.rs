//! Runs `ssh-keygen` and `gpgv` with a fixed environment, in a private directory.
//!
//! They read files that we wrote, never the caller's home, agent or configuration. The time zone is the system's, which
//! applies to the times in `allowed_signers`, and not the caller's.

#![expect(
    clippy::disallowed_methods,
    reason = "writes and opens the input of the programs, in a private directory"
)]

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use super::Error;
use crate::process::Interrupt;
use crate::process::{Command, End, Environment, Finished, Output, Runner as _, SystemRunner};
use crate::settings::Env;

/// One check takes milliseconds, and a second on the slowest machine with the largest keyring.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// They have nothing to clean up.
const GRACE: Duration = Duration::from_secs(1);

/// What to install for a program.
pub(super) fn package(program: &str) -> &'static str {
    match program {
        super::openpgp::PROGRAM => "part of GnuPG",
        _ => "part of OpenSSH",
    }
}

/// How the programs are run.
#[derive(Debug)]
pub(super) struct Programs {
    environment: Environment,
    interrupt: Interrupt,
    /// The time limit of one program.
    pub(super) time_limit: Duration,
}

impl Programs {
    pub(super) fn new(env: &Env, interrupt: &Interrupt) -> Self {
        Self {
            environment: Environment::new(env, &[]).with("LC_ALL", "C"),
            interrupt: interrupt.clone(),
            time_limit: TIME_LIMIT,
        }
    }
}

/// The directory of one check and its programs.
pub(super) struct Workplace<'a> {
    /// The directory with their files.
    pub(super) directory: &'a Path,
    pub(super) programs: &'a Programs,
}

impl Workplace<'_> {
    /// Writes a file.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.directory.join(name);
        fs::write(&path, content).map_err(|source| Error::Scratch { path, source })
    }

    /// Runs a program to its end, with the file `input` of the directory as its standard input.
    pub(super) fn run(
        &self,
        program: &'static str,
        args: &[&str],
        input: Option<&str>,
    ) -> Result<Finished, Error> {
        let input = input.map(|name| {
            let path = self.directory.join(name);
            File::open(&path).map_err(|source| Error::Scratch { path, source })
        });
        let input = input.transpose()?;
        let Programs {
            environment,
            interrupt,
            time_limit,
        } = self.programs;
        let environment = environment
            .clone()
            .with("HOME", self.directory)
            .with("GNUPGHOME", self.directory);
        let failed = |source| Error::Program { program, source };
        let path = environment.search().require(program).map_err(failed)?;
        let mut command = Command::new(path, args, &environment, self.directory, *time_limit)
            .output(Output::Quiet);
        command.input = input.as_ref();
        let runner = SystemRunner::new(interrupt.clone(), |_| ()).grace(GRACE);
        let finished = runner.run(&command).map_err(failed)?;
        match finished.end {
            End::Exited(_) => Ok(finished),
            End::Interrupted => Err(Error::Interrupted),
            end @ (End::Killed(_) | End::TimedOut) => Err(Error::Unfinished { program, end }),
        }
    }
}
