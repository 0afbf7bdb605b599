//! The object store: `objects.git`, a bare repository that plain git can read.
//!
//! It holds the verified objects of the last commits and gives what a target directory cannot: bases for deltas, an
//! honest `have`, and rollback without network. It is a cache: lost or damaged it costs one listing, so damage is
//! repaired or thrown away at [`Store::open`], and never stops a run.
//!
//! Two things are not left to gitoxide. Every read hashes what it yields, because an index with a flipped bit yields
//! other bytes under an id. And nothing enters `objects/pack` by halves: packs are written and indexed in a
//! quarantine directory, synced, and only then renamed into place, by threads that [`Store::make_durable`] waits for.
//!
//! Limits: SHA-1 only; loose objects are not read (none are written); the caller holds the run lock, since two
//! writers would sweep each other's quarantine.

#![expect(
    clippy::disallowed_methods,
    reason = "the state directory is ours, 0700, and gitoxide reads it by path"
)]

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{RwLock, RwLockReadGuard};

use crate::fs::Durability;
use crate::git::commit::CommitFault;
use crate::git::id::ObjectKind;
use crate::git::{Commit, CommitId, Oid};
use crate::text;
use crate::threads;

mod complete;
mod durable;
mod error;
mod foreign;
mod ingest;
mod pack;
mod repack;
mod store_directory;
mod writer;

pub use error::{Error, IngestError};
pub(crate) use foreign::ForeignObjects;
pub use ingest::{IngestBounds, Ingested, Transient};
pub use repack::RepackOutcome;
pub use writer::{Added, Writer};

use complete::CompleteCommits;
use durable::BackgroundFlush;
use pack::{Object, Pack, Reading};
use store_directory::{StoreDirectory, shown};

