//! Rollback to an earlier commit, with the local edits of that time: one transaction, without the network.
//!
//! The files that an update replaced are in `undo/`; the commits are in the store. A rollback plans from the current
//! target to the earlier commit by the same three-way rules as a sync, and puts back the local edits that the undone
//! updates replaced. It can be undone like any other update.

use std::collections::BTreeSet;
use std::time::Instant;

use super::pipeline::{Goal, SyncPipeline};
use super::restore::Edits;
use super::{Hold, Options, Outcome, Session, SyncContext, SyncMode};
use crate::SyncError;
use crate::apply::undo::{self, Back};
use crate::apply::{self, Transaction, TxId};
use crate::git::CommitId;
use crate::source::{self, RefKind, ResolvedRef};
use crate::state::{StateDir, SyncPoint};

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
    let here = session.index().map(|index| index.point.commit);
    let found = undone(&kept, back, here);
    let oldest = found.as_ref().ok().and_then(|undone| undone.last());
    // Without its record, such an update cannot be undone, and whether it changed the commit is not known.
    let between = |id: &&TxId| oldest.is_none_or(|oldest| **id > oldest.id);
    if let Some(id) = damaged.iter().find(between) {
        undo::load(session.state(), *id)?;
    }
    let (undone, point) = match found {
        Ok(undone) => (undone, undone.last().and_then(|last| last.before.clone())),
        Err(error) => (&[][..], stored(back, &session).ok_or(error).map(Some)?),
    };
    let Some(point) = point else {
        return Err(SyncError::NoSuchUpdate(back.clone()).into());
    };
    let mut edits = Edits::default();
    // The edits as they were before the oldest of the updates.
    for update in undone.iter().rev() {
        edits.add(session.state(), update, |_| true)?;
    }
    let mut seen = BTreeSet::new();
    for update in undone {
        edits.note_merges(update, &mut seen);
    }
    let unknown = || context.settings.repo.as_ref().map(ToString::to_string);
    let repository = { point.repository.clone() }
        .or_else(unknown)
        .unwrap_or_default();
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
        base: None,
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
fn undone<'a>(
    kept: &'a [Transaction],
    back: &Back,
    here: Option<CommitId>,
) -> Result<&'a [Transaction], SyncError> {
    let before = |transaction: &Transaction| {
        let point = transaction.before.as_ref()?;
        transaction.moves().then_some(point.commit)
    };
    let begins = |begin: &str, commit: Option<CommitId>| {
        commit.is_some_and(|id| id.to_string().starts_with(begin))
    };
    let to_commit = |begin: &str| {
        kept.iter()
            .position(|transaction| begins(begin, before(transaction)))
    };
    let found = match back {
        // Commits, not updates: a rollback is an update too, and two in a row lead to where it is now.
        Back::Updates(count) => {
            let mut seen = BTreeSet::new();
            kept.iter().position(|transaction| {
                let other = before(transaction).filter(|commit| Some(*commit) != here);
                let is_new = other.is_some_and(|commit| seen.insert(commit));
                is_new && seen.len() as u64 == *count
            })
        }
        Back::Commit(begin) => to_commit(begin),
        // Only if an older one is kept is it known what was there at that time.
        Back::At(time) => {
            let later = kept.partition_point(|transaction| transaction.time > *time);
            later.checked_sub(1).filter(|_| later < kept.len())
        }
        Back::Before(id, begin) => { kept.iter() }
            .position(|transaction| transaction.id == *id && transaction.before.is_some())
            .or_else(|| to_commit(begin)),
    };
    found
        .map(|last| &kept[..=last])
        .ok_or_else(|| SyncError::NoSuchUpdate(back.clone()))
}

/// A commit that no kept update leads back to, but whose objects are all in the store. It goes under the name and the
/// repository that the target has now, because the store records neither.
fn stored(back: &Back, session: &Session) -> Option<SyncPoint> {
    let (Back::Commit(begin) | Back::Before(_, begin)) = back else {
        return None;
    };
    let here = &session.index()?.point;
    let commits = session.store().commits();
    let mut found = commits.iter().rev();
    let commit = *found.find(|commit| commit.to_string().starts_with(begin))?;
    Some(SyncPoint {
        commit,
        ..here.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The updates to three commits, newest first, made at 100 s, 200 s and 300 s.
    fn three() -> Vec<Transaction> {
        let point = |digit: char| {
            let id: String = std::iter::repeat_n(digit, 40).collect();
            SyncPoint {
                commit: id.parse().unwrap(),
                tree: id.parse().unwrap(),
                reference: "main".to_owned(),
                repository: None,
            }
        };
        let update = |number: u64, before: Option<char>, after: char| Transaction {
            id: TxId(number),
            time: jiff::Timestamp::from_second(100 * number.cast_signed()).unwrap(),
            target: "/etc/nixos".to_owned(),
            before: before.map(point),
            after: point(after),
            changes: Vec::new(),
            index_only: std::collections::BTreeMap::new(),
            index: None,
        };
        vec![
            update(3, Some('b'), 'c'),
            update(2, Some('a'), 'b'),
            update(1, None, 'a'),
        ]
    }

    #[test]
    fn a_time_leads_to_what_was_there_then() {
        let kept = three();
        let at = |second| {
            let time = jiff::Timestamp::from_second(second).unwrap();
            let undone = undone(&kept, &Back::At(time), None).ok()?;
            Some(undone.iter().map(|update| update.id.0).collect::<Vec<_>>())
        };
        assert_eq!(at(250), Some(vec![3]));
        assert_eq!(at(200), Some(vec![3]));
        assert_eq!(at(150), Some(vec![3, 2]));
        // Nothing was there yet, or an update from before is not kept; and nothing has come since.
        assert_eq!(at(99), None);
        assert_eq!(at(300), None);
    }
}
