//! Reads a file by its path, whole, if its kind, owner and mode are as required, so that no other user can have changed
//! it.
//!
//! The file that was opened is checked, so it cannot be exchanged for another one in between. Only regular files
//! are read, never without a bound, and opening one does not wait. Anything else is not even opened, as far
//! as an `lstat` before can prevent it, because opening some devices has an effect.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use secrecy::zeroize::Zeroizing;

use crate::fs::above::{self, LastSymlink};

mod error;

pub use error::{TrustedFile, Untrusted, UntrustedReason};

/// The requirements on a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileRequirements {
    /// Whether a symlink is followed.
    pub(crate) symlink: bool,
    /// The permission bits that it must not have.
    pub(crate) closed: u32,
    /// The owners that it may have.
    pub(crate) owner: Owner,
    /// Whether the directories above it count: where root runs this, nobody else may be able to change what is in them
    /// than the owners that the file may have.
    pub(crate) above: bool,
    /// How many bytes it may have.
    pub(crate) limit: u64,
}

/// The owners that a file may have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner {
    /// Anybody.
    Any,
    /// Root, the user this runs as, or this one.
    Known { also: Option<u32> },
}

impl FileRequirements {
    /// For a file of any owner: of at most `limit` bytes.
    pub(crate) const fn anyone(limit: u64) -> Self {
        Self {
            symlink: true,
            closed: 0,
            owner: Owner::Any,
            above: false,
            limit,
        }
    }
}

/// The content, overwritten when it is dropped: it may be a secret.
pub(crate) fn read(
    path: &Path,
    terms: &FileRequirements,
) -> Result<Zeroizing<Vec<u8>>, UntrustedReason> {
    let last = if terms.symlink {
        LastSymlink::Followed
    } else {
        LastSymlink::Kept
    };
    let place = if terms.above {
        let also = match terms.owner {
            Owner::Known { also } => also,
            Owner::Any => None,
        };
        let judged = above::judged(path, last, also);
        Some(judged.map_err(|refusal| match refusal {
            above::UnsafeParent::Exposed(path) => UntrustedReason::Exposed(path),
            above::UnsafeParent::Io(Errno::NOENT | Errno::NOTDIR) => UntrustedReason::Absent,
            above::UnsafeParent::Io(errno) => UntrustedReason::Io(errno.into()),
        })?)
    } else {
        None
    };
    let (directory, name, last) = match &place {
        // All links have been followed.
        Some(place) => (
            place.directory.as_fd(),
            place.name.as_os_str(),
            LastSymlink::Kept,
        ),
        None => (CWD, path.as_os_str(), last),
    };
    let (look, follow) = match last {
        LastSymlink::Followed => (AtFlags::empty(), OFlags::empty()),
        LastSymlink::Kept => (AtFlags::SYMLINK_NOFOLLOW, OFlags::NOFOLLOW),
    };
    if let Ok(stat) = rustix::fs::statat(directory, name, look) {
        kind(&stat)?;
    }
    // Not blocking: opening a pipe would wait for its writer for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | follow;
    let opened = rustix::fs::openat(directory, name, flags, Mode::empty());
    let fd = opened.map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => UntrustedReason::Absent,
        Errno::LOOP if last == LastSymlink::Kept => UntrustedReason::NotAFile("a symlink"),
        // A socket cannot be opened at all.
        Errno::NXIO => UntrustedReason::NotAFile("a socket or device"),
        errno => UntrustedReason::Io(errno.into()),
    })?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| UntrustedReason::Io(errno.into()))?;
    judge(&stat, terms, rustix::process::geteuid().as_raw())?;
    let mut content = Zeroizing::new(Vec::new());
    let mut file = File::from(fd).take(terms.limit + 1);
    file.read_to_end(&mut content)
        .map_err(UntrustedReason::Io)?;
    if content.len() as u64 > terms.limit {
        return Err(UntrustedReason::TooLarge(terms.limit));
    }
    Ok(content)
}

