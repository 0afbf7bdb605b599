//! `hyper-sync status`: which commit is where, and what waits.

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::rebuild::{RebuildPolicy, with_request};
use super::{CliCommand, Run, suspend};
use crate::Error;
use crate::exit::Exit;
use crate::fs::{Directory, Faults, Stat, Target};
use crate::git::{CommitId, RelPath};
use crate::lock::RunLock;
use crate::objects;
use crate::plan::{Kept, SkipReason};
use crate::rebuild::{
    self, FailureClass, HalfState, Machine, Quarantine, QuarantineEntry, Reboot, RebootStage,
    RebuildRecord, RebuildStatus, Trial, TrialStage,
};
use crate::report::OutputFormat;
use crate::report::sync::because;
use crate::scan::{Belief, Local, Scanner};
use crate::settings::Settings;
use crate::state::{FailedRuns, Found, Index, StateDir, Suspended, SyncState, Unreached};
use crate::sync::Hold;
use crate::text;

/// Show which commit the target, the built and the running system are at
///
/// Also local edits, commits that are held, a suspension, a rebuild that waits, and when it last ran and last changed
/// anything.
#[derive(Args)]
pub(super) struct Arguments {}

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    target: std::path::PathBuf,
    commit: Option<CommitId>,
    /// Whether the stored commit has the tree that was applied; `None` where no commit is known.
    proven: Option<bool>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    last_run: LastRun,
    last_sync: Option<SyncState>,
    /// `None` where the target cannot be read.
    local_edits: Option<Vec<Edit>>,
    kept: Vec<Kept>,
    held: Vec<CommitId>,
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
    unfinished: bool,
    active: bool,
}

/// The last run, and how it failed if the last sync or rebuild did.
#[derive(Default, Serialize)]
struct LastRun {
    at: Option<Timestamp>,
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
    fn load(state: &StateDir) -> Result<Self, Error> {
        let failed = FailedRuns::load(state)?;
        let both = [("sync", &failed.sync), ("rebuild", &failed.rebuild)];
        let both = both.into_iter();
        let newest = both
            .filter_map(|(name, failure)| Some((name, failure.as_ref()?)))
            .max_by_key(|(_, failure)| failure.last);
        let last = Self {
            at: RunLock::last(state),
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

    /// Takes no lock and writes nothing, so it works while a sync runs.
    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let document = inspect(settings, run)?;
        warn_of_other_owner(document.commit.is_some(), settings, run);
        match run.report.format() {
            OutputFormat::Json => run.report.json(&document),
            // The requested data: printed with `--quiet` too.
            OutputFormat::Human => run.report.result(&render(&document)),
        }
        Ok(Exit::Done)
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
        commit: None,
        proven: None,
        reference: None,
        last_run: LastRun::default(),
        last_sync: None,
        local_edits: Some(Vec::new()),
        kept: Vec::new(),
        held: Vec::new(),
        suspended: None,
        late_edits: Vec::new(),
        unreached: None,
        trial: None,
        reboot: None,
        half_state: None,
        pending_rebuild: None,
        last_rebuild: None,
        quarantined: Vec::new(),
        built_commit: None,
        running_commit: None,
        booted_commit: None,
        unfinished: false,
        active: false,
    };
    let Some(state) = StateDir::find(&settings.state_dir, &settings.target)? else {
        return Ok(document);
    };
    document.last_run = LastRun::load(&state)?;
    document.active = RunLock::is_held(&state)?;
    document.unfinished = crate::apply::is_active(&state)?;
    document.last_sync = SyncState::load(&state)?;
    if let Found::Whole(index) = Index::load(&state)? {
        document.commit = Some(index.point.commit);
        let limit = settings.limits.blob;
        let commit = objects::commit(state.path(), index.point.commit, limit);
        document.proven = Some(commit.is_some_and(|commit| commit.tree == index.point.tree));
        document.reference = Some(index.point.reference.clone());
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
    }
    document.late_edits = crate::apply::late_edits(&state)?;
    document.held = Hold::load(&state)?
        .map(|hold| hold.commits.into_iter().collect())
        .unwrap_or_default();
    document.suspended = Suspended::active(&state, Timestamp::now())?.map(suspend::Shown::from);
    document.unreached = Unreached::load(&state)?;
    document.quarantined =
        Quarantine::load(&state)?.current(document.commit.iter().chain(&document.held).copied());
    let machine = Machine::here();
    // A reboot has ended a trial that was open.
    document.trial = Trial::load(&state)?
        .filter(|trial| trial.stage == TrialStage::Reverted || trial.is_open(&machine));
    document.reboot = Reboot::load(&state)?.filter(|reboot| {
        reboot.stage != RebootStage::Waiting
            || reboot.trial.is_some()
            || reboot.is_pending(&machine)
    });
    let record = RebuildRecord::load(&state)?;
    let systems = machine.systems();
    let commit_of = |system: &Option<std::path::PathBuf>| {
        system.as_ref().and_then(|system| record.commit_of(system))
    };
    document.built_commit = record.builds.first().and_then(|build| build.commit);
    document.running_commit = commit_of(&systems.current);
    document.booted_commit = commit_of(&systems.booted);
    document.pending_rebuild = record.pending;
    // A run that is active is between two systems because it activates one, and a trial has its own line.
    if !document.active && document.trial.is_none() {
        let policy = RebuildPolicy::of_revert();
        document.half_state = with_request(policy, settings, &state, run, rebuild::half_state)??;
    }
    document.last_rebuild = record.last;
    Ok(document)
}

/// Managed files that are not as they were written last.
pub(super) fn edits(settings: &Settings, index: &Index) -> Result<Vec<Edit>, Error> {
    let target = Target::open_or_absent(&settings.target)?;
    let scanner = Scanner::new(&target, Some(index), Belief::Unchanged);
    let scanner = scanner.largest(settings.limits.blob);
    let edits = scanner.edits(&index.base(), &settings.executable)?;
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
        let is_managed = index.entries.contains_key(&known.path);
        if is_there && (!is_managed || (known.withheld && is_edited())) {
            kept.push(known.clone());
        }
    }
    Ok(kept)
}

