//! Usage errors, `--help` and `--version`.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;

use super::{args, is_read_only};
use crate::error::UsageError;
use crate::exit::Exit;
use crate::fs::{Directory, Faults};
use crate::report::{Color, OutputFormat, Report, Stdio, Verbosity};
use crate::settings::{Env, HYPER_NIXOS_TARGET, Origin, ResolvedSettings};
use crate::text;

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
    let mut command = args::command().after_help(
        "Nothing was done: no repository is set, and no target is known here. To begin, see what is there already, and\n\
         then sync, with your own repository and directory:\n\n  \
         hyper-sync sync --repo owner/name --target /etc/nixos --dry-run\n  \
         hyper-sync sync --repo owner/name --target /etc/nixos",
    );
    command.render_help().to_string()
}

/// The output format that invalid arguments request, as far as that can be detected.
fn format(args: &[OsString]) -> OutputFormat {
    let mut options = args.iter().take_while(|argument| *argument != "--");
    if options.any(|argument| argument == "--json") {
        OutputFormat::Json
    } else {
        OutputFormat::Human
    }
}

/// Prints help and version to stdout, and everything else as a usage error, with its own exit code.
pub(super) fn print(error: &clap::Error, args: &[OsString], env: &Env, mut stdio: Stdio) -> Exit {
    let is_error = error.use_stderr();
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    let format = format(args);
    if is_error && (!is_help || format == OutputFormat::Json) {
        let mut words = args.iter().skip(1).filter_map(|word| word.to_str());
        let command = words.find(|word| !word.starts_with('-'));
        let mut report = Report::new(stdio, format, Verbosity::Normal, Color::Auto, env)
            .read_only(command.is_some_and(is_read_only));
        report.error(&UsageError::new(error, args).into(), Exit::Usage);
        return report.finish(Exit::Usage);
    }
    let (stream, is_terminal) = if is_error {
        (&mut stdio.err, stdio.err_is_terminal)
    } else {
        (&mut stdio.out, stdio.out_is_terminal)
    };
    let rendered = error.render();
    let text = if Color::Auto.is_on(is_terminal, env) {
        rendered.ansi().to_string()
    } else {
        text::lines(&rendered.to_string())
    };
    // If the reader has closed the stream, there is nowhere to report it.
    let _ = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush());
    if is_error { Exit::Usage } else { Exit::Done }
}
