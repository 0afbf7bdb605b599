//! `hyper-sync sync`.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, ValueHint};

use super::choice::Stay;
use super::suspend::{self, Starter};
use super::{CliCommand, Run, rebuild};
use crate::Error;
use crate::exit::Exit;
use crate::metrics::Stage;
use crate::plan::MassDelete;
use crate::report::{OutputFormat, sync as render};
use crate::settings::{self, LocalEdits, Overrides, Settings, Transport};
use crate::sync::{self, Options, Outcome, SyncMode};
use crate::text;

/// Bring the target to a commit, without rebuilding
///
/// Finds out what changed between the last synced commit and the one of `--ref`, downloads only that, verifies
/// it to the byte and puts it into the target. Files it did not write are never deleted, local edits are never
/// lost.
#[derive(Args)]
pub(super) struct Arguments {
    /// Branch, tag or commit, as `--ref`
    #[arg(value_name = "REF", conflicts_with = "reference", value_hint = ValueHint::Other)]
    name: Option<OsString>,
    /// The sync.
    #[command(flatten)]
    remote: Remote,
    /// Compare local files by size and time instead of hashing them (faster)
    ///
    /// Downloads are verified all the same. An edit that keeps size and time is not seen.
    #[arg(long)]
    skip_validation: bool,
}

/// What `update` and `sync` have in common.
#[derive(Args, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "options of a command line are independent"
)]
#[command(group = ArgGroup::new("preview").multiple(true))]
pub(super) struct Remote {
    /// Branch, tag or commit to bring the target to [default: main]
    #[arg(long = "ref", value_name = "BRANCH|TAG|COMMIT", value_hint = ValueHint::Other)]
    reference: Option<OsString>,
    /// Only say whether changes wait, and how many; no file of the commit is downloaded, the target stays as it is
    #[arg(long, group = "preview")]
    check_only: bool,
    /// List every file that would be written or deleted; the target stays as it is
    #[arg(long, short = 'n', group = "preview")]
    dry_run: bool,
    /// With `--check-only` or `--dry-run`: exit with 20 when changes wait
    #[arg(long, requires = "preview")]
    exit_code: bool,
    /// Download the whole commit instead of what changed; verified and applied the same way
    #[arg(long)]
    force_full: bool,
    /// How the repository is read: the git protocol, GitHub's API, or whichever suits
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(Transport::WORDS))]
    transport: Option<String>,
    /// What happens to files edited since the last sync
    ///
    /// `replace`: the target mirrors the commit, the edit is kept aside and `hyper-sync restore` puts it back.
    /// `keep`: edits win. `merge`: an edit is merged with the commit's change as git does; if both change the same lines,
    /// the run stops and writes nothing. `refuse`: an update that needs an edited file stops and writes nothing. In files that
    /// match the setting `protect` a local edit always wins.
    #[arg(long, value_name = "POLICY", value_parser = PossibleValuesParser::new(LocalEdits::WORDS))]
    local_edits: Option<String>,
    /// Follow a branch that was moved back or rewritten
    #[arg(long)]
    allow_rewind: bool,
    /// Follow another repository than before from now on; its files replace those of the one before
    #[arg(long)]
    allow_other_repo: bool,
    /// Let the update delete most of the files that are managed
    #[arg(long)]
    allow_mass_delete: bool,
    /// For the first sync of a directory: the commit of the repository that its files are of
    ///
    /// Files that are as in it are not edited, whichever commit they are brought to. A directory with `.git` needs no
    /// `--base`: its files are those of `HEAD`.
    #[arg(long, value_name = "COMMIT", value_hint = ValueHint::Other)]
    base: Option<String>,
    /// Move the `.git` of the target into the state directory after the sync
    ///
    /// It is not updated by a sync, so git, and a `nixos-rebuild` by hand, would not see new files.
    #[arg(long)]
    adopt: bool,
    /// Take the commit that was rolled back from again
    #[arg(long)]
    resume: bool,
    /// With another `--ref` than the configured one: how long the timer leaves the target there, such as `2h` [default:
    /// until a run with the configured one]
    #[arg(long = "for", value_name = "TIME", value_parser = suspend::parse_length, value_hint = ValueHint::Other)]
    pub(super) length: Option<Duration>,
    /// Wait this long for another run to end, instead of giving up at once: seconds, or a time such as `15m`
    #[arg(long, value_name = "TIME", value_parser = parse_wait, value_hint = ValueHint::Other)]
    wait: Option<Duration>,
}

fn parse_wait(text: &str) -> Result<Duration, String> {
    match text {
        "0" => Ok(Duration::ZERO),
        text => settings::duration(text).map_err(|problem| format!("it {problem}")),
    }
}

impl Remote {
    /// Whether the target stays as it is.
    pub(super) fn is_preview(&self) -> bool {
        self.check_only || self.dry_run
    }

