//! From the commit point to the end: moves new directories, exchanges files, flushes, hashes again, saves the index,
//! removes the record.
//!
//! Every displaced file is moved to the staging directory. Other programs may write at the same time: a file that
//! appears, vanishes or changes between two calls is detected by the result of the call that meets it, not by a check
//! before. Each step may be repeated after a crash.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};

use rustix::io::Errno;

use super::new_directories::NewDirectory;
use super::order::Phases;
use super::staging::{self, Staging, displaced_name, file_name};
use super::{Applied, Change, Error, Fate, Image, Late, OnProgress, Transaction};
use super::{conflicts, inspect, recover, undo};
use crate::fs::{Directory, FileKind, Target, Unsynced, sync_all};
use crate::git::RelPath;
use crate::git::path::folded;
use crate::state::{Index, StatData, StateDir};

mod directories;

/// How often a step is retried if another program changes the directories above it at the same time.
const ATTEMPTS: u32 = 64;

/// A file that is created to read the clock of the target's file system.
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
    verify(&mut execution, &mut applied, on_progress)?;
    // Until the record is removed, recovery repeats all of this, so the order does not matter.
    let undo = undo::publish(execution.state, execution.transaction.id)?;
    let index = execution.index.take();
    let mut unsynced: Vec<Unsynced<'_>> = execution.unsynced().collect();
    if let Some(index) = index {
        unsynced.extend(index.exchange(execution.state)?);
    }
    unsynced.push(Unsynced::Names(&undo));
    sync_all(&unsynced)?;
    // A program that had an old file open may have written to it after it was displaced.
    execution.keep_displaced()?;
    recover::retire(execution.state)?;
    clean_up(&execution);
    applied.late = execution.late;
    Ok(applied)
}

/// Hashes every changed path again, but for files that are [as written](NewDirectory::is_as_written), and completes the
/// index.
fn verify(
    execution: &mut Execution<'_>,
    applied: &mut Applied,
    on_progress: OnProgress<'_>,
) -> Result<(), Error> {
    let transaction = execution.transaction;
    let now = now(execution)?;
    let mut stats = execution.target.stats();
    let new = std::mem::take(&mut execution.new);
    let mut new = new.iter().peekable();
    let mut written = Vec::new();
    for (number, change) in transaction.changes.iter().enumerate() {
        while new.next_if(|new| new.changes.end <= number).is_some() {}
        let as_written = match (new.peek(), change.after) {
            (Some(new), Some(file)) if new.changes.contains(&number) => stats
                .of(&change.path)?
                .filter(|stat| new.is_as_written(number, stat))
                .map(|stat| (inspect::There::Image(Image::File(file)), Some(stat))),
            _ => None,
        };
        let (there, stat) = match as_written {
            Some(as_written) => as_written,
            None => inspect::target(execution.target, &change.path)?,
        };
        let in_place = match change.after {
            Some(file) => there == inspect::There::Image(Image::File(file)),
            None => is_gone(execution, change, there),
        };
        if !in_place {
            let is_reported = execution.late.iter().any(|late| {
                late.path == change.path && matches!(late.fate, Fate::InPlace | Fate::Blocked)
            });
            if !is_reported {
                execution.report(&change.path, Fate::InPlace);
            }
        } else if change.after.is_some() {
            applied.written += 1;
            if !change.puts_back
                && let Some(seen) = stat.and_then(|stat| StatData::of(&stat, now))
            {
                written.push((change.path.clone(), seen));
            }
        } else {
            applied.deleted += 1;
        }
        on_progress(number as u64 + 1, transaction.changes.len() as u64);
    }
    if let Some(index) = &mut execution.index {
        index.seen.extend(written);
    }
    Ok(())
}

/// Whether a path that was removed is gone. A directory in its place is not what was there; and where `a` and `A` are
/// one name, neither is a new file.
fn is_gone(execution: &Execution<'_>, change: &Change, there: inspect::There) -> bool {
    match there {
        inspect::There::Image(Image::Missing | Image::Directory) => true,
        inspect::There::Special => false,
        inspect::There::Image(Image::File(_)) => {
            let is_same = |path: &RelPath| folded(path.as_str()) == folded(change.path.as_str());
            !execution.staging.can().tell_case && { execution.index.iter() }
                .any(|index| index.files.keys().any(is_same))
        }
    }
}

/// The time by the clock that stamps the target's files: on a network file system, the server's.
fn now(execution: &Execution<'_>) -> Result<i64, Error> {
    let staging = execution.staging.directory();
    staging.unlink(CLOCK)?;
    staging.create(CLOCK)?;
    Ok(staging.stat(CLOCK)?.map_or(0, |stat| stat.mtime))
}

/// Removes the staging directory, the former index and old copies. The next run repeats what fails here.
fn clean_up(execution: &Execution<'_>) {
    let result = staging::remove(execution.target)
        .and_then(|()| Ok(Index::remove_former(execution.state)?))
        .and_then(|()| undo::prune(execution.state));
    if let Err(error) = result {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the next run cleans up"
        );
    }
}

