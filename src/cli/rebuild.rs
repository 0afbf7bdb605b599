//! `hyper-sync rebuild`, and the rebuild stage of the update.

use super::{Run, args};
use crate::Error;
use crate::exit::Exit;
use crate::rebuild::{self, Machine, Outcome, Record, Repeat, Request, Status, SystemRunner};
use crate::report::{self, Format, Verbosity};
use crate::settings::Settings;
use crate::state::{Found, Index, StateDir};

/// Runs the command.
pub(super) fn run(
    args: &args::Rebuild,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<Exit, Error> {
    if args.if_pending {
        let state = StateDir::open(&settings.state_dir)?;
        if Record::load(&state)?.pending.is_none() {
            run.report.note("no rebuild waits");
            return Ok(Exit::Done);
        }
    }
    let outcome = rebuild(settings, run)?;
    if run.report.format() == Format::Json {
        run.report.json(&outcome);
    }
    Ok(Exit::Done)
}

/// Finds out whether a rebuild could begin at all.
pub(super) fn preflight(settings: &Settings, run: &mut Run<'_>) -> Result<(), Error> {
    let state = StateDir::open(&settings.state_dir)?;
    Ok(rebuild::preflight(
        &request(settings, &state, run)?,
        &Machine::here(),
        run.env,
        &runner(run),
    )?)
}

/// Rebuilds, and tells a person how it went.
pub(super) fn rebuild(settings: &Settings, run: &mut Run<'_>) -> Result<Outcome, Error> {
    let state = StateDir::open(&settings.state_dir)?;
    let outcome = rebuild::run(
        &request(settings, &state, run)?,
        &Machine::here(),
        run.env,
        &runner(run),
    )?;
    for note in &outcome.notes {
        run.report.warning(&note.to_string());
    }
    if run.report.format() == Format::Human {
        run.report
            .text(&format!("{}\n", summary(&outcome, settings)));
    }
    Ok(outcome)
}

fn request<'a>(
    settings: &'a Settings,
    state: &'a StateDir,
    run: &Run<'_>,
) -> Result<Request<'a>, Error> {
    let commit = match Index::load(state)? {
        Found::Whole(index) => Some(index.commit),
        Found::Absent | Found::Damaged(_) => None,
    };
    Ok(Request {
        settings: &settings.rebuild,
        target: &settings.target,
        state,
        commit,
        verbose: run.report.verbosity() == Verbosity::Verbose,
        repeat: Repeat::IfNeeded,
    })
}

fn runner(run: &Run<'_>) -> SystemRunner {
    SystemRunner::new(run.interrupt.clone(), report::pass_through)
}

fn summary(outcome: &Outcome, settings: &Settings) -> String {
    let what = match outcome.status {
        Status::Unchanged => format!(
            "nothing to do, `{}` of this tree holds already",
            settings.rebuild.action
        ),
        Status::Built => "the system is built and not activated".to_owned(),
        Status::Previewed => {
            "the system is built; what its activation would do is shown above".to_owned()
        }
        Status::Activated => "the new system runs, until the next boot".to_owned(),
        Status::Switched => "the new system runs and is the boot default".to_owned(),
        Status::SetForBoot => "the new system is the boot default".to_owned(),
        Status::RebootNeeded => {
            "the new system is the boot default and runs after a reboot".to_owned()
        }
        Status::Degraded => "the new system runs, and units of it failed".to_owned(),
        Status::Failed => "failed".to_owned(),
    };
    format!("rebuild of `{}`: {what}", outcome.host)
}
