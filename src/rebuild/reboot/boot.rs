//! The first run after a boot: whether the machine came up with the system that it was to boot, and whether that one is
//! healthy.
//!
//! If it came up with another one (boot counting, a boot loader that fell back, a choice in its menu), the build is
//! quarantined, and the machine is not rebooted again for it. A system on trial (`health.confirm`) stays the boot default
//! only if its health checks pass. If they fail, the former system becomes the boot default again and the machine is
//! rebooted into it, once; the target is reverted after that boot.
//!
//! Each step is recorded before it is done, so that the next run, also after a power cut, continues with it. A machine
//! that goes down during the checks is checked once more; if it goes down again, the checks count as failed.
//!
//! Limits: what checks the new system is its own hyper-sync. A kernel that hangs before that needs the boot counting of
//! the boot loader.

use std::path::Path;

use super::{BootTrial, Reboot, RebootStage, logind, policy};
use crate::health::{self, Baseline, HealthContext, HealthReport};
use crate::rebuild::confirm::{self, TrialFailure};
use crate::rebuild::context::RebuildContext;
use crate::rebuild::error::ErrorKind;
use crate::rebuild::machine::{self, Systems};
use crate::rebuild::outcome::RebuildStatus;
use crate::rebuild::quarantine::{FailureClass, Quarantine};
use crate::rebuild::record::RebuildRecord;
use crate::settings::Action;
use crate::state::SyncState;

/// How often a machine may go down while the same system is checked: once may be a power cut.
const REBOOTS_MAX: u32 = 1;

/// The input of the first run after a boot, besides that of a rebuild.
#[derive(Clone, Copy)]
pub struct FirstRun<'a> {
    /// The health checks.
    pub health: HealthContext<'a>,
    /// Whether the machine may be rebooted into the former system.
    pub may_reboot: bool,
}

/// Judges the last boot. Returns whether a system on trial has passed its checks; what went wrong is the error.
pub(in crate::rebuild) fn judge(
    context: &RebuildContext<'_>,
    first: &FirstRun<'_>,
) -> Result<bool, ErrorKind> {
    let Some(reboot) = Reboot::load(context.request.state)? else {
        return Ok(false);
    };
    let has_booted = reboot.has_booted(context.machine);
    let systems = context.machine.systems();
    let Some(booted) = systems.booted.clone() else {
        return Ok(false);
    };
    match reboot.stage {
        RebootStage::Waiting | RebootStage::Rebooting if !has_booted => Ok(false),
        RebootStage::Failed | RebootStage::Reverting => {
            go_back(context, first, reboot, None).map(|()| false)
        }
        RebootStage::Reverted => Ok(false),
        _ if systems.profile.as_ref() != Some(&reboot.system) => {
            // Somebody has made another one the boot default since.
            Reboot::remove(context.request.state)?;
            Ok(false)
        }
        stage if !machine::is_variant_of(&booted, &reboot.system) => match stage {
            RebootStage::Missed => Ok(false),
            _ => missed(context, first, reboot, &booted).map(|()| false),
        },
        stage => match reboot.trial.clone() {
            Some(trial) if stage != RebootStage::Missed && runs(&systems, &reboot.system) => {
                check(context, first, reboot, trial).map(|()| true)
            }
            _ => {
                Reboot::remove(context.request.state)?;
                Ok(false)
            }
        },
    }
}

/// Whether the running system is this one: a person may have activated another one since the boot.
fn runs(systems: &Systems, system: &Path) -> bool {
    let current = systems.current.as_deref();
    current.is_some_and(|current| machine::is_variant_of(current, system))
}

/// The machine came up with another system.
fn missed(
    context: &RebuildContext<'_>,
    first: &FirstRun<'_>,
    mut reboot: Reboot,
    booted: &Path,
) -> Result<(), ErrorKind> {
    let state = context.request.state;
    let mut error = ErrorKind::OtherSystemBooted {
        booted: booted.to_owned(),
        is_default: false,
    };
    let cause = error.to_string();
    quarantine(context, &reboot, FailureClass::Activation, &cause)?;
    set_status(context, &reboot, RebuildStatus::Failed)?;
    reboot.waits_for = None;
    let Some(trial) = &mut reboot.trial else {
        reboot.stage = RebootStage::Missed;
        reboot.save(state)?;
        return Err(error);
    };
    if machine::is_variant_of(booted, &trial.former) {
        trial.failure = Some(cause);
        reboot.stage = RebootStage::Failed;
        reboot.save(state)?;
        return go_back(context, first, reboot, None);
    }
    let made = confirm::activate_former(context, booted, Action::Boot);
    made.map_err(|failure| not_reverted(&cause, failure, booted, None))?;
    Reboot::remove(state)?;
    if let ErrorKind::OtherSystemBooted { is_default, .. } = &mut error {
        *is_default = true;
    }
    Err(error)
}

