//! `hyper-sync status`: which commit is where, and what waits.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::rebuild::{RebuildPolicy, with_request};
use super::{CliCommand, Run, suspend};
use crate::Error;
use crate::exit::Exit;
use crate::fs::{Directory, Faults, Stat, Target};
use crate::git::{CommitId, File, RelPath};
use crate::git_dir;
use crate::health::systemd::Systemctl;
use crate::lock::RunLock;
use crate::objects;
use crate::plan::{Kept, SkipReason};
use crate::process::{Environment, SystemRunner};
use crate::rebuild::{
    self, HalfState, Machine, Quarantine, QuarantineEntry, Reboot, RebootStage, RebuildRecord,
    Systems, Trial, TrialStage,
};
use crate::report::{self, OutputFormat, Verbosity};
use crate::scan::{Belief, Local, Scanner};
use crate::settings::Settings;
use crate::source;
use crate::state::{FailedRuns, Found, Index, StateDir, Suspended, SyncState, Unreached};
use crate::sync::{self, FirstBase, Hold};
use crate::text;

mod lines;

/// Show which commit the target, the built and the running system are at
///
/// Also local edits, commits that are held, a suspension, a rebuild that waits, and when it last ran and last changed
/// anything.
#[derive(Args)]
pub(super) struct Arguments {
    /// Ask the repository too, and show how many commits the target is behind
    #[arg(long)]
    remote: bool,
}

/// What `--json` prints.
#[derive(Default, Serialize)]
struct Document {
    target: std::path::PathBuf,
    commit: Option<CommitId>,
    /// Whether the stored commit has the tree that was applied; `None` where no commit is known.
    proven: Option<bool>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    last_run: LastRun,
    last_sync: Option<SyncState>,
    /// `None` where the target cannot be read and, before the first sync, where no commit of its files is known.
    local_edits: Option<Vec<Edit>>,
    /// The commit that they are against: before the first sync, that of the target's `.git`.
    base: Option<CommitId>,
    kept: Vec<Kept>,
    /// Whether the target has a `.git` that is not at its commit.
    git_left: bool,
    held: Vec<CommitId>,
    /// What takes them again.
    #[serde(skip)]
    resume_command: String,
    suspended: Option<suspend::Shown>,
    late_edits: Vec<std::path::PathBuf>,
    unreached: Option<Unreached>,
    /// A system that has not passed its health checks yet.
    trial: Option<Trial>,
    /// A reboot that the boot default needs, or that ended in another system.
    reboot: Option<Reboot>,
    pending_rebuild: Option<rebuild::Pending>,
    /// An activation that did not end, or a running system that is not the boot default.
    half_state: Option<HalfState>,
    last_rebuild: Option<rebuild::LastRebuild>,
    /// Builds of the target's commit, of held ones and of the one that the gate refused, that failed and are not tried now.
    quarantined: Vec<QuarantineEntry>,
    built_commit: Option<CommitId>,
    running_commit: Option<CommitId>,
    booted_commit: Option<CommitId>,
    /// Of the system that runs after a reboot.
    boot_commit: Option<CommitId>,
    /// The number of the boot default among the generations of the system profile.
    boot_generation: Option<u64>,
    /// Subjects and times of the commits above, by id, as far as the store has them.
    commits: BTreeMap<CommitId, CommitText>,
    /// What a run without `--ref` brings, where there is a configuration file.
    configured_ref: Option<String>,
    /// Where the repository is at the reference that a run without `--ref` brings; `None`: it was not asked.
    behind: Option<BehindText>,
    /// The same of the reference of the last sync, where that is another branch or tag.
    behind_synced: Option<BehindText>,
    /// When the timer starts the next run, if it is about this target.
    next_run: Option<Timestamp>,
    unfinished: bool,
    active: bool,
    #[serde(skip)]
    systems: Systems,
}

/// Where the repository is, as seen from the target.
#[derive(Serialize)]
struct BehindText {
    #[serde(rename = "ref")]
    reference: String,
    /// The commit that the reference resolves to; `None`: the repository does not have that name any more.
    commit: Option<CommitId>,
    /// How many commits that has which the target lacks; `None`: not known, or it does not descend from the target's.
    commits: Option<u64>,
    /// Whether it descends from the target's commit; `None`: not known.
    descends: Option<bool>,
    /// How many commits the target has which it lacks; `None`: not known, or the target does not descend from it.
    lacks: Option<u64>,
}

