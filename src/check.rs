//! Whether the hosts of a commit evaluate and build, on any machine that has Nix.
//!
//! Hosts are evaluated beside each other, as many as memory and processors allow, and built one after another in the
//! order in which they are evaluated: Nix itself builds as many derivations at a time as `max-jobs` says, and hosts
//! share most of theirs. A host that fails does not end the others.
//!
//! Nothing is activated, and there is no target: the caller brings the files of the commit into a directory.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::process::Runner;
use crate::rebuild::{ErrorKind, FlakeTree, HostBuilder, HostFailure};
use crate::settings::{Env, Rebuild};
use crate::text;
use crate::threads;

mod error;
mod jobs;

pub use error::Error;

/// What is done with each host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckAction {
    /// It is evaluated and built.
    Build,
    /// It is evaluated.
    Eval,
}

/// The input of a check.
pub struct CheckRequest<'a> {
    /// The files.
    pub tree: FlakeTree<'a>,
    /// The settings of a build: its time limit, and arguments for Nix.
    pub settings: &'a Rebuild,
    /// What is done.
    pub action: CheckAction,
    /// The hosts; none: all.
    pub hosts: &'a [String],
    /// How many evaluations run at a time; `None`: as many as memory and processors allow.
    pub jobs: Option<NonZero<usize>>,
    /// Whether what Nix prints is shown as it comes.
    pub verbose: bool,
}

/// How a host ended.
#[derive(Debug, Serialize)]
pub struct HostResult {
    /// Its name in `nixosConfigurations`.
    pub host: String,
    /// How it ended.
    pub result: HostStatus,
    /// How long the evaluation took, in milliseconds.
    #[serde(rename = "evaluation_ms", serialize_with = "milliseconds")]
    pub evaluation: Option<Duration>,
    /// How long the build took, in milliseconds; not with the wait for the builds of other hosts.
    #[serde(rename = "build_ms", serialize_with = "milliseconds")]
    pub build: Option<Duration>,
    /// The system that was built.
    pub system: Option<PathBuf>,
    /// Why it failed, in one line.
    #[serde(serialize_with = "words")]
    pub error: Option<String>,
    /// The end of what Nix printed, if it failed.
    #[serde(serialize_with = "words")]
    pub log: Option<String>,
}

/// The ways in which a host ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostStatus {
    /// Its system was built.
    Built,
    /// It was evaluated, and was not to be built.
    Evaluated,
    /// It could not be evaluated.
    EvaluationFailed,
    /// It could not be built.
    BuildFailed,
}

impl HostStatus {
    /// Whether it failed.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::EvaluationFailed | Self::BuildFailed)
    }
}

#[expect(clippy::ref_option, reason = "serde passes fields by reference")]
fn milliseconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    time.map(milliseconds).serialize(serializer)
}

/// Without secrets; a log keeps its lines.
#[expect(clippy::ref_option, reason = "serde passes fields by reference")]
fn words<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().map(text::lines).serialize(serializer)
}

/// The results of the hosts, in the order of their names, and how many evaluations ran at a time.
#[derive(Debug)]
pub struct Checked {
    /// The hosts.
    pub hosts: Vec<HostResult>,
    /// The number of evaluations at a time.
    pub jobs: usize,
}

impl Checked {
    /// An error that names the hosts that failed, if there are any.
    pub fn into_result(self) -> Result<Self, Error> {
        let failed = self.hosts.iter().filter(|host| host.result.is_failure());
        let failed: Vec<String> = failed.map(|host| host.host.clone()).collect();
        if failed.is_empty() {
            return Ok(self);
        }
        Err(Error::Failed {
            failed,
            hosts: self.hosts.len(),
        })
    }
}

/// Checks that there is a Nix: before a commit is fetched for it.
pub fn preflight(env: &Env, runner: &dyn Runner) -> Result<(), Error> {
    HostBuilder::find_nix(env, runner).map_err(|_| Error::NoNix)?;
    Ok(())
}

