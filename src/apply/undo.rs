//! What past updates replaced: `undo/<id>`, the record of the transaction and every replaced content under its id.
//!
//! Every content is hashed when it is read: a damaged one is never used.

use miette::Diagnostic;

use super::{Transaction, TxId, transaction};
use crate::exit::Exit;
use crate::fs::{Directory, Failure};
use crate::git::{BlobId, RelPath};
use crate::scan::hash;
use crate::state::{self, Found, StateDir, UNDO, sealed};

pub(super) const RECORD: &str = "transaction";

/// What an update replaced cannot be had back.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// It was too long ago, or never was.
    #[error("update {id} is not kept any more")]
    #[diagnostic(
        code(hyper_sync::undo::gone),
        help("`hyper-sync history` lists what is kept; nothing was written")
    )]
    Gone {
        /// Which.
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
        /// Which.
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
        /// Which.
        id: TxId,
        /// Where.
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
        /// Which.
        id: TxId,
        /// Where.
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

/// The updates that are kept, newest first. Of a damaged one the record is reported as damaged when it is loaded.
pub fn list(state: &StateDir) -> Result<Vec<TxId>, Error> {
    let mut kept = numbers(state, UNDO)?;
    kept.reverse();
    Ok(kept)
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

pub(super) fn blob(directory: &Directory, id: BlobId) -> Result<Option<Vec<u8>>, Failure> {
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
