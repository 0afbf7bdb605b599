//! Fetching commits: one trait, several routes, the same objects at the end.
//!
//! A [`Source`] resolves a name to a commit id once; from there on everything is content-addressed. `obtain` brings
//! the commit's objects into the store and may take any [`Route`]; whichever it took, [`stage`] then walks the commit
//! from its id and is the only maker of a [`Staged`], so nothing can be applied that was not proven.

use std::fmt;

use crate::git::{BlobId, Commit, CommitId, KnownTree, Tree};
use crate::objects::Store;

mod ancestry;
mod error;
pub mod git;
pub mod github;
pub mod http;
mod ladder;
mod meter;
mod open;
mod stage;
mod stored_blobs;

pub use crate::process::Interrupt;
pub use error::{Error, Head, Instead, RetryAt, VerificationError};
pub use git::SshError;
pub use http::SetupError;
pub use meter::Meter;
pub use open::{Opening, open};
pub use stage::{Depth, LinkFault, Notice, Staged, VerificationPolicy, commit_alone, prove, walk};
pub use stored_blobs::StoredBlobs;

/// What a name on the remote resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRef {
    /// The commit; annotated tags are peeled.
    pub commit: CommitId,
    /// How the name was understood.
    pub kind: RefKind,
    /// Whether the name is that of a tag as well, as far as that was seen on the way: the branch was taken. By the API
    /// it is not seen.
    pub is_tag_too: bool,
}

/// The kinds of name that a commit can be requested by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefKind {
    /// A branch: it moves forward, anything else is a rewind.
    Branch,
    /// A tag, annotated or not.
    Tag,
    /// A commit id.
    Commit,
}

impl fmt::Display for RefKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Branch => "a branch",
            Self::Tag => "a tag",
            Self::Commit => "a commit",
        })
    }
}

/// One of the ways to a commit's objects (docs/architecture.md, Routes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// A thin pack against the last commit.
    Delta,
    /// A listing over the git protocol, then the missing blobs.
    SelectGit,
    /// A listing over the REST API, then the missing blobs.
    SelectApi,
    /// One self-contained pack.
    Full,
    /// Nothing was requested: the store had all of it.
    Store,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delta => "delta",
            Self::SelectGit => "select (git)",
            Self::SelectApi => "select (api)",
            Self::Full => "full",
            Self::Store => "store",
        })
    }
}

/// A route that failed and was fallen back from; shown to the user.
#[derive(Debug, Clone)]
pub struct Fallback {
    /// The route that failed.
    pub from: Route,
    /// The cause, one sentence.
    pub cause: String,
}

/// What a run has transferred over the network so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// Requests sent.
    pub requests: u64,
    /// Bytes received, as they came (before decompression).
    pub received: u64,
    /// Bytes of request bodies sent.
    pub sent: u64,
}

/// What `obtain` has brought into the store.
#[derive(Debug, Clone)]
pub struct Obtained {
    /// The commit, proven from its raw bytes, or as the forge's API returns it.
    pub commit: Provenance,
    /// The route that succeeded.
    pub route: Route,
    /// The routes given up before.
    pub fallbacks: Vec<Fallback>,
    /// How many blobs were downloaded.
    pub blobs: u64,
    /// The commit's tree, where it was walked out of the store already.
    pub tree: Option<Tree>,
}

/// The address of a repository that has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where it was read, without credentials.
    pub read_from: String,
    /// The value of `repo` for it, where that is known.
    pub repo: Option<String>,
}

/// How far the commit itself is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// Its raw bytes hash to its id.
    Verified(Commit),
    /// The API returned its tree and parents, its raw bytes could not be rebuilt, and the settings trust the forge.
    FromForge(Commit),
}

impl Provenance {
    /// The commit, however far it is proven.
    #[must_use]
    pub fn commit(&self) -> &Commit {
        match self {
            Self::Verified(commit) | Self::FromForge(commit) => commit,
        }
    }
}

