//! A command line that clap refuses, as an error of ours: what is wrong, and what to write in its place.
//!
//! clap's own text has another shape than all other errors, and no code. What it knows about the mistake is taken from
//! it, and for words that other programs have in place of ours the answer stands here.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args as _, Command, CommandFactory as _};

use super::args::{Cli, Global};
use crate::error::UsageError;
use crate::settings;
use crate::text::{self, Nearest};

/// Commands of other programs, and what does it here.
const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["update", "upgrade", "deploy", "apply", "run"],
        "`hyper-sync` without a command updates: it validates, syncs and rebuilds",
    ),
    (
        &["pull", "reset"],
        "`hyper-sync sync` brings the target to the commit, and `hyper-sync` without a command also rebuilds",
    ),
    (
        &["fetch", "outdated"],
        "`hyper-sync sync --check-only` says whether changes wait, and `hyper-sync sync --dry-run` lists the files",
    ),
    (
        &["clone"],
        "`hyper-sync sync` with `--repo` and `--target` does it the first time",
    ),
    (&["checkout"], "write `hyper-sync sync --ref BRANCH`"),
    (
        &["switch", "build", "test", "boot"],
        "`hyper-sync rebuild` builds and switches; for another action, write `hyper-sync rebuild --rebuild-action boot`",
    ),
    (
        &["undo", "back"],
        "`hyper-sync rollback` brings the target back to an earlier commit",
    ),
    (
        &["generations", "list", "reflog"],
        "`hyper-sync history` lists the updates",
    ),
    (
        &["pause", "stop", "disable"],
        "`hyper-sync suspend` lets the timer do nothing for a while",
    ),
    (
        &["settings", "options"],
        "`hyper-sync config show` prints the settings",
    ),
];

/// Options of other programs, and ours.
const OPTIONS: &[(&[&str], &str)] = &[
    (&["--branch", "--tag", "--commit", "--rev", "-b"], "--ref"),
    (&["--repository", "--url", "--origin", "--flake"], "--repo"),
    (&["--dir", "--directory", "--path", "-C"], "--target"),
    (&["--preview", "--what-if"], "--dry-run"),
    (&["--token"], "--token-file"),
];

impl UsageError {
    /// From what clap refuses, and the arguments after the name of the program.
    pub(super) fn new(error: &clap::Error, args: &[OsString]) -> Self {
        let words: Vec<&str> = args.iter().filter_map(|word| word.to_str()).collect();
        let command = command(error, &words);
        let mut help = advice(error, &command, &words);
        help.push(format!("`{command} --help` lists its options"));
        Self {
            message: message(error, &command),
            help: help.join("; "),
        }
    }
}

/// The command that was given, as its usage begins: `hyper-sync sync`. Errors of values have no usage.
fn command(error: &clap::Error, words: &[&str]) -> String {
    let usage = texts(error, ContextKind::Usage).join(" ");
    let usage = usage.trim_start_matches("Usage:").split_whitespace();
    let names: Vec<&str> = usage
        .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    if !names.is_empty() {
        return names.join(" ");
    }
    let root = Cli::command();
    let mut command = (&root, root.get_name().to_owned());
    for word in words {
        if let Some(below) = command.0.find_subcommand(word) {
            command = (below, format!("{} {}", command.1, below.get_name()));
        }
    }
    command.1
}

