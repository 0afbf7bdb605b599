//! The target directory, accessed by descriptor and only here.
//!
//! A [`Target`] is opened once and pinned; from then on every path is a [`RelPath`] resolved below that descriptor by
//! `openat2` with `BENEATH | NO_SYMLINKS | NO_XDEV`: no symlink is ever followed, no mount point crossed, and nobody
//! who swaps directories under us can lead a read or write outside. `clippy.toml` bans the rest of the program from
//! `std::fs`; the state directory (0700, ours) is exempt.
//!
//! Limits: Linux 5.6 or newer for `openat2`. The environment is not read, but the effective user is: what root may go
//! through is stricter.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{self as sys, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::git::RelPath;

pub(crate) mod above;
mod case;
pub(crate) mod content;
mod directory;
mod error;
mod faults;
mod flush;
mod owners;
mod replace;
mod stat;
mod transfer;
mod write;

use above::Exposure;
pub(crate) use content::PathTarget;
pub(crate) use directory::{Directory, NewFile};
pub use error::{Error, Failure};
pub use faults::{Call, Faults, Outcome};
pub(crate) use flush::{Unsynced, sync_all};
pub(crate) use owners::TrustedOwners;
pub(crate) use replace::{Durability, replace, replace_at};
pub(crate) use stat::StatReader;
pub use stat::{FileKind, Stat};
pub(crate) use transfer::copy_all;
pub(crate) use write::{Obstacle, Room};

/// The target directory, pinned.
///
/// One that does not exist yet can be inspected as well: it is empty. The first write makes it.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    parent: OwnedFd,
    name: OsString,
    root: OnceLock<OwnedFd>,
    faults: Faults,
}

