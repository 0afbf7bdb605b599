//! The local resources of a run: the lock, the state directory, the object store and the target.

use std::sync::OnceLock;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::SyncContext;
use crate::apply::{self, Recovered};
use crate::fs::Target;
use crate::git::id::ObjectKind;
use crate::git::tree::Bounds;
use crate::git::{Tree, TreeId};
use crate::lock::RunLock;
use crate::objects::Store;
use crate::scan::{Belief, Scanner};
use crate::state::{FileBlock, Found, Index, StateDir};

/// The local resources of a run, opened in a safe order: the lock before anything is read that another run could
/// change, and recovery before anything is compared.
#[derive(Debug)]
pub struct Session {
    // Fields are dropped in this order: the lock last.
    store: Store,
    target: Target,
    index: OnceLock<LoadedIndex>,
    /// The most entries of a tree.
    entries: u64,
    /// The bytes of the largest file.
    largest: u64,
    recovered: Option<Recovered>,
    state: StateDir,
    _lock: RunLock,
}

/// The index, and a note if it was damaged.
#[derive(Debug)]
struct LoadedIndex {
    index: Option<Index>,
    note: Option<StateNote>,
}

/// A note to the user about the state directory or the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateNote {
    /// The index was damaged and put aside here: this run is treated as the first one.
    IndexSetAside(std::path::PathBuf),
    /// The record of an interrupted update was damaged and put aside here.
    RecordSetAside(std::path::PathBuf),
    /// The object store was damaged and rebuilt.
    StoreRebuilt,
    /// The branch is still at the commit that was rolled back from.
    Held(crate::git::CommitId),
    /// The repository was read from this address instead of the configured one.
    Moved(crate::source::Moved),
    /// The name refers to a branch and to a tag; the branch was used.
    BranchAndTag(String),
    /// The files of a git work tree were compared with its commit, because no sync was done before.
    WorkTree {
        /// The commit.
        commit: crate::git::CommitId,
        /// Its branch.
        branch: Option<String>,
    },
    /// The commit of the git work tree could not be read; this is why.
    WorkTreeUnread(String),
    /// The target has a `.git` that is not at its commit.
    GitLeft {
        /// The target.
        target: std::path::PathBuf,
    },
    /// The `.git` of the target was moved.
    GitParked {
        /// Where it was.
        from: std::path::PathBuf,
        /// Where it is.
        to: std::path::PathBuf,
    },
    /// The host's hardware configuration is not that of this machine.
    Hardware(crate::nix::OtherHardware),
    /// Files were written that are placeholders for others.
    StandIns {
        /// The kind of placeholder.
        kind: super::StandIn,
        /// How many.
        files: u64,
    },
}

impl Session {
    /// Opens everything, recovers an unfinished transaction of an earlier run, and loads the index.
    pub fn begin(context: &SyncContext<'_>, wait: Duration) -> Result<Self, crate::Error> {
        let session = Self::open(context, wait)?;
        session.load(None)?;
        Ok(session)
    }

    /// Like [`begin`](Self::begin), but without the index, so that a large index can be read while the server responds.
    /// [`load`](Self::load) must follow.
    pub(super) fn open(context: &SyncContext<'_>, wait: Duration) -> Result<Self, crate::Error> {
        let settings = context.settings;
        let target = Target::open_or_absent(&settings.target)?;
        let state = StateDir::open(&settings.state_dir)?;
        // Before locking, which writes to the directory, and again after it, because it may have waited.
        state.refuse_other(&settings.target)?;
        let lock = RunLock::acquire(&state, wait, context.interrupt)?;
        state.refuse_other(&settings.target)?;
        let store = Store::open(state.path(), settings.limits.blob)?;
        let recovered = apply::recover(&target, &state, &store)?;
        Ok(Self {
            store,
            target,
            index: OnceLock::new(),
            entries: settings.limits.files,
            largest: settings.limits.blob,
            recovered,
            state,
            _lock: lock,
        })
    }

    /// Reads the index, and sends its files while it is read; a damaged one is put aside.
    pub(super) fn load(&self, files: Option<&Sender<FileBlock>>) -> Result<(), crate::Error> {
        let (index, note) = match Index::load_sending(&self.state, files)? {
            Found::Absent => (None, None),
            Found::Whole(index) => (Some(index), None),
            Found::Damaged(_) => {
                let aside = Index::set_aside(&self.state)?;
                (None, Some(StateNote::IndexSetAside(aside)))
            }
        };
        self.index.get_or_init(|| LoadedIndex { index, note });
        Ok(())
    }

    /// The target, opened once.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// The object store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The index of the last sync, if there is one.
    #[must_use]
    pub fn index(&self) -> Option<&Index> {
        self.index.get()?.index.as_ref()
    }

    /// The tree of the last sync, read from the store and proven; `None` if it is not there.
    pub(super) fn last_tree(&self) -> Option<Tree> {
        let bounds = Bounds {
            entries: self.entries,
        };
        let read = |id: TreeId| self.store.read(ObjectKind::Tree, id.0).ok_or(());
        Tree::walk(self.index()?.point.tree, bounds, None, read).ok()
    }

    /// What recovery finished or undid of an earlier run.
    #[must_use]
    pub fn recovered(&self) -> Option<&Recovered> {
        self.recovered.as_ref()
    }

    /// What was found damaged and was repaired.
    #[must_use]
    pub fn notes(&self) -> Vec<StateNote> {
        let rebuilt = self.store.was_rebuilt().then_some(StateNote::StoreRebuilt);
        let record = self.recovered.as_ref();
        let record = record.and_then(|recovered| recovered.damaged_record.clone());
        let index = self.index.get().and_then(|known| known.note.clone());
        { rebuilt.into_iter() }
            .chain(record.map(StateNote::RecordSetAside))
            .chain(index)
            .collect()
    }

    /// A scanner of the target that trusts the index if a file's metadata is unchanged: all that git compares, or only
    /// size and time.
    #[must_use]
    pub fn scanner(&self, size_and_time: bool) -> Scanner<'_> {
        let belief = if size_and_time {
            Belief::SizeAndTime
        } else {
            Belief::Unchanged
        };
        Scanner::new(&self.target, self.index(), belief).largest(self.largest)
    }
}
