//! `hyper-sync revert`: reverts to the former system after a failed trial (`health.confirm`). systemd starts it; the
//! rebuild itself, and the next run, use its functions.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::rebuild::{PATIENCE, RebuildPolicy, with_request};
use super::{CliCommand, Run};
use crate::Error;
use crate::apply::undo::Back;
use crate::exit::Exit;
use crate::git::CommitId;
use crate::health::HealthContext;
use crate::lock::{self, RunLock};
use crate::rebuild::{self, FirstRun, Reboot, RebootStage, Trial, TrialStage};
use crate::settings::Settings;
use crate::state::StateDir;
use crate::sync::{self, Options, SyncMode};
use crate::text::with_causes;

/// Revert to the former system from one on trial whose run was killed or hangs
///
/// The former system is activated, and the target goes back to its commit. Without a system on trial, nothing is done.
#[derive(Args)]
pub(super) struct Arguments {
    /// The time of the trial is over: its run is killed if it still holds the lock
    #[arg(long, hide = true)]
    expired: bool,
}

/// How long the run of the trial may take to release the lock. Its time limit is over when systemd starts this command.
const WAIT: Duration = Duration::from_secs(10);

impl CliCommand for Arguments {
    fn may_change(&self) -> bool {
        true
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let state = StateDir::open(&settings.state_dir)?;
        state.refuse_other(&settings.target)?;
        let Some(trial) = Trial::load(&state)? else {
            run.report.message("no system is on trial");
            return Ok(Exit::Done);
        };
        let lock = lock_from(&trial, self.expired, &state, run)?;
        revert(lock, settings, &state, run)?;
        Ok(Exit::Done)
    }
}

/// Ends a trial whose run has died, and judges the last boot, before anything else is done.
pub(super) fn first(settings: &Settings, state: &StateDir, run: &mut Run<'_>) -> Result<(), Error> {
    if Trial::load(state)?.is_some() {
        let lock = RunLock::acquire(state, PATIENCE, run.interrupt)?;
        revert(lock, settings, state, run)?;
    }
    judge_boot(settings, state, run)
}

/// Judges the last boot, and reverts the target if the former system runs again.
pub(super) fn judge_boot(
    settings: &Settings,
    state: &StateDir,
    run: &mut Run<'_>,
) -> Result<(), Error> {
    if Reboot::load(state)?.is_none() {
        return Ok(());
    }
    let judged = {
        let _lock = RunLock::acquire(state, PATIENCE, run.interrupt)?;
        let policy = RebuildPolicy::of_revert();
        with_request(
            policy,
            settings,
            state,
            run,
            |request, machine, env, runner| {
                let first = FirstRun {
                    health: HealthContext {
                        settings,
                        env,
                        runner,
                        interrupt: run.interrupt,
                        waits: &|_| (),
                    },
                    may_reboot: settings.reboot.allow,
                };
                rebuild::judge_boot(request, &first, machine, env, runner)
            },
        )?
    };
    revert_target(settings, state, run);
    if judged? {
        run.report
            .note("the new system has passed its health checks after the boot");
    }
    Ok(())
}

fn revert(
    lock: RunLock,
    settings: &Settings,
    state: &StateDir,
    run: &mut Run<'_>,
) -> Result<(), Error> {
    let policy = RebuildPolicy::of_revert();
    // Reads the trial again: its run may have ended it meanwhile.
    let reverted = with_request(policy, settings, state, run, rebuild::revert);
    drop(lock);
    let reverted = reverted?;
    revert_target(settings, state, run);
    match reverted {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Takes the lock, also from a run of the trial that hangs beyond its time.
fn lock_from(
    trial: &Trial,
    expired: bool,
    state: &StateDir,
    run: &Run<'_>,
) -> Result<RunLock, Error> {
    let busy = match RunLock::acquire(state, WAIT, run.interrupt) {
        Err(busy @ lock::Error::Busy { .. }) => busy,
        lock => return Ok(lock?),
    };
    if !expired || !RunLock::kill_holder(state, trial.process) {
        return Err(busy.into());
    }
    Ok(RunLock::acquire(state, WAIT, run.interrupt)?)
}

/// The command that systemd runs to revert, with its arguments. It reads the configuration file of this run, by its
/// path in the store, because the new system may have another one at the same path.
pub(super) fn command(settings: &Settings) -> Result<Vec<OsString>, Error> {
    let program = std::env::current_exe().map_err(|source| lock::Error::Io {
        path: "/proc/self/exe".into(),
        source,
    })?;
    let mut command = vec![program.into_os_string()];
    if let Some(file) = &settings.config_file {
        let file = real_path(file).unwrap_or_else(|| file.clone());
        command.extend(["--config".into(), file.into()]);
    }
    command.extend(["--target".into(), settings.target.clone().into()]);
    command.extend(["--state-dir".into(), settings.state_dir.clone().into()]);
    command.extend(["revert".into(), "--expired".into()]);
    Ok(command)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the administrator's symlinks to the configuration file are followed; no file is opened by this"
)]
fn real_path(file: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(file).ok()
}

/// After the former system was activated again: brings the target back to its commit, as `hyper-sync rollback` does, and
/// ends the trial. The error of the trial is the one to report; what fails here, the next run does.
pub(super) fn revert_target(settings: &Settings, state: &StateDir, run: &mut Run<'_>) {
    if let Err(error) = end_trial(settings, state, run) {
        run.report.warning(&format!(
            "the target stays at the commit of the new system: {}",
            with_causes(&error)
        ));
    }
}

fn end_trial(settings: &Settings, state: &StateDir, run: &mut Run<'_>) -> Result<(), Error> {
    let is_reverted = |trial: &Trial| trial.stage == TrialStage::Reverted;
    if let Some(trial) = Trial::load(state)?.filter(is_reverted) {
        let commit = trial.commit_to_restore(super::rebuild::commit(state)?);
        restore_target(commit, settings, run)?;
        let _lock = RunLock::acquire(state, WAIT, run.interrupt)?;
        Trial::remove(state)?;
    }
    let is_reverted = |reboot: &Reboot| reboot.stage == RebootStage::Reverted;
    if let Some(reboot) = Reboot::load(state)?.filter(is_reverted) {
        let commit = reboot.commit_to_restore(super::rebuild::commit(state)?);
        restore_target(commit, settings, run)?;
        let _lock = RunLock::acquire(state, WAIT, run.interrupt)?;
        Reboot::remove(state)?;
    }
    Ok(())
}

/// Brings the target back to the commit of the former system, if there is one to restore.
fn restore_target(
    commit: Option<CommitId>,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<(), Error> {
    let Some(commit) = commit else {
        return Ok(());
    };
    let options = Options {
        wait: PATIENCE,
        command: format!("hyper-sync rollback {}", commit.short()),
        ..Options::unguarded(SyncMode::Apply)
    };
    let back = Back::Commit(commit.to_string());
    run.watched(settings, |context| sync::rollback(context, &options, &back))?;
    run.report.message(&format!(
        "the target is at {} again, the commit of the running system",
        commit.short()
    ));
    Ok(())
}
