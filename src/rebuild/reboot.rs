//! The reboot that a new system waits for: `reboot` in the state directory.
//!
//! A system with another kernel, or with a component that cannot be replaced while the system runs, becomes the boot
//! default and runs from the next boot on. The record exists from before it is the boot default until it runs. It tells
//! since when a reboot is needed, and it is the base on which the next boot is judged ([`boot`]): the machine may come up
//! with another system, because its boot loader has fallen back or somebody has chosen it.
//!
//! [`policy`] decides whether and when the machine reboots by itself.
//!
//! A lost or damaged record costs the age; whether a reboot is needed is found out by comparison.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::context::RebuildContext;
use super::error::ErrorKind;
use super::machine::{self, Machine, Systems};
use super::quarantine::BuildId;
use crate::git::CommitId;
use crate::state::sealed::{self, SealedFormat};
use crate::state::{self, StateDir};

pub(super) mod boot;
mod logind;
pub(super) mod policy;

const FILE: &str = "reboot";
const FORMAT: SealedFormat = SealedFormat {
    kind: "reboot",
    version: 1,
};
/// The parts of a system that only a boot replaces, by their names in it.
const PARTS: [&str; 3] = ["initrd", "kernel", "kernel-modules"];

/// A boot default that runs from the next boot on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboot {
    /// The commit of the tree it was built from, if known.
    pub commit: Option<CommitId>,
    /// The host of the flake.
    pub host: String,
    /// What the build depends on, if that is known.
    pub key: Option<String>,
    /// The new system.
    pub system: PathBuf,
    /// The boot in which the stage was entered (`/proc/sys/kernel/random/boot_id`); `None` where it cannot be read.
    pub boot: Option<String>,
    /// Since when a reboot is needed.
    pub since: Timestamp,
    /// Its phase.
    pub stage: RebootStage,
    /// What only a boot replaces; empty if the system merely is to run from the next boot on (`boot`).
    pub changes: Vec<String>,
    /// What the reboot waits for, as far as it was found out.
    pub waits_for: Option<String>,
}

/// The phase of a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebootStage {
    /// The system waits for the reboot.
    Waiting,
    /// `shutdown` was asked for the reboot, in the boot of the record.
    Rebooting,
    /// The machine has booted since and came up with another system.
    Missed,
}

impl Reboot {
    /// Reads the record. A damaged one counts as absent.
    pub fn load(state: &StateDir) -> Result<Option<Self>, state::Error> {
        Ok(sealed::read(state.directory(), FILE, FORMAT)?.whole())
    }

    /// Writes the record durably.
    pub(super) fn save(&self, state: &StateDir) -> Result<(), state::Error> {
        sealed::write(state.directory(), FILE, FORMAT, self)
    }

    /// Removes the record.
    pub fn remove(state: &StateDir) -> Result<(), state::Error> {
        sealed::write_or_remove::<Self>(state.directory(), FILE, FORMAT, None)
    }

    /// Whether the machine has booted since the stage was entered; no, where that is not known.
    #[must_use]
    pub fn has_booted(&self, machine: &Machine) -> bool {
        matches!((&self.boot, &machine.boot), (Some(then), Some(now)) if then != now)
    }

    /// Whether the machine is to reboot for it.
    #[must_use]
    pub fn is_pending(&self, machine: &Machine) -> bool {
        let waits = match self.stage {
            RebootStage::Waiting | RebootStage::Rebooting => !self.has_booted(machine),
            RebootStage::Missed => false,
        };
        waits && !self.changes.is_empty()
    }

    /// Whether nothing is left of it to wait for: another system is the boot default, or it runs as if it had been booted.
    fn is_over(&self, systems: &Systems) -> bool {
        let runs = systems.current.as_ref() == Some(&self.system);
        systems.profile.as_ref() != Some(&self.system)
            || (runs && changes(systems, &self.system).is_empty())
    }

    /// What identifies its build.
    pub(super) fn build_id(&self) -> BuildId<'_> {
        BuildId {
            commit: self.commit,
            host: &self.host,
            key: self.key.as_deref(),
        }
    }
}

/// The parts of a system that differ from those that were booted, by name; none if nothing is known of what was booted.
pub(super) fn changes(systems: &Systems, system: &Path) -> Vec<String> {
    let Some(booted) = &systems.booted else {
        return Vec::new();
    };
    PARTS
        .into_iter()
        .filter(|name| machine::part(booted, name) != machine::part(system, name))
        .map(str::to_owned)
        .collect()
}

/// Records that a system is about to become the boot default and to run from the next boot on. A shutdown that was
/// scheduled for an earlier one still takes place.
pub(super) fn await_boot(
    context: &RebuildContext<'_>,
    build: BuildId<'_>,
    system: &Path,
    changes: Vec<String>,
) -> Result<Reboot, ErrorKind> {
    let state = context.request.state;
    let earlier = Reboot::load(state)?.filter(|earlier| !earlier.has_booted(context.machine));
    let waits = earlier.as_ref();
    let waits = waits.filter(|earlier| !changes.is_empty() && !earlier.changes.is_empty());
    let reboot = Reboot {
        commit: build.commit,
        host: build.host.to_owned(),
        key: build.key.map(str::to_owned),
        system: system.to_owned(),
        boot: context.machine.boot.clone(),
        since: waits.map_or_else(state::now, |earlier| earlier.since),
        stage: earlier.map_or(RebootStage::Waiting, |earlier| earlier.stage),
        changes,
        waits_for: None,
    };
    reboot.save(state)?;
    Ok(reboot)
}
