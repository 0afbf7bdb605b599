//! Rollback to an earlier commit, with the local edits of that time: one transaction, without the network.
//!
//! The files that an update replaced are in `undo/`; the commits are in the store. A rollback plans from the current
//! target to the earlier commit by the same three-way rules as a sync, and puts back the local edits that the undone
//! updates replaced. It can be undone like any other update.

use std::time::Instant;

use super::pipeline::{Goal, SyncPipeline};
use super::restore::Edits;
use super::{Hold, Options, Outcome, Session, SyncContext, SyncMode};
use crate::SyncError;
use crate::apply::undo::{self, Back};
use crate::apply::{self, Transaction, TxId};
use crate::source::{self, RefKind, ResolvedRef};
use crate::state::StateDir;

/// The recorded updates, newest first, and the ids of those whose record is damaged or missing.
pub fn history(state: &StateDir) -> Result<(Vec<Transaction>, Vec<TxId>), undo::Error> {
    let mut kept = Vec::new();
    let mut damaged = Vec::new();
    for id in undo::list(state)? {
        match undo::load(state, id) {
            Ok(transaction) => kept.push(transaction),
            Err(undo::Error::Damaged { .. } | undo::Error::Gone { .. }) => damaged.push(id),
            Err(error) => return Err(error),
        }
    }
    Ok((kept, damaged))
}

/// Brings the target back to an earlier commit.
pub fn rollback(
    context: &SyncContext<'_>,
    options: &Options,
    back: &Back,
) -> Result<Outcome, crate::Error> {
    let begun = Instant::now();
    let session = Session::begin(context, options.wait)?;
    let (kept, damaged) = history(session.state())?;
    let found = undone(&kept, back);
    let oldest = found.as_ref().ok().and_then(|undone| undone.last());
    // Without its record, such an update cannot be undone, and whether it changed the commit is not known.
    let between = |id: &&TxId| oldest.is_none_or(|oldest| **id > oldest.id);
    if let Some(id) = damaged.iter().find(between) {
        undo::load(session.state(), *id)?;
    }
    let undone = found?;
    let Some(point) = undone
        .last()
        .and_then(|transaction| transaction.before.clone())
    else {
        return Err(SyncError::NoSuchUpdate(back.clone()).into());
    };
    let mut edits = Edits::default();
    // The edits as they were before the oldest of the updates.
    for update in undone.iter().rev() {
        edits.add(session.state(), update, |_| true)?;
    }
    let repository =
        { point.repository.clone() }.unwrap_or_else(|| context.settings.repo.to_string());
    let goal = Goal {
        resolved: ResolvedRef {
            commit: point.commit,
            kind: RefKind::Commit,
            is_tag_too: false,
        },
        reference: &point.reference,
        edits,
    };
    let pipeline = SyncPipeline {
        context,
        options,
        session: &session,
        scanner: &session.scanner(options.skip_validation),
        remote: None,
        repository,
        goal,
        notes: session.notes(),
        begun,
    };
    let roll_back = || match pipeline.run() {
        Err(crate::Error::Source(source::Error::UnknownCommit { .. })) => {
            let commit = point.commit;
            Err(SyncError::CommitGone { commit }.into())
        }
        other => other,
    };
    if options.mode != SyncMode::Apply {
        return roll_back();
    }
    let before = Hold::load(session.state())?;
    // Before the target changes: after a crash in between, a commit may be held needlessly, but the bad one is not
    // applied again.
    let left = undone.iter().map(|update| update.after.commit);
    let left = left.chain(session.index().map(|index| index.point.commit));
    let hold = Hold::after(before.clone(), left, &point, session.index());
    Hold::replace(session.state(), hold.as_ref())?;
    let outcome = roll_back();
    if outcome.is_err() && !apply::is_active(session.state())? {
        Hold::replace(session.state(), before.as_ref())?;
    }
    outcome
}

/// The updates to undo, newest first; the last one started at the commit to return to.
fn undone<'a>(kept: &'a [Transaction], back: &Back) -> Result<&'a [Transaction], SyncError> {
    let moves = |transaction: &Transaction| {
        let before = transaction.before.as_ref();
        before.is_some_and(|before| before.commit != transaction.after.commit)
    };
    let found = match back {
        Back::Updates(count) => {
            let mut left = *count;
            kept.iter().position(|transaction| {
                left -= u64::from(moves(transaction));
                left == 0
            })
        }
        Back::Commit(begin) => kept.iter().position(|transaction| {
            let before = transaction.before.as_ref();
            moves(transaction)
                && before.is_some_and(|before| before.commit.to_string().starts_with(begin))
        }),
    };
    found
        .map(|last| &kept[..=last])
        .ok_or_else(|| SyncError::NoSuchUpdate(back.clone()))
}
