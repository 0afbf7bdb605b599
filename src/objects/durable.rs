//! Files of the state directory that survive a power cut: written aside, renamed, synced.

#![expect(
    clippy::disallowed_methods,
    reason = "the state directory is ours, 0700, and gitoxide reads it by path"
)]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use super::Error;
use crate::fs::{Durability, replace_at};

/// Begins the names of files that are not complete yet.
pub(super) const TEMPORARY: &str = ".tmp-";

/// Replaces a file, durable as far as it is asked for.
pub(super) fn write(path: &Path, content: &[u8], durability: Durability) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = format!("{TEMPORARY}{name}");
    replace_at(path, &temporary, durability, content)
        .map_err(|failure| Error::io("write", path, failure.source))
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