/// A transaction while it is carried out.
#[derive(Debug)]
pub(super) struct Execution<'a> {
    pub(super) target: &'a Target,
    pub(super) state: &'a StateDir,
    pub(super) transaction: &'a Transaction,
    pub(super) staging: Staging,
    pub(super) late: Vec<Late>,
    /// Changes that are not carried out: done already, or edited since.
    skipped: BTreeSet<usize>,
    /// Directories whose names changed; `None`: the root.
    touched: BTreeSet<Option<RelPath>>,
    spare: VecDeque<OsString>,
    new: Vec<NewDirectory>,
    /// The index afterwards, without the `lstat` data of files that change; `None` if that of before is lost.
    index: Option<Index>,
}

impl<'a> Execution<'a> {
    pub(super) fn new(
        target: &'a Target,
        state: &'a StateDir,
        transaction: &'a Transaction,
        staging: Staging,
        new: Vec<NewDirectory>,
        index: Option<Index>,
    ) -> Self {
        Self {
            target,
            state,
            transaction,
            staging,
            late: Vec::new(),
            skipped: BTreeSet::new(),
            touched: BTreeSet::new(),
            spare: VecDeque::new(),
            new,
            index,
        }
    }

    /// Leaves a change out.
    pub(super) fn skip(&mut self, number: usize) {
        self.skipped.insert(number);
    }

    /// Marks every directory that an earlier run may have changed to be flushed.
    pub(super) fn touch_all(&mut self) {
        let changes = self.transaction.changes.iter();
        let above = RelPath::above(changes.map(|change| &change.path));
        let above = above.into_iter().map(Some);
        self.touched.extend(above.chain([None]));
    }

    /// Reports a late edit, once.
    pub(super) fn report(&mut self, path: &RelPath, fate: Fate) {
        let late = Late {
            path: path.clone(),
            fate,
        };
        if !self.late.contains(&late) {
            self.late.push(late);
        }
    }

    /// Carries out what is not skipped.
    pub(super) fn carry_out(&mut self, on_progress: OnProgress<'_>) -> Result<(), Error> {
        self.spare = self.staging.spare_directories()?.into();
        let total = self.transaction.changes.len() as u64;
        let mut done = 0;
        let mut tick = || {
            done += 1;
            on_progress(done, total);
        };
        let phases = Phases::of(
            self.transaction,
            &self.skipped,
            self.staging.can().tell_case,
        );
        for number in phases.room {
            self.take_away(number)?;
            tick();
        }
        let put = self.put_new_directories()?;
        for number in phases.put {
            if !put.contains(&number) && self.make_room(number)? {
                self.put(number)?;
            }
            tick();
        }
        for number in phases.rest {
            self.take_away(number)?;
            tick();
        }
        self.remove_empty_directories()
    }