/// Runs the health checks of a system that was booted.
fn check(
    context: &RebuildContext<'_>,
    first: &FirstRun<'_>,
    mut reboot: Reboot,
    mut trial: BootTrial,
) -> Result<(), ErrorKind> {
    let state = context.request.state;
    if reboot.stage == RebootStage::Checking && reboot.has_booted(context.machine) {
        trial.reboots += 1;
    }
    let is_exhausted = trial.reboots > REBOOTS_MAX;
    reboot.trial = Some(trial);
    reboot.enter(RebootStage::Checking, context.machine);
    reboot.save(state)?;
    let failure = if is_exhausted {
        TrialFailure::new("the machine went down each time it was checked")
    } else {
        let record = RebuildRecord::load(state)?;
        let failed = record.failed_before(&reboot.system).unwrap_or_default();
        let baseline = Baseline::of(failed.iter().cloned());
        match health::run(&first.health, &baseline) {
            Ok(report) if report.is_healthy() => return pass(context, &reboot),
            Ok(report) => TrialFailure::of_health(report),
            Err(health::Error::Interrupted) => {
                return Err(ErrorKind::Interrupted {
                    activating: Vec::new(),
                });
            }
            Err(error) => TrialFailure::new(error.to_string()),
        }
    };
    let TrialFailure { cause, report } = failure;
    if let Some(trial) = &mut reboot.trial {
        trial.failure = Some(cause.clone());
    }
    reboot.enter(RebootStage::Failed, context.machine);
    reboot.save_if_possible(state);
    quarantine(context, &reboot, FailureClass::Health, &cause)?;
    set_status(context, &reboot, RebuildStatus::Reverted)?;
    go_back(context, first, reboot, report)
}

/// Ends the trial of a healthy system.
fn pass(context: &RebuildContext<'_>, reboot: &Reboot) -> Result<(), ErrorKind> {
    let state = context.request.state;
    set_status(context, reboot, RebuildStatus::Switched)?;
    let mut failures = Quarantine::load(state)?;
    failures.remove(reboot.build_id(), true);
    failures.save(state)?;
    Ok(Reboot::remove(state)?)
}

/// Makes the former system the boot default, and reboots into it unless it runs.
fn go_back(
    context: &RebuildContext<'_>,
    first: &FirstRun<'_>,
    mut reboot: Reboot,
    report: Option<HealthReport>,
) -> Result<(), ErrorKind> {
    let state = context.request.state;
    let systems = context.machine.systems();
    let (Some(trial), Some(booted)) = (&reboot.trial, &systems.booted) else {
        return Ok(Reboot::remove(state)?);
    };
    let former = trial.former.clone();
    let cause = trial.failure.clone().unwrap_or_default();
    let is_default = |system: &Path| systems.profile.as_deref() == Some(system);
    let make_default = || confirm::activate_former(context, &former, Action::Boot);
    if machine::is_variant_of(booted, &former) {
        if is_default(&reboot.system) {
            make_default().map_err(|failure| not_reverted(&cause, failure, &former, None))?;
        }
        set_status(context, &reboot, RebuildStatus::Reverted)?;
        reboot.enter(RebootStage::Reverted, context.machine);
        reboot.save(state)?;
        return Err(ErrorKind::Reverted {
            cause,
            report: None,
        });
    }
    let has_booted_again =
        reboot.stage == RebootStage::Reverting && reboot.has_booted(context.machine);
    // A person has chosen another one since, to boot or to boot by default.
    if !machine::is_variant_of(booted, &reboot.system) || (has_booted_again && !is_default(&former))
    {
        return Ok(Reboot::remove(state)?);
    }
    let not_reverted =
        |failure: String, report| Err(not_reverted(&cause, failure, &former, report));
    if has_booted_again {
        let failure = "the machine has booted the new system again";
        return not_reverted(failure.to_owned(), report);
    }
    if reboot.stage == RebootStage::Failed {
        if let Err(failure) = make_default() {
            return not_reverted(failure, report);
        }
        reboot.enter(RebootStage::Reverting, context.machine);
        reboot.save_if_possible(state);
    }
    if !first.may_reboot {
        return not_reverted("`reboot.allow` is false".to_owned(), report);
    }
    // A run before this one may have asked for it.
    if !matches!(logind::scheduled(context.systemctl()), Ok(Some(_)))
        && let Err(failure) = context.systemctl().shutdown(&policy::SHUTDOWN)
    {
        return not_reverted(failure, report);
    }
    Err(ErrorKind::BootReverting {
        cause,
        report: report.map(Box::new),
        former,
    })
}

fn not_reverted(
    cause: &str,
    failure: String,
    former: &Path,
    report: Option<HealthReport>,
) -> ErrorKind {
    ErrorKind::BootNotReverted {
        cause: cause.to_owned(),
        failure,
        report: report.map(Box::new),
        former: former.into(),
    }
}

fn quarantine(
    context: &RebuildContext<'_>,
    reboot: &Reboot,
    class: FailureClass,
    reason: &str,
) -> Result<(), ErrorKind> {
    let mut quarantine = Quarantine::load(context.request.state)?;
    quarantine.add(reboot.build_id(), class, false, reason, context.now());
    Ok(quarantine.save(context.request.state)?)
}

/// Records how the rebuild of the system ended after all.
fn set_status(
    context: &RebuildContext<'_>,
    reboot: &Reboot,
    status: RebuildStatus,
) -> Result<(), ErrorKind> {
    let (state, published) = (context.request.state, context.request.state_file);
    let mut record = RebuildRecord::load(state)?;
    record.set_status(&reboot.system, status);
    let begun = record.begun().and_then(|begun| begun.system.as_deref());
    if begun == Some(&*reboot.system) {
        // A boot has started it as a whole, or another system in its place.
        record.set_whole();
    }
    record.save(state)?;
    if let Some(commit) = reboot.commit {
        let known = SyncState::load(state)?;
        let hash = known.and_then(|known| known.nar_hash);
        SyncState::record_rebuild(state, published, commit, status.to_string(), hash)?;
    }
    Ok(())
}
