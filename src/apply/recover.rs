//! After a crash: what was not recorded is taken back, what was recorded is carried out.
//!
//! | `tx/active` | |
//! |---|---|
//! | absent | staging directory and copies of the unfinished update are removed; the target was not touched. Where the staging directory shows that it was, somebody removed the record: as if it were damaged |
//! | whole | the update is carried out: what is in place stays, what is as the plan saw it is replaced, what is neither was edited since and stays as it is |
//! | damaged | its second copy, in `undo/<id>.part`, takes its place; without one, all content that is nowhere else is kept in `conflicts`, and the next plan goes on from what is there |
//! | not ours | nothing is touched, a person must look |

use std::fmt;
use std::path::PathBuf;

use super::execute::Execution;
use super::staging::{self, Staging, displaced_name, file_name};
use super::{
    Applied, Change, Content, Error, Fate, Image, Late, RecoveryProblem, Transaction, conflicts,
    copies, finish, inspect, stage, transaction, unfinished,
};
use crate::fs::{Directory, Failure, Target, Unsynced};
use crate::git::RelPath;
use crate::state::{Found, StateDir, SyncPoint, TX, sealed};

const ACTIVE: &str = "active";
const PLAN: &str = ".plan";

/// What recovery did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// What the target is at now; `None` where the record was lost, and it may be at two commits until the next sync.
    pub point: Option<SyncPoint>,
    /// What was carried out.
    pub applied: Applied,
    /// Where the damaged record is, if it was.
    pub damaged_record: Option<PathBuf>,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.point {
            Some(point) => write!(
                f,
                "an interrupted update was finished: the target was brought to {}",
                point.commit.short()
            ),
            None => f.write_str(
                "the record of an interrupted update was lost: what it had changed is compared anew",
            ),
        }
    }
}

/// A transaction's record on its way to being active.
#[derive(Debug)]
pub(super) struct RecordDirectory {
    directory: Directory,
    name: String,
}

impl RecordDirectory {
    /// Writes the record and its second copy; neither is durable yet.
    pub(super) fn write(
        state: &StateDir,
        transaction: &Transaction,
        copies: &copies::Copies,
    ) -> Result<Self, Error> {
        let directory = state.make(TX)?;
        let name = format!("{}{PLAN}", transaction.id);
        let sealed = sealed::seal(&directory, &name, transaction::FORMAT, transaction)?;
        copies.record(transaction, &sealed)?;
        sealed.put(&directory, &name)?;
        Ok(Self { directory, name })
    }

    /// What of it is to be made durable before it is activated.
    pub(super) fn unsynced(&self) -> Unsynced<'_> {
        Unsynced::File(&self.directory, self.name.clone())
    }

    /// The commit point.
    pub(super) fn activate(self) -> Result<(), Error> {
        self.directory
            .rename(&self.name, &self.directory, ACTIVE)
            .map_err(|errno| self.directory.failure("record", ACTIVE, errno))?;
        // If this fails, the name may or may not outlive a power cut. Both are fine as long as nothing of what the
        // record needs is taken away.
        Ok(self.directory.sync()?)
    }
}

/// Whether an update waits to be finished.
pub fn is_active(state: &StateDir) -> Result<bool, Error> {
    Ok(match state.directory().child(TX)? {
        Some(directory) => directory.stat(ACTIVE)?.is_some(),
        None => false,
    })
}

/// The update is finished.
pub(super) fn retire(state: &StateDir) -> Result<(), Error> {
    let directory = state.make(TX)?;
    directory.unlink(ACTIVE)?;
    Ok(directory.sync()?)
}

/// Removes what updates left that never came to their commit point.
pub(super) fn sweep(target: &Target, state: &StateDir) -> Result<(), Error> {
    staging::remove(target)?;
    if let Some(directory) = state.directory().child(TX)? {
        for name in directory.list()? {
            if name.to_str().is_some_and(|name| name.contains(PLAN)) {
                directory.unlink(&name)?;
            }
        }
    }
    copies::sweep(state)?;
    Ok(state.sweep()?)
}

