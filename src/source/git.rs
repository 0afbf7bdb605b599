//! Commits by the git protocol, version 2 (and [older ones](version_0)): our own request bodies, gitoxide's packets, packs and objects.
//!
//! Three routes, tried in this order, end in the same objects (docs/architecture.md, Routes):
//!
//! - **delta**: a thin pack against the last commit. `done` is left out, because a server that does not know our
//!   commit would send everything; without it, the server reports that in fifty bytes.
//! - **select**: commit and trees by a filter, then the missing blobs by their ids.
//! - **full**: one self-contained pack; the first one where nothing is here.
//!
//! A route that fails is reported, and the next one is tried. What the server reports about its commit is
//! never trusted: after each route the commit is walked out of the store, and every needed blob read.
//!
//! Limits: no bundle URIs, no packfile URIs; git's own credential helpers are not called.

use std::collections::HashMap;
use std::io::{self, BufRead, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::git::{Commit, CommitId, Oid};
use crate::objects::{IngestBounds, IngestError, Store};
use crate::settings::{Env, Limits};
use crate::text::Amount;
use crate::threads;
use crate::token::Token;

use super::http::{Client, Url};
use super::{
    Ahead, Error, Interrupt, Meter, Moved, Need, Obtained, ResolvedRef, Route, Source, Traffic,
};

mod answer;
mod connection;
mod history;
mod http;
mod key;
mod local;
mod refs;
mod request;
mod routes;
mod session;
mod ssh;
mod version_0;

pub use connection::Connection;
pub use key::KeyFault;
pub use ssh::{Identity, SshError};

use answer::{BoundedReader, Fetched, ResponseError};
use request::Fetch;
use session::{ProcessConnection, Timeouts};

/// The routes of git, in the order they are tried.
const LADDER: &[Route] = &[Route::Delta, Route::SelectGit, Route::Full];

/// A year: longer than any run.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a [`GitSource`] goes by.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bounds of what is taken.
    pub limits: Limits,
    /// When everything must be here.
    pub deadline: Instant,
    /// Stops everything when it is set.
    pub interrupt: Interrupt,
    /// Whether only [`Route::Full`] is taken, even where the store has the commit.
    pub force_full: bool,
    /// Counts what is received.
    pub meter: Arc<Meter>,
}

impl Options {
    /// By the limits; their time begins now.
    #[must_use]
    pub fn new(limits: Limits, interrupt: Interrupt) -> Self {
        Self {
            limits,
            // A time beyond the range of the clock counts as never.
            deadline: Instant::now()
                .checked_add(limits.time)
                .unwrap_or_else(|| Instant::now() + FOREVER),
            interrupt,
            force_full: false,
            meter: Arc::default(),
        }
    }

    fn bounds(&self, bytes: u64) -> IngestBounds {
        IngestBounds {
            bytes,
            deadline: Some(self.deadline),
        }
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts::new(
            self.interrupt.clone(),
            self.deadline,
            self.limits.time,
            self.meter.clone(),
        )
    }
}

/// A repository that speaks git.
pub struct GitSource {
    connection: Mutex<Box<dyn Connection>>,
    remote: String,
    options: Options,
    /// Results of [`Source::descends`], which may be called more than once in a run.
    descends: Mutex<HashMap<(CommitId, CommitId), bool>>,
    /// The commits that were read for that.
    between: Mutex<Vec<Commit>>,
    /// The commit since which several others are expected.
    expected: Mutex<Option<CommitId>>,
    /// The commits, newer and older, whose history was asked for beside another request.
    beside: Mutex<Option<(CommitId, CommitId)>>,
}

/// What a fetch came to.
enum FetchReply<T> {
    /// A pack, taken.
    Pack(T),
    /// The server has our commit, and wants more `have` lines before it decides.
    Common,
    /// The server does not have our commit.
    Nothing,
    /// A thin pack against something we do not have.
    BaseMissing,
    /// The server reports that it does not have this object, which was requested.
    NotOurRef(Option<Oid>),
}

impl GitSource {
    /// Over any connection.
    #[must_use]
    pub fn new(connection: Box<dyn Connection>, options: Options) -> Self {
        Self {
            remote: connection.describe(),
            connection: Mutex::new(connection),
            options,
            descends: Mutex::default(),
            between: Mutex::default(),
            expected: Mutex::default(),
            beside: Mutex::default(),
        }
    }

    /// A repository on this machine, read by `git upload-pack`.
    #[must_use]
    pub fn local(path: &Path, env: &Env, options: Options) -> Self {
        let endpoint = local::LocalEndpoint::new(path, env);
        let session = ProcessConnection::new(Box::new(endpoint), options.timeouts());
        Self::new(Box::new(session), options)
    }

