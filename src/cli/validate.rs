//! `hyper-sync validate`, and the two validations of the update.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{CliCommand, Run};
use crate::Error;
use crate::exit::Exit;
use crate::process::SystemRunner;
use crate::report::{self, OutputFormat, Verbosity, validate as render};
use crate::settings::{Env, Settings};
use crate::validate::{self, CheckContext, CheckStatus, Extent, Options, Severity, Validation};

/// Check the installation: files, flake, Nix, tools, integrity, disk space
///
/// Exit code 0: all passed; 1: critical failures; 2: warnings only.
#[derive(Args)]
pub(super) struct Arguments {
    /// Leave out the checks that take long
    #[arg(long)]
    quick: bool,
    /// Repair what can be repaired safely: says what it will do, does it, and checks again
    #[arg(long)]
    fix: bool,
    /// Leave out what cannot be seen from inside the sandboxed unit
    #[arg(long, hide = true)]
    sandboxed: bool,
    /// The least that makes the exit code other than 0
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    fail_on: FailOn,
}

/// What `validate` fails on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Warnings (exit code 2) and critical failures (1)
    #[default]
    Warning,
    /// Critical failures only; warnings exit with 0
    Critical,
}

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Document {
    passed: usize,
    warned: usize,
    failed: usize,
    skipped: usize,
    #[serde(flatten)]
    validation: Validation,
}

impl From<Validation> for Document {
    fn from(validation: Validation) -> Self {
        Self {
            passed: validation.count(CheckStatus::Passed),
            warned: validation.count(CheckStatus::Warned),
            failed: validation.count(CheckStatus::Failed),
            skipped: validation.count(CheckStatus::Skipped),
            validation,
        }
    }
}

impl CliCommand for Arguments {
    /// It is also about the machine.
    fn needs_target(&self) -> bool {
        false
    }

    fn may_change(&self) -> bool {
        false
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let options = Options {
            extent: if self.quick {
                Extent::Quick
            } else {
                Extent::All
            },
            sandboxed: self.sandboxed,
            fix: self.fix,
        };
        let validation = inspect(options, settings, run);
        let exit = validation.exit(match self.fail_on {
            FailOn::Warning => Severity::Warning,
            FailOn::Critical => Severity::Critical,
        });
        match run.report.format() {
            OutputFormat::Human => render::human(run.report, &validation),
            OutputFormat::Json => run.report.json(&Document::from(validation)),
        }
        Ok(exit)
    }
}

/// Before a sync, only what makes it unsafe stops the update, because a sync may repair everything else.
///
/// What the rebuild needs is listed only if there will be one, and not checked if the person wants none.
pub(super) fn before_sync(
    rebuilds: bool,
    skips_rebuild: bool,
    sandboxed: bool,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<Document, Error> {
    let mut settings = settings.clone();
    if skips_rebuild && !sandboxed {
        settings.rebuild.action = None;
    }
    let settings = &settings;
    let runner = SystemRunner::new(run.interrupt.clone(), report::pass_through());
    validate::preflight(&context(settings, run.env, &runner))?;
    let options = Options {
        extent: Extent::BeforeSync,
        sandboxed,
        ..Options::default()
    };
    run.times.borrow_mut().begin("validate");
    let validation = inspect(options, settings, run);
    run.times.borrow_mut().end();
    let is_verbose = run.report.verbosity() == Verbosity::Verbose;
    if rebuilds || is_verbose {
        render::brief(run.report, &validation, CheckStatus::Failed);
    }
    let found = validation.count(CheckStatus::Warned) + validation.count(CheckStatus::Failed);
    let summary = render::summary(&validation);
    if found > 0 {
        run.report.message(&format!(
            "validate: {summary}; `hyper-sync validate --quick` lists them"
        ));
    } else if is_verbose {
        run.report.message(&format!("validate: {summary}"));
    }
    Ok(validation.into())
}

/// Before a rebuild, every critical failure stops the update.
pub(super) fn before_rebuild(settings: &Settings, run: &mut Run<'_>) -> Result<(), Error> {
    run.times.borrow_mut().begin("validate");
    let validation = inspect(Options::default(), settings, run);
    run.times.borrow_mut().end();
    render::brief(run.report, &validation, CheckStatus::Failed);
    Ok(validation.allows_rebuild()?)
}

fn inspect(options: Options, settings: &Settings, run: &mut Run<'_>) -> Validation {
    let runner = SystemRunner::new(run.interrupt.clone(), report::pass_through());
    let context = context(settings, run.env, &runner);
    let report = &mut *run.report;
    let validation = validate::run(&context, options, &mut |repair| {
        report.message(&format!("repair: {repair}"));
    });
    validation.with_hints(|hint| report.with_options(hint).into_owned())
}

fn context<'a>(settings: &'a Settings, env: &'a Env, runner: &'a SystemRunner) -> CheckContext<'a> {
    CheckContext {
        settings,
        env,
        runner,
        root: Path::new("/"),
    }
}
