//! What was taken in is made durable while the run goes on.
//!
//! A pack can be read as soon as it is indexed, and nothing relies on its being durable before the commit point of the
//! update that needs it. So the waiting for the disk is left to threads, and [`Store::make_durable`] waits for them. The order
//! is what it would be without them: a pack gets its name when its content is durable, a commit is marked when the packs
//! have their names.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::{Error, Store, durable};

type Work = JoinHandle<Result<(), Error>>;

/// The threads under way.
#[derive(Debug, Default)]
pub(super) struct BackgroundFlush {
    packs: Mutex<Vec<Work>>,
    marks: Mutex<Vec<Work>>,
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
            durable::sync_files(&written)?;
            written
                .first()
                .and_then(|mark| mark.parent())
                .map_or(Ok(()), durable::sync_dir)
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
            durable::sync_files(&from)?;
            // The index last: git, and `load`, take a pack for present by its index.
            for (from, to) in from.iter().zip(&to) {
                durable::rename(from, to)?;
            }
            durable::sync_dir(&directory)?;
            drop(quarantine);
            Ok(())
        })
    }

    fn start(
        &self,
        under_way: &Mutex<Vec<Work>>,
        work: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let thread = Builder::new()
            .spawn(work)
            .map_err(|source| Error::io("write in the background in", &self.root, source))?;
        under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
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
                "the object store is mended by the next run"
            );
        }
    }
}

fn join(under_way: &Mutex<Vec<Work>>) -> Result<(), Error> {
    let mut under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
    let ends = under_way.drain(..).map(|work| {
        work.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    // Waits for all, even if one fails.
    ends.fold(Ok(()), Result::and)
}
