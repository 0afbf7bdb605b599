//! `hyper-sync status`: which commit is where, and what waits.

use std::fmt::Write as _;

use serde::Serialize;

use super::Run;
use crate::Error;
use crate::exit::Exit;
use crate::fs::{Directory, Faults, Stat, Target};
use crate::git::{CommitId, RelPath};
use crate::lock::Lock;
use crate::rebuild::{Machine, Record, Status};
use crate::report::{Format, escape};
use crate::scan::{Belief, Local, Scanner};
use crate::settings::Settings;
use crate::state::{Found, Index, StateDir, SyncState};
use crate::sync::Hold;

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    target: std::path::PathBuf,
    commit: Option<CommitId>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    last_run: Option<String>,
    last_sync: Option<SyncState>,
    local_edits: Vec<Edit>,
    held: Vec<CommitId>,
    late_edits: Vec<std::path::PathBuf>,
    pending_rebuild: Option<crate::rebuild::Pending>,
    last_rebuild: Option<crate::rebuild::Last>,
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

/// Runs the command. Takes no lock and writes nothing: it may be asked while a sync runs.
pub(super) fn run(settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
    let document = look(settings)?;
    if document.commit.is_none() {
        warn_of_other_owner(settings, run);
    }
    match run.report.format() {
        Format::Json => run.report.json(&document),
        // What was asked for, and so told with `--quiet` too.
        Format::Human => run.report.data(&escape(&told(&document))),
    }
    Ok(Exit::Done)
}

/// That nothing is known here says little where the target is somebody else's: their state is elsewhere.
pub(super) fn warn_of_other_owner(settings: &Settings, run: &mut Run<'_>) {
    let owner = Directory::open_following(&settings.target, Faults::default())
        .and_then(|directory| directory.own_stat());
    // What cannot be looked at belongs to nobody that could be named.
    if let Ok(Stat { uid, .. }) = owner
        && uid != rustix::process::geteuid().as_raw()
    {
        run.report.warning(&format!(
            "`{}` belongs to the user with id {uid}, and every user has a state directory of their own: what that user has synced is told to that user",
            settings.target.display()
        ));
    }
}

fn look(settings: &Settings) -> Result<Document, Error> {
    let mut document = Document {
        target: settings.target.clone(),
        commit: None,
        reference: None,
        last_run: None,
        last_sync: None,
        local_edits: Vec::new(),
        held: Vec::new(),
        late_edits: Vec::new(),
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
    document.last_run = Lock::last(&state).map(|time| time.to_string());
    document.active = Lock::is_held(&state)?;
    document.unfinished = crate::apply::is_active(&state)?;
    document.last_sync = SyncState::load(&state)?;
    if let Found::Whole(index) = Index::load(&state)? {
        document.commit = Some(index.commit);
        document.reference = Some(index.reference.clone());
        document.local_edits = edits(settings, &index)?;
    }
    document.late_edits = crate::apply::late_edits(&state)?;
    document.held = Hold::load(&state)?
        .map(|hold| hold.commits.into_iter().collect())
        .unwrap_or_default();
    let record = Record::load(&state)?;
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

fn told(document: &Document) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<10}{value}");
    };
    let commit = |commit: &Option<CommitId>| {
        commit
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), CommitId::short)
    };
    line("target", &document.target.display().to_string());
    match (&document.commit, &document.last_sync) {
        (None, _) => line("commit", "none yet: nothing was synced here"),
        (Some(id), Some(last)) if last.last_sync.commit_sha == *id => {
            line(
                "commit",
                &format!(
                    "{} ({} of {})",
                    id.short(),
                    last.last_sync.reference,
                    last.repository
                ),
            );
            line(
                "changed",
                &format!(
                    "{:.0}, {}",
                    last.last_sync.timestamp,
                    files(last.stats.changed)
                ),
            );
        }
        (Some(id), _) => line("commit", &id.short()),
    }
    if let Some(time) = &document.last_run {
        line("last run", time);
    }
    if document.active {
        line("active", "a run is under way");
    } else if document.unfinished {
        line(
            "active",
            "a run was interrupted; the next one finishes it, without the network",
        );
    }
    line("built", &commit(&document.built_commit));
    line("running", &commit(&document.running_commit));
    line("booted", &commit(&document.booted_commit));
    if let Some(pending) = &document.pending_rebuild {
        let last = document.last_rebuild.as_ref();
        let failed = last
            .filter(|last| last.status == Status::Failed)
            .map(|last| format!("; the last one failed at {:.0}", last.at))
            .unwrap_or_default();
        line(
            "rebuild",
            &format!(
                "{} waits since {:.0}{failed}",
                pending.action, pending.since
            ),
        );
    }
    for held in &document.held {
        let id = held.short();
        line(
            "held",
            &format!("{id}: it was rolled back from; the next commit ends that, or `--resume`"),
        );
    }
    for place in &document.late_edits {
        line(
            "kept",
            &format!("late edits in {}, until you remove it", place.display()),
        );
    }
    match document.local_edits.as_slice() {
        [] => line("edits", "none"),
        edits => {
            line("edits", &edits.len().to_string());
            for Edit { path, edit } in edits {
                line("", &format!("{edit:<9}{path}"));
            }
        }
    }
    text
}

fn files(count: u64) -> String {
    if count == 1 {
        "1 file".to_owned()
    } else {
        format!("{count} files")
    }
}
