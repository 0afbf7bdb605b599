//! Copies of the files that updates replaced: `undo/<id>` has the transaction's record, and each content under its id.
//!
//! They are made before an update changes anything, in `undo/<id>.part`, which is renamed when the update is finished.
//! The last ten that led to another commit are kept, the last ten that did not (repairs and restored edits), and older
//! ones that replaced local edits, because there is no other copy of those. Together they take a gigabyte at most. Each content is hashed when it is read: a damaged one is never used.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use miette::Diagnostic;

use super::inspect::Heeding;
use super::{Image, Transaction, TxId, transaction};
use crate::exit::Exit;
use crate::fs::{Directory, Failure, Target, Unsynced, sync_all};
use crate::git::{BlobId, File, RelPath};
use crate::plan::Operation;
use crate::scan::{Local, hash};
use crate::state::{self, CONFLICTS, Found, StateDir, TX, UNDO, sealed};

const RECORD: &str = "transaction";
const PART: &str = ".part";
/// An empty file beside the copies of an update that replaced local edits. It saves reading up to a hundred records after
/// every update.
const EDITED: &str = "edited";

/// An empty file beside them of an update that stayed at its commit. An early version did not make it: such an update
/// counts as one that led to another commit.
const REPAIR: &str = "repair";

/// An empty file beside them of an update that a rollback made. An early version did not make it: its rollbacks count as
/// syncs.
const ROLLBACK: &str = "rollback";

/// An empty file beside them whose name has the bytes of all copies.
const BYTES: &str = "bytes-";

/// How many updates are kept that led to another commit, and how many others: repairs at every run must not take away the
/// way back to another commit.
const KEPT: usize = 10;
/// Among how many those that replaced local edits are kept: restoring edits one by one makes many.
const KEPT_EDITED: usize = 100;
/// The bytes that they may take together; the newest is always kept.
const KEPT_BYTES: u64 = 1 << 30;

/// How far back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// So many updates.
    Updates(u64),
    /// To a commit, by its id or the beginning of it.
    Commit(String),
    /// To what was there before the update of this number; or to a commit whose id begins so.
    Before(TxId, String),
    /// To what was there at this time.
    At(jiff::Timestamp),
}

/// A replaced content cannot be restored.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The update is too old, or never existed.
    #[error("update {id} is not kept any more")]
    #[diagnostic(
        code(hyper_sync::undo::gone),
        help("`hyper-sync history` lists what is kept; nothing was written")
    )]
    Gone {
        /// The update.
        id: TxId,
    },
    /// Its record cannot be read.
    #[error("the record of update {id} is damaged: {damage}")]
    #[diagnostic(
        code(hyper_sync::undo::damaged),
        help(
            "the contents are still in the `undo` directory of the state directory, under their git ids; nothing was written"
        )
    )]
    Damaged {
        /// The update.
        id: TxId,
        /// How.
        damage: sealed::Damage,
    },
    /// The update did not replace anything there.
    #[error("update {id} replaced nothing at `{path}`")]
    #[diagnostic(
        code(hyper_sync::undo::not_replaced),
        help("`hyper-sync history` lists what each update replaced; nothing was written")
    )]
    NotReplaced {
        /// The update.
        id: TxId,
        /// The path.
        path: RelPath,
    },
    /// The kept content is missing or has other bytes.
    #[error("what update {id} kept of `{path}` is damaged")]
    #[diagnostic(
        code(hyper_sync::undo::content_damaged),
        help(
            "check the disk; a content that does not match its id is never used; nothing was written"
        )
    )]
    ContentDamaged {
        /// The update.
        id: TxId,
        /// The path.
        path: RelPath,
    },
    /// The state directory.
    #[error(transparent)]
    #[diagnostic(transparent)]
    State(#[from] state::Error),
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotReplaced { .. } => Exit::Configuration,
            Self::Gone { .. } | Self::Damaged { .. } | Self::ContentDamaged { .. } => {
                Exit::NeedsPerson
            }
            Self::State(error) => error.exit(),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::State(failure.into())
    }
}

/// The updates that are kept, newest first. A damaged record is reported when it is loaded.
pub fn list(state: &StateDir) -> Result<Vec<TxId>, Error> {
    let mut kept = numbers(state, UNDO)?;
    kept.reverse();
    Ok(kept)
}

