//! The hosts of a flake in a directory that is no target: evaluated and built, and never activated.
//!
//! A host is evaluated to its derivation, and that is built, so that each step has a time and an error of its own. The
//! flake is locked as it is: an input that is not locked is taken as it is now, as a rebuild does, and nothing is
//! written into the directory.
//!
//! Limits: only the `--option`s and `--impure` of `rebuild.extra_args` are used. Between both steps the derivation is
//! not kept from Nix's garbage collector.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::environment;
use super::error::ErrorKind;
use super::flake::{FLAKE, HOSTS, path_reference};
use super::machine;
use super::output::{Verdict, error_message};
use super::pinned::nix_options;
use super::revision;
use crate::git::Commit;
use crate::process::{Command, End, Environment, Finished, Output, Runner};
use crate::settings::{Action, Env, Rebuild};

/// A flake whose hosts are evaluated and built.
pub struct HostBuilder<'a> {
    runner: &'a (dyn Runner + Sync),
    environment: Environment,
    nix: PathBuf,
    /// The working directory of Nix.
    directory: &'a Path,
    /// The flake, for Nix.
    reference: String,
    /// The arguments of every evaluation.
    options: Vec<OsString>,
    timeout: Duration,
    output: Output,
}

/// A step for a host that Nix did not do.
#[derive(Debug)]
pub struct HostFailure {
    /// Why, in one line.
    pub message: String,
    /// The end of what Nix printed.
    pub log: String,
    /// Whether a signal stopped it.
    pub is_interrupted: bool,
}

/// The flake that is to be built.
pub struct FlakeTree<'a> {
    /// The directory of the files.
    pub path: &'a Path,
    /// The directory of the flake in it; empty for itself.
    pub inside: &'a Path,
    /// The commit of which Nix is given the id, if the directory is exactly that.
    pub commit: Option<&'a Commit>,
}

impl<'a> HostBuilder<'a> {
    /// Finds Nix and the flake. With `verbose`, what Nix prints is shown as it comes, with traces of errors.
    pub fn new(
        tree: &FlakeTree<'a>,
        settings: &Rebuild,
        verbose: bool,
        env: &Env,
        runner: &'a (dyn Runner + Sync),
    ) -> Result<Self, ErrorKind> {
        let nix = Self::find_nix(env, runner)?;
        let environment = environment(env);
        let file = tree.inside.join(FLAKE);
        if !machine::exists(&tree.path.join(&file)) {
            return Err(ErrorKind::FlakeMissing { path: file });
        }
        let revision = tree
            .commit
            .and_then(|commit| revision::of_tree(tree.path, commit));
        let inside = Some(tree.inside).filter(|inside| !inside.as_os_str().is_empty());
        let reference = path_reference(tree.path, inside, revision.as_ref());
        let mut options: Vec<OsString> = vec!["--no-write-lock-file".into()];
        // Nix's cache does not distinguish commits with the same tree and time.
        options.extend(["--option", "eval-cache", "false"].map(Into::into));
        if settings.extra_args.iter().any(|arg| arg == "--impure") {
            options.push("--impure".into());
        }
        if verbose {
            options.push("--show-trace".into());
        }
        options.extend(nix_options(&settings.extra_args));
        Ok(Self {
            runner,
            environment,
            nix,
            directory: tree.path,
            reference,
            options,
            timeout: settings.timeout,
            output: if verbose {
                Output::Answer
            } else {
                Output::Quiet
            },
        })
    }

    /// The path of Nix.
    pub fn find_nix(env: &Env, runner: &dyn Runner) -> Result<PathBuf, ErrorKind> {
        let nix = runner.find("nix", &environment(env));
        nix.ok_or(ErrorKind::ProgramMissing { program: "nix" })
    }

    /// The names in `nixosConfigurations`.
    pub fn names(&self) -> Result<Vec<String>, HostFailure> {
        let finished = self.evaluate(&["--json", "--apply", "builtins.attrNames"], HOSTS)?;
        serde_json::from_slice(&finished.answer).map_err(|error| HostFailure {
            message: format!("Nix printed no list of names: {error}"),
            log: finished.tail,
            is_interrupted: false,
        })
    }

    /// The derivation of a host's system.
    pub fn derivation(&self, host: &str) -> Result<String, HostFailure> {
        let attribute = format!("{HOSTS}.\"{host}\".config.system.build.toplevel.drvPath");
        let finished = self.evaluate(&["--raw"], &attribute)?;
        Ok(finished.text().trim().to_owned())
    }

    /// Builds a derivation; returns the path of the system.
    pub fn build(&self, derivation: &str) -> Result<PathBuf, HostFailure> {
        let mut args: Vec<OsString> = ["build", "--no-link", "--print-out-paths"]
            .map(Into::into)
            .to_vec();
        args.push(format!("{derivation}^out").into());
        let finished = self.run(args)?;
        Ok(PathBuf::from(finished.text().trim()))
    }

    fn evaluate(&self, how: &[&str], attribute: &str) -> Result<Finished, HostFailure> {
        let mut args: Vec<OsString> = vec!["eval".into()];
        args.extend(how.iter().map(Into::into));
        args.extend(self.options.iter().cloned());
        args.push(format!("{}#{attribute}", self.reference).into());
        self.run(args)
    }

    fn run(&self, args: Vec<OsString>) -> Result<Finished, HostFailure> {
        let command = Command::new(
            &self.nix,
            args,
            &self.environment,
            self.directory,
            self.timeout,
        );
        let failed = |message: String, log: String| HostFailure {
            message,
            log,
            is_interrupted: false,
        };
        match self.runner.run(&command.output(self.output)) {
            Ok(finished) if finished.end.is_success() => Ok(finished),
            Ok(finished) => Err(HostFailure::of(finished)),
            Err(error) => Err(failed(
                format!("`nix` cannot be run: {error}"),
                String::new(),
            )),
        }
    }
}

impl HostFailure {
    fn of(finished: Finished) -> Self {
        let (end, log) = (finished.end, finished.tail.clone());
        let message = match end {
            End::TimedOut => "it exceeded `rebuild.timeout`".to_owned(),
            End::Interrupted => "it was stopped".to_owned(),
            End::Exited(_) | End::Killed(_) => {
                match Verdict::NotBuilt.into_error(Action::Build, finished) {
                    ErrorKind::OutOfMemory { .. } => {
                        format!("{end}, probably for lack of memory")
                    }
                    _ => error_message(&log).unwrap_or_else(|| end.to_string()),
                }
            }
        };
        Self {
            message,
            log,
            is_interrupted: end == End::Interrupted,
        }
    }
}
