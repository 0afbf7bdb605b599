//! What is at a path, by `lstat`.

use rustix::fs as sys;

use super::{Directory, Error, Target};
use crate::git::RelPath;

/// What `lstat` returns of a path in the target.
///
/// Times are those of an `i64` of nanoseconds, the years 1678 to 2261: a run has one of these for each file. A time beyond
/// is taken for the nearest of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, setuid and sticky included.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last change of content, nanoseconds since 1970.
    pub mtime: i64,
    /// Last change of the inode, nanoseconds since 1970; nobody can set it back.
    pub ctime: i64,
    /// Inode number.
    pub ino: u64,
    /// Owner.
    pub uid: u32,
}

/// The kinds of file there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A symlink.
    Symlink,
    /// A directory.
    Directory,
    /// Socket, FIFO or device: never opened.
    Special,
}

impl Target {
    /// `lstat`. `None` where nothing is there, also where something above the path is no directory.
    pub fn stat(&self, path: &RelPath) -> Result<Option<Stat>, Error> {
        self.stats().of(path)
    }

    /// For one `lstat` after the other.
    pub(crate) fn stats(&self) -> StatReader<'_> {
        StatReader {
            target: self,
            above: None,
            absent: None,
        }
    }
}

/// One `lstat` after the other: neighbours share the directory, which is most of the work.
#[derive(Debug)]
pub(crate) struct StatReader<'a> {
    target: &'a Target,
    /// The directory of the last path.
    above: Option<(String, Option<Directory>)>,
    /// The topmost directory that was missing last, with a slash at its end: nothing is below it.
    absent: Option<String>,
}

impl StatReader<'_> {
    /// As [`Target::stat`]. A directory that is moved away between two neighbours is seen where it was, and one that is
    /// made between them is not seen.
    pub(crate) fn of(&mut self, path: &RelPath) -> Result<Option<Stat>, Error> {
        let name = path.as_str();
        let directory = &name[..name.len() - path.name().len()];
        let absent = self.absent.as_ref();
        if absent.is_some_and(|absent| directory.starts_with(absent.as_str())) {
            return Ok(None);
        }
        let above = match &mut self.above {
            Some((known, above)) if known == directory => above,
            other => {
                let opened = self.target.above(path)?;
                if opened.is_none() {
                    let topmost = self.target.topmost_absent(path)?;
                    self.absent = topmost.map(|topmost| format!("{topmost}/"));
                }
                &mut other.insert((directory.to_owned(), opened)).1
            }
        };
        match above {
            Some(above) => above
                .stat(path.name())
                .map_err(|failure| Error::of(path.as_str(), failure)),
            None => Ok(None),
        }
    }
}

/// Bits that no file of ours has: setuid, setgid, sticky, and the right of group and others to write.
const EXCESS: u32 = 0o7022;

impl Stat {
    /// The permission bits that no file written by us has.
    #[must_use]
    pub fn excess(&self) -> u32 {
        self.mode & EXCESS
    }

    pub(super) fn from_sys(stat: &sys::Stat) -> Self {
        let nanoseconds = |seconds: i64, nanos: u64| {
            let nanos = i64::try_from(nanos).unwrap_or_default();
            seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
        };
        Self {
            kind: match sys::FileType::from_raw_mode(stat.st_mode) {
                sys::FileType::RegularFile => FileKind::File,
                sys::FileType::Symlink => FileKind::Symlink,
                sys::FileType::Directory => FileKind::Directory,
                _ => FileKind::Special,
            },
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            ino: stat.st_ino,
            uid: stat.st_uid,
        }
    }
}
