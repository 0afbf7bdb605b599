//! Recovery after a crash: an update without a record is taken back, one with a record is carried out.
//!
//! | `tx/active` | recovery |
//! |---|---|
//! | absent | removes the staging directory and the copies of the unfinished update; the target was not changed. If the staging directory shows that it was changed, somebody removed the record: as if it were damaged |
//! | whole | carries the update out: a path with the new content stays, one with the old content is replaced, any other was edited since and stays |
//! | damaged | uses the record's second copy in `undo/<id>.part`; without one, keeps content that exists nowhere else in `conflicts`, and the next plan starts from the current files |
//! | of another target, or inconsistent | changes nothing; a person has to decide |

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::execute::{self, Execution};
use super::new_directories::{NEW, staged_above, take_out};
use super::staging::{self, Staging, displaced_name, file_name};
use super::{
    Applied, Change, Content, Error, Fate, Image, Late, RecoveryProblem, Transaction, TxId,
    conflicts, inspect, transaction, undo, unfinished,
};
use crate::fs::{Directory, Failure, Target, Unsynced};
use crate::git::{File, RelPath};
use crate::state::{Found, Index, StateDir, SyncPoint, TX, sealed};

const ACTIVE: &str = "active";
const PLAN: &str = ".plan";

/// What recovery did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// What the target is at now; `None` if the record was lost: until the next sync it may have files of two commits.
    pub point: Option<SyncPoint>,
    /// The changes that were carried out.
    pub applied: Applied,
    /// The path to which a damaged record was moved.
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

/// A transaction's record before the commit point.
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
        copies: &undo::Copies,
    ) -> Result<Self, Error> {
        let directory = state.make(TX)?;
        let name = format!("{}{PLAN}", transaction.id);
        let sealed = sealed::seal(&directory, &name, transaction::FORMAT, transaction)?;
        copies.record(transaction, &sealed)?;
        sealed.put(&directory, &name)?;
        Ok(Self { directory, name })
    }

    /// The file to flush before the record is activated.
    pub(super) fn unsynced(&self) -> Unsynced<'_> {
        Unsynced::File(&self.directory, self.name.clone())
    }

    /// The commit point.
    pub(super) fn activate(self) -> Result<(), Error> {
        self.directory
            .rename(&self.name, &self.directory, ACTIVE)
            .map_err(|errno| self.directory.failure("record", ACTIVE, errno))?;
        // If this fails, the name may or may not outlive a power cut. Either is safe as long as nothing that the record
        // needs is removed.
        Ok(self.directory.sync()?)
    }
}

/// Whether an update is unfinished.
pub fn is_active(state: &StateDir) -> Result<bool, Error> {
    Ok(match state.directory().child(TX)? {
        Some(directory) => directory.stat(ACTIVE)?.is_some(),
        None => false,
    })
}

/// Removes the record of a finished update.
pub(super) fn retire(state: &StateDir) -> Result<(), Error> {
    let directory = state.make(TX)?;
    directory.unlink(ACTIVE)?;
    Ok(directory.sync()?)
}

/// Removes the files of updates that did not reach their commit point.
pub(super) fn sweep(target: &Target, state: &StateDir) -> Result<(), Error> {
    staging::remove(target)?;
    if let Some(directory) = state.directory().child(TX)? {
        for name in directory.list()? {
            if name.to_str().is_some_and(|name| name.contains(PLAN)) {
                directory.unlink(&name)?;
            }
        }
    }
    undo::sweep(state)?;
    Ok(state.sweep()?)
}

