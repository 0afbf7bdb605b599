//! Reads the store of a state directory beside whoever holds the run lock.

#![expect(
    clippy::disallowed_methods,
    reason = "the state directory is ours, 0700, and gitoxide reads it by path"
)]

use std::fs;
use std::path::Path;

use crate::git::id::ObjectKind;
use crate::git::{Commit, CommitId, TreeId};

use super::NAME;
use super::pack::{Pack, Reading};

/// The tree of a commit, proven by the commit's bytes; `None` where they are not in the store, or cannot be read.
///
/// Nothing is written, and what is damaged stays for [`Store::open`](super::Store::open) to repair.
#[must_use]
pub fn commit_tree(state_dir: &Path, commit: CommitId, blob_limit: u64) -> Option<TreeId> {
    let entries = fs::read_dir(state_dir.join(NAME).join("objects/pack")).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "pack")
        })
        .filter_map(|path| Pack::open(&path, blob_limit).ok())
        .find_map(|pack| match pack.read(commit.0) {
            Reading::Found(object) if object.kind == ObjectKind::Commit => {
                Some(Commit::verify(commit, &object.content).ok()?.tree)
            }
            Reading::Found(_) | Reading::Absent | Reading::Damaged(_) => None,
        })
}