    /// The directories to flush. The staging directory may lose names: displaced files are in `undo`, or kept as late
    /// edits.
    pub(super) fn unsynced(&self) -> impl Iterator<Item = Unsynced<'_>> {
        let touched = self.touched.iter();
        touched.map(|path| Unsynced::NamesIn(self.target, path.as_ref()))
    }

    /// Keeps what changes displaced, if it is a late edit.
    pub(super) fn keep_displaced(&mut self) -> Result<(), Error> {
        for (number, name) in self.staging.files()? {
            if number < self.transaction.changes.len() {
                self.keep_if_unknown(number, &name)?;
            }
        }
        Ok(())
    }

    fn change(&self, number: usize) -> &'a Change {
        &self.transaction.changes[number]
    }

    /// Puts the new file of a change in its place.
    fn put(&mut self, number: usize) -> Result<(), Error> {
        let change = self.change(number);
        let name = change.path.name();
        for _ in 0..ATTEMPTS {
            let Some(directory) = self.above(&change.path)? else {
                continue;
            };
            self.touched.insert(change.path.parent());
            let first = if change.before.file().is_some() {
                self.exchange(number, &directory)
            } else {
                self.create(number, &directory)
            };
            let outcome = match first {
                // Somebody made a file where there was none, or removed the one there was.
                Err(Errno::EXIST) => self.exchange(number, &directory),
                Err(Errno::NOENT) => self.create(number, &directory),
                outcome => outcome,
            };
            match outcome {
                Ok(Displaced::Nothing) => return Ok(()),
                Ok(Displaced::As(displaced)) => {
                    if self.keep_if_unknown(number, &displaced)? {
                        return Ok(());
                    }
                    // Not a file: a directory or a socket appeared there. It is moved back.
                    self.put_back(number, &displaced, &directory)?;
                    self.report(&change.path, Fate::InPlace);
                    return Ok(());
                }
                Ok(Displaced::InTheWay) => {
                    self.report(&change.path, Fate::InPlace);
                    return Ok(());
                }
                Err(Errno::EXIST | Errno::NOENT | Errno::AGAIN | Errno::ISDIR | Errno::NOTDIR) => {}
                Err(errno) => return Err(directory.failure("write", name, errno).into()),
            }
        }
        self.report(&change.path, Fate::Blocked);
        Ok(())
    }

    /// Moves a staged file to where nothing is.
    fn create(&self, number: usize, directory: &Directory) -> Result<Displaced, Errno> {
        let staging = self.staging.directory();
        let (staged, name) = (file_name(number), self.change(number).path.name());
        if self.staging.can().rename_new {
            staging.rename_new(&staged, directory, name)?;
        } else {
            staging.link(&staged, directory, name)?;
            // The second name is removed with the staging directory.
        }
        Ok(Displaced::Nothing)
    }

    /// Exchanges a staged file with the one in its place.
    fn exchange(&self, number: usize, directory: &Directory) -> Result<Displaced, Errno> {
        let staging = self.staging.directory();
        let (staged, name) = (file_name(number), self.change(number).path.name());
        if self.staging.can().exchange {
            staging.exchange(&staged, directory, name)?;
            return Ok(Displaced::As(staged));
        }
        // A second name for the old file, then the new file over its first.
        let stat = |directory: &Directory, name: &str| {
            directory
                .stat(name)
                .map_err(|failure| failure.errno().unwrap_or(Errno::IO))
        };
        let old = stat(directory, name)?.ok_or(Errno::NOENT)?;
        if matches!(old.kind, FileKind::Directory | FileKind::Special) {
            return Ok(Displaced::InTheWay);
        }
        let displaced = displaced_name(number);
        staging
            .unlink(&displaced)
            .map_err(|failure| failure.errno().unwrap_or(Errno::IO))?;
        directory.link(name, staging, &displaced)?;
        let kept = stat(staging, &displaced)?.map(|stat| stat.ino);
        if kept != stat(directory, name)?.map(|stat| stat.ino) {
            return Err(Errno::AGAIN);
        }
        staging.rename(&staged, directory, name)?;
        Ok(Displaced::As(displaced))
    }

    /// Returns what was displaced to its place, where the new file is now, or nothing.
    fn put_back(&self, number: usize, displaced: &str, directory: &Directory) -> Result<(), Error> {
        let name = self.change(number).path.name();
        let staging = self.staging.directory();
        staging
            .exchange(displaced, directory, name)
            .or_else(|errno| match errno {
                Errno::NOENT => self.move_new(displaced, directory, name),
                errno => Err(errno),
            })
            .map_err(|errno| directory.failure("put back", name, errno).into())
    }

    /// Moves something from the staging directory to where nothing is.
    fn move_new(
        &self,
        staged: impl AsRef<OsStr>,
        directory: &Directory,
        name: &str,
    ) -> Result<(), Errno> {
        let staging = self.staging.directory();
        if self.staging.can().rename_new {
            staging.rename_new(staged, directory, name)
        } else {
            staging.rename(staged, directory, name)
        }
    }

    /// Moves what is at the path of a change into the staging directory.
    fn take_away(&mut self, number: usize) -> Result<(), Error> {
        let change = self.change(number);
        let name = change.path.name();
        let Some(directory) = self.target.directory(change.path.parent().as_ref())? else {
            return Ok(());
        };
        match directory.stat(name)?.map(|stat| stat.kind) {
            None | Some(FileKind::Directory) => return Ok(()),
            Some(FileKind::Special) => {
                self.report(&change.path, Fate::InPlace);
                return Ok(());
            }
            Some(FileKind::File | FileKind::Symlink) => {}
        }
        let staging = self.staging.directory();
        let displaced = displaced_name(number);
        // Left by a run that died after removing a file, and already inspected by recovery; another file is there now.
        staging.unlink(&displaced)?;
        match directory.rename(name, staging, &displaced) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(directory.failure("remove", name, errno).into()),
        }
        self.touched.insert(change.path.parent());
        if self.keep_if_unknown(number, &displaced)? {
            return Ok(());
        }
        let back = self.move_new(&displaced, &directory, name);
        back.map_err(|errno| directory.failure("put back", name, errno))?;
        self.report(&change.path, Fate::InPlace);
        Ok(())
    }

    /// Keeps this name of the staging directory if it is neither what the plan saw nor what the commit has. False if it
    /// is not a file or symlink.
    fn keep_if_unknown(&mut self, number: usize, name: &str) -> Result<bool, Error> {
        let change = self.change(number);
        let staging = self.staging.directory();
        let kind = match staging.stat(name)?.map(|stat| stat.kind) {
            None => return Ok(true),
            Some(FileKind::Directory | FileKind::Special) => return Ok(false),
            Some(kind @ (FileKind::File | FileKind::Symlink)) => kind,
        };
        let content = inspect::content(staging, name, kind)?;
        let known = content.is_some_and(|id| change.knows(id));
        if !known {
            let kept =
                conflicts::keep(self.state, self.transaction.id, &change.path, staging, name)?;
            self.report(&change.path, Fate::KeptAside(kept));
        }
        Ok(true)
    }
}

/// What a new file displaced.
enum Displaced {
    Nothing,
    /// A file that has this name in the staging directory.
    As(String),
    /// Something that cannot be displaced.
    InTheWay,
}