/// Finishes or takes back what an earlier run left. `None` if there was nothing to finish.
///
/// Needs no network. The caller holds the [lock](crate::lock).
pub fn recover(
    target: &Target,
    state: &StateDir,
    content: &dyn Content,
) -> Result<Option<Recovered>, Error> {
    // It was opened before the lock was taken, perhaps before another run created it.
    target.look_again()?;
    let recovery = Recovery {
        target,
        state,
        content,
    };
    let directory = state.directory().child(TX)?;
    let found = match &directory {
        Some(directory) => sealed::read::<Transaction>(directory, ACTIVE, transaction::FORMAT)?,
        None => Found::Absent,
    };
    // A run that died may have renamed or removed the record before that was durable.
    if let Some(directory) = &directory
        && (!matches!(found, Found::Absent) || recovery.staging()?.is_some())
    {
        directory.sync()?;
    }
    match found {
        Found::Absent => match undo::unfinished(state)? {
            Some(transaction) if recovery.has_displaced(&transaction)? => {
                tracing::warn!("the record of an unfinished update was removed");
                recovery.finish_by_copy(&transaction).map(Some)
            }
            _ => {
                sweep(target, state)?;
                Ok(None)
            }
        },
        Found::Whole(transaction) => recovery.finish(&transaction).map(Some),
        Found::Damaged(sealed::Damage::Content) => Err(Error::NeedsPerson {
            problem: RecoveryProblem::Record,
        }),
        Found::Damaged(damage) => {
            tracing::warn!(%damage, "the record of an unfinished update is damaged");
            match undo::unfinished(state)? {
                Some(transaction) => recovery.finish_by_copy(&transaction).map(Some),
                None => recovery.salvage().map(Some),
            }
        }
    }
}

/// What a recovery works with.
struct Recovery<'a> {
    target: &'a Target,
    state: &'a StateDir,
    content: &'a dyn Content,
}

impl Recovery<'_> {
    /// The staging directory that a run has left.
    fn staging(&self) -> Result<Option<Directory>, Error> {
        match self.target.directory(None)? {
            Some(root) => staging::find(&root),
            None => Ok(None),
        }
    }

    /// Whether the staging directory has files that the transaction displaced.
    fn has_displaced(&self, transaction: &Transaction) -> Result<bool, Error> {
        let Some(staging) = self.staging()? else {
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

    /// Carries out a transaction whose record is damaged or missing, from the record's second copy.
    fn finish_by_copy(&self, transaction: &Transaction) -> Result<Recovered, Error> {
        let damaged_record = replace_record(self.state, transaction)?;
        Ok(Recovered {
            damaged_record,
            ..self.finish(transaction)?
        })
    }

    /// Carries out the rest of a transaction.
    fn finish(&self, transaction: &Transaction) -> Result<Recovered, Error> {
        let person = |problem| Error::NeedsPerson { problem };
        if !transaction.is_about(self.target.path()) {
            return Err(person(RecoveryProblem::OtherTarget(
                transaction.target.clone(),
            )));
        }
        if !transaction.check() {
            return Err(person(RecoveryProblem::Record));
        }
        let states = transaction
            .changes
            .iter()
            .map(|change| {
                let (there, _) = inspect::target(self.target, &change.path)?;
                Ok(classify(change, there))
            })
            .collect::<Result<Vec<ChangeState>, Error>>()?;
        let staged = self.staging()?;
        let mut lost = Vec::new();
        let (mut to_stage, mut to_take_out) = (Vec::new(), Vec::new());
        for (number, change) in transaction.changes.iter().enumerate() {
            let Some(after) = change
                .after
                .filter(|_| states[number] == ChangeState::Waiting)
            else {
                continue;
            };
            if let Some(staging) = &staged {
                if is_whole(staging, &file_name(number), &after)? {
                    continue;
                }
                if let Some(above) = staging.descendant(&staged_above(&change.path))?
                    && is_whole(&above, change.path.name(), &after)?
                {
                    to_take_out.push(number);
                    continue;
                }
            }
            to_stage.push(number);
            if self.content.blob(after.id).is_err() {
                lost.push(change.path.clone());
            }
        }
        if !lost.is_empty() {
            return Err(person(RecoveryProblem::Content(lost)));
        }
        self.carry_out(transaction, &states, &to_stage, &to_take_out)
            .map_err(|source| unfinished(transaction.id, source))
    }

    fn carry_out(
        &self,
        transaction: &Transaction,
        states: &[ChangeState],
        to_stage: &[usize],
        to_take_out: &[usize],
    ) -> Result<Recovered, Error> {
        self.target.make()?;
        let staging = Staging::open(self.target)?;
        let index = transaction.index(Index::load_either(self.state)?);
        let mut execution = Execution::new(
            self.target,
            self.state,
            transaction,
            staging,
            Vec::new(),
            index,
        );
        execution.touch_all();
        conflicts::make_durable(self.state, transaction.id)?;
        // The run may have died between displacing a late edit and keeping it.
        execution.keep_displaced()?;
        for (number, change) in transaction.changes.iter().enumerate() {
            match states[number] {
                ChangeState::Waiting => {}
                ChangeState::Done => execution.skip(number),
                ChangeState::Edited => {
                    execution.skip(number);
                    execution.report(&change.path, Fate::InPlace);
                }
            }
        }
        for &number in to_stage {
            let change = &transaction.changes[number];
            execution.staging.clear(number)?;
            staging::write(&execution.staging, number, change, self.content)?;
            staging::sync_one(execution.staging.directory(), number, change)?;
        }
        // One by one: somebody may have made the directories since.
        for &number in to_take_out {
            let change = &transaction.changes[number];
            execution.staging.clear(number)?;
            take_out(&execution.staging, &change.path, &file_name(number))?;
        }
        let applied = execute::run(execution, &|_, _| ())?;
        Ok(Recovered {
            point: Some(transaction.after.clone()),
            applied,
            damaged_record: None,
        })
    }

    /// Without any record: keeps content that exists nowhere else, and leaves the rest to the next plan.
    fn salvage(&self) -> Result<Recovered, Error> {
        let id = undo::next_id(self.state)?;
        let mut late = Vec::new();
        if let Some(staging) = self.staging()? {
            self.keep_unknown(id, &staging, None, &mut late)?;
        }
        undo::publish_all(self.state)?;
        let directory = self.state.make(TX)?;
        let aside = sealed::set_aside(&directory, ACTIVE)?;
        sweep(self.target, self.state)?;
        Ok(Recovered {
            point: None,
            applied: Applied {
                late,
                ..Applied::default()
            },
            damaged_record: Some(aside),
        })
    }
}

impl Recovery<'_> {
    /// Keeps what exists nowhere else of the files in the staging directory, and of those that are staged below it.
    fn keep_unknown(
        &self,
        id: TxId,
        directory: &Directory,
        above: Option<&RelPath>,
        late: &mut Vec<Late>,
    ) -> Result<(), Error> {
        for name in directory.list()? {
            let Ok(path) = RelPath::join(above, name.as_bytes()) else {
                continue;
            };
            let (there, _) = inspect::entry(directory, path.name())?;
            match there {
                inspect::There::Image(Image::File(file)) => {
                    if self.content.blob(file.id).is_err() && !undo::has(self.state, file.id)? {
                        let kept = conflicts::keep(self.state, id, &path, directory, path.name())?;
                        late.push(Late {
                            path,
                            fate: Fate::KeptAside(kept),
                        });
                    }
                }
                inspect::There::Image(Image::Directory) if above.is_some() || name == NEW => {
                    if let Some(child) = directory.child(&name)? {
                        self.keep_unknown(id, &child, Some(&path), late)?;
                    }
                }
                inspect::There::Image(Image::Directory | Image::Missing)
                | inspect::There::Special => {}
            }
        }
        Ok(())
    }
}

