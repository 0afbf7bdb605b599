//! The first run after a boot: whether the machine came up with the system that it was to boot.
//!
//! Where it did not (boot counting, a boot loader that fell back, a choice in its menu), its build is quarantined, and the
//! machine is not rebooted again for it.

use super::{Reboot, RebootStage};
use crate::rebuild::context::RebuildContext;
use crate::rebuild::error::ErrorKind;
use crate::rebuild::machine;
use crate::rebuild::quarantine::{FailureClass, Quarantine};
use crate::rebuild::record::RebuildRecord;

/// Judges the last boot. `None` if nothing was to be judged, or the machine runs what it was to run.
pub(in crate::rebuild) fn judge(
    context: &RebuildContext<'_>,
) -> Result<Option<ErrorKind>, ErrorKind> {
    let state = context.request.state;
    let Some(mut reboot) = Reboot::load(state)? else {
        return Ok(None);
    };
    let systems = context.machine.systems();
    let (true, Some(booted)) = (reboot.has_booted(context.machine), systems.booted) else {
        return Ok(None);
    };
    // It runs, or somebody has made another one the boot default since.
    if machine::is_variant_of(&booted, &reboot.system)
        || systems.profile.as_ref() != Some(&reboot.system)
    {
        Reboot::remove(state)?;
        return Ok(None);
    }
    if reboot.stage == RebootStage::Missed {
        return Ok(None);
    }
    let error = ErrorKind::OtherSystemBooted { booted };
    let mut quarantine = Quarantine::load(state)?;
    let (class, reason) = (FailureClass::Activation, error.to_string());
    quarantine.add(reboot.build_id(), class, false, &reason, context.now());
    quarantine.save(state)?;
    let mut record = RebuildRecord::load(state)?;
    record.set_not_booted(&reboot.system);
    record.save(state)?;
    reboot.stage = RebootStage::Missed;
    reboot.waits_for = None;
    reboot.save(state)?;
    Ok(Some(error))
}
