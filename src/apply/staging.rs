//! The staging directory inside the target, and what its file system can do.
//!
//! It is inside because that is the one place surely on the same file system *and* the same mount: a rename between
//! two bind mounts of one file system fails, and systemd makes every writable path of a unit a bind mount.
//!
//! Names in it: `<n>` for the new file of change n, where the displaced one is found after an exchange; `o<n>` for a
//! displaced file without an exchange; `new` for directories that are [staged whole](super::new_directories); `d<n>` for
//! a new directory that is not; `k<n>` for a foreign file that could not be moved back.

use std::ffi::{OsStr, OsString};

use rustix::io::Errno;

use super::new_directories::{self, NEW, NewDirectory, holds};
use super::{Change, Content, Error, Transaction};
use crate::fs::{Directory, Failure, FileKind, Stat, Target, Unsynced};
use crate::git::path::RESERVED_PREFIX;
use crate::git::{FileMode, RelPath};
use crate::scan::hash;

/// The staging directory, open.
#[derive(Debug)]
pub(super) struct Staging {
    directory: Directory,
    can: Can,
}

/// What the file system can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Can {
    /// `RENAME_EXCHANGE`.
    pub(super) exchange: bool,
    /// `RENAME_NOREPLACE`.
    pub(super) rename_new: bool,
    /// Whether `a` and `A` are two names.
    pub(super) tell_case: bool,
}

/// Its name in the target. No tree may have it ([`RESERVED_PREFIX`]).
fn name() -> String {
    format!("{RESERVED_PREFIX}.tmp")
}

pub(super) fn file_name(number: usize) -> String {
    number.to_string()
}

pub(super) fn displaced_name(number: usize) -> String {
    format!("o{number}")
}

pub(super) fn directory_name(number: usize) -> String {
    format!("d{number}")
}

impl Staging {
    /// Opens or creates the staging directory, and probes its file system.
    pub(super) fn open(target: &Target) -> Result<Self, Error> {
        let Some(root) = target.directory(None)? else {
            return Err(Error::TargetReplaced {
                path: target.path().to_owned(),
            });
        };
        let directory = match find(&root)? {
            Some(directory) => directory,
            None => root.make_child(name(), 0o700)?,
        };
        let can = probe(&directory)?.ok_or_else(|| Error::UnsupportedFileSystem {
            path: target.path().to_owned(),
        })?;
        Ok(Self { directory, can })
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn can(&self) -> Can {
        self.can
    }

    /// The new directories that were not moved to their places yet. One that is not empty is not new.
    pub(super) fn spare_directories(&self) -> Result<Vec<OsString>, Failure> {
        let mut spare = Vec::new();
        for entry in self.directory.list()? {
            let ours = entry.to_str().is_some_and(|name| name.starts_with('d'));
            if ours
                && self.kind(&entry)? == Some(FileKind::Directory)
                && let Some(directory) = self.directory.child(&entry)?
                && directory.list()?.is_empty()
            {
                spare.push(entry);
            }
        }
        Ok(spare)
    }

    /// The files that changes displaced, or that are not put in place yet: the number of each change, and the name.
    pub(super) fn files(&self) -> Result<Vec<(usize, String)>, Failure> {
        let names = self.directory.list()?;
        let mut files: Vec<_> = names
            .into_iter()
            .filter_map(|name| {
                let name = name.into_string().ok()?;
                let number = name.strip_prefix('o').unwrap_or(&name).parse().ok()?;
                Some((number, name))
            })
            .collect();
        files.sort();
        Ok(files)
    }

    /// Frees the name of the new file of a change. A file there is kept elsewhere already; anything else was displaced
    /// from the target, and is renamed.
    pub(super) fn clear(&self, number: usize) -> Result<(), Failure> {
        let name = file_name(number);
        match self.kind(name.as_ref())? {
            None => Ok(()),
            Some(FileKind::File | FileKind::Symlink) => self.directory.unlink(&name),
            Some(FileKind::Directory | FileKind::Special) => self
                .directory
                .rename(&name, &self.directory, format!("k{number}"))
                .map_err(|errno| self.directory.failure("set aside", &name, errno)),
        }
    }

    fn kind(&self, name: &OsStr) -> Result<Option<FileKind>, Failure> {
        Ok(self.directory.stat(name)?.map(|stat| stat.kind))
    }
}

/// The staging directory of a run that died, if there is one.
pub(super) fn find(root: &Directory) -> Result<Option<Directory>, Error> {
    let blocked = || Error::StagingBlocked {
        path: root.path().join(name()),
    };
    let Some(stat) = root.stat(name())? else {
        return Ok(None);
    };
    let ours = stat.kind == FileKind::Directory
        && stat.uid == rustix::process::geteuid().as_raw()
        && stat.mode & 0o777 == 0o700;
    if !ours {
        return Err(blocked());
    }
    root.child(name())?.ok_or_else(blocked).map(Some)
}

/// Removes the staging directory. The files in it are new content that is not needed any more, or old content that is
/// kept elsewhere. A directory that is not empty, or a socket, is neither, and stays.
pub(super) fn remove(target: &Target) -> Result<(), Error> {
    let Some(root) = target.directory(None)? else {
        return Ok(());
    };
    let Some(directory) = find(&root)? else {
        return Ok(());
    };
    // Only what is new is ever in it: what it has of the target was moved there as a whole.
    directory.remove_all(NEW)?;
    for entry in directory.list()? {
        match directory.stat(&entry)?.map(|stat| stat.kind) {
            Some(FileKind::Directory) => {
                directory.remove_empty(&entry)?;
            }
            Some(FileKind::File | FileKind::Symlink) => directory.unlink(&entry)?,
            Some(FileKind::Special) | None => {}
        }
    }
    if root.remove_empty(name())? {
        Ok(())
    } else {
        Err(Error::StagingBlocked {
            path: directory.path().to_owned(),
        })
    }
}

/// Probes what the file system supports; `None` if it cannot replace a file without losing an edit.
fn probe(directory: &Directory) -> Result<Option<Can>, Failure> {
    let names = ["probe-a", "probe-b", "probe-c", "probe-d"];
    for name in names {
        directory.unlink(name)?;
    }
    directory.create(names[0])?;
    directory.create(names[1])?;
    let tell_case = directory.stat("PROBE-A")?.is_none();
    let attempt = |result: Result<(), Errno>| match result {
        Ok(()) => Ok(true),
        // INVAL: the file system lacks the flag. NOSYS: the kernel lacks the call. PERM, OPNOTSUPP,
        // MLINK: no hard links.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::MLINK) => {
            Ok(false)
        }
        Err(errno) => Err(directory.failure("try out", names[0], errno)),
    };
    let exchange = attempt(directory.exchange(names[0], directory, names[1]))?;
    let rename_new = attempt(directory.rename_new(names[0], directory, names[2]))?;
    let usable =
        (exchange && rename_new) || attempt(directory.link(names[1], directory, names[3]))?;
    for name in names {
        directory.unlink(name)?;
    }
    Ok(usable.then_some(Can {
        exchange,
        rename_new,
        tell_case,
    }))
}

