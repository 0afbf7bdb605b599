//! States between two systems: an activation did not end, or the running system is not the boot default.
//!
//! They are recognised from the record of the activation that has begun and from the links of the machine, at the begin of
//! each rebuild and by `status`. An activation that did not end is repeated by the next run, except after a failure that
//! the quarantine keeps from being repeated, or if somebody has changed the system since: then they have repaired it.
//!
//! Limits: whether the boot loader was written is not read from it. That a person has activated the former system again
//! is recognised by the time of the link of the running system, in the same boot only.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::context::RebuildContext;
use super::error::ErrorKind;
use super::machine::{Machine, Systems};
use super::outcome::RebuildStatus;
use super::reboot::Reboot;
use super::record::{BegunActivation, RebuildRecord};
use super::running;
use crate::settings::Action;
use crate::text;

/// A state between two systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HalfState {
    /// How far the activation came, or what else differs.
    pub kind: HalfStateKind,
    /// The system whose activation did not end; `None` if that is not known, or if all have ended.
    pub system: Option<PathBuf>,
    /// The running system.
    pub running: Option<PathBuf>,
    /// The boot default.
    pub boots: Option<PathBuf>,
    /// Whether the activation failed; else its end is not recorded: it was cut off, or its run was.
    pub failed: bool,
}

/// The kinds of states between two systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HalfStateKind {
    /// The activation goes on, without a run that waits for it, in this unit or process.
    Active(String),
    /// It had changed neither the running system nor the boot default.
    Unchanged,
    /// The new system is the boot default only.
    BootDefault,
    /// The new system runs.
    Running,
    /// The new system runs since a boot.
    Booted,
    /// Somebody has activated another system since.
    ChangedSince,
    /// No activation was cut off, and the running system is not the boot default.
    Differs,
}

impl HalfState {
    /// The state of this machine; `None` if it runs one system as a whole.
    pub(super) fn of(
        context: &RebuildContext<'_>,
        record: &RebuildRecord,
    ) -> Result<Option<Self>, ErrorKind> {
        let machine = context.machine;
        let systems = machine.systems();
        let kind = match record.begun() {
            Some(begun) => match running::of_begun(context, begun) {
                Some(name) => Some(HalfStateKind::Active(name)),
                None => of_begun(begun, machine, &systems),
            },
            None if differs(context, record, &systems)? => Some(HalfStateKind::Differs),
            None => None,
        };
        let begun = record.begun();
        Ok(kind.map(|kind| Self {
            kind,
            system: begun.and_then(|begun| begun.system.clone()),
            running: systems.current,
            boots: systems.profile,
            failed: begun.is_some_and(|begun| begun.failed),
        }))
    }

    /// Whether somebody has activated another system since the activation was cut off.
    pub(super) fn is_changed_since(&self) -> bool {
        self.kind == HalfStateKind::ChangedSince
    }

    /// What the next run does about it.
    #[must_use]
    pub fn next(&self, is_quarantined: bool) -> &'static str {
        match self.kind {
            HalfStateKind::Active(_) => "the next run waits for it",
            HalfStateKind::Differs => "the next run activates what is wanted",
            HalfStateKind::ChangedSince => "it is repeated by `hyper-sync rebuild` only",
            _ if is_quarantined => "it is repeated by `hyper-sync rebuild` only",
            _ => "the next run repeats it",
        }
    }
}

