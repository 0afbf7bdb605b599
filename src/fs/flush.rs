//! Many files and directories made durable together.
//!
//! One fsync after the other waits for the disk once for each. Issued at the same time they share: the file system
//! commits its journal once, and the disk empties its cache once, for all that wait. `syncfs` would be one call, but it
//! also waits for whatever everybody else writes on that file system, such as a build.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Directory, Failure, Target};
use crate::git::RelPath;

/// Something that was written and is not durable yet.
#[derive(Debug)]
pub(crate) enum Unsynced<'a> {
    /// A regular file: its content.
    File(&'a Directory, String),
    /// A directory: the names in it.
    Names(&'a Directory),
    /// The same of a directory of the target (`None`: the root), opened only for this: there may be more of them than a
    /// process may have open. One that is gone was removed with what is above it.
    NamesIn(&'a Target, Option<&'a RelPath>),
}

/// How many wait at a time: enough to share, few enough to cost nothing.
const TOGETHER: usize = 16;

impl Unsynced<'_> {
    fn sync(&self) -> Result<(), Failure> {
        match self {
            Self::File(directory, name) => directory.sync_file(name),
            Self::Names(directory) => directory.sync(),
            Self::NamesIn(target, path) => match target.directory(*path)? {
                Some(directory) => directory.sync(),
                None => Ok(()),
            },
        }
    }

    fn is_hooked(&self) -> bool {
        match self {
            Self::File(directory, _) | Self::Names(directory) => directory.is_hooked(),
            Self::NamesIn(target, _) => target.is_hooked(),
        }
    }
}

/// Makes all of it durable, in no order.
pub(crate) fn sync_all(pending: &[Unsynced<'_>]) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(one) = pending.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(failure) = one.sync() {
                // The others need not begin any more.
                next.store(pending.len(), Ordering::Relaxed);
                return Err(failure);
            }
        }
        Ok(())
    };
    // A hook counts the calls, so they come one after the other.
    let hooked = pending.iter().any(Unsynced::is_hooked);
    let helpers = if hooked {
        0
    } else {
        TOGETHER.min(pending.len()).saturating_sub(1)
    };
    thread::scope(|scope| {
        // Where no thread can be made, there is still this one.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).map_while(spawn).collect();
        let own = work();
        let join = |helper: thread::ScopedJoinHandle<'_, _>| {
            helper
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        helpers.into_iter().map(join).fold(own, Result::and)
    })
}
