//! Making the store survive a power cut: files are written aside, synced and renamed, packs and marks by threads.
//!
//! A pack can be read as soon as it is indexed, and nothing relies on its being durable before the commit point of the
//! update that needs it. So threads wait for the disk while files are copied and staged, and [`Store::make_durable`]
//! waits for the threads: an update waits for the disk four times instead of twelve. The order is the same as without
//! them: a pack gets its name when its content is durable, and a commit is marked when the packs have their names.

#![expect(
    clippy::disallowed_methods,
    reason = "the state directory is ours, 0700, and gitoxide reads it by path"
)]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::{Builder, JoinHandle};

use super::{Error, Store};
use crate::fs::{Durability, replace_at};
use crate::threads;

/// Begins the names of files that are not complete yet.
pub(super) const TEMPORARY: &str = ".tmp-";

/// Replaces a file, with the durability that is given.
pub(super) fn write(path: &Path, content: &[u8], durability: Durability) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = format!("{TEMPORARY}{name}");
    replace_at(path, &temporary, durability, content)
        .map_err(|failure| Error::io("write", path, failure.source))
}

/// Makes a file, or the names in a directory, durable.
pub(super) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| Error::io("sync", path, source))
}

/// Makes all of them durable.
pub(super) fn sync_files(paths: &[PathBuf]) -> Result<(), Error> {
    paths.iter().try_for_each(|path| sync(path))
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

type FlushThread = JoinHandle<Result<(), Error>>;

/// The threads that have not been waited for.
#[derive(Debug, Default)]
pub(super) struct BackgroundFlush {
    packs: Mutex<Vec<FlushThread>>,
    marks: Mutex<Vec<FlushThread>>,
}

impl Store {
    /// Waits until all packs that were taken in are durable, and then writes the marks.
    ///
    /// The marks have their names when this returns; they are durable when the store is dropped.
    pub fn make_durable(&self) -> Result<(), Error> {
        if let Err(error) = join(&self.background.packs) {
            // What was marked may need the pack that is not there.
            self.set_damaged();
            self.forget_unwritten_marks();
            return Err(error);
        }
        let written = self.write_marks()?;
        if written.is_empty() {
            return Ok(());
        }
        self.start(&self.background.marks, move || {
            sync_files(&written)?;
            written
                .first()
                .and_then(|mark| mark.parent())
                .map_or(Ok(()), sync)
        })
    }

    /// Gives a pack its name in the store, once its content is durable.
    pub(super) fn publish_in_background(
        &self,
        quarantine: tempfile::TempDir,
        from: &Path,
        to: &Path,
    ) -> Result<(), Error> {
        let names = |path: &Path| ["pack", "idx"].map(|extension| path.with_extension(extension));
        let (from, to, directory) = (names(from), names(to), self.pack_dir());
        self.start(&self.background.packs, move || {
            sync_files(&from)?;
            // The index last: git, and `load`, take a pack for present by its index.
            for (from, to) in from.iter().zip(&to) {
                rename(from, to)?;
            }
            sync(&directory)?;
            drop(quarantine);
            Ok(())
        })
    }

    fn start(
        &self,
        threads: &Mutex<Vec<FlushThread>>,
        work: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let thread = Builder::new()
            .spawn(work)
            .map_err(|source| Error::io("write in the background in", &self.root, source))?;
        threads::lock(threads).push(thread);
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self
            .make_durable()
            .and_then(|()| join(&self.background.marks))
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the next run repairs the object store"
            );
        }
    }
}

fn join(threads: &Mutex<Vec<FlushThread>>) -> Result<(), Error> {
    let threads = std::mem::take(&mut *threads::lock(threads));
    // Waits for all, even if one fails.
    let results = threads.into_iter().map(|thread| match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    });
    results.fold(Ok(()), Result::and)
}
