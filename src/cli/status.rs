//! `hyper-sync status`: which commit is where, and what waits.

use clap::Args;
use serde::Serialize;

use super::{CliCommand, Run};
use crate::Error;
use crate::exit::Exit;
use crate::fs::{Directory, Faults, Stat, Target};
use crate::git::{CommitId, RelPath};
use crate::lock::RunLock;
use crate::objects::commit_tree;
use crate::plan::{Kept, SkipReason};
use crate::rebuild::{Machine, RebuildRecord};
use crate::report::OutputFormat;
use crate::scan::{Belief, Local, Scanner};
use crate::settings::Settings;
use crate::state::{Found, Index, StateDir, SyncState};
use crate::sync::{Hold, Unreached};
use crate::text;

mod render;

/// Show which commit the target, the built and the running system are at
///
/// Also local edits, commits that are held, a rebuild that waits, and when it last ran and last changed anything.
#[derive(Args)]
pub(super) struct Arguments {}

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    target: std::path::PathBuf,
    commit: Option<CommitId>,
    /// Whether the commit's own bytes say that its tree is what was brought; `None` where no commit is known.
    proven: Option<bool>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    last_run: Option<String>,
    last_sync: Option<SyncState>,
    /// `None` where the target cannot be read.
    local_edits: Option<Vec<Edit>>,
    kept: Vec<Kept>,
    held: Vec<CommitId>,
    late_edits: Vec<std::path::PathBuf>,
    unreached: Option<Unreached>,
    pending_rebuild: Option<crate::rebuild::Pending>,
    last_rebuild: Option<crate::rebuild::LastRebuild>,
    built_commit: Option<CommitId>,
    running_commit: Option<CommitId>,
    booted_commit: Option<CommitId>,
    unfinished: bool,
    active: bool,
}

/// A file of ours that is not as we wrote it.
#[derive(Serialize)]
pub(super) struct Edit {
    path: RelPath,
    edit: &'static str,
}

impl CliCommand for Arguments {
    fn may_change(&self) -> bool {
        false
    }

    /// Takes no lock and writes nothing: it may be asked while a sync runs.
    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let document = inspect(settings, run)?;
        if document.commit.is_none() {
            warn_of_other_owner(settings, run);
        }
        match run.report.format() {
            OutputFormat::Json => run.report.json(&document),
            // What was asked for, and so render with `--quiet` too.
            OutputFormat::Human => run.report.result(&render::render(&document)),
        }
        Ok(Exit::Done)
    }
}

/// That nothing is known here says little where the target is somebody else's: their state is elsewhere.
pub(super) fn warn_of_other_owner(settings: &Settings, run: &mut Run<'_>) {
    let owner = Directory::open_following(&settings.target, Faults::default())
        .and_then(|directory| directory.own_stat());
    // What cannot be inspected belongs to nobody that could be named.
    if let Ok(Stat { uid, .. }) = owner
        && uid != rustix::process::geteuid().as_raw()
    {
        let owner = if uid == 0 {
            "root".to_owned()
        } else {
            format!("the user with id {uid}")
        };
        run.report.warning(&format!(
            "`{}` belongs to {owner}; what {owner} has synced is known to {owner} only",
            text::path(&settings.target)
        ));
    }
}

fn inspect(settings: &Settings, run: &mut Run<'_>) -> Result<Document, Error> {
    let mut document = Document {
        target: settings.target.clone(),
        commit: None,
        proven: None,
        reference: None,
        last_run: None,
        last_sync: None,
        local_edits: Some(Vec::new()),
        kept: Vec::new(),
        held: Vec::new(),
        late_edits: Vec::new(),
        unreached: None,
        pending_rebuild: None,
        last_rebuild: None,
        built_commit: None,
        running_commit: None,
        booted_commit: None,
        unfinished: false,
        active: false,
    };
    let Some(state) = StateDir::find(&settings.state_dir, &settings.target)? else {
        return Ok(document);
    };
    document.last_run = RunLock::last(&state).map(|time| time.to_string());
    document.active = RunLock::is_held(&state)?;
    document.unfinished = crate::apply::is_active(&state)?;
    document.last_sync = SyncState::load(&state)?;
    if let Found::Whole(index) = Index::load(&state)? {
        document.commit = Some(index.point.commit);
        let tree = commit_tree(state.path(), index.point.commit, settings.limits.blob);
        document.proven = Some(tree == Some(index.point.tree));
        document.reference = Some(index.point.reference.clone());
        let looked = edits(settings, &index)
            .and_then(|edits| Ok((edits, kept(settings, &index, document.last_sync.as_ref())?)));
        match looked {
            Ok((edits, kept)) => {
                document.local_edits = Some(edits);
                document.kept = kept;
            }
            // Of all commands this one has something to tell all the same: the errors of the target refer to it.
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
    document.unreached = Unreached::load(&state)?;
    let record = RebuildRecord::load(&state)?;
    let systems = Machine::here().systems();
    let commit_of = |system: &Option<std::path::PathBuf>| {
        system.as_ref().and_then(|system| record.commit_of(system))
    };
    document.built_commit = record.builds.first().and_then(|build| build.commit);
    document.running_commit = commit_of(&systems.current);
    document.booted_commit = commit_of(&systems.booted);
    document.pending_rebuild = record.pending;
    document.last_rebuild = record.last;
    Ok(document)
}

/// Files of ours that are not as we wrote them.
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

/// Files that the commit has and that were never ours: they stood here before, and the last sync let them stay.
fn kept(settings: &Settings, index: &Index, last: Option<&SyncState>) -> Result<Vec<Kept>, Error> {
    let target = Target::open_or_absent(&settings.target)?;
    let mut kept = Vec::new();
    for known in last.into_iter().flat_map(|last| &last.kept) {
        let is_there = known.reason == SkipReason::Blocked || target.stat(&known.path)?.is_some();
        if is_there && !index.entries.contains_key(&known.path) {
            kept.push(known.clone());
        }
    }
    Ok(kept)
}
