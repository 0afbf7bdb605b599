//! `hyper-sync sync`.

use super::{Run, args, rebuild};
use crate::Error;
use crate::exit::Exit;
use crate::metrics::Stage;
use crate::plan::MassDelete;
use crate::report::{Format, sync as told};
use crate::settings::Settings;
use crate::sync::{self, Mode, Options, Outcome};

/// Runs the command.
pub(super) fn run(
    args: &args::Sync,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<Exit, Error> {
    let mut options = options(&args.remote);
    options.skip_validation = args.skip_validation;
    if args.dry_run {
        options.mode = Mode::DryRun;
    }
    run.progress.begin(Stage::Sync);
    let outcome = sync(&options, settings, run)?;
    if options.mode == Mode::Apply {
        rebuild::refresh_lock(settings, run)?;
    }
    match run.report.format() {
        Format::Human => told::human(run.report, &outcome),
        Format::Json => run.report.json(&told::Document::from(&outcome)),
    }
    Ok(exit(&args.remote, &outcome))
}

/// What the options that `sync` and the update share ask for.
pub(super) fn options(remote: &args::Remote) -> Options {
    Options {
        mode: if remote.check_only {
            Mode::Check
        } else {
            Mode::Apply
        },
        force_full: remote.force_full,
        skip_validation: false,
        allow_rewind: remote.allow_rewind,
        resume: remote.resume,
        mass_delete: if remote.allow_mass_delete {
            MassDelete::Allow
        } else {
            MassDelete::Refuse
        },
        wait: std::time::Duration::from_secs(remote.wait),
    }
}

/// Runs the sync.
pub(super) fn sync(
    options: &Options,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<Outcome, Error> {
    let outcome = run.watched(settings, |context| sync::run(context, options))?;
    run.progress.moved(outcome.traffic);
    Ok(outcome)
}

/// The exit code of a sync that came to its end.
pub(super) fn exit(remote: &args::Remote, outcome: &Outcome) -> Exit {
    match late(outcome) {
        Exit::Done if remote.exit_code && outcome.mode != Mode::Apply && outcome.has_changes() => {
            Exit::ChangesWait
        }
        exit => exit,
    }
}

/// Edits that came while the target was written are a conflict, though nothing of them is lost.
pub(super) fn late(outcome: &Outcome) -> Exit {
    let late = outcome
        .applied
        .as_ref()
        .is_some_and(|applied| !applied.late.is_empty());
    if late { Exit::Conflict } else { Exit::Done }
}