/// Printed for a commit whose bytes are not in the store, or have another tree.
const UNPROVEN: &str = "none: whether the files are those of this commit is not proven; the next sync by git proves or replaces them";

/// The status as text: a line for each fact, its name first.
fn render(document: &Document) -> String {
    let mut lines = OutputLines::default();
    lines.add("target", text::path(&document.target));
    lines.commit(document);
    lines.runs(document);
    lines.systems(document);
    lines.waits(document);
    lines.files(document);
    lines.0
}

#[derive(Default)]
struct OutputLines(String);

impl OutputLines {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<10}{value}");
    }

    /// Which commit the target is at, since when.
    fn commit(&mut self, document: &Document) {
        let Some(id) = &document.commit else {
            return match &document.last_sync {
                None => self.add("commit", "none yet: nothing was synced here"),
                Some(last) => self.add(
                    "commit",
                    format!(
                        "unknown: the index is lost, and the next sync makes it anew; the last one brought {} ({} of {})",
                        last.last_sync.commit_sha.short(),
                        last.last_sync.reference,
                        last.repository
                    ),
                ),
            };
        };
        let last = document.last_sync.as_ref();
        match last.filter(|last| last.last_sync.commit_sha == *id) {
            Some(last) => {
                let (name, repository) = (&last.last_sync.reference, &last.repository);
                self.add("commit", format!("{} ({name} of {repository})", id.short()));
                if let Some(read_from) = &last.read_from {
                    let read_from = text::words(read_from);
                    self.add(
                        "read from",
                        format!("{read_from}: the repository has moved"),
                    );
                }
                let files = match last.stats.changed {
                    1 => "1 file".to_owned(),
                    count => format!("{count} files"),
                };
                self.add(
                    "changed",
                    format!("{:.0}, {files}", last.last_sync.timestamp),
                );
            }
            None => self.add("commit", id.short()),
        }
        if document.proven == Some(false) {
            self.add("proof", UNPROVEN);
        }
    }

    /// When it was last run, and whether it runs now.
    fn runs(&mut self, document: &Document) {
        if let Some(time) = &document.last_run.at {
            self.add("last run", time);
        }
        let failed = &document.last_run.failed;
        for (stage, failure) in [("sync", &failed.sync), ("rebuild", &failed.rebuild)] {
            let Some(failure) = failure else { continue };
            let (last, exit, message) = (failure.last, failure.exit, &failure.message);
            let runs = match failure.count {
                1 => format!("at {last:.0}"),
                count => {
                    let since = failure.since;
                    format!("{count} times in a row since {since:.0}, the last one at {last:.0}")
                }
            };
            self.add(
                "FAILING",
                format!("{stage}, {runs} (exit code {exit}): {message}"),
            );
        }
        if let Some(record) = &document.unreached {
            let (since, count, cause) = (record.since, record.count, &record.cause);
            self.add(
                "unreached",
                format!("since {since:.0}, syncs: {count}, the last one: {cause}"),
            );
        }
        if document.active {
            self.add("active", "a run is under way");
        } else if document.unfinished {
            self.add(
                "active",
                "a run was interrupted; the next one finishes it, without the network",
            );
        }
    }

    /// The commits of the built, the running and the booted system.
    fn systems(&mut self, document: &Document) {
        for (name, commit) in [
            ("built", &document.built_commit),
            ("running", &document.running_commit),
            ("booted", &document.booted_commit),
        ] {
            let known = commit.as_ref().map(CommitId::short);
            self.add(name, known.as_deref().unwrap_or("unknown"));
        }
    }

    /// The pending rebuild, the hold and other open states.
    fn waits(&mut self, document: &Document) {
        if let Some(trial) = &document.trial {
            let until = trial.until;
            self.add(
                "trial",
                match trial.stage {
                    TrialStage::Running | TrialStage::Confirming => {
                        format!("the running system has until {until:.0} to pass its health checks")
                    }
                    TrialStage::Reverting => {
                        format!(
                            "the former system is activated again, at the latest from {until:.0} on"
                        )
                    }
                    TrialStage::Reverted => {
                        "the former system runs again, and the next run takes the tree back"
                            .to_owned()
                    }
                },
            );
        }
        if let Some(pending) = &document.pending_rebuild {
            let last = document.last_rebuild.as_ref();
            let failed = match last {
                Some(last) if last.status == RebuildStatus::Failed => {
                    format!("; the last one failed at {:.0}", last.at)
                }
                Some(last) if last.status == RebuildStatus::Reverted => {
                    format!("; the last one was reverted at {:.0}", last.at)
                }
                _ => String::new(),
            };
            let (action, since) = (&pending.action, pending.since);
            self.add(
                "rebuild",
                format!("{action} waits since {since:.0}{failed}"),
            );
        }
        if let Some(state) = &document.half_state {
            let is_of_activation = |entry: &QuarantineEntry| {
                matches!(entry.class, FailureClass::Activation | FailureClass::Health)
            };
            let next = state.next(document.quarantined.iter().any(is_of_activation));
            self.add("system", format!("{state}; {next}"));
        }
        if let Some(reboot) = &document.reboot {
            self.add("reboot", reboot_text(reboot));
        }
        for failed in &document.quarantined {
            let commit = failed.commit.as_ref().map(CommitId::short);
            let commit = commit.as_deref().unwrap_or("no commit");
            let place = if failed.before_update {
                ", not in the target"
            } else {
                ""
            };
            self.add("failed", format!("{commit}{place}: {failed}"));
        }
        if let Some(suspended) = &document.suspended {
            self.add(
                "suspended",
                format!("{suspended}; `hyper-sync resume` ends that"),
            );
        }
        for held in &document.held {
            self.add(
                "held",
                format!(
                    "{}: it was rolled back from; the next commit ends that, or `hyper-sync sync --resume`",
                    held.short()
                ),
            );
        }
    }

    /// Files that are not as in the commit.
    fn files(&mut self, document: &Document) {
        for place in &document.late_edits {
            let place = text::path(place);
            self.add(
                "kept",
                format!("late edits in {place}, until you remove it"),
            );
        }
        let last = document.last_sync.iter();
        for notice in last.flat_map(|last| &last.notices) {
            self.add("notice", notice);
        }
        for kept in &document.kept {
            self.add("kept", format!("{}: {}", kept.path, because(kept)));
        }
        match document.local_edits.as_deref() {
            None => self.add("edits", "unknown: the target cannot be read"),
            Some([]) => self.add("edits", "none"),
            Some(edits) => {
                self.add("edits", edits.len());
                for Edit { path, edit } in edits {
                    self.add("", format!("{edit:<9}{path}"));
                }
            }
        }
    }
}

