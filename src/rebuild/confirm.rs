//! A switch on trial (`health.confirm`): start the revert timer, activate without changing the boot default, run the
//! health checks, make the system the boot default, stop the timer.
//!
//! The revert timer is a systemd timer that runs the current program, which is a part of the former system unless the
//! user runs another one; that system is protected from the garbage collector. The timer does not need this process,
//! the new system's hyper-sync or the network. Every step writes the [`Trial`] first, so that the timer, or the next
//! run, can determine from where to revert. Reverting twice activates the former system twice, which is harmless.
//!
//! The boot default is changed last. Until then a reboot, also one by a power cut, starts the former system.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::activate::{self, Checks};
use super::context::RebuildContext;
use super::error::ErrorKind;
use super::machine;
use super::output::Verdict;
use super::quarantine::BuildId;
use super::record::RebuildRecord;
use super::running::retry_while_busy;
use super::trial::{ROOT, Trial, TrialStage};
use crate::health::{HealthContext, HealthReport};
use crate::process::{Command, Finished, Output};
use crate::settings::Action;
use crate::state;
use crate::text;

/// The timer and the service of the revert.
const REVERT: &str = "hyper-sync-revert";
/// How long this process may take for its own steps, beside the activation and the checks, before the revert begins.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// The environment of the revert: not the settings of Nix nor a proxy, whose passwords would be in an argument.
const PASSED: [&str; 4] = ["HOME", "LANG", "LOCALE_ARCHIVE", "PATH"];
/// How often a machine may go down in a trial of the same system: once may be a power cut.
const REBOOTS_MAX: u32 = 1;

/// The input of a switch on trial, besides that of a rebuild.
#[derive(Clone, Copy)]
pub struct Confirmation<'a> {
    /// The health checks.
    pub health: HealthContext<'a>,
    /// The program that the timer runs, and its arguments.
    pub revert_command: &'a [OsString],
}

/// Why a trial failed.
pub(super) struct TrialFailure {
    pub(super) cause: String,
    pub(super) report: Option<HealthReport>,
}

impl TrialFailure {
    pub(super) fn new(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            report: None,
        }
    }

    /// An activation that did not make the system run.
    pub(super) fn of_activation(verdict: Verdict, finished: Finished) -> Self {
        Self::new(verdict.into_error(Action::Switch, finished).to_string())
    }

    /// Checks that failed.
    pub(super) fn of_health(report: HealthReport) -> Self {
        let names = report
            .failed()
            .map(|check| format!("`{}`", text::name(&check.name)));
        Self {
            cause: format!("it failed the health checks {}", text::list(names)),
            report: Some(report),
        }
    }
}

/// Starts the revert timer and records the trial. `None` if there is no other system to revert to.
pub(super) fn begin(
    context: &RebuildContext<'_>,
    confirmation: &Confirmation<'_>,
    build: BuildId<'_>,
    system: &Path,
    record: &RebuildRecord,
) -> Result<Option<Trial>, ErrorKind> {
    let state = context.request.state;
    let earlier = Trial::load(state)?;
    let Some(former) = former(context, system, earlier.as_ref()) else {
        return Ok(None);
    };
    let revert_not_prepared = |cause: String| ErrorKind::RevertNotPrepared { cause };
    let program = confirmation.revert_command.first().map(Path::new);
    if !program.is_some_and(machine::exists) {
        return Err(revert_not_prepared(
            "the program of this run is gone".to_owned(),
        ));
    }
    let boot = context.machine.boot.as_deref();
    let health = &confirmation.health.settings.health;
    let tries: Duration = health.checks.iter().map(|check| check.timeout).sum();
    // The new system and, where that hangs, the former one.
    let activations = 2 * context.request.settings.activation_timeout;
    let after = activations + health.within + tries + MARGIN;
    let since = state::now();
    let trial = Trial {
        commit: build.commit,
        host: build.host.to_owned(),
        key: build.key.map(str::to_owned),
        system: system.to_owned(),
        former_commit: record.commit_of(&former),
        former,
        boot: boot.map(str::to_owned),
        process: std::process::id(),
        since,
        until: since.checked_add(after).unwrap_or(Timestamp::MAX),
        stage: TrialStage::Running,
        reboots: Trial::reboots(earlier.as_ref(), system, boot),
        may_boot: earlier.is_some_and(|earlier| earlier.system == system && earlier.may_boot),
    };
    if is_exhausted(&trial) {
        return Ok(Some(trial));
    }
    keep(context, ROOT, &trial.former).map_err(revert_not_prepared)?;
    trial.save(state)?;
    if let Err(cause) = start_timer(context, confirmation, after) {
        cancel(context, trial)?;
        return Err(revert_not_prepared(cause));
    }
    Ok(Some(trial))
}