/// The directory's name below the state directory.
const NAME: &str = "objects.git";
/// Says that damage was seen, until the next open repairs it.
const DAMAGED: &str = "damaged";
/// Begins the names of quarantine directories.
const QUARANTINE: &str = "incoming-";
/// Excluded blobs are "promised" by a remote that has no address, so `git fsck` is content and git cannot go and
/// fetch them either (gitrepository-layout(5), partial-clone).
const CONFIG: &str = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n\
    [extensions]\n\tpartialClone = origin\n\
    [remote \"origin\"]\n\tpromisor = true\n\
    [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";

/// The store.
#[derive(Debug)]
pub struct Store {
    place: StoreDirectory,
    /// Its path through its handle.
    root: PathBuf,
    blob_limit: u64,
    packs: RwLock<Vec<Pack>>,
    marks: RwLock<CompleteCommits>,
    damaged: AtomicBool,
    rebuilt: bool,
    background: BackgroundFlush,
}

impl Store {
    /// Opens `objects.git` below the state directory, or makes it, and repairs what an earlier run left behind.
    ///
    /// `blob_limit` is the largest object that is ever read into memory.
    pub fn open(state_dir: &Path, blob_limit: u64) -> Result<Self, Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .map_err(|source| Error::io("create", state_dir, source))?;
        let (place, mut rebuilt) = StoreDirectory::open(state_dir)?;
        let root = place.root();
        if let Err(error) = prepare(&root) {
            if !is_misshapen(&error) {
                return Err(error);
            }
            tracing::warn!(path = %text::path(place.path()), %error, "the object store is not a repository; starting anew");
            empty(&root)?;
            prepare(&root)?;
            rebuilt = true;
        }
        let mut store = Self::load(place, blob_limit)?;
        if store.is_damaged() {
            store = store.salvage()?;
            rebuilt = true;
        }
        store.rebuilt = rebuilt;
        Ok(store)
    }

    /// A store for objects that are not kept, in a temporary directory that goes with its handle.
    pub fn temporary(blob_limit: u64) -> Result<(Self, tempfile::TempDir), Error> {
        let directory = tempfile::tempdir()
            .map_err(|source| Error::io("create a directory in", &std::env::temp_dir(), source))?;
        Ok((Self::open(directory.path(), blob_limit)?, directory))
    }

    /// Whether damage was found and repaired, or the store thrown away, by [`Store::open`].
    #[must_use]
    pub fn was_rebuilt(&self) -> bool {
        self.rebuilt
    }

    /// Where it is: a `GIT_DIR`.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// A new directory that only we can enter; it goes with its handle, or when the store is opened next.
    pub fn scratch(&self) -> Result<tempfile::TempDir, Error> {
        tempfile::Builder::new()
            .prefix(durable::TEMPORARY)
            .tempdir_in(self.path())
            .map_err(|source| Error::io("create a directory in", &self.root, source))
    }

    /// The content of an object, proven to have its id.
    ///
    /// `None` where it is not there, is of another kind, or is damaged in every pack that has it.
    #[must_use]
    pub fn read(&self, kind: ObjectKind, id: Oid) -> Option<Vec<u8>> {
        self.object(id)
            .filter(|(actual, _)| *actual == kind)
            .map(|(_, content)| content)
    }

    /// An object of any kind, proven as [`Store::read`] does.
    #[must_use]
    pub fn object(&self, id: Oid) -> Option<(ObjectKind, Vec<u8>)> {
        self.find(id, |object| (object.kind, object.content))
    }

    /// Gives an object, proven, to `take`, with the bytes of its pack.
    fn find<T>(&self, id: Oid, take: impl FnOnce(Object<'_>) -> T) -> Option<T> {
        for pack in self.packs().iter().rev() {
            match pack.read(id) {
                Reading::Found(object) => return Some(take(object)),
                Reading::Absent => {}
                Reading::Damaged(detail) => {
                    tracing::warn!(pack = %text::path(shown(pack.path())), %id, %detail, "damaged object in the store");
                    self.set_damaged();
                }
            }
        }
        None
    }

    /// Bytes of an object as the pack lists them, unproven: for estimates.
    #[must_use]
    pub fn size(&self, id: Oid) -> Option<u64> {
        let packs = self.packs();
        let header = packs.iter().rev().find_map(|pack| pack.header(id));
        header.map(|(_, size)| size)
    }

    /// Bytes of an object of a pack that came in this run. Its id was computed from its content then, so that it is whole
    /// is known without reading it.
    #[must_use]
    pub fn size_if_new(&self, kind: ObjectKind, id: Oid) -> Option<u64> {
        let packs = self.packs();
        let mut new = packs.iter().rev().filter(|pack| pack.is_new());
        let (actual, size) = new.find_map(|pack| pack.header(id))?;
        (actual == kind).then_some(size)
    }

    /// A commit, parsed and proven.
    pub fn commit(&self, id: CommitId) -> Result<Option<Commit>, CommitFault> {
        self.read(ObjectKind::Commit, id.0)
            .map(|raw| Commit::verify(id, &raw))
            .transpose()
    }

    /// Whether some pack lists the object; whether it can be read, only [`Store::read`] shows.
    #[must_use]
    pub fn contains(&self, id: Oid) -> bool {
        self.packs().iter().any(|pack| pack.contains(id))
    }

    fn load(place: StoreDirectory, blob_limit: u64) -> Result<Self, Error> {
        let root = place.root();
        let mut sound = !root.join(DAMAGED).exists();
        let (packs, packs_sound) = pack::load_all(&root.join("objects/pack"), blob_limit)?;
        sound &= packs_sound;
        let marks = CompleteCommits::load(&root)?;
        let known = |commit: &CommitId| packs.iter().any(|pack| pack.contains(commit.0));
        sound &= marks.commits().all(|commit| known(&commit));
        let store = Self {
            place,
            root,
            blob_limit,
            packs: RwLock::new(packs),
            marks: RwLock::new(marks),
            damaged: AtomicBool::new(!sound),
            rebuilt: false,
            background: BackgroundFlush::default(),
        };
        store.write_entry_points()?;
        Ok(store)
    }

    /// Keeps the commits that can be read to their last blob; throws everything away where none can.
    fn salvage(self) -> Result<Self, Error> {
        tracing::warn!(path = %text::path(self.path()), "the object store is damaged; keeping what can be proven");
        let (place, root, blob_limit) = (self.place.clone(), self.root.clone(), self.blob_limit);
        let kept = match self.keep_intact() {
            Ok(kept) => kept,
            // The next run may have what this one lacks.
            Err(error) if is_passing(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "nothing of the object store can be kept");
                false
            }
        };
        drop(self);
        if !kept {
            empty(&root)?;
            prepare(&root)?;
        }
        durable::remove(&root.join(DAMAGED))?;
        let store = Self::load(place, blob_limit)?;
        store.damaged.store(false, Ordering::Relaxed);
        Ok(store)
    }

    fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// From here on nothing is complete, and the next open repairs.
    fn set_damaged(&self) {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            // Best effort: without the marker the next run finds the damage again by itself.
            let _ = fs::write(self.root.join(DAMAGED), b"");
        }
    }

    fn pack_dir(&self) -> PathBuf {
        self.root.join("objects/pack")
    }

    fn packs(&self) -> RwLockReadGuard<'_, Vec<Pack>> {
        threads::read(&self.packs)
    }

    fn quarantine(&self) -> Result<tempfile::TempDir, Error> {
        tempfile::Builder::new()
            .prefix(QUARANTINE)
            .tempdir_in(&self.root)
            .map_err(|source| Error::io("create a directory in", &self.root, source))
    }

    /// Takes a complete pack out of its quarantine. It can be read from here on, and is durable when
    /// [made so](Store::make_durable).
    fn publish(&self, quarantine: tempfile::TempDir, pack: Pack) -> Result<PathBuf, Error> {
        let name = pack.path().file_name().unwrap_or_default();
        let target = self.pack_dir().join(name);
        self.publish_in_background(quarantine, pack.path(), &target)?;
        let mut packs = threads::write(&self.packs);
        packs.retain(|known| known.path() != target);
        packs.push(pack.named(&target));
        Ok(target)
    }

    /// Declares that blobs are left out on purpose. Any pack may hold the tree that names such a blob.
    fn set_promisor(&self) -> Result<(), Error> {
        for pack in self.packs().iter() {
            pack.set_promisor()?;
        }
        Ok(())
    }
}