/// A reboot that is waited for, or what became of it.
fn reboot_text(reboot: &Reboot) -> String {
    let stage = match (reboot.stage, &reboot.waits_for) {
        (RebootStage::Waiting, Some(waits_for)) => format!("it waits {}", text::words(waits_for)),
        (RebootStage::Waiting, None) => String::new(),
        (RebootStage::Rebooting, _) => "it is scheduled".to_owned(),
        (RebootStage::Missed, _) => {
            "the machine came up with another system, and is not rebooted again for it".to_owned()
        }
        (RebootStage::Checking, _) => {
            return "the system that was booted has not passed its health checks yet".to_owned();
        }
        (RebootStage::Failed | RebootStage::Reverting, _) => {
            return "the system that was booted failed its trial; a reboot starts the former one"
                .to_owned();
        }
        (RebootStage::Reverted, _) => {
            return "the former system runs again, and the next run reverts the target".to_owned();
        }
    };
    let reason = if reboot.changes.is_empty() {
        format!(
            "the boot default runs from the next boot on, since {:.0}",
            reboot.since
        )
    } else {
        let changes = rebuild::reboot_changes(&reboot.changes);
        format!(
            "needed since {:.0}, because these change: {changes}",
            reboot.since
        )
    };
    if stage.is_empty() {
        return reason;
    }
    format!("{reason}; {stage}")
}