/// Ends a trial whose activation did not begin. If an earlier one has changed the boot default, the record of the former
/// system is still needed.
pub(super) fn cancel(context: &RebuildContext<'_>, mut trial: Trial) -> Result<(), ErrorKind> {
    if !trial.may_boot {
        return end(context);
    }
    trial.stage = TrialStage::Confirming;
    trial.save(context.request.state)?;
    stop_timer(context);
    Ok(())
}

/// The system to revert to: the running one or, where that is the new one already (a `test` by hand, a trial that was
/// cut off), that of the earlier trial or the boot default. `None` if there is no other.
fn former(context: &RebuildContext<'_>, system: &Path, earlier: Option<&Trial>) -> Option<PathBuf> {
    let earlier = earlier.filter(|earlier| earlier.system == system);
    let systems = context.machine.systems();
    let candidates = [
        systems.current,
        earlier.map(|earlier| earlier.former.clone()),
        systems.profile,
    ];
    let mut others = candidates.into_iter().flatten();
    others.find(|other| other != system && machine::exists(other))
}

/// Whether the machine went down in each of the trials that this system may have.
pub(super) fn is_exhausted(trial: &Trial) -> bool {
    trial.reboots > REBOOTS_MAX
}

/// Makes the tested system the boot default.
pub(super) fn make_default(
    context: &RebuildContext<'_>,
    trial: &mut Trial,
    activate: impl FnOnce() -> Result<(Verdict, Finished), ErrorKind>,
) -> Result<Result<(), TrialFailure>, ErrorKind> {
    trial.stage = TrialStage::Confirming;
    trial.may_boot = true;
    if let Err(error) = trial.save(context.request.state) {
        return Ok(Err(TrialFailure::new(error.to_string())));
    }
    Ok(match activate() {
        Ok((Verdict::Done, _)) => Ok(()),
        Ok((verdict, finished)) => Err(TrialFailure::of_activation(verdict, finished)),
        Err(interrupted @ ErrorKind::Interrupted { .. }) => return Err(interrupted),
        Err(error) => Err(TrialFailure::new(error.to_string())),
    })
}

/// Activates the former system again, and makes it the boot default if the new one is.
///
/// The error describes the state of the machine: [`ErrorKind::Reverted`] on success.
pub(super) fn revert(
    context: &RebuildContext<'_>,
    trial: &mut Trial,
    failure: TrialFailure,
) -> ErrorKind {
    let TrialFailure { cause, report } = failure;
    enter(context, trial, TrialStage::Reverting);
    let is_default = context.machine.systems().profile.as_ref() == Some(&trial.system);
    // An earlier revert may have ended between the profile and the boot loader.
    let action = if is_default || trial.may_boot {
        Action::Switch
    } else {
        Action::Test
    };
    let stopped = if context.systemctl().activating().is_empty() {
        Ok(())
    } else {
        context.systemctl().stop_activation()
    };
    match stopped.and_then(|()| activate_former(context, &trial.former, action)) {
        Ok(()) => {
            enter(context, trial, TrialStage::Reverted);
            stop_timer(context);
            ErrorKind::Reverted {
                cause,
                report: report.map(Box::new),
            }
        }
        // The timer stays, and retries.
        Err(failure) => ErrorKind::NotReverted {
            cause,
            failure,
            former: trial.former.clone(),
        },
    }
}

/// Records a stage of the revert. A disk that the new system has filled must not keep the former one from running.
fn enter(context: &RebuildContext<'_>, trial: &mut Trial, stage: TrialStage) {
    trial.stage = stage;
    if let Err(error) = trial.save(context.request.state) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the state of the trial could not be written"
        );
    }
}