/// Whether a file is as it must be where `user` runs this.
pub(crate) fn judge(
    stat: &Stat,
    terms: &FileRequirements,
    user: u32,
) -> Result<(), UntrustedReason> {
    kind(stat)?;
    let mode = stat.st_mode & 0o7777;
    if mode & terms.closed != 0 {
        return Err(UntrustedReason::Mode(mode));
    }
    let uid = stat.st_uid;
    match terms.owner {
        Owner::Known { also } if uid != 0 && uid != user && Some(uid) != also => {
            Err(UntrustedReason::Owner(uid))
        }
        Owner::Any | Owner::Known { .. } => Ok(()),
    }
}

fn kind(stat: &Stat) -> Result<(), UntrustedReason> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(UntrustedReason::NotAFile("a directory")),
        FileType::Fifo => Err(UntrustedReason::NotAFile("a pipe")),
        FileType::Symlink => Err(UntrustedReason::NotAFile("a symlink")),
        _ => Err(UntrustedReason::NotAFile("a socket or device")),
    }
}

/// The result of the check by user 1000 of a file of this mode and owner.
#[cfg(test)]
pub(crate) fn judgement(
    mode: u32,
    uid: u32,
    terms: &FileRequirements,
) -> Result<(), UntrustedReason> {
    let mut stat = rustix::fs::stat("/").unwrap();
    stat.st_mode = mode;
    stat.st_uid = uid;
    judge(&stat, terms, 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: FileRequirements = FileRequirements {
        symlink: false,
        closed: 0o022,
        owner: Owner::Known { also: None },
        above: true,
        limit: 10,
    };

    #[test]
    fn a_file_is_judged_by_kind_mode_and_owner() {
        for (mode, uid) in [(0o100_644, 0), (0o100_444, 0), (0o100_700, 1000)] {
            assert!(judgement(mode, uid, &TERMS).is_ok(), "{mode:o} {uid}");
        }
        for mode in [0o100_664, 0o100_646, 0o100_666, 0o100_620] {
            let refusal = judgement(mode, 0, &TERMS).unwrap_err();
            assert!(
                matches!(refusal, UntrustedReason::Mode(bits) if bits == mode & 0o7777),
                "{refusal:?}"
            );
        }
        for mode in [0o040_755, 0o010_644, 0o140_644, 0o020_644] {
            let refusal = judgement(mode, 0, &TERMS).unwrap_err();
            assert!(
                matches!(refusal, UntrustedReason::NotAFile(_)),
                "{refusal:?}"
            );
        }
        let foreign = judgement(0o100_644, 1001, &TERMS);
        assert!(matches!(foreign, Err(UntrustedReason::Owner(1001))));
        for owner in [Owner::Any, Owner::Known { also: Some(1001) }] {
            assert!(judgement(0o100_644, 1001, &FileRequirements { owner, ..TERMS }).is_ok());
        }
    }

    #[test]
    fn file_types_at_a_path_are_distinguished() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let terms = FileRequirements {
            closed: 0,
            owner: Owner::Any,
            ..TERMS
        };
        rustix::fs::mkfifoat(CWD, path("pipe"), Mode::RUSR).unwrap();
        rustix::fs::symlink("/dev/null", path("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for (name, kind) in [
            (".", "a directory"),
            ("pipe", "a pipe"),
            ("link", "a symlink"),
            ("socket", "a socket or device"),
        ] {
            let refusal = read(&path(name), &terms).unwrap_err();
            assert!(
                matches!(refusal, UntrustedReason::NotAFile(known) if known == kind),
                "{refusal:?}"
            );
        }
        for name in ["none", "socket/below"] {
            let refusal = read(&path(name), &terms).unwrap_err();
            assert!(matches!(refusal, UntrustedReason::Absent), "{refusal:?}");
        }
        let mut file = tempfile::NamedTempFile::new_in(directory.path()).unwrap();
        let content = |path: &Path| read(path, &terms).map(|content| content.len());
        std::io::Write::write_all(&mut file, &[b'x'; 10]).unwrap();
        assert_eq!(content(file.path()).unwrap(), 10);
        std::io::Write::write_all(&mut file, b"x").unwrap();
        assert!(matches!(
            content(file.path()),
            Err(UntrustedReason::TooLarge(10))
        ));
    }
}
