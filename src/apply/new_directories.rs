//! Directories that an update makes: staged in their final shape, and put in place by one rename each.
//!
//! `new` in the staging directory has every new file at the path that it will have in the target. The topmost directory
//! there that the target does not have is moved as a whole, where nobody has made it meanwhile; else its files are put
//! in place one by one, as those of other directories.
//!
//! What is in such a directory was never visible before the move. A file in it whose `lstat` still is what it was when
//! it was written, and that is older than the move by more than a tick of the file system's clock, has not been changed
//! by anybody, so it is not read again.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::staging::{Staging, write_file};
use super::{Content, Error, Image, Transaction};
use crate::fs::{Directory, Failure, FileKind, Stat, Target, Unsynced};
use crate::git::{FileMode, RelPath};
use crate::state::StatData;

/// Its name in the staging directory.
pub(super) const NEW: &str = "new";

/// The mode of every directory of ours.
const MODE: u32 = 0o755;

/// The topmost of the directories that come, with all that comes into it.
#[derive(Debug)]
pub(super) struct NewDirectory {
    pub(super) path: RelPath,
    /// The numbers of the changes in it, which all are new files.
    pub(super) changes: Range<usize>,
    /// How each file was when it was written; `None` for a symlink.
    written: Vec<Option<StatData>>,
    /// When it was put in place, by the clock of its file system; nanoseconds since 1970.
    put_at: Option<i64>,
}

impl NewDirectory {
    /// All of a transaction, in the order of their paths.
    ///
    /// There are none where a directory could not be moved without replacing another one, or where `a` and `A` are one
    /// name.
    pub(super) fn all(
        target: &Target,
        staging: &Staging,
        transaction: &Transaction,
    ) -> Result<Vec<Self>, Error> {
        let can = staging.can();
        if !(can.rename_new && can.tell_case) {
            return Ok(Vec::new());
        }
        let changes = transaction.changes.as_slice();
        let mut stats = target.stats();
        let mut there = BTreeSet::new();
        let mut missing = |path: &RelPath| {
            for directory in path.ancestors() {
                if there.contains(&directory) {
                    continue;
                }
                if stats.of(&directory)?.map(|stat| stat.kind) != Some(FileKind::Directory) {
                    return Ok::<_, Error>(Some(directory));
                }
                there.insert(directory);
            }
            Ok(None)
        };
        let mut all = Vec::new();
        let mut number = 0;
        while let Some(change) = changes.get(number) {
            let Some(path) = missing(&change.path)? else {
                number += 1;
                continue;
            };
            // The paths below a directory follow each other.
            let inside = changes[number..].iter();
            let inside = inside.take_while(|change| change.path.starts_with(&path));
            let range = number..number + inside.count();
            number = range.end;
            let are_new = changes[range.clone()]
                .iter()
                .all(|change| change.before == Image::Missing && change.after.is_some());
            if are_new {
                all.push(Self {
                    path,
                    written: Vec::with_capacity(range.len()),
                    changes: range,
                    put_at: None,
                });
            }
        }
        Ok(all)
    }

    /// Where it is staged, from the staging directory.
    pub(super) fn staged_above(&self) -> PathBuf {
        staged_above(&self.path)
    }

    /// It was moved from this directory to its place just now.
    pub(super) fn is_put(&mut self, staged_above: &Directory) -> Result<(), Failure> {
        // The move has stamped the directory that it was moved from.
        self.put_at = Some(staged_above.own_stat()?.mtime);
        Ok(())
    }

    /// Whether the file of a change is what was written, by its `lstat` alone.
    pub(super) fn is_as_written(&self, number: usize, stat: &Stat) -> bool {
        let written = number
            .checked_sub(self.changes.start)
            .and_then(|place| *self.written.get(place)?);
        let seen = self.put_at.and_then(|put_at| StatData::of(stat, put_at));
        seen.is_some() && seen == written
    }
}

/// The directory in which a new file or directory is staged, from the staging directory.
pub(super) fn staged_above(path: &RelPath) -> PathBuf {
    Path::new(NEW).join(path.parent_str().unwrap_or_default())
}

/// Whether a change is in one of these directories.
pub(super) fn holds(new: &[NewDirectory], number: usize) -> bool {
    let after = new.partition_point(|directory| directory.changes.start <= number);
    after > 0 && new[after - 1].changes.contains(&number)
}

/// Writes the files of new directories, in the order of their paths.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    directories: &'a mut [NewDirectory],
    root: Directory,
    /// The directories above the last file, top first. They are open to others when all that is in them is written.
    open: Vec<(RelPath, Directory)>,
}

impl<'a> Writer<'a> {
    pub(super) fn begin(
        staging: &Staging,
        directories: &'a mut [NewDirectory],
    ) -> Result<Self, Failure> {
        Ok(Self {
            directories,
            root: staging.directory().make_closed_child(NEW)?,
            open: Vec::new(),
        })
    }