/// Removes the record and stops the timer of the revert, which does nothing without a record.
pub(super) fn end(context: &RebuildContext<'_>) -> Result<(), ErrorKind> {
    Trial::remove(context.request.state)?;
    stop_timer(context);
    Ok(())
}

/// Activates a former system, makes it the boot default, or both.
pub(super) fn activate_former(
    context: &RebuildContext<'_>,
    former: &Path,
    action: Action,
) -> Result<(), String> {
    let is_default = context.machine.systems().profile.as_deref() == Some(former);
    if matches!(action, Action::Switch | Action::Boot) && !is_default {
        let nix_env = find(context, "nix-env")?;
        let set = activate::profile_command(context, &nix_env, "--set", former.as_ref());
        succeed(context, &set)?;
    }
    let systemd_run = find(context, "systemd-run")?;
    context.systemctl().reset_failed_activation();
    // It ran before: its own checks (of the network, say) must not keep it from running again.
    let checks = Checks::Skipped;
    let attempt = || activate::switch(context, Some(&systemd_run), former, action, checks);
    let (verdict, finished) =
        retry_while_busy(context, attempt).map_err(|error| error.to_string())?;
    match verdict {
        Verdict::Done | Verdict::UnitsFailed => Ok(()),
        verdict => Err(verdict.into_error(action, finished).to_string()),
    }
}

/// Protects the former system from the garbage collector by a link in the state directory, and with it the program of
/// the timer if that is a part of it.
pub(super) fn keep(context: &RebuildContext<'_>, link: &str, former: &Path) -> Result<(), String> {
    let nix_store = find(context, "nix-store")?;
    let mut args: Vec<OsString> = ["--quiet", "--add-root"].map(Into::into).into();
    args.push(context.request.state.path().join(link).into());
    args.push("--realise".into());
    args.push(former.into());
    let command = context.command(&nix_store, args).output(Output::Quiet);
    succeed(context, &command)
}

/// Makes systemd start the revert after a time.
fn start_timer(
    context: &RebuildContext<'_>,
    confirmation: &Confirmation<'_>,
    after: Duration,
) -> Result<(), String> {
    let systemd_run = find(context, "systemd-run")?;
    // Remains of an earlier trial.
    stop_timer(context);
    let service = format!("{REVERT}.service");
    let _ = context.systemctl().ask(&["reset-failed", &service]);
    let mut args: Vec<OsString> = [
        "--collect",
        "--quiet",
        "--no-ask-password",
        "--timer-property=AccuracySec=1s",
        "--service-type=oneshot",
        "--property=SuccessExitStatus=13",
        // A lock may be held, or another activation be active.
        "--property=Restart=on-failure",
        "--property=RestartSec=60",
        "--description=Revert of a system that has not passed its health checks",
    ]
    .map(Into::into)
    .into();
    args.push(format!("--unit={REVERT}").into());
    args.push(format!("--on-active={}s", after.as_secs()).into());
    for name in PASSED {
        if let Some(value) = context.environment.get(name) {
            let mut variable = OsString::from(format!("--setenv={name}="));
            variable.push(value);
            args.push(variable);
        }
    }
    args.push("--".into());
    args.extend(confirmation.revert_command.iter().cloned());
    succeed(context, &context.command(&systemd_run, args))
}

fn find(context: &RebuildContext<'_>, program: &'static str) -> Result<PathBuf, String> {
    context.find(program).map_err(|error| error.to_string())
}

/// Runs a program that has to end with exit code 0.
fn succeed(context: &RebuildContext<'_>, command: &Command<'_>) -> Result<(), String> {
    match context.run(command) {
        Ok((0, _)) => Ok(()),
        Ok((_, finished)) => {
            let name = command.program.file_name().unwrap_or_default();
            Err(format!("`{}`: {}", name.display(), finished.tail))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Stops the timer. Not the service: this may be it.
fn stop_timer(context: &RebuildContext<'_>) {
    let timer = format!("{REVERT}.timer");
    // A timer that cannot be stopped finds no trial, or activates the former system again.
    let _ = context.systemctl().ask(&["stop", &timer]);
}