/// What is wrong.
fn message(error: &clap::Error, command: &str) -> String {
    let argument = texts(error, ContextKind::InvalidArg).join("`, `");
    let value = texts(error, ContextKind::InvalidValue).join(" ");
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let given = texts(error, ContextKind::InvalidSubcommand).join(" ");
            format!("`{}` is not a command", text::name(given))
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("`{}` is not an option of `{command}`", text::name(argument))
        }
        ErrorKind::UnknownArgument => {
            format!("`{command}` takes no argument `{}`", text::name(argument))
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("`{argument}` needs a value"),
        ErrorKind::InvalidValue => {
            format!("`{}` is not a value of `{argument}`", text::name(value))
        }
        ErrorKind::ValueValidation => {
            let why = error
                .source()
                .map(|why| format!(": {}", text::words(why.to_string())));
            let why = why.unwrap_or_default();
            format!(
                "`{}` is not a value of `{argument}`{why}",
                text::name(value)
            )
        }
        ErrorKind::MissingRequiredArgument if !argument.is_empty() => {
            format!("`{argument}` is missing")
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "the command is not complete".to_owned()
        }
        ErrorKind::ArgumentConflict if !argument.is_empty() => {
            match texts(error, ContextKind::PriorArg).join("` and `") {
                prior if prior.is_empty() || prior == argument => {
                    format!("`{argument}` is given twice")
                }
                prior => format!("`{argument}` and `{prior}` cannot be used together"),
            }
        }
        _ => {
            let text = error.render().to_string();
            let what = text.split("\n\n").next().unwrap_or_default();
            let what = what.strip_prefix("error: ").unwrap_or(what);
            text::words(what.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}

/// What may have been meant.
fn advice(error: &clap::Error, command: &str, words: &[&str]) -> Vec<String> {
    let given = texts(error, ContextKind::InvalidSubcommand).join(" ");
    let argument = texts(error, ContextKind::InvalidArg).join(" ");
    let suggested = texts(error, ContextKind::SuggestedValue);
    let values = texts(error, ContextKind::ValidValue);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let mut foreign = COMMANDS.iter();
            let known = foreign.find(|(names, _)| names.contains(&given.as_str()));
            let near = || {
                let name = near(&given, command)?;
                Some(format!("write `{command} {name}` if that was meant"))
            };
            let known = known.map(|(_, advice)| (*advice).to_owned());
            known.or_else(near).into_iter().collect()
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            option(error, command, &argument, words)
                .into_iter()
                .collect()
        }
        ErrorKind::InvalidValue if !suggested.is_empty() => {
            vec![format!(
                "write `{}` if that was meant",
                suggested.join("`, `")
            )]
        }
        ErrorKind::InvalidValue if command == "hyper-sync config explain" => {
            let given = texts(error, ContextKind::InvalidValue).join(" ");
            vec![match settings::meant_by(&given) {
                Some(name) => format!("write `{name}` if that was meant"),
                None => format!("`{command}` prints all settings"),
            }]
        }
        ErrorKind::InvalidValue if !values.is_empty() => {
            vec![format!("write one of `{}`", values.join("`, `"))]
        }
        ErrorKind::MissingRequiredArgument => {
            let mut root = Cli::command();
            root.build();
            let usage = find(&root, command).clone().render_usage().to_string();
            let usage = usage.split_whitespace().collect::<Vec<_>>().join(" ");
            vec![usage.replacen("Usage:", "usage:", 1)]
        }
        _ => Vec::new(),
    }
}

/// The option that was meant by one that the command does not have.
fn option(error: &clap::Error, command: &str, argument: &str, words: &[&str]) -> Option<String> {
    let given = argument.split('=').next().unwrap_or(argument);
    match given {
        "--force" | "-f" => {
            return Some(
                "an update that is refused names the option that allows it, such as `--allow-rewind`"
                    .to_owned(),
            );
        }
        "--yes" | "-y" => return Some("leave it out, because nothing asks a question".to_owned()),
        _ => {}
    }
    let known = OPTIONS.iter().find(|(names, _)| names.contains(&given));
    let root = Cli::command();
    let suggested = texts(error, ContextKind::SuggestedArg);
    let name: &str = match (known, suggested.first()) {
        (Some((_, name)), _) => name,
        // The option of another command is not misspelt.
        (None, Some(name)) if !root.get_subcommands().any(|known| has(known, given)) => name,
        (None, _) => given,
    };
    let here = find(&root, command);
    let is_global = has(&Global::augment_args(Command::new("global")), name);
    if is_global || has(here, name) {
        // The value is a secret where a token was meant for its file.
        let mut from = words.iter().skip_while(|word| !word.starts_with(given));
        let value = match (from.next()?.split_once('='), from.next()) {
            _ if name == "--token-file" => None,
            (Some((_, value)), _) => Some(value),
            (None, Some(value)) if !value.starts_with('-') => Some(*value),
            _ => None,
        };
        let value = value.map(|value| format!(" {}", text::shell_word(value)));
        return Some(format!("write `{name}{}`", value.unwrap_or_default()));
    }
    let commands = root.get_subcommands().filter(|known| !known.is_hide_set());
    let with_it = commands.filter(|command| has(command, name));
    let mut names: Vec<String> = with_it
        .map(|command| format!("`{} {}`", root.get_name(), command.get_name()))
        .collect();
    if has(&root, name) {
        names.insert(0, "`hyper-sync` without a command".to_owned());
    }
    (!names.is_empty()).then(|| format!("`{name}` is an option of {}", text::list(names)))
}

/// Whether a command has an option of its own of this name, with its dashes.
fn has(command: &Command, name: &str) -> bool {
    let options = command.get_arguments().filter(|known| !known.is_hide_set());
    let mut options = options.filter_map(clap::Arg::get_long);
    options.any(|long| name.strip_prefix("--") == Some(long))
}

/// The name of a command that is like the given one.
fn near(given: &str, command: &str) -> Option<String> {
    let root = Cli::command();
    let mut near = Nearest::to(given);
    for known in find(&root, command).get_subcommands() {
        if !known.is_hide_set() {
            near.offer(known.get_name());
        }
    }
    near.name()
}

/// The command of this full name; the program's own where there is none.
fn find<'a>(root: &'a Command, command: &str) -> &'a Command {
    let mut names = command.split(' ').skip(1);
    names
        .try_fold(root, |command, name| command.find_subcommand(name))
        .unwrap_or(root)
}

/// What clap knows of a kind, without styles.
fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        None => Vec::new(),
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(other) => vec![other.to_string()],
    }
}