/// Finishes or takes back what an earlier run left. `None` where there was nothing to finish.
///
/// Needs no network. The caller holds the [lock](crate::lock).
pub fn recover(
    target: &Target,
    state: &StateDir,
    content: &dyn Content,
) -> Result<Option<Recovered>, Error> {
    // It was opened before the lock was taken, perhaps before another run made it.
    target.look_again()?;
    let directory = state.directory().child(TX)?;
    let found = match &directory {
        Some(directory) => sealed::read::<Transaction>(directory, ACTIVE, transaction::FORMAT)?,
        None => Found::Absent,
    };
    // A run that died may have given the record its name, or taken it, without waiting until that was durable.
    if let Some(directory) = &directory
        && (!matches!(found, Found::Absent) || is_staged_for(target)?)
    {
        directory.sync()?;
    }
    match found {
        Found::Absent => match copies::unfinished(state)? {
            Some(transaction) if was_begun(target, &transaction)? => {
                tracing::warn!("the record of an unfinished update was removed");
                go_on_from_copy(target, state, &transaction, content).map(Some)
            }
            _ => {
                sweep(target, state)?;
                Ok(None)
            }
        },
        Found::Whole(transaction) => go_on(target, state, &transaction, content).map(Some),
        Found::Damaged(sealed::Damage::Content) => Err(Error::NeedsPerson {
            problem: RecoveryProblem::Record,
        }),
        Found::Damaged(damage) => {
            tracing::warn!(%damage, "the record of an unfinished update is damaged");
            match copies::unfinished(state)? {
                Some(transaction) => {
                    go_on_from_copy(target, state, &transaction, content).map(Some)
                }
                None => salvage(target, state, content).map(Some),
            }
        }
    }
}

/// Whether a run has left its staging directory.
fn is_staged_for(target: &Target) -> Result<bool, Error> {
    Ok(match target.directory(None)? {
        Some(root) => staging::find(&root)?.is_some(),
        None => false,
    })
}