/// Evaluates and builds. `progress` is called with the number of hosts that have ended, and of all.
pub fn run(
    request: &CheckRequest<'_>,
    env: &Env,
    runner: &(dyn Runner + Sync),
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Checked, Error> {
    let builder = HostBuilder::new(
        &request.tree,
        request.settings,
        request.verbose,
        env,
        runner,
    );
    let builder = builder.map_err(|error| match error {
        ErrorKind::ProgramMissing { .. } => Error::NoNix,
        _ => Error::NoFlake {
            directory: request.tree.inside.to_owned(),
        },
    })?;
    let hosts = hosts(request.hosts, &builder)?;
    let jobs = jobs::at_a_time(request.jobs, hosts.len());
    progress(0, hosts.len());
    let hosts = Hosts {
        builder: &builder,
        action: request.action,
        waiting: Mutex::new(hosts.iter()),
    };
    let hosts = hosts.run(jobs, progress)?;
    Ok(Checked { hosts, jobs })
}

/// The hosts to check, sorted.
fn hosts(wanted: &[String], builder: &HostBuilder<'_>) -> Result<Vec<String>, Error> {
    let mut known = builder.names().map_err(|failure| {
        if failure.is_interrupted {
            return Error::Interrupted;
        }
        Error::Hosts {
            cause: failure.message,
        }
    })?;
    known.sort_unstable();
    if known.is_empty() {
        return Err(Error::NoHosts);
    }
    if wanted.is_empty() {
        return Ok(known);
    }
    if let Some(host) = wanted.iter().find(|host| !known.contains(host)) {
        return Err(Error::UnknownHost {
            host: host.clone(),
            names: known,
        });
    }
    known.retain(|host| wanted.contains(host));
    Ok(known)
}

/// The hosts of a check while it runs.
struct Hosts<'a> {
    builder: &'a HostBuilder<'a>,
    action: CheckAction,
    /// Those that nobody evaluates yet.
    waiting: Mutex<std::slice::Iter<'a, String>>,
}

/// A host that is evaluated and to be built.
struct ToBuild<'a> {
    host: &'a String,
    derivation: String,
    evaluation: Duration,
}

impl Hosts<'_> {
    fn run(
        &self,
        jobs: usize,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<HostResult>, Error> {
        let total = threads::lock(&self.waiting).len();
        let mut results = thread::scope(|scope| {
            let (to_builder, evaluated) = mpsc::channel();
            let (ended, results) = mpsc::channel();
            for _ in 0..jobs {
                let (to_builder, ended) = (to_builder.clone(), ended.clone());
                scope.spawn(move || self.evaluate(&to_builder, &ended));
            }
            drop(to_builder);
            scope.spawn(move || self.build(evaluated, &ended));
            let mut all: Vec<HostResult> = Vec::with_capacity(total);
            for result in results {
                all.push(result?);
                progress(all.len(), total);
            }
            Ok(all)
        })?;
        results.sort_by(|one, other| one.host.cmp(&other.host));
        Ok(results)
    }

    /// Evaluates hosts until none waits. Nobody receives any more once the check was interrupted.
    fn evaluate<'h>(
        &'h self,
        to_builder: &mpsc::Sender<ToBuild<'h>>,
        ended: &mpsc::Sender<Result<HostResult, Error>>,
    ) {
        loop {
            let next = threads::lock(&self.waiting).next();
            let Some(host) = next else {
                return;
            };
            let begun = Instant::now();
            let derivation = self.builder.derivation(host);
            let evaluation = begun.elapsed();
            let is_sent = match derivation {
                Ok(derivation) if self.action == CheckAction::Build => to_builder
                    .send(ToBuild {
                        host,
                        derivation,
                        evaluation,
                    })
                    .is_ok(),
                Ok(_) => {
                    let result = HostResult::new(host, HostStatus::Evaluated, evaluation);
                    ended.send(Ok(result)).is_ok()
                }
                Err(failure) => {
                    let result = HostResult::new(host, HostStatus::EvaluationFailed, evaluation);
                    ended.send(result.failed(failure)).is_ok()
                }
            };
            if !is_sent {
                return;
            }
        }
    }

    fn build(
        &self,
        evaluated: mpsc::Receiver<ToBuild<'_>>,
        ended: &mpsc::Sender<Result<HostResult, Error>>,
    ) {
        for ToBuild {
            host,
            derivation,
            evaluation,
        } in evaluated
        {
            let begun = Instant::now();
            let built = self.builder.build(&derivation);
            let mut result = HostResult::new(host, HostStatus::Built, evaluation);
            result.build = Some(begun.elapsed());
            let result = match built {
                Ok(system) => {
                    result.system = Some(system);
                    Ok(result)
                }
                Err(failure) => {
                    result.result = HostStatus::BuildFailed;
                    result.failed(failure)
                }
            };
            if ended.send(result).is_err() {
                return;
            }
        }
    }
}

impl HostResult {
    fn new(host: &str, result: HostStatus, evaluation: Duration) -> Self {
        Self {
            host: host.to_owned(),
            result,
            evaluation: Some(evaluation),
            build: None,
            system: None,
            error: None,
            log: None,
        }
    }

    /// With what failed; an error if that was a signal to us.
    fn failed(mut self, failure: HostFailure) -> Result<Self, Error> {
        if failure.is_interrupted {
            return Err(Error::Interrupted);
        }
        self.error = Some(failure.message);
        self.log = Some(failure.log);
        Ok(self)
    }
}
