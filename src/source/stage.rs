//! Verification: the step between what a route fetched and everything that uses it.
//!
//! Whatever route it was, the commit is walked here from its id: the commit's bytes, every tree, every name, every
//! symlink, and that each managed blob is in the store. [`Staged`] has no other maker, so a plan can only be carried
//! out with proven objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Error, Fallback, Need, Obtained, Provenance, Route, VerificationError};
use crate::git::id::ObjectKind;
use crate::git::tree::{Bounds, WalkError};
use crate::git::{BlobId, Commit, CommitId, File, KnownTree, RelPath, Tree, TreeId};
use crate::objects::{Added, Store};
use crate::settings::{Limits, Symlinks};
use crate::signature::{self, Signer, Signers};

mod symlinks;

pub use symlinks::LinkFault;

/// A commit whose objects are proven and, as far as they are managed, in the store.
#[derive(Debug)]
pub struct Staged<'a> {
    store: &'a Store,
    obtained: Obtained,
    signer: Option<Signer>,
    tree: Tree,
    files: Arc<BTreeMap<RelPath, File>>,
    notices: Vec<Notice>,
}

/// How much of a commit is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All of it, to be applied.
    Content,
    /// The listing is enough: blobs may be missing, nothing can be applied.
    Listing,
}

/// What [`prove`] requires of a commit.
pub struct VerificationPolicy<'a> {
    /// Bounds of what is accepted.
    pub limits: Limits,
    /// Whether symlinks may leave the tree.
    pub symlinks: Symlinks,
    /// Whose signature the commit needs, where it needs one.
    pub signers: Option<&'a Signers>,
    /// Whether the target's file system takes names that differ in case for one.
    pub ignores_case: bool,
    /// Which files of the commit are managed, and with which mode.
    pub managed: &'a dyn Fn(&Tree) -> Arc<BTreeMap<RelPath, File>>,
}

/// Something about a commit that does not stop it and that a reader should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// A submodule, which is not followed.
    Gitlink(RelPath),
    /// A symlink that is absolute or leaves the tree.
    SymlinkOutside {
        /// The link.
        path: RelPath,
        /// Where it points, lossily decoded.
        target: String,
    },
    /// Two names that are one on other file systems.
    CaseCollision(RelPath, RelPath),
    /// The commit's own bytes could not be had, so that only the forge's word joins its id and its tree.
    CommitFromForge,
}

impl Staged<'_> {
    /// The commit.
    #[must_use]
    pub fn commit(&self) -> &Commit {
        self.obtained.commit.commit()
    }

    /// Whether its tree is proven to be that of its id.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        matches!(self.obtained.commit, Provenance::Verified(_))
    }

    /// The signer, where a signature is required.
    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// The whole tree, also what is not managed.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The managed files, as they should be on disk.
    #[must_use]
    pub fn files(&self) -> &Arc<BTreeMap<RelPath, File>> {
        &self.files
    }

    /// Whether a path leads to a regular file of the tree, be it one or a symlink to one; `None` where that cannot be
    /// reported, because only the listing is here.
    #[must_use]
    pub fn leads_to_file(&self, path: &RelPath) -> Option<bool> {
        symlinks::leads_to_file(self.store, self.tree.files(), path)
    }

    /// The route that brought it.
    #[must_use]
    pub fn route(&self) -> Route {
        self.obtained.route
    }

    /// The routes that were given up before.
    #[must_use]
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.obtained.fallbacks
    }

    /// How many blobs were downloaded.
    #[must_use]
    pub fn downloaded(&self) -> u64 {
        self.obtained.blobs
    }

    /// What its reader should know.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Bytes of one of its blobs, where the store has it.
    #[must_use]
    pub fn size(&self, id: BlobId) -> Option<u64> {
        self.store.size(id.0)
    }

    /// The content of one of its blobs, hashed when it was read.
    pub fn blob(&self, id: BlobId) -> Result<Vec<u8>, Error> {
        blob(self.store, self.commit().id, id)
    }
}

