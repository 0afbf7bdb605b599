//! `hyper-sync rebuild`, and the rebuild stage of the update.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::SignedDuration;
use serde::Serialize;

use super::flake::HostArguments;
use super::suspend::{self, Starter};
use super::{CliCommand, Run, revert, validate};
use crate::Error;
use crate::exit::Exit;
use crate::git::CommitId;
use crate::health::HealthContext;
use crate::lock::{self, RunLock};
use crate::metrics::Stage;
use crate::process::{Runner, SystemRunner};
use crate::rebuild::{
    self, Confirmation, Durations, Machine, Outcome, RebuildNote, RebuildRecord, RebuildRequest,
    RebuildStatus, Repeat, SystemChanges,
};
use crate::report::{self, OutputFormat, Verbosity};
use crate::settings::{self, Action, Env, Overrides, Settings};
use crate::state::{self, Index, StateDir};
use crate::text::{self, Length};

/// Rebuild the system from the target as it is
#[derive(Args)]
pub(super) struct Arguments {
    /// The rebuild.
    #[command(flatten)]
    activation: Activation,
    /// Do nothing unless a sync has left a rebuild to do
    #[arg(long)]
    if_pending: bool,
}

/// The options of a rebuild.
#[derive(Args, Default)]
pub(super) struct Activation {
    /// What to do with the system that is built; `none`: nothing is rebuilt [default: switch]
    #[arg(long, value_name = "ACTION", value_parser = action_parser())]
    rebuild_action: Option<GivenAction>,
    /// Activate also a system that has no hyper-sync timer any more, in a run started by that timer
    #[arg(long)]
    allow_self_removal: bool,
    /// Try also a build that failed before, whose pause is not over
    #[arg(long)]
    pub(super) retry: bool,
    /// The system.
    #[command(flatten)]
    host: HostArguments,
}

impl Activation {
    /// Adds the settings that these options set.
    pub(super) fn overrides(&self, overrides: Overrides) -> Overrides {
        let given = self.rebuild_action;
        let none = given.filter(|GivenAction(action)| action.is_none());
        let none = none.map(|_| Action::NONE);
        // An action is only this run's, but where nothing is rebuilt, nothing is left to do either.
        let overrides = overrides.with("rebuild.action", "--rebuild-action", none);
        self.host.overrides(overrides)
    }

    /// The action of this run. The setting remains the action that later runs complete, also those of the timer.
    fn action(&self, settings: &Settings) -> Option<Action> {
        let given = self.rebuild_action.map(|GivenAction(action)| action);
        given.unwrap_or(settings.rebuild.action)
    }
}

/// An action, or `none`.
#[derive(Clone, Copy)]
struct GivenAction(Option<Action>);

fn action_parser() -> impl TypedValueParser<Value = GivenAction> {
    PossibleValuesParser::new(Action::OPTIONAL_WORDS)
        .try_map(|word| { Action::optional(&word).map(GivenAction) }.ok_or("it is not an action"))
}

/// The unit that starts updates by itself.
pub(super) const TIMER: &str = "hyper-sync.timer";
/// How long to wait for a sync that is running.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Why a rebuild is run, and what follows from that.
#[derive(Debug, Clone, Copy)]
pub(super) struct RebuildPolicy {
    action: Action,
    repeat: Repeat,
    timer: Option<&'static str>,
    reboots: bool,
    retry: bool,
}

impl RebuildPolicy {
    /// After a sync: nothing is done twice. `None`: nothing is rebuilt.
    pub(super) fn after_sync(args: &Activation, settings: &Settings) -> Option<Self> {
        Some(Self {
            action: args.action(settings)?,
            repeat: Repeat::IfNeeded,
            timer: None,
            reboots: false,
            retry: args.retry,
        })
    }

    /// After a rollback: a person wants this commit, also if it failed before.
    pub(super) fn after_rollback(settings: &Settings) -> Result<Self, settings::Error> {
        let policy = Self::after_sync(&Activation::default(), settings);
        Ok(Self {
            retry: true,
            ..policy.ok_or(settings::Error::NoRebuild)?
        })
    }

