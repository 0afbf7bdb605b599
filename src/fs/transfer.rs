//! Copies a directory to another file system, where a rename cannot move it.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{self as sys, Mode};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::{Directory, Failure, FileKind};

/// How much of a file is in memory at once.
const CHUNK: usize = 64 << 10;

/// Copies what `name` is, with all below it, to a name where nothing is; durable but for that name itself.
///
/// Modes and owners stay, times do not. Sockets, FIFOs and devices are left out: they are nothing without the program that
/// made them. A copy that fails stays as far as it came.
pub(crate) fn copy_all(
    from: &Directory,
    name: impl AsRef<OsStr>,
    to: &Directory,
    to_name: impl AsRef<OsStr>,
) -> Result<(), Failure> {
    let (name, to_name) = (name.as_ref(), to_name.as_ref());
    let Some(stat) = from.stat(name)? else {
        return Ok(());
    };
    match stat.kind {
        FileKind::Directory => {
            let copy = to.make_child(to_name, 0o700)?;
            if let Some(directory) = from.child(name)? {
                for entry in directory.list()? {
                    copy_all(&directory, &entry, &copy, &entry)?;
                }
            }
            copy.sync()?;
            if let Some(directory) = from.child(name)? {
                take_after(copy.fd(), directory.fd())
                    .map_err(|errno| to.failure("set the owner and mode of", to_name, errno))?;
            }
            Ok(())
        }
        FileKind::File => {
            let Some((mut file, _)) = from.open_file(name)? else {
                return Ok(());
            };
            let mut copy = to.create(to_name)?;
            let mut chunk = vec![0; CHUNK];
            loop {
                let read = file.read(&mut chunk);
                let read =
                    read.map_err(|error| Failure::from_io("read", &from.path().join(name), error))?;
                if read == 0 {
                    break;
                }
                copy.write(&chunk[..read])?;
            }
            take_after(copy.fd(), file.as_fd())
                .map_err(|errno| to.failure("set the owner and mode of", to_name, errno))?;
            copy.sync()
        }
        FileKind::Symlink => match from.read_link(name)? {
            Some(text) => to.symlink(&text, to_name),
            None => Ok(()),
        },
        FileKind::Special => Ok(()),
    }
}

/// Gives a copy the owner, where root makes it, and the permission bits of the original.
fn take_after(copy: BorrowedFd<'_>, original: BorrowedFd<'_>) -> Result<(), Errno> {
    let stat = sys::fstat(original)?;
    if rustix::process::geteuid().is_root() {
        let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        sys::fchown(copy, Some(user), Some(group))?;
    }
    // Without setuid and setgid: nothing below a `.git` needs them.
    sys::fchmod(copy, Mode::from_raw_mode(stat.st_mode & 0o777))
}
