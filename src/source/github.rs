//! Commits by GitHub's REST API: a listing, then the missing blobs ([`Route::SelectApi`]).
//!
//! Nothing that the API returns is trusted. The commit is rebuilt to the bytes that hash to its id, the tree objects
//! are rebuilt from the listing and must have the ids they are listed under, and every blob is hashed as it arrives. A
//! name is resolved once; from there on everything is requested by its id, so a branch that moves meanwhile changes
//! nothing.
//!
//! Cost: one request where nothing has changed, `3 + k` for `k` changed files, and one more where several commits have
//! come, for the proof that the branch has moved forward.
//!
//! Limits: a commit with headers that the API does not return is refused ([`VerificationError::Unproven`]), unless `trust.forge` says
//! that the forge's word is enough. Blobs over 100 MB do not come this way ([`Error::Unsuited`]).

use std::sync::{Mutex, MutexGuard};

use reqwest::header::{HeaderName, HeaderValue};

use super::http::{Cap, Client, Credentials, Reply, Request, Response, Url, url};
use super::stage::walk_with;
use super::{
    Ahead, Error, Moved, Need, Obtained, Provenance, ResolvedRef, Route, Source, Traffic,
    VerificationError,
};
use crate::git::id::ObjectKind;
use crate::git::tree::Bounds;
use crate::git::{Commit, CommitId, Tree, TreeId};
use crate::objects::Store;
use crate::settings::Limits;
use crate::threads;
use crate::token::Token;

mod blobs;
mod commit;
mod descent;
mod listing;
mod resolve;
mod trees;

use commit::Budget;
pub(super) use resolve::is_short_id;
use trees::Trees;

/// The API of github.com itself.
const API: &str = "https://api.github.com";
/// The version that every GitHub supports; older Enterprise servers refuse a newer one.
const VERSION: &str = "2022-11-28";
const JSON: &str = "application/vnd.github+json";

/// A repository, read by the REST API.
pub struct GitHub {
    client: Client,
    credentials: Option<Credentials>,
    limits: Limits,
    known: Option<CommitId>,
    remote: String,
    /// `…/repos/owner/name`.
    asked: Url,
    /// The same, or where that was moved to.
    base: Mutex<Url>,
    /// What a comparison has hinted at.
    compared: Mutex<Option<descent::Compared>>,
    /// The commits that were proven to answer whether one descends from another.
    between: Mutex<Vec<Commit>>,
    /// Whether a commit that cannot be proven is taken on the forge's word.
    trust: bool,
}

impl GitHub {
    /// `owner/name` on github.com, or on the host of `api_url`.
    ///
    /// `known` is the commit that came last: a name that still points to it costs no quota.
    pub fn new(
        client: Client,
        (owner, name): (&str, &str),
        api_url: Option<&str>,
        token: Option<&Token>,
        limits: Limits,
        known: Option<CommitId>,
    ) -> Result<Self, Error> {
        let base = url(api_url.unwrap_or(API))?;
        let credentials = token.and_then(|token| Credentials::token(token, &base));
        let asked = below(&base, &["repos", owner, name]);
        Ok(Self {
            client,
            credentials,
            limits,
            known,
            remote: format!("{owner}/{name}"),
            base: Mutex::new(asked.clone()),
            asked,
            compared: Mutex::default(),
            between: Mutex::default(),
            trust: false,
        })
    }

    /// With `trust.forge`: a commit whose bytes cannot be had is taken as the API returns it.
    #[must_use]
    pub fn trusting(mut self, trust: bool) -> Self {
        self.trust = trust;
        self
    }

    /// Whether the forge's word is enough.
    pub(super) fn is_trusting(&self) -> bool {
        self.trust
    }

