#![expect(
    clippy::struct_excessive_bools,
    reason = "options of a command line are independent"
)]
//! The command line as it is typed: commands, options and their help texts.
//!
//! Nothing here is resolved: what an option gives goes to [`Overrides`] under the name of its setting, and
//! `settings` checks it with the same rules as a file's value.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::place::{self, Place};
use crate::report::{Color, Format, Verbosity};
use crate::settings::{Action, LocalEdits, Transport};
use crate::sync::Back;

mod overrides;

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
pub struct Cli {
    /// Options of the update.
    #[command(flatten)]
    pub update: Update,
    /// Options every command has.
    #[command(flatten)]
    pub global: Global,
    /// The command; none is the update.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands beside the update.
#[derive(Subcommand)]
pub enum Command {
    /// Bring the target to a commit, without rebuilding
    ///
    /// Finds out what changed between the last synced commit and the one of `--ref`, downloads only that, verifies
    /// it to the byte and puts it into the target. Files it did not write are never deleted, local edits are never
    /// lost.
    Sync(Sync),
    /// Check the installation: files, flake, Nix, tools, integrity, disk space
    ///
    /// Exit code 0: all passed; 1: critical failures; 2: warnings only.
    Validate(Validate),
    /// Show which commit the target, the built and the running system are at
    ///
    /// Also local edits, commits that are held, a rebuild that waits, and when it last ran and last changed anything.
    Status,
    /// Fail where syncs have not reached the repository for longer than `failure_grace`
    ///
    /// For the unit that updates a machine, and for monitoring: a machine without network is no broken machine. Exit
    /// code 0: the last sync reached the repository, or was refused by a rate limit; 75: it did not, but not for long:
    /// try again soon; 3 or 5: none has ended well for too long.
    Overdue,
    /// Show local edits as a diff, or what a sync would change
    ///
    /// Without options: from the last synced commit to the files as they are. The output is that of `git diff`, and
    /// `git apply` takes it where it does not go to a terminal; binary files are named only.
    Diff(Diff),
    /// List the updates that can be undone, newest first
    History,
    /// Bring the target back to an earlier commit, without the network
    ///
    /// Local edits that the undone updates had replaced are put back. The commit that is left is held: a sync takes it
    /// again only with `--resume`, or when the branch has moved on. Rebuild afterwards with `hyper-sync rebuild`. A
    /// rollback is an update itself: a second one undoes it, and to go further back, name the commit.
    Rollback(Rollback),
    /// Put local edits back that an update has replaced
    Restore(Restore),
    /// Rebuild the system from the target as it is
    Rebuild(Rebuild),
    /// Show or check the settings
    #[command(subcommand, arg_required_else_help = true)]
    Config(Config),
    /// Print the completions for a shell
    ///
    /// For bash: `hyper-sync completions bash > /etc/bash_completion.d/hyper-sync`
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page
    #[command(hide = true)]
    Man {
        /// The command whose page it is; none is `hyper-sync` itself
        #[arg(value_name = "COMMAND", num_args = 0..)]
        command: Vec<String>,
    },
}

/// `config`.
#[derive(Subcommand)]
pub enum Config {
    /// Print every setting, with where its value comes from
    ///
    /// The output is a configuration file that says the same. The precedence is: option, `HYPER_SYNC_*` variable,
    /// file, default. The variable of `rebuild.action` is `HYPER_SYNC_REBUILD_ACTION`, a list has one item a line.
    Show,
    /// Check a configuration file
    ///
    /// Needs no network, no root and no target: the NixOS module runs it when the system is built. Exit code 0: the
    /// file is valid; 2: it is not, and each mistake is shown with its line.
    Check {
        /// The file to check, in place of the one a run would read
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
}

/// What `update` and `sync` have in common.
#[derive(Args, Default)]
#[command(group = ArgGroup::new("preview").multiple(true))]
pub struct Remote {
    /// Branch, tag or commit to bring the target to [default: main]
    #[arg(long = "ref", value_name = "BRANCH|TAG|COMMIT")]
    pub reference: Option<OsString>,
    /// Only say whether changes wait, and how many; no file is downloaded or written
    #[arg(long, group = "preview")]
    pub check_only: bool,
    /// With `--check-only`: exit with 20 when changes wait
    #[arg(long, requires = "preview")]
    pub exit_code: bool,
    /// Download the whole commit instead of what changed; verified and applied the same way
    #[arg(long)]
    pub force_full: bool,
    /// How the repository is read: the git protocol, GitHub's API, or whichever suits
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(Transport::WORDS))]
    pub transport: Option<String>,
    /// What happens to files edited since the last sync
    ///
    /// `replace`: the target mirrors the commit, the edit is kept aside and `hyper-sync restore` puts it back.
    /// `keep`: edits win. `refuse`: an update that needs an edited file stops and writes nothing. In files that
    /// match the setting `protect` a local edit always wins.
    #[arg(long, value_name = "POLICY", value_parser = PossibleValuesParser::new(LocalEdits::WORDS))]
    pub local_edits: Option<String>,
    /// Follow a branch that was moved back or rewritten
    #[arg(long)]
    pub allow_rewind: bool,
    /// Let the update delete most of the files that are managed
    #[arg(long)]
    pub allow_mass_delete: bool,
    /// Take the commit that was rolled back from again
    #[arg(long)]
    pub resume: bool,
    /// Wait this long for another run to end, instead of giving up at once
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub wait: u64,
}