/// What the machine already has; a route checks it before it downloads.
pub trait Need: Sync {
    /// The blobs of `tree` that are managed and that no unedited file of the target holds, each once.
    ///
    /// The route checks whether the store has them.
    fn missing(&self, tree: &Tree) -> Result<Vec<BlobId>, crate::scan::Error>;

    /// What need not be read again of the trees, because it was read for an earlier commit that the store has.
    fn known_tree(&self) -> Option<KnownTree<'_>> {
        None
    }

    /// Whether commit and trees are all that is needed: then no content is requested.
    fn lists_only(&self) -> bool {
        false
    }

    /// Whether all of a commit is missing, as far as that can be seen without its trees: no file is here, and nothing that
    /// a commit is likely to have is left out. Then naming the missing blobs would cost more than it saves.
    fn lacks_everything(&self) -> bool {
        false
    }

    /// The content of a blob, from a file of the target that hashes to it.
    fn content(&self, id: BlobId) -> Option<Vec<u8>>;
}

/// A repository, over any transport.
pub trait Source: Send + Sync {
    /// Resolves a branch, tag or full commit id. Branch before tag; a full id is a commit.
    ///
    /// One request, and none for a full commit id.
    fn resolve(&self, reference: &str) -> Result<ResolvedRef, Error>;

    /// Brings the commit, its trees and every blob that `need` lacks into the store, durable.
    ///
    /// `last` is the commit that was applied last, where there is one.
    fn obtain(
        &self,
        commit: CommitId,
        last: Option<CommitId>,
        store: &Store,
        need: &dyn Need,
    ) -> Result<Obtained, Error>;

    /// Announces that [`descends`](Self::descends) will be asked about the next commit that is obtained and `old`, and that
    /// there are probably commits between them. A source that can have two requests under way sends both at once.
    fn expect_commits_since(&self, _old: CommitId) {}

    /// Whether `new` descends from `old`. Costs a request or two, none where the commits in the store suffice.
    fn descends(&self, new: &Commit, old: CommitId, store: &Store) -> Result<bool, Error>;

    /// The commits that were read to answer [`descends`](Self::descends), proven.
    fn commits_read(&self) -> Vec<Commit> {
        Vec::new()
    }

    /// How far `new` is ahead of `old`, for people: nothing is decided by it, and an API is taken at its word. One request,
    /// whose objects go into `store` and are not kept.
    fn ahead(&self, new: CommitId, old: CommitId, store: &Store) -> Result<Ahead, Error>;

    /// What was transferred over the network so far.
    fn traffic(&self) -> Traffic;

    /// The repository in words for the user, without credentials.
    fn describe(&self) -> String;

    /// Where the repository was read, if that is another address than was given. Costs a request where only an API
    /// has redirected, none where the repository has not moved.
    fn moved_to(&self) -> Option<Moved> {
        None
    }

    /// Forgets what earlier runs learned about the host: the next one requests the configured address.
    fn forget(&self) {}
}

/// How far a commit is ahead of an earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Whether it descends from the earlier one; `None`: not known.
    pub descends: Option<bool>,
    /// How many commits it has that the earlier one lacks, if it descends from that one.
    pub commits: Option<u64>,
}

/// The commit as the store holds it, with all its trees and blobs: for a rollback, which needs no network.
pub fn stored(commit: CommitId, store: &Store) -> Result<Obtained, Error> {
    let known = store.is_complete(commit).then(|| store.commit(commit));
    match known
        .transpose()
        .map_err(|fault| VerificationError::Commit { commit, fault })?
        .flatten()
    {
        Some(commit) => Ok(Obtained {
            commit: Provenance::Verified(commit),
            route: Route::Store,
            fallbacks: Vec::new(),
            blobs: 0,
            tree: None,
        }),
        None => Err(Error::UnknownCommit {
            remote: "the object store".to_owned(),
            commit,
        }),
    }
}
