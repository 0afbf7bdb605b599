//! Merges local edits with what the commit changes in the same files, under `local_edits = "merge"`.
//!
//! The base of a merge is the file that was edited: the one that the last sync wrote, from the object store; where an earlier
//! sync kept the edit against a change, the one from before that; in a first sync, the one of the work tree's commit, from its
//! `.git`. The commit's file is the base of the next merge, because the merged file stays a local edit. What cannot be
//! merged stops the update, as under `refuse`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::git::id::ObjectKind;
use crate::git::{BlobId, File, FileMode, Oid};
use crate::objects::Store;
use crate::plan::{self, EditedFile, Kept};
use crate::scan::{Local, Scanner};
use crate::source::{Depth, Staged};
use crate::text::Amount;

use super::adoption::FirstBase;

/// The most bytes of a file that is merged. Comparing the lines of a larger one takes minutes where many are different.
const LARGEST: u64 = 4 << 20;

/// Merges edits, and keeps the contents that result.
pub(super) struct Merger<'a> {
    pub(super) bases: Bases<'a>,
    pub(super) scanner: &'a Scanner<'a>,
    pub(super) staged: &'a Staged<'a>,
    /// Without contents, an edit that cannot be looked at counts as mergeable.
    pub(super) depth: Depth,
    pub(super) contents: RefCell<BTreeMap<BlobId, Vec<u8>>>,
}

/// Where the files are that were edited: in the object store or, before the first sync, in the work tree's `.git`.
#[derive(Clone, Copy)]
pub(super) struct Bases<'a> {
    pub(super) store: &'a Store,
    pub(super) first: Option<&'a FirstBase>,
}

impl Bases<'_> {
    /// The content of such a file.
    pub(super) fn read(&self, id: BlobId) -> Option<Vec<u8>> {
        let stored = self.store.read(ObjectKind::Blob, id.0);
        stored.or_else(|| self.first?.content(id))
    }

    /// Brings those of edits that stay against a change of the commit into the store, for a later merge.
    pub(super) fn keep(&self, kept: &[Kept]) -> Result<(), crate::objects::Error> {
        let bases = kept.iter().filter_map(|kept| kept.base);
        let missing: BTreeMap<BlobId, Vec<u8>> = bases
            .filter(|base| !self.store.contains(base.id.0))
            .filter_map(|base| Some((base.id, self.first?.content(base.id)?)))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut writer = self.store.writer()?;
        for (id, content) in missing {
            let _ = writer.add(ObjectKind::Blob, id.0, &content)?;
        }
        let _ = writer.finish()?;
        self.store.make_durable()
    }
}

impl Merger<'_> {
    /// The merged file, or why there is none.
    pub(super) fn merge(&self, edit: EditedFile<'_>) -> Result<File, Cow<'static, str>> {
        let EditedFile {
            path,
            base,
            local,
            remote,
        } = edit;
        let (
            Local::File {
                executable, stat, ..
            },
            false,
        ) = (
            local,
            { base.into_iter().chain([remote]) }.any(|file| file.mode == FileMode::Symlink),
        )
        else {
            return Err("a symlink is not merged".into());
        };
        let Some(base) = base else {
            return Err("it is not merged, because an earlier sync has kept it without the change of an earlier commit".into());
        };
        let here = FileMode::of_file(*executable);
        // Two of the three are the same.
        let mode = if here == base.mode { remote.mode } else { here };
        if local.id() == Some(base.id) {
            return Ok(File {
                mode,
                id: remote.id,
            });
        }
        let (Some(base), Ok(theirs)) = (self.bases.read(base.id), self.staged.blob(remote.id))
        else {
            if self.depth == Depth::Listing {
                return Ok(*remote);
            }
            return Err("what it was before the edit is not here, so it is not merged".into());
        };
        let sizes = [base.len() as u64, stat.size, theirs.len() as u64];
        if sizes.into_iter().any(|size| size > LARGEST) {
            return Err(format!(
                "a file of more than {} is not merged",
                Amount::Bytes(LARGEST)
            )
            .into());
        }
        let ours = match local.id() {
            Some(id) => self.scanner.read(path, id),
            None => self.scanner.read_edited(path, stat),
        };
        let Some(ours) = ours else {
            return Err("it is being written right now".into());
        };
        let merged = plan::merge(&base, &ours, &theirs).map_err(|problem| problem.to_string())?;
        let id = Oid::of(ObjectKind::Blob, &merged).map_err(|_| "what results cannot be hashed")?;
        let id = BlobId(id);
        self.contents.borrow_mut().insert(id, merged);
        Ok(File { mode, id })
    }
}
