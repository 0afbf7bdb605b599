//! Changes in the target: its directories, opened for writing, permission bits, and obstacles to a change.

use std::path::{Path, PathBuf};

use rustix::fs::{
    self as sys, Access, AtFlags, Mode, StatVfsMountFlags, StatxAttributes, StatxFlags,
};
use rustix::io::Errno;

use super::directory::READ;
use super::faults::About;
use super::{Directory, Error, Failure, Faults, LIST, Stat, Target, is_absent};
use crate::git::RelPath;

/// Why a path cannot be changed, found before anything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// `chattr +i` or `+a`, on the path or on the directory that holds it.
    Immutable,
    /// Another file system is mounted there, or above.
    Mount,
    /// This user may not write in the directory that holds it.
    Denied,
}

/// How much room a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Tells file systems apart.
    pub(crate) device: u64,
    /// Bytes this user can still write.
    pub(crate) bytes: u64,
    /// Files that can still be made; `None` where there is no fixed number.
    pub(crate) inodes: Option<u64>,
    /// What every file is rounded up to.
    pub(crate) block: u64,
    /// Whether nothing can be written at all.
    pub(crate) read_only: bool,
}

impl Target {
    /// How much room there is; for a target that does not exist, where it would be made.
    pub(crate) fn room(&self) -> Result<Room, Failure> {
        match self.directory(None)? {
            Some(root) => root.room(),
            None => self.parent_directory()?.room(),
        }
    }

    /// Makes the target if it is not there; returns whether it did.
    pub(crate) fn make(&self) -> Result<bool, Error> {
        if !self.is_absent() {
            return Ok(false);
        }
        let parent = self.parent_directory()?;
        let made = match parent.make_directory(&self.name, 0o755) {
            Ok(()) => {
                parent.sync()?;
                true
            }
            Err(failure) if failure.errno() == Some(Errno::EXIST) => false,
            Err(failure) => return Err(failure.into()),
        };
        self.open_root()?;
        Ok(made)
    }

    /// Pins the target if it was not there before and is now.
    pub(crate) fn look_again(&self) -> Result<(), Error> {
        if self.is_absent() {
            self.open_root()?;
        }
        Ok(())
    }

    /// Takes an empty target away again. This value is of no use afterwards.
    pub(crate) fn unmake(&self) -> Result<(), Error> {
        self.parent_directory()?.remove_empty(&self.name)?;
        Ok(())
    }

    /// Whether the directory that was pinned still has the target's name.
    pub(crate) fn is_in_place(&self) -> Result<bool, Error> {
        let Some(root) = self.root() else {
            return Ok(false);
        };
        let named = self.parent_directory()?.stat(&self.name)?;
        let pinned =
            sys::fstat(root).map_err(|errno| Failure::new("inspect", &self.path, errno))?;
        Ok(named.is_some_and(|named| named.ino == pinned.st_ino))
    }

    /// A directory of the target (`None`: the root), opened for change; `None` where none is there, or where something
    /// on the way is no directory.
    pub(crate) fn directory(&self, path: Option<&RelPath>) -> Result<Option<Directory>, Failure> {
        let opened = match path {
            None => self.reopen_root(LIST),
            Some(path) => self.resolve(path, LIST),
        };
        match opened {
            Ok(fd) => Ok(Some(self.at(fd, path))),
            Err(errno) if is_absent(errno) => Ok(None),
            Err(errno) => {
                let shown = path.map_or_else(|| self.path.clone(), |path| self.path.join(path));
                Err(Failure::new("open", &shown, errno))
            }
        }
    }

    /// Sets the permission bits of a file or directory (`None`: the target itself). No symlink is followed.
    pub(crate) fn set_mode(&self, path: Option<&RelPath>, mode: u32) -> Result<(), Error> {
        let (parent, name) = match path {
            None => (None, "."),
            Some(path) => (path.parent(), path.name()),
        };
        let shown = path.map_or(".", RelPath::as_str);
        let opened = match &parent {
            None => self.reopen_root(LIST),
            Some(parent) => self.resolve(parent, LIST),
        };
        let fd = opened.map_err(|errno| Error::io_at("set the mode of", shown, errno))?;
        self.at(fd, parent.as_ref())
            .set_mode(name, mode)
            .map_err(|failure| Error::of(shown, failure))
    }

    /// Takes the [bits](Stat::excess) from a file that no file of ours has, if it still looks as it did: false if not.
    pub(crate) fn close(&self, path: &RelPath, seen: &Stat) -> Result<bool, Error> {
        let io = |errno| Error::io("set the mode of", path, errno);
        let fd = match self.resolve(path, READ) {
            Ok(fd) => fd,
            Err(errno) if is_absent(errno) => return Ok(false),
            Err(errno) => return Err(io(errno)),
        };
        let stat = sys::fstat(&fd).map_err(io)?;
        if Stat::from_sys(&stat) != *seen {
            return Ok(false);
        }
        let mode = seen.mode & !seen.excess();
        let shown = self.path.join(path);
        self.faults
            .check("chmod", &shown, Path::new(""), About::Mode(mode))
            .and_then(|()| sys::fchmod(&fd, Mode::from_raw_mode(mode)))
            .map_err(io)?;
        Ok(true)
    }

    /// Makes a directory of the target, and what is missing above it.
    pub(crate) fn make_directories(&self, path: &RelPath) -> Result<(), Failure> {
        let root = self.reopen_root(LIST);
        let root = root.map_err(|errno| Failure::new("open", &self.path, errno))?;
        let mut here = Directory::from_fd(root, self.path.clone(), self.faults.clone());
        for name in path.components() {
            here = here.make_child(name, 0o755)?;
        }
        Ok(())
    }

