//! Command lines that are wrong, and those that ask for help.

use std::ffi::OsString;

use clap::error::ErrorKind;
use miette::Diagnostic;

use crate::exit::Exit;
use crate::report::{Color, OutputFormat, Report, Stdio, Verbosity};
use crate::settings::Env;
use crate::text;

/// A command line that is wrong, as JSON; as text, with the usage beside it.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
#[diagnostic(
    code(hyper_sync::cli::usage),
    help("`hyper-sync --help` lists the commands and their options; nothing was written")
)]
pub struct Error {
    /// What is wrong, in one line.
    pub message: String,
}

impl From<&clap::Error> for Error {
    fn from(error: &clap::Error) -> Self {
        let message = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            "the command is not complete".to_owned()
        } else {
            let text = error.render().to_string();
            let what = text.split("\n\n").next().unwrap_or_default();
            let what = what.strip_prefix("error: ").unwrap_or(what);
            what.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        Self { message }
    }
}

/// Whether these arguments ask for JSON, as far as arguments that make no sense show it.
pub(super) fn format(args: &[OsString]) -> OutputFormat {
    let mut options = args.iter().take_while(|argument| *argument != "--");
    if options.any(|argument| argument == "--json") {
        OutputFormat::Json
    } else {
        OutputFormat::Human
    }
}

/// Help and version are what was asked for; everything else is a mistake, with a code that no stage has.
pub(super) fn print(
    error: &clap::Error,
    format: OutputFormat,
    env: &Env,
    mut stdio: Stdio,
) -> Exit {
    let asked_for = !error.use_stderr();
    if format == OutputFormat::Json && !asked_for {
        let mut report = Report::new(stdio, format, Verbosity::Normal, Color::Auto, env);
        report.error(&Error::from(error).into(), Exit::Usage);
        return report.finish(Exit::Usage);
    }
    let is_terminal = if asked_for {
        stdio.out_is_terminal
    } else {
        stdio.err_is_terminal
    };
    let rendered = error.render();
    let text = if Color::Auto.is_on(is_terminal, env) {
        rendered.ansi().to_string()
    } else {
        text::lines(&rendered.to_string())
    };
    let stream = if asked_for {
        &mut stdio.out
    } else {
        &mut stdio.err
    };
    // There is nobody to report to that the reader is gone.
    let _ = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush());
    if asked_for { Exit::Done } else { Exit::Usage }
}
