//! What a route finds on a machine: the store, and the contents of the target.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use hyper_sync::git::{BlobId, CommitId, File, RelPath, Tree};
use hyper_sync::objects::Store;
use hyper_sync::scan;
use hyper_sync::settings::{Limits, Symlinks};
use hyper_sync::source::{
    Depth, Error, Need, ResolvedRef, Source, Staged, VerificationPolicy, prove,
};
use tempfile::TempDir;

/// A machine.
pub struct Machine {
    /// The state directory.
    pub directory: TempDir,
    pub store: Store,
    /// What the target holds.
    pub held: HashMap<BlobId, Vec<u8>>,
    /// The commit that was synced last.
    pub last: Option<CommitId>,
    /// Which paths are not managed.
    pub excluded: fn(&str) -> bool,
}

impl Machine {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Limits::default().blob).unwrap();
        Self {
            directory,
            store,
            held: HashMap::new(),
            last: None,
            excluded: |_| false,
        }
    }

    /// As a sync does it, up to the plan.
    pub fn stage(&self, source: &dyn Source, resolved: &ResolvedRef) -> Result<Staged<'_>, Error> {
        let managed = |tree: &Tree| Arc::new(self.managed(tree));
        let terms = VerificationPolicy {
            limits: Limits::default(),
            symlinks: Symlinks::Any,
            signers: None,
            ignores_case: false,
            managed: &managed,
        };
        let (store, last) = (&self.store, self.last);
        let obtained = source.obtain(resolved.commit, last, store, self)?;
        prove(
            store,
            obtained,
            Depth::Content,
            self,
            &terms,
            &source.describe(),
        )
    }

    pub fn managed(&self, tree: &Tree) -> BTreeMap<RelPath, File> {
        let files = tree.files().iter();
        let managed = files.filter(|(path, _)| !(self.excluded)(path.as_str()));
        managed.map(|(path, file)| (path.clone(), *file)).collect()
    }

    /// Forgets the store, keeps the target.
    pub fn lose_store(&mut self) {
        let held = std::mem::take(&mut self.held);
        *self = Self {
            held,
            last: self.last,
            excluded: self.excluded,
            ..Self::new()
        };
    }
}

impl Need for Machine {
    fn missing(&self, tree: &Tree) -> Result<Vec<BlobId>, scan::Error> {
        let files = self.managed(tree).into_values();
        let ids: BTreeSet<BlobId> = files.map(|file| file.id).collect();
        let missing = ids.into_iter().filter(|id| !self.held.contains_key(id));
        Ok(missing.collect())
    }

    fn content(&self, id: BlobId) -> Option<Vec<u8>> {
        self.held.get(&id).cloned()
    }
}
