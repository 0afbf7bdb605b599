//! The record of how syncs and rebuilds fail, which `hyper-sync status` shows.

use std::time::Duration;

use miette::Diagnostic as _;

use super::Run;
use crate::Error;
use crate::exit::Exit;
use crate::lock::{self, RunLock};
use crate::metrics::Stage;
use crate::settings::Settings;
use crate::state::{self, FailedRuns, StageFailure, StateDir};
use crate::text::{self, with_causes};

/// How long to wait for a run that has started since.
const WAIT: Duration = Duration::from_secs(5);

/// Records how a run ended that may have changed something. An error is reported, but does not fail the run.
pub(super) fn remember(ended: &Result<Exit, Error>, settings: &Settings, run: &mut Run<'_>) {
    let exit = ended.as_ref().map_or_else(Exit::from, |exit| *exit);
    // These say nothing about the stage: another run does it, or its failure is recorded already.
    if matches!(exit, Exit::Busy | Exit::RolledBack) {
        return;
    }
    // The run itself has ended with it, where the state is not that of this target.
    let Ok(Some(state)) = StateDir::find(&settings.state_dir, &settings.target) else {
        return;
    };
    if exit == Exit::Interrupted {
        // Nothing is known of the stage. If another run has begun meanwhile, that one is the last.
        if let Ok(lock) = RunLock::acquire(&state, Duration::ZERO, run.interrupt) {
            lock.release_interrupted();
        }
        return;
    }
    if let Err(error) = attempt(ended, &state, settings, run) {
        let why = with_causes(&error);
        run.report
            .warning(&format!("how the run ended is not remembered: {why}"));
    }
}

fn attempt(
    ended: &Result<Exit, Error>,
    state: &StateDir,
    settings: &Settings,
    run: &Run<'_>,
) -> Result<(), Error> {
    let begun = |stage| run.progress.has_begun(stage);
    let (synced, rebuilt) = (begun(Stage::Sync), begun(Stage::Rebuild));
    let failure = ended.as_ref().err().map(failure);
    // Only the stage that a run ends in can have failed.
    let (of_sync, of_rebuild) = if rebuilt {
        (None, failure)
    } else {
        (failure, None)
    };
    let update = |known: FailedRuns| {
        let after = |begun, new: &Option<StageFailure>, known: Option<StageFailure>| match new {
            Some(new) if begun => Some(new.clone().after(known)),
            _ => known.filter(|_| !begun),
        };
        // Where nothing is rebuilt any more, no rebuild will ever end well.
        let failing = known.rebuild.filter(|_| settings.rebuild.action.is_some());
        FailedRuns {
            sync: after(synced, &of_sync, known.sync),
            rebuild: after(rebuilt, &of_rebuild, failing),
        }
    };
    // The usual case: nothing to record.
    let known = FailedRuns::load(state)?;
    if update(known.clone()) == known {
        return Ok(());
    }
    let _lock = match RunLock::acquire(state, WAIT, run.interrupt) {
        // Another run is active, and will record its own end.
        Err(lock::Error::Busy { .. } | lock::Error::Interrupted) => return Ok(()),
        lock => lock?,
    };
    Ok(update(FailedRuns::load(state)?).save(state)?)
}

fn failure(error: &Error) -> StageFailure {
    let now = state::now();
    StageFailure {
        since: now,
        last: now,
        count: 1,
        exit: Exit::from(error).code(),
        code: error.code().map(|code| code.to_string()),
        message: text::words(text::one_line(&with_causes(error))),
    }
}
