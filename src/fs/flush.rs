//! Many files and directories made durable together.
//!
//! Each fsync in a sequence waits for the disk. Issued in parallel they share: the file system commits its journal once,
//! and the disk flushes its cache once, for all that wait. For many files, one `syncfs` replaces that many calls. It also
//! waits for what others are writing on that file system, such as a build, so it is not used for few files.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::fs as sys;
use rustix::io::Errno;

use super::faults::About;
use super::{Directory, Failure, Faults, Target};
use crate::git::RelPath;
use crate::threads;

/// Something that was written and is not durable yet.
#[derive(Debug)]
pub(crate) enum Unsynced<'a> {
    /// A regular file: its content.
    File(&'a Directory, String),
    /// A directory: the names in it.
    Names(&'a Directory),
    /// A regular file somewhere below a directory, by the path from there.
    FileBelow(&'a Directory, PathBuf),
    /// The names in a directory somewhere below.
    NamesBelow(&'a Directory, PathBuf),
    /// The same of a directory of the target (`None`: the root), opened only for this: there may be more of them than a
    /// process may have open. One that is gone was removed with what is above it.
    NamesIn(&'a Target, Option<&'a RelPath>),
}

/// How many threads flush at a time.
const TOGETHER: usize = 16;

/// From how many on one `syncfs` is used.
const MANY: usize = 64;

/// File systems whose `syncfs` does for all files what `fsync` does for one (statfs(2), `linux/magic.h`): ext4, xfs,
/// btrfs, f2fs and tmpfs. That of FUSE, for example, does not reach the server.
const WHOLE: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];

impl Unsynced<'_> {
    fn sync(&self) -> Result<(), Failure> {
        match self {
            Self::File(directory, name) => directory.sync_file(name),
            Self::Names(directory) => directory.sync(),
            Self::FileBelow(directory, path) => {
                let above = below(directory, path.parent().unwrap_or(Path::new(".")))?;
                above.sync_file(path.file_name().unwrap_or_default())
            }
            Self::NamesBelow(directory, path) => below(directory, path)?.sync(),
            Self::NamesIn(target, path) => match target.directory(*path)? {
                Some(directory) => directory.sync(),
                None => Ok(()),
            },
        }
    }

    fn faults(&self) -> &Faults {
        match self {
            Self::File(directory, _)
            | Self::Names(directory)
            | Self::FileBelow(directory, _)
            | Self::NamesBelow(directory, _) => directory.faults(),
            Self::NamesIn(target, _) => target.faults(),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::File(directory, _)
            | Self::Names(directory)
            | Self::FileBelow(directory, _)
            | Self::NamesBelow(directory, _) => directory.path(),
            Self::NamesIn(target, _) => target.path(),
        }
    }

    /// A directory on the same file system, opened before anything was written.
    fn place(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::File(directory, _)
            | Self::Names(directory)
            | Self::FileBelow(directory, _)
            | Self::NamesBelow(directory, _) => Some(directory.fd()),
            Self::NamesIn(target, _) => target.root(),
        }
    }
}

fn below(directory: &Directory, path: &Path) -> Result<Directory, Failure> {
    directory
        .descendant(path)?
        .ok_or_else(|| directory.failure("make durable", path, Errno::NOENT))
}

/// Flushes all, in no order.
pub(crate) fn sync_all(pending: &[Unsynced<'_>]) -> Result<(), Failure> {
    if pending.len() >= MANY
        && let Some(done) = sync_file_systems(pending)
    {
        return done;
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(one) = pending.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(failure) = one.sync() {
                // The other threads stop.
                next.store(pending.len(), Ordering::Relaxed);
                return Err(failure);
            }
        }
        Ok(())
    };
    // Under a hook, the same calls one after the other.
    let is_hooked = pending.iter().any(|one| one.faults().is_hooked());
    let together = if is_hooked { 1 } else { TOGETHER };
    let helpers = together.min(pending.len()).saturating_sub(1);
    thread::scope(|scope| {
        // Without further threads, this one does all.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).map_while(spawn).collect();
        let own = work();
        helpers
            .into_iter()
            .map(threads::join)
            .fold(own, Result::and)
    })
}

/// Flushes these file systems; `None` if `syncfs` of one of them is not known to be sufficient.
fn sync_file_systems(pending: &[Unsynced<'_>]) -> Option<Result<(), Failure>> {
    let mut places = BTreeMap::new();
    let mut known = BTreeSet::new();
    for one in pending {
        let place = one.place()?;
        if !known.insert(place.as_raw_fd()) {
            continue;
        }
        let device = sys::fstat(place).ok()?.st_dev;
        if let Entry::Vacant(entry) = places.entry(device) {
            let kind = sys::fstatfs(place).ok()?.f_type;
            if !u64::try_from(kind).is_ok_and(|kind| WHOLE.contains(&kind)) {
                return None;
            }
            entry.insert((place, one));
        }
    }
    let sync = |(place, one): &(BorrowedFd<'_>, &Unsynced<'_>)| {
        let faults = one.faults();
        faults
            .check("syncfs", one.path(), Path::new(""), About::Nothing)
            .and_then(|()| sys::syncfs(*place))
            .map_err(|errno| Failure::new("make durable", one.path(), errno))
    };
    Some(places.values().try_for_each(sync))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rustix::io::Errno;

    use super::*;
    use crate::fs::Outcome;

    /// The calls that make so many files durable, and the error if one is refused.
    fn flushed(count: usize, refused: &'static str) -> (Vec<&'static str>, Option<Failure>) {
        // A tmpfs, which is one of those that `syncfs` is trusted with.
        let here = tempfile::tempdir_in("/dev/shm").unwrap();
        let seen = Arc::<Mutex<Vec<&'static str>>>::default();
        let hook = Arc::clone(&seen);
        let faults = Faults::new(move |call| {
            hook.lock().unwrap().push(call.name);
            if call.name == refused {
                Outcome::Fail(Errno::IO)
            } else {
                Outcome::Proceed
            }
        });
        let directory = Directory::open(here.path(), faults).unwrap();
        let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        for name in &names {
            directory.create(name).unwrap();
        }
        seen.lock().unwrap().clear();
        let pending = names.into_iter();
        let pending: Vec<_> = pending
            .map(|name| Unsynced::File(&directory, name))
            .collect();
        let failure = sync_all(&pending).err();
        let calls = seen.lock().unwrap().clone();
        (calls, failure)
    }

    #[test]
    fn a_hook_sees_what_is_done_without_one() {
        assert_eq!(flushed(3, "").0, ["fsync"; 3]);
        assert_eq!(flushed(MANY - 1, "").0.len(), MANY - 1);
        assert_eq!(flushed(MANY, "").0, ["syncfs"]);
    }

    #[test]
    fn a_flush_that_fails_is_an_error() {
        for (count, call) in [(3, "fsync"), (MANY, "syncfs")] {
            let (calls, failure) = flushed(count, call);
            assert_eq!(failure.unwrap().errno(), Some(Errno::IO));
            assert_eq!(calls, [call], "the others are not begun any more");
        }
    }
}
