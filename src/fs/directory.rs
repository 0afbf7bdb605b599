//! A directory by descriptor, and everything that can be changed in it: the one place of system calls that write.
//!
//! Names are single components, so nothing resolves through a symlink or out of the directory, wherever the
//! directory itself is moved meanwhile. Both the target's directories and the state directory are handled this way.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use super::above::TrustedParent;
use super::faults::About;
use super::{Failure, Faults, FileKind, Stat};

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    faults: Faults,
}

/// A file that was just made, or opened to be made durable.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    path: PathBuf,
    faults: Faults,
}

const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);
pub(super) const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

impl Directory {
    /// Opens a directory by path; the last component must not be a symlink.
    pub(crate) fn open(path: &Path, faults: Faults) -> Result<Self, Failure> {
        let fd = sys::openat(sys::CWD, path, OPEN, Mode::empty())
            .map_err(|errno| Failure::new("open", path, errno))?;
        Ok(Self::from_fd(fd, path.to_owned(), faults))
    }

    /// Opens the directory at a place, which must not be a symlink; `path` is for messages.
    pub(crate) fn open_at(place: &TrustedParent, path: &Path) -> Result<Self, Failure> {
        let fd = sys::openat(&place.directory, &place.name, OPEN, Mode::empty())
            .map_err(|errno| Failure::new("open", path, errno))?;
        Ok(Self::from_fd(fd, path.to_owned(), Faults::default()))
    }

    /// Opens a directory by path, through symlinks.
    pub(crate) fn open_following(path: &Path, faults: Faults) -> Result<Self, Failure> {
        let flags = OPEN.difference(OFlags::NOFOLLOW);
        let fd = sys::openat(sys::CWD, path, flags, Mode::empty())
            .map_err(|errno| Failure::new("open", path, errno))?;
        Ok(Self::from_fd(fd, path.to_owned(), faults))
    }

    /// A directory that is open already; `path` is for messages.
    pub(crate) fn from_fd(fd: OwnedFd, path: PathBuf, faults: Faults) -> Self {
        Self { fd, path, faults }
    }

    /// The path it was opened by, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What `fstat` returns of the directory itself.
    pub(crate) fn own_stat(&self) -> Result<Stat, Failure> {
        sys::fstat(&self.fd)
            .map(|stat| Stat::from_sys(&stat))
            .map_err(|errno| Failure::new("inspect", &self.path, errno))
    }

    /// A directory inside; `None` where nothing is there.
    pub(crate) fn child(&self, name: impl AsRef<OsStr>) -> Result<Option<Self>, Failure> {
        let name = name.as_ref();
        match sys::openat(&self.fd, name, OPEN, Mode::empty()) {
            Ok(fd) => Ok(Some(Self::from_fd(
                fd,
                self.path.join(name),
                self.faults.clone(),
            ))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failure("open", name, errno)),
        }
    }

    /// A directory inside, made with exactly `mode` where nothing is there.
    pub(crate) fn make_child(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Self, Failure> {
        let name = name.as_ref();
        if let Some(child) = self.child(name)? {
            return Ok(child);
        }
        self.make_directory(name, mode)?;
        self.child(name)?
            .ok_or_else(|| self.failure("open", name, Errno::NOENT))
    }

    /// A directory that was not there, which others may not enter until [`open_up`](Self::open_up): while it is filled,
    /// what is made in it gets what this directory hands down, such as its group.
    pub(crate) fn make_closed_child(&self, name: impl AsRef<OsStr>) -> Result<Self, Failure> {
        let name = name.as_ref();
        self.make_directory(name, Mode::RWXU.as_raw_mode())?;
        self.child(name)?
            .ok_or_else(|| self.failure("open", name, Errno::NOENT))
    }

    /// Gives the directory itself exactly this mode.
    pub(crate) fn open_up(&self, mode: u32) -> Result<(), Failure> {
        self.faults
            .check("chmod", &self.path, Path::new(""), About::Mode(mode))
            .and_then(|()| sys::fchmod(&self.fd, Mode::from_raw_mode(mode)))
            .map_err(|errno| Failure::new("set the mode of", &self.path, errno))
    }

    /// A directory somewhere below, through directories only; `None` where none is there.
    pub(crate) fn descendant(&self, path: &Path) -> Result<Option<Self>, Failure> {
        let beneath = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        loop {
            match sys::openat2(&self.fd, path, OPEN, Mode::empty(), beneath) {
                Ok(fd) => {
                    let shown = self.path.join(path);
                    return Ok(Some(Self::from_fd(fd, shown, self.faults.clone())));
                }
                Err(errno) if super::is_absent(errno) => return Ok(None),
                // A rename elsewhere on the system raced with the lookup (openat2(2)).
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(self.failure("open", path, errno)),
            }
        }
    }

    /// `lstat` of a name; `None` where nothing is there.
    pub(crate) fn stat(&self, name: impl AsRef<OsStr>) -> Result<Option<Stat>, Failure> {
        let name = name.as_ref();
        match sys::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stat::from_sys(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failure("inspect", name, errno)),
        }
    }