/// The updates whose copies have local edits, newest first.
pub fn with_edits(state: &StateDir) -> Result<Vec<TxId>, Error> {
    let Some(undo) = state.directory().child(UNDO)? else {
        return Ok(Vec::new());
    };
    let mut found = list(state)?;
    let mut failed = None;
    found.retain(|id| match Summary::of(&undo, &id.to_string()) {
        Ok(update) => update.edited,
        Err(failure) => {
            failed.get_or_insert(failure);
            true
        }
    });
    match failed {
        Some(failure) => Err(failure.into()),
        None => Ok(found),
    }
}

/// The record of an update.
pub fn load(state: &StateDir, id: TxId) -> Result<Transaction, Error> {
    let directory = open(state, id)?;
    match sealed::read::<Transaction>(&directory, RECORD, transaction::FORMAT)? {
        Found::Whole(transaction) if transaction.id == id && transaction.check() => Ok(transaction),
        Found::Whole(_) => Err(Error::Damaged {
            id,
            damage: sealed::Damage::Content,
        }),
        Found::Damaged(damage) => Err(Error::Damaged { id, damage }),
        Found::Absent => Err(Error::Gone { id }),
    }
}

/// Whether a rollback made an update.
pub fn is_rollback(state: &StateDir, id: TxId) -> Result<bool, Error> {
    Ok(open(state, id)?.stat(ROLLBACK)?.is_some())
}

/// The content that an update replaced at a path, hashed to its id. For a symlink, its text.
pub fn content(
    state: &StateDir,
    transaction: &Transaction,
    path: &RelPath,
) -> Result<Vec<u8>, Error> {
    let id = transaction.id;
    let file = transaction
        .changes
        .iter()
        .find(|change| change.path == *path)
        .and_then(|change| change.before.file())
        .ok_or_else(|| Error::NotReplaced {
            id,
            path: path.clone(),
        })?;
    blob(&open(state, id)?, file.id)?.ok_or_else(|| Error::ContentDamaged {
        id,
        path: path.clone(),
    })
}

fn open(state: &StateDir, id: TxId) -> Result<Directory, Error> {
    let undo = state.directory().child(UNDO)?;
    undo.map(|undo| undo.child(id.to_string()))
        .transpose()?
        .flatten()
        .ok_or(Error::Gone { id })
}

fn blob(directory: &Directory, id: BlobId) -> Result<Option<Vec<u8>>, Failure> {
    let content = directory.read(id.to_string())?;
    Ok(content.filter(|content| {
        hash(content.len() as u64, &mut content.as_slice()).is_ok_and(|actual| actual == id)
    }))
}

