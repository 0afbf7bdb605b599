//! A system that only becomes the boot default, as a step of the rebuild: why, and the record of the reboot it waits for.

use std::path::Path;

use super::RebuildPipeline;
use crate::rebuild::context::RebuildContext;
use crate::rebuild::error::ErrorKind;
use crate::rebuild::outcome::RebuildStatus;
use crate::rebuild::reboot::{self, Reboot, RebootStage, policy};
use crate::rebuild::switch_check;
use crate::settings::Action;

/// What changes if the new system has another init, which `switch-to-configuration` does not name.
const INIT: &str = "init";

/// The record of a reboot before the activation.
pub(super) enum Waited {
    /// It is as it was.
    Unchanged,
    /// The one of the new system has taken the place of this one.
    Replaced(Option<Box<Reboot>>),
}

impl Waited {
    /// Puts the record back if the new system did not become the boot default.
    pub(super) fn end_unless_default(
        self,
        context: &RebuildContext<'_>,
        system: &Path,
    ) -> Result<(), ErrorKind> {
        match self {
            Self::Replaced(before)
                if context.machine.systems().profile.as_deref() != Some(system) =>
            {
                reboot::withdraw(context, before.map(|before| *before))
            }
            Self::Unchanged | Self::Replaced(_) => Ok(()),
        }
    }
}

/// Why a system becomes the boot default instead of being switched to.
#[derive(Debug, Clone, Default)]
pub(super) struct BootReasons {
    /// The components that cannot be replaced while the system runs, by their names.
    inhibitors: Vec<String>,
    /// The parts that only a boot replaces, if this run leaves them to a reboot.
    parts: Vec<String>,
}

impl BootReasons {
    pub(super) fn of(context: &RebuildContext<'_>, action: Action, system: &Path) -> Self {
        let activates = matches!(action, Action::Test | Action::Switch);
        let inhibitors = activates.then(|| switch_check::inhibitors(context, system));
        Self {
            inhibitors: inhibitors.unwrap_or_default(),
            parts: Self::parts(context, action, system),
        }
    }

    /// Only the parts: `nixos-rebuild` finds the inhibitors itself.
    pub(super) fn of_parts(context: &RebuildContext<'_>, action: Action, system: &Path) -> Self {
        Self {
            inhibitors: Vec::new(),
            parts: Self::parts(context, action, system),
        }
    }

    pub(super) fn of_inhibitors(inhibitors: Vec<String>) -> Self {
        Self {
            inhibitors,
            parts: Vec::new(),
        }
    }

    /// The new system has another init.
    pub(super) fn of_init() -> Self {
        Self::of_inhibitors(vec![INIT.to_owned()])
    }

    fn parts(context: &RebuildContext<'_>, action: Action, system: &Path) -> Vec<String> {
        if context.request.reboots && action == Action::Switch {
            return reboot::changes(&context.machine.systems(), system);
        }
        Vec::new()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inhibitors.is_empty() && self.parts.is_empty()
    }

    /// All of them by name.
    pub(super) fn names(self) -> Vec<String> {
        let Self {
            mut inhibitors,
            parts,
        } = self;
        inhibitors.extend(parts);
        inhibitors
    }

    /// Whether a switch would be possible.
    pub(super) fn is_deferral(&self) -> bool {
        self.inhibitors.is_empty() && !self.parts.is_empty()
    }
}

impl RebuildPipeline<'_> {
    /// The action that is possible with a system: one that the running system cannot be switched to becomes the boot
    /// default.
    pub(super) fn allowed_action(
        &self,
        action: Action,
        system: &Path,
        reasons: &BootReasons,
    ) -> Result<Action, ErrorKind> {
        match action {
            Action::Switch if !reasons.is_empty() => Ok(Action::Boot),
            Action::Test if !reasons.is_empty() => Err(ErrorKind::RebootNeeded {
                inhibitors: reasons.clone().names(),
            }),
            Action::Test | Action::Switch => {
                switch_check::run(self.context, system).map(|()| action)
            }
            Action::Build | Action::Boot | Action::DryActivate => Ok(action),
        }
    }

    /// Records the trial of a system that is about to become the boot default, with `health.confirm`.
    pub(super) fn begin_boot(
        &self,
        action: Action,
        system: &Path,
        key: Option<&str>,
        reasons: &BootReasons,
    ) -> Result<Waited, ErrorKind> {
        let context = self.context;
        if action != Action::Boot || context.request.confirmation.is_none() {
            return Ok(Waited::Unchanged);
        }
        let Some(trial) = reboot::begin_trial(context, system, &self.record)? else {
            return Ok(Waited::Unchanged);
        };
        let before = Reboot::load(context.request.state)?;
        let mut changes = reasons.clone().names();
        if changes.is_empty() {
            changes = reboot::changes(&context.machine.systems(), system);
        }
        reboot::await_boot(context, self.id(key), system, changes, Some(trial))?;
        Ok(Waited::Replaced(before.map(Box::new)))
    }

    /// Records the reboot that a new boot default waits for, or that none is waited for any more.
    pub(super) fn await_boot(
        &self,
        status: RebuildStatus,
        reasons: BootReasons,
        system: &Path,
        key: Option<&str>,
    ) -> Result<(), ErrorKind> {
        let mut changes = match status {
            RebuildStatus::RebootNeeded => reasons.names(),
            RebuildStatus::SetForBoot => Vec::new(),
            _ => return policy::end_if_over(self.context).map(drop),
        };
        if changes.is_empty() {
            changes = reboot::changes(&self.context.machine.systems(), system);
        }
        if changes.is_empty() && status == RebuildStatus::RebootNeeded {
            changes.push(INIT.to_owned());
        }
        if changes.is_empty() {
            return policy::end_if_over(self.context).map(drop);
        }
        reboot::await_boot(self.context, self.id(key), system, changes, None).map(drop)
    }

    /// Whether the machine was to boot this system and came up with another one.
    pub(super) fn came_up_otherwise(&self, system: Option<&Path>) -> Result<bool, ErrorKind> {
        let reboot = Reboot::load(self.context.request.state)?;
        Ok(reboot.is_some_and(|reboot| {
            reboot.stage == RebootStage::Missed && Some(reboot.system.as_path()) == system
        }))
    }
}
