//! Puts back local edits that updates have replaced.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::inventory::UpdateContent;
use super::pending::mark_pending_and_apply;
use super::{Options, Session, StateNote, SyncContext, history};
use crate::SyncError;
use crate::apply::{Applied, Transaction, Update, undo};
use crate::git::{BlobId, File, RelPath};
use crate::plan::{InTheWay, Plan};
use crate::scan::Locals;
use crate::state::StateDir;

/// The outcome of a restore.
#[derive(Debug)]
pub struct Restored {
    /// The restored paths.
    pub paths: Vec<RelPath>,
    /// Those of them where the current file was a local edit. It is kept in `undo` as well.
    pub displaced: Vec<RelPath>,
    /// The result of applying.
    pub applied: Applied,
    /// Notes about the state directory.
    pub notes: Vec<StateNote>,
}

/// Replaced edits: the file at each path, and the contents by id.
#[derive(Debug, Default)]
pub(super) struct Edits {
    pub(super) files: BTreeMap<RelPath, File>,
    pub(super) contents: BTreeMap<BlobId, Vec<u8>>,
    /// What the newest of the updates wrote at each path where it replaced one edit by another: a merge.
    written: BTreeMap<RelPath, File>,
}

impl Edits {
    /// Adds the edits of an update at `wanted` paths that have none yet.
    pub(super) fn add(
        &mut self,
        state: &StateDir,
        update: &Transaction,
        wanted: impl Fn(&RelPath) -> bool,
    ) -> Result<(), undo::Error> {
        let edited = update.changes.iter().filter(|change| change.edited);
        for change in edited.filter(|change| wanted(&change.path)) {
            if let Some(file) = change.before.file()
                && !self.files.contains_key(&change.path)
            {
                let content = undo::content(state, update, &change.path)?;
                self.contents.insert(file.id, content);
                self.files.insert(change.path.clone(), *file);
            }
        }
        Ok(())
    }

    /// Notes what an update wrote in place of an edit without being the commit's file, unless one that was noted before
    /// wrote there too.
    pub(super) fn note_merges(&mut self, update: &Transaction, seen: &mut BTreeSet<RelPath>) {
        for change in &update.changes {
            if seen.insert(change.path.clone())
                && update.moves()
                && change.edited
                && change.puts_back
                && let Some(file) = change.after
            {
                self.written.insert(change.path.clone(), file);
            }
        }
    }

    /// `base`, in which what a merge wrote and nobody has edited since is not an edit.
    pub(super) fn written_over<'a>(
        &self,
        base: &'a BTreeMap<RelPath, File>,
        local: &Locals,
    ) -> Cow<'a, BTreeMap<RelPath, File>> {
        let mut base = Cow::Borrowed(base);
        for (path, file) in &self.written {
            if local.get(path).is_some_and(|here| here.is(file)) {
                base.to_mut().insert(path.clone(), *file);
            }
        }
        base
    }
}

/// Puts back local edits that updates have replaced: the newest at each path in or below `paths`, or at all paths if it
/// is empty.
///
/// The commit of the target does not change; the restored files are local edits again.
pub fn restore(
    context: &SyncContext<'_>,
    options: &Options,
    paths: &[RelPath],
) -> Result<Restored, crate::Error> {
    let session = Session::begin(context, options.wait)?;
    let (kept, damaged) = history(session.state())?;
    let mut edits = Edits::default();
    for update in &kept {
        let asked_for =
            |path: &RelPath| paths.is_empty() || paths.iter().any(|asked| path.starts_with(asked));
        edits.add(session.state(), update, asked_for)?;
    }
    let Edits {
        files, contents, ..
    } = edits;
    let missing = |asked: &&RelPath| !files.keys().any(|file| file.starts_with(asked));
    let missing = paths.iter().find(missing).cloned();
    let Some(index) = session
        .index()
        .filter(|_| missing.is_none() && !files.is_empty())
    else {
        // It may be in an update whose record cannot be read.
        if let Some(id) = damaged.first() {
            undo::load(session.state(), *id)?;
        }
        return Err(SyncError::NoSuchEdit { path: missing }.into());
    };
    let scanner = session.scanner(false);
    let base = &index.files;
    let local = scanner.survey(base.keys().chain(files.keys()))?;
    let mut plan = Plan::unchanged(base);
    plan.put_back(&files, base, base, &local);
    if let Some(first) = plan.in_the_way().first() {
        return Err(in_the_way(session.state(), &kept, first).into());
    }
    let update = Update {
        plan: &plan,
        local: &local,
        looked_at: Some(scanner.since()),
        before: Some(index),
        after: index.point.clone(),
        directories: Arc::clone(&index.directories),
        rolls_back: false,
    };
    let blobs = UpdateContent {
        made: [&contents, &BTreeMap::new()],
        others: session.store(),
        store: session.store(),
    };
    let applied = mark_pending_and_apply(context, &session, &update, &blobs, None)?;
    let edited = plan.operations().iter().filter(|known| known.edited);
    Ok(Restored {
        displaced: edited.map(|known| known.path.clone()).collect(),
        paths: files.into_keys().collect(),
        applied,
        notes: session.notes(),
    })
}

/// The error, with the path of the kept content.
fn in_the_way(state: &StateDir, kept: &[Transaction], what: &InTheWay) -> SyncError {
    let places = kept.iter().filter_map(|update| {
        let mut edited = update.changes.iter().filter(|change| change.edited);
        let change = edited.find(|change| change.path == what.path)?;
        let directory = state.undo().join(update.id.to_string());
        Some(directory.join(change.before.file()?.id.to_string()))
    });
    SyncError::InTheWay {
        path: what.path.clone(),
        by: what.by.clone(),
        kept: { places }.next().unwrap_or_else(|| state.undo()),
    }
}
