//! How a rebuild went, in words.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::git::CommitId;
use crate::settings::Action;

/// What became of a rebuild; in JSON the words in kebab-case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The action's effect held already.
    Unchanged,
    /// Built, nothing activated.
    Built,
    /// Built, and what activation would do was shown.
    Previewed,
    /// Active until the next boot.
    Activated,
    /// Active, and the boot default.
    Switched,
    /// The boot default, active from the next boot on.
    SetForBoot,
    /// The boot default, but the running system cannot be switched to it.
    RebootNeeded,
    /// Active, but units failed that had not failed before.
    Degraded,
    /// Not built, or not activated.
    Failed,
}

impl Status {
    /// Whether the action's effect holds after it.
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
            // The new system is the running one; another rebuild would change nothing.
            | Self::Degraded => true,
            Self::Failed => false,
        }
    }

    /// What an end means for an action, where no unit has failed that had not before, or some have.
    pub(super) fn of(verdict: Verdict, action: Action, no_unit_failed: bool) -> Self {
        match (verdict, action) {
            (Verdict::UnitsFailed, _) if !no_unit_failed => Self::Degraded,
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

/// A rebuild that went well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// How.
    pub status: Status,
    /// The host of the flake.
    pub host: String,
    /// The commit the tree is at.
    pub commit: Option<CommitId>,
    /// The system, where its path is known.
    pub system: Option<PathBuf>,
    /// What the user should know besides.
    pub notes: Vec<Note>,
}

/// What the user should know of a rebuild that went well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// Units are in a failed state, and were so before.
    StillFailing {
        /// Their names.
        units: Vec<String>,
    },
    /// The system becomes active with the next boot only.
    RebootNeeded,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StillFailing { units } => write!(
                f,
                "units that had failed before still fail: {}",
                units.join(", ")
            ),
            Self::RebootNeeded => f.write_str(
                "the running system cannot be switched to the new one; reboot to run it",
            ),
        }
    }
}

/// The word `nixos-rebuild` and `switch-to-configuration` take.
pub(super) fn word(action: Action) -> &'static str {
    match action {
        Action::Build => "build",
        Action::Test => "test",
        Action::Switch => "switch",
        Action::Boot => "boot",
        Action::DryActivate => "dry-activate",
    }
}
