//! The command line: the commands there are, and the options that each of them has.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{ArgAction, Args, Command, CommandFactory as _, Parser, Subcommand, ValueHint};

use super::{
    check, complete, completions, config, confirm, diff, examples, forget, health, history, init,
    log, man, overdue, reboot, rebuild, restore, revert, rollback, status, suspend, sync, targets,
    update, validate,
};
use crate::report::{Color, OutputFormat, Verbosity};
use crate::settings::Overrides;

/// The most columns of help; more are tiring to read.
const WIDTH: usize = 100;

/// The command line.
#[derive(Parser)]
#[command(
    name = "hyper-sync",
    version,
    about = "Keep a NixOS configuration equal to a commit of a git repository, and rebuild from it",
    long_about = "Keep a NixOS configuration equal to a commit of a git repository, and rebuild from it.\n\n\
        Without a command it does the whole update: validate the installation, bring the target directory to the \
        commit of `--ref` (only what changed travels, every byte is verified, local edits are kept), and rebuild \
        the system.",
    subcommand_help_heading = "Commands",
    subcommand_value_name = "COMMAND",
    max_term_width = WIDTH,
)]
pub(super) struct Cli {
    /// Options of the update.
    #[command(flatten)]
    pub(super) update: update::Arguments,
    /// Options every command has.
    #[command(flatten)]
    pub(super) global: Global,
    /// The command; none is the update.
    #[command(subcommand)]
    pub(super) command: Option<Subcommands>,
}

/// The commands beside the update; each one's help text and options stand in its own file.
#[derive(Subcommand)]
pub(super) enum Subcommands {
    Sync(sync::Arguments),
    Validate(validate::Arguments),
    Check(check::Arguments),
    Status(status::Arguments),
    Overdue(overdue::Arguments),
    Health(health::Arguments),
    Diff(diff::Arguments),
    History(history::Arguments),
    Log(log::Arguments),
    Rollback(rollback::Arguments),
    Restore(restore::Arguments),
    Rebuild(rebuild::Arguments),
    Targets(targets::Arguments),
    Forget(forget::Arguments),
    Suspend(suspend::Arguments),
    Resume(suspend::ResumeArguments),
    #[command(hide = true)]
    Revert(revert::Arguments),
    #[command(hide = true)]
    Reboot(reboot::Arguments),
    #[command(hide = true)]
    Confirm(confirm::Arguments),
    Init(init::Arguments),
    #[command(subcommand, arg_required_else_help = true)]
    Config(config::Arguments),
    Completions(completions::Arguments),
    #[command(hide = true)]
    Complete(complete::Arguments),
    Man(man::Arguments),
}

/// Options every command has.
#[derive(Args, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "options of a command line are independent"
)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Configuration file [default: /etc/hyper-sync/config.toml, where it exists]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) config: Option<PathBuf>,
    /// Repository: `owner/name` on GitHub, `https://…`, `ssh://…`, `user@host:path`, `file://…` or a path
    /// [default: the one the target follows]
    #[arg(long, global = true, value_name = "REPO", value_hint = ValueHint::Other)]
    pub(super) repo: Option<OsString>,
    /// Directory to keep equal to a commit [default: the one this is run in, or the only one known]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) target: Option<OsString>,
    /// Directory for downloaded objects, undo copies and the journal
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, hide_short_help = true)]
    pub(super) state_dir: Option<OsString>,
    /// Where the result of the last sync is published as JSON
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(super) state_file: Option<OsString>,
    /// File that holds the token for a private repository or a higher rate limit
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) token_file: Option<OsString>,
    /// Private key for a repository by ssh, such as a deploy key
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(super) ssh_key_file: Option<OsString>,
    /// File with the keys of ssh hosts that are trusted
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(super) known_hosts_file: Option<OsString>,
    /// Base of the REST API of a GitHub Enterprise, such as `https://git.example.org/api/v3`
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url, hide_short_help = true)]
    pub(super) api_url: Option<OsString>,
    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print warnings and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Print more, and let a rebuild show its traces
    #[arg(long, short, global = true, action = ArgAction::SetTrue)]
    pub(super) verbose: bool,
    /// When to use colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_short_help = true
    )]
    pub(super) color: Color,
    /// No progress bars
    #[arg(long, global = true, hide_short_help = true)]
    pub(super) no_progress: bool,
}