/// What decides how a rebuild is done.
#[derive(Args, Default)]
pub struct Activation {
    /// What to do with the system that is built [default: switch]
    #[arg(long, value_name = "ACTION", value_parser = PossibleValuesParser::new(Action::WORDS))]
    pub rebuild_action: Option<String>,
    /// Activate also a system that has no hyper-sync timer any more, in a run started by that timer
    #[arg(long)]
    pub allow_self_removal: bool,
}

/// Options of the update.
#[derive(Args, Default)]
#[command(next_help_heading = "Update options")]
pub struct Update {
    /// The sync.
    #[command(flatten)]
    pub remote: Remote,
    /// Bring the target to the commit, but do not rebuild
    #[arg(long)]
    pub skip_rebuild: bool,
    /// Leave out what the sandboxed unit cannot see or write; the unit of the rebuild does it
    #[arg(long, hide = true, requires = "skip_rebuild")]
    pub sandboxed: bool,
    /// The rebuild.
    #[command(flatten)]
    pub activation: Activation,
}

/// Options of `sync`.
#[derive(Args)]
pub struct Sync {
    /// The sync.
    #[command(flatten)]
    pub remote: Remote,
    /// List every file that would be written or deleted; write nothing
    #[arg(long, group = "preview")]
    pub dry_run: bool,
    /// Compare local files by size and time instead of hashing them (faster)
    ///
    /// Downloads are verified all the same. An edit that keeps size and time is not seen.
    #[arg(long)]
    pub skip_validation: bool,
}

/// Options of `validate`.
#[derive(Args)]
pub struct Validate {
    /// Leave out the checks that take long
    #[arg(long)]
    pub quick: bool,
    /// Repair what can be repaired safely: says what it will do, does it, and checks again
    #[arg(long)]
    pub fix: bool,
    /// Leave out what cannot be seen from inside the sandboxed unit
    #[arg(long, hide = true)]
    pub sandboxed: bool,
    /// The least that makes the exit code other than 0
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    pub fail_on: FailOn,
}

/// Options of `diff`.
#[derive(Args)]
pub struct Diff {
    /// From the files as they are to what a sync would make of them
    #[arg(long)]
    pub remote: bool,
    /// Only these paths in the target, and what is below them
    #[arg(value_name = "PATH", value_parser = place::parse, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<Place>,
}

