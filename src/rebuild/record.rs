//! The record of rebuilds: `rebuild.json` in the state directory.
//!
//! It contains the pending rebuild (set before it begins, so that it survives a crash or a reboot), the result of the
//! last rebuild, and which system was built from which commit, so that `status` can show the commit of the running
//! system. A lost or damaged file costs one rebuild, and never skips one wrongly.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RebuildRequest;
use super::context::RebuildContext;
use super::machine::{self, Systems};
use super::outcome::{Durations, RebuildStatus};
use crate::git::CommitId;
use crate::health::Baseline;
use crate::settings::Action;
use crate::state::sealed::{self, SealedFormat};
use crate::state::{self, StateDir};

/// The file's name in the state directory.
const FILE: &str = "rebuild.json";
const FORMAT: SealedFormat = SealedFormat {
    kind: "rebuild",
    version: 1,
};
/// How many built systems are kept in the record, beside those that the machine uses.
const BUILDS: usize = 20;

/// The content of `rebuild.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildRecord {
    /// The pending rebuild.
    pub pending: Option<Pending>,
    /// The last rebuild that ended.
    pub last: Option<LastRebuild>,
    /// The built systems, newest first.
    pub builds: Vec<Build>,
}

/// A rebuild that has not succeeded yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The commit the tree was at.
    pub commit: Option<CommitId>,
    /// The action.
    pub action: String,
    /// When it was recorded.
    pub since: Timestamp,
    /// Whether its activation has begun; if that did not end, the machine may run the new system in part.
    pub begun: bool,
    /// The activation that has begun. Older versions did not write this.
    #[serde(default)]
    pub activation: Option<BegunActivation>,
}

/// An activation that has begun, and the machine before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BegunActivation {
    /// The commit the tree was at.
    pub commit: Option<CommitId>,
    /// The action.
    pub action: String,
    /// The system that is activated; `None` if `nixos-rebuild` builds and activates it.
    pub system: Option<PathBuf>,
    /// The system that ran before.
    pub current: Option<PathBuf>,
    /// The boot default before.
    pub profile: Option<PathBuf>,
    /// The boot in which it began (`/proc/sys/kernel/random/boot_id`); `None` where it cannot be read.
    pub boot: Option<String>,
    /// When it began.
    pub at: Timestamp,
    /// Whether it has ended with a failure.
    pub failed: bool,
}

/// The last rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRebuild {
    /// The commit the tree was at.
    pub commit: Option<CommitId>,
    /// The host it was for.
    pub host: String,
    /// The action.
    pub action: String,
    /// The result.
    pub status: RebuildStatus,
    /// What the build depends on.
    pub key: Option<String>,
    /// The built system, if known.
    pub out: Option<PathBuf>,
    /// The booted system at that time.
    pub booted: Option<PathBuf>,
    /// Whether the running system could have been switched to it, and a reboot was to come first. Older versions did not
    /// write this.
    #[serde(default)]
    pub deferred: bool,
    /// How long its parts took. Older versions did not write this.
    #[serde(default)]
    pub durations: Durations,
    /// When it ended.
    pub at: Timestamp,
}

/// A built system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The system.
    pub out: PathBuf,
    /// The commit the tree was at.
    pub commit: Option<CommitId>,
    /// What the build depends on.
    pub key: Option<String>,
    /// The units that had failed before it was activated, if it was. Older versions did not write this.
    #[serde(default)]
    pub failed_before: Option<Vec<String>>,
    /// The number of the generation that it last was, among those of the system profile, if it was activated as one. Older
    /// versions did not write this.
    #[serde(default)]
    pub generation: Option<u64>,
}

impl Pending {
    fn set_whole(&mut self) {
        self.begun = false;
        self.activation = None;
    }
}

impl RebuildRecord {
    /// Reads the record; empty if it is missing or damaged.
    pub fn load(state: &StateDir) -> Result<Self, state::Error> {
        let found = sealed::read(state.directory(), FILE, FORMAT)?;
        Ok(found.whole().unwrap_or_default())
    }

    /// Writes the record durably.
    pub(super) fn save(&self, state: &StateDir) -> Result<(), state::Error> {
        sealed::write(state.directory(), FILE, FORMAT, self)
    }

    /// The commit a system was built from.
    #[must_use]
    pub fn commit_of(&self, system: &Path) -> Option<CommitId> {
        self.build_of(system)?.commit
    }

    /// The units that had failed before a system was activated, if that is known.
    #[must_use]
    pub fn failed_before(&self, system: &Path) -> Option<&[String]> {
        self.build_of(system)?.failed_before.as_deref()
    }

    /// What the build of a system depends on, if that is known.
    pub(super) fn key_of(&self, system: &Path) -> Option<&str> {
        self.build_of(system)?.key.as_deref()
    }