    /// The names inside, sorted.
    pub(crate) fn list(&self) -> Result<Vec<OsString>, Failure> {
        let failure = |errno| Failure::new("list", &self.path, errno);
        // A fresh description: the position of a shared one would be where the last listing ended.
        let fd = sys::openat(&self.fd, ".", OPEN, Mode::empty()).map_err(failure)?;
        let mut names = Vec::new();
        for entry in sys::Dir::new(fd).map_err(failure)? {
            let name = entry.map_err(failure)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Opens a regular file for reading; `None` where nothing is there or something else than a regular file.
    pub(crate) fn open_file(
        &self,
        name: impl AsRef<OsStr>,
    ) -> Result<Option<(File, Stat)>, Failure> {
        let name = name.as_ref();
        let fd = match sys::openat(&self.fd, name, READ, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(self.failure("open", name, errno)),
        };
        regular(fd).map_err(|errno| self.failure("inspect", name, errno))
    }

    /// The content of a regular file of ours or the text of a symlink; `None` where neither is there.
    pub(crate) fn read(&self, name: impl AsRef<OsStr>) -> Result<Option<Vec<u8>>, Failure> {
        let name = name.as_ref();
        let Some(stat) = self.stat(name)? else {
            return Ok(None);
        };
        match stat.kind {
            FileKind::File => {
                let Some((file, stat)) = self.open_file(name)? else {
                    return Ok(None);
                };
                let mut content = Vec::new();
                file.take(stat.size)
                    .read_to_end(&mut content)
                    .map_err(|error| Failure::from_io("read", &self.path.join(name), error))?;
                Ok(Some(content))
            }
            FileKind::Symlink => self.read_link(name),
            FileKind::Directory | FileKind::Special => Ok(None),
        }
    }

    /// The text of a symlink; `None` where no symlink is there.
    pub(crate) fn read_link(&self, name: impl AsRef<OsStr>) -> Result<Option<Vec<u8>>, Failure> {
        let name = name.as_ref();
        match sys::readlinkat(&self.fd, name, Vec::new()) {
            Ok(text) => Ok(Some(text.into_bytes())),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(self.failure("read", name, errno)),
        }
    }

    /// Makes a file that was not there, readable by its owner alone.
    pub(crate) fn create(&self, name: impl AsRef<OsStr>) -> Result<NewFile, Failure> {
        let mode = Mode::RUSR | Mode::WUSR;
        self.create_by(name.as_ref(), mode, About::Nothing)
    }

    /// Makes a file that was not there, with `mode` but for what the umask takes;
    /// [`finish`](NewFile::finish) gives it that too. For where nobody else can open it meanwhile.
    pub(crate) fn create_with(
        &self,
        name: impl AsRef<OsStr>,
        mode: u32,
    ) -> Result<NewFile, Failure> {
        self.create_by(name.as_ref(), Mode::from_raw_mode(mode), About::Mode(mode))
    }

    fn create_by(&self, name: &OsStr, mode: Mode, about: About<'_>) -> Result<NewFile, Failure> {
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::CLOEXEC
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY;
        let fd = self
            .check("create", name, about)
            .and_then(|()| sys::openat(&self.fd, name, flags, mode))
            .map_err(|errno| self.failure("create", name, errno))?;
        Ok(NewFile {
            file: File::from(fd),
            path: self.path.join(name),
            faults: self.faults.clone(),
        })
    }

    /// Makes a regular file durable that was written and closed.
    pub(crate) fn sync_file(&self, name: impl AsRef<OsStr>) -> Result<(), Failure> {
        let name = name.as_ref();
        let Some((file, _)) = self.open_file(name)? else {
            return Err(self.failure("make durable", name, Errno::NOENT));
        };
        NewFile {
            file,
            path: self.path.join(name),
            faults: self.faults.clone(),
        }
        .sync()
    }

    /// Makes a symlink that was not there.
    pub(crate) fn symlink(&self, text: &[u8], name: impl AsRef<OsStr>) -> Result<(), Failure> {
        use std::os::unix::ffi::OsStrExt;
        let name = name.as_ref();
        let text = OsStr::from_bytes(text);
        self.check("symlink", name, About::To(Path::new(text)))
            .and_then(|()| sys::symlinkat(text, &self.fd, name))
            .map_err(|errno| self.failure("create", name, errno))
    }

    /// Makes a directory that was not there, with exactly `mode` whatever the umask.
    ///
    /// It has the mode only when this returns; where others look, make it aside and move it.
    pub(crate) fn make_directory(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<(), Failure> {
        let name = name.as_ref();
        self.check("mkdir", name, About::Nothing)
            .and_then(|()| sys::mkdirat(&self.fd, name, Mode::RWXU))
            .and_then(|()| {
                if mode == Mode::RWXU.as_raw_mode() {
                    return Ok(());
                }
                self.check("chmod", name, About::Mode(mode))?;
                let fd = sys::openat(&self.fd, name, OPEN, Mode::empty())?;
                sys::fchmod(&fd, Mode::from_raw_mode(mode))
            })
            .map_err(|errno| self.failure("create", name, errno))
    }

    /// Sets the permission bits of a file or directory inside. No symlink is followed.
    pub(crate) fn set_mode(&self, name: &str, mode: u32) -> Result<(), Failure> {
        let failure = |errno| self.failure("set the mode of", name, errno);
        // By descriptor: a name could be swapped for a symlink between an `lstat` of it and `chmod`.
        let fd = sys::openat(&self.fd, name, READ, Mode::empty()).map_err(failure)?;
        let stat = sys::fstat(&fd).map_err(failure)?;
        match Stat::from_sys(&stat).kind {
            FileKind::File | FileKind::Directory => {}
            FileKind::Symlink | FileKind::Special => return Err(failure(Errno::INVAL)),
        }
        self.check("chmod", name.as_ref(), About::Mode(mode))
            .and_then(|()| sys::fchmod(&fd, Mode::from_raw_mode(mode)))
            .map_err(failure)
    }

    /// Moves a name, over whatever file is there.
    pub(crate) fn rename(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        to_name: impl AsRef<OsStr>,
    ) -> Result<(), Errno> {
        let (name, to_name) = (name.as_ref(), to_name.as_ref());
        self.check("rename", name, About::To(&to.path.join(to_name)))?;
        sys::renameat(&self.fd, name, &to.fd, to_name)
    }

    /// Moves a name to where nothing is; `EXIST` where something is.
    pub(crate) fn rename_new(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        to_name: impl AsRef<OsStr>,
    ) -> Result<(), Errno> {
        let (name, to_name) = (name.as_ref(), to_name.as_ref());
        self.check("rename_new", name, About::To(&to.path.join(to_name)))?;
        sys::renameat_with(&self.fd, name, &to.fd, to_name, RenameFlags::NOREPLACE)
    }

    /// Exchanges two names in one step.
    pub(crate) fn exchange(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        to_name: impl AsRef<OsStr>,
    ) -> Result<(), Errno> {
        let (name, to_name) = (name.as_ref(), to_name.as_ref());
        self.check("exchange", name, About::To(&to.path.join(to_name)))?;
        sys::renameat_with(&self.fd, name, &to.fd, to_name, RenameFlags::EXCHANGE)
    }

    /// Gives a file or symlink a second name, where nothing is; `EXIST` where something is.
    pub(crate) fn link(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        to_name: impl AsRef<OsStr>,
    ) -> Result<(), Errno> {
        let (name, to_name) = (name.as_ref(), to_name.as_ref());
        self.check("link", name, About::To(&to.path.join(to_name)))?;
        sys::linkat(&self.fd, name, &to.fd, to_name, AtFlags::empty())
    }

    /// Removes a name that is not a directory; no error if nothing is there.
    pub(crate) fn unlink(&self, name: impl AsRef<OsStr>) -> Result<(), Failure> {
        let name = name.as_ref();
        match self
            .check("unlink", name, About::Nothing)
            .and_then(|()| sys::unlinkat(&self.fd, name, AtFlags::empty()))
        {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failure("remove", name, errno)),
        }
    }

    /// Removes a directory if it is empty; returns whether it is gone.
    pub(crate) fn remove_empty(&self, name: impl AsRef<OsStr>) -> Result<bool, Failure> {
        let name = name.as_ref();
        match self
            .check("rmdir", name, About::Nothing)
            .and_then(|()| sys::unlinkat(&self.fd, name, AtFlags::REMOVEDIR))
        {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            // BUSY: a mount point. NOTDIR: somebody put a file there.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(false),
            Err(errno) => Err(self.failure("remove", name, errno)),
        }
    }

    /// Removes a name and all below it, other file systems excepted; returns whether it is gone.
    pub(crate) fn remove_all(&self, name: impl AsRef<OsStr>) -> Result<bool, Failure> {
        let name = name.as_ref();
        let stat = self.stat(name)?;
        let is_directory = stat.is_some_and(|stat| stat.kind == FileKind::Directory);
        if !is_directory {
            return self.unlink(name).map(|()| true);
        }
        if let Some(directory) = self.child(name)? {
            for entry in directory.list()? {
                directory.remove_all(entry)?;
            }
        }
        self.remove_empty(name)
    }

    /// Makes the names inside durable.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        self.faults
            .check("fsync", &self.path, Path::new(""), About::Nothing)
            .and_then(|()| sys::fsync(&self.fd))
            .map_err(|errno| Failure::new("make durable", &self.path, errno))
    }

    /// The hook before each call.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// A failure about a name in here.
    pub(crate) fn failure(
        &self,
        verb: &'static str,
        name: impl AsRef<OsStr>,
        errno: Errno,
    ) -> Failure {
        Failure::new(verb, &self.path.join(name.as_ref()), errno)
    }

    pub(super) fn check(
        &self,
        call: &'static str,
        name: &OsStr,
        about: About<'_>,
    ) -> Result<(), Errno> {
        self.faults.check(call, &self.path, Path::new(name), about)
    }
}

/// An opened file with its stat; `None` where it is not a regular one.
pub(super) fn regular(fd: OwnedFd) -> Result<Option<(File, Stat)>, Errno> {
    let stat = Stat::from_sys(&sys::fstat(&fd)?);
    Ok((stat.kind == FileKind::File).then(|| (File::from(fd), stat)))
}

impl NewFile {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let (count, fault) = self.faults.check_write(&self.path, bytes);
        self.file
            .write_all(&bytes[..count])
            .map_err(|error| Failure::from_io("write", &self.path, error))?;
        fault.map_or(Ok(()), |errno| {
            Err(Failure::new("write", &self.path, errno))
        })
    }

    /// Sets the permission bits, whatever the umask.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), Failure> {
        self.faults
            .check("chmod", &self.path, Path::new(""), About::Mode(mode))
            .and_then(|()| sys::fchmod(&self.file, Mode::from_raw_mode(mode)))
            .map_err(|errno| Failure::new("set the mode of", &self.path, errno))
    }

    /// Sets the permission bits where they differ; returns what `lstat` returns of the file that is whole now.
    pub(crate) fn finish(self, mode: u32) -> Result<Stat, Failure> {
        let stat = || {
            sys::fstat(&self.file)
                .map(|stat| Stat::from_sys(&stat))
                .map_err(|errno| Failure::new("inspect", &self.path, errno))
        };
        let first = stat()?;
        if first.mode == mode {
            return Ok(first);
        }
        self.set_mode(mode)?;
        stat()
    }

    /// Makes the content durable. A failure is final: the kernel may have dropped the data.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        self.faults
            .check("fsync", &self.path, Path::new(""), About::Nothing)
            .and_then(|()| sys::fsync(&self.file))
            .map_err(|errno| Failure::new("make durable", &self.path, errno))
    }
}
