//! A repository on GitHub, by git and by the REST API: the fallback ladder of the design, §5.
//!
//! delta → select (git) → select (API) → full. A rung is left where the way is blocked: no connection, a broken
//! server, a rate limit, something that is no forge. It is not left where the answer was clear: refused credentials,
//! a name that does not exist, bytes that fail verification. Every rung ends in the same proof.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::git::GitSource;
use super::github::GitHub;
use super::{Error, Fallback, Need, Obtained, Resolved, Route, Source, Traffic};
use crate::git::{Commit, CommitId};
use crate::objects::Store;

/// The rungs, first to last.
pub(super) struct Ladder {
    git: GitSource,
    api: GitHub,
    remote: String,
    force_full: bool,
    /// Why git was given up when the name was resolved, if it was.
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
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Ladder {
    fn resolve(&self, reference: &str) -> Result<Resolved, Error> {
        match self.git.resolve(reference) {
            Err(error) if blocks(&error) => match self.api.resolve(reference) {
                Ok(resolved) => {
                    *self.blocked() = Some(error.to_string());
                    Ok(resolved)
                }
                // Both ways are blocked: the first error is that of the usual way.
                Err(second) if blocks(&second) => Err(error),
                Err(second) => Err(second),
            },
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
        let git: &[Route] = if self.force_full {
            &[Route::Full]
        } else {
            &[Route::Delta, Route::SelectGit]
        };
        let blocked = self.blocked().clone();
        let first = match blocked {
            Some(cause) => {
                let from = if self.force_full {
                    Route::Full
                } else {
                    Route::Delta
                };
                fallbacks.push(Fallback { from, cause });
                None
            }
            None => Some(
                self.git
                    .obtain_by(git, commit, last, store, need, &mut fallbacks),
            ),
        };
        match first {
            Some(Err(error)) if moves_on(&error) => {
                let from = git.last().copied().unwrap_or(Route::Full);
                fallbacks.push(Fallback {
                    from,
                    cause: error.to_string(),
                });
            }
            Some(result) => return result.map(|obtained| with(obtained, fallbacks)),
            None => {}
        }
        match self.api.obtain(commit, last, store, need) {
            Err(error) if moves_on(&error) && !self.force_full => {
                fallbacks.push(Fallback {
                    from: Route::SelectApi,
                    cause: error.to_string(),
                });
                let full =
                    self.git
                        .obtain_by(&[Route::Full], commit, last, store, need, &mut fallbacks);
                full.map(|obtained| with(obtained, fallbacks))
            }
            result => result.map(|obtained| with(obtained, fallbacks)),
        }
    }

    fn descends(&self, new: &Commit, old: CommitId, store: &Store) -> Result<bool, Error> {
        match self.git.descends(new, old, store) {
            Err(error) if blocks(&error) => self.api.descends(new, old, store),
            other => other,
        }
    }

    fn traffic(&self) -> Traffic {
        // One client serves both.
        self.api.traffic()
    }

    fn describe(&self) -> String {
        self.remote.clone()
    }
}

fn with(mut obtained: Obtained, fallbacks: Vec<Fallback>) -> Obtained {
    obtained.fallbacks.splice(0..0, fallbacks);
    obtained
}

/// Whether the way itself is blocked, so that another one may be free.
fn blocks(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::ServerError { .. }
            | Error::NotAForge { .. }
            | Error::Redirect { .. }
            | Error::RateLimited { .. }
            | Error::Protocol { .. }
            | Error::OldProtocol { .. }
            | Error::Refused { .. }
    )
}

/// Whether another way to the objects is worth trying.
fn moves_on(error: &Error) -> bool {
    blocks(error) || matches!(error, Error::Unsuited { .. } | Error::Incomplete { .. })
}
