//! A transaction, and the update that it is made from: everything that changes, in one record.
//!
//! The same record is the journal (`tx/active`) while it is carried out and the table of contents of `undo/<id>`
//! afterwards. It is read as untrusted input: the types check paths and ids, and
//! [`Transaction::check`] the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use litemap::LiteMap;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Error, inspect, undo};
use crate::fs::Target;
use crate::git::{BlobId, EntryMode, File, RelPath, TreeId, path};
use crate::lookup::AscendingLookup;
use crate::plan::Plan;
use crate::scan::{Local, Locals};
use crate::state::sealed::SealedFormat;
use crate::state::{self, Index, Owned, StatData, StateDir, SyncPoint};
use crate::text;

pub(crate) const FORMAT: SealedFormat = SealedFormat {
    kind: "transaction",
    // 2: `repository`; 3: what changes in the index instead of the whole of it.
    version: 3,
};

/// The number of a transaction, counted up.
///
/// Counted rather than timed: the clock of a host that has just booted may be years off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TxId(pub u64);

/// The text is not the number of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the number of an update", text::name(.0))]
pub struct NotATx(pub String);

/// What is or was at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Image {
    /// Nothing.
    Missing,
    /// A file or symlink.
    File(File),
    /// A directory that is or was empty but for what the transaction takes away.
    Directory,
}

/// One path that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::manual_non_exhaustive,
    reason = "the private field is a name that must stay known"
)]
pub struct Change {
    /// The path.
    pub path: RelPath,
    /// What was there.
    pub before: Image,
    /// What is there afterwards; `None`: nothing.
    pub after: Option<File>,
    /// Whether it replaces a local edit, which no commit has. Recorded where it is so, as below: there are thousands of
    /// changes in a first sync.
    #[serde(default, skip_serializing_if = "is_false")]
    pub edited: bool,
    /// Whether it restores a local edit, instead of the commit's content.
    #[serde(default, skip_serializing_if = "is_false")]
    pub puts_back: bool,
    /// Written by earlier versions and never read. Without it, their journals would have an unknown field and count as
    /// damaged.
    #[serde(default, skip_serializing, deserialize_with = "ignored")]
    pub(super) base: (),
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

fn ignored<'de, D: Deserializer<'de>>(value: D) -> Result<(), D::Error> {
    IgnoredAny::deserialize(value).map(|_| ())
}

/// Everything an update changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// Its number.
    pub id: TxId,
    /// When it was recorded, in whole seconds.
    pub time: jiff::Timestamp,
    /// The target, by path.
    pub target: String,
    /// What the target was at, where that is known.
    pub before: Option<SyncPoint>,
    /// What it is brought to.
    pub after: SyncPoint,
    /// The paths, sorted.
    pub changes: Vec<Change>,
    /// What changes in the index without a change of the file: a file that is found as the commit has it, an edit that is
    /// put back over what the commit has; `None` where a file is not ours any more.
    #[serde(default)]
    pub index_only: BTreeMap<RelPath, Option<File>>,
    /// The whole index afterwards, in records of version 1 and 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<BTreeMap<RelPath, Owned>>,
}

impl Transaction {
    /// Whether the record is consistent.
    pub(crate) fn check(&self) -> bool {
        let leaf_is_safe = |path: &RelPath, file: &File| {
            path::check_leaf(path, EntryMode::File(file.mode)).is_ok()
        };
        let sorted = self.changes.is_sorted_by(|a, b| a.path < b.path);
        let created: BTreeSet<&RelPath> = self
            .changes
            .iter()
            .filter(|change| change.after.is_some())
            .map(|change| &change.path)
            .collect();
        sorted
            && self.changes.iter().all(|change| {
                let safe = change
                    .after
                    .is_none_or(|file| leaf_is_safe(&change.path, &file));
                let below_a_file = change.after.is_some()
                    && change
                        .path
                        .ancestors()
                        .any(|directory| created.contains(&directory));
                safe && !below_a_file && self.agrees(change)
            })
    }