    /// The command with the options without which it would do something else, for advice. Those that are settings are added
    /// to every command ([`RepeatedOptions`](crate::report::RepeatedOptions)), but for `--allow-rewind`.
    fn command(&self, command: &str) -> String {
        let base = self.base.as_ref();
        let base = base.map(|base| format!("--base={}", text::shell_word(base)));
        let flags = [
            (self.allow_rewind, "--allow-rewind"),
            (self.allow_other_repo, "--allow-other-repo"),
            (self.allow_mass_delete, "--allow-mass-delete"),
            (self.adopt, "--adopt"),
            (self.resume, "--resume"),
        ];
        let flags = flags.into_iter().filter(|(is_given, _)| *is_given);
        let flags = flags.map(|(_, flag)| flag.to_owned()).chain(base);
        { std::iter::once(command.to_owned()).chain(flags) }
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Adds the settings that these options set.
    pub(super) fn overrides(&self, overrides: Overrides) -> Overrides {
        let rewind = self.allow_rewind.then_some("true");
        overrides
            .with("ref", "--ref", self.reference.as_ref())
            .with("transport", "--transport", self.transport.as_ref())
            .with("local_edits", "--local-edits", self.local_edits.as_ref())
            .with("trust.rewind", "--allow-rewind", rewind)
    }
}

impl CliCommand for Arguments {
    fn overrides(&self, global: Overrides) -> Overrides {
        { self.remote.overrides(global) }.with("ref", "--ref", self.name.as_ref())
    }

    fn may_change(&self) -> bool {
        !self.remote.is_preview()
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let mut options = options(&self.remote, "hyper-sync sync");
        options.skip_validation = self.skip_validation;
        let mut stay = Stay::Unchanged;
        if options.mode == SyncMode::Apply {
            let _ = suspend::ends_run(Starter::Person, settings, run)?;
            stay = Stay::begin(Starter::Person, self.remote.length, settings, run)?;
        }
        run.progress.begin(Stage::Sync);
        let outcome = stay.settle(sync(&options, settings, run))?;
        if options.mode == SyncMode::Apply {
            rebuild::refresh_lock(settings, run)?;
        }
        let document = render::Document::new(&outcome, run.report);
        if options.mode == SyncMode::Apply && outcome.has_changes() {
            run.has_changed(settings, &document);
        }
        if run.report.format() == OutputFormat::Human {
            let rebuilds = settings.rebuild.action.is_some();
            let rebuild_is_left = rebuilds && !outcome.does_nothing();
            render::human(run.report, &outcome, &settings.target, rebuild_is_left);
        }
        refused(&outcome, run)?;
        if run.report.format() == OutputFormat::Json {
            run.report.json(&document);
        }
        stay.print(&outcome, settings, run);
        Ok(exit(&self.remote, &outcome))
    }
}

/// The options that `sync` and the update share, for a run of this command.
pub(super) fn options(remote: &Remote, command: &str) -> Options {
    Options {
        command: remote.command(command),
        // Both together: the one that downloads nothing.
        mode: match (remote.check_only, remote.dry_run) {
            (true, _) => SyncMode::Check,
            (false, true) => SyncMode::DryRun,
            (false, false) => SyncMode::Apply,
        },
        force_full: remote.force_full,
        skip_validation: false,
        allow_rewind: remote.allow_rewind,
        allow_other_repo: remote.allow_other_repo,
        resume: remote.resume,
        base: remote.base.clone(),
        adopt: remote.adopt,
        // A person wants to see it.
        retry: true,
        mass_delete: if remote.allow_mass_delete {
            MassDelete::Allow
        } else {
            MassDelete::Refuse
        },
        wait: remote.wait.unwrap_or_default(),
    }
}

/// Runs the sync.
pub(super) fn sync(
    options: &Options,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<Outcome, Error> {
    let outcome = run.watched(settings, |context| sync::run(context, options))?;
    run.progress.moved(outcome.traffic);
    Ok(outcome)
}

/// Ends a preview of what would stop with the error that it would stop with, once the rest is printed.
pub(super) fn refused(outcome: &Outcome, run: &mut Run<'_>) -> Result<(), Error> {
    let Some(refused) = outcome.refused.clone() else {
        return Ok(());
    };
    let sync = render::Document::new(outcome, run.report);
    run.report.done(&serde_json::json!({ "sync": sync }));
    Err(refused.into())
}

/// The exit code of a completed sync.
pub(super) fn exit(remote: &Remote, outcome: &Outcome) -> Exit {
    match late(outcome) {
        Exit::Done
            if remote.exit_code && outcome.mode != SyncMode::Apply && outcome.has_changes() =>
        {
            Exit::ChangesWait
        }
        exit => exit,
    }
}

/// Late edits are a conflict, although they are kept.
pub(super) fn late(outcome: &Outcome) -> Exit {
    let late = outcome
        .applied
        .as_ref()
        .is_some_and(|applied| !applied.late.is_empty());
    if late { Exit::Conflict } else { Exit::Done }
}
