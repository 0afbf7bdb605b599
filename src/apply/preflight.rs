//! Detects what would make an update fail before it starts, and what changed meanwhile before the commit point.

use std::collections::{BTreeMap, BTreeSet};

use super::staging::Staging;
use super::{Content, Error, Update};
use crate::fs::{self, FileKind, Obstacle, Room, Target};
use crate::git::path::folded;
use crate::git::{BlobId, RelPath};
use crate::plan::{Operation, Plan};
use crate::scan::Local;
use crate::state::StateDir;
use crate::text::Amount;

/// An upper estimate of the bytes that the record takes for a change, besides its path.
const CHANGE_BYTES: u64 = 512;
/// An upper estimate of the bytes that the index takes for a file or a directory, or the record for a file that does not
/// change, besides its path.
const ENTRY_BYTES: u64 = 96;
/// An upper estimate of what the record and the index take in any case, each.
const FIXED_BYTES: u64 = 4096;

/// Refuses an update that would fail, before anything is written.
pub(super) fn check(
    target: &Target,
    state: &StateDir,
    update: &Update<'_>,
    content: &dyn Content,
) -> Result<(), Error> {
    let mut obstacles = target.obstacles();
    for Operation { path, .. } in update.plan.operations() {
        let path = path.clone();
        match obstacles.of(&path)? {
            None => {}
            Some(Obstacle::Immutable) => return Err(Error::Immutable { path }),
            Some(Obstacle::Mount) => {
                let path = path.to_string();
                return Err(fs::Error::ForeignMount { path }.into());
            }
            Some(Obstacle::Denied) => return Err(Error::Denied { path }),
        }
    }
    compare(target, update)?;
    check_room(target, state, update, content)
}

/// Compares everything that will change again, right before the commit point.
pub(super) fn recheck(target: &Target, update: &Update<'_>) -> Result<(), Error> {
    if !target.is_in_place()? {
        return Err(Error::TargetReplaced {
            path: target.path().to_owned(),
        });
    }
    compare(target, update)
}

/// Refuses two paths that a file system without case sensitivity would overwrite with each other.
pub(super) fn check_case(staging: &Staging, plan: &Plan) -> Result<(), Error> {
    if staging.can().tell_case {
        return Ok(());
    }
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for path in plan.index().keys() {
        let above = path.ancestors().map(|directory| directory.to_string());
        for name in above.chain([path.to_string()]) {
            let first = seen
                .entry(folded(&name).into_owned())
                .or_insert_with(|| name.clone());
            if *first != name {
                return Err(Error::CaseCollision {
                    first: first.clone(),
                    second: name,
                });
            }
        }
    }
    Ok(())
}

/// Whether the target is still what the plan was made from, as far as it will change.
fn compare(target: &Target, update: &Update<'_>) -> Result<(), Error> {
    let operations = update.plan.operations();
    let deleted: BTreeSet<&RelPath> = operations
        .iter()
        .filter(|operation| operation.after.is_none())
        .map(|operation| &operation.path)
        .collect();
    let mut paths = Vec::new();
    let mut stats = target.stats();
    for Operation { path, before, .. } in operations {
        let now = stats.of(path)?;
        let same = match before {
            Local::Missing => now.is_none(),
            Local::File { stat, .. } | Local::Symlink { stat, .. } | Local::Special { stat } => {
                now.as_ref() == Some(stat)
            }
            Local::Directory { stat, .. } => {
                now.is_some_and(|now| (now.kind, now.ino) == (stat.kind, stat.ino))
                    && is_cleared(target, path, &deleted)?
            }
        };
        if !same {
            paths.push(path.clone());
        }
    }
    if paths.is_empty() {
        Ok(())
    } else {
        Err(Error::Stale { paths })
    }
}

/// Whether a directory has only files that will be deleted.
fn is_cleared(
    target: &Target,
    directory: &RelPath,
    deleted: &BTreeSet<&RelPath>,
) -> Result<bool, Error> {
    let mut pending = vec![directory.clone()];
    while let Some(directory) = pending.pop() {
        for name in target.list(Some(&directory))? {
            let Ok(path) = RelPath::join(Some(&directory), &name) else {
                return Ok(false);
            };
            let kind = target.stat(&path)?.map(|stat| stat.kind);
            match kind {
                Some(FileKind::Directory) => pending.push(path),
                Some(_) if !deleted.contains(&path) => return Ok(false),
                _ => {}
            }
        }
    }
    Ok(true)
}

