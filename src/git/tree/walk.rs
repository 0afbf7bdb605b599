//! Reads a tree from the id of its root.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::object::{Listed, parse};
use super::{Bounds, File, KnownTree, Tree, TreeFault, WalkError};
use crate::git::id::{ObjectKind, Oid};
use crate::git::mode::EntryMode;
use crate::git::path::RelPath;
use crate::git::{BlobId, TreeId};

impl Tree {
    /// Reads the tree below `root` through `read`, which yields raw tree objects by id.
    ///
    /// Every object is hashed, every entry checked; the first fault refuses the whole tree. Directories that are `known` are
    /// not read.
    pub fn walk<E>(
        root: TreeId,
        bounds: Bounds,
        known: Option<KnownTree<'_>>,
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
                    if !walk.take_known(known, &path, id)? {
                        opened.push(walk.open(Some(&path), id)?);
                        walk.directories.push((path, id));
                    }
                }
                Some((path, EntryMode::Gitlink, id)) => walk.gitlinks.push((path, id)),
            }
        }
        Ok(Self {
            root,
            files: Arc::new(walk.files.into_iter().collect()),
            directories: Arc::new(walk.directories.into_iter().collect()),
            gitlinks: walk.gitlinks.into_iter().collect(),
        })
    }
}

/// The entries whose paths begin like this.
fn below<V: Copy>(map: &BTreeMap<RelPath, V>, inside: &str) -> impl Iterator<Item = (RelPath, V)> {
    let after = (Bound::Excluded(inside), Bound::Unbounded);
    let entries = map.range::<str, _>(after);
    let entries = entries.take_while(move |(path, _)| path.as_str().starts_with(inside));
    entries.map(|(path, value)| (path.clone(), *value))
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

    /// Takes a directory and everything below it from a known tree, with the paths that it has there; `false` if that does not
    /// have it.
    fn take_known(
        &mut self,
        known: Option<KnownTree<'_>>,
        path: &RelPath,
        id: TreeId,
    ) -> Result<bool, TreeFault> {
        let Some(known) = known else {
            return Ok(false);
        };
        let here = known.directories.get_key_value(path);
        let Some((path, _)) = here.filter(|(_, known)| **known == id) else {
            return Ok(false);
        };
        let before = self.files.len() + self.directories.len();
        self.directories.push((path.clone(), id));
        let inside = format!("{path}/");
        self.files.extend(below(known.files, &inside));
        self.directories.extend(below(known.directories, &inside));
        // The directory itself is an entry of the one above, and counted.
        self.count(self.files.len() + self.directories.len() - before - 1)?;
        Ok(true)
    }

    fn count(&mut self, entries: usize) -> Result<(), TreeFault> {
        self.entries += entries as u64;
        let limit = self.bounds.entries;
        (self.entries <= limit)
            .then_some(())
            .ok_or(TreeFault::TooLarge { limit })
    }
}