/// Verifies what a source has fetched, and lists the files of it.
pub fn prove<'a>(
    store: &'a Store,
    mut obtained: Obtained,
    depth: Depth,
    need: &dyn Need,
    terms: &VerificationPolicy<'_>,
    remote: &str,
) -> Result<Staged<'a>, Error> {
    let mut notices = Vec::new();
    let commit = obtained.commit.commit().clone();
    let id = commit.id;
    // The store's bytes decide, not what the route reports.
    let signer = match commit_alone(store, id, terms.signers)? {
        Some((commit, signer)) => {
            obtained.commit = Provenance::Verified(commit);
            signer
        }
        None if matches!(obtained.commit, Provenance::FromForge(_)) => {
            if terms.signers.is_some() {
                return Err(signature::Error::Unavailable { commit: id }.into());
            }
            notices.push(Notice::CommitFromForge);
            None
        }
        None => return Err(Error::incomplete(remote, id, "commit", id.0)),
    };
    let commit = obtained.commit.commit();
    // A tree is proven from its root, so one with the commit's root is the commit's.
    let tree = match obtained.tree.take() {
        Some(tree) if tree.root() == commit.tree => tree,
        _ => walk(store, commit, terms.limits, remote, need.known_tree())?,
    };
    let files = (terms.managed)(&tree);
    if depth == Depth::Content {
        complete(store, id, &tree, &files, need, remote)?;
        symlinks::check(store, id, &files, terms.symlinks, &mut notices)?;
    }
    notices.extend(tree.gitlinks().keys().cloned().map(Notice::Gitlink));
    for (path, other) in tree.case_collisions() {
        if terms.ignores_case {
            return Err(VerificationError::CaseCollision {
                path: path.to_string(),
                other: other.to_string(),
            }
            .into());
        }
        notices.push(Notice::CaseCollision(path, other));
    }
    Ok(Staged {
        store,
        obtained,
        signer,
        tree,
        files,
        notices,
    })
}

/// A commit of the store and its signer, verified as by [`prove`], without its tree; `None` if the store does not have it.
pub fn commit_alone(
    store: &Store,
    id: CommitId,
    signers: Option<&Signers>,
) -> Result<Option<(Commit, Option<Signer>)>, Error> {
    let Some(raw) = store.read(ObjectKind::Commit, id.0) else {
        return Ok(None);
    };
    let commit = Commit::verify(id, &raw)
        .map_err(|fault| VerificationError::Commit { commit: id, fault })?;
    let signer = signer(store, &commit, &raw, signers)?;
    Ok(Some((commit, signer)))
}

/// Who has signed the commit; an error where one of the signers should have, and none has.
fn signer(
    store: &Store,
    commit: &Commit,
    raw: &[u8],
    signers: Option<&Signers>,
) -> Result<Option<Signer>, Error> {
    let Some(signers) = signers else {
        return Ok(None);
    };
    let scratch = store.scratch()?;
    Ok(Some(signers.check(commit, raw, scratch.path())?))
}

/// Walks the commit's tree out of the store.
pub fn walk(
    store: &Store,
    commit: &Commit,
    limits: Limits,
    remote: &str,
    known: Option<KnownTree<'_>>,
) -> Result<Tree, Error> {
    walk_with(commit, limits, remote, known, |id| {
        store.read(ObjectKind::Tree, id.0)
    })
}

/// Walks the commit's tree through `read`; the only way from a commit to its [`Tree`].
pub(super) fn walk_with(
    commit: &Commit,
    limits: Limits,
    remote: &str,
    known: Option<KnownTree<'_>>,
    read: impl Fn(TreeId) -> Option<Vec<u8>>,
) -> Result<Tree, Error> {
    let bounds = Bounds {
        entries: limits.files,
    };
    let read = |id| read(id).ok_or_else(|| Error::incomplete(remote, commit.id, "tree", id.0));
    Tree::walk(commit.tree, bounds, known, read).map_err(|error| match error {
        WalkError::Read(error) => error,
        WalkError::Fault(fault) => VerificationError::Tree {
            commit: commit.id,
            fault,
        }
        .into(),
    })
}

/// Sees that every managed blob is in the store, taking from the target what was not downloaded because it is there
/// already, and marks the commit as one that a later delta may build on.
fn complete(
    store: &Store,
    commit: CommitId,
    tree: &Tree,
    files: &BTreeMap<RelPath, File>,
    need: &dyn Need,
    remote: &str,
) -> Result<(), Error> {
    if store.is_complete(commit) {
        // A commit that was gone back to is the newest again, and so the last that a bounded store gives up.
        return Ok(store.mark_complete(commit, false)?);
    }
    let mut writer = None;
    for file in files.values() {
        if store.contains(file.id.0) {
            continue;
        }
        let content = need
            .content(file.id)
            .ok_or_else(|| Error::incomplete(remote, commit, "blob", file.id.0))?;
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(store.writer()?),
        };
        if writer.add(ObjectKind::Blob, file.id.0, &content)? != Added::Stored {
            return Err(Error::incomplete(remote, commit, "blob", file.id.0));
        }
    }
    if let Some(writer) = writer {
        writer.finish()?;
    }
    // A commit whose own bytes could not be had is not a base: the mark would promise what is not there.
    if !store.contains(commit.0) {
        return Ok(());
    }
    let excluded = tree.files().len() > files.len();
    Ok(store.mark_complete(commit, excluded)?)
}

fn blob(store: &Store, commit: CommitId, id: BlobId) -> Result<Vec<u8>, Error> {
    store
        .read(ObjectKind::Blob, id.0)
        .ok_or_else(|| Error::incomplete("the store", commit, "blob", id.0))
}
