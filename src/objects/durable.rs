//! Files of the state directory that survive a power cut: written aside, synced, renamed.

#![expect(
    clippy::disallowed_methods,
    reason = "the state directory is ours, 0700, and gitoxide reads it by path"
)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use super::Error;

/// Begins the names of files that are not complete yet.
pub(super) const TEMPORARY: &str = ".tmp-";

/// Replaces a file, durably.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    replace(path, content, true)?;
    sync_dir(parent(path))
}

/// Replaces a file at once, but not durably: after a power cut it may be empty. For what can be made again.
pub(super) fn write_lossy(path: &Path, content: &[u8]) -> Result<(), Error> {
    replace(path, content, false)
}

fn replace(path: &Path, content: &[u8], sync: bool) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(parent(path))?;
        file.write_all(content)?;
        if sync {
            file.as_file().sync_all()?;
        }
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| Error::io("write", path, source))
}

fn sync_file(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| Error::io("sync", path, source))
}

/// Makes all of them durable; they wait for the disk together.
pub(super) fn sync_files(paths: &[PathBuf]) -> Result<(), Error> {
    thread::scope(|scope| {
        let syncs: Vec<_> = paths
            .iter()
            .map(|path| scope.spawn(|| sync_file(path)))
            .collect();
        let ends = syncs.into_iter().map(|sync| {
            sync.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        ends.fold(Ok(()), Result::and)
    })
}

pub(super) fn sync_dir(path: &Path) -> Result<(), Error> {
    sync_file(path)
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|source| Error::io("write", to, source))
}

/// Removes a file; what is not there is removed already.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}