    fn base(&self) -> MutexGuard<'_, Url> {
        threads::lock(&self.base)
    }

    /// A request for something of the repository.
    fn get(&self, segments: &[&str], accept: &'static str) -> Request {
        Request::get(below(&self.base(), segments))
            .accept(accept)
            .header(
                HeaderName::from_static("x-github-api-version"),
                HeaderValue::from_static(VERSION),
            )
            .credentials(self.credentials.as_ref())
    }

    fn ask(&self, request: &Request) -> Result<Reply, Error> {
        self.ask_as(request, Response::into_reply)
    }

    fn ask_as<T>(
        &self,
        request: &Request,
        read: impl Fn(Response) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.client.fetch_as(request, |response| {
            if response.url != *request.url() {
                self.follow(request.url(), &response.url);
            }
            read(response)
        })
    }

    /// A renamed repository responds under its number: later requests go there at once.
    fn follow(&self, from: &Url, to: &Url) {
        let mut base = self.base();
        let Some(tail) = from.path().strip_prefix(base.path()) else {
            return;
        };
        if let Some(moved) = to.path().strip_suffix(tail) {
            base.set_path(moved);
        }
    }

    /// The error of a response that is not the one hoped for. A forge refuses in JSON; anything else is not a forge.
    fn refusal(&self, reply: &Reply) -> Error {
        let is_client_error = reply.status.is_client_error();
        if is_client_error && reply.status != 401 && !reply.media_type().contains("json") {
            return reply.not_a_forge();
        }
        match reply.refusal() {
            Error::NoPermission { token, .. } => Error::NoPermission {
                remote: self.remote.clone(),
                token,
            },
            Error::Forbidden {
                token, words, sso, ..
            } => Error::Forbidden {
                remote: self.remote.clone(),
                token,
                words,
                sso,
            },
            error => error,
        }
    }

    fn malformed(&self, what: &'static str, problem: impl Into<String>) -> Error {
        Error::Malformed {
            remote: self.remote.clone(),
            what,
            problem: problem.into(),
        }
    }

    fn unsuited(&self, problem: &'static str) -> Error {
        Error::Unsuited {
            remote: self.remote.clone(),
            problem,
        }
    }

    /// The commit, proven where it can be or must be, and its bytes where they are new.
    fn commit(
        &self,
        id: CommitId,
        last: Option<CommitId>,
        store: &Store,
        trust: bool,
    ) -> Result<(Provenance, Option<Vec<u8>>), Error> {
        if let Some(commit) = store
            .commit(id)
            .map_err(|fault| VerificationError::Commit { commit: id, fault })?
        {
            return Ok((Provenance::Verified(commit), None));
        }
        let compared = match last {
            Some(last) => self.compare(id, last)?,
            None => None,
        };
        let answer = match compared {
            Some(answer) => answer,
            None => self.ask_for_commit(id)?,
        };
        if let Some((commit, raw)) = answer.rebuild(&mut Budget::default()) {
            return Ok((Provenance::Verified(commit), Some(raw)));
        }
        let unproven = answer.unproven().filter(|_| trust);
        let commit = unproven.ok_or_else(|| VerificationError::Unproven {
            remote: self.remote.clone(),
            commit: id,
        })?;
        Ok((Provenance::FromForge(commit), None))
    }

    fn ask_for_commit(&self, id: CommitId) -> Result<commit::CommitAnswer, Error> {
        let reply = self.ask(&self.get(&["git", "commits", &id.to_string()], JSON))?;
        match reply.status.as_u16() {
            200 => {}
            404 if reply.media_type().contains("json") => {
                return Err(self.missing_commit(&reply, id)?);
            }
            409 => {
                return Err(Error::EmptyRepository {
                    remote: self.remote.clone(),
                });
            }
            _ => return Err(self.refusal(&reply)),
        }
        let answer: commit::CommitAnswer = reply.json("commit")?;
        if answer.id() != id {
            return Err(self.malformed("commit", format!("it is commit {}", answer.id())));
        }
        Ok(answer)
    }

    /// A 404 for a commit does not show whether the repository is there at all.
    fn missing_commit(&self, reply: &Reply, commit: CommitId) -> Result<Error, Error> {
        if self.ask(&self.get(&[], JSON))?.status.is_success() {
            return Ok(Error::UnknownCommit {
                remote: self.remote.clone(),
                commit,
            });
        }
        Ok(self.refusal(reply))
    }

    /// The tree, where the store has all of its directories.
    fn in_store(&self, root: TreeId, store: &Store) -> Option<Tree> {
        let bounds = Bounds {
            entries: self.limits.files,
        };
        Tree::walk(root, bounds, None, |id| {
            store.read(ObjectKind::Tree, id.0).ok_or(())
        })
        .ok()
    }

    /// Walks the tree out of what was just rebuilt and what the store has.
    fn walk(&self, commit: &Commit, trees: &Trees, store: &Store) -> Result<Tree, Error> {
        walk_with(commit, self.limits, &self.remote, None, |id| {
            let rebuilt = trees.raw.get(&id).cloned();
            rebuilt.or_else(|| store.read(ObjectKind::Tree, id.0))
        })
    }
}

