//! From the commit point to the end: carry out, make durable, hash again, save the index, retire the record.

use super::execute::Execution;
use super::{Applied, Error, Fate, Image, OnProgress, copies, inspect, recover, staging};
use crate::fs::{Unsynced, sync_all};
use crate::git::path::folded;
use crate::state::{Index, StatData};

/// The file whose time is the target's file system's "now".
const CLOCK: &str = "now";

/// Carries out a transaction that has passed its commit point.
pub(super) fn run(
    mut execution: Execution<'_>,
    on_progress: OnProgress<'_>,
) -> Result<Applied, Error> {
    execution.carry_out(on_progress)?;
    let mut applied = Applied {
        id: Some(execution.transaction.id),
        ..Applied::default()
    };
    let index = verify(&mut execution, &mut applied, on_progress)?;
    // Until the record is retired, recovery makes all of this anew: so the order within it does not matter.
    let undo = copies::publish(execution.state, execution.transaction.id)?;
    let mut unsynced: Vec<Unsynced<'_>> = execution.unsynced().collect();
    unsynced.extend(index.replace(execution.state)?);
    unsynced.push(Unsynced::Names(&undo));
    sync_all(&unsynced)?;
    // Whoever had an old file open may have written to it after it was displaced.
    for number in 0..execution.transaction.changes.len() {
        execution.keep_displaced(number)?;
    }
    recover::retire(execution.state)?;
    repack(&execution);
    applied.late = execution.late;
    Ok(applied)
}

/// Hashes everything that changed once more, and makes the index of it.
fn verify(
    execution: &mut Execution<'_>,
    applied: &mut Applied,
    on_progress: OnProgress<'_>,
) -> Result<Index, Error> {
    let transaction = execution.transaction;
    let now = now(execution)?;
    let mut index = transaction.index();
    for (number, change) in transaction.changes.iter().enumerate() {
        let (there, stat) = inspect::target(execution.target, &change.path)?;
        let in_place = match change.after {
            Some(file) => there == inspect::There::Image(Image::File(file)),
            None => is_gone(execution, change, there),
        };
        if !in_place {
            let told = execution.late.iter().any(|late| {
                late.path == change.path && matches!(late.fate, Fate::InPlace | Fate::Blocked)
            });
            if !told {
                execution.report(&change.path, Fate::InPlace);
            }
        } else if change.after.is_some() {
            applied.written += 1;
            if let Some(owned) = index.entries.get_mut(&change.path)
                && !change.puts_back
            {
                owned.seen = stat.and_then(|stat| StatData::of(&stat, now));
            }
        } else {
            applied.deleted += 1;
        }
        on_progress(number as u64 + 1, transaction.changes.len() as u64);
    }
    Ok(index)
}

/// Whether a path that was removed is gone. A directory in its place is not what was there; and where `a` and `A` are
/// one name, neither is a new file.
pub(super) fn is_gone(
    execution: &Execution<'_>,
    change: &super::Change,
    there: inspect::There,
) -> bool {
    match there {
        inspect::There::Image(Image::Missing | Image::Directory) => true,
        inspect::There::Special => false,
        inspect::There::Image(Image::File(_)) => {
            !execution.staging.can().tell_case
                && execution
                    .transaction
                    .index
                    .keys()
                    .any(|path| folded(path.as_str()) == folded(change.path.as_str()))
        }
    }
}

/// The time by the clock that stamps the target's files: on a network file system not ours.
fn now(execution: &Execution<'_>) -> Result<i128, Error> {
    let staging = execution.staging.directory();
    staging.unlink(CLOCK)?;
    staging.create(CLOCK)?;
    Ok(staging.stat(CLOCK)?.map_or(0, |stat| stat.mtime))
}

/// Removes what nobody needs any more. What fails here is done by the next run.
fn repack(execution: &Execution<'_>) {
    let tidied = staging::remove(execution.target).and_then(|()| copies::prune(execution.state));
    if let Err(error) = tidied {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "tidying up is left to the next run"
        );
    }
}