impl Global {
    /// Those of them that say where, among words that need not be a whole command line.
    pub(super) fn of_words(words: &[String]) -> Self {
        let value = |option: &str| {
            let at = words.iter().rposition(|word| word.starts_with(option))?;
            let (name, value) = match words[at].split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                // bash has `=` as a word of its own.
                None => (words[at].as_str(), {
                    let mut after = words[at + 1..].iter().filter(|word| *word != "=");
                    after.next()?.clone()
                }),
            };
            (name == option).then_some(value)
        };
        Self {
            config: value("--config").map(PathBuf::from),
            target: value("--target").map(OsString::from),
            state_dir: value("--state-dir").map(OsString::from),
            ..Self::default()
        }
    }

    /// The settings that these options give.
    pub(super) fn overrides(&self) -> Overrides {
        Overrides::none()
            .with("repo", "--repo", self.repo.as_ref())
            .with("target", "--target", self.target.as_ref())
            .with("state_dir", "--state-dir", self.state_dir.as_ref())
            .with("state_file", "--state-file", self.state_file.as_ref())
            .with("token_file", "--token-file", self.token_file.as_ref())
            .with("ssh_key_file", "--ssh-key-file", self.ssh_key_file.as_ref())
            .with(
                "known_hosts_file",
                "--known-hosts-file",
                self.known_hosts_file.as_ref(),
            )
            .with("api_url", "--api-url", self.api_url.as_ref())
    }

    /// The format of stdout.
    pub(super) fn format(&self) -> OutputFormat {
        if self.json {
            OutputFormat::Json
        } else {
            OutputFormat::Human
        }
    }

    /// How much is printed.
    pub(super) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        }
    }
}

/// The command line, with what the help of each command ends with: examples, and the options that all have, in short.
pub(super) fn command() -> Command {
    let in_short = global_in_short(true);
    let root = Cli::command().mut_args(|argument| {
        if argument.is_global_set() {
            // Printed by `global_in_short` instead.
            argument.hide_short_help(true).hide_long_help(true)
        } else {
            argument
        }
    });
    let command = with_help_end(root, "hyper-sync", &in_short);
    let usual = global_in_short(false);
    command.after_help(format!(
        "{usual}\n\nSee `hyper-sync help COMMAND` for one command, and `--help` for examples and exit codes."
    ))
}

fn with_help_end(command: Command, name: &str, in_short: &str) -> Command {
    let header = *command.get_styles().get_header();
    let mut long = String::new();
    let examples = examples::of(name);
    if !examples.is_empty() {
        let width = examples
            .iter()
            .map(|(line, _)| line.len())
            .max()
            .unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(long, "{header}Examples:{header:#}");
        for (line, what) in examples {
            let _ = writeln!(long, "  {line:<width$}  {what}");
        }
        long.push('\n');
    }
    long.push_str(in_short);
    let is_root = name == "hyper-sync";
    if is_root {
        let _ = write!(long, "\n\n{}", settings_and_exit_codes());
    }
    let names: Vec<String> = command
        .get_subcommands()
        .map(|below| below.get_name().to_owned())
        .collect();
    let command = if is_root {
        command
    } else {
        command.after_help("`--help` has examples, and the options that every command has.")
    };
    let command = command.after_long_help(long);
    names.into_iter().fold(command, |command, below| {
        let full = format!("{name} {below}");
        command.mut_subcommand(below, |command| with_help_end(command, &full, in_short))
    })
}

/// The options of [`Global`], a line or two for each: all, or those that are used often.
fn global_in_short(all: bool) -> String {
    let mut command = Global::augment_args(Command::new("global"))
        .disable_help_flag(true)
        .max_term_width(WIDTH)
        .help_template("{all-args}")
        .mut_args(|argument| {
            let is_rare = argument.is_hide_short_help_set();
            argument.hide_short_help(is_rare && !all)
        });
    command
        .render_help()
        .ansi()
        .to_string()
        .trim_end()
        .to_owned()
}

fn settings_and_exit_codes() -> String {
    let mut text = String::from(
        "What an option sets can also be set by a variable (`HYPER_SYNC_REF`) or in the configuration file (`ref`); \
         `hyper-sync config show` lists all settings, with where each value comes from.\n\n\
         Exit codes:",
    );
    for (exit, meaning) in crate::exit::Exit::TABLE {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {:>3}  {meaning}", exit.code());
    }
    text
}
