//! `hyper-sync rebuild`, and the rebuild stage of the update.

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::{CliCommand, Run, validate};
use crate::Error;
use crate::exit::Exit;
use crate::lock::{self, RunLock};
use crate::metrics::Stage;
use crate::process::SystemRunner;
use crate::rebuild::{
    self, Machine, Outcome, RebuildRecord, RebuildRequest, RebuildStatus, Repeat,
};
use crate::report::{self, OutputFormat, Verbosity};
use crate::settings::{Action, Overrides, Settings};
use crate::state::{Found, Index, StateDir};

/// Rebuild the system from the target as it is
#[derive(Args)]
pub(super) struct Arguments {
    /// The rebuild.
    #[command(flatten)]
    activation: Activation,
    /// Do nothing unless a sync has left a rebuild to do
    #[arg(long)]
    if_pending: bool,
    /// Only make the new system the boot default, and leave the action waiting; for the unit that may reboot
    #[arg(long, hide = true, requires = "if_pending")]
    boot_first: bool,
}

/// What decides how a rebuild is done.
#[derive(Args, Default)]
pub(super) struct Activation {
    /// What to do with the system that is built [default: switch]
    #[arg(long, value_name = "ACTION", value_parser = PossibleValuesParser::new(Action::WORDS))]
    rebuild_action: Option<String>,
    /// Activate also a system that has no hyper-sync timer any more, in a run started by that timer
    #[arg(long)]
    allow_self_removal: bool,
}

impl Activation {
    /// With the settings that these options give.
    pub(super) fn overrides(&self, overrides: Overrides) -> Overrides {
        let action = self.rebuild_action.as_ref();
        overrides.with("rebuild.action", "--rebuild-action", action)
    }
}

/// The unit that starts updates by itself.
const TIMER: &str = "hyper-sync.timer";
/// How long a sync that is under way is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a rebuild came about, and what follows from that.
#[derive(Debug, Clone, Copy)]
pub(super) struct RebuildPolicy {
    repeat: Repeat,
    timer: Option<&'static str>,
    /// The action that still waits when this one is done.
    then: Option<Action>,
}

impl RebuildPolicy {
    /// After a sync: nothing is done twice.
    pub(super) const UPDATE: Self = Self {
        repeat: Repeat::IfNeeded,
        timer: None,
        then: None,
    };

    fn of(args: &Arguments, settings: &Settings) -> Self {
        if !args.if_pending {
            // A person who asks for a rebuild may have changed what no key knows.
            return Self {
                repeat: Repeat::Build,
                timer: None,
                then: None,
            };
        }
        let action = settings.rebuild.action;
        Self {
            repeat: Repeat::IfNeeded,
            // So does the unit ask, and nobody inspects what it does.
            timer: (!args.activation.allow_self_removal).then_some(TIMER),
            then: (args.boot_first && action != Action::Boot).then_some(action),
        }
    }
}

impl CliCommand for Arguments {
    fn overrides(&self, global: Overrides) -> Overrides {
        self.activation.overrides(global)
    }

    fn may_change(&self) -> bool {
        true
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        run.progress.begin(Stage::Rebuild);
        let state = StateDir::open(&settings.state_dir)?;
        state.refuse_other(&settings.target)?;
        if self.if_pending {
            if RebuildRecord::load(&state)?.pending.is_none() {
                match run.report.format() {
                    OutputFormat::Human => run.report.note("no rebuild waits"),
                    OutputFormat::Json => run.report.json(&None::<Outcome>),
                }
                return Ok(Exit::Done);
            }
            // The sandbox of the sync before it has hidden some of what is inspected here.
            validate::before_rebuild(settings, run)?;
        }
        let cause = RebuildPolicy::of(self, settings);
        let outcome = if self.boot_first {
            let mut first = settings.clone();
            first.rebuild.action = Action::Boot;
            rebuild(cause, &first, &state, run)
        } else {
            rebuild(cause, settings, &state, run)
        }?;
        if run.report.format() == OutputFormat::Json {
            run.report.json(&outcome);
        }
        Ok(Exit::Done)
    }
}

