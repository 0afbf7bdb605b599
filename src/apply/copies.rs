//! Copies of what an update replaces, made before it changes anything.
//!
//! While the update runs they are in `undo/<id>.part`; they get their name when it is finished. The last ten are kept,
//! and of those before the ones that have replaced somebody's work: for that, there is no other copy. Together they
//! take a gigabyte at most.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use super::inspect::Heeding;
use super::undo::{RECORD, blob, numbers};
use super::{Error, Image, Transaction, TxId, transaction};
use crate::fs::{Directory, Failure, Target, Unsynced};
use crate::git::{BlobId, File};
use crate::plan::Operation;
use crate::scan::{Local, hash};
use crate::state::{CONFLICTS, Found, StateDir, TX, UNDO, sealed};

const PART: &str = ".part";
/// An empty file beside the copies of an update that has replaced local edits, so that no record need be read to know.
const EDITED: &str = "edited";

/// How many transactions are kept.
const KEPT: usize = 10;
/// Among how many those that have replaced local edits are kept: putting edits back one by one makes many.
const KEPT_EDITED: usize = 100;
/// How many bytes they may take together; the last one stays in any case.
const KEPT_BYTES: u64 = 1 << 30;

/// The number of the next transaction: no directory of an earlier one is ever written into again.
pub(super) fn next_id(state: &StateDir) -> Result<TxId, Error> {
    let mut last = 0;
    for name in [UNDO, CONFLICTS, TX] {
        for id in numbers(state, name)? {
            last = last.max(id.0);
        }
    }
    Ok(TxId(last + 1))
}

/// The copies an update makes before it changes anything.
#[derive(Debug)]
pub(super) struct Copies {
    undo: Directory,
    directory: Directory,
    copied: BTreeSet<BlobId>,
}

impl Copies {
    pub(super) fn begin(state: &StateDir, id: TxId) -> Result<Self, Error> {
        let undo = state.make(UNDO)?;
        Ok(Self {
            directory: undo.make_child(format!("{id}{PART}"), 0o700)?,
            undo,
            copied: BTreeSet::new(),
        })
    }

    /// Copies what an operation will replace or remove. What is not any more what the plan saw makes the plan stale.
    pub(super) fn copy(
        &mut self,
        target: &Target,
        operation: &Operation,
        before: &Image,
        interrupt: &AtomicBool,
    ) -> Result<(), Error> {
        let stale = || Error::Stale {
            paths: vec![operation.path.clone()],
        };
        let (Some(File { id, .. }), Some(stat)) = (before.file().copied(), operation.before.stat())
        else {
            return Ok(());
        };
        let size = stat.size;
        if self.copied.contains(&id) {
            return Ok(());
        }
        let mut reader: Box<dyn Read> = if let Local::File { stat, .. } = &operation.before {
            match target.open_file(&operation.path)? {
                Some((file, now)) if now == *stat => Box::new(Heeding { file, interrupt }),
                _ => return Err(stale()),
            }
        } else {
            let text = target.read_link(&operation.path)?.ok_or_else(stale)?;
            Box::new(std::io::Cursor::new(text))
        };
        let name = id.to_string();
        let mut file = self.directory.create(&name)?;
        let mut failure = None;
        let mut tee = Tee {
            reader: &mut *reader,
            write: &mut |bytes: &[u8]| match file.write(bytes) {
                Ok(()) => Ok(()),
                Err(error) => {
                    failure = Some(error);
                    Err(std::io::ErrorKind::Other.into())
                }
            },
        };
        let actual = hash(size, &mut tee);
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        if interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        if !actual.is_ok_and(|actual| actual == id) {
            return Err(stale());
        }
        self.copied.insert(id);
        Ok(())
    }

    /// Adds the record; not yet durable.
    pub(super) fn record(
        &self,
        transaction: &Transaction,
        sealed: &sealed::Sealed<'_, Transaction>,
    ) -> Result<(), Error> {
        if transaction.changes.iter().any(|change| change.edited) {
            self.directory.create(EDITED)?;
        }
        Ok(sealed.put(&self.directory, RECORD)?)
    }

    /// What of it is to be made durable.
    pub(super) fn unsynced(&self) -> impl Iterator<Item = Unsynced<'_>> {
        let names = self.copied.iter().map(ToString::to_string);
        names
            .chain([RECORD.to_owned()])
            .map(|name| Unsynced::File(&self.directory, name))
            .chain([
                Unsynced::Names(&self.directory),
                Unsynced::Names(&self.undo),
            ])
    }
}

