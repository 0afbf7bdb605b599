//! Builds the system from what was synced and activates it.
//!
//! The tree is verified and in place before this stage begins; it changes nothing in it. A rebuild is skipped only
//! where its effect already holds, told from the machine's own links rather than from memory: what `test` activated
//! is gone after a reboot, and a person may have switched by hand. The mark of a rebuild that is still to be done is
//! written before it begins and removed when it has succeeded.
//!
//! Limits: `nixos-rebuild` and Nix do the work; a failure keeps the old system running, as NixOS guarantees.

use std::path::Path;
use std::time::Duration;

use crate::git::CommitId;
use crate::settings::{self, Action, Env};
use crate::state::{self, StateDir};

mod environment;
mod error;
mod host;
mod key;
mod machine;
mod outcome;
mod plain;
mod record;
mod runner;
mod session;
mod units;
mod verdict;

pub use environment::Environment;
pub use error::{Error, Running, Standing};
pub use machine::{Machine, Systems};
pub use outcome::{Note, Outcome, Status};
pub use record::{Build, Last, Pending, Record};
pub use runner::{Command, End, Finished, Kill, Output, Runner, SystemRunner};

use session::Session;
use verdict::Verdict;

/// How long to wait before trying again while somebody else activates a system; a switch takes some seconds to some
/// minutes.
const PATIENCE: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// What is to be rebuilt.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Action, flake, host, arguments, time.
    pub settings: &'a settings::Rebuild,
    /// The directory that was synced.
    pub target: &'a Path,
    /// Our own directory.
    pub state: &'a StateDir,
    /// The commit the tree is at.
    pub commit: Option<CommitId>,
    /// Whether Nix should explain its errors at length.
    pub verbose: bool,
    /// Whether a rebuild whose effect holds is done all the same.
    pub repeat: Repeat,
}

/// Whether a rebuild whose effect holds already is done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It is skipped.
    IfNeeded,
    /// It is done.
    Always,
}

/// Finds out whether a rebuild could begin at all. For the time before a sync: nothing has changed yet.
pub fn preflight(
    request: &Request<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<(), Error> {
    let session = Session::new(request, machine, env, runner);
    session.find("nixos-rebuild")?;
    // A flake inside the target may be what the sync is about to bring.
    if !request.settings.flake.starts_with(request.target) {
        key::flake(&session)?;
    }
    Ok(())
}

/// Notes that a rebuild is still to be done. For the sync, before it changes the tree.
pub fn mark_pending(
    state: &StateDir,
    commit: Option<CommitId>,
    action: Action,
) -> Result<(), state::Error> {
    let mut record = Record::load(state)?;
    record.set_pending(commit, action);
    record.save(state)
}

/// Rebuilds.
pub fn run(
    request: &Request<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<Outcome, Error> {
    let session = Session::new(request, machine, env, runner);
    let action = request.settings.action;
    session.find("nixos-rebuild")?;
    key::flake(&session)?;
    let host = host::resolve(&session)?;
    let key = key::of(&session, &host);
    let mut record = Record::load(request.state)?;

    if request.repeat == Repeat::IfNeeded
        && let Some(key) = &key
        && record.holds(action, key, &machine.systems())
    {
        return unchanged(&session, record, key, host);
    }

    record.set_pending(request.commit, action);
    record.save(request.state)?;
    let before = session.failed_units();
    let (verdict, finished) = patiently(&session, || plain::run(&session, &host))?;
    let failed: Vec<String> = session
        .failed_units()
        .difference(&before)
        .cloned()
        .collect();

    let status = Status::of(verdict, action, failed.is_empty());
    let system = status
        .is_done()
        .then(|| plain::system(&session, status))
        .flatten();
    // An edit made meanwhile may be in the system: then it is not what the key stands for.
    let key = key.filter(|key| key::of(&session, &host).as_ref() == Some(key));
    record.finish(&session, &host, key, status, system.clone());
    record.save(request.state)?;

    let notes = match status {
        Status::Failed | Status::Degraded => {
            return Err(session.failure(verdict, finished, failed));
        }
        Status::RebootNeeded => vec![Note::RebootNeeded],
        _ if verdict == Verdict::UnitsFailed => vec![Note::StillFailing {
            units: before.into_iter().collect(),
        }],
        _ => Vec::new(),
    };
    Ok(Outcome {
        status,
        host,
        commit: request.commit,
        system,
        notes,
    })
}

/// The effect holds: what may be left of an earlier run's mark goes.
fn unchanged(
    session: &Session<'_>,
    mut record: Record,
    key: &str,
    host: String,
) -> Result<Outcome, Error> {
    let request = session.request;
    let status = record.last.as_ref().map(|last| last.status);
    let waits = request.settings.action == Action::Switch && status == Some(Status::RebootNeeded);
    let system = record.built(key).map(Path::to_owned);
    if record.pending.take().is_some() {
        record.save(request.state)?;
    }
    Ok(Outcome {
        status: Status::Unchanged,
        host,
        commit: request.commit,
        system,
        notes: waits.then_some(Note::RebootNeeded).into_iter().collect(),
    })
}

/// Tries until nobody else activates a system, or patience is at its end.
fn patiently(
    session: &Session<'_>,
    mut attempt: impl FnMut() -> Result<(Verdict, Finished), Error>,
) -> Result<(Verdict, Finished), Error> {
    let mut waits = PATIENCE.into_iter();
    loop {
        let active = session.activating();
        let busy = match active.first() {
            Some(unit) => Some(unit.clone()),
            None => match attempt()? {
                (Verdict::Busy, _) => None,
                done => return Ok(done),
            },
        };
        let wait = waits.next().filter(|wait| *wait < session.left());
        let Some(wait) = wait else {
            return Err(Error::Busy {
                unit: busy,
                standing: session.standing(),
            });
        };
        if busy.is_none() {
            // "Already loaded" is also what a unit that failed, and was kept for that, answers for ever.
            units::forget_failed_activation(session.runner, &session.environment);
        }
        if !session.runner.pause(wait) {
            return Err(Error::Interrupted {
                activating: active,
                standing: session.standing(),
            });
        }
    }
}
