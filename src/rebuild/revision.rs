//! Whether a snapshot is exactly a commit. Then Nix is given the commit's id and time, so that `self.rev`,
//! `self.shortRev` and `self.lastModified` of the configuration are the commit's.
//!
//! The proof is the id of the snapshot's tree, computed as git does, against the tree of the commit in the object
//! store. Any difference makes another tree: a local edit, an unmanaged file or directory, an excluded file, a
//! submodule.
//!
//! Limits: a commit that is not in the store as a whole object, as with `trust.forge`, proves nothing.
#![expect(
    clippy::disallowed_methods,
    reason = "the snapshot is in our state directory and is written by path"
)]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::flake::HostFlake;
use super::snapshot::{Snapshot, set_time};
use crate::fs::{FileKind, Stat, Target};
use crate::git::id::ObjectKind;
use crate::git::tree::{TreeEntry, encode};
use crate::git::{BlobId, Commit, CommitId, EntryMode, File, FileMode, Oid, RelPath, TreeId};
use crate::nix::Layout;
use crate::objects;
use crate::scan::hash;
use crate::state::{Found, Index, StateDir};

/// The size limit of a commit object; real ones have a few hundred bytes.
const COMMIT_MAX: u64 = 16 << 20;

/// The commit that a snapshot is exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Revision {
    /// Its id.
    pub(super) commit: CommitId,
    /// When it was committed, in seconds since 1970: Nix's `lastModified`.
    pub(super) time: u64,
}

impl Revision {
    /// The parameters of a `path:` reference for Nix.
    pub(super) fn query(&self) -> String {
        format!("rev={}&lastModified={}", self.commit, self.time)
    }
}

/// A commit of the object store.
pub(super) fn stored(commit: CommitId, state: &StateDir) -> Option<Commit> {
    objects::commit(state.path(), commit, COMMIT_MAX)
}

/// What the comparison of a snapshot with a commit has shown.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// The commit, if the snapshot is exactly that.
    pub(super) revision: Option<Revision>,
    /// The files that were edited or deleted since they were written.
    pub(super) edited: Vec<RelPath>,
}

/// Compares a snapshot with a commit, and gives its files the time of the commit if it is exactly that: Nix up to 2.19
/// refuses a `lastModified` that is not the newest time of the files.
///
/// What cannot be read proves nothing. Paths that are written out are read in place by Nix, which knows no revision of
/// them.
pub(super) fn compare(
    flake: &HostFlake,
    snapshot: &Snapshot,
    commit: Option<&Commit>,
    state: &StateDir,
) -> Compared {
    if !matches!(flake.layout, Some(Layout::Own | Layout::Input { .. })) {
        return Compared::default();
    }
    let Ok((tree, files)) = list(&snapshot.path) else {
        return Compared::default();
    };
    let commit = commit.filter(|commit| commit.tree == tree);
    let revision = commit.and_then(|commit| given(&snapshot.path, commit));
    Compared {
        edited: match revision {
            Some(_) => Vec::new(),
            None => edited(&files, state),
        },
        revision,
    }
}

/// The revision of a directory, if that is exactly this commit, whose time it gets.
pub(super) fn of_tree(directory: &Path, commit: &Commit) -> Option<Revision> {
    let (tree, _) = list(directory).ok()?;
    (tree == commit.tree).then(|| given(directory, commit))?
}

/// Gives a directory the time of the commit that it is.
fn given(directory: &Path, commit: &Commit) -> Option<Revision> {
    let time = u64::try_from(commit.time).ok()?;
    set_times(directory, commit.time).ok()?;
    Some(Revision {
        commit: commit.id,
        time,
    })
}

/// The files of the index that are not in the snapshot as they were written.
fn edited(files: &BTreeMap<RelPath, File>, state: &StateDir) -> Vec<RelPath> {
    let index = Index::load(state).ok().and_then(Found::whole);
    let Some(index) = index else {
        return Vec::new();
    };
    let written = index.files.iter();
    let edited = written.filter(|(path, file)| files.get(*path) != Some(file));
    edited.map(|(path, _)| path.clone()).collect()
}

