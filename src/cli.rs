//! The command line: parses, resolves the settings, runs one command, turns its end into an exit code.
//!
//! This is where the stages are put together; none of them uses it.

use std::cell::RefCell;
use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args as _, FromArgMatches as _};
use serde::Serialize;

use crate::Error;
use crate::exit::Exit;
use crate::metrics::{Progress, Stage};
use crate::process::SystemRunner;
use crate::report::{self, RepeatedOptions, Report, Stdio, log_events};
use crate::settings::{self, ConfigFile, Env, Overrides, ResolvedSettings, Settings};
use crate::source::Interrupt;
use crate::state::StateRecords;
use crate::sync::SyncContext;
use crate::text;

mod args;
mod check;
mod choice;
mod complete;
mod completions;
mod config;
mod confirm;
mod diff;
mod examples;
mod failed;
mod flake;
mod forget;
mod health;
mod history;
mod hooks;
mod init;
mod log;
mod man;
mod metrics;
mod overdue;
mod place;
mod protect;
mod reboot;
mod rebuild;
mod refusal;
mod restore;
mod revert;
mod rollback;
mod status;
mod suspend;
mod sync;
mod targets;
mod times;
mod update;
mod usage;
mod validate;
mod watch;

use args::{Cli, Global};
use choice::Choice;
use times::Times;
use watch::ProgressView;

/// Runs the program with these arguments, the program's name first.
///
/// `interrupt` is set to stop the run at the next safe point.
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    env: &Env,
    stdio: Stdio,
    interrupt: &Interrupt,
) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let (cli, command) = match parse(&args) {
        Ok(parsed) => parsed,
        Err(error) => return usage::print(&error, &args, env, stdio),
    };
    let global = &cli.global;
    let mut report = Report::new(
        stdio,
        global.format(),
        global.verbosity(),
        global.color,
        env,
    )
    .read_only(is_read_only(&command))
    .of_command(command);
    if global.no_progress {
        report = report.without_progress();
    }
    log_events(global.verbosity(), report.labels());
    let is_bare = args.len() == 1;
    let exit = match run(&cli, is_bare, env, interrupt, &mut report) {
        Ok(exit) => exit,
        Err(error) => {
            let exit = exit_of(&error, &cli);
            report.error(&error, exit);
            exit
        }
    };
    report.finish(exit)
}

/// Whether a command only ever shows something: that it has written nothing goes without saying.
fn is_read_only(command: &str) -> bool {
    matches!(
        command.split(' ').next(),
        Some(
            "check"
                | "config"
                | "diff"
                | "health"
                | "history"
                | "log"
                | "overdue"
                | "status"
                | "targets"
                | "validate"
        )
    )
}

/// What every command works with.
struct Run<'a> {
    env: &'a Env,
    interrupt: &'a Interrupt,
    report: &'a mut Report,
    /// What the options set otherwise than the configuration.
    choice: Choice,
    /// For the metrics.
    progress: Progress,
    times: RefCell<Times>,
    /// The document of a run that has changed something, for the hooks.
    changed: Option<serde_json::Value>,
}

impl Run<'_> {
    /// Hands the document of a run that has changed something to the hooks.
    fn has_changed(&mut self, settings: &Settings, document: &impl Serialize) {
        if settings.hooks.is_set() {
            self.changed = serde_json::to_value(document).ok();
        }
    }

    /// Does work of the sync stage and shows its progress.
    fn watched<T>(&mut self, settings: &Settings, work: impl FnOnce(&SyncContext<'_>) -> T) -> T {
        let terminal = self.report.terminal();
        let watch = ProgressView::new(self.report, &self.times);
        let result = work(&SyncContext {
            settings,
            env: self.env,
            observer: &watch,
            interrupt: self.interrupt,
            runner: &SystemRunner::new(self.interrupt.clone(), report::pass_through())
                .terminal(terminal),
        });
        self.times.borrow_mut().end();
        if let Some(commit) = watch.resolved() {
            self.progress.resolved(commit);
        }
        result
    }
}

/// A command that works with the settings of this machine.
trait CliCommand {
    /// The settings that the command line gives: `global`, and what the command's own options add.
    fn overrides(&self, global: Overrides) -> Overrides {
        global
    }

    /// Sets what the command takes where nothing else sets it.
    fn complete(&self, _: &mut ResolvedSettings, _: &Env) {}

    /// Whether it is about a target at all.
    fn needs_target(&self) -> bool {
        true
    }

    /// Whether it may leave anything other than it found. A preview writes nothing, and is no exception.
    fn may_change(&self) -> bool;

    /// Runs it.
    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error>;
}

