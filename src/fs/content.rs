//! Reads whole files whose size is not known, always with a limit.

use std::fs::File;
use std::io::{self, Read as _};

use rustix::fs::{self as sys, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Error, FileKind, Stat, Target, is_absent};
use crate::git::RelPath;
use crate::text;

/// The content of an open file, if it has at most `limit` bytes.
pub(crate) fn read(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let words = format!("it has more than {} MiB", limit >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
    }
    Ok(content)
}

/// As [`read`], of what is text but for a few bytes.
pub(crate) fn text(file: &File, limit: u64) -> io::Result<String> {
    read(file, limit).map(|content| text::decode(&content).into_owned())
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum PathTarget {
    /// Nothing is there.
    Absent,
    /// A regular file, open.
    File(File),
    /// Something that is never read: a directory, FIFO, socket, device, or a symlink that leads out of the target or to
    /// nothing.
    Other,
}

impl Target {
    /// Opens the regular file that a path leads to, as Nix would find it: symlinks are followed as long as they stay in
    /// the target.
    pub(crate) fn open_led(&self, path: &RelPath) -> Result<PathTarget, Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.follow(path, flags) {
            Ok(file) => file,
            Err(errno) => {
                return match self.stat(path)? {
                    None => Ok(PathTarget::Absent),
                    Some(stat) if stat.kind == FileKind::File => {
                        Err(Error::io("open", path, errno))
                    }
                    Some(_) => Ok(PathTarget::Other),
                };
            }
        };
        let stat = sys::fstat(&file).map_err(|errno| Error::io("inspect", path, errno))?;
        Ok(match Stat::from_sys(&stat).kind {
            FileKind::File => PathTarget::File(file.into()),
            _ => PathTarget::Other,
        })
    }

    /// `stat` of what a path leads to; of the symlink itself, where it leads out of the target or to nothing.
    pub(crate) fn stat_led(&self, path: &RelPath) -> Result<Option<Stat>, Error> {
        match self.follow(path, OFlags::PATH | OFlags::CLOEXEC) {
            Ok(fd) => sys::fstat(&fd)
                .map(|stat| Some(Stat::from_sys(&stat)))
                .map_err(|errno| Error::io("inspect", path, errno)),
            Err(errno) if errno == Errno::XDEV || errno == Errno::LOOP || is_absent(errno) => {
                self.stat(path)
            }
            Err(errno) => Err(Error::io("inspect", path, errno)),
        }
    }

    fn follow(&self, path: &RelPath, flags: OFlags) -> rustix::io::Result<std::os::fd::OwnedFd> {
        self.resolve_by(path, flags, ResolveFlags::empty())
    }
}
