//! The root command: validate, sync, rebuild.

use serde::Serialize;

use super::{Run, args, rebuild, sync, validate};
use crate::Error;
use crate::exit::Exit;
use crate::metrics::Stage;
use crate::report::{Format, sync as told};
use crate::settings::Settings;
use crate::sync::Mode;

/// What `--json` prints: one object a stage.
#[derive(Serialize)]
struct Document<'a> {
    validate: Option<validate::Document>,
    sync: told::Document<'a>,
    rebuild: Option<crate::rebuild::Outcome>,
}

/// Runs the update.
pub(super) fn run(
    args: &args::Update,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<Exit, Error> {
    let options = sync::options(&args.remote);
    let applies = options.mode == Mode::Apply;
    let rebuilds = applies && !args.skip_rebuild;
    run.progress.begin(Stage::Sync);
    // Found out now, while nothing has changed.
    let state = rebuilds
        .then(|| rebuild::preflight(settings, run))
        .transpose()?;
    let checked = if applies {
        Some(validate::before_sync(
            rebuilds,
            args.sandboxed,
            settings,
            run,
        )?)
    } else {
        None
    };
    let outcome = sync::sync(&options, settings, run)?;
    if run.report.format() == Format::Human {
        told::human(run.report, &outcome);
    }
    let exit = sync::exit(&args.remote, &outcome);
    if applies && !rebuilds && !args.sandboxed {
        rebuild::refresh_lock(settings, run)?;
    }
    let rebuilt = if let Some(state) = state.filter(|_| exit == Exit::Done) {
        run.progress.begin(Stage::Rebuild);
        validate::before_rebuild(settings, run)?;
        let cause = rebuild::Cause::UPDATE;
        Some(rebuild::rebuild(cause, settings, &state, run)?)
    } else {
        None
    };
    if run.report.format() == Format::Json {
        let document = Document {
            validate: checked,
            sync: (&outcome).into(),
            rebuild: rebuilt,
        };
        run.report.json(&document);
    }
    Ok(exit)
}
