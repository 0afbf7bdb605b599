//! What is to be carried out, and the record and the index that it makes.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::{Change, Error, Image, Transaction, copies, inspect};
use crate::fs::Target;
use crate::git::{BlobId, File, RelPath};
use crate::plan::Plan;
use crate::scan::Local;
use crate::state::{self, Index, Owned, StatData, StateDir, SyncPoint};

/// What is to be carried out.
#[derive(Debug, Clone)]
pub struct Update<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What the plan was made from.
    pub local: &'a BTreeMap<RelPath, Local>,
    /// When the first of it was inspected, or a little earlier; nanoseconds since 1970.
    pub looked_at: i128,
    /// The index that the plan was made from.
    pub before: Option<&'a Index>,
    /// Where it leads.
    pub after: SyncPoint,
}

impl Update<'_> {
    /// Saves the index where no file has to change, if it says something new.
    pub(super) fn remember(&self, state: &StateDir) -> Result<(), state::Error> {
        let index = self.index();
        if self.before.is_none_or(|before| differs(before, &index)) {
            index.save(state)?;
        }
        Ok(())
    }

    /// The index after the update; what changes is not seen yet.
    fn index(&self) -> Index {
        let seen = |path: &RelPath, id: BlobId| match self.local.get(path)? {
            local @ (Local::File { stat, .. } | Local::Symlink { stat, .. })
                if local.id() == Some(id) =>
            {
                StatData::of(stat, self.looked_at)
            }
            _ => None,
        };
        let entries = self.plan.index().iter().map(|(path, file)| {
            let owned = Owned {
                mode: file.mode,
                id: file.id,
                seen: seen(path, file.id),
            };
            (path.clone(), owned)
        });
        let mut entries: BTreeMap<RelPath, Owned> = entries.collect();
        for operation in self.plan.operations() {
            if let Some(owned) = entries.get_mut(&operation.path) {
                owned.seen = None;
            }
        }
        Index {
            point: self.after.clone(),
            entries,
        }
    }

    /// The record of it.
    pub(super) fn transaction(
        &self,
        target: &Target,
        state: &StateDir,
        interrupt: &AtomicBool,
    ) -> Result<Transaction, Error> {
        let mut changes = Vec::new();
        for operation in self.plan.operations() {
            let image = match &operation.before {
                // Edited, as its size shows; to be kept aside it needs a name.
                Local::File { id: None, stat, .. } => {
                    inspect::unhashed(target, &operation.path, stat, interrupt)?
                }
                before => Image::of(before),
            };
            // No plan replaces a socket; if one came here, looking again is the right answer.
            let image = image.ok_or_else(|| Error::Stale {
                paths: vec![operation.path.clone()],
            })?;
            changes.push(Change {
                path: operation.path.clone(),
                before: image,
                after: operation.after,
                edited: operation.edited,
                puts_back: self.plan.index().get(&operation.path).copied() != operation.after,
                base: (),
            });
        }
        Ok(Transaction {
            id: copies::next_id(state)?,
            time: state::now(),
            target: target_name(target)?,
            before: self.before.map(|index| index.point.clone()),
            after: self.after.clone(),
            changes,
            index: self.index().entries,
        })
    }
}

/// Whether an index says something else, apart from how files looked.
fn differs(before: &Index, after: &Index) -> bool {
    fn base(index: &Index) -> impl Iterator<Item = (&RelPath, File)> {
        let entries = index.entries.iter();
        entries.map(|(path, owned)| (path, owned.file()))
    }
    before.point != after.point || !base(before).eq(base(after))
}

/// The target's path as the record has it.
fn target_name(target: &Target) -> Result<String, state::Error> {
    target.path().to_str().map(str::to_owned).ok_or_else(|| {
        crate::fs::Failure::from_io(
            "record the path",
            target.path(),
            std::io::ErrorKind::InvalidInput.into(),
        )
        .into()
    })
}
