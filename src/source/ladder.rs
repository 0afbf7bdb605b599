//! A repository on GitHub, by git and by the REST API, as the table in docs/architecture.md (Routes) says.
//!
//! delta → select (git) → select (API) → full. The next rung is tried where the transport failed: no connection, a broken
//! server, a rate limit, something that is not a forge. It is not tried where the error is final: refused credentials,
//! a name that does not exist, bytes that fail verification. Every rung ends in the same proof; only when none is left
//! and the settings trust the forge is a commit taken whose bytes could not be had.

use std::sync::{Mutex, MutexGuard};

use super::git::GitSource;
use super::github::{GitHub, is_short_id};
use super::{
    Ahead, Error, Fallback, Moved, Need, Obtained, RefKind, ResolvedRef, Route, Source, Traffic,
    VerificationError,
};
use crate::git::{Commit, CommitId};
use crate::objects::Store;
use crate::threads;

/// The rungs, first to last.
pub(super) struct Ladder {
    git: GitSource,
    api: GitHub,
    remote: String,
    force_full: bool,
    /// Why git failed, if it did: only the last rung waits for it again.
    blocked: Mutex<Option<String>>,
}

impl Ladder {
    pub(super) fn new(git: GitSource, api: GitHub, force_full: bool) -> Self {
        Self {
            remote: api.describe(),
            git,
            api,
            force_full,
            blocked: Mutex::default(),
        }
    }

    fn blocked(&self) -> MutexGuard<'_, Option<String>> {
        threads::lock(&self.blocked)
    }
}

impl Source for Ladder {
    fn resolve(&self, reference: &str) -> Result<ResolvedRef, Error> {
        match self.git.resolve(reference) {
            Err(error) if is_transport_failure(&error) => match self.api.resolve(reference) {
                Ok(resolved) => {
                    *self.blocked() = Some(error.to_string());
                    Ok(resolved)
                }
                // Both transports failed: the first error is that of the usual one.
                Err(second) if is_transport_failure(&second) => Err(error),
                Err(second) => Err(second),
            },
            // Git lists names; a short id is only known to the API.
            Err(error @ Error::UnknownRef { .. }) if is_short_id(reference) => {
                let resolved = self.api.find(reference).ok().flatten();
                let commit = resolved.filter(|resolved| resolved.kind == RefKind::Commit);
                commit.ok_or(error)
            }
            other => other,
        }
    }

    fn obtain(
        &self,
        commit: CommitId,
        last: Option<CommitId>,
        store: &Store,
        need: &dyn Need,
    ) -> Result<Obtained, Error> {
        let mut fallbacks = Vec::new();
        let by = |routes: &[Route], fallbacks: &mut Vec<Fallback>| {
            self.git
                .obtain_by(routes, commit, last, store, need, fallbacks)
        };
        let give_up = |fallbacks: &mut Vec<Fallback>, from: Route, cause: String| {
            tracing::info!(%from, cause, "falling back");
            fallbacks.push(Fallback { from, cause });
        };
        let blocked = self.blocked().clone();
        if let Some(cause) = blocked {
            let from = self.git.first_route(commit, last, store, need);
            give_up(&mut fallbacks, from, cause);
        } else {
            let routes: &[Route] = if self.force_full {
                &[Route::Full]
            } else {
                &[Route::Delta, Route::SelectGit]
            };
            match by(routes, &mut fallbacks) {
                Ok(obtained) => return Ok(with(obtained, fallbacks)),
                Err((from, error)) if should_fall_back(&error) => {
                    if is_transport_failure(&error) {
                        *self.blocked() = Some(error.to_string());
                    }
                    give_up(&mut fallbacks, from, error.to_string());
                }
                Err((_, error)) => return Err(error),
            }
        }
        let by_api = |trust| self.api.obtain_with(commit, last, store, need, trust);
        let error = match by_api(false) {
            Err(error) if should_fall_back(&error) => error,
            result => return result.map(|obtained| with(obtained, fallbacks)),
        };
        let is_unproven = matches!(
            error,
            Error::Verification(VerificationError::Unproven { .. })
        );
        if !self.force_full {
            give_up(&mut fallbacks, Route::SelectApi, error.to_string());
            match by(&[Route::Full], &mut fallbacks) {
                // Only the forge's word is left.
                Err((from, error)) if is_unproven && should_fall_back(&error) => {
                    give_up(&mut fallbacks, from, error.to_string());
                }
                result => {
                    return result
                        .map(|obtained| with(obtained, fallbacks))
                        .map_err(|(_, error)| error);
                }
            }
        }
        if is_unproven && self.api.is_trusting() {
            return by_api(true).map(|obtained| with(obtained, fallbacks));
        }
        Err(error)
    }

    fn expect_commits_since(&self, old: CommitId) {
        self.git.expect_commits_since(old);
    }

    fn descends(&self, new: &Commit, old: CommitId, store: &Store) -> Result<bool, Error> {
        if self.blocked().is_some() {
            return self.api.descends(new, old, store);
        }
        match self.git.descends(new, old, store) {
            Err(error) if is_transport_failure(&error) => self.api.descends(new, old, store),
            other => other,
        }
    }

    fn commits_read(&self) -> Vec<Commit> {
        let git = self.git.commits_read();
        git.into_iter().chain(self.api.commits_read()).collect()
    }

    fn ahead(&self, new: CommitId, old: CommitId, store: &Store) -> Result<Ahead, Error> {
        if self.blocked().is_some() {
            return self.api.ahead(new, old, store);
        }
        match self.git.ahead(new, old, store) {
            Err(error) if is_transport_failure(&error) => self.api.ahead(new, old, store),
            other => other,
        }
    }

    fn traffic(&self) -> Traffic {
        // One client serves both.
        self.api.traffic()
    }

    fn moved_to(&self) -> Option<Moved> {
        self.git.moved_to().or_else(|| self.api.moved_to())
    }

    fn forget(&self) {
        self.git.forget();
    }

    fn describe(&self) -> String {
        self.remote.clone()
    }
}

fn with(mut obtained: Obtained, fallbacks: Vec<Fallback>) -> Obtained {
    obtained.fallbacks.splice(0..0, fallbacks);
    obtained
}

/// Whether the transport itself failed, so that another one may work.
fn is_transport_failure(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::Timeout { .. }
            | Error::ServerError { .. }
            | Error::NotAForge { .. }
            | Error::LoginPage { .. }
            | Error::NoTls { .. }
            | Error::Redirect { .. }
            | Error::LoginWanted { .. }
            | Error::RateLimited { .. }
            | Error::Protocol { .. }
            | Error::OldProtocol { .. }
            | Error::Refused { .. }
    )
}

/// Whether another route to the objects is worth trying.
fn should_fall_back(error: &Error) -> bool {
    is_transport_failure(error)
        || matches!(
            error,
            Error::Unsuited { .. }
                | Error::Verification(
                    VerificationError::Incomplete { .. } | VerificationError::Unproven { .. }
                )
        )
}
