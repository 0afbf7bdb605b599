//! New content, written beside its place and made durable there.

use super::staging::{Staging, directory_name, file_name};
use super::{Change, Content, Error, Transaction};
use crate::fs::{Directory, Target, Unsynced};
use crate::git::{FileMode, RelPath};
use crate::scan::hash;

/// What is said of content that is not what its id says; `Content` promised to check, and is checked.
#[derive(Debug, thiserror::Error)]
#[error("what the store returned has another id")]
struct OtherId;

/// Writes the new file of a change, if it has one; not yet durable.
pub(super) fn write(
    staging: &Staging,
    number: usize,
    change: &Change,
    content: &dyn Content,
) -> Result<(), Error> {
    let Some(after) = change.after else {
        return Ok(());
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
    let name = file_name(number);
    let directory = staging.directory();
    match after.mode.permissions() {
        None => directory.symlink(&bytes, name)?,
        Some(mode) => {
            let mut file = directory.create(name)?;
            file.write(&bytes)?;
            file.set_mode(mode)?;
        }
    }
    Ok(())
}

/// Makes the directories that will be needed, so that no full disk can stop the update after the commit point.
pub(super) fn directories(
    staging: &Staging,
    target: &Target,
    transaction: &Transaction,
) -> Result<(), Error> {
    let put = transaction.changes.iter();
    let put = put.filter(|change| change.after.is_some());
    let mut number = 0;
    for directory in RelPath::above(put.map(|change| &change.path)) {
        if target.directory(Some(&directory))?.is_none() {
            staging
                .directory()
                .make_directory(directory_name(number), 0o755)?;
            number += 1;
        }
    }
    Ok(())
}

/// What of it is to be made durable: files, and the names of all; a symlink is durable with its directory.
pub(super) fn unsynced<'a>(
    staging: &'a Staging,
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
        .filter(move |(_, change)| is_file(change))
        .map(|(number, _)| Unsynced::File(directory, file_name(number)))
        .chain([Unsynced::Names(directory)])
}

/// Makes the new file of a change durable; a symlink is durable with its directory.
pub(super) fn sync_one(directory: &Directory, number: usize, change: &Change) -> Result<(), Error> {
    match change.after {
        Some(file) if file.mode != FileMode::Symlink => Ok(directory.sync_file(file_name(number))?),
        _ => Ok(()),
    }
}
