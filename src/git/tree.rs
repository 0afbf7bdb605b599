//! Tree objects, and the whole tree of a commit proven from its root id.
//!
//! There is one way to a [`Tree`]: [`Tree::walk`] reads raw tree objects by id, hashes each, and checks every entry.
//! A route that has only a listing (the REST API) first writes the tree objects that the listing stands for, by
//! [`encode`], and then comes the same way: a lying listing yields other ids and so a missing object.

use std::collections::{BTreeMap, HashSet};

use super::id::{Collision, Kind, Oid};
use super::mode::{EntryMode, FileMode};
use super::path::{self, RelPath};
use super::{BlobId, TreeId};

/// One entry of a tree object, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub mode: EntryMode,
    /// Its name, as bytes.
    pub name: Vec<u8>,
    /// The object it points to.
    pub id: Oid,
}

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
    files: BTreeMap<RelPath, File>,
    directories: BTreeMap<RelPath, TreeId>,
    gitlinks: BTreeMap<RelPath, Oid>,
}

/// How large a tree may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most entries (files, directories, submodules) a tree may have.
    pub entries: u64,
}

/// Why a tree is refused. Which exit code each one has is told by `exit`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Bytes that hash to another id than the one they were asked by.
    #[error("tree {id} hashes to {actual}")]
    OtherId {
        /// The id it was asked by.
        id: TreeId,
        /// The id it hashes to.
        actual: Oid,
    },
    /// Part of a collision attack.
    #[error("tree {id}: {source}")]
    Collision {
        /// The id it was asked by.
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
    #[error("`{}` is there twice", .path.escape_debug())]
    Duplicate {
        /// Where.
        path: String,
    },
    /// Two names that normalise to the same one.
    #[error("`{}` and `{}` are the same name in Unicode", .path.escape_debug(), .other.escape_debug())]
    SameName {
        /// One of them.
        path: String,
        /// The other.
        other: String,
    },
    /// A name that must not be written.
    #[error("`{}` {fault}", .path.escape_debug())]
    Path {
        /// The path, lossily decoded.
        path: String,
        /// What is wrong with it.
        fault: path::Fault,
    },
    /// A mode that git does not use or that must not be written.
    #[error("`{}` has the mode `{}`", .path.escape_debug(), .mode.escape_debug())]
    Mode {
        /// The path, lossily decoded.
        path: String,
        /// The mode as it stands there.
        mode: String,
    },
    /// The id of all zeros.
    #[error("`{}` has the null id", .path.escape_debug())]
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

/// A tree could not be walked.
#[derive(Debug)]
pub enum WalkError<E> {
    /// It was read, and is refused.
    Fault(Fault),
    /// It could not be read.
    Read(E),
}

impl<E> From<Fault> for WalkError<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Tree {
    /// Reads the tree below `root` through `read`, which yields raw tree objects by id.
    ///
    /// Every object is hashed, every entry checked; the first fault refuses the whole tree.
    pub fn walk<E>(
        root: TreeId,
        bounds: Bounds,
        mut read: impl FnMut(TreeId) -> Result<Vec<u8>, E>,
    ) -> Result<Self, WalkError<E>> {
        let mut tree = Self {
            root,
            files: BTreeMap::new(),
            directories: BTreeMap::new(),
            gitlinks: BTreeMap::new(),
        };
        let mut entries = 0;
        let mut pending = vec![(None::<RelPath>, root)];
        while let Some((parent, id)) = pending.pop() {
            let raw = read(id).map_err(WalkError::Read)?;
            let actual =
                Oid::of(Kind::Tree, &raw).map_err(|source| Fault::Collision { id, source })?;
            if actual != id.0 {
                return Err(Fault::OtherId { id, actual }.into());
            }
            let listed = parse(id, parent.as_ref(), &raw)?;
            entries += listed.len() as u64;
            if entries > bounds.entries {
                return Err(Fault::TooLarge {
                    limit: bounds.entries,
                }
                .into());
            }
            for (path, mode, id) in listed {
                match mode {
                    EntryMode::File(mode) => {
                        tree.files.insert(
                            path,
                            File {
                                mode,
                                id: BlobId(id),
                            },
                        );
                    }
                    EntryMode::Tree => {
                        tree.directories.insert(path.clone(), TreeId(id));
                        pending.push((Some(path), TreeId(id)));
                    }
                    EntryMode::Gitlink => {
                        tree.gitlinks.insert(path, id);
                    }
                }
            }
        }
        Ok(tree)
    }

    /// The id everything was proven from.
    #[must_use]
    pub fn root(&self) -> TreeId {
        self.root
    }

    /// Files and symlinks by path.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<RelPath, File> {
        &self.files
    }

    /// Directories by path, the root left out.
    #[must_use]
    pub fn directories(&self) -> &BTreeMap<RelPath, TreeId> {
        &self.directories
    }

    /// Submodules by path, with the commit each points to.
    #[must_use]
    pub fn gitlinks(&self) -> &BTreeMap<RelPath, Oid> {
        &self.gitlinks
    }

    /// Pairs of paths that are one on a file system that ignores case, in their order.
    #[must_use]
    pub fn case_collisions(&self) -> Vec<(RelPath, RelPath)> {
        let mut seen: BTreeMap<String, &RelPath> = BTreeMap::new();
        let paths = self
            .files
            .keys()
            .chain(self.directories.keys())
            .chain(self.gitlinks.keys());
        paths
            .filter_map(|path| {
                let first = *seen.entry(path::folded(path.as_str())).or_insert(path);
                (first != path).then(|| (first.clone(), path.clone()))
            })
            .collect()
    }
}

