//! The commits that are here already: for going back without the network.

use super::{Contents, Error, Obtained, Provenance, Route};
use crate::git::CommitId;
use crate::objects::Store;

/// The commit as the store holds it, with all its trees and blobs.
pub fn stored(commit: CommitId, store: &Store) -> Result<Obtained, Error> {
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
