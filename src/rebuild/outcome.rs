//! The result of a rebuild.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::changes::SystemChanges;
use super::half_state::HalfState;
use super::output::Verdict;
use crate::git::{CommitId, RelPath};
use crate::nix::{Layout, NarHash};
use crate::settings::Action;
use crate::text;

/// How a rebuild ended; in JSON in kebab-case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebuildStatus {
    /// The effect of the action held already.
    Unchanged,
    /// Built, nothing activated.
    Built,
    /// Built, and the changes of an activation were printed.
    Previewed,
    /// Active until the next boot.
    Activated,
    /// Active, and the boot default.
    Switched,
    /// The boot default, active from the next boot on.
    SetForBoot,
    /// The boot default, but the running system cannot be switched to it.
    RebootNeeded,
    /// Active, but with newly failed units.
    Degraded,
    /// Reverted: it failed its trial, and the former system runs again.
    Reverted,
    /// Not built, or not activated.
    Failed,
}

impl RebuildStatus {
    /// Whether another system runs than before, or will after the next boot.
    #[must_use]
    pub fn changes_system(self) -> bool {
        match self {
            Self::Activated
            | Self::Switched
            | Self::SetForBoot
            | Self::RebootNeeded
            | Self::Degraded => true,
            Self::Unchanged | Self::Built | Self::Previewed | Self::Reverted | Self::Failed => {
                false
            }
        }
    }

    /// Whether the effect of the action holds.
    #[must_use]
    pub fn is_done(self) -> bool {
        match self {
            Self::Unchanged
            | Self::Built
            | Self::Previewed
            | Self::Activated
            | Self::Switched
            | Self::SetForBoot
            | Self::RebootNeeded
            // The new system runs; another rebuild would change nothing.
            | Self::Degraded => true,
            Self::Reverted | Self::Failed => false,
        }
    }

    /// The status of an action that ended with this verdict, with or without newly failed units.
    pub(super) fn of(verdict: Verdict, action: Action, no_unit_failed: bool) -> Self {
        match (verdict, action) {
            // Also a failure that the activation did not detect.
            (Verdict::Done | Verdict::UnitsFailed, Action::Test | Action::Switch)
                if !no_unit_failed =>
            {
                Self::Degraded
            }
            (Verdict::Done | Verdict::UnitsFailed, Action::Build) => Self::Built,
            (Verdict::Done | Verdict::UnitsFailed, Action::Test) => Self::Activated,
            (Verdict::Done | Verdict::UnitsFailed, Action::Switch) => Self::Switched,
            (Verdict::Done | Verdict::UnitsFailed, Action::Boot) => Self::SetForBoot,
            (Verdict::Done | Verdict::UnitsFailed, Action::DryActivate) => Self::Previewed,
            (Verdict::RebootNeeded, Action::Switch) => Self::RebootNeeded,
            (
                Verdict::RebootNeeded | Verdict::NotBuilt | Verdict::NotActivated | Verdict::Busy,
                _,
            ) => Self::Failed,
        }
    }
}

/// A successful rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub status: RebuildStatus,
    /// The host of the flake.
    pub host: String,
    /// The commit the tree is at.
    pub commit: Option<CommitId>,
    /// The system, if its path is known.
    pub system: Option<PathBuf>,
    /// The number of the boot default among the generations of its profile, if this system is the boot default.
    pub generation: Option<u64>,
    /// What it changes against the system that ran before.
    pub changes: SystemChanges,
    /// How long the parts of this rebuild took.
    pub durations: Durations,
    /// How the flake reaches the target; `None` if its text does not show it.
    pub layout: Option<Layout>,
    /// The hash of the snapshot that was built; `None` if the build was not pinned.
    pub nar_hash: Option<NarHash>,
    /// The commit that Nix was given as `self.rev` of the tree; `None` also if nothing was built.
    pub revision: Option<CommitId>,
    /// Notes for the user.
    pub notes: Vec<RebuildNote>,
}