    /// `ssh://…` or `user@host:path`, by the system's `ssh`.
    pub fn ssh(
        address: &str,
        identity: Identity,
        env: &Env,
        options: Options,
    ) -> Result<Self, Error> {
        if let Some(path) = &identity.key_file {
            let path = path.clone();
            key::check(&path).map_err(|fault| SshError::Key { path, fault })?;
        }
        let endpoint = ssh::Ssh::new(address, identity, env)?;
        let session = ProcessConnection::new(Box::new(endpoint), options.timeouts());
        Ok(Self::new(Box::new(session), options))
    }

    /// `http://…` or `https://…`, by the one client. The token goes nowhere but to its own host; `state_dir` is where
    /// the address is stored that the host turned out to require.
    #[must_use]
    pub fn http(
        client: Client,
        url: &Url,
        token: Option<&Token>,
        state_dir: Option<&Path>,
        options: Options,
    ) -> Self {
        let bytes = options.limits.bytes;
        let connection = http::Http::new(client, url, token, state_dir, bytes);
        Self::new(Box::new(connection), options)
    }

    fn connection(&self) -> MutexGuard<'_, Box<dyn Connection>> {
        threads::lock(&self.connection)
    }

    /// Sends one fetch and hands its pack to `take`; once more, where the response breaks off.
    fn fetch<T>(
        &self,
        fetch: &Fetch<'_>,
        mut take: impl FnMut(&mut dyn BufRead) -> Result<T, IngestError>,
    ) -> Result<FetchReply<T>, Error> {
        let mut connection = self.connection();
        let request = fetch.encode();
        let mut broken_before = false;
        loop {
            let answer = connection.command(&request)?;
            let answer = BoundedReader::new(answer, self.options.limits.bytes);
            let trouble = match answer::fetch(answer, &mut take) {
                Ok(Fetched::Pack(taken)) => return Ok(FetchReply::Pack(taken)),
                Ok(Fetched::Common) => return Ok(FetchReply::Common),
                Ok(Fetched::Nothing) => return Ok(FetchReply::Nothing),
                Err(trouble) => trouble,
            };
            match self.explain(connection.as_mut(), trouble) {
                Classified::BaseMissing => return Ok(FetchReply::BaseMissing),
                Classified::NotOurRef(id) => return Ok(FetchReply::NotOurRef(id)),
                Classified::Error(error @ Error::Unreachable { .. }) if !broken_before => {
                    tracing::debug!(%error, "the answer broke off; asking again");
                    broken_before = true;
                }
                Classified::Error(error) => return Err(error),
            }
        }
    }

    /// What went wrong with a response. The connection begins afresh.
    fn explain(&self, connection: &mut dyn Connection, trouble: ResponseError) -> Classified {
        let known = connection.reset();
        let remote = self.remote.clone();
        let limits = self.options.limits;
        let error = match trouble {
            ResponseError::Refused(message) if message.contains("not our ref") => {
                let id = message.rsplit(' ').next().and_then(|id| id.parse().ok());
                return Classified::NotOurRef(id);
            }
            ResponseError::Pack(IngestError::BaseMissing { .. }) => return Classified::BaseMissing,
            ResponseError::Refused(message) if limits_downloads(&message) => Error::LoginWanted {
                remote,
                words: Some(message),
            },
            ResponseError::Refused(message) if limits_rate(&message) => Error::RateLimited {
                remote,
                retry: None,
                token: connection.token(),
            },
            // The message of git's pack-objects about an object that is damaged or gone.
            ResponseError::Refused(message) if message.contains("repository corruption") => {
                Error::DamagedRepository { remote, message }
            }
            ResponseError::Refused(message) => Error::Refused { remote, message },
            ResponseError::Stream(error) | ResponseError::Pack(IngestError::Stream(error)) => {
                known.unwrap_or_else(|| broken(remote, &error))
            }
            ResponseError::Protocol(detail) => Error::Protocol { remote, detail },
            ResponseError::Pack(IngestError::Corrupt { detail }) => Error::Pack { remote, detail },
            ResponseError::Pack(IngestError::PackTooLarge { .. }) => Error::TooLarge {
                what: "what the commit holds".to_owned(),
                limit: Amount::Limit(limits.bytes),
                setting: "limits.bytes",
            },
            ResponseError::Pack(IngestError::ObjectTooLarge { limit }) => Error::TooLarge {
                what: "a file of the commit".to_owned(),
                limit: Amount::Limit(limit),
                setting: "limits.blob",
            },
            ResponseError::Pack(IngestError::Interrupted) => Error::Interrupted,
            ResponseError::Pack(IngestError::Deadline) => Error::Timeout {
                remote,
                after: limits.time,
            },
            ResponseError::Pack(IngestError::Store(error)) => Error::Store(error),
        };
        Classified::Error(error)
    }
}