/// The numbers that name something in one of our directories, sorted.
pub(super) fn numbers(state: &StateDir, directory: &str) -> Result<Vec<TxId>, state::Error> {
    let Some(directory) = state.directory().child(directory)? else {
        return Ok(Vec::new());
    };
    let mut numbers: Vec<TxId> = directory
        .list()?
        .iter()
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number of the next transaction: the directory of an earlier one is never written to again.
pub(super) fn next_id(state: &StateDir) -> Result<TxId, super::Error> {
    let mut last = 0;
    for name in [UNDO, CONFLICTS, TX] {
        for id in numbers(state, name)? {
            last = last.max(id.0);
        }
    }
    Ok(TxId(last + 1))
}

/// The copies that an update makes before it changes anything.
#[derive(Debug)]
pub(super) struct Copies {
    undo: Directory,
    directory: Directory,
    copied: BTreeSet<BlobId>,
    bytes: u64,
    rolls_back: bool,
}

impl Copies {
    pub(super) fn begin(
        state: &StateDir,
        id: TxId,
        rolls_back: bool,
    ) -> Result<Self, super::Error> {
        let undo = state.make(UNDO)?;
        Ok(Self {
            directory: undo.make_child(format!("{id}{PART}"), 0o700)?,
            undo,
            copied: BTreeSet::new(),
            bytes: 0,
            rolls_back,
        })
    }

    /// Copies the file that an operation replaces or removes. If it differs from what the plan saw, the plan is stale.
    pub(super) fn copy(
        &mut self,
        target: &Target,
        operation: &Operation,
        before: &Image,
        interrupt: &AtomicBool,
    ) -> Result<(), super::Error> {
        let stale = || super::Error::Stale {
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
            return Err(super::Error::Interrupted);
        }
        if !actual.is_ok_and(|actual| actual == id) {
            return Err(stale());
        }
        self.copied.insert(id);
        self.bytes = self.bytes.saturating_add(size);
        Ok(())
    }

    /// Adds the record; not yet durable.
    pub(super) fn record(
        &self,
        transaction: &Transaction,
        sealed: &sealed::Sealed<'_, Transaction>,
    ) -> Result<(), super::Error> {
        if transaction.changes.iter().any(|change| change.edited) {
            self.directory.create(EDITED)?;
        }
        if !transaction.moves() {
            self.directory.create(REPAIR)?;
        }
        if self.rolls_back {
            self.directory.create(ROLLBACK)?;
        }
        let bytes = self.bytes.saturating_add(sealed.size());
        self.directory.create(format!("{BYTES}{bytes}"))?;
        Ok(sealed.put(&self.directory, RECORD)?)
    }

    /// The files and directories to flush.
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

/// A reader that also writes what it reads to a copy.
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

/// The record of the only update with copies in a `.part` directory; `None` if there is not exactly one.
pub(super) fn unfinished(state: &StateDir) -> Result<Option<Transaction>, super::Error> {
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
    Ok(sealed::read(&directory, RECORD, transaction::FORMAT)?.whole())
}

/// Records a move to a commit with the same files, so that a rollback knows the way back. Nothing is copied.
pub(super) fn record_move(
    state: &StateDir,
    transaction: &Transaction,
    rolls_back: bool,
) -> Result<(), super::Error> {
    let copies = Copies::begin(state, transaction.id, rolls_back)?;
    let sealed = sealed::seal(&copies.directory, RECORD, transaction::FORMAT, transaction)?;
    copies.record(transaction, &sealed)?;
    sync_all(&copies.unsynced().collect::<Vec<_>>())?;
    // The name is not made durable: without it a way back is lost, and nothing else.
    publish(state, transaction.id)?;
    prune(state)
}

/// Renames the copies of a finished update, durable once the returned directory is flushed. May be called again.
pub(super) fn publish(state: &StateDir, id: TxId) -> Result<Directory, super::Error> {
    let undo = state.make(UNDO)?;
    let part = format!("{id}{PART}");
    if undo.stat(&part)?.is_some() {
        undo.rename(&part, &undo, id.to_string())
            .map_err(|errno| undo.failure("rename", &part, errno))?;
    }
    Ok(undo)
}

/// Renames all `.part` directories, even those with a damaged record.
pub(super) fn publish_all(state: &StateDir) -> Result<(), super::Error> {
    let undo = state.make(UNDO)?;
    for part in parts(&undo)? {
        let name = part.trim_end_matches(PART);
        undo.rename(&part, &undo, name)
            .map_err(|errno| undo.failure("rename", &part, errno))?;
    }
    Ok(undo.sync()?)
}

/// Whether a `.part` directory has this content.
pub(super) fn has(state: &StateDir, id: BlobId) -> Result<bool, super::Error> {
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

/// Removes the copies of updates that did not reach their commit point.
pub(super) fn sweep(state: &StateDir) -> Result<(), super::Error> {
    let Some(undo) = state.directory().child(UNDO)? else {
        return Ok(());
    };
    for part in parts(&undo)? {
        remove(&undo, &part)?;
    }
    Ok(())
}

/// Removes what is older than the limits allow.
pub(super) fn prune(state: &StateDir) -> Result<(), super::Error> {
    let Some(undo) = state.directory().child(UNDO)? else {
        return Ok(());
    };
    let mut total: u64 = 0;
    let (mut moves, mut repairs) = (0, 0);
    for (place, id) in numbers(state, UNDO)?.into_iter().rev().enumerate() {
        let name = id.to_string();
        let update = Summary::of(&undo, &name)?;
        total = total.saturating_add(update.bytes);
        let alike = if update.repair {
            &mut repairs
        } else {
            &mut moves
        };
        *alike += 1;
        let many = *alike > KEPT && (place >= KEPT_EDITED || !update.edited);
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

/// What decides whether an update is kept.
#[derive(Debug, Default)]
struct Summary {
    bytes: u64,
    edited: bool,
    repair: bool,
}

impl Summary {
    fn of(undo: &Directory, name: &str) -> Result<Self, Failure> {
        let Some(directory) = undo.child(name)? else {
            return Ok(Self::default());
        };
        let names = directory.list()?;
        let recorded = |name: &OsString| name.to_str()?.strip_prefix(BYTES)?.parse().ok();
        let bytes = match names.iter().find_map(recorded) {
            Some(bytes) => bytes,
            // An early version made it.
            None => names.iter().try_fold(0, |total, name| {
                let size = directory.stat(name)?.map_or(0, |stat| stat.size);
                Ok::<u64, Failure>(total + size)
            })?,
        };
        Ok(Self {
            bytes,
            edited: names.iter().any(|name| name == EDITED),
            repair: names.iter().any(|name| name == REPAIR),
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