/// `is_bare`: there are no arguments.
fn run(
    cli: &Cli,
    is_bare: bool,
    env: &Env,
    interrupt: &Interrupt,
    report: &mut Report,
) -> Result<Exit, Error> {
    let global = &cli.global;
    let repeated = |given: &Overrides| RepeatedOptions::new(global.config.as_deref(), given, env);
    report.repeat(repeated(&global.overrides()));
    let command: &dyn CliCommand = match &cli.command {
        None => &cli.update,
        Some(args::Subcommands::Sync(command)) => command,
        Some(args::Subcommands::Validate(command)) => command,
        Some(args::Subcommands::Check(command)) => command,
        Some(args::Subcommands::Status(command)) => command,
        Some(args::Subcommands::Overdue(command)) => command,
        Some(args::Subcommands::Health(command)) => command,
        Some(args::Subcommands::Diff(command)) => command,
        Some(args::Subcommands::History(command)) => command,
        Some(args::Subcommands::Log(command)) => command,
        Some(args::Subcommands::Rollback(command)) => command,
        Some(args::Subcommands::Restore(command)) => command,
        Some(args::Subcommands::Rebuild(command)) => command,
        Some(args::Subcommands::Revert(command)) => command,
        Some(args::Subcommands::Reboot(command)) => command,
        Some(args::Subcommands::Confirm(command)) => command,
        Some(args::Subcommands::Suspend(command)) => command,
        Some(args::Subcommands::Resume(command)) => command,
        Some(args::Subcommands::Targets(_)) => {
            return targets::Arguments::run(global, env, report);
        }
        Some(args::Subcommands::Forget(command)) => {
            return command.run(global, env, interrupt, report);
        }
        Some(args::Subcommands::Config(command)) => return command.run(global, env, report),
        Some(args::Subcommands::Init(command)) => return command.run(global, env, report),
        Some(args::Subcommands::Completions(command)) => return Ok(command.run(report)),
        Some(args::Subcommands::Complete(command)) => return Ok(command.run(env, report)),
        Some(args::Subcommands::Man(command)) => return command.run(report),
    };
    let overrides = command.overrides(global.overrides());
    report.repeat(repeated(&overrides));
    let mut resolved = resolve(global, &overrides, env, report)?;
    command.complete(&mut resolved, env);
    if is_bare && usage::is_stranger(&resolved) {
        report.message(&usage::first_help());
        return Ok(Exit::Usage);
    }
    if command.needs_target() && usage::lacks_target(&resolved) {
        return Err(settings::Error::NoTarget.into());
    }
    let target = resolved.entries.iter().find(|entry| entry.name == "target");
    if let Some(target) = target {
        let (path, origin) = (text::path(&resolved.settings.target), &target.origin);
        report.detail(&format!("the target is `{path}` ({origin})"));
    }
    let choice = Choice::of(&resolved, global, env)?;
    let settings = resolved.settings;
    report.repeat(repeated(&overrides).about(&settings.target, env));
    let mut run = Run {
        env,
        interrupt,
        report,
        choice,
        progress: Progress::default(),
        times: RefCell::new(Times::new()),
        changed: None,
    };
    let ended = command.run(&settings, &mut run);
    let times = run.times.borrow().line();
    if let Some(times) = times {
        run.report.detail(&times);
    }
    if command.may_change() {
        record(&ended, &settings, &mut run);
    }
    ended
}

/// Records how a run ended that may have changed something.
fn record(ended: &Result<Exit, Error>, settings: &Settings, run: &mut Run<'_>) {
    let rebuilds = run.progress.has_begun(Stage::Rebuild);
    let is_mistaken = |error: &Error| run.choice.is_mistaken(error, rebuilds);
    if ended.as_ref().is_err_and(is_mistaken) {
        // What came before it has ended well.
        run.progress.leave_out_last();
        let before = Ok(Exit::Done);
        overdue::remember(&before, settings, run);
        failed::remember(&before, settings, run);
        metrics::write(&before, settings, run);
        return;
    }
    overdue::remember(ended, settings, run);
    failed::remember(ended, settings, run);
    metrics::write(ended, settings, run);
    hooks::run(ended, settings, run);
}

/// The settings of this run.
fn resolve(
    global: &Global,
    overrides: &Overrides,
    env: &Env,
    report: &mut Report,
) -> Result<ResolvedSettings, Error> {
    let resolved = settings_of(global, overrides, env)?;
    for unknown in &resolved.unknown_variables {
        let name = &unknown.name;
        let meant = unknown.meant.as_ref();
        let meant = meant.map(|meant| format!("; write `{meant}` if that was meant"));
        let meant = meant.unwrap_or_default();
        report.warning(&format!("`{name}` is set, but is not a setting{meant}"));
    }
    Ok(resolved)
}

/// The settings with these options, without a word about them.
fn settings_of(
    global: &Global,
    overrides: &Overrides,
    env: &Env,
) -> Result<ResolvedSettings, Error> {
    let file = ConfigFile::find(global.config.as_deref(), env)?;
    Ok(Settings::resolve_with(
        overrides,
        env,
        file.as_ref(),
        &StateRecords,
    )?)
}

/// Code 2 of `validate` means "warnings only", so there a broken configuration is a failure.
fn exit_of(error: &Error, cli: &Cli) -> Exit {
    match (Exit::from(error), &cli.command) {
        (Exit::Configuration, Some(args::Subcommands::Validate(_))) => Exit::Failure,
        (exit, _) => exit,
    }
}

/// The command line, and the name of its command.
fn parse(args: &[OsString]) -> Result<(Cli, String), clap::Error> {
    let mut command = args::command();
    let matches = command.try_get_matches_from_mut(args)?;
    let names: Vec<&str> =
        std::iter::successors(matches.subcommand(), |(_, below)| below.subcommand())
            .map(|(name, _)| name)
            .collect();
    let name = match names.as_slice() {
        [] => "update".to_owned(),
        names => names.join(" "),
    };
    // Without this, `hyper-sync --ref x sync` would sync another ref than the one given.
    if let Some((name, _)) = matches.subcommand() {
        let update = update::Arguments::augment_args(clap::Command::new("update"));
        let misplaced = update.get_arguments().find(|argument| {
            matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
        });
        if let Some(option) = misplaced.and_then(clap::Arg::get_long) {
            let message = format!(
                "`--{option}` before `{name}` belongs to the update, not to `{name}`: write it after `{name}`, where it is known there"
            );
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
    }
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((cli, name))
}
