//! One run at a time: a lock on a file of the state directory.
//!
//! `flock`, so the kernel lets go when the holder dies, however it dies: a file that is left behind means nothing.
//! What stands in the file only names the holder to others. Child processes do not inherit the descriptor.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use miette::Diagnostic;
use rustix::fs::{self as sys, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::fs::Failure;
use crate::state::StateDir;

const NAME: &str = "lock";

/// How often a waiting run looks again; a sync takes about a second.
const POLL: Duration = Duration::from_millis(100);

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Closing would do it, but not while a child is between `fork` and `exec`, where it has our descriptors.
    fn drop(&mut self) {
        let _ = sys::flock(&self.file, FlockOperation::Unlock);
    }
}

/// The lock is not to be had.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// Another run holds it.
    #[error("another run is active{}", held_by(.holder.as_deref()))]
    #[diagnostic(
        code(hyper_sync::lock::busy),
        help("wait for it to end and run again; nothing was written")
    )]
    Busy {
        /// What it says of itself.
        holder: Option<String>,
    },
    /// The file could not be locked.
    #[error("cannot lock `{}`", .path.display())]
    #[diagnostic(
        code(hyper_sync::lock::io),
        help(
            "check the disk and who owns the state directory, which must be on a local file system; nothing was written"
        )
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn held_by(holder: Option<&str>) -> String {
    holder.map_or_else(String::new, |holder| {
        format!(" ({})", holder.escape_debug())
    })
}

impl Lock {
    /// Takes the lock, waiting for it as long as `wait`.
    pub fn acquire(state: &StateDir, wait: Duration) -> Result<Self, Error> {
        let begin = Instant::now();
        loop {
            match Self::attempt(state) {
                Err(Error::Busy { .. }) if begin.elapsed() < wait => {
                    std::thread::sleep(POLL.min(wait.saturating_sub(begin.elapsed())));
                }
                other => return other,
            }
        }
    }

    /// Whether somebody holds it now. Takes nothing and makes nothing.
    pub fn is_held(state: &StateDir) -> Result<bool, Error> {
        let directory = state.directory();
        let flags =
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let error = |errno: Errno| Error::Io {
            path: directory.path().join(NAME),
            source: errno.into(),
        };
        let file = match sys::openat(directory.fd(), NAME, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(error(errno)),
        };
        match sys::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(error(errno)),
        }
    }

    fn attempt(state: &StateDir) -> Result<Self, Error> {
        let directory = state.directory();
        let error = |errno: Errno| Error::Io {
            path: directory.path().join(NAME),
            source: errno.into(),
        };
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::CLOEXEC
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY;
        loop {
            let file = sys::openat(directory.fd(), NAME, flags, Mode::RUSR | Mode::WUSR)
                .map(File::from)
                .map_err(error)?;
            match sys::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::Busy {
                        holder: holder(file),
                    });
                }
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(error(errno)),
            }
            // Who waited for a file that was removed meanwhile has locked what nobody else will look at.
            let locked = sys::fstat(&file).map_err(error)?;
            let named = directory
                .stat(NAME)
                .map_err(|Failure { source, .. }| Error::Io {
                    path: directory.path().join(NAME),
                    source,
                })?;
            if named.is_some_and(|named| named.ino == locked.st_ino) {
                announce(&file);
                return Ok(Self { file });
            }
        }
    }
}

/// Tells others who holds the lock. A full disk must not stop a run that may be about to free it.
fn announce(mut file: &File) {
    let pid = std::process::id();
    let since = jiff::Timestamp::now();
    let since = since.round(jiff::Unit::Second).unwrap_or(since);
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "process {pid}, since {since}"));
}

fn holder(mut file: File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(200).read_to_string(&mut text).ok()?;
    // The holder may be between taking the lock and saying so.
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