impl Document {
    /// The reference of the last sync, where it is not the one that a run without `--ref` brings.
    fn synced_otherwise(&self) -> Option<&str> {
        let (configured, synced) = (self.configured_ref.as_ref()?, self.reference.as_ref()?);
        (configured != synced).then_some(synced)
    }
}

/// What people know a commit by.
#[derive(Serialize)]
pub(super) struct CommitText {
    pub(super) subject: String,
    pub(super) committed_at: Option<Timestamp>,
}

/// The last run, and how it failed if the last sync or rebuild did.
#[derive(Default, Serialize)]
struct LastRun {
    at: Option<Timestamp>,
    /// Whether a signal, a kill or a power cut ended it.
    interrupted: bool,
    /// The stage that failed last; `None`: the last sync and the last rebuild ended well, and so are the others.
    stage: Option<&'static str>,
    exit: Option<u8>,
    code: Option<String>,
    message: Option<String>,
    /// How many runs in a row have failed in that stage.
    failures: u32,
    #[serde(skip)]
    failed: FailedRuns,
}

impl LastRun {
    /// `rebuilds`: a rebuild that failed is of interest.
    fn load(state: &StateDir, rebuilds: bool) -> Result<Self, Error> {
        let mut failed = FailedRuns::load(state)?;
        failed.rebuild = failed.rebuild.filter(|_| rebuilds);
        let both = [("sync", &failed.sync), ("rebuild", &failed.rebuild)];
        let both = both.into_iter();
        let newest = both
            .filter_map(|(name, failure)| Some((name, failure.as_ref()?)))
            .max_by_key(|(_, failure)| failure.last);
        let run = RunLock::last(state)?;
        let last = Self {
            at: run.as_ref().map(|run| run.since),
            interrupted: run.is_some_and(|run| run.is_interrupted),
            ..Self::default()
        };
        let last = match newest {
            None => last,
            Some((name, failure)) => Self {
                stage: Some(name),
                exit: Some(failure.exit),
                code: failure.code.clone(),
                message: Some(failure.message.clone()),
                failures: failure.count,
                ..last
            },
        };
        Ok(Self { failed, ..last })
    }
}

/// A managed file that is not as it was written last.
#[derive(Serialize)]
pub(super) struct Edit {
    path: RelPath,
    edit: &'static str,
}

impl CliCommand for Arguments {
    fn may_change(&self) -> bool {
        false
    }

    /// Takes no lock and writes nothing into the state, so it works while a sync runs.
    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let mut document = inspect(settings, run)?;
        if self.remote {
            let here = document.commit;
            document.behind = Some(behind(here, settings, run)?);
            let synced = document.synced_otherwise();
            // A commit is where it is.
            let synced = synced.filter(|name| name.parse::<CommitId>().is_err());
            if let Some(reference) = synced.map(str::to_owned) {
                let settings = Settings {
                    reference,
                    ..settings.clone()
                };
                document.behind_synced = Some(behind_synced(here, settings, run)?);
            }
        }
        warn_of_other_owner(document.commit.is_some(), settings, run);
        match run.report.format() {
            OutputFormat::Json => run.report.json(&document),
            // The requested data: printed with `--quiet` too.
            OutputFormat::Human => {
                let exact = run.report.verbosity() == Verbosity::Verbose;
                let (now, layout) = (Timestamp::now(), run.report.layout());
                run.report
                    .result(lines::render(&document, now, exact, &layout));
            }
        }
        Ok(Exit::Done)
    }
}

