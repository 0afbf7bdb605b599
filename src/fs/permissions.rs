//! Permission bits, of what is there already.

use std::path::Path;

use rustix::fs::{self as sys, Mode};
use rustix::io::Errno;

use super::directory::{Directory, READ};
use super::faults::About;
use super::{Error, Failure, FileKind, Stat, Target};
use crate::git::RelPath;

impl Target {
    /// Sets the permission bits of a file or directory (`None`: the target itself). No symlink is followed.
    pub(crate) fn set_mode(&self, path: Option<&RelPath>, mode: u32) -> Result<(), Error> {
        let (parent, name) = match path {
            None => (None, "."),
            Some(path) => (path.parent(), path.name()),
        };
        let shown = path.map_or(".", RelPath::as_str);
        let opened = match &parent {
            None => self.reopen_root(super::LIST),
            Some(parent) => self.resolve(parent, super::LIST),
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
            Err(errno) if super::is_absent(errno) => return Ok(false),
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
        let root = self.reopen_root(super::LIST);
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
}

impl Directory {
    /// Sets the permission bits of a file or directory inside. No symlink is followed.
    pub(crate) fn set_mode(&self, name: &str, mode: u32) -> Result<(), Failure> {
        let failure = |errno| self.failure("set the mode of", name, errno);
        // By descriptor: a name could be swapped for a symlink between an `lstat` of it and `chmod`.
        let fd = sys::openat(self.fd(), name, READ, Mode::empty()).map_err(failure)?;
        let stat = sys::fstat(&fd).map_err(failure)?;
        match Stat::from_sys(&stat).kind {
            FileKind::File | FileKind::Directory => {}
            FileKind::Symlink | FileKind::Special => return Err(failure(Errno::INVAL)),
        }
        self.check("chmod", name.as_ref(), About::Mode(mode))
            .and_then(|()| sys::fchmod(&fd, Mode::from_raw_mode(mode)))
            .map_err(failure)
    }
}
