//! The routes: what each requests, and what follows when it fails.

use std::collections::HashSet;

use crate::git::id::ObjectKind;
use crate::git::{BlobId, Commit, CommitId, Oid, Tree};
use crate::objects::{Ingested, Store};
use crate::source::{
    Error, Fallback, Need, Obtained, Provenance, Route, Source as _, StoredBlobs,
    VerificationError, walk,
};
use crate::text::Amount;

use super::request::Fetch;
use super::{FetchReply, GitSource};

/// The routes where nothing is here.
const WHOLE_FIRST: &[Route] = &[Route::Full, Route::SelectGit];

/// Wants in one request: a quarter of a megabyte, well below what servers and proxies take for a body.
const WANTS_MAX: usize = 5000;

/// The filter that leaves out the files' content (git-rev-list(1), `--filter`).
const NO_CONTENT: &str = "blob:none";

/// A commit that was walked out of the store, with what is needed of it.
struct Walked {
    commit: Commit,
    tree: Tree,
    /// How many blobs are needed.
    needed: usize,
    /// Whether the store has them.
    blobs: StoredBlobs,
}

impl GitSource {
    /// Takes the first of these routes that brings everything; those given up before are added to `fallbacks`. An
    /// error is that of the last route that was tried.
    pub fn obtain_by(
        &self,
        routes: &[Route],
        commit: CommitId,
        last: Option<CommitId>,
        store: &Store,
        need: &dyn Need,
        fallbacks: &mut Vec<Fallback>,
    ) -> Result<Obtained, (Route, Error)> {
        if !self.options.force_full
            && let Ok(walked) = self.walk(commit, store, need)
            && walked.blobs.missing().is_empty()
        {
            return self
                .obtained(walked, Route::Store, 0)
                .map_err(|error| (Route::Store, error));
        }
        let whole_first =
            routes.contains(&Route::SelectGit) && is_whole_missing(commit, last, store, need);
        let routes = if whole_first { WHOLE_FIRST } else { routes };
        let mut given_up: Option<(Route, Error)> = None;
        for &route in routes {
            let attempt = match route {
                Route::Delta => match base(commit, last, store) {
                    Some(base) => self.delta(commit, base, store, need),
                    None => continue,
                },
                Route::SelectGit => self.select(commit, store, need, !whole_first),
                Route::Full => self.full(commit, store, need),
                Route::SelectApi | Route::Store => continue,
            };
            if let Some((from, error)) = given_up.take() {
                let cause = error.to_string();
                tracing::info!(?from, to = ?route, cause, "falling back");
                fallbacks.push(Fallback { from, cause });
            }
            match attempt {
                Err(error) if allows_next_route(&error) => given_up = Some((route, error)),
                // In parts, each of which stays, it may come over a line that breaks off.
                Err(error @ Error::Unreachable { .. })
                    if whole_first && route == Route::Full && self.traffic().received > 0 =>
                {
                    given_up = Some((route, error));
                }
                result => return result.map_err(|error| (route, error)),
            }
        }
        Err(given_up.unwrap_or_else(|| {
            let error = self.unsuited("has no last commit to build on");
            (Route::Delta, error)
        }))
    }

    /// The route that would be taken first.
    pub fn first_route(
        &self,
        commit: CommitId,
        last: Option<CommitId>,
        store: &Store,
        need: &dyn Need,
    ) -> Route {
        if self.options.force_full || is_whole_missing(commit, last, store, need) {
            Route::Full
        } else if base(commit, last, store).is_some() {
            Route::Delta
        } else {
            Route::SelectGit
        }
    }

