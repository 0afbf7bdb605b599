//! Adapters that give the other stages access to the target and the store: the missing blobs, the local files, and the
//! content of blobs.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use super::Session;
use crate::apply::{self, Content, ContentError};
use crate::git::id::ObjectKind;
use crate::git::{BlobId, File, KnownTree, RelPath, Tree, TreeId};
use crate::objects::Store;
use crate::plan::{self, MassDelete, Policy};
use crate::scan::{Locals, Scanner};
use crate::settings::Settings;
use crate::source::{Depth, Need, Staged};
use crate::threads;

/// Patterns of `exclude` that leave out next to nothing of any commit: git refuses the first, and the second is the link that
/// a build leaves.
const NEVER_COMMITTED: &[&str] = &["/.git/", "/result"];

/// Computes for a route which blobs are missing in the target.
pub(super) struct Inventory<'a> {
    scanner: &'a Scanner<'a>,
    policy: &'a Policy,
    depth: Depth,
    /// What the index has of the last commit, where the store has all of that.
    known: Option<KnownTree<'a>>,
    /// The managed files of the last tree that was asked about: a route asks, then the verification.
    managed: Mutex<Option<(TreeId, Managed)>>,
}

type Managed = Arc<BTreeMap<RelPath, File>>;

impl<'a> Inventory<'a> {
    pub(super) fn new(scanner: &'a Scanner<'a>, policy: &'a Policy, depth: Depth) -> Self {
        Self {
            scanner,
            policy,
            depth,
            known: None,
            managed: Mutex::default(),
        }
    }

    pub(super) fn knowing(self, known: Option<KnownTree<'a>>) -> Self {
        Self { known, ..self }
    }

    /// The files of a tree that are managed.
    pub(super) fn managed(&self, tree: &Tree) -> Managed {
        let mut last = threads::lock(&self.managed);
        match &*last {
            Some((root, managed)) if *root == tree.root() => Arc::clone(managed),
            _ => {
                let managed = plan::managed(tree, self.policy);
                *last = Some((tree.root(), Arc::clone(&managed)));
                managed
            }
        }
    }
}

impl Need for Inventory<'_> {
    fn missing(&self, tree: &Tree) -> Result<Vec<BlobId>, crate::scan::Error> {
        if self.lists_only() {
            return Ok(Vec::new());
        }
        let files = self.managed(tree);
        let here = self.scanner.hashes(&files)?;
        // Almost every file is unchanged.
        let mut missing: HashSet<BlobId> = files
            .values()
            .map(|file| file.id)
            .zip(&here)
            .filter_map(|(wanted, here)| (*here != Some(wanted)).then_some(wanted))
            .collect();
        for here in here.iter().flatten() {
            missing.remove(here);
        }
        let mut missing: Vec<BlobId> = missing.into_iter().collect();
        missing.sort_unstable();
        Ok(missing)
    }

    fn lists_only(&self) -> bool {
        self.depth == Depth::Listing
    }

    fn known_tree(&self) -> Option<KnownTree<'_>> {
        self.known
    }

    fn lacks_everything(&self) -> bool {
        let left_out = self.policy.exclude.as_written();
        let leaves_out = |pattern: &String| !NEVER_COMMITTED.contains(&pattern.as_str());
        !self.lists_only() && !left_out.iter().any(leaves_out) && self.scanner.finds_nothing()
    }

    fn content(&self, id: BlobId) -> Option<Vec<u8>> {
        self.scanner.content(id)
    }
}

/// Files of the last commit that were never managed, as the commit has them: a sync kept other files that were at their
/// paths before. Empty if the commit is not complete in the store; without blobs that are missing because of `exclude`.
#[must_use]
pub fn never_ours(session: &Session, settings: &Settings) -> BTreeMap<RelPath, File> {
    let store = session.store();
    let index = session
        .index()
        .filter(|index| store.is_complete(index.point.commit));
    let (Some(index), Some(tree)) = (index, session.last_tree()) else {
        return BTreeMap::new();
    };
    let files = plan::managed(&tree, &policy(settings, MassDelete::Allow));
    let files = files.iter();
    let files =
        files.filter(|(path, file)| !index.files.contains_key(*path) && store.contains(file.id.0));
    files.map(|(path, file)| (path.clone(), *file)).collect()
}

/// The policy of a run, from the settings and its options.
pub(super) fn policy(settings: &Settings, mass_delete: MassDelete) -> Policy {
    Policy {
        local_edits: settings.local_edits,
        protect: settings.protect.clone(),
        exclude: settings.exclude.clone(),
        executable: settings.executable.clone(),
        require: settings.require.clone(),
        mass_delete,
    }
}

/// Scans the files of the base, and the paths of the files to be written.
pub(super) fn survey(
    scanner: &Scanner<'_>,
    base: &BTreeMap<RelPath, File>,
    staged: &Staged<'_>,
) -> Result<Locals, crate::Error> {
    // Hashed first: a file whose size differs from the index may already be as in the new commit.
    scanner.hashes(staged.files())?;
    Ok(scanner.survey(base.keys().chain(staged.files().keys()))?)
}

impl Content for Staged<'_> {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
        Ok(Staged::blob(self, id)?)
    }

    fn size(&self, id: BlobId) -> Result<u64, ContentError> {
        Staged::size(self, id).ok_or_else(|| format!("the store has no blob {id}").into())
    }
}

impl Content for Store {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
        self.read(ObjectKind::Blob, id.0)
            .ok_or_else(|| format!("the store has no blob {id}").into())
    }

    fn size(&self, id: BlobId) -> Result<u64, ContentError> {
        Store::size(self, id.0).ok_or_else(|| format!("the store has no blob {id}").into())
    }
}

/// The content of files that no commit has (edits that are put back, and merged ones), and of all others.
pub(super) struct UpdateContent<'a> {
    pub(super) made: [&'a BTreeMap<BlobId, Vec<u8>>; 2],
    pub(super) others: &'a dyn Content,
    pub(super) store: &'a Store,
}

impl UpdateContent<'_> {
    fn made(&self, id: BlobId) -> Option<&Vec<u8>> {
        self.made.iter().find_map(|made| made.get(&id))
    }
}

impl Content for UpdateContent<'_> {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
        match self.made(id) {
            Some(content) => Ok(content.clone()),
            None => self.others.blob(id),
        }
    }

    fn size(&self, id: BlobId) -> Result<u64, ContentError> {
        match self.made(id) {
            Some(content) => Ok(content.len() as u64),
            None => self.others.size(id),
        }
    }

    fn make_durable(&self) -> Result<(), apply::Error> {
        Ok(self.store.make_durable()?)
    }
}
