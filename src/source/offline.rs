//! The commits that are here already, as a source: for going back without the network.

use super::{
    Contents, Error, Need, Obtained, Provenance, RefKind, Resolved, Route, Source, Traffic,
};
use crate::git::{Commit, CommitId};
use crate::objects::Store;

/// What the store holds of a repository.
pub struct Offline {
    /// The repository it came from, in words.
    pub repository: String,
}

impl Source for Offline {
    fn resolve(&self, reference: &str) -> Result<Resolved, Error> {
        let commit = reference.parse().map_err(|_| Error::UnknownRef {
            remote: self.describe(),
            reference: reference.to_owned(),
            default: None,
        })?;
        Ok(Resolved {
            commit,
            kind: RefKind::Commit,
            is_tag_too: false,
        })
    }

    fn obtain(
        &self,
        commit: CommitId,
        _: Option<CommitId>,
        store: &Store,
        _: &dyn Need,
    ) -> Result<Obtained, Error> {
        let known = store.is_complete(commit).then(|| store.commit(commit));
        match known
            .transpose()
            .map_err(|fault| Error::Commit { commit, fault })?
            .flatten()
        {
            Some(commit) => Ok(Obtained {
                commit: Provenance::Verified(commit),
                route: Route::Store,
                fallbacks: Vec::new(),
                blobs: 0,
                tree: None,
                contents: Contents::default(),
            }),
            None => Err(Error::UnknownCommit {
                remote: "the object store".to_owned(),
                commit,
            }),
        }
    }

    fn descends(&self, _: &Commit, _: CommitId, _: &Store) -> Result<bool, Error> {
        // Only asked for by name, never for a branch.
        Ok(true)
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    fn describe(&self) -> String {
        self.repository.clone()
    }
}