/// Whether the staging directory holds files that the transaction displaced.
fn was_begun(target: &Target, transaction: &Transaction) -> Result<bool, Error> {
    let Some(root) = target.directory(None)? else {
        return Ok(false);
    };
    let Some(staging) = staging::find(&root)? else {
        return Ok(false);
    };
    for (number, change) in transaction.changes.iter().enumerate() {
        let Some(before) = change.before.file() else {
            continue;
        };
        let (there, _) = inspect::entry(&staging, &file_name(number))?;
        let exchanged = there == inspect::There::Image(Image::File(*before))
            && change.after.is_none_or(|after| after.id != before.id);
        if exchanged || staging.stat(displaced_name(number))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Carries out a transaction whose record is damaged or gone, by the record's second copy.
fn go_on_from_copy(
    target: &Target,
    state: &StateDir,
    transaction: &Transaction,
    content: &dyn Content,
) -> Result<Recovered, Error> {
    let aside = replace_record(state, transaction)?;
    let recovered = go_on(target, state, transaction, content)?;
    Ok(Recovered {
        damaged_record: aside,
        ..recovered
    })
}

/// Carries out a transaction from wherever it was left.
fn go_on(
    target: &Target,
    state: &StateDir,
    transaction: &Transaction,
    content: &dyn Content,
) -> Result<Recovered, Error> {
    let person = |problem| Error::NeedsPerson { problem };
    if !transaction.is_about(target.path()) {
        return Err(person(RecoveryProblem::OtherTarget(
            transaction.target.clone(),
        )));
    }
    if !transaction.check() {
        return Err(person(RecoveryProblem::Record));
    }
    let found = transaction
        .changes
        .iter()
        .map(|change| Ok(classify(change, inspect::target(target, &change.path)?.0)))
        .collect::<Result<Vec<ChangeState>, Error>>()?;
    let staged = match target.directory(None)? {
        Some(root) => staging::find(&root)?,
        None => None,
    };
    let mut lost = Vec::new();
    let mut to_stage = Vec::new();
    for (number, change) in transaction.changes.iter().enumerate() {
        if found[number] != ChangeState::Waiting || change.after.is_none() {
            continue;
        }
        if let Some(staging) = &staged
            && is_staged(staging, number, change)?
        {
            continue;
        }
        to_stage.push(number);
        if change
            .after
            .is_none_or(|file| content.blob(file.id).is_err())
        {
            lost.push(change.path.clone());
        }
    }
    if !lost.is_empty() {
        return Err(person(RecoveryProblem::Content(lost)));
    }
    carry_on(target, state, transaction, content, &found, &to_stage)
        .map_err(|source| unfinished(transaction.id, source))
}

fn carry_on(
    target: &Target,
    state: &StateDir,
    transaction: &Transaction,
    content: &dyn Content,
    found: &[ChangeState],
    to_stage: &[usize],
) -> Result<Recovered, Error> {
    target.make()?;
    let mut execution = Execution::new(target, state, transaction, Staging::open(target)?);
    execution.touch_all();
    conflicts::make_durable(state, transaction.id)?;
    for (number, change) in transaction.changes.iter().enumerate() {
        // Killed between displacing a late edit and keeping it.
        execution.keep_displaced(number)?;
        match found[number] {
            ChangeState::Waiting => {}
            ChangeState::Done => execution.skip(number),
            ChangeState::Edited => {
                execution.skip(number);
                execution.report(&change.path, Fate::InPlace);
            }
        }
    }
    for &number in to_stage {
        let staging = execution.staging.directory();
        let change = &transaction.changes[number];
        execution.staging.clear(number)?;
        stage::write(&execution.staging, number, change, content)?;
        stage::sync_one(staging, number, change)?;
    }
    let applied = finish::run(execution, &|_, _| ())?;
    Ok(Recovered {
        point: Some(transaction.after.clone()),
        applied,
        damaged_record: None,
    })
}

/// Where a change stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChangeState {
    /// It is carried out.
    Done,
    /// It is not.
    Waiting,
    /// Somebody changed the path since the crash; theirs it stays.
    Edited,
}

fn classify(change: &Change, there: inspect::There) -> ChangeState {
    let inspect::There::Image(image) = there else {
        return ChangeState::Edited;
    };
    match (change.after, image) {
        (_, image) if image == change.result() => ChangeState::Done,
        // What was taken away has made room for a directory.
        (None, Image::Directory) => ChangeState::Done,
        // A missing file is written again, as by any plan; its bytes are in `undo`.
        (Some(_), Image::Missing) => ChangeState::Waiting,
        (_, image) if image == change.before => ChangeState::Waiting,
        _ => ChangeState::Edited,
    }
}

/// Whether the new file of a change is in the staging directory, whole.
fn is_staged(staging: &Directory, number: usize, change: &Change) -> Result<bool, Failure> {
    let name = file_name(number);
    let (there, _) = inspect::entry(staging, &name)?;
    let mode = staging.stat(&name)?.map(|stat| stat.mode);
    Ok(change.after.is_some_and(|file| {
        let same_mode = file
            .mode
            .permissions()
            .is_none_or(|want| mode == Some(want));
        there == inspect::There::Image(Image::File(file)) && same_mode
    }))
}

/// Puts the second copy of a record in its place; returns where a damaged one is now.
fn replace_record(state: &StateDir, transaction: &Transaction) -> Result<Option<PathBuf>, Error> {
    let directory = state.make(TX)?;
    let name = format!("{}{PLAN}", transaction.id);
    sealed::prepare(&directory, &name, transaction::FORMAT, transaction)?;
    let aside = match directory.stat(ACTIVE)? {
        Some(_) => Some(sealed::set_aside(&directory, ACTIVE)?),
        None => None,
    };
    directory
        .rename(&name, &directory, ACTIVE)
        .map_err(|errno| directory.failure("replace", ACTIVE, errno))?;
    directory.sync()?;
    Ok(aside)
}

/// The record is lost: keeps whatever content is nowhere else, and lets the next plan do the rest.
fn salvage(target: &Target, state: &StateDir, content: &dyn Content) -> Result<Recovered, Error> {
    let id = copies::next_id(state)?;
    let mut late = Vec::new();
    if let Some(root) = target.directory(None)?
        && let Some(staging) = staging::find(&root)?
    {
        for name in staging.list()? {
            let path = name
                .to_str()
                .and_then(|name| RelPath::new(name.as_bytes()).ok());
            let (Some(path), inspect::There::Image(Image::File(file))) = (
                path,
                inspect::entry(&staging, name.to_str().unwrap_or("."))?.0,
            ) else {
                continue;
            };
            if content.blob(file.id).is_err() && !copies::has(state, file.id)? {
                let kept = conflicts::keep(state, id, &path, &staging, path.name())?;
                late.push(Late {
                    path,
                    fate: Fate::KeptAside(kept),
                });
            }
        }
    }
    copies::publish_all(state)?;
    let directory = state.make(TX)?;
    let aside = sealed::set_aside(&directory, ACTIVE)?;
    sweep(target, state)?;
    Ok(Recovered {
        point: None,
        applied: Applied {
            late,
            ..Applied::default()
        },
        damaged_record: Some(aside),
    })
}
