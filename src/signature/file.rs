//! Reading the file of keys, if nobody but root and this user can choose what is in it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Error;

/// The keyring of a large distribution's developers has 10 MiB.
const LIMIT: u64 = 16 << 20;

/// The content.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable {
        path: path.to_owned(),
        source,
    };
    // Not blocking: opening a pipe would wait for its writer for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => {
            let path = path.to_owned();
            return Err(Error::Missing { path });
        }
        // A socket cannot be opened at all.
        Err(Errno::NXIO) => {
            return Err(Error::NotAFile {
                path: path.to_owned(),
                kind: "a socket or device",
            });
        }
        Err(errno) => return Err(unreadable(errno.into())),
    };
    let stat = rustix::fs::fstat(&fd).map_err(|errno| unreadable(errno.into()))?;
    check(path, &stat, rustix::process::geteuid().as_raw())?;
    let mut content = Vec::new();
    let read = File::from(fd).take(LIMIT + 1).read_to_end(&mut content);
    read.map_err(unreadable)?;
    if content.len() as u64 > LIMIT {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            limit: LIMIT,
        });
    }
    Ok(content)
}

fn check(path: &Path, stat: &Stat, user: u32) -> Result<(), Error> {
    let path = path.to_owned();
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a pipe"),
        _ => Some("a socket or device"),
    };
    if let Some(kind) = kind {
        return Err(Error::NotAFile { path, kind });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o022 != 0 {
        return Err(Error::Mode { path, mode });
    }
    let uid = stat.st_uid;
    if uid != 0 && uid != user {
        return Err(Error::Owner { path, uid });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(mode: u32, uid: u32) -> Result<(), Error> {
        let mut stat = rustix::fs::stat("/").unwrap();
        stat.st_mode = mode;
        stat.st_uid = uid;
        check(Path::new("/signers"), &stat, 1000)
    }

    #[test]
    fn only_root_and_this_user_may_choose_the_keys() {
        for (mode, uid) in [(0o100_644, 0), (0o100_444, 0), (0o100_600, 1000)] {
            assert!(judge(mode, uid).is_ok(), "{mode:o} {uid}");
        }
        for mode in [0o100_664, 0o100_646, 0o100_666, 0o100_620] {
            assert!(
                matches!(judge(mode, 0), Err(Error::Mode { .. })),
                "{mode:o}"
            );
        }
        assert!(matches!(
            judge(0o100_644, 1001),
            Err(Error::Owner { uid: 1001, .. })
        ));
        for mode in [0o040_755, 0o010_644, 0o140_644, 0o020_644] {
            assert!(
                matches!(judge(mode, 0), Err(Error::NotAFile { .. })),
                "{mode:o}"
            );
        }
    }
}
