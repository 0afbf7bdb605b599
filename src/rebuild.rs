//! Builds the system from the synced tree and activates it.
//!
//! The tree is verified and in place before a rebuild, which does not change it. A rebuild is skipped only if its
//! effect already holds. That is read from the machine's links, not from a record, because a reboot reverts `test`, and
//! a person may have switched by hand. The pending mark is written before the rebuild and removed when it has
//! succeeded.
//!
//! Limits: Nix and `nixos-rebuild` do the work; after a failure the old system keeps running, as NixOS guarantees.

use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Time;
use rustix::fs::{Access, access};

use crate::git::CommitId;
use crate::patterns::Patterns;
use crate::process::Runner;
use crate::settings::{self, Action, Env};
use crate::state::{self, StateDir};
use crate::text;

mod activate;
mod changes;
mod confirm;
mod context;
mod error;
mod failures;
mod flake;
mod gate;
mod half_state;
mod hosts;
mod key;
mod machine;
mod outcome;
mod output;
mod pinned;
mod pipeline;
mod quarantine;
mod reboot;
mod record;
mod revision;
mod running;
mod snapshot;
mod switch_check;
mod trial;

pub use changes::{PackageChange, SystemChanges, UnitChanges};
pub use confirm::Confirmation;
pub use error::{Error, ErrorKind, RunningSystem, SystemState};
pub use flake::likely_host;
pub use gate::{PlannedUpdate, write_tree};
pub use half_state::{HalfState, HalfStateKind};
pub use hosts::{FlakeTree, HostBuilder, HostFailure};
pub use machine::{Machine, Systems};
pub use outcome::{Durations, LockChange, Outcome, RebuildNote, RebuildStatus, UnpinnedReason};
pub use quarantine::{FailureClass, Quarantine, QuarantineEntry};
pub use reboot::boot::FirstRun;
pub use reboot::policy::{RebootDecision, names as reboot_changes};
pub use reboot::{BootTrial, Reboot, RebootStage};
pub use record::{BegunActivation, Build, LastRebuild, Pending, RebuildRecord};
pub use trial::{Trial, TrialStage};

use context::RebuildContext;
use flake::{FlakeError, HostFlake};

/// The input of a rebuild.
#[derive(Clone)]
pub struct RebuildRequest<'a> {
    /// Flake, host, arguments, time limit, and the configured action.
    pub settings: &'a settings::Rebuild,
    /// The action of this run, which may differ, for example to build or test first.
    pub action: Action,
    /// The directory that was synced.
    pub target: &'a Path,
    /// The state directory.
    pub state: &'a StateDir,
    /// The published copy of `sync-state.json`; the result of the rebuild is added to it.
    pub state_file: Option<&'a Path>,
    /// The commit the tree is at.
    pub commit: Option<CommitId>,
    /// Whether Nix prints traces of its errors.
    pub verbose: bool,
    /// The paths of the target that are not managed.
    pub exclude: &'a Patterns,
    /// The timer unit that started this run: a system without it is not activated.
    pub timer: Option<&'a str>,
    /// Whether a rebuild whose effect holds is repeated.
    pub repeat: Repeat,
    /// Whether a switch to a system with another kernel is left to a reboot.
    pub reboots: bool,
    /// Whether a build that failed before is tried although its pause is not over.
    pub retry: bool,
    /// The time at which the run began, in whole seconds.
    pub now: Timestamp,
    /// With it, a switch is on trial until the machine is healthy.
    pub confirmation: Option<Confirmation<'a>>,
}

impl RebuildRequest<'_> {
    /// The action that later runs complete: that of the setting. Where it is none, only a request by hand rebuilds, and
    /// nothing is left for later.
    fn wanted(&self) -> Action {
        self.settings.action.unwrap_or(self.action)
    }
}

/// Whether a rebuild whose effect holds already is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It is skipped.
    IfNeeded,
    /// It is built again, and activated if the result differs.
    Build,
}

