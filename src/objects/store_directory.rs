//! The directory of the store: it is opened once, and everything in it is reached through its handle.
//!
//! The libraries that write and read packs take paths. They are given that of the handle in `/proc` (`proc_pid_fd(5)`), so
//! that a store whose directory is exchanged meanwhile is still the one that was opened. Messages name the real path.

use std::fs;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::{Error, NAME};
use crate::fs::{Directory, Failure, Faults};

/// Where this process's handles are.
const HANDLES: &str = "/proc/self/fd";

/// The directory of the store.
#[derive(Debug, Clone)]
pub(super) struct StoreDirectory {
    directory: Arc<Directory>,
}

impl StoreDirectory {
    /// Opens the store's directory, or makes it. Also returns whether something else was there, which is removed then.
    pub(super) fn open(state_dir: &Path) -> Result<(Self, bool), Error> {
        let of_failure = |failure: Failure| Error::io(failure.verb, &failure.path, failure.source);
        let state = Directory::open_following(state_dir, Faults::default()).map_err(of_failure)?;
        let (directory, is_new) = match state.make_child(NAME, 0o700) {
            // A symlink too.
            Err(failure) if failure.errno() == Some(Errno::NOTDIR) => {
                state.unlink(NAME).map_err(of_failure)?;
                (state.make_child(NAME, 0o700).map_err(of_failure)?, true)
            }
            made => (made.map_err(of_failure)?, false),
        };
        let directory = Arc::new(directory);
        Ok((Self { directory }, is_new))
    }

    /// The path through the handle, valid as long as this, or a clone of it, lives.
    pub(super) fn root(&self) -> PathBuf {
        handle(self.directory.fd())
    }

    /// The path it was opened by, for other programs and for people.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

pub(super) fn handle(fd: BorrowedFd<'_>) -> PathBuf {
    Path::new(HANDLES).join(fd.as_raw_fd().to_string())
}

/// The real path, for messages.
#[expect(
    clippy::disallowed_methods,
    reason = "asks the kernel where a handle of ours leads"
)]
pub(super) fn shown(path: &Path) -> PathBuf {
    let real = || {
        let mut below = path.strip_prefix(HANDLES).ok()?.components();
        let handle = Path::new(HANDLES).join(below.next()?);
        Some(fs::read_link(handle).ok()?.join(below))
    };
    real().unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_path_behind_a_handle() {
        let directory = tempfile::tempdir().unwrap();
        let (place, is_new) = StoreDirectory::open(directory.path()).unwrap();
        assert!(!is_new);
        let real = directory.path().canonicalize().unwrap().join(NAME);
        assert_eq!(
            shown(&place.root().join("objects/x")),
            real.join("objects/x")
        );
        assert_eq!(shown(Path::new("/etc/x")), Path::new("/etc/x"));
        assert_eq!(
            shown(Path::new("/proc/self/fd/none/x")),
            Path::new("/proc/self/fd/none/x")
        );
    }
}
