//! Merges local edits with what the commit changes in the same files, under `local_edits = "merge"`.
//!
//! The base of a merge is the file that the last sync wrote, from the object store; it is the base also of the next merge,
//! because the merged file stays a local edit. What cannot be merged stops the update, as under `refuse`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::git::id::ObjectKind;
use crate::git::{BlobId, File, FileMode, Oid, RelPath};
use crate::objects::Store;
use crate::plan::{self, EditedFile};
use crate::scan::{Local, Scanner};
use crate::source::{Depth, Staged};
use crate::text::Amount;

/// The most bytes of a file that is merged. Comparing the lines of a larger one takes minutes where many are different.
const LARGEST: u64 = 4 << 20;

/// Merges edits, and keeps the contents that result.
pub(super) struct Merger<'a> {
    pub(super) store: &'a Store,
    pub(super) scanner: &'a Scanner<'a>,
    pub(super) staged: &'a Staged<'a>,
    /// Without contents, every edit counts as mergeable.
    pub(super) depth: Depth,
    /// Edits from which an earlier sync has withheld a change, so that they are not based on the last commit.
    pub(super) withheld: BTreeSet<RelPath>,
    pub(super) contents: RefCell<BTreeMap<BlobId, Vec<u8>>>,
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
            [base, remote]
                .iter()
                .any(|file| file.mode == FileMode::Symlink),
        )
        else {
            return Err(
                "it was edited here, and the commit changes it; a symlink is not merged".into(),
            );
        };
        if self.withheld.contains(path) {
            return Err("it was edited here, and the commit changes it; it is not merged, because an earlier sync has kept it without the change of an earlier commit".into());
        }
        if self.depth == Depth::Listing {
            return Ok(*remote);
        }
        let here = FileMode::of_file(*executable);
        // Two of the three are the same.
        let mode = if here == base.mode { remote.mode } else { here };
        if local.id() == Some(base.id) {
            return Ok(File {
                mode,
                id: remote.id,
            });
        }
        let read = |id: BlobId| self.store.read(ObjectKind::Blob, id.0);
        let (Some(base), Ok(theirs)) = (read(base.id), self.staged.blob(remote.id)) else {
            return Err("it was edited here, and the commit changes it; what it was before is not in the object store, so it is not merged".into());
        };
        let sizes = [base.len() as u64, stat.size, theirs.len() as u64];
        if sizes.into_iter().any(|size| size > LARGEST) {
            return Err(format!(
                "it was edited here, and the commit changes it; a file of more than {} is not merged",
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
        let merged = plan::merge(&base, &ours, &theirs).map_err(|problem| {
            format!("it was edited here, and the commit changes it; {problem}")
        })?;
        let id = Oid::of(ObjectKind::Blob, &merged)
            .map_err(|_| "it was edited here in a way that cannot be hashed")?;
        let id = BlobId(id);
        self.contents.borrow_mut().insert(id, merged);
        Ok(File { mode, id })
    }
}
