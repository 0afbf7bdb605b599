//! One run at a time: a lock on a file of the state directory.
//!
//! `flock`: the kernel releases it when the holder dies, so a file that is left behind has no meaning. Its content only
//! names the holder to others. Child processes do not inherit the descriptor.
//!
//! That line, and its end, is all that a run writes when there is nothing to do: it ends with `running`, and with another
//! word when the lock is released, so that a run that was killed is distinguished from one that ended. One call overwrites
//! the line before it, so that no reader sees a part of it. It is not made durable: after a power cut, the end of the run
//! before may be missing, too.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use miette::Diagnostic;
use rustix::fs::{self as sys, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::exit::Exit;
use crate::fs::Failure;
use crate::process;
use crate::state::{self, LOCK as NAME, StateDir};
use crate::text::{self, words};

/// The interval at which a waiting run tries again; a sync takes about a second.
const POLL: Duration = Duration::from_millis(100);

/// How often, and how long apart, the file is read until it names a running process: the holder writes it one system call
/// after it takes the lock.
const READS: u32 = 20;
const READ_AGAIN: Duration = Duration::from_millis(5);

/// The ends of the line: of a run that is active or was killed, of one that has released the lock, and of one that a
/// signal stopped. Older versions wrote none of them.
const RUNNING: &str = ", running";
const ENDED: &str = ", ended";
const INTERRUPTED: &str = ", interrupted";

/// What the line is filled up to with spaces: it must cover the one before it. The longest has 59 bytes.
const WIDTH: usize = 63;

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    since: Timestamp,
    end: &'static str,
}

impl Drop for RunLock {
    /// Closing is not enough while a child between `fork` and `exec` has the descriptor.
    fn drop(&mut self) {
        announce(&self.file, self.since, self.end);
        let _ = self.file.unlock();
    }
}

/// The last run that took the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRun {
    /// When it took the lock.
    pub since: Timestamp,
    /// Whether it was killed, or stopped by a signal. Unknown, and so `false`, for one of an older version.
    pub is_interrupted: bool,
}

/// The lock was not taken.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// Another run holds it.
    #[error("another run is active{}", held_by(.holder.as_deref()))]
    #[diagnostic(
        code(hyper_sync::lock::busy),
        help(
            "run again when it has ended, or let an update or a sync wait for it with `--wait 10min`; nothing was written"
        )
    )]
    Busy {
        /// The line by which it names itself.
        holder: Option<String>,
    },
    /// Another run holds it for longer than a run may take.
    #[error("another run has been active for more than {}s ({})", .limit.as_secs(), words(.holder))]
    #[diagnostic(
        code(hyper_sync::lock::hangs),
        help(
            "see what the process does (`ps`), and end it: until then this machine is not updated; nothing was written"
        )
    )]
    Hangs {
        /// The line by which it names itself.
        holder: String,
        /// How long a run may take.
        limit: Duration,
    },
    /// A signal asked it to stop.
    #[error("interrupted while another run is active")]
    #[diagnostic(
        code(hyper_sync::lock::interrupted),
        help("run it again; nothing was written")
    )]
    Interrupted,
    /// The file could not be locked.
    #[error("cannot lock `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::lock::io),
        help(
            "check the disk and who owns the state directory, which must be on a local file system; nothing was written"
        )
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Busy { .. } => Exit::Busy,
            Self::Hangs { .. } => Exit::NeedsPerson,
            Self::Interrupted => Exit::Interrupted,
            Self::Io { .. } => Exit::FileSystem,
        }
    }
}

fn held_by(holder: Option<&str>) -> String {
    holder.map_or_else(String::new, |holder| format!(" ({})", words(holder)))
}

impl RunLock {
    /// Takes the lock, waiting for it as long as `wait`, or until `interrupt` is set.
    pub fn acquire(
        state: &StateDir,
        wait: Duration,
        interrupt: &AtomicBool,
    ) -> Result<Self, Error> {
        let begin = Instant::now();
        loop {
            match Self::attempt(state) {
                Err(Error::Busy { .. }) if begin.elapsed() < wait => {
                    if interrupt.load(Ordering::Relaxed) {
                        return Err(Error::Interrupted);
                    }
                    std::thread::sleep(POLL.min(wait.saturating_sub(begin.elapsed())));
                }
                other => return other,
            }
        }
    }

    /// Whether a run holds it now. Takes and creates nothing.
    pub fn is_held(state: &StateDir) -> Result<bool, Error> {
        let directory = state.directory();
        let flags =
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let error = |source| Error::Io {
            path: directory.path().join(NAME),
            source,
        };
        let file = match sys::openat(directory.fd(), NAME, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(error(errno.into())),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(error(source)),
        }
    }

