//! Builds the system from what was synced and activates it.
//!
//! The tree is verified and in place before this stage begins; it changes nothing in it. A rebuild is skipped only
//! where its effect already holds, read from the machine's own links rather than from memory: what `test` activated
//! is gone after a reboot, and a person may have switched by hand. The mark of a rebuild that is still to be done is
//! written before it begins and removed when it has succeeded.
//!
//! Limits: `nixos-rebuild` and Nix do the work; a failure keeps the old system running, as NixOS guarantees.

use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};

use crate::git::CommitId;
use crate::patterns::Patterns;
use crate::process::Runner;
use crate::settings::{self, Action, Env};
use crate::state::{self, StateDir};
use crate::text;

mod activate;
mod arguments;
mod complaint;
mod environment;
mod error;
mod host;
mod key;
mod machine;
mod namespace;
mod outcome;
mod pinned;
mod pipeline;
mod places;
mod plain;
mod record;
mod session;
mod snapshot;
mod units;
mod verdict;

pub use error::{Error, RunningSystem, Standing};
pub use machine::{Machine, Systems};
pub use outcome::{LockChange, Outcome, RebuildNote, RebuildStatus, UnpinnedReason};
pub use record::{Build, LastRebuild, Pending, RebuildRecord};

use places::{NoFlake, Places};
use session::RebuildContext;

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
pub struct RebuildRequest<'a> {
    /// Action, flake, host, arguments, time.
    pub settings: &'a settings::Rebuild,
    /// The directory that was synced.
    pub target: &'a Path,
    /// Our own directory.
    pub state: &'a StateDir,
    /// Where the state of the last sync is published; how the rebuild ended is added to it.
    pub state_file: Option<&'a Path>,
    /// The commit the tree is at.
    pub commit: Option<CommitId>,
    /// Whether Nix should explain its errors at length.
    pub verbose: bool,
    /// What of the target is not managed.
    pub exclude: &'a Patterns,
    /// The timer unit that has started this run: a system without it is not activated.
    pub timer: Option<&'a str>,
    /// Whether a rebuild whose effect holds is done all the same.
    pub repeat: Repeat,
}

/// Whether a rebuild whose effect holds already is done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It is skipped.
    IfNeeded,
    /// It is built again, and activated if something else came out.
    Build,
}

/// Finds out whether a rebuild could begin at all. For the time before a sync: nothing has changed yet.
pub fn preflight(
    request: &RebuildRequest<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<(), Error> {
    let session = RebuildContext::new(request, machine, env, runner);
    // Either can build; what activates is found with them.
    if session.find("nix").is_err() {
        session.find("nixos-rebuild")?;
    }
    // A flake inside the target may be what the sync is about to bring.
    if !request.settings.flake.starts_with(request.target) {
        Places::of(&session)?;
    }
    Ok(())
}

/// Notes that a rebuild is still to be done. For the sync, before it changes the tree.
pub fn mark_pending(
    state: &StateDir,
    commit: Option<CommitId>,
    action: Action,
) -> Result<(), state::Error> {
    let mut record = RebuildRecord::load(state)?;
    record.set_pending(commit, action);
    record.save(state)
}

/// Locks the target, where it is an input of the host's flake, to what lies in it now. For a sync without a rebuild:
/// with an older lock file, a `nixos-rebuild` by hand would build the tree before it.
///
/// `None` where there is nothing to do, or where this process may not: the rebuild will.
#[must_use]
pub fn refresh_lock(settings: &settings::Rebuild, target: &Path) -> Option<RebuildNote> {
    let places = match Places::find(&settings.flake, target) {
        Ok(places) => places,
        Err(NoFlake::Missing) => return None,
        Err(NoFlake::Unreadable { name, cause }) => {
            let path = settings.flake.join(name);
            let cause = format!("`{}` cannot be read: {cause}", text::path(&path));
            return Some(RebuildNote::LockFailed { cause });
        }
    };
    if access(&places.flake, Access::WRITE_OK).is_err() {
        return None;
    }
    match pinned::refresh_lock(&places) {
        Ok(false) => None,
        Ok(true) => Some(RebuildNote::Lock {
            change: LockChange::Refreshed,
        }),
        Err(cause) => Some(RebuildNote::LockFailed { cause }),
    }
}

/// Rebuilds. The caller holds the lock: nobody else syncs or rebuilds meanwhile.
pub fn run(
    request: &RebuildRequest<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<Outcome, Error> {
    pipeline::run(&RebuildContext::new(request, machine, env, runner))
}