    fn build_of(&self, system: &Path) -> Option<&Build> {
        self.builds.iter().find(|build| build.out == system)
    }

    /// Records which units had failed before a system was activated.
    pub(super) fn set_failed_before(&mut self, system: &Path, units: Vec<String>) {
        let mut builds = self.builds.iter_mut();
        if let Some(build) = builds.find(|build| build.out == system) {
            build.failed_before = Some(units);
        }
    }

    fn set_generation(&mut self, system: &Path, generation: Option<u64>) {
        let mut builds = self.builds.iter_mut();
        if let Some(build) = builds.find(|build| build.out == system)
            && generation.is_some()
        {
            build.generation = generation;
        }
    }

    /// The newest generation that was built from a commit, if one of its systems was activated as one.
    #[must_use]
    pub fn generation_of(&self, commit: CommitId) -> Option<u64> {
        let builds = self.builds.iter();
        let of_commit = builds.filter(|build| build.commit == Some(commit));
        of_commit.filter_map(|build| build.generation).max()
    }

    /// The system that was built with this key.
    pub(super) fn built(&self, key: &str) -> Option<&Path> {
        let mut builds = self.builds.iter();
        let build = builds.find(|build| build.key.as_deref() == Some(key))?;
        Some(&build.out)
    }

    /// Whether the effect of an action holds for the build of `key`.
    pub(super) fn holds(&self, action: Action, key: &str, systems: &Systems) -> bool {
        match self.built(key) {
            Some(system) if systems.current.is_some() => self.holds_of(action, system, systems),
            // Not NixOS, or no known system: only the record is left.
            _ => self.last.as_ref().is_some_and(|last| {
                last.key.as_deref() == Some(key)
                    && last.status.is_done()
                    && self.is_whole()
                    && implies(&last.action, action)
            }),
        }
    }

    /// Whether the effect of an action holds for a system.
    pub(super) fn holds_of(&self, action: Action, system: &Path, systems: &Systems) -> bool {
        let runs = systems.current.as_deref() == Some(system) && self.is_whole();
        let boots = systems.profile.as_deref() == Some(system) && self.is_whole();
        match action {
            Action::Build => machine::exists(system),
            Action::Test => runs,
            Action::Boot => boots,
            Action::Switch => {
                let waits_for_reboot = self.last.as_ref().is_some_and(|last| {
                    last.status == RebuildStatus::RebootNeeded
                        && last.out.as_deref() == Some(system)
                        && last.booted == systems.booted
                });
                boots && (runs || waits_for_reboot)
            }
            Action::DryActivate => false,
        }
    }

    /// Whether no activation was interrupted, after which the links may name a system that runs only in part.
    fn is_whole(&self) -> bool {
        !self.pending.as_ref().is_some_and(|pending| pending.begun)
    }

    pub(super) fn set_pending(&mut self, commit: Option<CommitId>, action: Action) {
        let action = action.as_str();
        match &mut self.pending {
            // An equal mark keeps its time, which shows how long the machine has been outdated.
            Some(pending) if pending.commit == commit && pending.action == action => {}
            Some(pending) => {
                pending.commit = commit;
                action.clone_into(&mut pending.action);
                pending.since = state::now();
            }
            None => {
                self.pending = Some(Pending {
                    commit,
                    action: action.to_owned(),
                    since: state::now(),
                    begun: false,
                    activation: None,
                });
            }
        }
    }