/// Gives on what it reads.
struct Tee<'a> {
    reader: &'a mut dyn Read,
    write: &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        (self.write)(&buffer[..count])?;
        Ok(count)
    }
}

/// The record of the one update whose copies have no name yet; `None` where that is not clear.
pub(super) fn unfinished(state: &StateDir) -> Result<Option<Transaction>, Error> {
    let Some(undo) = state.directory().child(UNDO)? else {
        return Ok(None);
    };
    let parts = parts(&undo)?;
    let [part] = parts.as_slice() else {
        return Ok(None);
    };
    let Some(directory) = undo.child(part)? else {
        return Ok(None);
    };
    Ok(
        match sealed::read(&directory, RECORD, transaction::FORMAT)? {
            Found::Whole(transaction) => Some(transaction),
            Found::Absent | Found::Damaged(_) => None,
        },
    )
}

/// Gives the copies of a finished update their name, durable with the directory that is returned. Done already, it does
/// nothing.
pub(super) fn publish(state: &StateDir, id: TxId) -> Result<Directory, Error> {
    let undo = state.make(UNDO)?;
    let part = format!("{id}{PART}");
    if undo.stat(&part)?.is_some() {
        undo.rename(&part, &undo, id.to_string())
            .map_err(|errno| undo.failure("rename", &part, errno))?;
    }
    Ok(undo)
}

/// Gives all copies a name, as far as they have none, though their record may be damaged.
pub(super) fn publish_all(state: &StateDir) -> Result<(), Error> {
    let undo = state.make(UNDO)?;
    for part in parts(&undo)? {
        let name = part.trim_end_matches(PART);
        undo.rename(&part, &undo, name)
            .map_err(|errno| undo.failure("rename", &part, errno))?;
    }
    Ok(undo.sync()?)
}

/// Whether copies without a name hold this content.
pub(super) fn has(state: &StateDir, id: BlobId) -> Result<bool, Error> {
    let Some(undo) = state.directory().child(UNDO)? else {
        return Ok(false);
    };
    for part in parts(&undo)? {
        if let Some(directory) = undo.child(&part)?
            && blob(&directory, id)?.is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the copies of updates that never came to their commit point.
pub(super) fn sweep(state: &StateDir) -> Result<(), Error> {
    let Some(undo) = state.directory().child(UNDO)? else {
        return Ok(());
    };
    for part in parts(&undo)? {
        remove(&undo, &part)?;
    }
    Ok(())
}

/// Removes what is older than the limits allow.
pub(super) fn prune(state: &StateDir) -> Result<(), Error> {
    let Some(undo) = state.directory().child(UNDO)? else {
        return Ok(());
    };
    let mut total: u64 = 0;
    for (place, id) in numbers(state, UNDO)?.into_iter().rev().enumerate() {
        let name = id.to_string();
        let update = Summary::of(&undo, &name)?;
        total = total.saturating_add(update.bytes);
        let many = place >= KEPT && (place >= KEPT_EDITED || !update.edited);
        if place > 0 && (many || total > KEPT_BYTES) {
            remove(&undo, &name)?;
        }
    }
    Ok(())
}

fn parts(undo: &Directory) -> Result<Vec<String>, Failure> {
    let names = undo.list()?;
    let parts = names.into_iter().filter_map(|name| name.into_string().ok());
    Ok(parts.filter(|name| name.ends_with(PART)).collect())
}

/// What is to be known of an update to keep it or not.
#[derive(Debug, Default)]
struct Summary {
    bytes: u64,
    edited: bool,
}

impl Summary {
    fn of(undo: &Directory, name: &str) -> Result<Self, Failure> {
        let Some(directory) = undo.child(name)? else {
            return Ok(Self::default());
        };
        let names = directory.list()?;
        let bytes = names.iter().try_fold(0, |total, name| {
            let size = directory.stat(name)?.map_or(0, |stat| stat.size);
            Ok::<u64, Failure>(total + size)
        })?;
        Ok(Self {
            bytes,
            edited: names.iter().any(|name| name == EDITED),
        })
    }
}

fn remove(undo: &Directory, name: &str) -> Result<(), Failure> {
    if let Some(directory) = undo.child(name)? {
        for entry in directory.list()? {
            directory.unlink(&entry)?;
        }
    }
    undo.remove_empty(name).map(|_| ())
}
