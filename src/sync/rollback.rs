//! Back to an earlier commit, and edits back to where they were: ordinary transactions, without the network.
//!
//! What an update replaced is in `undo/`; the commits are in the store. A rollback plans from what is there now to the
//! earlier commit by the same three-way rules as any sync, and puts the local edits back that the undone updates had
//! replaced. It can be undone like any other update.

use std::time::Instant;

use super::pipeline::{Goal, SyncPipeline};
use super::restore::Edits;
use super::{Hold, Options, Outcome, Session, SyncContext, SyncMode};
use crate::SyncError;
use crate::apply::undo::{self, Back};
use crate::apply::{self, Transaction, TxId};
use crate::source::{self, RefKind, ResolvedRef};
use crate::state::StateDir;

/// The updates that are kept, newest first. One whose record is damaged or missing is left out and reported.
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
    // What such an update did is not known: neither how to undo it, nor whether it is one of those that count.
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
    // As they were before the oldest of the updates.
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
    let go_back = || match pipeline.run() {
        Err(crate::Error::Source(source::Error::UnknownCommit { .. })) => {
            let commit = point.commit;
            Err(SyncError::CommitGone { commit }.into())
        }
        other => other,
    };
    if options.mode != SyncMode::Apply {
        return go_back();
    }
    let before = Hold::load(session.state())?;
    // Before the tree changes: a crash in between holds a commit too many, never lets the bad one come back.
    let left = undone.iter().map(|update| update.after.commit);
    let left = left.chain(session.index().map(|index| index.point.commit));
    let hold = Hold::after(before.clone(), left, &point, session.index());
    Hold::replace(session.state(), hold.as_ref())?;
    let outcome = go_back();
    if outcome.is_err() && !apply::is_active(session.state())? {
        Hold::replace(session.state(), before.as_ref())?;
    }
    outcome
}

/// The updates to be undone, newest first; the last one began at where it goes back to.
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
