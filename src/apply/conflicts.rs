//! Late edits, kept in `conflicts/<id>` under the path they had.
//!
//! They are never removed: each may be the only copy.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::PathBuf;

use rustix::io::Errno;

use super::{Error, TxId, inspect};
use crate::fs::{self, Directory, Durability, Failure, FileKind};
use crate::git::RelPath;
use crate::git::path::RESERVED_PREFIX;
use crate::state::{self, CONFLICTS, StateDir};

/// The directories with late edits, in the order of their updates.
pub fn kept(state: &StateDir) -> Result<Vec<PathBuf>, state::Error> {
    let Some(directory) = state.directory().child(CONFLICTS)? else {
        return Ok(Vec::new());
    };
    let ids = super::undo::numbers(state, CONFLICTS)?;
    Ok(ids
        .iter()
        .map(|id| directory.path().join(id.to_string()))
        .collect())
}

/// Copies the file or symlink `name` of `source`, durable when this returns; returns where to.
///
/// Called again for the same content (recovery does), it finds its copy and makes no second one.
pub(super) fn keep(
    state: &StateDir,
    id: TxId,
    path: &RelPath,
    source: &Directory,
    name: &str,
) -> Result<PathBuf, Error> {
    let conflicts = state.make(CONFLICTS)?;
    let own = make(&conflicts, &id.to_string())?;
    let mut place = 1;
    loop {
        // A second edit of the same path, or of a path below it, gets a separate directory, whose name no path can
        // have.
        let top = if place == 1 {
            None
        } else {
            Some(make(&own, &format!("{RESERVED_PREFIX}.{place}"))?)
        };
        if let Some(kept) = attempt(top.as_ref().unwrap_or(&own), path, source, name)? {
            return Ok(kept);
        }
        place += 1;
    }
}

/// Flushes late edits of a run that died, which may not have flushed them.
pub(super) fn make_durable(state: &StateDir, id: TxId) -> Result<(), Error> {
    fn inside(directory: &Directory) -> Result<(), Failure> {
        for name in directory.list()? {
            if let Some(child) = subdirectory(directory, &name)? {
                inside(&child)?;
            }
        }
        directory.sync()
    }
    if let Some(conflicts) = state.directory().child(CONFLICTS)?
        && let Some(own) = conflicts.child(id.to_string())?
    {
        inside(&own)?;
        // The directory of them all is durable with the index.
        conflicts.sync()?;
    }
    Ok(())
}

fn subdirectory(directory: &Directory, name: &OsStr) -> Result<Option<Directory>, Failure> {
    match directory.stat(name)?.map(|stat| stat.kind) {
        Some(FileKind::Directory) => directory.child(name),
        _ => Ok(None),
    }
}

/// Copies below `top`; `None` where something else is there already.
fn attempt(
    top: &Directory,
    path: &RelPath,
    source: &Directory,
    name: &str,
) -> Result<Option<PathBuf>, Error> {
    let mut above: Option<Directory> = None;
    for directory in path.ancestors() {
        let here = above.as_ref().unwrap_or(top);
        match make(here, directory.name()) {
            Ok(child) => above = Some(child),
            Err(failure) if failure.errno() == Some(Errno::NOTDIR) => return Ok(None),
            Err(failure) => return Err(failure.into()),
        }
    }
    let directory = above.as_ref().unwrap_or(top);
    let kept = directory.path().join(path.name());
    if directory.stat(path.name())?.is_some() {
        let same = same(directory, path.name(), source, name)?;
        return Ok(same.then_some(kept));
    }
    let temporary = format!("{RESERVED_PREFIX}.tmp");
    fs::replace(
        directory,
        path.name(),
        &temporary,
        // The copy is durable already, or a symlink.
        Durability::Name,
        |directory, temporary| copy(source, name, directory, temporary),
    )?;
    Ok(Some(kept))
}

/// Copies a file or symlink to a new name. The file may be written to meanwhile; what is copied is what was read.
fn copy(source: &Directory, name: &str, to: &Directory, to_name: &str) -> Result<(), Failure> {
    if source
        .stat(name)?
        .is_some_and(|stat| stat.kind == FileKind::Symlink)
    {
        let text = source.read(name)?.unwrap_or_default();
        return to.symlink(&text, to_name);
    }
    let Some((mut file, _)) = source.open_file(name)? else {
        return Err(source.failure("open", name, Errno::NOENT));
    };
    let mut copy = to.create(to_name)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => copy.write(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Failure::from_io("read", &source.path().join(name), error));
            }
        }
    }
    copy.sync()
}

fn same(
    directory: &Directory,
    name: &str,
    other: &Directory,
    other_name: &str,
) -> Result<bool, Failure> {
    let (Some(one), Some(two)) = (directory.stat(name)?, other.stat(other_name)?) else {
        return Ok(false);
    };
    // By their hashes: neither need fit into memory.
    Ok((one.kind, one.size) == (two.kind, two.size)
        && inspect::content(directory, name, one.kind)?
            == inspect::content(other, other_name, two.kind)?)
}

/// A directory inside, made durably where it is missing.
fn make(directory: &Directory, name: &str) -> Result<Directory, Failure> {
    if let Some(child) = directory.child(name)? {
        return Ok(child);
    }
    let child = directory.make_child(name, 0o700)?;
    directory.sync()?;
    Ok(child)
}