    /// An error if a run has held it for longer than `limit`.
    pub fn refuse_hanging(state: &StateDir, limit: Duration, now: Timestamp) -> Result<(), Error> {
        if !Self::is_held(state)? {
            return Ok(());
        }
        let Ok(Some((file, _))) = state.directory().open_file(NAME) else {
            return Ok(());
        };
        let Some(holder) = holder(&file) else {
            return Ok(());
        };
        let hangs = held_for(&holder, now).is_some_and(|time| time > limit);
        // It may have ended meanwhile.
        if hangs && Self::is_held(state)? {
            return Err(Error::Hangs { holder, limit });
        }
        Ok(())
    }

    /// Kills the holder, if it is this process.
    #[must_use]
    pub fn kill_holder(state: &StateDir, process: u32) -> bool {
        let Ok(Some((file, _))) = state.directory().open_file(NAME) else {
            return false;
        };
        let line = holder(&file).unwrap_or_default();
        let named = process_of(&line).filter(|_| line.starts_with(&format!("process {process},")));
        // It may have ended meanwhile.
        named.is_some_and(|pid| kill_process(pid, Signal::KILL) != Err(Errno::PERM))
    }

    /// The last run, if it recorded itself. It may still be active.
    pub fn last(state: &StateDir) -> Result<Option<LastRun>, Error> {
        let is_held = Self::is_held(state)?;
        let file = state.directory().open_file(NAME).ok().flatten();
        let line = file.and_then(|(file, _)| line(&file)).unwrap_or_default();
        Ok(since(&line).map(|since| LastRun {
            since,
            is_interrupted: line.ends_with(INTERRUPTED) || (line.ends_with(RUNNING) && !is_held),
        }))
    }

    /// Releases it, and records that a signal stopped the run.
    pub fn release_interrupted(mut self) {
        self.end = INTERRUPTED;
    }

    fn attempt(state: &StateDir) -> Result<Self, Error> {
        let directory = state.directory();
        let error = |source| Error::Io {
            path: directory.path().join(NAME),
            source,
        };
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::CLOEXEC
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY;
        loop {
            let file: File = sys::openat(directory.fd(), NAME, flags, Mode::RUSR | Mode::WUSR)
                .map_err(|errno| error(errno.into()))?
                .into();
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Busy {
                        holder: holder(&file),
                    });
                }
                Err(TryLockError::Error(source)) if source.kind() == io::ErrorKind::Interrupted => {
                    continue;
                }
                Err(TryLockError::Error(source)) => return Err(error(source)),
            }
            // If the file was removed while this run waited, the lock is on a file that no other run will open.
            let locked = file.metadata().map_err(error)?.ino();
            let named = directory
                .stat(NAME)
                .map_err(|Failure { source, .. }| error(source))?;
            if named.is_some_and(|named| named.ino == locked) {
                let since = state::now();
                announce(&file, since, RUNNING);
                return Ok(Self {
                    file,
                    since,
                    end: ENDED,
                });
            }
        }
    }
}

/// Names the holder to others. A full disk must not stop a run that may be about to free it.
fn announce(file: &File, since: Timestamp, end: &str) {
    let pid = std::process::id();
    let text = format!("process {pid}, since {since}{end}");
    let _ = file.write_all_at(format!("{text:<WIDTH$}\n").as_bytes(), 0);
}

/// The line that names the holder. That of an earlier run is returned only if no other appears.
fn holder(file: &File) -> Option<String> {
    let mut text = None;
    for attempt in 0..READS {
        if attempt > 0 {
            std::thread::sleep(READ_AGAIN);
        }
        text = line(file);
        if text.as_deref().is_some_and(names_a_process) {
            break;
        }
    }
    let text = text?;
    Some(text.strip_suffix(RUNNING).unwrap_or(&text).to_owned())
}

fn line(file: &File) -> Option<String> {
    let mut bytes = [0; WIDTH + 1];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let text = str::from_utf8(&bytes[..length]).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Whether a line names a running process of this process namespace.
fn names_a_process(line: &str) -> bool {
    // Without permission to signal it, it is running all the same.
    process_of(line).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// How long the run that a line names has held the lock; `None` if its process cannot be seen.
///
/// A process may have waited for the lock, and the clock may have been set since it took it: the shorter time counts.
fn held_for(line: &str, now: Timestamp) -> Option<Duration> {
    let process = process_of(line)?.as_raw_nonzero().get();
    let age = process::age(process.try_into().ok()?)?;
    let held = Duration::try_from(now.duration_since(since(line)?)).unwrap_or_default();
    Some(age.min(held))
}

fn since(line: &str) -> Option<Timestamp> {
    let (_, since) = line.rsplit_once("since ")?;
    since.split(',').next()?.trim().parse().ok()
}

fn process_of(line: &str) -> Option<Pid> {
    let rest = line.strip_prefix("process ")?;
    Pid::from_raw(rest.split(',').next()?.parse().ok()?)
}