    /// Writes the file of a change, if it is in a new directory; false if not. Not durable yet.
    pub(super) fn write(
        &mut self,
        transaction: &Transaction,
        number: usize,
        content: &dyn Content,
    ) -> Result<bool, Error> {
        let after =
            { &*self.directories }.partition_point(|directory| directory.changes.start <= number);
        let place = after
            .checked_sub(1)
            .filter(|&place| self.directories[place].changes.contains(&number));
        let Some(place) = place else {
            return Ok(false);
        };
        let change = &transaction.changes[number];
        let directory = self.enter(change.path.parent().as_ref())?;
        let stat = write_file(directory, change.path.name(), change, content)?;
        let written = stat.map(|stat| StatData::from(&stat));
        self.directories[place].written.push(written);
        Ok(true)
    }

    /// Ends it; the directories have their modes afterwards.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.leave(None)
    }

    fn enter(&mut self, parent: Option<&RelPath>) -> Result<&Directory, Failure> {
        self.leave(parent)?;
        let wanted = parent.into_iter().flat_map(|parent| {
            let above = parent.ancestors();
            above.chain([parent.clone()])
        });
        for directory in wanted.skip(self.open.len()) {
            let above = self.open.last().map_or(&self.root, |(_, above)| above);
            let child = above.make_closed_child(directory.name())?;
            self.open.push((directory, child));
        }
        Ok(self.open.last().map_or(&self.root, |(_, above)| above))
    }

    /// Leaves the directories that are not above the next file.
    fn leave(&mut self, next: Option<&RelPath>) -> Result<(), Failure> {
        let is_above = |path: &RelPath| next.is_some_and(|next| next.starts_with(path));
        while let Some((_, directory)) = self.open.pop_if(|(path, _)| !is_above(path)) {
            directory.open_up(MODE)?;
        }
        Ok(())
    }
}

/// The staged files and directories to flush.
pub(super) fn unsynced<'a>(
    staging: &'a Staging,
    new: &[NewDirectory],
    transaction: &Transaction,
) -> Vec<Unsynced<'a>> {
    let root = staging.directory();
    let below = |path: &RelPath| Path::new(NEW).join(path.as_str());
    let changes = || {
        let ranges = new.iter().map(|directory| directory.changes.clone());
        ranges.flat_map(|range| &transaction.changes[range])
    };
    let files = changes().filter(|change| {
        change
            .after
            .is_some_and(|file| file.mode != FileMode::Symlink)
    });
    let files = files.map(|change| Unsynced::FileBelow(root, below(&change.path)));
    let directories = RelPath::above(changes().map(|change| &change.path));
    let directories = directories
        .iter()
        .map(|directory| Unsynced::NamesBelow(root, below(directory)));
    let own = (!new.is_empty()).then(|| Unsynced::NamesBelow(root, NEW.into()));
    files.chain(directories).chain(own).collect()
}

/// Moves the staged file of a change, if it is in a new directory, to where the files of other changes are staged.
pub(super) fn take_out(staging: &Staging, path: &RelPath, name: &str) -> Result<(), Failure> {
    let root = staging.directory();
    let Some(above) = root.descendant(&staged_above(path))? else {
        return Ok(());
    };
    above
        .rename(path.name(), root, name)
        .map_err(|errno| above.failure("move", path.name(), errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn stat() -> Stat {
        Stat {
            kind: FileKind::File,
            mode: 0o644,
            size: 3,
            mtime: 100 * SECOND + 1,
            ctime: 100 * SECOND + 1,
            ino: 7,
            uid: 0,
        }
    }

    fn directory(put_at: Option<i64>) -> NewDirectory {
        NewDirectory {
            path: RelPath::new(b"d").unwrap(),
            changes: 4..6,
            written: vec![Some(StatData::from(&stat())), None],
            put_at,
        }
    }

    #[test]
    fn a_file_that_looks_as_it_was_written_long_before_the_move_is_not_read_again() {
        assert!(directory(Some(101 * SECOND)).is_as_written(4, &stat()));
        assert!(!directory(None).is_as_written(4, &stat()), "not moved");
        let changes: [fn(&mut Stat); 4] = [
            |stat| stat.size += 1,
            |stat| stat.mtime += 1,
            |stat| stat.ctime += 1,
            |stat| stat.ino += 1,
        ];
        for change in changes {
            let mut stat = stat();
            change(&mut stat);
            assert!(!directory(Some(101 * SECOND)).is_as_written(4, &stat));
        }
    }

    #[test]
    fn a_file_that_was_written_in_the_tick_of_the_move_is_read_again() {
        let soon = stat().mtime + 1_000_000;
        assert!(!directory(Some(soon)).is_as_written(4, &stat()));
    }

    #[test]
    fn a_symlink_or_another_change_is_read_again() {
        for number in [0, 3, 5, 6] {
            assert!(!directory(Some(101 * SECOND)).is_as_written(number, &stat()));
        }
    }
}
