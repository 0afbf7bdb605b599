//! The switch on trial as a step of the rebuild.

use std::path::PathBuf;

use super::boot::BootReasons;
use super::{Activated, RebuildPipeline, starts_units};
use crate::health::{self, HealthContext};
use crate::rebuild::activate::Activator;
use crate::rebuild::confirm::{self, TrialFailure};
use crate::rebuild::context::RebuildContext;
use crate::rebuild::error::ErrorKind;
use crate::rebuild::outcome::{Outcome, RebuildStatus};
use crate::rebuild::output::Verdict;
use crate::rebuild::quarantine::{BuildId, FailureClass, Quarantine};
use crate::rebuild::record::RebuildRecord;
use crate::rebuild::running;
use crate::rebuild::trial::{Trial, TrialStage};
use crate::settings::Action;

impl RebuildPipeline<'_> {
    /// Switches to a system permanently only if the machine is healthy with it; otherwise reverts to the former system.
    pub(super) fn on_trial(
        mut self,
        mut trial: Trial,
        health: &HealthContext<'_>,
        activator: &Activator,
    ) -> Result<Outcome, ErrorKind> {
        let context = self.context;
        let system = trial.system.clone();
        if confirm::is_exhausted(&trial) {
            let cause = "the machine went down in each trial of it";
            return self.revert(trial, TrialFailure::new(cause));
        }
        let baseline = context.baseline();
        let activated = self.activate(Action::Test, Some(&system), || {
            activator.activate(context, &system, Action::Test)
        });
        let activated = match activated {
            Ok(activated) if starts_units(Action::Test, activated.verdict) => activated,
            // Nothing was activated: only a boot starts it.
            Ok(activated) if activated.verdict == Verdict::RebootNeeded => {
                let key = trial.key.clone();
                confirm::cancel(context, trial)?;
                let (action, reasons) = (Action::Boot, BootReasons::of_init());
                return self.activate_untried(action, system, key.as_deref(), reasons, activator);
            }
            Ok(Activated {
                verdict, finished, ..
            }) => return self.revert(trial, TrialFailure::of_activation(verdict, finished)),
            // Another process activates a system: this one was not touched.
            Err(busy @ ErrorKind::Busy { .. }) => {
                confirm::cancel(context, trial)?;
                return Err(busy);
            }
            // The revert timer is running.
            Err(interrupted @ ErrorKind::Interrupted { .. }) => return Err(interrupted),
            Err(error) => return self.revert(trial, TrialFailure::new(error.to_string())),
        };
        match health::run(health, &baseline) {
            Ok(report) if report.is_healthy() => {}
            Ok(report) => return self.revert(trial, TrialFailure::of_health(report)),
            Err(health::Error::Interrupted) => {
                return Err(ErrorKind::Interrupted {
                    activating: Vec::new(),
                });
            }
            Err(error) => return self.revert(trial, TrialFailure::new(error.to_string())),
        }
        let made = confirm::make_default(context, &mut trial, || {
            running::retry_while_busy(context, || {
                activator.activate(context, &system, Action::Boot)
            })
        })?;
        if let Err(failure) = made {
            return self.revert(trial, failure);
        }
        confirm::end(context)?;
        self.conclude(activated, trial.key.as_deref(), Some(system))
    }

    /// Reverts to the former system, and records the result.
    fn revert(mut self, mut trial: Trial, failure: TrialFailure) -> Result<Outcome, ErrorKind> {
        let error = confirm::revert(self.context, &mut trial, failure);
        let error = self.failed(trial.key.as_deref(), error);
        let status = if matches!(error, ErrorKind::Reverted { .. }) {
            self.record.set_whole();
            RebuildStatus::Reverted
        } else {
            RebuildStatus::Failed
        };
        // The error of the trial is the one to report.
        let _ = self.finish(None, status, None);
        Err(error)
    }
}

/// Reverts a trial that another process began and did not end. `None` if there is nothing to activate.
pub(in crate::rebuild) fn revert(
    context: &RebuildContext<'_>,
    mut trial: Trial,
) -> Result<Option<ErrorKind>, ErrorKind> {
    let state = context.request.state;
    let systems = context.machine.systems();
    let is_part = |system: &Option<PathBuf>| {
        let system = system.as_ref();
        system == Some(&trial.system) || system == Some(&trial.former)
    };
    let mut record = RebuildRecord::load(state)?;
    if !trial.is_open(context.machine) {
        if trial.stage != TrialStage::Reverting {
            return Ok(None);
        }
        // A reboot has interrupted a revert.
        let is_left = [&systems.current, &systems.profile]
            .into_iter()
            .any(|system| system.as_ref() == Some(&trial.system));
        if !is_left && !trial.may_boot {
            trial.stage = TrialStage::Reverted;
            trial.save(state)?;
            return Ok(None);
        }
    }
    let has_begun = { &record.pending }
        .as_ref()
        .is_some_and(|pending| pending.begun);
    // Nothing was activated, or somebody has activated another system since.
    if !has_begun || !is_part(&systems.current) || !is_part(&systems.profile) {
        confirm::end(context)?;
        return Ok(None);
    }
    let cause = "its trial was interrupted before the health checks had passed";
    let error = confirm::revert(context, &mut trial, TrialFailure::new(cause));
    // What cannot be recorded costs another activation of the former system, or another trial.
    if matches!(error, ErrorKind::Reverted { .. }) {
        record.set_whole();
        let _ = record.save(state);
    }
    if let Ok(mut quarantine) = Quarantine::load(state) {
        let build = BuildId {
            commit: trial.commit,
            host: &trial.host,
            key: trial.key.as_deref(),
        };
        if quarantine
            .waiting(build, true, context.request.now)
            .is_none()
        {
            let (class, now) = (FailureClass::Health, context.request.now);
            quarantine.add(build, class, false, cause, now);
            let _ = quarantine.save(state);
        }
    }
    Ok(Some(error))
}