    /// A thin pack against `base`.
    fn delta(
        &self,
        commit: CommitId,
        base: CommitId,
        store: &Store,
        need: &dyn Need,
    ) -> Result<Obtained, Error> {
        let want = [commit.0];
        let mut fetch = Fetch {
            want: &want,
            have: Some(base),
            shallow: Some(base),
            deepen: Some(1),
            thin: true,
            ..Fetch::default()
        };
        let bytes = self.options.limits.bytes;
        if need.lists_only() && self.connection().filters()? != Some(false) {
            fetch.filter = Some(NO_CONTENT);
        }
        self.ask_beside(commit, base);
        let mut reply = match self.fetch_pack(&fetch, store, need, bytes) {
            // Most servers are not asked for their capabilities, and one without filters exits on the word.
            Err(error) if fetch.filter.is_some() && may_be_of_the_filter(&error) => {
                fetch.filter = None;
                self.fetch_pack(&fetch, store, need, bytes)
            }
            reply => reply,
        }?;
        if matches!(reply, FetchReply::Common) {
            // The server has our commit but finds no path from it: with `done` it sends a pack all the same.
            fetch.done = true;
            reply = self.fetch_pack(&fetch, store, need, bytes)?;
        }
        match reply {
            FetchReply::Pack(_) => {}
            FetchReply::Nothing => {
                return Err(self.unsuited("does not have the last commit any more"));
            }
            FetchReply::Common => {
                return Err(self.unsuited("does not say what follows the last commit"));
            }
            FetchReply::BaseMissing => {
                return Err(self.unsuited("builds on a file that is not here"));
            }
            FetchReply::NotOurRef(_) => return Err(self.unknown(commit)),
        }
        let walked = self.walk(commit, store, need)?;
        let blobs = walked.needed;
        self.complete(walked, Route::Delta, blobs)
    }

    /// Commit and trees, then the blobs that are missing. If those are all that it has, one pack of the commit has fewer
    /// bytes than a list of them; `may_be_whole`: it was not tried yet.
    fn select(
        &self,
        commit: CommitId,
        store: &Store,
        need: &dyn Need,
        may_be_whole: bool,
    ) -> Result<Obtained, Error> {
        let mut bytes = self.options.limits.bytes;
        let mut is_new = false;
        let listed = if let Ok(walked) = self.walk(commit, store, need) {
            walked
        } else {
            if self.connection().filters()? == Some(false) {
                return Err(self.unsuited("offers no filters"));
            }
            let want = [commit.0];
            let listing = Fetch {
                want: &want,
                deepen: Some(1),
                filter: Some(NO_CONTENT),
                done: true,
                ..Fetch::default()
            };
            bytes -= self.pack(commit, &listing, store, need, bytes)?.bytes;
            is_new = true;
            self.walk(commit, store, need)?
        };
        let missing: Vec<Oid> = listed.blobs.missing().iter().map(|id| id.0).collect();
        if may_be_whole && is_new && !missing.is_empty() && missing.len() == blobs(&listed.tree) {
            self.pack(commit, &Fetch::whole(&[commit.0]), store, need, bytes)?;
            let walked = self.walk(commit, store, need)?;
            return self.complete(walked, Route::SelectGit, missing.len());
        }
        for want in missing.chunks(WANTS_MAX) {
            let blobs = Fetch {
                want,
                done: true,
                ..Fetch::default()
            };
            let ingested = match self.fetch_pack(&blobs, store, need, bytes)? {
                FetchReply::Pack(ingested) => ingested,
                FetchReply::NotOurRef(id) => {
                    return Err(self.incomplete(commit, "blob", id.unwrap_or(want[0])));
                }
                FetchReply::Common | FetchReply::Nothing | FetchReply::BaseMissing => {
                    return Err(self.unexpected_answer());
                }
            };
            bytes = bytes.saturating_sub(ingested.bytes);
        }
        let walked = self.walk(commit, store, need)?;
        self.complete(walked, Route::SelectGit, missing.len())
    }

    /// One self-contained pack.
    fn full(&self, commit: CommitId, store: &Store, need: &dyn Need) -> Result<Obtained, Error> {
        let bytes = self.options.limits.bytes;
        self.pack(commit, &Fetch::whole(&[commit.0]), store, need, bytes)?;
        let walked = self.walk(commit, store, need)?;
        let blobs = blobs(&walked.tree);
        self.complete(walked, Route::Full, blobs)
    }

    /// A fetch whose only valid response is a pack.
    fn pack(
        &self,
        commit: CommitId,
        fetch: &Fetch<'_>,
        store: &Store,
        need: &dyn Need,
        bytes: u64,
    ) -> Result<Ingested, Error> {
        match self.fetch_pack(fetch, store, need, bytes)? {
            FetchReply::Pack(ingested) => Ok(ingested),
            FetchReply::NotOurRef(_) => Err(self.unknown(commit)),
            FetchReply::Common | FetchReply::Nothing | FetchReply::BaseMissing => {
                Err(self.unexpected_answer())
            }
        }
    }

    /// A fetch whose pack goes into the store.
    fn fetch_pack(
        &self,
        fetch: &Fetch<'_>,
        store: &Store,
        need: &dyn Need,
        bytes: u64,
    ) -> Result<FetchReply<Ingested>, Error> {
        // A base may be a file of the target that the store never had.
        let bases = |id| {
            need.content(BlobId(id))
                .map(|content| (ObjectKind::Blob, content))
        };
        let bounds = self.options.bounds(bytes);
        self.fetch(fetch, |pack| {
            store.ingest(pack, &bases, bounds, &self.options.interrupt)
        })
    }