    /// For reverting a trial.
    pub(super) fn of_revert() -> Self {
        Self {
            action: Action::Switch,
            repeat: Repeat::IfNeeded,
            timer: None,
            reboots: false,
            retry: false,
        }
    }

    fn of(args: &Arguments, action: Action, settings: &Settings) -> Self {
        if !args.if_pending {
            // Before a requested rebuild, something may have changed that the key does not cover.
            return Self {
                action,
                repeat: Repeat::Build,
                timer: None,
                reboots: false,
                retry: true,
            };
        }
        Self {
            action,
            repeat: Repeat::IfNeeded,
            // The unit runs it this way, and nobody reads its output.
            timer: (!args.activation.allow_self_removal).then_some(TIMER),
            reboots: settings.reboot.allow,
            retry: args.activation.retry,
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    /// None if no rebuild was pending.
    rebuild: Option<Outcome>,
}

impl CliCommand for Arguments {
    fn overrides(&self, global: Overrides) -> Overrides {
        self.activation.overrides(global)
    }

    fn may_change(&self) -> bool {
        true
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        if suspend::ends_run(Starter::unit_if(self.if_pending), settings, run)? {
            return Ok(Exit::Done);
        }
        run.progress.begin(Stage::Rebuild);
        let state = StateDir::open(&settings.state_dir)?;
        state.refuse_other(&settings.target)?;
        revert::first(settings, &state, run)?;
        let Some(action) = self.activation.action(settings) else {
            return if self.if_pending {
                Ok(nothing_waits(run))
            } else {
                Err(settings::Error::NoRebuild.into())
            };
        };
        let policy = RebuildPolicy::of(self, action, settings);
        if self.if_pending {
            if !is_due(settings, &state)? && !is_due_after_others(policy, settings, &state, run)? {
                print_half_state(policy, settings, &state, run)?;
                return Ok(nothing_waits(run));
            }
            // The sandbox of the sync before it has hidden some of what is inspected here.
            validate::before_rebuild(settings, run)?;
        }
        let outcome = rebuild(policy, settings, &state, run)?;
        let changes_system = outcome.status.changes_system();
        let document = Document {
            rebuild: Some(outcome),
        };
        if changes_system {
            run.has_changed(settings, &document);
        }
        if run.report.format() == OutputFormat::Json {
            run.report.json(&document);
        }
        Ok(Exit::Done)
    }
}

/// Prints that no rebuild is to be done.
fn nothing_waits(run: &mut Run<'_>) -> Exit {
    match run.report.format() {
        OutputFormat::Human => run.report.message("no rebuild waits"),
        OutputFormat::Json => run.report.json(&Document { rebuild: None }),
    }
    Exit::Done
}

/// Whether a rebuild is to be done.
fn is_due(settings: &Settings, state: &StateDir) -> Result<bool, Error> {
    let Some(wanted) = settings.rebuild.action else {
        return Ok(false);
    };
    let commit = commit(state)?;
    let mut record = RebuildRecord::load(state)?;
    if !settings.reboot.allow {
        record.end_deferral();
    }
    Ok(record.is_due(commit, wanted, &Machine::here().systems()))
}

/// Whether a rebuild is to be done when an activation of somebody else has ended.
fn is_due_after_others(
    policy: RebuildPolicy,
    settings: &Settings,
    state: &StateDir,
    run: &mut Run<'_>,
) -> Result<bool, Error> {
    match with_request(policy, settings, state, run, rebuild::wait_for_others)?? {
        Some(note) => {
            print_note(&note, run);
            is_due(settings, state)
        }
        None => Ok(false),
    }
}

/// Names a state between two systems that no rebuild is to end.
fn print_half_state(
    policy: RebuildPolicy,
    settings: &Settings,
    state: &StateDir,
    run: &mut Run<'_>,
) -> Result<(), Error> {
    if let Some(state) = with_request(policy, settings, state, run, rebuild::half_state)?? {
        print_note(
            &RebuildNote::HalfState {
                state,
                ended: false,
            },
            run,
        );
    }
    Ok(())
}

/// Finds out whether a rebuild could begin at all, and opens the state directory for it.
pub(super) fn preflight(
    policy: RebuildPolicy,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<StateDir, Error> {
    let state = StateDir::open(&settings.state_dir)?;
    state.refuse_other(&settings.target)?;
    revert::first(settings, &state, run)?;
    with_request(policy, settings, &state, run, rebuild::preflight)??;
    Ok(state)
}

/// Rebuilds, and prints how it went.
pub(super) fn rebuild(
    policy: RebuildPolicy,
    settings: &Settings,
    state: &StateDir,
    run: &mut Run<'_>,
) -> Result<Outcome, Error> {
    let rebuilt = {
        // Before the commit is read: a running sync would change it.
        let _lock = RunLock::acquire(state, PATIENCE, run.interrupt)?;
        with_request(policy, settings, state, run, rebuild::run)?
    };
    revert::revert_target(settings, state, run);
    let outcome = rebuilt?;
    run.times.borrow_mut().rebuilt(&outcome.durations);
    for note in &outcome.notes {
        print_note(note, run);
    }
    if run.report.format() == OutputFormat::Human {
        let all = run.report.verbosity() == Verbosity::Verbose;
        run.report.text(changes(&outcome.changes, all));
        run.report.text(summary(&outcome, policy.action));
    }
    Ok(outcome)
}

/// The rebuild stage of a command that has changed the files.
pub(super) fn after_sync(
    policy: RebuildPolicy,
    settings: &Settings,
    state: &StateDir,
    run: &mut Run<'_>,
) -> Result<Outcome, Error> {
    run.progress.begin(Stage::Rebuild);
    validate::before_rebuild(settings, run)?;
    rebuild(policy, settings, state, run)
}

/// After a sync without a rebuild: updates the lock file, so that a manual rebuild uses the new tree.
pub(super) fn refresh_lock(settings: &Settings, run: &mut Run<'_>) -> Result<(), Error> {
    if settings.rebuild.action.is_none() {
        return Ok(());
    }
    let state = StateDir::open(&settings.state_dir)?;
    let _lock = match RunLock::acquire(&state, PATIENCE, run.interrupt) {
        // The sync is done even if this fails; the next run, or a rebuild, refreshes it.
        Err(lock::Error::Busy { .. } | lock::Error::Interrupted) => return Ok(()),
        lock => lock?,
    };
    if let Some(note) = rebuild::refresh_lock(&settings.rebuild, &settings.target) {
        print_note(&note, run);
    }
    Ok(())
}

fn print_note(note: &RebuildNote, run: &mut Run<'_>) {
    if note.is_warning() {
        run.report.warning(&note.to_string());
    } else {
        run.report.note(&note.to_string());
    }
}

/// Does a part of a rebuild on this machine.
pub(super) fn with_request<T>(
    policy: RebuildPolicy,
    settings: &Settings,
    state: &StateDir,
    run: &Run<'_>,
    act: impl FnOnce(&RebuildRequest<'_>, &Machine, &Env, &dyn Runner) -> T,
) -> Result<T, Error> {
    let runner = SystemRunner::new(run.interrupt.clone(), report::pass_through())
        .terminal(run.report.terminal());
    let revert_command = settings.health.confirm.then(|| revert::command(settings));
    let revert_command = revert_command.transpose()?;
    let request = RebuildRequest {
        settings: &settings.rebuild,
        action: policy.action,
        target: &settings.target,
        state,
        state_file: settings.state_file.as_deref(),
        commit: commit(state)?,
        verbose: run.report.verbosity() == Verbosity::Verbose,
        exclude: &settings.exclude,
        timer: policy.timer,
        repeat: policy.repeat,
        reboots: policy.reboots,
        retry: policy.retry,
        now: state::now(),
        confirmation: revert_command.as_ref().map(|revert_command| Confirmation {
            health: HealthContext {
                settings,
                env: run.env,
                runner: &runner,
                interrupt: run.interrupt,
                waits: &|_| (),
            },
            revert_command,
        }),
    };
    Ok(act(&request, &Machine::here(), run.env, &runner))
}

/// The commit of the target.
pub(super) fn commit(state: &StateDir) -> Result<Option<CommitId>, Error> {
    let index = Index::load(state)?.whole();
    Ok(index.map(|index| index.point.commit))
}

fn summary(outcome: &Outcome, action: Action) -> String {
    let what = match outcome.status {
        RebuildStatus::Unchanged => {
            format!("nothing to do, `{action}` of this tree holds already")
        }
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
        RebuildStatus::Reverted => "reverted".to_owned(),
        RebuildStatus::Failed => "failed".to_owned(),
    };
    let generation = outcome.generation;
    let generation = generation.map(|number| format!(" (generation {number})"));
    let took = took(&outcome.durations);
    format!(
        "rebuild of `{}`: {what}{}\n{took}",
        outcome.host,
        generation.unwrap_or_default()
    )
}

/// How long the parts took that took any time, in one line.
fn took(durations: &Durations) -> String {
    let part = |verb: &str, milliseconds: Option<u64>| {
        let time = SignedDuration::from_millis(i64::try_from(milliseconds?).ok()?);
        Some(format!("{verb} in {}", Length(time)))
    };
    let parts = [
        part("evaluated", durations.evaluation_ms),
        part("built", durations.build_ms),
        part("activated", durations.activation_ms),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("{}\n", parts.join(", "))
}

/// What the new system changes: a line for each package, and one for the units.
fn changes(changes: &SystemChanges, all: bool) -> String {
    let mut text = String::new();
    let packages = changes.packages.iter().flatten();
    let listed = if all { usize::MAX } else { text::LISTED };
    let (packages, more) = text::first(packages, listed);
    if !packages.is_empty() {
        text.push_str("packages that change:\n");
    }
    for package in packages {
        text.extend(["  ", &package.name, ": ", &package.change, "\n"]);
    }
    if let Some(more) = more {
        text.extend(["  ", &more, "; `--verbose` names them\n"]);
    }
    let Some(units) = &changes.units else {
        return text;
    };
    for (verb, units) in [
        ("stop", &units.stop),
        ("restart", &units.restart),
        ("reload", &units.reload),
        ("start", &units.start),
    ] {
        if !units.is_empty() {
            text.extend(["units to ", verb, ": ", &text::list(units), "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rebuild::{PackageChange, UnitChanges};

    #[test]
    fn the_result_names_the_generation_and_how_long_each_part_took() {
        let outcome = Outcome {
            status: RebuildStatus::Switched,
            host: "web1".to_owned(),
            commit: None,
            system: None,
            generation: Some(42),
            changes: SystemChanges::default(),
            durations: Durations {
                evaluation_ms: Some(12_400),
                build_ms: Some(150_000),
                activation_ms: Some(3_000),
                ..Durations::default()
            },
            layout: None,
            nar_hash: None,
            revision: None,
            notes: Vec::new(),
        };
        assert_eq!(
            summary(&outcome, Action::Switch),
            "rebuild of `web1`: the new system runs and is the boot default (generation 42)\n\
             evaluated in 12 s, built in 2 min, activated in 3 s\n"
        );
        let outcome = Outcome {
            generation: None,
            durations: Durations::default(),
            ..outcome
        };
        assert_eq!(
            summary(&outcome, Action::Switch),
            "rebuild of `web1`: the new system runs and is the boot default\n"
        );
    }

    #[test]
    fn of_many_packages_the_first_are_named_and_units_by_what_happens_to_them() {
        let package = |number: u32| PackageChange {
            name: format!("p{number:02}"),
            change: "1 \u{2192} 2".to_owned(),
        };
        let found = SystemChanges {
            packages: Some((0..30).map(package).collect()),
            units: Some(UnitChanges {
                restart: vec!["a.service".to_owned(), "b.service".to_owned()],
                start: vec!["c.service".to_owned()],
                ..UnitChanges::default()
            }),
        };
        let text = changes(&found, false);
        assert_eq!(text.lines().count(), 1 + 20 + 1 + 2, "{text}");
        assert!(
            text.starts_with("packages that change:\n  p00: 1 \u{2192} 2\n"),
            "{text}"
        );
        assert!(
            text.ends_with("  and 10 more; `--verbose` names them\nunits to restart: a.service, b.service\nunits to start: c.service\n"),
            "{text}"
        );
        assert_eq!(changes(&found, true).lines().count(), 1 + 30 + 2);
        assert_eq!(changes(&SystemChanges::default(), false), "");
    }
}