    /// `lstat` of the target itself; `None` where it does not exist.
    pub(crate) fn own_stat(&self) -> Result<Option<Stat>, Error> {
        let Some(root) = self.root() else {
            return Ok(None);
        };
        sys::fstat(root)
            .map(|stat| Some(Stat::from_sys(&stat)))
            .map_err(|errno| Error::io_at("inspect", ".", errno))
    }

    /// For one path after the other.
    pub(crate) fn obstacles(&self) -> Obstacles<'_> {
        Obstacles {
            target: self,
            above: None,
            absent: None,
        }
    }

    /// The hook before each call.
    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    fn parent_directory(&self) -> Result<Directory, Failure> {
        let path: PathBuf = self.path.parent().unwrap_or(&self.path).to_owned();
        let fd = sys::openat(&self.parent, ".", LIST, Mode::empty())
            .map_err(|errno| Failure::new("open", &path, errno))?;
        Ok(Directory::from_fd(fd, path, self.faults.clone()))
    }
}

/// Finds obstacles, one path after the other: neighbours share the open directory.
#[derive(Debug)]
pub(crate) struct Obstacles<'a> {
    target: &'a Target,
    /// The directory above the last path; `None` where it is missing.
    above: Option<(Option<RelPath>, Option<Directory>)>,
    /// The topmost directory that was missing last: what is made below it is made in it.
    absent: Option<RelPath>,
}

impl Obstacles<'_> {
    /// The obstacle to a change of `path`.
    pub(crate) fn of(&mut self, path: &RelPath) -> Result<Option<Obstacle>, Failure> {
        let is_below = |absent: &RelPath| path.starts_with(absent) && path != absent;
        if self.absent.as_ref().is_some_and(is_below) {
            return Ok(None);
        }
        let parent = path.parent();
        let above = match &mut self.above {
            Some((known, above)) if *known == parent => above,
            other => match self.target.changeable(parent.as_ref())? {
                Ok(Changeable::There(above)) => &mut other.insert((parent, Some(above))).1,
                Ok(Changeable::Absent(topmost)) => {
                    self.absent = topmost;
                    &mut other.insert((parent, None)).1
                }
                Err(obstacle) => return Ok(Some(obstacle)),
            },
        };
        let Some(directory) = above else {
            return Ok(None);
        };
        Ok(match attributes(directory, Some(path.name()))? {
            Some(attributes) if is_immutable(attributes) => Some(Obstacle::Immutable),
            Some(attributes) if attributes.contains(StatxAttributes::MOUNT_ROOT) => {
                Some(Obstacle::Mount)
            }
            _ => None,
        })
    }
}

impl Target {
    /// A directory (`None`: the root), or the obstacle to a change of its entries. One that will be created, or
    /// replaces a file, has the obstacles of the directory above.
    fn changeable(&self, path: Option<&RelPath>) -> Result<Result<Changeable, Obstacle>, Failure> {
        let mut here = path.cloned();
        let mut absent = None;
        let directory = loop {
            match self.directory(here.as_ref()) {
                Ok(Some(directory)) => break directory,
                Ok(None) => match here {
                    None => return Ok(Ok(Changeable::Absent(absent))),
                    Some(missing) => {
                        here = missing.parent();
                        absent = Some(missing);
                    }
                },
                Err(failure) if failure.errno() == Some(Errno::XDEV) => {
                    return Ok(Err(Obstacle::Mount));
                }
                Err(failure) => return Err(failure),
            }
        };
        if attributes(&directory, None)?.is_some_and(is_immutable) {
            return Ok(Err(Obstacle::Immutable));
        }
        let access = Access::WRITE_OK | Access::EXEC_OK;
        // A read-only file system is detected as a whole; without this system call, the write fails.
        if let Err(Errno::ACCESS | Errno::PERM) =
            sys::accessat(directory.fd(), ".", access, AtFlags::EACCESS)
        {
            return Ok(Err(Obstacle::Denied));
        }
        Ok(Ok(match absent {
            None => Changeable::There(directory),
            absent => Changeable::Absent(absent),
        }))
    }
}

/// A directory whose entries can be changed.
#[derive(Debug)]
enum Changeable {
    There(Directory),
    /// It will be created, and so will this topmost one of those above it that are missing.
    Absent(Option<RelPath>),
}

impl Directory {
    /// How much room the file system has on which this directory is.
    pub(crate) fn room(&self) -> Result<Room, Failure> {
        let failure = |errno| Failure::new("inspect", self.path(), errno);
        let vfs = sys::fstatvfs(self.fd()).map_err(failure)?;
        let stat = sys::fstat(self.fd()).map_err(failure)?;
        Ok(Room {
            device: stat.st_dev,
            // What only root may use is left to root's emergencies.
            bytes: vfs.f_bavail.saturating_mul(vfs.f_frsize),
            inodes: (vfs.f_files > 0).then_some(vfs.f_favail),
            block: vfs.f_frsize.max(1),
            read_only: vfs.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }
}

/// The attributes of a name in a directory, or of the directory itself; `None` where nothing is there.
fn attributes(
    directory: &Directory,
    name: Option<&str>,
) -> Result<Option<StatxAttributes>, Failure> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match sys::statx(
        directory.fd(),
        name.unwrap_or("."),
        flags,
        StatxFlags::empty(),
    ) {
        Ok(stat) => Ok(Some(stat.stx_attributes & stat.stx_attributes_mask)),
        Err(Errno::NOENT) => Ok(None),
        // Without `statx`, the write fails.
        Err(Errno::NOSYS) => Ok(Some(StatxAttributes::empty())),
        Err(errno) => Err(directory.failure("inspect", name.unwrap_or("."), errno)),
    }
}

fn is_immutable(attributes: StatxAttributes) -> bool {
    attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND)
}
