//! Back to an earlier commit, and edits back to where they were: ordinary transactions, without the network.
//!
//! What an update replaced is in `undo/`; the commits are in the store. A rollback plans from what is there now to the
//! earlier commit by the same three-way rules as any sync, and puts the local edits back that the undone updates had
//! replaced. It can be undone like any other update.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{
    Context, Error, Goal, Hold, Mode, Options, Outcome, Pipeline, PutBack, Session, carry_out,
};
use crate::apply::undo;
use crate::apply::{Applied, Transaction, TxId, Update};
use crate::git::{BlobId, File, RelPath};
use crate::plan::Plan;
use crate::source::{Offline, RefKind, Resolved};
use crate::state::{StateDir, SyncState};

/// How far back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// So many updates.
    Updates(u64),
    /// To a commit, by its id or the begin of it.
    Commit(String),
}

/// The updates that are kept, newest first. One whose record is damaged is left out and told.
pub fn history(state: &StateDir) -> Result<(Vec<Transaction>, Vec<TxId>), undo::Error> {
    let mut kept = Vec::new();
    let mut damaged = Vec::new();
    for id in undo::list(state)? {
        match undo::load(state, id) {
            Ok(transaction) => kept.push(transaction),
            Err(undo::Error::Damaged { .. }) => damaged.push(id),
            Err(error) => return Err(error),
        }
    }
    Ok((kept, damaged))
}

/// Brings the target back to an earlier commit.
pub fn rollback(
    context: &Context<'_>,
    options: &Options,
    back: &Back,
) -> Result<Outcome, crate::Error> {
    let begun = Instant::now();
    let session = Session::begin(context, options.wait)?;
    let (kept, _) = history(session.state())?;
    let undone = undone(&kept, back)?;
    let Some(point) = undone
        .last()
        .and_then(|transaction| transaction.before.clone())
    else {
        return Err(Error::NoSuchUpdate.into());
    };
    let (put_back, contents) = edits(session.state(), undone)?;
    let repository = SyncState::load(session.state())?.map(|last| last.repository);
    let source = Offline {
        repository: repository.unwrap_or_else(|| context.settings.repo.to_string()),
    };
    let goal = Goal {
        resolved: Resolved {
            commit: point.commit,
            kind: RefKind::Commit,
        },
        reference: &point.reference,
        put_back,
        contents,
    };
    let pipeline = Pipeline {
        context,
        options,
        session: &session,
        scanner: &session.scanner(options.skip_validation),
        source: &source,
        goal,
        notes: session.notes().to_vec(),
        begun,
    };
    if options.mode == Mode::Apply
        && let Some(index) = session.index()
    {
        // Before the tree changes: a crash in between holds a commit too many, never lets the bad one come back.
        Hold {
            commit: index.commit,
        }
        .set(session.state())?;
    }
    pipeline.run()
}

/// The updates to be undone, newest first; the last one began at where it goes back to.
fn undone<'a>(kept: &'a [Transaction], back: &Back) -> Result<&'a [Transaction], Error> {
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
    found.map(|last| &kept[..=last]).ok_or(Error::NoSuchUpdate)
}

type Edits = (BTreeMap<RelPath, File>, BTreeMap<BlobId, Vec<u8>>);

/// The local edits that updates had replaced, as they were before the oldest of them.
fn edits(state: &StateDir, undone: &[Transaction]) -> Result<Edits, undo::Error> {
    let (mut files, mut contents) = Edits::default();
    for transaction in undone {
        let edited = transaction.changes.iter().filter(|change| change.edited);
        for change in edited {
            let Some(file) = change.before.file() else {
                continue;
            };
            contents.insert(file.id, undo::content(state, transaction.id, &change.path)?);
            files.insert(change.path.clone(), *file);
        }
    }
    Ok((files, contents))
}

/// Puts local edits back that updates have replaced: at each of `paths`, and below, the newest of them.
///
/// The commit that the target is at stays the same; what is put back is a local edit again.
pub fn restore(
    context: &Context<'_>,
    options: &Options,
    paths: &[RelPath],
) -> Result<(Vec<RelPath>, Applied), crate::Error> {
    let session = Session::begin(context, options.wait)?;
    let index = session.index().ok_or(Error::NoSuchUpdate)?;
    let (kept, _) = history(session.state())?;
    let mut files: BTreeMap<RelPath, File> = BTreeMap::new();
    let mut contents = BTreeMap::new();
    for transaction in &kept {
        for change in transaction.changes.iter().filter(|change| change.edited) {
            let asked_for = paths.iter().any(|path| change.path.starts_with(path));
            let Some(file) = change.before.file().filter(|_| asked_for) else {
                continue;
            };
            if !files.contains_key(&change.path) {
                let bytes = undo::content(session.state(), transaction.id, &change.path)?;
                contents.insert(file.id, bytes);
                files.insert(change.path.clone(), *file);
            }
        }
    }
    if let Some(path) = paths
        .iter()
        .find(|path| !files.keys().any(|file| file.starts_with(path)))
    {
        return Err(Error::NoSuchEdit { path: path.clone() }.into());
    }
    let scanner = session.scanner(false);
    let base = index.base();
    let local = scanner.survey(base.keys().chain(files.keys()))?;
    let mut plan = Plan::unchanged(&base);
    plan.put_back(&files, &base, &local);
    let update = Update {
        plan: &plan,
        local: &local,
        looked_at: scanner.since(),
        commit: index.commit,
        tree: index.tree,
        reference: &index.reference,
    };
    let source = PutBack {
        contents: &contents,
        others: session.store(),
    };
    let applied = carry_out(context, &session, &update, &source)?;
    Ok((files.into_keys().collect(), applied))
}