/// How long the parts of a rebuild took, in milliseconds; `None`: it had no such part, or its end was not seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    /// Taking the snapshot, and its comparison with the commit. Older versions did not write this.
    pub snapshot_ms: Option<u64>,
    /// Locking the inputs, and proving that Nix reads the snapshot. Older versions did not write this.
    pub preparation_ms: Option<u64>,
    /// The evaluation: until Nix said what it builds and downloads.
    pub evaluation_ms: Option<u64>,
    /// The build and the downloads.
    pub build_ms: Option<u64>,
    /// Finding out which packages and units change. Older versions did not write this.
    pub comparison_ms: Option<u64>,
    /// The activation.
    pub activation_ms: Option<u64>,
}

impl Durations {
    /// Of a build by Nix that took so long, and said after `planned` what it builds. What builds nothing only evaluates.
    pub(super) fn of_build(whole: Duration, planned: Option<Duration>) -> Self {
        let evaluation = planned.unwrap_or(whole);
        Self {
            evaluation_ms: Some(milliseconds(evaluation)),
            build_ms: planned.map(|planned| milliseconds(whole.saturating_sub(planned))),
            ..Self::default()
        }
    }

    /// With the time of the snapshot, and that of everything from there to the end of the build.
    pub(super) fn prepared(&mut self, snapshot: Duration, since: Duration) {
        self.snapshot_ms = Some(milliseconds(snapshot));
        let by_nix = self.evaluation_ms.unwrap_or_default() + self.build_ms.unwrap_or_default();
        self.preparation_ms = Some(milliseconds(since).saturating_sub(by_nix));
    }

    /// With the time in which the systems were compared.
    pub(super) fn compared(&mut self, time: Duration) {
        self.comparison_ms = Some(milliseconds(time));
    }

    /// With the time of the activation.
    pub(super) fn activated(&mut self, time: Duration) {
        self.activation_ms = Some(milliseconds(time));
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A note on a successful rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum RebuildNote {
    /// Units that had failed before still fail.
    StillFailing {
        /// Their names.
        units: Vec<String>,
    },
    /// When the run began, the machine was between two systems.
    HalfState {
        /// The state.
        state: HalfState,
        /// Whether this run has ended it.
        ended: bool,
    },
    /// Somebody else activated a system, which was waited for.
    Waited {
        /// The units or processes that did.
        activations: Vec<String>,
        /// Units that had not failed before the last activation by hyper-sync.
        failed: Vec<String>,
    },
    /// An earlier activation of ours hung, and was stopped before this one.
    Stopped {
        /// Its unit.
        unit: String,
        /// The time limit.
        #[serde(serialize_with = "seconds")]
        after: Duration,
        /// What systemd was working on.
        jobs: Vec<String>,
    },
    /// The system becomes active at the next boot.
    RebootNeeded {
        /// The components that cannot be replaced while the system runs, if the systems name them.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        inhibitors: Vec<String>,
    },
    /// The build read the live tree.
    NotPinned {
        /// Why.
        reason: UnpinnedReason,
    },
    /// `health.confirm` is set, but `nixos-rebuild` switches at once.
    NotOnTrial,
    /// The flake's lock file was written.
    Lock {
        /// The change.
        change: LockChange,
    },
    /// The flake's lock file could not be updated.
    LockFailed {
        /// Why.
        #[serde(serialize_with = "text::as_words")]
        cause: String,
    },
    /// Nix was given no revision, because the tree differs from the commit by local edits.
    NoRevision {
        /// The files that were edited or deleted, relative to the target.
        edited: Vec<RelPath>,
    },
    /// FIFOs, sockets and devices in the target, which Nix cannot copy.
    LeftOut {
        /// Relative to the target.
        paths: Vec<RelPath>,
    },
}

/// Why a build was not pinned to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum UnpinnedReason {
    /// There is no `nix` to build with.
    NoNix,
    /// Only root may activate what was built.
    NotRoot,
    /// No mount namespace could be made, and the flake names paths in the target.
    NoNamespace,
    /// An argument that `nix build` does not have.
    Argument {
        /// The argument.
        argument: String,
    },
    /// The tree could not be copied.
    Snapshot {
        /// Why.
        #[serde(serialize_with = "text::as_words")]
        cause: String,
    },
}

/// A change of `flake.lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockChange {
    /// It was missing.
    Made,
    /// It lacked an input.
    Completed,
    /// It locked the target to an older tree.
    Refreshed,
}

