//! The system outside the target, read only: below a root directory that stands for `/`.
//!
//! Symlinks are followed as if that directory were the root (`RESOLVE_IN_ROOT`), so that a test's own root is never
//! left, and in production, where it is `/`, nothing changes. FIFOs are not opened for reading.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::fs::{FileKind, content};

/// No settings file of a system comes near it.
const READ_MAX: u64 = 8 << 20;

/// What is said of what is never read.
pub(super) const NOT_REGULAR: &str = "it is not a regular file";

/// The system.
pub(super) struct System<'a> {
    root: &'a Path,
    fd: Option<OwnedFd>,
}

/// What is at a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct SystemPath {
    pub(super) kind: FileKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
}

impl SystemPath {
    fn of(stat: &sys::Stat) -> Self {
        Self {
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => FileKind::File,
                FileType::Directory => FileKind::Directory,
                FileType::Symlink => FileKind::Symlink,
                _ => FileKind::Special,
            },
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
        }
    }
}

/// A file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    /// Bytes that this user can still write.
    pub(super) free: u64,
    pub(super) read_only: bool,
    /// Tells file systems apart.
    pub(super) device: u64,
}

impl<'a> System<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self {
            root,
            fd: sys::open(root, flags, Mode::empty()).ok(),
        }
    }

    /// Where a path of the system really is.
    pub(super) fn real(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What is at a path, through symlinks; `None` where nothing is, or it cannot be seen.
    pub(super) fn stat(&self, path: &Path) -> Option<SystemPath> {
        let stat = sys::fstat(self.open(path, OFlags::PATH).ok()?).ok()?;
        Some(SystemPath::of(&stat))
    }

    pub(super) fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.stat(path.as_ref()).is_some()
    }

    /// The text of a regular file; `None` where there is none.
    pub(super) fn read(&self, path: &Path) -> std::io::Result<Option<String>> {
        // Before it is opened, for some devices that has an effect; and after, for it may be another one by then.
        let is_regular = |node: SystemPath| match node.kind {
            FileKind::File => Ok(()),
            FileKind::Symlink | FileKind::Directory | FileKind::Special => {
                Err(std::io::Error::other(NOT_REGULAR))
            }
        };
        match self.stat(path) {
            None => return Ok(None),
            Some(node) => is_regular(node)?,
        }
        let fd = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        is_regular(SystemPath::of(&sys::fstat(&fd)?))?;
        content::text(&File::from(fd), READ_MAX).map(Some)
    }

    /// The file system of a path, or of the nearest directory above it that exists.
    pub(super) fn space(&self, path: &Path) -> Option<Space> {
        let fd = path
            .ancestors()
            .find_map(|path| self.open(path, OFlags::PATH).ok())?;
        let space = sys::fstatvfs(&fd).ok()?;
        Some(Space {
            free: space.f_bavail.saturating_mul(space.f_frsize),
            read_only: space.f_flag.contains(StatVfsMountFlags::RDONLY),
            device: sys::fstat(&fd).ok()?.st_dev,
        })
    }

    fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let root = self.fd.as_ref().ok_or(Errno::NOENT)?;
        let below = path.strip_prefix("/").unwrap_or(path);
        let below = if below.as_os_str().is_empty() {
            Path::new(".")
        } else {
            below
        };
        loop {
            match sys::openat2(
                root,
                below.as_os_str().as_bytes(),
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            ) {
                // A rename elsewhere on the system raced with the lookup (openat2(2)).
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }
}
