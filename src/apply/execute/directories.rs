//! Creates the directories that an update needs, and removes those it leaves empty.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::ops::Bound;

use rustix::io::Errno;

use super::super::new_directories::take_out;
use super::super::staging::{directory_name, file_name};
use super::super::{Error, Fate, Image};
use super::Execution;
use crate::fs::{Directory, Failure, FileKind};
use crate::git::RelPath;

impl Execution<'_> {
    /// Removes an empty directory at the path of a new file. False if it is not empty; then it stays.
    pub(super) fn make_room(&mut self, number: usize) -> Result<bool, Error> {
        let change = self.change(number);
        if change.before != Image::Directory {
            return Ok(true);
        }
        let Some(above) = self.target.directory(change.path.parent().as_ref())? else {
            return Ok(true);
        };
        let stands = |above: &Directory| {
            let stat = above.stat(change.path.name())?;
            Ok::<_, Failure>(stat.is_some_and(|stat| stat.kind == FileKind::Directory))
        };
        if stands(&above)? {
            remove_empty_tree(&above, change.path.name())?;
            self.touched.insert(change.path.parent());
        }
        if stands(&above)? {
            self.report(&change.path, Fate::InPlace);
            return Ok(false);
        }
        Ok(true)
    }

    /// The parent directory of a path, created if it is missing; `None` if something else is in its place.
    pub(super) fn above(&mut self, path: &RelPath) -> Result<Option<Directory>, Error> {
        let parent = path.parent();
        if let Some(directory) = self.target.directory(parent.as_ref())? {
            return Ok(Some(directory));
        }
        for directory in path.ancestors() {
            if self.target.directory(Some(&directory))?.is_some() {
                continue;
            }
            let Some(above) = self.target.directory(directory.parent().as_ref())? else {
                return Ok(None);
            };
            if above.stat(directory.name())?.is_some() {
                return Ok(None);
            }
            let spare = self.spare_directory()?;
            let moved = self.move_new(&spare, &above, directory.name());
            match moved {
                Ok(()) => {
                    self.touched.insert(directory.parent());
                }
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::NOENT) => {
                    self.spare.push_front(spare);
                    return Ok(None);
                }
                Err(errno) => {
                    return Err(above.failure("create", directory.name(), errno).into());
                }
            }
        }
        Ok(self.target.directory(parent.as_ref())?)
    }

    /// Puts the new directories in place, each by one rename; returns the changes that are carried out by that. The files
    /// of a directory that somebody has made meanwhile are staged as those of other directories afterwards.
    pub(super) fn put_new_directories(&mut self) -> Result<BTreeSet<usize>, Error> {
        let mut put = BTreeSet::new();
        for place in 0..self.new.len() {
            if self.put_new_directory(place)? {
                put.extend(self.new[place].changes.clone());
                continue;
            }
            for number in self.new[place].changes.clone() {
                let path = &self.transaction.changes[number].path;
                take_out(&self.staging, path, &file_name(number))?;
            }
        }
        Ok(put)
    }

    /// False if it cannot be put in place as a whole.
    fn put_new_directory(&mut self, place: usize) -> Result<bool, Error> {
        let new = &mut self.new[place];
        let parent = new.path.parent();
        let Some(above) = self.target.directory(parent.as_ref())? else {
            return Ok(false);
        };
        let staging = self.staging.directory();
        let Some(staged) = staging.descendant(&new.staged_above())? else {
            return Ok(false);
        };
        let name = new.path.name();
        match staged.rename_new(name, &above, name) {
            Ok(()) => {
                new.is_put(&staged)?;
                self.touched.insert(parent);
                Ok(true)
            }
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::NOENT) => Ok(false),
            Err(errno) => Err(above.failure("create", name, errno).into()),
        }
    }

    /// A new directory in the staging directory.
    fn spare_directory(&mut self) -> Result<OsString, Error> {
        if let Some(spare) = self.spare.pop_front() {
            return Ok(spare);
        }
        let staging = self.staging.directory();
        let mut number = 0;
        loop {
            let name = directory_name(number);
            if staging.stat(&name)?.is_none() {
                staging.make_directory(&name, 0o755)?;
                return Ok(name.into());
            }
            number += 1;
        }
    }

    /// Removes directories that had managed files and are empty now.
    pub(super) fn remove_empty_directories(&mut self) -> Result<(), Error> {
        let deleted = self.transaction.changes.iter();
        let deleted = deleted.filter(|change| change.after.is_none());
        let mut emptied = RelPath::above(deleted.map(|change| &change.path));
        emptied.retain(|directory| !self.is_needed(directory));
        // A directory sorts before its entries.
        for directory in emptied.into_iter().rev() {
            let parent = directory.parent();
            let Some(above) = self.target.directory(parent.as_ref())? else {
                continue;
            };
            let stands = above
                .stat(directory.name())?
                .is_some_and(|stat| stat.kind == FileKind::Directory);
            if !stands {
                continue;
            }
            match above.remove_empty(directory.name()) {
                Ok(true) => {
                    self.touched.insert(parent);
                }
                Ok(false) => {}
                // An empty directory that remains is not an error.
                Err(failure) if matches!(failure.errno(), Some(Errno::ACCESS | Errno::PERM)) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(())
    }

    /// Whether a directory must stay: it contains managed files, or it is at the path of a new file, where it was kept
    /// because it was not empty.
    fn is_needed(&self, directory: &RelPath) -> bool {
        let inside = format!("{directory}/");
        let after = (Bound::Excluded(inside.as_str()), Bound::Unbounded);
        let index = self.index.as_ref();
        let next = index.and_then(|index| index.files.range::<str, _>(after).next());
        let changes = &self.transaction.changes;
        let change = changes.binary_search_by(|change| change.path.cmp(directory));
        next.is_some_and(|(path, _)| path.as_str().starts_with(&inside))
            || change.is_ok_and(|number| changes[number].after.is_some())
    }
}

/// Removes a directory tree that contains only directories; a directory with anything else stays.
fn remove_empty_tree(above: &Directory, name: &str) -> Result<(), Failure> {
    fn inside(directory: &Directory) -> Result<(), Failure> {
        for entry in directory.list()? {
            let kind = directory.stat(&entry)?.map(|stat| stat.kind);
            if kind == Some(FileKind::Directory)
                && let Some(child) = directory.child(&entry)?
            {
                inside(&child)?;
                directory.remove_empty(&entry)?;
            }
        }
        Ok(())
    }
    if let Some(directory) = above.child(name)? {
        inside(&directory)?;
    }
    above.remove_empty(name).map(|_| ())
}