    /// Whether a change agrees with what is recorded of the index.
    fn agrees(&self, change: &Change) -> bool {
        match &self.index {
            Some(index) => {
                let owned = index.get(&change.path).map(Owned::file);
                (owned == change.after) != change.puts_back
            }
            None => change.puts_back || !self.index_only.contains_key(&change.path),
        }
    }

    /// Whether it led from one commit to another, or was the first.
    #[must_use]
    pub fn moves(&self) -> bool {
        let before = self.before.as_ref();
        before.is_none_or(|before| before.commit != self.after.commit)
    }

    pub(crate) fn is_about(&self, target: &Path) -> bool {
        Path::new(&self.target) == target
    }

    /// The index after the update, made of the one that is saved, be it that of before or already this one; without the
    /// `lstat` data of files that change. `None` if that of before is lost.
    pub(super) fn index(&self, saved: Option<Index>) -> Option<Index> {
        let nothing = || Index::of(self.after.clone(), []);
        let mut index = match (&self.index, saved) {
            (Some(whole), _) => Index::of(self.after.clone(), whole.clone()),
            (None, Some(saved)) => saved,
            (None, None) if self.before.is_none() => nothing(),
            (None, None) => return None,
        };
        let files = Arc::make_mut(&mut index.files);
        let written = self.changes.iter().filter(|change| !change.puts_back);
        let written = written.map(|change| (&change.path, change.after));
        let others = self.index_only.iter().map(|(path, file)| (path, *file));
        for (path, file) in written.chain(others) {
            match file {
                Some(file) => files.insert(path.clone(), file),
                None => files.remove(path),
            };
        }
        let changed = self.changes.iter().map(|change| &change.path);
        let changed: BTreeSet<&RelPath> = changed.chain(self.index_only.keys()).collect();
        index.seen.retain(|path, _| !changed.contains(path));
        Some(Index {
            point: self.after.clone(),
            directories: Arc::default(),
            ..index
        })
    }
}

impl Image {
    /// The image of what a plan saw; `None` for a socket, FIFO or device, and for a file that was not hashed.
    pub(crate) fn of(local: &Local) -> Option<Self> {
        match local {
            Local::Missing => Some(Self::Missing),
            Local::Directory { .. } => Some(Self::Directory),
            Local::File { .. } | Local::Symlink { .. } => local.file().map(Self::File),
            Local::Special { .. } => None,
        }
    }

    /// The file or symlink.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        match self {
            Self::File(file) => Some(file),
            Self::Missing | Self::Directory => None,
        }
    }
}

impl Change {
    /// What is there afterwards.
    pub(crate) fn result(&self) -> Image {
        self.after.map_or(Image::Missing, Image::File)
    }

    /// Whether displaced content is kept elsewhere already: it is what the plan saw, or what the commit has.
    pub(crate) fn knows(&self, id: BlobId) -> bool {
        self.before.file().is_some_and(|file| file.id == id)
            || self.after.is_some_and(|file| file.id == id)
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

impl FromStr for TxId {
    type Err = NotATx;

    fn from_str(text: &str) -> Result<Self, NotATx> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| digits)
            .map(Self)
            .ok_or_else(|| NotATx(text.to_owned()))
    }
}

/// What is to be carried out.
#[derive(Debug, Clone)]
pub struct Update<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What the plan was made from.
    pub local: &'a Locals,
    /// A time not later than the first `lstat` of the scan, in nanoseconds since 1970; `None` where a file that looked
    /// different may not have been hashed, so that the metadata of the last index stays what is known of it.
    pub looked_at: Option<i64>,
    /// The index that the plan was made from.
    pub before: Option<&'a Index>,
    /// Where it leads.
    pub after: SyncPoint,
    /// The [directories](Index::directories) of the index afterwards.
    pub directories: Arc<BTreeMap<RelPath, TreeId>>,
    /// Whether it is a rollback.
    pub rolls_back: bool,
}

