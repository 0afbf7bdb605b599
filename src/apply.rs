//! Carries out a plan: in place, one file or new directory at a time, so that after any crash the target is the old commit or the new.
//!
//! 1. Preflight: an update that would fail is not started (read-only, immutable, mount points, permissions, room).
//! 2. Everything that will be replaced is copied to `undo/<id>`, everything new is written to a staging directory
//!    inside the target (the one place that is surely on the same mount), all of it made durable.
//! 3. The target is inspected once more; if it is not what the plan was made from, the plan is stale.
//! 4. The record of the [`Transaction`] becomes `tx/active`. That is the commit point: before it, [`recover`] takes
//!    everything back; from it on, it carries everything out, without network or token.
//! 5. New directories are moved to their places, and files are exchanged with the staged ones. What comes out is hashed:
//!    if it is not what the plan saw, it was edited meanwhile, and is kept in `conflicts/<id>`.
//! 6. Directories are made durable, everything is hashed again but for what was
//!    [not visible before and has not changed since](new_directories), the index is saved, the record is retired.
//!
//! The whole directory is not exchanged, because people, activation scripts and editors write in it, and what they
//! write through open handles would be lost.
//!
//! Limits: a program that walks the tree while it is applied may see files of both commits (leaf files come first,
//! `flake.nix` and `flake.lock` last); to read a single state, use a snapshot. File systems that cannot exchange files
//! get hard links instead: an editor that saves by renaming in the microseconds between two calls loses that save.
//!
//! A target that does not exist is made by `mkdir` and filled by the same protocol: one protocol, one recovery.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::fs::{Target, Unsynced, sync_all};
use crate::git::{BlobId, RelPath};
use crate::state::{Index, StateDir};
use crate::threads;

mod conflicts;
mod error;
mod execute;
mod inspect;
mod new_directories;
mod order;
mod preflight;
mod read_ahead;
mod recover;
mod staging;
mod transaction;
pub mod undo;

pub use conflicts::kept as late_edits;
pub use error::{ContentError, Error, RecoveryProblem};
pub use recover::{Recovered, is_active, recover};
pub use transaction::{Change, Image, NotATx, Transaction, TxId, Update};

use new_directories::NewDirectory;
use read_ahead::ReadAhead;
use staging::Staging;

/// Provides the content of files, without the network.
pub trait Content: Sync {
    /// The content with this id.
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError>;

    /// How many bytes [`blob`](Self::blob) will return.
    fn size(&self, id: BlobId) -> Result<u64, ContentError> {
        self.blob(id).map(|content| content.len() as u64)
    }

    /// Flushes everything else that the update or its recovery needs. Called once, while files are copied and staged;
    /// it returns before the commit point.
    fn make_durable(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// The result of an update.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// The transaction; `None` if no file had to change.
    pub id: Option<TxId>,
    /// Files and symlinks that were written.
    pub written: u64,
    /// Files and symlinks that were removed.
    pub deleted: u64,
    /// Edits made while the update was applied; if there are any, the run ends with exit code 8.
    pub late: Vec<Late>,
}

/// An edit that was made while an update was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// The path.
    pub path: RelPath,
    /// How it was resolved.
    pub fate: Fate,
}

/// How a late edit was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The commit's content is in place, and the edit was kept here.
    KeptAside(PathBuf),
    /// The edit is in place, and is an ordinary local edit at the next sync.
    InPlace,
    /// A parent of the path is not a directory, so the commit's content could not be written.
    Blocked,
}

/// Progress: how many paths of how many are done. It counts three times: staging, exchanging, and hashing again.
pub type OnProgress<'a> = &'a dyn Fn(u64, u64);

/// Carries out an update: [`prepare`], and at once [`Prepared::commit`].
pub fn apply(
    target: &Target,
    state: &StateDir,
    update: &Update<'_>,
    content: &dyn Content,
    interrupt: &AtomicBool,
    on_progress: OnProgress<'_>,
) -> Result<Applied, Error> {
    prepare(target, state, update, content, interrupt, on_progress)?.commit()
}

/// An update before its commit point: everything it needs is staged and durable, and nothing has changed.
pub struct Prepared<'a> {
    target: &'a Target,
    state: &'a StateDir,
    update: &'a Update<'a>,
    interrupt: &'a AtomicBool,
    on_progress: OnProgress<'a>,
    /// `None` if no file has to change.
    staged: Option<StagedUpdate>,
}

/// What is durable before the commit point.
type Written = (Staging, Vec<NewDirectory>, recover::RecordDirectory);

/// What was staged.
struct StagedUpdate {
    transaction: Transaction,
    staging: Staging,
    new: Vec<NewDirectory>,
    record: recover::RecordDirectory,
    /// The index afterwards, without the `lstat` data of files that change.
    index: Index,
    /// Whether the target directory was created for this update.
    made: bool,
}

