//! The way from the id of a root to its tree.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::object::{Listed, parse};
use super::{Bounds, File, Tree, TreeFault, WalkError};
use crate::git::id::{ObjectKind, Oid};
use crate::git::mode::EntryMode;
use crate::git::path::RelPath;
use crate::git::{BlobId, TreeId};

impl Tree {
    /// Reads the tree below `root` through `read`, which yields raw tree objects by id.
    ///
    /// Every object is hashed, every entry checked; the first fault refuses the whole tree. A directory that `known`
    /// has at the same path by the same id is not read again: all below it was proven when `known` was.
    pub fn walk<E>(
        root: TreeId,
        known: Option<&Self>,
        bounds: Bounds,
        read: impl FnMut(TreeId) -> Result<Vec<u8>, E>,
    ) -> Result<Self, WalkError<E>> {
        let mut walk = TreeWalk {
            bounds,
            entries: 0,
            read,
            files: Vec::new(),
            directories: Vec::new(),
            gitlinks: Vec::new(),
        };
        if let Some(known) = known.filter(|known| known.root == root) {
            let entries = known.files.len() + known.directories.len() + known.gitlinks.len();
            walk.count(entries)?;
            return Ok(known.clone());
        }
        // Depth first in git's order is the order of files' whole paths: their map is made of what is sorted already. Of
        // directories it is not: git has `a-b/` before `a/`.
        let mut opened = vec![walk.open(None, root)?];
        while let Some(listed) = opened.last_mut() {
            match listed.next() {
                None => {
                    opened.pop();
                }
                Some((path, EntryMode::File(mode), id)) => {
                    let id = BlobId(id);
                    walk.files.push((path, File { mode, id }));
                }
                Some((path, EntryMode::Tree, id)) => {
                    let id = TreeId(id);
                    match known.filter(|known| known.directories.get(&path) == Some(&id)) {
                        Some(known) => walk.take(known, &path)?,
                        None => opened.push(walk.open(Some(&path), id)?),
                    }
                    walk.directories.push((path, id));
                }
                Some((path, EntryMode::Gitlink, id)) => walk.gitlinks.push((path, id)),
            }
        }
        Ok(Self {
            root,
            files: walk.files.into_iter().collect(),
            directories: walk.directories.into_iter().collect(),
            gitlinks: walk.gitlinks.into_iter().collect(),
        })
    }
}

/// What was found so far.
struct TreeWalk<R> {
    bounds: Bounds,
    entries: u64,
    read: R,
    files: Vec<(RelPath, File)>,
    directories: Vec<(RelPath, TreeId)>,
    gitlinks: Vec<(RelPath, Oid)>,
}

impl<R> TreeWalk<R> {
    /// The entries of a directory, hashed and checked.
    fn open<E>(
        &mut self,
        place: Option<&RelPath>,
        id: TreeId,
    ) -> Result<std::vec::IntoIter<Listed>, WalkError<E>>
    where
        R: FnMut(TreeId) -> Result<Vec<u8>, E>,
    {
        let raw = (self.read)(id).map_err(WalkError::Read)?;
        let actual = Oid::of(ObjectKind::Tree, &raw)
            .map_err(|source| TreeFault::Collision { id, source })?;
        if actual != id.0 {
            return Err(TreeFault::OtherId { id, actual }.into());
        }
        let listed = parse(id, place, &raw)?;
        self.count(listed.len())?;
        Ok(listed.into_iter())
    }

    /// Takes over what `known` has below a directory.
    fn take(&mut self, known: &Tree, directory: &RelPath) -> Result<(), TreeFault> {
        fn copy<V: Copy>(
            all: &BTreeMap<RelPath, V>,
            (from, to): (&str, &str),
            into: &mut Vec<(RelPath, V)>,
        ) -> usize {
            let before = into.len();
            let below = all.range::<str, _>((Bound::Excluded(from), Bound::Excluded(to)));
            into.extend(below.map(|(path, value)| (path.clone(), *value)));
            into.len() - before
        }
        // `0` is what comes after `/`.
        let (from, to) = (format!("{directory}/"), format!("{directory}0"));
        let range = (from.as_str(), to.as_str());
        let entries = copy(&known.files, range, &mut self.files)
            + copy(&known.directories, range, &mut self.directories)
            + copy(&known.gitlinks, range, &mut self.gitlinks);
        self.count(entries)
    }

    fn count(&mut self, entries: usize) -> Result<(), TreeFault> {
        self.entries += entries as u64;
        let limit = self.bounds.entries;
        (self.entries <= limit)
            .then_some(())
            .ok_or(TreeFault::TooLarge { limit })
    }
}