/// Whether a server refuses because of too many requests.
fn limits_rate(message: &str) -> bool {
    let message = message.to_lowercase();
    let words = ["rate limit", "too many requests"];
    words.iter().any(|words| message.contains(words))
}

/// Whether a server refuses because nobody is logged in: GitHub's "limiting some unauthenticated downloads" of
/// September 2026.
fn limits_downloads(message: &str) -> bool {
    message.to_lowercase().contains("unauthenticated")
}

enum Classified {
    BaseMissing,
    NotOurRef(Option<Oid>),
    Error(Error),
}

/// A response that ended or broke, where the connection does not know more.
fn broken(remote: String, error: &io::Error) -> Error {
    let detail = match error.kind() {
        // This is how a `git http-backend` ends whose git rejects a line of the request.
        ErrorKind::UnexpectedEof => "the answer ends too early",
        answer::EXCEEDED => "the answer has no end",
        _ => "",
    };
    if !detail.is_empty() {
        let detail = detail.to_owned();
        return Error::Protocol { remote, detail };
    }
    Error::Unreachable {
        remote,
        cause: error.to_string(),
        received: 0,
    }
}

impl Source for GitSource {
    fn resolve(&self, reference: &str) -> Result<ResolvedRef, Error> {
        self.resolve_ref(reference)
    }

    fn obtain(
        &self,
        commit: CommitId,
        last: Option<CommitId>,
        store: &Store,
        need: &dyn Need,
    ) -> Result<Obtained, Error> {
        let ladder = if self.options.force_full {
            &[Route::Full]
        } else {
            LADDER
        };
        let mut fallbacks = Vec::new();
        let mut obtained = self
            .obtain_by(ladder, commit, last, store, need, &mut fallbacks)
            .map_err(|(_, error)| error)?;
        obtained.fallbacks = fallbacks;
        Ok(obtained)
    }

    fn expect_commits_since(&self, old: CommitId) {
        *threads::lock(&self.expected) = Some(old);
    }

    fn descends(&self, new: &Commit, old: CommitId, store: &Store) -> Result<bool, Error> {
        let pair = (new.id, old);
        let known = self.answers().get(&pair).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let descends = self.is_descendant(new, old, store)?;
        self.answers().insert(pair, descends);
        Ok(descends)
    }

    fn commits_read(&self) -> Vec<Commit> {
        threads::lock(&self.between).clone()
    }

    fn ahead(&self, new: CommitId, old: CommitId, store: &Store) -> Result<Ahead, Error> {
        self.commits_between(new, old, store)
    }

    fn traffic(&self) -> Traffic {
        self.connection().traffic()
    }

    fn describe(&self) -> String {
        self.remote.clone()
    }

    fn moved_to(&self) -> Option<Moved> {
        let address = self.connection().moved_to()?;
        Some(Moved {
            repo: Some(address.clone()),
            read_from: address,
        })
    }

    fn forget(&self) {
        self.connection().forget();
    }
}

impl GitSource {
    fn answers(&self) -> MutexGuard<'_, HashMap<(CommitId, CommitId), bool>> {
        threads::lock(&self.descends)
    }
}

/// See [`crate::fuzzing`].
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    use std::io::{self, Read as _};

    use super::answer::{self, Greeting};
    use super::connection::Capabilities;
    use super::request;
    use super::version_0::{Preamble, Translation};

    /// Reads what a server sends before any command; whether it offers filters. What it lists in version 0 can be read as
    /// the response of version 2.
    pub fn greeting(bytes: &[u8]) -> Option<bool> {
        match answer::greeting(bytes).ok()? {
            Greeting::Version2(lines) => Some(Capabilities::of(&lines).filters),
            Greeting::Older(older) => {
                let listed = older.translate(&request::ls_refs(&["refs/"]));
                if let Ok(Some(Translation::Answered(listing))) = listed {
                    assert!(answer::refs(listing.as_slice(), |_, _| true).is_ok());
                }
                Some(older.capabilities().filters)
            }
        }
    }

    /// Reads a response to a fetch of version 0 as one of version 2, to its end.
    pub fn translated(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        for preamble in Preamble::ALL {
            preamble.translate(bytes).read_to_end(&mut all)?;
        }
        Ok(all)
    }
}