/// Where the repository is, as seen from a commit.
fn behind(
    here: Option<CommitId>,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<BehindText, Error> {
    let behind = run.watched(settings, |context| sync::behind(context, here))?;
    Ok(BehindText {
        reference: settings.reference.clone(),
        commit: Some(behind.commit),
        commits: behind.ahead.commits,
        descends: behind.ahead.descends,
        lacks: behind.lacks,
    })
}

/// The same at the reference of the last sync, which the repository may not have any more.
fn behind_synced(
    here: Option<CommitId>,
    settings: Settings,
    run: &mut Run<'_>,
) -> Result<BehindText, Error> {
    match behind(here, &settings, run) {
        Err(Error::Source(source::Error::UnknownRef { .. })) => Ok(BehindText {
            reference: settings.reference,
            commit: None,
            commits: None,
            descends: None,
            lacks: None,
        }),
        behind => behind,
    }
}

/// Warns that another user owns the target and may have synced it: that state is in another directory.
///
/// `is_known`: this user has synced it too. Then it goes without saying for root, who updates what belongs to others.
pub(super) fn warn_of_other_owner(is_known: bool, settings: &Settings, run: &mut Run<'_>) {
    if is_known && run.env.is_root() {
        return;
    }
    let owner = Directory::open_following(&settings.target, Faults::default())
        .and_then(|directory| directory.own_stat());
    // The owner of a target that cannot be inspected is not known.
    if let Ok(Stat { uid, .. }) = owner
        && uid != rustix::process::geteuid().as_raw()
    {
        let owner = if uid == 0 {
            "root".to_owned()
        } else {
            format!("the user with id {uid}")
        };
        run.report.warning(&format!(
            "`{}` belongs to {owner}; what {owner} has synced is known to {owner} only{}",
            text::path(&settings.target),
            if uid == 0 {
                ": run this with `sudo`"
            } else {
                ""
            }
        ));
    }
}

fn inspect(settings: &Settings, run: &mut Run<'_>) -> Result<Document, Error> {
    let mut document = Document {
        target: settings.target.clone(),
        local_edits: Some(Vec::new()),
        configured_ref: { settings.config_file.as_ref() }.map(|_| settings.reference.clone()),
        ..Document::default()
    };
    let Some(state) = StateDir::find(&settings.state_dir, &settings.target)? else {
        inspect_before_first_sync(&mut document, settings, run);
        return Ok(document);
    };
    document.last_run = LastRun::load(&state, settings.rebuild.action.is_some())?;
    document.active = RunLock::is_held(&state)?;
    document.unfinished = crate::apply::is_active(&state)?;
    document.last_sync = SyncState::load(&state)?;
    if let Found::Whole(index) = Index::load(&state)? {
        document.commit = Some(index.point.commit);
        document.base = document.commit;
        let commit = objects::commit(state.path(), index.point.commit, settings.limits.blob);
        document.proven = Some(commit.is_some_and(|commit| commit.tree == index.point.tree));
        document.reference = Some(index.point.reference.clone());
        document.git_left = settings.rebuild.action.is_some()
            && Target::open(&settings.target)
                .is_ok_and(|target| git_dir::is_left(&target, run.env, index.point.commit));
        let scanned = edits(settings, &index).and_then(|edits| {
            let kept = kept(settings, &index, document.last_sync.as_ref(), &edits)?;
            Ok((edits, kept))
        });
        match scanned {
            Ok((edits, kept)) => {
                document.local_edits = Some(edits);
                document.kept = kept;
            }
            // The errors of the target refer to this command, so it prints the rest.
            Err(error) => {
                document.local_edits = None;
                run.report.warning(&text::with_causes(&error));
            }
        }
    } else {
        inspect_before_first_sync(&mut document, settings, run);
    }
    document.late_edits = crate::apply::late_edits(&state)?;
    if let Some(hold) = Hold::load(&state)? {
        document.resume_command = hold.resume_command(&settings.reference);
        document.held = hold.commits.into_iter().collect();
    }
    document.suspended = Suspended::active(&state, Timestamp::now())?.map(suspend::Shown::from);
    document.unreached = Unreached::load(&state)?;
    document.quarantined =
        Quarantine::load(&state)?.current(document.commit.iter().chain(&document.held).copied());
    if settings.rebuild.action.is_some() {
        inspect_systems(&mut document, &state, settings, run)?;
    }
    document.commits = known_commits(mentioned(&document), &state, settings);
    document.next_run = next_run(settings, run);
    Ok(document)
}

/// Adds the edits of a target that no sync has written, where that is a work tree of git: as a sync would find them.
fn inspect_before_first_sync(document: &mut Document, settings: &Settings, run: &mut Run<'_>) {
    let edits = || -> Result<_, Error> {
        let target = Target::open_or_absent(&settings.target)?;
        let Ok(Some(first)) = FirstBase::of_work_tree(&target, settings, run.env) else {
            let is_empty = target.list(None)?.is_empty();
            return Ok((None, is_empty.then(Vec::new)));
        };
        let edits = edits_against(&first.files, &target, None, settings)?;
        Ok((Some(first.commit), Some(edits)))
    };
    match edits() {
        Ok((base, edits)) => (document.base, document.local_edits) = (base, edits),
        Err(error) => {
            document.local_edits = None;
            run.report.warning(&text::with_causes(&error));
        }
    }
}

/// Adds what is known of the systems that are built from the target.
fn inspect_systems(
    document: &mut Document,
    state: &StateDir,
    settings: &Settings,
    run: &Run<'_>,
) -> Result<(), Error> {
    let machine = Machine::here();
    // A reboot has ended a trial that was open.
    document.trial = Trial::load(state)?
        .filter(|trial| trial.stage == TrialStage::Reverted || trial.is_open(&machine));
    document.reboot = Reboot::load(state)?.filter(|reboot| {
        reboot.stage != RebootStage::Waiting
            || reboot.trial.is_some()
            || reboot.is_pending(&machine)
    });
    let record = RebuildRecord::load(state)?;
    let systems = machine.systems();
    let commit_of = |system: &Option<std::path::PathBuf>| {
        system.as_ref().and_then(|system| record.commit_of(system))
    };
    document.built_commit = record.builds.first().and_then(|build| build.commit);
    document.running_commit = commit_of(&systems.current);
    document.booted_commit = commit_of(&systems.booted);
    document.boot_commit = commit_of(&systems.profile);
    document.boot_generation = machine.generation();
    document.systems = systems;
    document.pending_rebuild = record.pending;
    // A run that is active is between two systems because it activates one, and a trial has its own line.
    if !document.active && document.trial.is_none() {
        let policy = RebuildPolicy::of_revert();
        document.half_state = with_request(policy, settings, state, run, rebuild::half_state)??;
    }
    document.last_rebuild = record.last;
    Ok(())
}

/// The commits that a document mentions.
fn mentioned(document: &Document) -> impl Iterator<Item = CommitId> {
    let ids = [
        document.commit,
        document.built_commit,
        document.running_commit,
        document.booted_commit,
        document.boot_commit,
    ];
    let quarantined = document.quarantined.iter().filter_map(|entry| entry.commit);
    let ids = ids.into_iter().flatten().chain(quarantined);
    ids.chain(document.held.iter().copied())
}

/// What the store knows of commits.
pub(super) fn known_commits(
    ids: impl Iterator<Item = CommitId>,
    state: &StateDir,
    settings: &Settings,
) -> BTreeMap<CommitId, CommitText> {
    let mut known = BTreeMap::new();
    for id in ids {
        if !known.contains_key(&id)
            && let Some(commit) = objects::commit(state.path(), id, settings.limits.blob)
        {
            let text = CommitText {
                subject: commit.subject,
                committed_at: Timestamp::from_second(commit.time).ok(),
            };
            known.insert(id, text);
        }
    }
    known
}

/// When the timer of the machine starts its next run; `None` without systemd, without the timer, and if its unit is
/// about another target.
fn next_run(settings: &Settings, run: &Run<'_>) -> Option<Timestamp> {
    let runner = SystemRunner::new(run.interrupt.clone(), report::pass_through());
    let systemctl = Systemctl {
        runner: &runner,
        environment: &Environment::new(run.env, &[]),
    };
    systemctl.next_run(super::rebuild::TIMER, &settings.state_dir)
}

/// Managed files that are not as they were written last.
pub(super) fn edits(settings: &Settings, index: &Index) -> Result<Vec<Edit>, Error> {
    let target = Target::open_or_absent(&settings.target)?;
    edits_against(&index.files, &target, Some(index), settings)
}

/// Files that are not as in `base`.
fn edits_against(
    base: &BTreeMap<RelPath, File>,
    target: &Target,
    index: Option<&Index>,
    settings: &Settings,
) -> Result<Vec<Edit>, Error> {
    let scanner = Scanner::new(target, index, Belief::Unchanged);
    let scanner = scanner.largest(settings.limits.blob);
    let edits = scanner.edits(base, &settings.executable)?;
    let edits = edits.into_iter().map(|(path, local)| {
        let edit = match local {
            Local::Missing => "missing",
            Local::File { .. } | Local::Symlink { .. } => "edited",
            Local::Directory { .. } | Local::Special { .. } => "replaced",
        };
        Edit { path, edit }
    });
    Ok(edits.collect())
}

/// Files that the last sync has kept: those that were never managed and are still there, and edits against which a change
/// of the commit is withheld.
fn kept(
    settings: &Settings,
    index: &Index,
    last: Option<&SyncState>,
    edits: &[Edit],
) -> Result<Vec<Kept>, Error> {
    let target = Target::open_or_absent(&settings.target)?;
    let mut kept = Vec::new();
    for known in last.into_iter().flat_map(|last| &last.kept) {
        let is_there = known.reason == SkipReason::Blocked || target.stat(&known.path)?.is_some();
        let is_edited = || edits.iter().any(|edit| edit.path == known.path);
        let is_managed = index.files.contains_key(&known.path);
        if is_there && (!is_managed || (known.withheld && is_edited())) {
            kept.push(known.clone());
        }
    }
    Ok(kept)
}