/// Encodes entries as the raw tree object git would write; they are sorted here.
#[must_use]
pub fn encode(mut entries: Vec<Entry>) -> Vec<u8> {
    entries.sort_by(|a, b| sort_key(a).cmp(sort_key(b)));
    let mut raw = Vec::with_capacity(entries.len() * 40);
    for entry in &entries {
        raw.extend_from_slice(entry.mode.as_str().as_bytes());
        raw.push(b' ');
        raw.extend_from_slice(&entry.name);
        raw.push(0);
        raw.extend_from_slice(entry.id.as_bytes());
    }
    raw
}

/// Git compares a directory's name as if it ended in `/`.
fn sort_key(entry: &Entry) -> impl Iterator<Item = u8> + '_ {
    let slash = (entry.mode == EntryMode::Tree).then_some(b'/');
    entry.name.iter().copied().chain(slash)
}

fn parse(
    id: TreeId,
    parent: Option<&RelPath>,
    raw: &[u8],
) -> Result<Vec<(RelPath, EntryMode, Oid)>, Fault> {
    let mut listed = Vec::new();
    let mut names = HashSet::new();
    let mut previous: Option<Entry> = None;
    let mut rest = raw;
    while !rest.is_empty() {
        let malformed = || Fault::Malformed { id };
        let space = rest
            .iter()
            .position(|&byte| byte == b' ')
            .ok_or_else(malformed)?;
        let (octal, after) = (&rest[..space], &rest[space + 1..]);
        let nul = after
            .iter()
            .position(|&byte| byte == 0)
            .ok_or_else(malformed)?;
        let (name, after) = (&after[..nul], &after[nul + 1..]);
        let (object, after) = after.split_first_chunk::<20>().ok_or_else(malformed)?;
        rest = after;

        let shown = || shown(parent, name);
        let mode = EntryMode::parse(octal).ok_or_else(|| Fault::Mode {
            path: shown(),
            mode: String::from_utf8_lossy(octal).into_owned(),
        })?;
        let path = RelPath::join(parent, name)
            .and_then(|path| path::check_leaf(&path, mode).map(|()| path))
            .map_err(|fault| Fault::Path {
                path: shown(),
                fault,
            })?;
        let entry = Entry {
            mode,
            name: name.to_vec(),
            id: Oid::from_bytes(*object),
        };
        if entry.id == Oid::NULL {
            return Err(Fault::NullId { path: shown() });
        }
        if !names.insert(name.to_vec()) {
            return Err(Fault::Duplicate { path: shown() });
        }
        if previous.is_some_and(|previous| sort_key(&previous).ge(sort_key(&entry))) {
            return Err(Fault::Unsorted { id });
        }
        listed.push((path, mode, entry.id));
        previous = Some(entry);
    }
    check_normal_forms(&listed)?;
    Ok(listed)
}

fn check_normal_forms(listed: &[(RelPath, EntryMode, Oid)]) -> Result<(), Fault> {
    let mut seen = BTreeMap::new();
    for (path, ..) in listed {
        if let Some(other) = seen.insert(path::normalised(path.name()), path) {
            return Err(Fault::SameName {
                path: path.to_string(),
                other: other.to_string(),
            });
        }
    }
    Ok(())
}

fn shown(parent: Option<&RelPath>, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    parent.map_or_else(|| name.to_string(), |parent| format!("{parent}/{name}"))
}

#[cfg(test)]
mod tests;