impl GitHub {
    /// As [`Source::obtain`]; the caller decides whether an unproven commit is accepted.
    pub(super) fn obtain_with(
        &self,
        commit: CommitId,
        last: Option<CommitId>,
        store: &Store,
        need: &dyn Need,
        trust: bool,
    ) -> Result<Obtained, Error> {
        let before = self.client.traffic().requests;
        let (provenance, raw) = self.commit(commit, last, store, trust)?;
        let commit = provenance.commit();
        let mut writer = store.writer()?;
        if let Some(raw) = raw {
            writer.add(ObjectKind::Commit, commit.id.0, &raw)?;
        }
        let (tree, trees) = if let Some(tree) = self.in_store(commit.tree, store) {
            (tree, Trees::default())
        } else {
            let trees = self.trees(commit, store)?;
            (self.walk(commit, &trees, store)?, trees)
        };
        for (id, raw) in &trees.raw {
            writer.add(ObjectKind::Tree, id.0, raw)?;
        }
        let mut missing = need.missing(&tree)?;
        missing.retain(|id| store.read(ObjectKind::Blob, id.0).is_none());
        let brought = self.blobs(commit.id, &tree, &missing, &trees, &mut writer);
        // Kept even if not all came: it is proven, and the next attempt or route need not request it again.
        writer.finish()?;
        brought?;
        let asked = self.client.traffic().requests > before;
        Ok(Obtained {
            commit: provenance,
            route: if asked {
                Route::SelectApi
            } else {
                Route::Store
            },
            fallbacks: Vec::new(),
            blobs: missing.len() as u64,
            tree: None,
        })
    }
}

impl Source for GitHub {
    fn resolve(&self, reference: &str) -> Result<ResolvedRef, Error> {
        self.resolve_name(reference)
    }

    fn obtain(
        &self,
        commit: CommitId,
        last: Option<CommitId>,
        store: &Store,
        need: &dyn Need,
    ) -> Result<Obtained, Error> {
        self.obtain_with(commit, last, store, need, self.trust)
    }

    fn descends(&self, new: &Commit, old: CommitId, store: &Store) -> Result<bool, Error> {
        self.is_descendant(new, old, store)
    }

    fn commits_read(&self) -> Vec<Commit> {
        threads::lock(&self.between).clone()
    }

    fn ahead(&self, new: CommitId, old: CommitId, _: &Store) -> Result<Ahead, Error> {
        self.is_said_ahead(new, old)
    }

    fn traffic(&self) -> Traffic {
        self.client.traffic()
    }

    fn describe(&self) -> String {
        self.remote.clone()
    }

    fn moved_to(&self) -> Option<Moved> {
        let base = self.base().clone();
        (base.path() != self.asked.path()).then(|| self.moved(&base))
    }
}

/// The address with path segments added, each encoded by itself: a `/` in a branch's name becomes `%2F`.
fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    // It fails for addresses without a host only, which `url` refuses.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// See [`crate::fuzzing`].
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    use super::commit::{Budget, CommitAnswer, Described};
    use super::listing::{self, Listing};
    use crate::git::{Commit, CommitId, TreeId};

    /// Bytes that may be hashed to find a commit again: enough for a few hundred attempts.
    const BUDGET: u64 = 1 << 16;

    /// Reads a listing and rebuilds its trees, which are returned with their ids.
    pub fn listing(json: &[u8], at: Option<&str>, deep: bool) -> Vec<(TreeId, Vec<u8>)> {
        let Ok(listing) = serde_json::from_slice::<Listing>(json) else {
            return Vec::new();
        };
        let rebuilt = listing::rebuild(listing.sha, at, &listing.tree.0, deep);
        rebuilt.map_or_else(
            |_| Vec::new(),
            |rebuilt| rebuilt.trees.into_iter().collect(),
        )
    }

    /// Reads a commit, or a list of them, and rebuilds each; those that came out, with the id that was stated and their bytes.
    pub fn commits(json: &[u8]) -> Vec<(CommitId, Commit, Vec<u8>)> {
        let one = || serde_json::from_slice::<Described>(json).map(|described| vec![described]);
        let described: Vec<Described> = serde_json::from_slice(json)
            .or_else(|_| one())
            .unwrap_or_default();
        let mut answers: Vec<CommitAnswer> =
            described.into_iter().map(CommitAnswer::from).collect();
        answers.extend(serde_json::from_slice::<CommitAnswer>(json).ok());
        let mut budget = Budget::of(BUDGET);
        let mut rebuilt = Vec::new();
        for answer in answers {
            answer.unproven();
            if let Some((commit, raw)) = answer.rebuild(&mut budget) {
                rebuilt.push((answer.id(), commit, raw));
            }
        }
        rebuilt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_encoded_by_themselves() {
        let base = url("https://git.example.org/api/v3/").unwrap();
        assert_eq!(
            below(
                &base,
                &["repos", "a", "b", "commits", "heads/feature/x#1?%"]
            )
            .as_str(),
            "https://git.example.org/api/v3/repos/a/b/commits/heads%2Ffeature%2Fx%231%3F%25"
        );
        assert_eq!(
            below(&url(API).unwrap(), &["repos"]).as_str(),
            "https://api.github.com/repos"
        );
    }
}
