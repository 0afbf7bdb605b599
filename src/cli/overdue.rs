//! `hyper-sync overdue`, and the record that it reads: which syncs have not reached the repository.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::rebuild::{RebuildPolicy, with_request};
use super::{CliCommand, Run};
use crate::Error;
use crate::SyncError;
use crate::exit::Exit;
use crate::lock::{self, RunLock};
use crate::metrics::{Progress, Stage};
use crate::rebuild;
use crate::report::OutputFormat;
use crate::settings::Settings;
use crate::state::{self, StateDir};
use crate::state::{Suspended, Unreached};
use crate::text::with_causes;

/// Fail where no sync has reached the repository for too long, or a run hangs
///
/// For the unit that updates a machine, and for monitoring: a machine without network is not broken before
/// `failure_grace` is over, nor is one on which another run is active. Exit code 0: the last sync reached the
/// repository, or was refused by a rate limit, or updates are suspended; 75: it did not, but not for long: try again
/// soon; 3 or 5: none has ended well for too long; 12: another run, or an activation by anybody, takes longer than one
/// may.
#[derive(Args)]
pub(super) struct Arguments {}

/// How long to wait for a run that has started since.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    /// None if the last sync reached the repository.
    unreached: &'a Option<Unreached>,
}

impl CliCommand for Arguments {
    fn may_change(&self) -> bool {
        false
    }

    /// The end of the unit that updates the machine.
    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let now = Timestamp::now();
        let state = StateDir::find(&settings.state_dir, &settings.target)?;
        let (record, suspended) = match &state {
            Some(state) => (Unreached::load(state)?, Suspended::load(state)?),
            None => (None, None),
        };
        let ended = suspended.as_ref().and_then(|found| found.ended(now));
        let is_suspended = suspended.is_some() && ended.is_none();
        if let Some(state) = &state
            && !is_suspended
        {
            refuse_hanging(settings, state, now, run)?;
        }
        if let Some(record) = &record
            && !is_suspended
            && record.is_overdue(ended, now, settings.failure_grace)
        {
            return Err(SyncError::Overdue(record.clone()).into());
        }
        if run.report.format() == OutputFormat::Json {
            run.report.json(&Document { unreached: &record });
        }
        let soon = record.is_some_and(|record| !record.rate_limited) && !is_suspended;
        Ok(if soon { Exit::TryAgain } else { Exit::Done })
    }
}

/// An error if another run holds the lock, or anybody activates a system, for longer than that may take. For the unit,
/// meeting one that is active is a success.
fn refuse_hanging(
    settings: &Settings,
    state: &StateDir,
    now: Timestamp,
    run: &Run<'_>,
) -> Result<(), Error> {
    RunLock::refuse_hanging(state, run_limit(settings), now)?;
    let policy = RebuildPolicy::of_revert();
    match with_request(policy, settings, state, run, rebuild::hanging_activation)? {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// How long a run can take by its own limits: the build, the activation and, on trial, the health checks and the
/// activation of the former system. A sync takes much less.
fn run_limit(settings: &Settings) -> Duration {
    let activation = settings.rebuild.activation_timeout;
    let limits = [
        settings.rebuild.timeout,
        activation,
        settings.health.within,
        activation,
    ];
    limits
        .into_iter()
        .fold(Duration::ZERO, Duration::saturating_add)
}

/// How the sync of a run ended, as far as it shows whether the repository was reached.
enum Sync<'a> {
    /// It succeeded.
    Done,
    /// The network or a rate limit ended it.
    Unreached(Exit, &'a Error),
}

impl<'a> Sync<'a> {
    fn of(ended: &'a Result<Exit, Error>, progress: &Progress) -> Option<Self> {
        if !progress.has_begun(Stage::Sync) {
            return None;
        }
        match ended {
            Err(error) if !progress.has_begun(Stage::Rebuild) => {
                let exit = Exit::from(error);
                let is_remote = matches!(exit, Exit::Network | Exit::RateLimited);
                is_remote.then_some(Self::Unreached(exit, error))
            }
            Ok(_) | Err(_) => Some(Self::Done),
        }
    }
}

/// Records how the sync of a run ended. An error is reported, but does not fail the run.
pub(super) fn remember(ended: &Result<Exit, Error>, settings: &Settings, run: &mut Run<'_>) {
    let Some(sync) = Sync::of(ended, &run.progress) else {
        return;
    };
    if let Err(error) = attempt(&sync, settings, run) {
        let why = with_causes(&error);
        run.report.warning(&format!(
            "whether the repository was reached is not remembered: {why}"
        ));
    }
}

fn attempt(sync: &Sync<'_>, settings: &Settings, run: &Run<'_>) -> Result<(), Error> {
    let Some(state) = StateDir::find(&settings.state_dir, &settings.target)? else {
        return Ok(());
    };
    // The usual case: nothing to record.
    if matches!(sync, Sync::Done) && Unreached::load(&state)?.is_none() {
        return Ok(());
    }
    let _lock = match RunLock::acquire(&state, PATIENCE, run.interrupt) {
        // Another run is active, and will record its own result.
        Err(lock::Error::Busy { .. } | lock::Error::Interrupted) => return Ok(()),
        lock => lock?,
    };
    let record = match sync {
        Sync::Done => None,
        // Read as late as possible: the end of a suspension removes it without the lock.
        Sync::Unreached(exit, error) => Some(Unreached::after(
            Unreached::load(&state)?,
            state::now(),
            *exit == Exit::RateLimited,
            with_causes(*error),
        )),
    };
    Ok(Unreached::replace(&state, record.as_ref())?)
}