    /// Walks the commit out of the store and reads what is needed of it.
    fn walk(&self, id: CommitId, store: &Store, need: &dyn Need) -> Result<Walked, Error> {
        let commit = store
            .commit(id)
            .map_err(|fault| VerificationError::Commit { commit: id, fault })?
            .ok_or_else(|| {
                // A tag may name a file or a tree, and so may an id.
                let other = [ObjectKind::Blob, ObjectKind::Tree];
                if other.iter().any(|kind| store.read(*kind, id.0).is_some()) {
                    self.unknown(id)
                } else {
                    self.incomplete(id, "commit", id.0)
                }
            })?;
        let known = need.known_tree();
        let tree = walk(store, &commit, self.options.limits, &self.remote, known)?;
        let needed = need.missing(&tree)?;
        Ok(Walked {
            commit,
            tree,
            needed: needed.len(),
            blobs: StoredBlobs::of(store, &needed),
        })
    }

    fn complete(&self, walked: Walked, route: Route, blobs: usize) -> Result<Obtained, Error> {
        match walked.blobs.missing().first() {
            None => self.obtained(walked, route, blobs),
            Some(id) => Err(self.incomplete(walked.commit.id, "blob", id.0)),
        }
    }

    fn obtained(&self, walked: Walked, route: Route, blobs: usize) -> Result<Obtained, Error> {
        // A pack is bounded as it comes, and holds many times its own size.
        let limit = self.options.limits.bytes;
        if walked.blobs.bytes() > limit {
            return Err(Error::TooLarge {
                what: "what the commit changes".to_owned(),
                limit: Amount::Limit(limit),
                setting: "limits.bytes",
            });
        }
        Ok(Obtained {
            commit: Provenance::Verified(walked.commit),
            tree: Some(walked.tree),
            route,
            fallbacks: Vec::new(),
            blobs: blobs as u64,
        })
    }

    fn incomplete(&self, commit: CommitId, kind: &'static str, id: Oid) -> Error {
        Error::incomplete(&self.remote, commit, kind, id)
    }

    fn unknown(&self, commit: CommitId) -> Error {
        Error::UnknownCommit {
            remote: self.remote.clone(),
            commit,
        }
    }

    fn unsuited(&self, problem: &'static str) -> Error {
        Error::Unsuited {
            remote: self.remote.clone(),
            problem,
        }
    }

    pub(super) fn unexpected_answer(&self) -> Error {
        Error::Protocol {
            remote: self.remote.clone(),
            detail: "the answer to another question".to_owned(),
        }
    }
}

/// Whether nothing of a commit is here, so that one pack of everything is fetched before its parts are. A commit that is
/// here is from a look, or from an attempt that went on in parts.
fn is_whole_missing(
    commit: CommitId,
    last: Option<CommitId>,
    store: &Store,
    need: &dyn Need,
) -> bool {
    base(commit, last, store).is_none() && !store.contains(commit.0) && need.lacks_everything()
}

/// How many blobs a tree has, each counted once.
fn blobs(tree: &Tree) -> usize {
    let ids: HashSet<BlobId> = tree.files().values().map(|file| file.id).collect();
    ids.len()
}

/// A commit that may be sent to the server as `have`. Any complete one will do, the last applied one is nearest.
fn base(commit: CommitId, last: Option<CommitId>, store: &Store) -> Option<CommitId> {
    let newest = store.commits().into_iter().next_back();
    [last, newest]
        .into_iter()
        .flatten()
        .find(|base| *base != commit && store.is_complete(*base))
}

/// Whether a server without filters may have failed this way; a program in front of it reports the exit as an error of
/// the server.
fn may_be_of_the_filter(error: &Error) -> bool {
    allows_next_route(error) || matches!(error, Error::ServerError { .. })
}

/// Whether another route of the same server may still bring the commit. What was proven wrong stays wrong, and a
/// server that cannot be reached cannot be reached by any route.
fn allows_next_route(error: &Error) -> bool {
    matches!(
        error,
        Error::Unsuited { .. }
            | Error::Verification(VerificationError::Incomplete { .. })
            | Error::Protocol { .. }
            | Error::Refused { .. }
            | Error::DamagedRepository { .. }
    )
}