/// What an update needs on one file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SpaceNeeded {
    bytes: u64,
    inodes: u64,
}

impl SpaceNeeded {
    fn file(&mut self, size: u64, block: u64) {
        self.bytes = self
            .bytes
            .saturating_add(size.div_ceil(block).max(1).saturating_mul(block));
        self.inodes += 1;
    }

    fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes + other.inodes,
        }
    }

    /// The needed and the free amount, if there is not enough with a margin of a tenth.
    fn lacks(self, room: &Room) -> Option<(Amount, Amount)> {
        let margin = |need: u64| need.saturating_add(need / 10);
        let bytes = margin(self.bytes);
        if bytes > room.bytes {
            return Some((Amount::Bytes(bytes), Amount::Bytes(room.bytes)));
        }
        let inodes = margin(self.inodes);
        room.inodes
            .filter(|free| inodes > *free)
            .map(|free| (Amount::Files(inodes), Amount::Files(free)))
    }
}

fn check_room(
    target: &Target,
    state: &StateDir,
    update: &Update<'_>,
    content: &dyn Content,
) -> Result<(), Error> {
    let theirs = target.room()?;
    let ours = state.directory().room()?;
    let (mut staged, mut kept) = (SpaceNeeded::default(), SpaceNeeded::default());
    for operation in update.plan.operations() {
        if let Some(file) = operation.after {
            let size = size(content, &operation.path, file.id)?;
            staged.file(size, theirs.block);
        }
        if let Local::File { stat, .. } | Local::Symlink { stat, .. } = &operation.before {
            kept.file(stat.size, ours.block);
        }
    }
    let put = update.plan.operations().iter();
    let put = put.filter(|operation| operation.after.is_some());
    for _ in RelPath::above(put.map(|operation| &operation.path)) {
        staged.file(theirs.block, theirs.block);
    }
    let (record, index) = recorded(update);
    // The record has a second copy; the former index is there already.
    for size in [record, record, index] {
        kept.file(size, ours.block);
    }
    let one_file_system = theirs.device == ours.device;
    let needs = if one_file_system {
        [
            (target.path(), staged.and(kept), theirs),
            (state.path(), kept, ours),
        ]
    } else {
        [(target.path(), staged, theirs), (state.path(), kept, ours)]
    };
    for (path, need, room) in needs {
        if room.read_only {
            return Err(Error::ReadOnly {
                path: path.to_owned(),
            });
        }
        if let Some((need, free)) = need.lacks(&room) {
            return Err(Error::NoSpace {
                path: path.to_owned(),
                need,
                free,
            });
        }
    }
    Ok(())
}

/// The bytes of the record and of the index, estimated from above.
fn recorded(update: &Update<'_>) -> (u64, u64) {
    fn bytes<'a>(paths: impl Iterator<Item = &'a RelPath>, rest: u64) -> u64 {
        paths.map(|path| path.as_str().len() as u64 + rest).sum()
    }
    let operations = update.plan.operations().iter();
    let changes = bytes(operations.map(|operation| &operation.path), CHANGE_BYTES);
    let files = bytes(update.plan.index().keys(), ENTRY_BYTES);
    let directories = bytes(update.directories.keys(), ENTRY_BYTES);
    // After the first update, few enter the index without a change.
    let adopted = if update.before.is_none() { files } else { 0 };
    (
        FIXED_BYTES + changes + adopted,
        FIXED_BYTES + files + directories,
    )
}

