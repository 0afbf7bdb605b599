//! Tree objects, and the whole tree of a commit proven from its root id.
//!
//! There is one way to a [`Tree`]: [`Tree::walk`] reads raw tree objects by id, hashes each, and checks every entry. What
//! it has read once, as a [`KnownTree`] says, it need not read again: an id stands for everything below it.
//! A route that has only a listing (the REST API) first writes the tree objects that the listing describes, by
//! [`encode`], and is then walked likewise: a wrong listing yields other ids and so a missing object.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::id::{Collision, Oid};
use super::mode::FileMode;
use super::path::{self, RelPath};
use super::{BlobId, TreeId};
use crate::exit::Exit;
use crate::lookup::AscendingLookup;
use crate::text;

mod object;
mod walk;

pub use object::{TreeEntry, encode};

/// A file or symlink of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct File {
    /// What it becomes on disk.
    pub mode: FileMode,
    /// Its content.
    pub id: BlobId,
}

/// The whole tree of a commit, every object recomputed from the root and every name checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: TreeId,
    files: Arc<BTreeMap<RelPath, File>>,
    directories: Arc<BTreeMap<RelPath, TreeId>>,
    gitlinks: BTreeMap<RelPath, Oid>,
}

/// What is known of a tree that was read before. A directory of another tree that has the same object has the same files.
#[derive(Debug, Clone, Copy)]
pub struct KnownTree<'a> {
    /// Its files and symlinks.
    pub files: &'a BTreeMap<RelPath, File>,
    /// Directories of which everything below is in `files` and here.
    pub directories: &'a BTreeMap<RelPath, TreeId>,
}

/// How large a tree may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most entries (files, directories, submodules) a tree may have.
    pub entries: u64,
}

/// Why a tree is refused. `exit` gives each one its exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeFault {
    /// Bytes that hash to another id than the requested one.
    #[error("tree {id} hashes to {actual}")]
    OtherId {
        /// The requested id.
        id: TreeId,
        /// The id it hashes to.
        actual: Oid,
    },
    /// Part of a collision attack.
    #[error("tree {id}: {source}")]
    Collision {
        /// The requested id.
        id: TreeId,
        /// What was found.
        source: Collision,
    },
    /// Bytes that are not a tree.
    #[error("tree {id} is not one that git could have written")]
    Malformed {
        /// Its id.
        id: TreeId,
    },
    /// Entries out of order.
    #[error("tree {id} is not sorted")]
    Unsorted {
        /// Its id.
        id: TreeId,
    },
    /// Two entries of one name, also where one is a directory.
    #[error("`{}` is there twice", text::name(.path))]
    Duplicate {
        /// Where.
        path: String,
    },
    /// Two names that normalise to the same one.
    #[error("{} are the same name in Unicode", text::twins(.path, .other))]
    SameName {
        /// One of them.
        path: String,
        /// The other.
        other: String,
    },
    /// A name that must not be written.
    #[error("`{}` {fault}", text::name(.path))]
    Path {
        /// The path, lossily decoded.
        path: String,
        /// What is wrong with it.
        fault: path::PathFault,
    },
    /// A mode that git does not use or that must not be written.
    #[error("`{}` has the mode `{}`", text::name(.path), text::name(.mode))]
    Mode {
        /// The path, lossily decoded.
        path: String,
        /// The mode as written there.
        mode: String,
    },
    /// The id of all zeros.
    #[error("`{}` has the null id", text::name(.path))]
    NullId {
        /// Where.
        path: String,
    },
    /// More entries than allowed.
    #[error("the tree has more than {limit} entries")]
    TooLarge {
        /// The limit that was passed.
        limit: u64,
    },
}

impl TreeFault {
    /// The exit code of a run that it ends.
    ///
    /// Bytes that cannot be the tree are the remote's fault; a tree that git could store, the commit's.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::OtherId { .. }
            | Self::Collision { .. }
            | Self::Malformed { .. }
            | Self::Unsorted { .. } => Exit::Verification,
            Self::Duplicate { .. }
            | Self::SameName { .. }
            | Self::Path { .. }
            | Self::Mode { .. }
            | Self::NullId { .. }
            | Self::TooLarge { .. } => Exit::UnsafeTree,
        }
    }
}

/// A tree could not be walked.
#[derive(Debug)]
pub enum WalkError<E> {
    /// It was read, and is refused.
    Fault(TreeFault),
    /// It could not be read.
    Read(E),
}

impl<E> From<TreeFault> for WalkError<E> {
    fn from(fault: TreeFault) -> Self {
        Self::Fault(fault)
    }
}

impl Tree {
    /// The id everything was proven from.
    #[must_use]
    pub fn root(&self) -> TreeId {
        self.root
    }

    /// Files and symlinks by path.
    #[must_use]
    pub fn files(&self) -> &Arc<BTreeMap<RelPath, File>> {
        &self.files
    }

    /// Directories by path, the root left out.
    #[must_use]
    pub fn directories(&self) -> &BTreeMap<RelPath, TreeId> {
        &self.directories
    }

    /// The directories below which the tree has what `files` has, and nothing else.
    #[must_use]
    pub fn directories_as_in(
        &self,
        files: &Arc<BTreeMap<RelPath, File>>,
    ) -> Arc<BTreeMap<RelPath, TreeId>> {
        if Arc::ptr_eq(&self.files, files) && self.gitlinks.is_empty() {
            return Arc::clone(&self.directories);
        }
        let mut there = AscendingLookup::new(&**files);
        let others = { self.files.iter() }.filter(|(path, file)| there.get(path) != Some(file));
        let mut here = AscendingLookup::new(&*self.files);
        let more = files.keys().filter(|path| here.get(path).is_none());
        let others = others.map(|(path, _)| path).chain(more);
        let above = RelPath::above(others.chain(self.gitlinks.keys()));
        let same = self.directories.iter();
        let same = same.filter(|(path, _)| !above.contains(*path));
        Arc::new(same.map(|(path, id)| (path.clone(), *id)).collect())
    }

    /// Submodules by path, with the commit each points to.
    #[must_use]
    pub fn gitlinks(&self) -> &BTreeMap<RelPath, Oid> {
        &self.gitlinks
    }

    /// Pairs of paths that are one on a file system that ignores case, in their order.
    #[must_use]
    pub fn case_collisions(&self) -> Vec<(RelPath, RelPath)> {
        // Of two paths of one key, at least one is not the key itself. Few are not.
        let mut first: HashMap<Cow<'_, str>, Option<&RelPath>> = self
            .paths()
            .map(|path| (path, path::folded(path.as_str())))
            .filter(|(path, key)| key != path.as_str())
            .map(|(_, key)| (key, None))
            .collect();
        if first.is_empty() {
            return Vec::new();
        }
        self.paths()
            .filter_map(|path| {
                let first = first.get_mut(&path::folded(path.as_str()))?;
                let first = *first.get_or_insert(path);
                (first != path).then(|| (first.clone(), path.clone()))
            })
            .collect()
    }

    fn paths(&self) -> impl Iterator<Item = &RelPath> {
        let files = self.files.keys();
        files
            .chain(self.directories.keys())
            .chain(self.gitlinks.keys())
    }
}

#[cfg(test)]
mod tests;
