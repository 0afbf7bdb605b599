//! The target directory, touched by descriptor and nowhere else in the program.
//!
//! A [`Target`] is opened once and pinned; from then on every path is a [`RelPath`] resolved below that descriptor by
//! `openat2` with `BENEATH | NO_SYMLINKS | NO_XDEV`: no symlink is ever followed, no mount point crossed, and nobody
//! who swaps directories under us can lead a read or write outside. `clippy.toml` bans the rest of the program from
//! `std::fs`; the state directory (0700, ours) is exempt.
//!
//! Limits: Linux 5.6 or newer for `openat2`.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::git::RelPath;

mod error;

pub use error::Error;

/// The target directory, pinned.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    root: OwnedFd,
}

/// What `lstat` tells of a path in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, setuid and sticky included.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last change of content, nanoseconds since 1970.
    pub mtime: i128,
    /// Last change of the inode, nanoseconds since 1970; nobody can set it back.
    pub ctime: i128,
    /// Inode number.
    pub ino: u64,
    /// Hard links.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
}

/// The kinds of file there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
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
    /// Opens and pins the target. `path` is absolute; no component of it may be a symlink.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let root = sys::openat2(
            sys::CWD,
            path,
            flags,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(|errno| Error::open_target(path, errno))?;
        Ok(Self {
            path: path.to_owned(),
            root,
        })
    }

    /// The path it was opened by, for messages and for handing to other programs.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The pinned directory.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// `lstat`. `None` where nothing is there, also where something above the path is no directory.
    pub fn stat(&self, path: &RelPath) -> Result<Option<Stat>, Error> {
        let Some(parent) = self.parent(path)? else {
            return Ok(None);
        };
        match sys::statat(&parent, path.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stat::from_sys(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::io("look at", path, errno)),
        }
    }

    /// Opens a regular file for reading. `None` where none is there, or something else than a regular file.
    ///
    /// A FIFO does not block: it is opened non-blocking and refused by its type.
    pub fn open_file(&self, path: &RelPath) -> Result<Option<(File, Stat)>, Error> {
        let flags =
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.resolve(path, flags) {
            Ok(fd) => fd,
            Err(errno) if is_absent(errno) || errno == Errno::NXIO => return Ok(None),
            Err(errno) => return Err(Error::io("open", path, errno)),
        };
        let stat = sys::fstat(&file).map_err(|errno| Error::io("look at", path, errno))?;
        let stat = Stat::from_sys(&stat);
        Ok((stat.kind == Kind::File).then(|| (File::from(file), stat)))
    }

    /// The target of a symlink. `None` where no symlink is there.
    pub fn read_link(&self, path: &RelPath) -> Result<Option<Vec<u8>>, Error> {
        let Some(parent) = self.parent(path)? else {
            return Ok(None);
        };
        match sys::readlinkat(&parent, path.name(), Vec::new()) {
            Ok(text) => Ok(Some(text.into_bytes())),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::io("read", path, errno)),
        }
    }

    /// The names in a directory (`None`: the root), sorted; empty where it is none.
    pub fn list(&self, path: Option<&RelPath>) -> Result<Vec<Vec<u8>>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = match path {
            None => sys::openat(&self.root, ".", flags, Mode::empty()),
            Some(path) => self.resolve(path, flags),
        };
        let shown = path.map_or(".", RelPath::as_str);
        let directory = match opened {
            Ok(fd) => fd,
            Err(errno) if is_absent(errno) => return Ok(Vec::new()),
            Err(errno) => return Err(Error::io_at("list", shown, errno)),
        };
        let mut names = Vec::new();
        for entry in sys::Dir::new(directory).map_err(|errno| Error::io_at("list", shown, errno))? {
            let entry = entry.map_err(|errno| Error::io_at("list", shown, errno))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The directory above a path, opened; `None` where there is none.
    fn parent(&self, path: &RelPath) -> Result<Option<OwnedFd>, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = match path.parent() {
            None => sys::openat(&self.root, ".", flags, Mode::empty()),
            Some(parent) => self.resolve(&parent, flags),
        };
        match opened {
            Ok(fd) => Ok(Some(fd)),
            Err(errno) if is_absent(errno) => Ok(None),
            Err(errno) => Err(Error::io("look at", path, errno)),
        }
    }

    fn resolve(&self, path: &RelPath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let beneath = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        loop {
            match sys::openat2(
                &self.root,
                OsStr::from_bytes(path.as_str().as_bytes()),
                flags,
                Mode::empty(),
                beneath,
            ) {
                // A rename elsewhere on the system raced with the lookup (openat2(2)); it says nothing about the path.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }
}

/// Nothing there, or something on the way that is no directory (a file, or a symlink, which we do not follow).
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

impl Stat {
    fn from_sys(stat: &sys::Stat) -> Self {
        let nanoseconds =
            |seconds: i64, nanos: u64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            kind: match sys::FileType::from_raw_mode(stat.st_mode) {
                sys::FileType::RegularFile => Kind::File,
                sys::FileType::Symlink => Kind::Symlink,
                sys::FileType::Directory => Kind::Directory,
                _ => Kind::Special,
            },
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            ino: stat.st_ino,
            nlink: stat.st_nlink,
            uid: stat.st_uid,
        }
    }
}