/// The content does not hash to its id.
///
/// Each [`Content`] of this program checks that itself. It is checked again because what is written here is executed by
/// root, and the hash after the update would report it as a late edit. It costs less than 1 % of a sync.
#[derive(Debug, thiserror::Error)]
#[error("what the store returned has another id")]
struct OtherId;

/// Writes the new file of a change, if there is one; not durable yet.
pub(super) fn write(
    staging: &Staging,
    number: usize,
    change: &Change,
    content: &dyn Content,
) -> Result<(), Error> {
    write_file(staging.directory(), &file_name(number), change, content).map(|_| ())
}

/// The same to a place in the staging directory. Returns the `lstat` of a regular file.
pub(super) fn write_file(
    directory: &Directory,
    name: &str,
    change: &Change,
    content: &dyn Content,
) -> Result<Option<Stat>, Error> {
    let Some(after) = change.after else {
        return Ok(None);
    };
    let failed = |source| Error::Content {
        path: change.path.clone(),
        id: after.id,
        source,
    };
    let bytes = content.blob(after.id).map_err(failed)?;
    let id = hash(bytes.len() as u64, &mut bytes.as_slice());
    if !id.is_ok_and(|id| id == after.id) {
        return Err(failed(OtherId.into()));
    }
    match after.mode.permissions() {
        None => {
            directory.symlink(&bytes, name)?;
            Ok(None)
        }
        Some(mode) => {
            let mut file = directory.create_with(name, mode)?;
            file.write(&bytes)?;
            Ok(Some(file.finish(mode)?))
        }
    }
}

/// Makes the missing directories here that are not staged whole, so that a full disk cannot stop the update after the
/// commit point.
pub(super) fn directories(
    staging: &Staging,
    new: &[NewDirectory],
    target: &Target,
    transaction: &Transaction,
) -> Result<(), Error> {
    let put = transaction.changes.iter().enumerate();
    let put = put.filter(|(number, change)| change.after.is_some() && !holds(new, *number));
    let mut number = 0;
    for directory in RelPath::above(put.map(|(_, change)| &change.path)) {
        if target.directory(Some(&directory))?.is_none() {
            staging
                .directory()
                .make_directory(directory_name(number), 0o755)?;
            number += 1;
        }
    }
    Ok(())
}

/// The files to flush, and their directory, with which symlinks become durable.
pub(super) fn unsynced<'a>(
    staging: &'a Staging,
    new: &'a [NewDirectory],
    transaction: &'a Transaction,
) -> impl Iterator<Item = Unsynced<'a>> {
    let directory = staging.directory();
    let is_file = |change: &Change| {
        change
            .after
            .is_some_and(|file| file.mode != FileMode::Symlink)
    };
    let numbers = transaction.changes.iter().enumerate();
    numbers
        .filter(move |(number, change)| is_file(change) && !holds(new, *number))
        .map(|(number, _)| Unsynced::File(directory, file_name(number)))
        .chain(new_directories::unsynced(staging, new, transaction))
        .chain([Unsynced::Names(directory)])
}

/// Flushes the new file of a change; a symlink is durable with its directory.
pub(super) fn sync_one(directory: &Directory, number: usize, change: &Change) -> Result<(), Error> {
    match change.after {
        Some(file) if file.mode != FileMode::Symlink => Ok(directory.sync_file(file_name(number))?),
        _ => Ok(()),
    }
}
