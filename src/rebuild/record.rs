//! What the rebuild remembers: `rebuild.json` in the state directory.
//!
//! Three things: the rebuild that is still to be done (set before it begins, so that a crash or a reboot in between
//! leaves the mark), the last one and how it went, and which system was built from which commit, so that a running
//! system can be named by its commit. A file that is lost or damaged costs one rebuild, never a wrong skip.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::machine::{self, Systems};
use super::outcome::RebuildStatus;
use super::session::RebuildContext;
use crate::git::CommitId;
use crate::settings::Action;
use crate::state::sealed::{self, Found, SealedFormat};
use crate::state::{self, StateDir};

/// The file's name in the state directory.
const FILE: &str = "rebuild.json";
const FORMAT: SealedFormat = SealedFormat {
    kind: "rebuild",
    version: 1,
};
/// How many built systems are remembered; a machine boots one of its last few.
const BUILDS: usize = 20;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildRecord {
    /// The rebuild that is still to be done.
    pub pending: Option<Pending>,
    /// The last one that ended.
    pub last: Option<LastRebuild>,
    /// Systems and what they were built from, newest first.
    pub builds: Vec<Build>,
}

/// A rebuild that was asked for and has not succeeded yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The commit the tree was at.
    pub commit: Option<CommitId>,
    /// What was to be done.
    pub action: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether its activation has begun; where it did not end, the machine may run the new system in part.
    pub begun: bool,
}

/// The last rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRebuild {
    /// The commit the tree was at.
    pub commit: Option<CommitId>,
    /// The host it was for.
    pub host: String,
    /// What was done.
    pub action: String,
    /// How it went.
    pub status: RebuildStatus,
    /// What the build depends on.
    pub key: Option<String>,
    /// The system that came out, where it is known.
    pub out: Option<PathBuf>,
    /// The system that was booted then.
    pub booted: Option<PathBuf>,
    /// When it ended.
    pub at: Timestamp,
}

/// A system and what it was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The system.
    pub out: PathBuf,
    /// The commit the tree was at.
    pub commit: Option<CommitId>,
    /// What the build depends on.
    pub key: Option<String>,
}

impl RebuildRecord {
    /// Reads it; empty where there is none, or a damaged one.
    pub fn load(state: &StateDir) -> Result<Self, state::Error> {
        Ok(match sealed::read(state.directory(), FILE, FORMAT)? {
            Found::Whole(record) => record,
            Found::Absent | Found::Damaged(_) => Self::default(),
        })
    }

    /// Writes it, durable.
    pub(super) fn save(&self, state: &StateDir) -> Result<(), state::Error> {
        sealed::write(state.directory(), FILE, FORMAT, self)
    }

    /// The commit a system was built from.
    #[must_use]
    pub fn commit_of(&self, system: &Path) -> Option<CommitId> {
        let build = self.builds.iter().find(|build| build.out == system)?;
        build.commit
    }

    /// The system that was built from what `key` is of.
    pub(super) fn built(&self, key: &str) -> Option<&Path> {
        let of_key = |build: &&Build| build.key.as_deref() == Some(key);
        self.builds
            .iter()
            .find(of_key)
            .map(|build| build.out.as_path())
    }

    /// Whether an action's effect holds: of the build of `key`, on a machine with these systems.
    pub(super) fn holds(&self, action: Action, key: &str, systems: &Systems) -> bool {
        match self.built(key) {
            Some(system) if systems.current.is_some() => self.holds_of(action, system, systems),
            // No system to ask, or none that is known: only memory is left.
            _ => self.last.as_ref().is_some_and(|last| {
                last.key.as_deref() == Some(key)
                    && last.status.is_done()
                    && self.is_whole()
                    && implies(&last.action, action)
            }),
        }
    }

    /// Whether an action's effect holds for a system.
    pub(super) fn holds_of(&self, action: Action, system: &Path, systems: &Systems) -> bool {
        let runs = systems.current.as_deref() == Some(system) && self.is_whole();
        let boots = systems.profile.as_deref() == Some(system) && self.is_whole();
        match action {
            Action::Build => machine::is_there(system),
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

    /// Whether no activation broke off: after one that did, the links may name a system that runs in part.
    fn is_whole(&self) -> bool {
        !self.pending.as_ref().is_some_and(|pending| pending.begun)
    }

    pub(super) fn set_pending(&mut self, commit: Option<CommitId>, action: Action) {
        let action = action.as_str();
        match &mut self.pending {
            // The same mark keeps its time: it says how long the machine has been behind.
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
                });
            }
        }
    }

    /// Notes that the activation begins.
    pub(super) fn set_begun(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.begun = true;
        }
    }

    /// Notes how a rebuild ended.
    pub(super) fn finish(
        &mut self,
        session: &RebuildContext<'_>,
        host: &str,
        key: Option<String>,
        status: RebuildStatus,
        system: Option<&Path>,
    ) {
        let commit = session.request.commit;
        if status.is_done() {
            self.pending = None;
        }
        if let Some(system) = system {
            self.remember(system, commit, key.clone());
        }
        self.last = Some(LastRebuild {
            commit,
            host: host.to_owned(),
            action: session.request.settings.action.as_str().to_owned(),
            status,
            key,
            out: system.map(Path::to_owned),
            booted: session.machine.systems().booted,
            at: state::now(),
        });
    }

    /// Notes what a system was built from.
    pub(super) fn remember(
        &mut self,
        system: &Path,
        commit: Option<CommitId>,
        key: Option<String>,
    ) {
        self.builds.retain(|known| known.out != system);
        self.builds.insert(
            0,
            Build {
                out: system.to_owned(),
                commit,
                key,
            },
        );
        self.builds.truncate(BUILDS);
    }
}

/// Whether an action that was done has the effect of another one.
fn implies(done: &str, wanted: Action) -> bool {
    match wanted {
        Action::Build => true,
        Action::Test | Action::Boot => [wanted.as_str(), Action::Switch.as_str()].contains(&done),
        Action::Switch => done == Action::Switch.as_str(),
        Action::DryActivate => false,
    }
}
