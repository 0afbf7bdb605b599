//! The state directory: what outlives a run.
//!
//! Mode 0700 and ours alone, and so is all above it, so nobody can plant anything in it or put another one in its place;
//! it is opened once and then reached by descriptor. Every small file is sealed
//! ([`sealed`]): a torn or foreign one is set aside and the run goes on without it, one made by a newer hyper-sync
//! stops the run.
//!
//! | name | format | what |
//! |---|---|---|
//! | `lock` | one line of text | held by the running hyper-sync, and names it |
//! | `target` | sealed, `target 1` | the directory whose state this is |
//! | `repository` | sealed, `repository 1` | the repository that the target follows ([`FollowedRepo`]) |
//! | `index` | sealed, `index 4` | what was written last: the base of the next plan ([`Index`]) |
//! | `settled` | sealed, `settled 1` | that the target was found or made equal to its commit, for runs of an unchanged branch |
//! | `sync-state.json` | JSON, version 1 | how the last sync went, for people and programs ([`SyncState`]) |
//! | `followed` | sealed, `followed 1` | the commits of the followed names: a tag does not move |
//! | `hold` | sealed, `hold 2` | the commits that a rollback left ([`Hold`](crate::sync::Hold)) |
//! | `unreached` | sealed, `unreached 1` | syncs that did not reach the repository ([`Unreached`]) |
//! | `failed` | sealed, `failed 1` | how syncs and rebuilds fail, while they do ([`FailedRuns`]) |
//! | `suspended` | sealed, `suspended 1` | until when the runs of the units do nothing, and why ([`Suspension`]) |
//! | `git-base` | four lines of text | the address that the host of the repository redirects to, for a day |
//! | `metrics` | sealed, `metrics 1` | how the last runs ended, where `metrics_file` is set ([`crate::metrics`]) |
//! | `rebuild.json` | sealed, `rebuild 1` | the pending rebuild, the last one, and known systems ([`RebuildRecord`](crate::rebuild::RebuildRecord)) |
//! | `quarantine` | sealed, `quarantine 1` | the builds that failed and are not repeated at every tick ([`Quarantine`](crate::rebuild::Quarantine)) |
//! | `trial` | sealed, `trial 1` | the new system that has not passed its health checks yet ([`Trial`](crate::rebuild::Trial)) |
//! | `former` | symlink | the system that ran before it, kept from Nix's garbage collector |
//! | `reboot` | sealed, `reboot 1` | the boot default that waits for a reboot ([`Reboot`](crate::rebuild::Reboot)) |
//! | `former-boot` | symlink | the system to which a trial of it reverts, kept from Nix's garbage collector |
//! | `result` | symlink | the last system that was built, kept from Nix's garbage collector |
//! | `flake.lock` | flake.lock of Nix | the lock file of a flake in the target that has none |
//! | `objects.git/` | bare git repository | verified objects of the last commits ([`crate::objects`]) |
//! | `snapshots/<name>-<hash>/` | directory tree | what the last rebuild read |
//! | `tx/active` | sealed, `transaction 3` | the journal of the transaction that is carried out ([`Transaction`](crate::apply::Transaction)) |
//! | `undo/<id>/transaction` | sealed, `transaction 3` | what a past transaction changed |
//! | `undo/<id>/<object>` | bytes | a file that it replaced, under the id of its blob |
//! | `undo/<id>/edited` | empty | it replaced local edits |
//! | `undo/<id>/repair` | empty | it stayed at its commit |
//! | `undo/<id>/rollback` | empty | a rollback made it |
//! | `undo/<id>/bytes-<number>` | empty | the size of its copies |
//! | `conflicts/<id>/` | directory tree | edits made while that transaction was carried out |
//! | `parked/<number>.git/` | git repository | the `.git` that `--adopt` moved out of the target |
//!
//! While a run works, and after one that was killed, also these; the next run finishes or removes what it finds.
//!
//! | name | what |
//! |---|---|
//! | `tx/<id>.plan` | the journal before the commit point |
//! | `undo/<id>.part/` | the copies of a transaction that is not finished |
//! | `parked/<number>.git.part/` | a `.git` that is copied from another file system |
//! | `snapshots/<name>.new/` | a snapshot that is not finished |
//! | `<name>.tmp` | a sealed file or `git-base` before it takes its name; the former index until the update is done |
//! | `suspended.new` | the suspension before it takes its name; the next `suspend` or `resume` removes it |
//! | `.<name>.hyper-sync` | a plain file before it takes its name |
//! | `<name>.damaged` | a damaged file that was set aside; it stays, and a second one gets a number |
//! | `tx/active.damaged` | a damaged journal, likewise |
//!
//! In `/var/lib/hyper-sync`, the default of root, `targets` besides: the state directories of other targets.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::io::Errno;