/// Everything up to the commit point. The caller holds the [lock](crate::lock) and has called [`recover`].
///
/// `interrupt` is obeyed until the commit point. After an [`Error::Stale`], the caller scans and plans again.
pub fn prepare<'a>(
    target: &'a Target,
    state: &'a StateDir,
    update: &'a Update<'a>,
    content: &dyn Content,
    interrupt: &'a AtomicBool,
    on_progress: OnProgress<'a>,
) -> Result<Prepared<'a>, Error> {
    if is_active(state)? {
        return Err(Error::RecoveryFirst);
    }
    let mut prepared = Prepared {
        target,
        state,
        update,
        interrupt,
        on_progress,
        staged: None,
    };
    if update.plan.operations().is_empty() {
        return Ok(prepared);
    }
    recover::sweep(target, state)?;
    preflight::check(target, state, update, content)?;
    let transaction = update.transaction(target, state, interrupt)?;
    let made = target.make()?;
    match prepared.stage(&transaction, content) {
        Ok(((staging, new, record), index)) => {
            prepared.staged = Some(StagedUpdate {
                transaction,
                staging,
                new,
                record,
                index,
                made,
            });
            Ok(prepared)
        }
        Err(error) => {
            prepared.clean_up(made, &error);
            Err(error)
        }
    }
}

impl Prepared<'_> {
    /// Whether any file has to change.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.staged.is_some()
    }

    /// Passes the commit point and carries the update out.
    pub fn commit(mut self) -> Result<Applied, Error> {
        let Some(staged) = self.staged.take() else {
            self.update.remember(self.state)?;
            if self.update.moves() {
                let transaction =
                    self.update
                        .transaction(self.target, self.state, self.interrupt)?;
                undo::record_move(self.state, &transaction, self.update.rolls_back)?;
            }
            return Ok(Applied::default());
        };
        let StagedUpdate {
            transaction,
            staging,
            new,
            record,
            index,
            made,
        } = staged;
        match self.activate(record) {
            Ok(()) => {
                let (index, target, state) = (Some(index), self.target, self.state);
                let execution =
                    execute::Execution::new(target, state, &transaction, staging, new, index);
                execute::run(execution, self.on_progress)
                    .map_err(|source| unfinished(transaction.id, source))
            }
            // The record is there, though perhaps not durable: the next run carries it out.
            Err(error) if is_active(self.state).unwrap_or(true) => {
                Err(unfinished(transaction.id, error))
            }
            Err(error) => {
                self.clean_up(made, &error);
                Err(error)
            }
        }
    }

    /// Removes what was staged; the next run removes what this cannot.
    pub fn discard(mut self, because: &Error) {
        if let Some(StagedUpdate { made, .. }) = self.staged.take() {
            self.clean_up(made, because);
        }
    }

    fn clean_up(&self, made: bool, because: &Error) {
        let _ = recover::sweep(self.target, self.state);
        if made && !matches!(because, Error::Stale { .. }) {
            let _ = self.target.unmake();
        }
    }

    fn check_interrupt(&self) -> Result<(), Error> {
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    fn activate(&self, record: recover::RecordDirectory) -> Result<(), Error> {
        self.check_interrupt()?;
        preflight::recheck(self.target, self.update)?;
        record.activate()
    }

    fn stage(
        &self,
        transaction: &Transaction,
        content: &dyn Content,
    ) -> Result<(Written, Index), Error> {
        thread::scope(|scope| {
            let flush = scope.spawn(|| content.make_durable());
            // Of all files, and staging those that change waits for the disk.
            let index = scope.spawn(|| self.update.index());
            let content = ReadAhead::begin(scope, content, transaction);
            let written = self.write(transaction, &content)?;
            threads::join(flush)?;
            Ok((written, threads::join(index)))
        })
    }

    /// Copies the old files and writes the new ones, durable when this returns.
    fn write(&self, transaction: &Transaction, content: &dyn Content) -> Result<Written, Error> {
        let (target, state) = (self.target, self.state);
        let total = transaction.changes.len() as u64;
        let staging = Staging::open(target)?;
        preflight::check_case(&staging, self.update.plan)?;
        let mut kept = undo::Copies::begin(state, transaction.id, self.update.rolls_back)?;
        let mut new = NewDirectory::all(target, &staging, transaction)?;
        let mut writer = (!new.is_empty())
            .then(|| new_directories::Writer::begin(&staging, &mut new))
            .transpose()?;
        for (number, operation) in self.update.plan.operations().iter().enumerate() {
            let change = &transaction.changes[number];
            kept.copy(target, operation, &change.before, self.interrupt)?;
            let is_written = match &mut writer {
                Some(writer) => writer.write(transaction, number, content)?,
                None => false,
            };
            if !is_written {
                staging::write(&staging, number, change, content)?;
            }
            (self.on_progress)(number as u64 + 1, total);
            self.check_interrupt()?;
        }
        writer.map_or(Ok(()), new_directories::Writer::finish)?;
        staging::directories(&staging, &new, target, transaction)?;
        let record = recover::RecordDirectory::write(state, transaction, &kept)?;
        // Everything is written before the first flush. The root is flushed for the name of the staging directory.
        let root = target.directory(None)?;
        let mut unsynced: Vec<Unsynced<'_>> = kept.unsynced().collect();
        unsynced.extend(staging::unsynced(&staging, &new, transaction));
        unsynced.push(record.unsynced());
        unsynced.extend(root.as_ref().map(Unsynced::Names));
        sync_all(&unsynced)?;
        drop(unsynced);
        Ok((staging, new, record))
    }
}

fn unfinished(id: TxId, source: Error) -> Error {
    Error::Unfinished {
        id,
        source: Box::new(source),
    }
}