/// A commit, read beside the process that holds the run lock and proven by its bytes; `None` if it is not in the store, or
/// cannot be read.
///
/// Nothing is written, and what is damaged stays for [`Store::open`] to repair.
#[must_use]
pub fn commit(state_dir: &Path, commit: CommitId, blob_limit: u64) -> Option<Commit> {
    let entries = fs::read_dir(state_dir.join(NAME).join("objects/pack")).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "pack")
        })
        .filter_map(|path| Pack::open(&path, blob_limit).ok())
        .find_map(|pack| match pack.read(commit.0) {
            Reading::Found(object) if object.kind == ObjectKind::Commit => {
                Commit::verify(commit, &object.content).ok()
            }
            Reading::Found(_) | Reading::Absent | Reading::Damaged(_) => None,
        })
}

/// Makes what is missing of a bare repository, and sweeps what a killed run left.
fn prepare(root: &Path) -> Result<(), Error> {
    for directory in [&root.join("objects/pack"), &root.join("refs/hyper-sync")] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| Error::io("create", directory, source))?;
    }
    let config = root.join("config");
    if fs::read_to_string(&config).ok().as_deref() != Some(CONFIG) {
        durable::write(&config, CONFIG.as_bytes(), Durability::Full)?;
    }
    let entries = fs::read_dir(root).map_err(|source| Error::io("list", root, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| Error::io("list", root, source))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(QUARANTINE) || name.starts_with(durable::TEMPORARY) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether the cause may be gone the next time.
fn is_passing(error: &Error) -> bool {
    let Error::Io { source, .. } = error;
    is_refused(source)
        || matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
}

/// Whether the system denies access, which does not show what is there.
fn is_refused(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::ACCESS | Errno::PERM)
    )
}

/// A file where a directory should be, or the reverse: no repository of ours.
fn is_misshapen(error: &Error) -> bool {
    let Error::Io { source, .. } = error;
    matches!(
        source.kind(),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory
    )
}

/// Removes everything in a directory.
fn empty(directory: &Path) -> Result<(), Error> {
    let listed = |source| Error::io("list", directory, source);
    for entry in fs::read_dir(directory).map_err(listed)? {
        remove(&entry.map_err(listed)?.path())?;
    }
    Ok(())
}

/// Removes a file, a symlink or a whole directory; what is not there is removed already.
fn remove(path: &Path) -> Result<(), Error> {
    let is_directory = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.is_dir(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::io("inspect", path, source)),
    };
    let removed = if is_directory {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(|source| Error::io("remove", path, source))
}