pub(super) fn size(content: &dyn Content, path: &RelPath, id: BlobId) -> Result<u64, Error> {
    content.size(id).map_err(|source| Error::Content {
        path: path.clone(),
        id,
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::apply::{Change, Image, Transaction, TxId};
    use crate::git::{CommitId, File, FileMode, Oid, TreeId};
    use crate::patterns::Patterns;
    use crate::plan::{MassDelete, Policy, plan};
    use crate::scan::Locals;
    use crate::settings::LocalEdits;
    use crate::state::sealed::Body;
    use crate::state::{Index, Owned, SyncPoint};

    fn room(bytes: u64, inodes: Option<u64>) -> Room {
        Room {
            device: 1,
            bytes,
            inodes,
            block: 4096,
            read_only: false,
        }
    }

    fn policy() -> Policy {
        let none = Patterns::new::<&str>(&[]).unwrap();
        Policy {
            local_edits: LocalEdits::Replace,
            protect: none.clone(),
            exclude: none.clone(),
            executable: none,
            require: Vec::new(),
            mass_delete: MassDelete::Refuse,
        }
    }

    #[test]
    fn needs_whole_blocks_and_a_tenth_more() {
        let mut need = SpaceNeeded::default();
        need.file(0, 4096);
        need.file(4097, 4096);
        assert_eq!((need.bytes, need.inodes), (3 * 4096, 2));
        assert_eq!(need.lacks(&room(13516, Some(2))), None);
        assert_eq!(
            need.lacks(&room(13515, Some(2))),
            Some((Amount::Bytes(13516), Amount::Bytes(13515)))
        );
        assert_eq!(need.lacks(&room(1 << 30, None)), None);
        need.inodes = 100;
        assert_eq!(
            need.lacks(&room(1 << 30, Some(109))),
            Some((Amount::Files(110), Amount::Files(109)))
        );
    }

    #[test]
    fn a_size_beyond_all_bounds_is_not_enough_room() {
        let mut need = SpaceNeeded::default();
        need.file(u64::MAX, 4096);
        need.file(u64::MAX, 4096);
        assert!(need.lacks(&room(u64::MAX - 1, None)).is_some());
    }

    /// The room for the record and the index follows what they have, so that a small change of a large tree needs little.
    #[test]
    fn the_record_and_the_index_take_no_more_than_estimated_and_not_much_less() {
        let file = |byte| File {
            mode: FileMode::Executable,
            id: BlobId(Oid::from_bytes([byte; 20])),
        };
        let path = |number| format!("modules/a-directory-{}/{number}.nix", number / 10);
        let path = |number| RelPath::new(path(number).as_bytes()).unwrap();
        let paths: Vec<RelPath> = (0..3000).map(path).collect();
        let point = SyncPoint {
            commit: CommitId(Oid::from_bytes([1; 20])),
            tree: TreeId(Oid::from_bytes([2; 20])),
            reference: "refs/heads/main".to_owned(),
            repository: None,
        };
        let stat = fs::Stat {
            kind: FileKind::File,
            mode: 0o755,
            size: u64::MAX,
            mtime: 1,
            ctime: 1,
            ino: u64::MAX,
            uid: 0,
        };
        let before = Index::of(
            point.clone(),
            paths
                .iter()
                .map(|path| (path.clone(), Owned::of(file(1), None))),
        );
        let is_here = |path: &RelPath| {
            let local = Local::File {
                stat,
                executable: true,
                id: Some(file(1).id),
            };
            (path.clone(), local)
        };
        for (changed, before) in [(1, Some(&before)), (3000, Some(&before)), (3000, None)] {
            let after = paths.iter().enumerate();
            let after = after
                .map(|(number, path)| (path.clone(), file(if number < changed { 2 } else { 1 })));
            let local: Locals = match before {
                Some(_) => paths.iter().map(is_here).collect(),
                None => Locals::default(),
            };
            let base = before
                .map(|before| (*before.files).clone())
                .unwrap_or_default();
            let plan = plan(&base, &local, &Arc::new(after.collect()), &policy()).unwrap();
            assert_eq!(plan.operations().len(), changed);
            let directories = paths.iter().flat_map(RelPath::ancestors);
            let update = Update {
                plan: &plan,
                local: &local,
                looked_at: Some(i64::MAX),
                before,
                after: point.clone(),
                directories: Arc::new(directories.map(|path| (path, point.tree)).collect()),
                rolls_back: false,
            };
            let changes = plan.operations().iter().map(|operation| Change {
                path: operation.path.clone(),
                before: Image::of(&operation.before).unwrap(),
                after: operation.after,
                edited: true,
                puts_back: true,
                base: (),
            });
            let transaction = Transaction {
                id: TxId(u64::MAX),
                time: crate::state::now(),
                target: "/etc/nixos".to_owned(),
                before: Some(point.clone()),
                after: point.clone(),
                changes: changes.collect(),
                index_only: BTreeMap::new(),
                index: None,
            };
            let bytes = |body: &dyn Body| {
                let mut bytes = Vec::new();
                body.write(&mut bytes).unwrap();
                bytes.len() as u64
            };
            let (record, index) = recorded(&update);
            for (name, estimated, taken) in [
                ("record", record, bytes(&transaction)),
                ("index", index, bytes(&update.index())),
            ] {
                assert!(
                    (taken..=FIXED_BYTES + 5 * taken).contains(&estimated),
                    "{name} of {changed}: {taken}, estimated {estimated}"
                );
            }
        }
    }
}