/// Finds out whether a rebuild could begin at all, and opens the state directory for it.
pub(super) fn preflight(settings: &Settings, run: &mut Run<'_>) -> Result<StateDir, Error> {
    let state = StateDir::open(&settings.state_dir)?;
    state.refuse_other(&settings.target)?;
    rebuild::preflight(
        &request(RebuildPolicy::UPDATE, settings, &state, run)?,
        &Machine::here(),
        run.env,
        &runner(run),
    )?;
    Ok(state)
}

/// Rebuilds, and prints how it went.
pub(super) fn rebuild(
    cause: RebuildPolicy,
    settings: &Settings,
    state: &StateDir,
    run: &mut Run<'_>,
) -> Result<Outcome, Error> {
    // Before the commit is looked up: a sync that is under way would change it.
    let _lock = RunLock::acquire(state, PATIENCE, run.interrupt)?;
    let outcome = rebuild::run(
        &request(cause, settings, state, run)?,
        &Machine::here(),
        run.env,
        &runner(run),
    )?;
    if let Some(action) = cause.then {
        rebuild::mark_pending(state, outcome.commit, action)?;
    }
    for note in &outcome.notes {
        print_note(note, run);
    }
    if run.report.format() == OutputFormat::Human {
        run.report
            .text(&format!("{}\n", summary(&outcome, settings)));
    }
    Ok(outcome)
}

/// After a sync that no rebuild follows: a rebuild by hand is to find the new tree.
pub(super) fn refresh_lock(settings: &Settings, run: &mut Run<'_>) -> Result<(), Error> {
    let state = StateDir::open(&settings.state_dir)?;
    let _lock = match RunLock::acquire(&state, PATIENCE, run.interrupt) {
        // The sync is done, whatever becomes of this; the next run, or a rebuild, refreshes it.
        Err(lock::Error::Busy { .. } | lock::Error::Interrupted) => return Ok(()),
        lock => lock?,
    };
    if let Some(note) = rebuild::refresh_lock(&settings.rebuild, &settings.target) {
        print_note(&note, run);
    }
    Ok(())
}

fn print_note(note: &rebuild::RebuildNote, run: &mut Run<'_>) {
    if note.is_warning() {
        run.report.warning(&note.to_string());
    } else {
        run.report.note(&note.to_string());
    }
}

fn request<'a>(
    cause: RebuildPolicy,
    settings: &'a Settings,
    state: &'a StateDir,
    run: &Run<'_>,
) -> Result<RebuildRequest<'a>, Error> {
    let commit = match Index::load(state)? {
        Found::Whole(index) => Some(index.point.commit),
        Found::Absent | Found::Damaged(_) => None,
    };
    Ok(RebuildRequest {
        settings: &settings.rebuild,
        target: &settings.target,
        state,
        state_file: settings.state_file.as_deref(),
        commit,
        verbose: run.report.verbosity() == Verbosity::Verbose,
        exclude: &settings.exclude,
        timer: cause.timer,
        repeat: cause.repeat,
    })
}

fn runner(run: &Run<'_>) -> SystemRunner {
    SystemRunner::new(run.interrupt.clone(), report::pass_through())
}

fn summary(outcome: &Outcome, settings: &Settings) -> String {
    let what = match outcome.status {
        RebuildStatus::Unchanged => format!(
            "nothing to do, `{}` of this tree holds already",
            settings.rebuild.action
        ),
        RebuildStatus::Built => "the system is built and not activated".to_owned(),
        RebuildStatus::Previewed => {
            "the system is built; what its activation would do is shown above".to_owned()
        }
        RebuildStatus::Activated => "the new system runs, until the next boot".to_owned(),
        RebuildStatus::Switched => "the new system runs and is the boot default".to_owned(),
        RebuildStatus::SetForBoot => "the new system is the boot default".to_owned(),
        RebuildStatus::RebootNeeded => {
            "the new system is the boot default and runs after a reboot".to_owned()
        }
        RebuildStatus::Degraded => "the new system runs, and units of it failed".to_owned(),
        RebuildStatus::Failed => "failed".to_owned(),
    };
    format!("rebuild of `{}`: {what}", outcome.host)
}
