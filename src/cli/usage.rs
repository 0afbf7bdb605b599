//! Usage errors, `--help` and `--version`.

use std::ffi::OsString;

use clap::error::ErrorKind;

use crate::error::UsageError;
use crate::exit::Exit;
use crate::report::{Color, OutputFormat, Report, Stdio, Verbosity};
use crate::settings::Env;
use crate::text;

impl From<&clap::Error> for UsageError {
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

/// The output format that invalid arguments request, as far as that can be detected.
pub(super) fn format(args: &[OsString]) -> OutputFormat {
    let mut options = args.iter().take_while(|argument| *argument != "--");
    if options.any(|argument| argument == "--json") {
        OutputFormat::Json
    } else {
        OutputFormat::Human
    }
}

/// Prints help and version to stdout, and everything else as a usage error, with its own exit code.
pub(super) fn print(
    error: &clap::Error,
    format: OutputFormat,
    env: &Env,
    mut stdio: Stdio,
) -> Exit {
    let is_help = !error.use_stderr();
    if format == OutputFormat::Json && !is_help {
        let mut report = Report::new(stdio, format, Verbosity::Normal, Color::Auto, env);
        report.error(&UsageError::from(error).into(), Exit::Usage);
        return report.finish(Exit::Usage);
    }
    let is_terminal = if is_help {
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
    let stream = if is_help {
        &mut stdio.out
    } else {
        &mut stdio.err
    };
    // If the reader has closed the stream, there is nowhere to report it.
    let _ = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush());
    if is_help { Exit::Done } else { Exit::Usage }
}