impl Target {
    /// Opens and pins the target. `path` is absolute; no component of it may be a symlink, and where root runs, nobody
    /// else may be able to change the directories above it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let target = Self::open_or_absent(path)?;
        if target.is_absent() {
            return Err(Error::TargetMissing { path: target.path });
        }
        Ok(target)
    }

    /// As [`open`](Self::open), but the target itself need not exist; the directory above it must.
    pub fn open_or_absent(path: &Path) -> Result<Self, Error> {
        let (parent, name, owners) = open_parent(path)?;
        let target = Self {
            path: path.to_owned(),
            parent,
            name,
            root: OnceLock::new(),
            faults: Faults::default(),
        };
        target.open_root()?;
        // The owner of the target can write anything into it, and gains nothing by replacing it.
        let own = target.root.get().map(|root| {
            sys::fstat(root)
                .map(|stat| stat.st_uid)
                .map_err(|errno| Error::open_target(path, errno))
        });
        let own = own.transpose()?;
        match owners.into_iter().find(|(_, uid)| Some(*uid) != own) {
            Some((path, _)) => Err(Error::TargetExposed { path }),
            None => Ok(target),
        }
    }

    /// With a hook before every call that changes the target; for tests.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The path it was opened by, for messages and for handing to other programs.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it does not exist yet.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.root.get().is_none()
    }

    /// The pinned directory, where there is one.
    #[must_use]
    pub fn root(&self) -> Option<BorrowedFd<'_>> {
        self.root.get().map(AsFd::as_fd)
    }

    /// Pins the directory that stands at the target's name, if one does.
    fn open_root(&self) -> Result<(), Error> {
        // With O_NOFOLLOW a symlink would read as "not a directory".
        let opened = sys::openat2(
            &self.parent,
            &self.name,
            LIST.difference(OFlags::NOFOLLOW),
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        );
        match opened {
            Ok(fd) => {
                // Only a second writer in this very process could have set it meanwhile, to the same directory.
                let _ = self.root.set(fd);
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::open_target(&self.path, errno)),
        }
    }

    /// Opens a regular file for reading. `None` where none is there, or something else than a regular file.
    ///
    /// A FIFO does not block: it is opened non-blocking and refused by its type.
    pub fn open_file(&self, path: &RelPath) -> Result<Option<(File, Stat)>, Error> {
        // Not by the directory above it: what is mounted over the name itself would be opened.
        match self.resolve(path, directory::READ) {
            Ok(fd) => directory::regular(fd).map_err(|errno| Error::io("inspect", path, errno)),
            Err(errno) if is_absent(errno) || errno == Errno::NXIO => Ok(None),
            Err(errno) => Err(Error::io("open", path, errno)),
        }
    }

    /// The target of a symlink. `None` where no symlink is there.
    pub fn read_link(&self, path: &RelPath) -> Result<Option<Vec<u8>>, Error> {
        match self.above(path)? {
            Some(above) => above
                .read_link(path.name())
                .map_err(|failure| Error::of(path.as_str(), failure)),
            None => Ok(None),
        }
    }

    /// The names in a directory (`None`: the root), sorted; empty where it is none.
    pub fn list(&self, path: Option<&RelPath>) -> Result<Vec<Vec<u8>>, Error> {
        let shown = path.map_or(".", RelPath::as_str);
        let opened = match path {
            None => self.reopen_root(LIST),
            Some(path) => self.resolve(path, LIST),
        };
        match opened {
            Ok(fd) => self
                .at(fd, path)
                .list()
                .map(|names| names.into_iter().map(OsString::into_vec).collect())
                .map_err(|failure| Error::of(shown, failure)),
            Err(errno) if is_absent(errno) => Ok(Vec::new()),
            Err(errno) => Err(Error::io_at("list", shown, errno)),
        }
    }

    /// The directory above a path, to inspect what is in it; `None` where there is none.
    fn above(&self, path: &RelPath) -> Result<Option<Directory>, Error> {
        // To inspect a name, nobody needs the right to read the directory.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let parent = path.parent();
        let opened = match &parent {
            None => self.reopen_root(flags),
            Some(parent) => self.resolve(parent, flags),
        };
        match opened {
            Ok(fd) => Ok(Some(self.at(fd, parent.as_ref()))),
            Err(errno) if is_absent(errno) => Ok(None),
            Err(errno) => Err(Error::io("inspect", path, errno)),
        }
    }

    /// The topmost directory above a path that is missing, or is not a directory.
    fn topmost_absent(&self, path: &RelPath) -> Result<Option<RelPath>, Error> {
        for directory in path.ancestors() {
            match self.resolve(
                &directory,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            ) {
                Ok(_) => {}
                Err(errno) if is_absent(errno) => return Ok(Some(directory)),
                Err(errno) => return Err(Error::io("inspect", path, errno)),
            }
        }
        Ok(None)
    }

    /// A directory of the target (`None`: the root) that is open already.
    fn at(&self, fd: OwnedFd, path: Option<&RelPath>) -> Directory {
        let shown = path.map_or_else(|| self.path.clone(), |path| self.path.join(path));
        Directory::from_fd(fd, shown, self.faults.clone())
    }

    fn reopen_root(&self, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        sys::openat(
            self.root.get().ok_or(Errno::NOENT)?,
            ".",
            flags,
            Mode::empty(),
        )
    }

    fn resolve(&self, path: &RelPath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.resolve_by(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    /// Never leads out of the target, nor to another file system; `how` may forbid more.
    fn resolve_by(
        &self,
        path: &RelPath,
        flags: OFlags,
        how: ResolveFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let root = self.root.get().ok_or(Errno::NOENT)?;
        let beneath =
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV | how;
        let mut crossings = 0;
        loop {
            match sys::openat2(
                root,
                OsStr::from_bytes(path.as_str().as_bytes()),
                flags,
                Mode::empty(),
                beneath,
            ) {
                // A rename elsewhere on the system raced with the lookup (openat2(2)); the path is not the cause.
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Another file system is mounted there, or the directory was moved out of the target at the very
                // moment; only the first stays so.
                Err(Errno::XDEV) if crossings < CROSSINGS => crossings += 1,
                other => return other,
            }
        }
    }
}

/// How often a path that leads to another mount is resolved before that is taken as an error.
const CROSSINGS: u32 = 16;

/// Opens the directory above `path`, checking every component on the way.
///
/// Each is opened below the one before, so what was checked is what is used. Also returns which of them belong to
/// another user than root.
fn open_parent(path: &Path) -> Result<(OwnedFd, OsString, Owners), Error> {
    let io = |errno| Error::open_target(path, errno);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut names: Vec<&OsStr> = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir => {}
            Component::Normal(name) => names.push(name),
            // Settings hand in a clean absolute path; anything else has no fixed meaning.
            Component::CurDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(io(Errno::INVAL));
            }
        }
    }
    let Some(last) = names.pop().filter(|_| path.is_absolute()) else {
        return Err(io(Errno::INVAL));
    };
    let mut here = PathBuf::from("/");
    let mut parent = sys::open("/", flags, Mode::empty()).map_err(io)?;
    let mut owners = Vec::new();
    owners.extend(check_exposure(&parent, &here)?);
    for name in names {
        parent = match sys::openat2(&parent, name, flags, Mode::empty(), resolve) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                return Err(Error::TargetParentMissing {
                    path: path.to_owned(),
                });
            }
            Err(errno) => return Err(io(errno)),
        };
        here.push(name);
        owners.extend(check_exposure(&parent, &here)?);
    }
    Ok((parent, last.to_owned(), owners))
}

/// Directories that belong to another user, with that user.
type Owners = Vec<(PathBuf, u32)>;

/// Whether other users could change the entries of a directory that root goes through: an error if a group or everybody
/// could, and the owner if that is another user.
fn check_exposure(directory: &OwnedFd, path: &Path) -> Result<Option<(PathBuf, u32)>, Error> {
    let stat = sys::fstat(directory).map_err(|errno| Error::open_target(path, errno))?;
    match above::exposure(&stat) {
        Exposure::None => Ok(None),
        Exposure::User(uid) => Ok(Some((path.to_owned(), uid))),
        Exposure::Others => Err(Error::TargetExposed {
            path: path.to_owned(),
        }),
    }
}

const LIST: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// Nothing is there, or something above is not a directory (a file, or a symlink, which is not followed).
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}
