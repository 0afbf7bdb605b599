//! The command line: the commands there are, and the options that each of them has.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};

use super::{
    check, completions, config, confirm, diff, forget, health, history, init, log, man, overdue,
    reboot, rebuild, restore, revert, rollback, status, suspend, sync, targets, update, validate,
};
use crate::report::{Color, OutputFormat, Verbosity};
use crate::settings::Overrides;

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
    after_help = "See `hyper-sync help COMMAND` for one command, and `--help` for examples and exit codes.",
    after_long_help = after_long_help(),
    subcommand_help_heading = "Commands",
    subcommand_value_name = "COMMAND",
    max_term_width = 100,
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
    Man(man::Arguments),
}

/// Options every command has.
#[derive(Args)]
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

/// What to try first, each with what it does.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("hyper-sync --check-only", "Does anything wait?"),
    ("hyper-sync --ref develop", "Update to a branch"),
    (
        "hyper-sync --ref v2.1 --skip-rebuild",
        "Bring the files, rebuild later",
    ),
    ("hyper-sync --dry-run", "List every file that would change"),
    (
        "hyper-sync validate --fix",
        "Check the installation and repair it",
    ),
];

fn after_long_help() -> String {
    use std::fmt::Write as _;

    let mut text = String::from("Examples:\n");
    for (line, what) in EXAMPLES {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {line:<38}  {what}");
    }
    text.push_str(
        "\nWhat an option sets can also be set by a variable (`HYPER_SYNC_REF`) or in the configuration file (`ref`); \
         `hyper-sync config show` lists all settings, with where each value comes from.\n\n\
         Exit codes:",
    );
    for (exit, meaning) in crate::exit::Exit::TABLE {
        let _ = write!(text, "\n  {:>3}  {meaning}", exit.code());
    }
    text
}