impl fmt::Display for RebuildStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}

/// What systemd was working on when an activation was stopped.
pub(super) fn waited_for(jobs: &[String]) -> String {
    if jobs.is_empty() {
        return String::new();
    }
    let names = jobs.iter().map(|job| format!("`{}`", text::name(job)));
    format!("; it waited for {}", text::list(names))
}

/// The reason for a reboot, where it is known.
pub(super) fn because_of(inhibitors: &[String]) -> String {
    if inhibitors.is_empty() {
        return String::new();
    }
    let names = inhibitors
        .iter()
        .map(|name| format!("`{}`", text::name(name)));
    format!(", because these change: {}", text::list(names))
}

impl fmt::Display for UnpinnedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNix => f.write_str("`nix` is not in the search path"),
            Self::NotRoot => f.write_str("not run as root"),
            Self::NoNamespace => f.write_str("no mount namespace can be made here"),
            Self::Argument { argument } => {
                write!(
                    f,
                    "`{}` is an argument of `nixos-rebuild` alone",
                    text::name(argument)
                )
            }
            Self::Snapshot { cause } => {
                write!(f, "the tree cannot be copied: {}", text::words(cause))
            }
        }
    }
}

impl RebuildNote {
    /// Whether it needs attention.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        match self {
            Self::NoRevision { .. }
            | Self::Lock {
                change: LockChange::Refreshed,
            } => false,
            Self::Waited { failed, .. } => !failed.is_empty(),
            _ => true,
        }
    }
}

impl fmt::Display for RebuildNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StillFailing { units } if units.is_empty() => {
                f.write_str("the activation reported failed units, but none has failed now")
            }
            Self::StillFailing { units } => write!(
                f,
                "units that had failed before still fail: {}",
                text::list(units.iter().map(text::name))
            ),
            Self::HalfState { state, ended } => {
                let ended = if *ended { "; this run has ended that" } else { "" };
                write!(f, "{state}{ended}")
            }
            Self::Waited {
                activations,
                failed,
            } => {
                let names = activations.iter().map(text::name);
                write!(f, "another activation was waited for: {}", text::list(names))?;
                if failed.is_empty() {
                    return Ok(());
                }
                write!(
                    f,
                    "; units have failed by now that had not before: {}",
                    text::list(failed.iter().map(text::name))
                )
            }
            Self::Stopped { unit, after, jobs } => write!(
                f,
                "an earlier activation hung for more than {}s and was stopped (`{}`){}",
                after.as_secs(),
                text::name(unit),
                waited_for(jobs)
            ),
            Self::RebootNeeded { inhibitors } => write!(
                f,
                "the running system cannot be switched to the new one{}; reboot to run it",
                because_of(inhibitors)
            ),
            Self::NotPinned { reason } => write!(
                f,
                "the build read the live tree, not a snapshot of it ({reason})"
            ),
            Self::NotOnTrial => f.write_str(
                "the switch was not on trial (`health.confirm`), because only a pinned build can be",
            ),
            Self::Lock { change } => f.write_str(match change {
                LockChange::Made => {
                    "`flake.lock` was missing and has been created; its inputs stay at their current versions"
                }
                LockChange::Completed => "`flake.lock` lacked an input and has been completed",
                LockChange::Refreshed => "`flake.lock` now locks the new tree",
            }),
            Self::LockFailed { cause } => write!(
                f,
                "`flake.lock` could not be updated ({}); a `nixos-rebuild` by hand may build another tree",
                text::words(cause)
            ),
            Self::NoRevision { edited } => write!(
                f,
                "`self.rev` is not set in this build, because the tree differs from the commit by local edits: {}",
                text::list(edited.iter().map(|path| format!("`{path}`")))
            ),
            Self::LeftOut { paths } => write!(
                f,
                "not part of the build because they are not regular files: {}",
                text::list(paths.iter().map(|path| format!("`{path}`")))
            ),
        }
    }
}