/// How far an activation came.
fn of_begun(
    begun: &BegunActivation,
    machine: &Machine,
    systems: &Systems,
) -> Option<HalfStateKind> {
    let Systems {
        current, profile, ..
    } = systems;
    // A system that `nixos-rebuild` built is not known: it is what has changed.
    let is_new = |now: &Option<PathBuf>, before: &Option<PathBuf>| match &begun.system {
        Some(system) => now.as_ref() == Some(system),
        None => now != before,
    };
    let runs = is_new(current, &begun.current);
    let boots = is_new(profile, &begun.profile);
    let is_same_boot = match (&begun.boot, &machine.boot) {
        (Some(then), Some(now)) => then == now,
        _ => true,
    };
    let is_other = |now: &Option<PathBuf>, before: &Option<PathBuf>| {
        now != before && now.as_ref() != begun.system.as_ref()
    };
    // A boot changes the running system without anybody's doing.
    let is_other = begun.system.is_some()
        && ((is_same_boot && is_other(current, &begun.current))
            || is_other(profile, &begun.profile));
    // Activating it links it again.
    let is_former_again =
        !runs && is_same_boot && machine.switched_at().is_some_and(|time| time > begun.at);
    match (runs, boots) {
        _ if is_other || is_former_again => Some(HalfStateKind::ChangedSince),
        (true, _) if !is_same_boot => Some(HalfStateKind::Booted),
        (true, _) => Some(HalfStateKind::Running),
        (false, true) => Some(HalfStateKind::BootDefault),
        // What was not changed needs no repair.
        (false, false) => (!begun.failed).then_some(HalfStateKind::Unchanged),
    }
}

/// Whether the running system is not the boot default, although a switch is wanted and none waits for a reboot.
fn differs(
    context: &RebuildContext<'_>,
    record: &RebuildRecord,
    systems: &Systems,
) -> Result<bool, ErrorKind> {
    let (Some(last), Some(current), Some(profile)) =
        (&record.last, &systems.current, &systems.profile)
    else {
        return Ok(false);
    };
    if context.request.wanted() != Action::Switch || current == profile {
        return Ok(false);
    }
    let is_for_boot = matches!(
        last.status,
        RebuildStatus::RebootNeeded | RebuildStatus::SetForBoot
    );
    let waits = is_for_boot && last.out.as_ref() == Some(profile) && last.booted == systems.booted;
    let reboot = Reboot::load(context.request.state)?;
    Ok(!waits && reboot.is_none_or(|reboot| !reboot.explains(profile)))
}

impl HalfStateKind {
    /// Its name in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Active(_) => "active",
            Self::Unchanged => "unchanged",
            Self::BootDefault => "boot-default",
            Self::Running => "running",
            Self::Booted => "booted",
            Self::ChangedSince => "changed-since",
            Self::Differs => "differs",
        }
    }
}

impl Serialize for HalfStateKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A system in a sentence.
fn name(system: Option<&PathBuf>) -> String {
    let system = system.map(PathBuf::as_path).map(Path::display);
    system.map_or_else(
        || "an unknown system".to_owned(),
        |system| format!("`{}`", text::words(system.to_string())),
    )
}

impl fmt::Display for HalfState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = name(self.system.as_ref());
        let running = name(self.running.as_ref());
        let boots = name(self.boots.as_ref());
        // An activation may have ended after its run.
        let ended = if self.failed {
            "failed"
        } else {
            "has no recorded end"
        };
        match &self.kind {
            HalfStateKind::Active(unit) => write!(
                f,
                "the activation of {system} goes on in `{}`, and its run has ended",
                text::name(unit)
            ),
            HalfStateKind::Unchanged => write!(
                f,
                "the activation of {system} {ended}, and changed neither the running system nor the boot default"
            ),
            HalfStateKind::BootDefault => write!(
                f,
                "the activation of {system} {ended}: it is the boot default, perhaps not in the boot loader, and {running} \
                 runs"
            ),
            HalfStateKind::Running => {
                write!(
                    f,
                    "the activation of {system} {ended}: it runs, perhaps in part"
                )?;
                if self.boots == self.running {
                    return Ok(());
                }
                write!(f, ", and {boots} is the boot default")
            }
            HalfStateKind::Booted => write!(
                f,
                "the activation of {system} {ended}, and the machine has booted it since"
            ),
            HalfStateKind::ChangedSince => write!(
                f,
                "the activation of {system} {ended}, and somebody has changed the system since: {running} runs, and \
                 {boots} is the boot default"
            ),
            HalfStateKind::Differs => {
                write!(f, "{running} runs, and {boots} is the boot default")
            }
        }
    }
}