/// Checks that a rebuild can begin. Called before a sync, when nothing has changed yet.
pub fn preflight(
    request: &RebuildRequest<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<(), Error> {
    in_context(request, machine, env, runner, |context| {
        // Either can build, and NixOS has the programs that activate beside them.
        if context.find("nix").is_err() {
            context.find("nixos-rebuild")?;
        }
        // A flake in the target may be missing until the sync has written it.
        if !request.settings.flake.starts_with(request.target) {
            HostFlake::of(context)?;
        }
        Ok(())
    })
}

/// Records a rebuild as pending, and returns the record of before. Called by the sync before it changes the tree.
pub fn mark_pending(
    state: &StateDir,
    commit: Option<CommitId>,
    action: Action,
) -> Result<RebuildRecord, state::Error> {
    let before = RebuildRecord::load(state)?;
    let mut record = before.clone();
    record.set_pending(commit, action);
    record.save(state)?;
    Ok(before)
}

/// Brings back the record of before [`mark_pending`]: the tree was not changed after all.
pub fn unmark_pending(state: &StateDir, before: &RebuildRecord) -> Result<(), state::Error> {
    before.save(state)
}

/// Locks the target, if it is an input of the host flake, to its present content. Called by a sync without a rebuild:
/// with an outdated lock file, a `nixos-rebuild` by hand would build the previous tree.
///
/// `None` if there is nothing to do, or if this process has no write permission; then the rebuild does it.
#[must_use]
pub fn refresh_lock(settings: &settings::Rebuild, target: &Path) -> Option<RebuildNote> {
    let flake = match HostFlake::find(&settings.flake, target) {
        Ok(flake) => flake,
        Err(FlakeError::Missing) => return None,
        Err(FlakeError::Unreadable { name, cause }) => {
            let path = settings.flake.join(name);
            let cause = format!("`{}` cannot be read: {cause}", text::path(&path));
            return Some(RebuildNote::LockFailed { cause });
        }
    };
    if access(&flake.directory, Access::WRITE_OK).is_err() {
        return None;
    }
    match pinned::refresh_lock(&flake) {
        Ok(false) => None,
        Ok(true) => Some(RebuildNote::Lock {
            change: LockChange::Refreshed,
        }),
        Err(cause) => Some(RebuildNote::LockFailed { cause }),
    }
}

/// Builds the system of a planned update, whose commit the target is not at yet. Called by the sync before it changes
/// anything; the caller holds the lock.
pub fn gate(
    request: &RebuildRequest<'_>,
    update: &PlannedUpdate<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<(), Error> {
    in_context(request, machine, env, runner, |context| {
        gate::run(context, update).map_err(|kind| match kind {
            kind @ (ErrorKind::State(_) | ErrorKind::Busy { .. } | ErrorKind::Quarantined(_)) => {
                kind
            }
            kind => ErrorKind::Gate {
                commit: update.commit.id,
                cause: Box::new(kind),
            },
        })
    })
}

/// Records that no failure prevents an update: there is nothing to update.
pub fn pass_gate(state: &StateDir) -> Result<(), state::Error> {
    let mut quarantine = Quarantine::load(state)?;
    if quarantine.pass_gate() {
        quarantine.save(state)?;
    }
    Ok(())
}

/// Ends a trial whose process has died or hangs: the former system runs again, and the error says so. `None` if no
/// trial is open. The caller holds the lock.
pub fn revert(
    request: &RebuildRequest<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Option<Error> {
    let context = RebuildContext::new(request, machine, env, runner);
    let trial = match Trial::load(request.state) {
        Ok(trial) => trial?,
        Err(error) => return Some(context.error(error.into())),
    };
    match pipeline::revert(&context, trial) {
        Ok(reverted) => Some(context.error(reverted?)),
        Err(error) => Some(context.error(error)),
    }
}

/// Waits for an activation of somebody else, before a run says that there is nothing to do. Returns what to say of it.
pub fn wait_for_others(
    request: &RebuildRequest<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<Option<RebuildNote>, Error> {
    in_context(request, machine, env, runner, |context| {
        running::wait_for_others(context, &RebuildRecord::load(request.state)?)
    })
}

/// The state between two systems that an activation has left, or a person. `None` if the machine runs one as a whole.
pub fn half_state(
    request: &RebuildRequest<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<Option<HalfState>, Error> {
    in_context(request, machine, env, runner, |context| {
        HalfState::of(context, &RebuildRecord::load(request.state)?)
    })
}

/// The error of an activation, by anybody, that has been running for longer than `rebuild.activation_timeout`.
pub fn hanging_activation(
    request: &RebuildRequest<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Option<Error> {
    let context = RebuildContext::new(request, machine, env, runner);
    running::hanging(&context).map(|kind| context.error(kind))
}

/// Judges the last boot: whether the machine came up with the system that it was to boot, and whether a system on trial
/// is healthy. Returns whether one has passed; the error says what went wrong. The caller holds the lock.
pub fn judge_boot(
    request: &RebuildRequest<'_>,
    first: &FirstRun<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<bool, Error> {
    in_context(request, machine, env, runner, |context| {
        reboot::boot::judge(context, first)
    })
}

/// Decides whether the machine reboots now, at this time of day, and asks for it. The caller holds the lock and has judged
/// the last boot.
pub fn reboot(
    request: &RebuildRequest<'_>,
    settings: &settings::Reboot,
    time: Time,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<RebootDecision, Error> {
    in_context(request, machine, env, runner, |context| {
        reboot::policy::run(context, settings, time)
    })
}

/// Cancels the reboot that [`reboot`] has scheduled in this boot. Returns whether there was one. No lock is needed.
pub fn cancel_reboot(
    request: &RebuildRequest<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<bool, Error> {
    in_context(request, machine, env, runner, |context| {
        reboot::policy::cancel(request.state, machine, context.systemctl())
    })
}

/// Rebuilds. The caller holds the lock, so that no other sync or rebuild runs.
pub fn run(
    request: &RebuildRequest<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
) -> Result<Outcome, Error> {
    in_context(request, machine, env, runner, pipeline::run)
}

/// Does something in the context of a request, whose errors say what state the tree and the running system are in.
fn in_context<T>(
    request: &RebuildRequest<'_>,
    machine: &Machine,
    env: &Env,
    runner: &dyn Runner,
    act: impl FnOnce(&RebuildContext<'_>) -> Result<T, ErrorKind>,
) -> Result<T, Error> {
    let context = RebuildContext::new(request, machine, env, runner);
    act(&context).map_err(|kind| context.error(kind))
}