use crate::fs::above::{self, LastSymlink, UnsafeParent};
use crate::fs::{Directory, Failure, Faults, FileKind};
use crate::settings::TARGETS;

mod error;
mod failed;
mod index;
mod publish;
mod records;
mod repository;
pub mod sealed;
mod suspension;
mod sync_state;
mod target;
mod unreached;

pub use error::Error;
pub use failed::{FailedRuns, StageFailure};
pub use index::{FILES_A_BLOCK, FileBlock, Index, Owned, StatData, SyncPoint};
pub(crate) use publish::{publish, replace};
pub use records::StateRecords;
pub use repository::FollowedRepo;
pub use sealed::{Damage, Found};
pub use suspension::{Suspended, Suspension};
pub use sync_state::{FileCounts, Kept, LastSync, SkipReason, SyncState};
pub use unreached::Unreached;

/// The state directory, opened and checked.
#[derive(Debug)]
pub struct StateDir {
    root: Directory,
    faults: Faults,
}

impl StateDir {
    /// Opens the state directory; makes it, and what is missing above it, where it is not there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // Before anything is made there.
        if let Err(UnsafeParent::Exposed(above)) = above::judged(path, LastSymlink::Kept, None) {
            return Err(Error::exposed(path, above));
        }
        make_private(path, &Faults::default())?;
        Self::check(path)
    }

    /// Opens the state directory if there is one, and never makes it. One of another target is refused.
    pub fn find(path: &Path, target: &Path) -> Result<Option<Self>, Error> {
        match Self::check(path) {
            Ok(found) => found.refuse_other(target).map(|()| Some(found)),
            Err(Error::Io(failure)) if failure.errno() == Some(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// With a hook before every call that changes something in it; for tests.
    pub fn with_faults(self, faults: Faults) -> Result<Self, Error> {
        Ok(Self {
            root: Directory::open(self.root.path(), faults.clone())?,
            faults,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// What the last transactions replaced.
    #[must_use]
    pub fn undo(&self) -> PathBuf {
        self.path().join(UNDO)
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.root
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// One of our directories, made where it is not there.
    pub(crate) fn make(&self, name: &'static str) -> Result<Directory, Error> {
        if let Some(directory) = self.root.child(name)? {
            return Ok(directory);
        }
        let directory = self.root.make_child(name, 0o700)?;
        self.root.sync()?;
        Ok(directory)
    }

    /// Removes small files that a run did not write to their end. The caller holds the lock.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        for name in self.root.list()? {
            let unfinished = name.to_str().is_some_and(|name| {
                name.ends_with(sealed::TEMPORARY) || sync_state::is_unfinished(name)
            });
            if unfinished
                && let Some(stat) = self.root.stat(&name)?
                && stat.kind == FileKind::File
            {
                self.root.unlink(&name)?;
            }
        }
        Ok(())
    }

    /// Removes all that is known of the target. The caller holds the lock.
    ///
    /// The record of the target goes last, so that after a crash the rest is still found. The states of other targets in
    /// root's own directory stay, and so does a directory that cannot be removed.
    pub(crate) fn forget(self) -> Result<(), Error> {
        for name in self.root.list()? {
            let stays = [TARGETS, LOCK, target::NAME].map(OsStr::new);
            if !stays.contains(&name.as_os_str()) {
                self.root.remove_all(&name)?;
            }
        }
        self.root.sync()?;
        for name in [target::NAME, LOCK] {
            self.root.unlink(name)?;
        }
        self.root.sync()?;
        if let (Some(above), Some(name)) = (self.path().parent(), self.path().file_name())
            && let Ok(above) = Directory::open_following(above, self.faults.clone())
        {
            // It may be one that the service manager has made.
            let _ = above.remove_empty(name);
        }
        Ok(())
    }

    fn check(path: &Path) -> Result<Self, Error> {
        let place =
            above::judged(path, LastSymlink::Kept, None).map_err(|refusal| match refusal {
                UnsafeParent::Exposed(above) => Error::exposed(path, above),
                UnsafeParent::Io(errno) => Failure::new("open", path, errno).into(),
            })?;
        let root = Directory::open_at(&place, path).map_err(|failure| {
            let path = path.to_owned();
            match failure.errno() {
                // With O_DIRECTORY | O_NOFOLLOW the kernel says either of a symlink.
                Some(Errno::NOTDIR | Errno::LOOP) => Error::NotADirectory { path },
                _ => Error::Io(failure),
            }
        })?;
        let stat = root.own_stat()?;
        let path = path.to_owned();
        if stat.uid != rustix::process::geteuid().as_raw() {
            return Err(Error::ForeignOwner {
                path,
                uid: stat.uid,
            });
        }
        if stat.mode & 0o022 != 0 {
            return Err(Error::Writable {
                path,
                mode: stat.mode,
            });
        }
        Ok(Self {
            root,
            faults: Faults::default(),
        })
    }
}

/// The time, in the whole seconds that all files here have.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    // Never in the future: the time of a record is compared with the clock.
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

pub(crate) const LOCK: &str = "lock";
pub(crate) const TX: &str = "tx";
pub(crate) const UNDO: &str = "undo";
pub(crate) const CONFLICTS: &str = "conflicts";

/// Makes a directory with mode 0700, and with the same mode what is missing above it.
fn make_private(path: &Path, faults: &Faults) -> Result<(), Error> {
    make_directories(path, 0o700, faults)
}

/// Makes a directory and what is missing above it, durably.
fn make_directories(path: &Path, mode: u32, faults: &Faults) -> Result<(), Error> {
    let mut missing = Vec::new();
    let mut here = path;
    // Above ours, symlinks are the administrator's: `/var` or a home may be one.
    let mut above = loop {
        match Directory::open_following(here, faults.clone()) {
            Ok(directory) => break directory,
            Err(failure) if failure.errno() == Some(Errno::NOENT) => {}
            // Whatever stands at the path itself is judged by the caller.
            Err(_) if missing.is_empty() => return Ok(()),
            Err(failure) => return Err(failure.into()),
        }
        match (here.parent(), here.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name);
                here = parent;
            }
            _ => return Err(Failure::new("create", path, Errno::NOENT).into()),
        }
    };
    for name in missing.into_iter().rev() {
        match above.make_directory(name, mode) {
            Ok(()) => above.sync()?,
            // Two runs that start at once may both find it missing.
            Err(failure) if failure.errno() == Some(Errno::EXIST) => {}
            Err(failure) => return Err(failure.into()),
        }
        above = match above.child(name) {
            Ok(Some(child)) => child,
            Ok(None) => return Err(above.failure("open", name, Errno::NOENT).into()),
            // A dangling symlink; as above.
            Err(failure) if failure.errno() == Some(Errno::NOTDIR) => return Ok(()),
            Err(failure) => return Err(failure.into()),
        };
    }
    Ok(())
}

/// Whether a file is one that only we can have written.
fn is_ours(stat: &crate::fs::Stat) -> bool {
    stat.kind == FileKind::File
        && stat.uid == rustix::process::geteuid().as_raw()
        && stat.mode & 0o022 == 0
}
