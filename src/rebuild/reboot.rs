//! The reboot that a new system waits for: `reboot` in the state directory.
//!
//! A system with another kernel, or with a component that cannot be replaced while the system runs, becomes the boot
//! default and runs from the next boot on. The record exists from before it is the boot default until it runs. It tells
//! since when a reboot is needed, and it is the base on which the next boot is judged ([`boot`]): the machine may come up
//! with another system, because its boot loader has fallen back or somebody has chosen it.
//!
//! [`policy`] decides whether and when the machine reboots by itself. With `health.confirm`, a system that a rebuild has made
//! the boot default is on trial ([`BootTrial`]) until its health checks have passed after the boot.
//!
//! A lost or damaged record costs the trial and the age; whether a reboot is needed is found out by comparison.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::confirm;
use super::context::RebuildContext;
use super::error::ErrorKind;
use super::machine::{self, Machine, Systems};
use super::quarantine::BuildId;
use super::record::RebuildRecord;
use crate::git::CommitId;
use crate::state::sealed::{self, SealedFormat};
use crate::state::{self, StateDir};

pub(super) mod boot;
mod logind;
pub(super) mod policy;

const FILE: &str = "reboot";
/// The link that keeps the former system of a trial from the garbage collector.
const ROOT: &str = "former-boot";
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
    /// The trial of the system, if it has to pass the health checks after the boot.
    pub trial: Option<BootTrial>,
}

/// The trial of a system that runs from the next boot on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootTrial {
    /// The system that ran when the new one became the boot default, and is the boot default again if the trial fails.
    pub former: PathBuf,
    /// The commit that `former` was built from, if known: the target is reverted to it.
    pub former_commit: Option<CommitId>,
    /// Why the trial failed.
    pub failure: Option<String>,
    /// How often the machine went down while the system was checked.
    pub reboots: u32,
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
    /// The system was booted and is checked.
    Checking,
    /// The checks failed, and the former system is made the boot default.
    Failed,
    /// The former system is the boot default, and `shutdown` was asked for the reboot into it.
    Reverting,
    /// The former system runs, and the target is not reverted yet.
    Reverted,
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

    /// Writes the record. A disk that the new system has filled must not keep the machine from the former one.
    fn save_if_possible(&self, state: &StateDir) {
        if let Err(error) = self.save(state) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the state of the reboot could not be written"
            );
        }
    }

    /// Enters a stage, in this boot.
    fn enter(&mut self, stage: RebootStage, machine: &Machine) {
        self.stage = stage;
        self.boot.clone_from(&machine.boot);
        self.waits_for = None;
    }

    /// Removes the record.
    pub fn remove(state: &StateDir) -> Result<(), state::Error> {
        sealed::write_or_remove::<Self>(state.directory(), FILE, FORMAT, None)?;
        // A link that stays costs space, and the next trial replaces it.
        let _ = state.directory().unlink(ROOT);
        Ok(())
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
            RebootStage::Missed
            | RebootStage::Checking
            | RebootStage::Failed
            | RebootStage::Reverting
            | RebootStage::Reverted => false,
        };
        waits && !self.changes.is_empty()
    }

    /// Whether the system is still to be booted.
    fn is_before_boot(&self) -> bool {
        match self.stage {
            RebootStage::Waiting | RebootStage::Rebooting | RebootStage::Missed => true,
            RebootStage::Checking
            | RebootStage::Failed
            | RebootStage::Reverting
            | RebootStage::Reverted => false,
        }
    }

    /// Whether nothing is left of it to wait for: another system is the boot default, or it runs as if it had been booted.
    /// A trial ends otherwise.
    fn is_over(&self, systems: &Systems) -> bool {
        if !self.is_before_boot() {
            return false;
        }
        let runs = systems.current.as_ref() == Some(&self.system);
        systems.profile.as_ref() != Some(&self.system)
            || (runs && changes(systems, &self.system).is_empty())
    }

    /// The commit that the target is brought back to after the former system was booted again; `None` if that is not
    /// known, or if the target is not at the commit of the new system any more.
    #[must_use]
    pub fn commit_to_restore(&self, here: Option<CommitId>) -> Option<CommitId> {
        let former = self.trial.as_ref()?.former_commit;
        former.filter(|former| here == self.commit && here != Some(*former))
    }

    /// Whether it is the reason why a boot default does not run: that one is to be booted.
    pub(super) fn explains(&self, profile: &Path) -> bool {
        match self.stage {
            RebootStage::Failed | RebootStage::Reverting => {
                let former = self.trial.as_ref().map(|trial| trial.former.as_path());
                former == Some(profile)
            }
            _ => self.system == profile,
        }
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
    trial: Option<BootTrial>,
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
        stage: match &earlier {
            Some(earlier) if earlier.stage == RebootStage::Rebooting => RebootStage::Rebooting,
            _ => RebootStage::Waiting,
        },
        changes,
        waits_for: None,
        trial: trial.or_else(|| {
            let earlier = earlier.filter(|earlier| earlier.system == system);
            earlier.and_then(|earlier| earlier.trial)
        }),
    };
    reboot.save(state)?;
    Ok(reboot)
}

/// The trial of a system that is about to become the boot default. `None` if there is no other system to revert to. From
/// then on the former system is kept from the garbage collector.
pub(super) fn begin_trial(
    context: &RebuildContext<'_>,
    system: &Path,
    record: &RebuildRecord,
) -> Result<Option<BootTrial>, ErrorKind> {
    let earlier = Reboot::load(context.request.state)?;
    let earlier = earlier.filter(|earlier| earlier.system == system);
    let known = earlier.and_then(|earlier| earlier.trial);
    let systems = context.machine.systems();
    let candidates = [
        systems.current,
        known.map(|known| known.former),
        systems.profile,
    ];
    let mut others = candidates.into_iter().flatten();
    let Some(former) = others.find(|other| other != system && machine::exists(other)) else {
        return Ok(None);
    };
    let kept = confirm::keep(context, ROOT, &former);
    kept.map_err(|cause| ErrorKind::RevertNotPrepared { cause })?;
    Ok(Some(BootTrial {
        former_commit: record.commit_of(&former),
        former,
        failure: None,
        reboots: 0,
    }))
}

/// Puts the record back that there was before [`await_boot`], for a system that did not become the boot default.
pub(super) fn withdraw(
    context: &RebuildContext<'_>,
    before: Option<Reboot>,
) -> Result<(), ErrorKind> {
    let state = context.request.state;
    match before {
        Some(before) => before.save(state)?,
        None => Reboot::remove(state)?,
    }
    Ok(())
}