    /// Records that the activation of a system begins.
    pub(super) fn set_begun(
        &mut self,
        context: &RebuildContext<'_>,
        system: Option<&Path>,
        action: Action,
    ) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        let systems = context.machine.systems();
        pending.begun = true;
        pending.activation = Some(BegunActivation {
            commit: context.request.commit,
            action: action.as_str().to_owned(),
            system: system.map(Path::to_owned),
            current: systems.current,
            profile: systems.profile,
            boot: context.machine.boot.clone(),
            // As exact as the time of a link, with which it is compared.
            at: Timestamp::now(),
            failed: false,
        });
    }

    /// Records that the activation has failed.
    pub(super) fn set_failed(&mut self) {
        let pending = self.pending.as_mut();
        if let Some(begun) = pending.and_then(|pending| pending.activation.as_mut()) {
            begun.failed = true;
        }
    }

    /// The activation that has begun and has not succeeded.
    pub(super) fn begun(&self) -> Option<&BegunActivation> {
        let pending = self.pending.as_ref()?;
        pending.activation.as_ref().filter(|_| pending.begun)
    }

    /// The units that had failed before the last activation by hyper-sync, if that is known.
    pub(super) fn baseline(&self) -> Option<Baseline> {
        let last = self.last.as_ref()?.out.as_deref()?;
        let failed = self.failed_before(last)?;
        Some(Baseline::of(failed.iter().cloned()))
    }

    /// Records that an activation was reverted: the machine runs a whole system again.
    pub(super) fn set_whole(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.set_whole();
        }
    }

    /// Records how a rebuild ended.
    pub(super) fn finish(
        &mut self,
        context: &RebuildContext<'_>,
        host: &str,
        key: Option<String>,
        status: RebuildStatus,
        system: Option<&Path>,
    ) {
        let commit = context.request.commit;
        let systems = context.machine.systems();
        if let Some(system) = system {
            self.remember(system, commit, key.clone(), &systems);
            if systems.profile.as_deref() == Some(system) {
                self.set_generation(system, context.machine.generation());
            }
        }
        self.last = Some(LastRebuild {
            commit,
            host: host.to_owned(),
            action: context.request.action.as_str().to_owned(),
            status,
            key,
            out: system.map(Path::to_owned),
            booted: systems.booted.clone(),
            deferred: false,
            durations: Durations::default(),
            at: state::now(),
        });
        if status.is_done() {
            self.end_pending(context.request, system, &systems);
        }
    }

    /// Records how long the parts of the last rebuild took.
    pub(super) fn set_durations(&mut self, durations: Durations) {
        if let Some(last) = &mut self.last {
            last.durations = durations;
        }
    }

    /// Records that the last switch was possible and is left to a reboot.
    pub(super) fn set_deferred(&mut self) {
        if let Some(last) = &mut self.last {
            last.deferred = true;
        }
    }

    /// Makes a switch due that was left to a reboot, for a run that does not reboot.
    pub fn end_deferral(&mut self) {
        if let Some(last) = self.last.as_mut().filter(|last| last.deferred) {
            last.deferred = false;
            last.status = RebuildStatus::SetForBoot;
        }
    }

    /// Changes the result of the last rebuild, if it was that of this system, after a boot.
    pub(super) fn set_status(&mut self, system: &Path, status: RebuildStatus) {
        let last = self.last.as_mut();
        if let Some(last) = last.filter(|last| last.out.as_deref() == Some(system)) {
            last.deferred = false;
            last.status = status;
        }
    }

    /// Removes the pending mark after an action that succeeded, if the effect of the configured action holds by it:
    /// after a `build` or `test` by hand, the configured `switch` is still to be done.
    pub(super) fn end_pending(
        &mut self,
        request: &RebuildRequest<'_>,
        system: Option<&Path>,
        systems: &Systems,
    ) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        // No activation was cut off.
        pending.set_whole();
        let wanted = request.wanted();
        let holds = match system {
            Some(system) if systems.current.is_some() && wanted != Action::DryActivate => {
                self.holds_of(wanted, system, systems)
            }
            _ => request.action == wanted || implies(request.action.as_str(), wanted),
        };
        if holds {
            self.pending = None;
        }
    }

    /// Whether a rebuild is to be done: one is pending, or the effect of `wanted` does not hold for the system that was
    /// built from the commit of the tree.
    #[must_use]
    pub fn is_due(&self, commit: Option<CommitId>, wanted: Action, systems: &Systems) -> bool {
        if self.pending.is_some() {
            return true;
        }
        let of_commit = |build: &&Build| commit.is_some() && build.commit == commit;
        let built = self.builds.iter().find(of_commit);
        built.is_some_and(|build| {
            systems.current.is_some()
                && wanted != Action::DryActivate
                && !self.holds_of(wanted, &build.out, systems)
        })
    }

    /// Records what a system was built from. Old records go, but not those of the `systems` of the machine.
    pub(super) fn remember(
        &mut self,
        system: &Path,
        commit: Option<CommitId>,
        key: Option<String>,
        systems: &Systems,
    ) {
        let known = self.builds.iter().position(|known| known.out == system);
        let known = known.map(|place| self.builds.remove(place));
        let generation = known.as_ref().and_then(|known| known.generation);
        self.builds.insert(
            0,
            Build {
                out: system.to_owned(),
                commit,
                key,
                failed_before: known.and_then(|known| known.failed_before),
                generation,
            },
        );
        let mut place = 0;
        self.builds.retain(|build| {
            place += 1;
            place <= BUILDS || systems.contains(&build.out)
        });
    }
}

/// Whether a finished action has the effect of another one.
fn implies(done: &str, wanted: Action) -> bool {
    match wanted {
        Action::Build => true,
        Action::Test | Action::Boot => [wanted.as_str(), Action::Switch.as_str()].contains(&done),
        Action::Switch => done == Action::Switch.as_str(),
        Action::DryActivate => false,
    }
}