/// How far a change was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChangeState {
    /// The new content is in place.
    Done,
    /// The old content is in place.
    Waiting,
    /// The path was changed since the crash and stays as it is.
    Edited,
}

fn classify(change: &Change, there: inspect::There) -> ChangeState {
    let inspect::There::Image(image) = there else {
        return ChangeState::Edited;
    };
    match (change.after, image) {
        (_, image) if image == change.result() => ChangeState::Done,
        // The removed file has made room for a directory.
        (None, Image::Directory) => ChangeState::Done,
        // A missing file is written again, as by any plan; its bytes are in `undo`.
        (Some(_), Image::Missing) => ChangeState::Waiting,
        (_, image) if image == change.before => ChangeState::Waiting,
        _ => ChangeState::Edited,
    }
}

/// Whether a staged file is whole.
fn is_whole(directory: &Directory, name: &str, file: &File) -> Result<bool, Failure> {
    let (there, _) = inspect::entry(directory, name)?;
    let mode = directory.stat(name)?.map(|stat| stat.mode);
    let permissions = file.mode.permissions();
    Ok(there == inspect::There::Image(Image::File(*file))
        && permissions.is_none_or(|permissions| mode == Some(permissions)))
}

/// Replaces a record by its second copy; returns the path to which a damaged one was moved.
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
