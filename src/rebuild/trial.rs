//! The trial of a new system: `trial` in the state directory.
//!
//! With `health.confirm`, a new system runs on trial until its health checks have passed. The file exists from before
//! the activation until the trial has ended, so that another process can continue: the revert that systemd
//! starts, or the next run. A trial that was interrupted by a reboot has ended, because the boot default is still the
//! former system.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::git::CommitId;
use crate::state::sealed::{self, SealedFormat};
use crate::state::{self, StateDir};

const FILE: &str = "trial";
/// The link that keeps the former system from the garbage collector.
pub(super) const ROOT: &str = "former";
const FORMAT: SealedFormat = SealedFormat {
    kind: "trial",
    version: 1,
};

/// A system on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The commit of the tree.
    pub commit: Option<CommitId>,
    /// The host of the flake.
    pub host: String,
    /// What the build depends on, if that is known.
    pub key: Option<String>,
    /// The new system.
    pub system: PathBuf,
    /// The system that ran before it, and runs again if the trial fails.
    pub former: PathBuf,
    /// The commit that `former` was built from, if known: the target is reverted to it.
    pub former_commit: Option<CommitId>,
    /// The boot in which the trial began (`/proc/sys/kernel/random/boot_id`); `None` where it cannot be read.
    pub boot: Option<String>,
    /// The process of the trial.
    pub process: u32,
    /// When it began.
    pub since: Timestamp,
    /// When systemd starts the revert.
    pub until: Timestamp,
    /// Its phase.
    pub stage: TrialStage,
    /// How often a reboot has interrupted a trial of this system.
    pub reboots: u32,
    /// Whether the new system may be the boot default, in the profile or in the boot loader. Older versions did not
    /// write this.
    #[serde(default)]
    pub may_boot: bool,
}

/// The phase of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialStage {
    /// The new system is activated and checked.
    Running,
    /// The checks have passed, and the new system is made the boot default.
    Confirming,
    /// The former system is activated.
    Reverting,
    /// The former system is active, and the target is not reverted yet.
    Reverted,
}

impl Trial {
    /// Reads the record. A damaged one counts as absent: the revert that systemd starts then activates nothing, and a
    /// reboot starts the former system.
    pub fn load(state: &StateDir) -> Result<Option<Self>, state::Error> {
        Ok(sealed::read(state.directory(), FILE, FORMAT)?.whole())
    }

    /// Writes the record durably.
    pub(super) fn save(&self, state: &StateDir) -> Result<(), state::Error> {
        sealed::write(state.directory(), FILE, FORMAT, self)
    }

    /// Removes the record: the trial has ended.
    pub fn remove(state: &StateDir) -> Result<(), state::Error> {
        sealed::write_or_remove::<Self>(state.directory(), FILE, FORMAT, None)?;
        // A link that stays costs space, and the next trial replaces it.
        let _ = state.directory().unlink(ROOT);
        Ok(())
    }

    /// Whether the new system runs without having passed its checks, or the former one is being activated. A reboot ends
    /// both, because the boot default is the former system.
    #[must_use]
    pub fn is_open(&self, machine: &Machine) -> bool {
        let is_same_boot = match (&self.boot, &machine.boot) {
            (Some(began), Some(now)) => began == now,
            // The sandbox of the sync does not see the id.
            _ => machine.systems().current.as_ref() == Some(&self.system),
        };
        is_same_boot && matches!(self.stage, TrialStage::Running | TrialStage::Reverting)
    }

    /// The commit that the target is brought back to after the former system was activated again; `None` if that is not
    /// known, or if the target is not at the commit of the new system any more.
    #[must_use]
    pub fn commit_to_restore(&self, here: Option<CommitId>) -> Option<CommitId> {
        let reverted = self.stage == TrialStage::Reverted && here == self.commit;
        { self.former_commit }.filter(|former| reverted && here != Some(*former))
    }

    /// How often a trial of `system` was interrupted by a reboot, including `before` if it was.
    pub(super) fn reboots(before: Option<&Self>, system: &Path, boot: Option<&str>) -> u32 {
        match before {
            Some(before) if before.system == system && before.boot.as_deref() != boot => {
                before.reboots + 1
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(stage: TrialStage) -> Trial {
        Trial {
            commit: None,
            host: "vm".to_owned(),
            key: None,
            system: "/new".into(),
            former: "/old".into(),
            former_commit: None,
            boot: Some("a".to_owned()),
            process: 1,
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            stage,
            reboots: 0,
            may_boot: false,
        }
    }

    fn machine(boot: Option<&str>) -> Machine {
        Machine {
            boot: boot.map(str::to_owned),
            current: "/no/such/system".into(),
            ..Machine::here()
        }
    }

    #[test]
    fn a_trial_is_open_until_its_checks_have_passed_or_the_machine_has_booted() {
        for stage in [TrialStage::Running, TrialStage::Reverting] {
            assert!(trial(stage).is_open(&machine(Some("a"))));
            assert!(!trial(stage).is_open(&machine(Some("b"))));
            // Another system runs.
            assert!(!trial(stage).is_open(&machine(None)));
        }
        for stage in [TrialStage::Confirming, TrialStage::Reverted] {
            assert!(!trial(stage).is_open(&machine(Some("a"))));
        }
    }

    #[test]
    fn reboots_are_counted_for_one_system() {
        let mut before = trial(TrialStage::Running);
        before.reboots = 1;
        let count =
            |system: &str, boot| Trial::reboots(Some(&before), Path::new(system), Some(boot));
        assert_eq!(count("/new", "b"), 2);
        assert_eq!(count("/other", "b"), 0);
        assert_eq!(count("/new", "a"), 0);
        assert_eq!(Trial::reboots(None, Path::new("/new"), Some("b")), 0);
    }
}