/// The tree in a directory, as git would name it, and its files.
fn list(root: &Path) -> io::Result<(TreeId, BTreeMap<RelPath, File>)> {
    let root = Target::open(root).map_err(io::Error::other)?;
    let mut files = BTreeMap::new();
    let tree = directory(&root, None, &mut files)?;
    Ok((tree, files))
}

/// `RelPath` bounds the depth.
fn directory(
    root: &Target,
    path: Option<&RelPath>,
    files: &mut BTreeMap<RelPath, File>,
) -> io::Result<TreeId> {
    let mut names = Vec::new();
    for name in root.list(path).map_err(io::Error::other)? {
        let path = RelPath::join(path, &name).map_err(io::Error::other)?;
        let stat = root.stat(&path).map_err(io::Error::other)?;
        let stat = stat.ok_or(io::ErrorKind::NotFound)?;
        let (mode, id) = match stat.kind {
            // Git has no empty directories: one makes a tree that no commit has.
            FileKind::Directory => (EntryMode::Tree, directory(root, Some(&path), files)?.0),
            FileKind::File | FileKind::Symlink => {
                let file = file(root, &path, &stat)?;
                files.insert(path, file);
                (EntryMode::File(file.mode), file.id.0)
            }
            FileKind::Special => return Err(io::ErrorKind::Unsupported.into()),
        };
        names.push((name, mode, id));
    }
    let entries = names.iter().map(|(name, mode, id)| TreeEntry {
        mode: u32::from_str_radix(mode.as_str(), 8).unwrap_or_default(),
        name,
        id: *id,
    });
    let tree = Oid::of(ObjectKind::Tree, &encode(entries.collect()));
    tree.map(TreeId).map_err(io::Error::other)
}

fn file(root: &Target, path: &RelPath, stat: &Stat) -> io::Result<File> {
    if stat.kind == FileKind::Symlink {
        let text = root.read_link(path).map_err(io::Error::other)?;
        let text = text.ok_or(io::ErrorKind::NotFound)?;
        return Ok(File {
            mode: FileMode::Symlink,
            id: hash(text.len() as u64, &mut text.as_slice())?,
        });
    }
    let opened = root.open_file(path).map_err(io::Error::other)?;
    let (mut content, _) = opened.ok_or(io::ErrorKind::NotFound)?;
    let id: BlobId = hash(stat.size, &mut content)?;
    let mode = if stat.mode & 0o100 == 0 {
        FileMode::Regular
    } else {
        FileMode::Executable
    };
    Ok(File { mode, id })
}

/// Gives everything in a directory, and the directory, this time in seconds.
fn set_times(root: &Path, time: i64) -> io::Result<()> {
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            set_times(&entry.path(), time)?;
        } else {
            set_time(&entry.path(), time.saturating_mul(1_000_000_000))?;
        }
    }
    set_time(root, time.saturating_mul(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn tree(root: &Path) -> String {
        list(root).unwrap().0.to_string()
    }

    /// The id is that of `git write-tree`.
    #[test]
    fn a_directory_has_the_tree_id_that_git_gives_it() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for (name, text) in [("run", "x"), ("d/plain", "y"), ("d.x/z", "z")] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), text).unwrap();
        }
        fs::set_permissions(path("run"), fs::Permissions::from_mode(0o555)).unwrap();
        symlink("run", path("link")).unwrap();
        let id = "7393bf38cf7f9b1032d9bc2472f913f990e6af70";
        assert_eq!(tree(root.path()), id);
        // An empty directory is in no commit.
        fs::create_dir(path("empty")).unwrap();
        assert_ne!(tree(root.path()), id);
    }

    #[test]
    fn every_entry_gets_the_time_of_the_commit() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("d/file"), "x").unwrap();
        symlink("file", root.path().join("d/link")).unwrap();
        set_times(root.path(), 1_700_000_000).unwrap();
        for name in ["", "d", "d/file", "d/link"] {
            let found = fs::symlink_metadata(root.path().join(name)).unwrap();
            assert_eq!(
                (found.mtime(), found.mtime_nsec()),
                (1_700_000_000, 0),
                "{name}"
            );
        }
    }
}
