//! Usage errors, `--help` and `--version`.

use std::ffi::OsString;
use std::path::Path;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::Cli;
use crate::error::UsageError;
use crate::exit::Exit;
use crate::fs::{Directory, Faults};
use crate::report::{Color, OutputFormat, Report, Stdio, Verbosity};
use crate::settings::{Env, HYPER_NIXOS_TARGET, Origin, ResolvedSettings};
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

/// Whether nothing says what to do here: no setting is given, no target is known, and this machine is not a Hyper-NixOS.
pub(super) fn is_stranger(resolved: &ResolvedSettings) -> bool {
    let mut entries = resolved.entries.iter();
    entries.all(|entry| entry.origin == Origin::Default) && !is_hyper_nixos()
}

/// Whether the target is only that of Hyper-NixOS because nothing names another one, and this machine is none.
pub(super) fn lacks_target(resolved: &ResolvedSettings) -> bool {
    let target = resolved.entries.iter().find(|entry| entry.name == "target");
    target.is_some_and(|target| target.origin == Origin::Default) && !is_hyper_nixos()
}

/// Whether the directory is there that holds Hyper-NixOS's target. The first sync makes the target itself.
fn is_hyper_nixos() -> bool {
    let above = Path::new(HYPER_NIXOS_TARGET).parent();
    above.is_some_and(|above| Directory::open_following(above, Faults::default()).is_ok())
}

/// What a run without arguments prints then.
pub(super) fn first_help() -> String {
    let mut command = Cli::command().after_help(
        "Nothing was done: no repository is set, and no target is known here. To begin, see what is there already, and\n\
         then sync, with your own repository and directory:\n\n  \
         hyper-sync sync --repo owner/name --target /etc/nixos --dry-run\n  \
         hyper-sync sync --repo owner/name --target /etc/nixos",
    );
    command.render_help().to_string()
}

/// The error with advice that helps: the name that is nearest to a misspelt command of `help`, and no advice to give an
/// option to `rollback` as a value, because no commit is called so.
pub(super) fn advised(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let words: Vec<&str> = args
        .iter()
        .skip(1)
        .filter_map(|word| word.to_str())
        .collect();
    if error.kind() == ErrorKind::UnknownArgument && words.contains(&"rollback") {
        error.remove(ContextKind::Suggested);
    }
    if let (ErrorKind::InvalidSubcommand, ["help", given]) = (error.kind(), words.as_slice()) {
        let command = Cli::command();
        let names = command
            .get_subcommands()
            .filter(|known| !known.is_hide_set());
        let names = names.map(|known| (strsim::jaro(known.get_name(), given), known.get_name()));
        let near = names.filter(|(nearness, _)| *nearness > NEAR);
        if let Some((_, name)) = near.max_by(|(one, _), (other, _)| one.total_cmp(other)) {
            let names = ContextValue::Strings(vec![name.to_owned()]);
            error.insert(ContextKind::SuggestedSubcommand, names);
        }
    }
    error
}

/// How alike a name must be to be suggested, as clap has it.
const NEAR: f64 = 0.7;

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