/// Options of `rollback`.
#[derive(Args)]
pub struct Rollback {
    /// How many updates back, or the commit to go back to (the beginning of its id is enough)
    #[arg(value_name = "N|COMMIT", default_value = "1", value_parser = parse_back)]
    pub back: Back,
    /// List every file that would be written or deleted; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What happens to files edited since the last sync [setting: `local_edits`]
    #[arg(long, value_name = "POLICY", value_parser = PossibleValuesParser::new(LocalEdits::WORDS))]
    pub local_edits: Option<String>,
}

/// A small number counts updates; anything longer is the beginning of a commit id.
fn parse_back(text: &str) -> Result<Back, String> {
    match text.parse() {
        Ok(0) => Err("0 updates back is where it is".to_owned()),
        Ok(count) if text.len() < 4 => Ok(Back::Updates(count)),
        _ if text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(Back::Commit(text.to_ascii_lowercase()))
        }
        _ => Err("it is neither a number of updates nor the beginning of a commit id".to_owned()),
    }
}

/// Options of `restore`.
#[derive(Args)]
pub struct Restore {
    /// The files, or directories that hold them, in the target; `.` means all of them
    #[arg(
        value_name = "PATH",
        required = true,
        value_parser = place::parse,
        value_hint = ValueHint::AnyPath
    )]
    pub paths: Vec<Place>,
}

/// What `validate` fails on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Warnings (exit code 2) and critical failures (1)
    #[default]
    Warning,
    /// Critical failures only; warnings exit with 0
    Critical,
}

/// Options of `rebuild`.
#[derive(Args)]
pub struct Rebuild {
    /// The rebuild.
    #[command(flatten)]
    pub activation: Activation,
    /// Do nothing unless a sync has left a rebuild to do
    #[arg(long)]
    pub if_pending: bool,
    /// Only make the new system the boot default, and leave the action waiting; for the unit that may reboot
    #[arg(long, hide = true, requires = "if_pending")]
    pub boot_first: bool,
}

/// Options every command has.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration file [default: /etc/hyper-sync/config.toml, where it exists]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Repository: `owner/name` on GitHub, `https://…`, `ssh://…`, `user@host:path`, `file://…` or a path
    #[arg(long, global = true, value_name = "REPO")]
    pub repo: Option<OsString>,
    /// Directory to keep equal to a commit [default: /etc/hypervisor/src]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub target: Option<OsString>,
    /// Directory for downloaded objects, undo copies and the journal
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, hide_short_help = true)]
    pub state_dir: Option<OsString>,
    /// Where the result of the last sync is published as JSON
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub state_file: Option<OsString>,
    /// File that holds the token for a private repository or a higher rate limit
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<OsString>,
    /// Base of the REST API of a GitHub Enterprise, such as `https://git.example.org/api/v3`
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url, hide_short_help = true)]
    pub api_url: Option<OsString>,
    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Print warnings and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more, and let a rebuild show its traces
    #[arg(long, short, global = true, action = ArgAction::SetTrue)]
    pub verbose: bool,
    /// When to use colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_short_help = true
    )]
    pub color: Color,
    /// No progress bars
    #[arg(long, global = true, hide_short_help = true)]
    pub no_progress: bool,
}

impl Global {
    /// For whom stdout is.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Human
        }
    }

    /// How much is told.
    #[must_use]
    pub fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        }
    }
}

fn after_long_help() -> String {
    use std::fmt::Write as _;

    let mut text = String::from(
        "Examples:\n  \
         hyper-sync --check-only                 Does anything wait?\n  \
         hyper-sync --ref develop                Update to a branch\n  \
         hyper-sync --ref v2.1 --skip-rebuild    Bring the files, rebuild later\n  \
         hyper-sync sync --dry-run               List every file that would change\n  \
         hyper-sync validate --fix               Check the installation and repair it\n\n\
         What an option sets can also be set by a variable (`HYPER_SYNC_REF`) or in the configuration file (`ref`); \
         `hyper-sync config show` lists all settings, with where each value comes from.\n\n\
         Exit codes:",
    );
    for (exit, meaning) in crate::exit::Exit::TABLE {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {:>3}  {meaning}", exit.code());
    }
    text
}
