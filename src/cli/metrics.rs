//! The metrics, at the end of a run that may have changed something.

use std::path::Path;
use std::time::Duration;

use super::{Run, status};
use crate::Error;
use crate::exit::Exit;
use crate::lock::{self, RunLock};
use crate::metrics;
use crate::settings::Settings;
use crate::state::{self, Index, StateDir};
use crate::text::with_causes;

/// How long to wait for a run that has started since.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes the metrics if `metrics_file` is set. An error is reported, but does not fail the run.
pub(super) fn write(ended: &Result<Exit, Error>, settings: &Settings, run: &mut Run<'_>) {
    let Some(path) = &settings.metrics_file else {
        return;
    };
    let exit = match ended {
        // The run that is active writes them when it ends.
        Err(Error::Lock(lock::Error::Busy { .. })) => return,
        Err(error) => error.into(),
        Ok(exit) => *exit,
    };
    let Err(error) = attempt(path, exit, settings, run) else {
        return;
    };
    // The run itself has ended with it.
    if !matches!(error, Error::State(state::Error::OtherTarget { .. })) {
        let why = with_causes(&error);
        run.report
            .warning(&format!("the metrics are not up to date: {why}"));
    }
}

fn attempt(path: &Path, exit: Exit, settings: &Settings, run: &Run<'_>) -> Result<(), Error> {
    let state = StateDir::open(&settings.state_dir)?;
    state.refuse_other(&settings.target)?;
    let _lock = RunLock::acquire(&state, PATIENCE, run.interrupt)?;
    let index = Index::load(&state)?.whole();
    // Values that cannot be read are left out; the run has reported why.
    let edits = |index| status::edits(settings, index).ok();
    let local_edits = index.as_ref().and_then(edits);
    let run = metrics::RunMetrics {
        target: &settings.target,
        progress: &run.progress,
        exit,
        index: index.as_ref(),
        local_edits: local_edits.map(|edits| edits.len() as u64),
        rebuilds: settings.rebuild.action.is_some(),
        largest: settings.limits.blob,
    };
    Ok(metrics::write(path, &state, &run)?)
}