impl Update<'_> {
    /// Whether it leads from one commit to another.
    pub(super) fn moves(&self) -> bool {
        let before = self.before;
        before.is_some_and(|before| before.point.commit != self.after.commit)
    }

    /// Saves the index if no file has to change and the index says more than the last one: what the target is at, or how a
    /// file looks that was hashed.
    pub(super) fn remember(&self, state: &StateDir) -> Result<(), state::Error> {
        let index = self.index();
        if self.before.is_none_or(|before| differs(before, &index)) {
            index.save(state)?;
        }
        Ok(())
    }

    /// The index after the update, without the `lstat` data of files that change.
    pub(super) fn index(&self) -> Index {
        let mut local = AscendingLookup::new(self.local);
        let known = |path: &RelPath, id: BlobId| {
            let known = self.before?.owned(path)?;
            known.seen.filter(|_| known.id == id)
        };
        let mut seen = |path: &RelPath, id: BlobId| match local.get(path)? {
            local @ (Local::File { stat, .. } | Local::Symlink { stat, .. })
                if local.id() == Some(id) =>
            {
                let Some(looked_at) = self.looked_at else {
                    return known(path, id);
                };
                StatData::of(stat, looked_at)
            }
            _ => None,
        };
        let files = self.plan.index();
        let operations = self.plan.operations().iter();
        let mut changes = AscendingLookup::new(operations.map(|change| (&change.path, ())));
        let mut looks = Vec::with_capacity(files.len());
        for (path, file) in &**files {
            if let (None, Some(stat)) = (changes.get(path), seen(path, file.id)) {
                looks.push((path.clone(), stat));
            }
        }
        Index {
            point: self.after.clone(),
            files: Arc::clone(files),
            seen: LiteMap::from_sorted_store_unchecked(looks),
            directories: Arc::clone(&self.directories),
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
                // Edited, as its size shows. Its copy is named by its hash.
                Local::File { id: None, stat, .. } => {
                    inspect::unhashed(target, &operation.path, stat, interrupt)?
                }
                before => Image::of(before),
            };
            // No plan replaces a socket: it appeared after the scan.
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
            id: undo::next_id(state)?,
            time: state::now(),
            target: target_name(target)?,
            before: self.before.map(|index| index.point.clone()),
            after: self.after.clone(),
            index_only: self.index_only(&changes),
            changes,
            index: None,
        })
    }

    /// What the index has otherwise than the one before, besides what these changes write.
    fn index_only(&self, changes: &[Change]) -> BTreeMap<RelPath, Option<File>> {
        let none = BTreeMap::new();
        let before = self.before.map_or(&none, |before| &before.files);
        let after = self.plan.index();
        let written = changes.iter().filter(|change| !change.puts_back);
        let written: BTreeMap<&RelPath, Option<File>> =
            written.map(|change| (&change.path, change.after)).collect();
        let mut known = AscendingLookup::new(before);
        let others = after.iter().filter_map(|(path, file)| {
            let is_known = known.get(path) == Some(file);
            (!is_known).then_some((path, Some(*file)))
        });
        let mut stays = AscendingLookup::new(&**after);
        let gone = before.keys().filter(|path| stays.get(path).is_none());
        others
            .chain(gone.map(|path| (path, None)))
            .filter(|(path, file)| written.get(path) != Some(file))
            .map(|(path, file)| (path.clone(), file))
            .collect()
    }
}

/// Whether an index has something that the one before has not. The loss of `lstat` data alone is nothing to save: such a
/// file is hashed either way.
fn differs(before: &Index, after: &Index) -> bool {
    let mut known = AscendingLookup::new(&before.seen);
    let has_news = |(path, seen): (&RelPath, &StatData)| known.get(path) != Some(seen);
    before.point != after.point
        || before.files != after.files
        || before.directories != after.directories
        || after.seen.iter().any(has_news)
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
