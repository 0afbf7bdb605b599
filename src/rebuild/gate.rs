//! The build before an update: the tree that a plan would make is built while the target is as it was, so that a commit
//! that does not build never gets into the target.
//!
//! The tree is a snapshot of the target in which the plan is carried out. Nothing else is written than what a build
//! leaves in the state directory: the record of the built system and its `result` link, the kept `flake.lock`, and the
//! failure of a build. The rebuild after the update finds the system by its key.
//!
//! Limits: a build that cannot be pinned to the snapshot would read the old target, so it is refused.
#![expect(
    clippy::disallowed_methods,
    reason = "the snapshot is in our state directory and is written by path"
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::Path;

use super::context::RebuildContext;
use super::error::ErrorKind;
use super::failures::Failures;
use super::flake::{self, HostFlake};
use super::outcome::UnpinnedReason;
use super::pinned::Pin;
use super::pipeline;
use super::quarantine::BuildId;
use super::record::RebuildRecord;
use super::snapshot::{Filter, Snapshot};
use super::{key, revision};
use crate::apply::Content;
use crate::fs::Target;
use crate::git::{BlobId, Commit, File, FileMode, RelPath};
use crate::plan::Plan;

/// An update that is planned.
pub struct PlannedUpdate<'a> {
    /// What changes in the target.
    pub plan: &'a Plan,
    /// The content of the files.
    pub content: &'a dyn Content,
    /// The commit the target is brought to.
    pub commit: &'a Commit,
    /// Whether the commit was proven as a whole.
    pub is_proven: bool,
}

/// Builds the system of the planned tree.
pub(super) fn run(
    context: &RebuildContext<'_>,
    update: &PlannedUpdate<'_>,
) -> Result<(), ErrorKind> {
    let unpinned = |reason| ErrorKind::NotPinned { reason };
    let tree = take(context, update).map_err(unpinned)?;
    let path = tree.path.clone();
    let built = build(context, update, tree);
    // What cannot be removed now is removed after the next rebuild.
    let _ = std::fs::remove_dir_all(path);
    built
}

fn build(
    context: &RebuildContext<'_>,
    update: &PlannedUpdate<'_>,
    tree: Snapshot,
) -> Result<(), ErrorKind> {
    let mut failures = Failures::load(context, true)?;
    let flake = HostFlake::of_tree(context, &tree.path)?;
    let (nar, state) = (tree.nar, context.request.state);
    let commit = update.is_proven.then_some(update.commit);
    let revision = revision::compare(&flake, &tree, commit, state).revision;
    let pin = Pin::new(context, &flake, tree, revision);
    let mut pin = pin.map_err(|reason| ErrorKind::NotPinned { reason })?;
    let host = flake::resolve_host(context, &flake, Some(&pin))?;
    if flake.is_own() {
        // Notes are for the rebuild. The lock file of a flake outside the target is written with the target.
        pin.update_lock(&mut Vec::new());
    }
    let key = key::of(context, &flake, Some(nar), revision, &host);
    let build = BuildId {
        commit: Some(update.commit.id),
        host: &host,
        key: key.as_deref(),
    };
    let mut record = RebuildRecord::load(state)?;
    if pipeline::kept(context, &record, key.as_deref()).is_none() {
        failures.refuse(context, build, false)?;
        let (system, _) =
            { pin.build(&host) }.map_err(|error| failures.add(context, build, false, error))?;
        let systems = context.machine.systems();
        record.remember(&system, build.commit, key.clone(), &systems);
        record.save(state)?;
    }
    failures.end(context, build, false)
}

/// A snapshot of the target with the plan carried out in it.
fn take(
    context: &RebuildContext<'_>,
    update: &PlannedUpdate<'_>,
) -> Result<Snapshot, UnpinnedReason> {
    let cause = |cause: String| UnpinnedReason::Snapshot { cause };
    let source = Target::open_or_absent(context.request.target);
    let source = source.map_err(|error| cause(error.to_string()))?;
    let filter = Filter {
        exclude: context.request.exclude,
        replaced: None,
    };
    let state = context.request.state.path();
    let carry_out = |copy: &Path| carry_out(update, copy);
    Snapshot::take_changed(&source, &filter, state, "gate", carry_out)
        .map_err(|error| cause(error.to_string()))
}

/// Carries the plan out in a copy of the target.
fn carry_out(update: &PlannedUpdate<'_>, copy: &Path) -> io::Result<()> {
    for operation in update.plan.operations() {
        let path = copy.join(&operation.path);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path)?,
            Ok(_) => std::fs::remove_file(&path)?,
            // Also where a file is above it, which another operation removes.
            Err(_) => continue,
        }
        remove_empty(path.parent(), copy);
    }
    for operation in update.plan.operations() {
        let Some(file) = operation.after else {
            continue;
        };
        let path = copy.join(&operation.path);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        write(update.content, file.id, file.mode, &path)?;
    }
    Ok(())
}

/// Removes a directory and those above it, as far as they are empty.
fn remove_empty(directory: Option<&Path>, top: &Path) {
    let mut directory = directory.filter(|directory| *directory != top);
    while let Some(path) = directory {
        if std::fs::remove_dir(path).is_err() {
            return;
        }
        directory = path.parent().filter(|above| *above != top);
    }
}

/// Writes files into a new directory that only this user can enter, read-only, as Nix hashes them.
pub fn write_tree(
    files: &BTreeMap<RelPath, File>,
    content: &dyn Content,
    directory: &Path,
) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(directory)?;
    for (path, file) in files {
        let path = directory.join(path);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        write(content, file.id, file.mode, &path)?;
    }
    Ok(())
}

fn write(content: &dyn Content, id: BlobId, mode: FileMode, path: &Path) -> io::Result<()> {
    let content = content.blob(id).map_err(io::Error::other)?;
    let mode = match mode {
        FileMode::Symlink => {
            return symlink(OsStr::from_bytes(&content), path);
        }
        FileMode::Regular => 0o444,
        FileMode::Executable => 0o555,
    };
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(&content)
}
