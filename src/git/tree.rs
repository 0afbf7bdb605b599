//! Tree objects, and the whole tree of a commit proven from its root id.
//!
//! There is one way to a [`Tree`]: [`Tree::walk`] reads raw tree objects by id, hashes each, and checks every entry.
//! A route that has only a listing (the REST API) first writes the tree objects that the listing stands for, by
//! [`encode`], and then comes the same way: a lying listing yields other ids and so a missing object.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::id::{Collision, Kind, Oid};
use super::mode::{EntryMode, FileMode};
use super::path::{self, Place, RelPath};
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
        let (mut files, mut directories, mut gitlinks) = (Vec::new(), Vec::new(), Vec::new());
        let mut entries = 0;
        let mut open = |place: Option<&RelPath>, id| -> Result<_, WalkError<E>> {
            let raw = read(id).map_err(WalkError::Read)?;
            let actual =
                Oid::of(Kind::Tree, &raw).map_err(|source| Fault::Collision { id, source })?;
            if actual != id.0 {
                return Err(Fault::OtherId { id, actual }.into());
            }
            let listed = parse(id, place, &raw)?;
            entries += listed.len() as u64;
            if entries > bounds.entries {
                return Err(Fault::TooLarge {
                    limit: bounds.entries,
                }
                .into());
            }
            Ok(listed.into_iter())
        };
        // Depth first in git's order is the order of whole paths: the maps are made of what is sorted already.
        let mut opened = vec![open(None, root)?];
        while let Some(listed) = opened.last_mut() {
            match listed.next() {
                None => {
                    opened.pop();
                }
                Some((path, EntryMode::File(mode), id)) => {
                    let id = BlobId(id);
                    files.push((path, File { mode, id }));
                }
                Some((path, EntryMode::Tree, id)) => {
                    opened.push(open(Some(&path), TreeId(id))?);
                    directories.push((path, TreeId(id)));
                }
                Some((path, EntryMode::Gitlink, id)) => gitlinks.push((path, id)),
            }
        }
        Ok(Self {
            root,
            files: files.into_iter().collect(),
            directories: directories.into_iter().collect(),
            gitlinks: gitlinks.into_iter().collect(),
        })
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
        if !self.has_case_collision() {
            return Vec::new();
        }
        let mut seen: BTreeMap<String, &RelPath> = BTreeMap::new();
        self.paths()
            .filter_map(|path| {
                let first = *seen.entry(path::folded(path.as_str())).or_insert(path);
                (first != path).then(|| (first.clone(), path.clone()))
            })
            .collect()
    }

    /// Whether there is a pair: then some directory has two names that are one, of which one at least is not written
    /// as it is folded. Few names are not.
    fn has_case_collision(&self) -> bool {
        let is_folded = |c: u8| c.is_ascii() && !c.is_ascii_uppercase();
        let mut seen = HashSet::new();
        self.paths().any(|path| {
            let name = path.name();
            if name.bytes().all(is_folded) {
                return false;
            }
            let folded = match path.parent_str() {
                None => path::folded(name),
                Some(directory) => format!("{directory}/{}", path::folded(name)),
            };
            let is_other = folded != path.as_str() && self.has(&folded);
            is_other || !seen.insert(folded)
        })
    }

    fn paths(&self) -> impl Iterator<Item = &RelPath> {
        let files = self.files.keys();
        files
            .chain(self.directories.keys())
            .chain(self.gitlinks.keys())
    }

    fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
            || self.directories.contains_key(path)
            || self.gitlinks.contains_key(path)
    }
}

/// Encodes entries as the raw tree object git would write; they are sorted here.
#[must_use]
pub fn encode(mut entries: Vec<Entry>) -> Vec<u8> {
    entries.sort_by(|a, b| order((&a.name, a.mode), (&b.name, b.mode)));
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
fn order((a, a_mode): (&[u8], EntryMode), (b, b_mode): (&[u8], EntryMode)) -> Ordering {
    let slash = |mode| (mode == EntryMode::Tree).then_some(&b'/');
    let same = a.len().min(b.len());
    let rest_of_b = b[same..].iter().chain(slash(b_mode));
    a[..same]
        .cmp(&b[..same])
        .then_with(|| a[same..].iter().chain(slash(a_mode)).cmp(rest_of_b))
}

type Listed = (RelPath, EntryMode, Oid);

fn parse(id: TreeId, parent: Option<&RelPath>, raw: &[u8]) -> Result<Vec<Listed>, Fault> {
    let mut listed: Vec<Listed> = Vec::new();
    let mut place = Place::of(parent);
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
        let path = place
            .join(name)
            .and_then(|path| path::check_leaf(&path, mode).map(|()| path))
            .map_err(|fault| Fault::Path {
                path: shown(),
                fault,
            })?;
        let object = Oid::from_bytes(*object);
        if object == Oid::NULL {
            return Err(Fault::NullId { path: shown() });
        }
        let is_sorted = follows(&listed, name, mode);
        if has_name(&listed, name, mode, is_sorted) {
            return Err(Fault::Duplicate { path: shown() });
        }
        if !is_sorted {
            return Err(Fault::Unsorted { id });
        }
        listed.push((path, mode, object));
    }
    check_normal_forms(&listed)?;
    Ok(listed)
}

/// Whether an entry comes after all that are `listed`, which are sorted.
fn follows(listed: &[Listed], name: &[u8], mode: EntryMode) -> bool {
    listed
        .last()
        .is_none_or(|last| order(key(last), (name, mode)) == Ordering::Less)
}

/// Whether one of `listed`, which are sorted, has the name. The next in order can only be the directory of a file's name.
fn has_name(listed: &[Listed], name: &[u8], mode: EntryMode, is_sorted: bool) -> bool {
    if !is_sorted {
        return listed.iter().any(|known| key(known).0 == name);
    }
    let file = (name, EntryMode::File(FileMode::Regular));
    mode == EntryMode::Tree
        && listed
            .binary_search_by(|known| order(key(known), file))
            .is_ok()
}

fn key((path, mode, _): &Listed) -> (&[u8], EntryMode) {
    (path.name().as_bytes(), *mode)
}

fn check_normal_forms(listed: &[Listed]) -> Result<(), Fault> {
    if listed.iter().all(|(path, ..)| path.as_str().is_ascii()) {
        // Each name is its own normal form, and none is there twice.
        return Ok(());
    }
    let mut seen = HashMap::new();
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
