//! Whether one commit descends from another, proven from the commits between.
//!
//! Each commit of a list is rebuilt to the bytes that hash to its id, as far as that is needed; its parents count only
//! then, or with `trust.forge`. What cannot be proven is refused: a branch that was rewritten must not pass as one that
//! moved on.
//!
//! Before the commits between are requested, the API compares the two: one request, which also returns the new commit.
//! What it says about them counts only where it leads to a refusal.

use std::collections::HashMap;

use serde::Deserialize;

use super::commit::{Budget, CommitAnswer, Described};
use super::{Cap, Error, GitHub, JSON, Reply, Request};
use crate::git::{Commit, CommitId};
use crate::objects::Store;
use crate::source::ancestry::{Ancestry, search_ancestors};
use crate::source::{Ahead, VerificationError};
use crate::threads;

/// The most that the API lists in one response.
const PAGE: u64 = 100;
/// The most responses that are requested: a thousand commits between two updates.
const PAGES: u64 = 10;
/// Bytes of a commit in a list: a few thousand around the message, and messages are short.
const COMMIT_BYTES: u64 = 64 << 10;

impl GitHub {
    /// Checks the parents, then the commits in the store, and only then requests those between.
    pub(super) fn is_descendant(
        &self,
        new: &Commit,
        old: CommitId,
        store: &Store,
    ) -> Result<bool, Error> {
        let known = |id| store.commit(id).ok().flatten();
        match search_ancestors(new, old, known) {
            _ if new.id == old => return Ok(true),
            Ancestry::Ancestor => return Ok(true),
            Ancestry::NoAncestor => return Ok(false),
            Ancestry::Unknown => {}
        }
        match self.hint(new.id, old)? {
            // A refusal needs no proof.
            Hint::Elsewhere => Ok(false),
            Hint::Forward(between) => self.is_proven_descendant(new, old, between, known),
            Hint::Nothing => self.is_proven_descendant(new, old, None, known),
        }
    }

    fn is_proven_descendant(
        &self,
        new: &Commit,
        old: CommitId,
        between: Option<u64>,
        known: impl Fn(CommitId) -> Option<Commit>,
    ) -> Result<bool, Error> {
        let mut listed = HashMap::new();
        let mut proven = HashMap::new();
        let mut budget = Budget::default();
        let size = between.unwrap_or(PAGE).clamp(1, PAGE);
        for page in 1..=PAGES {
            let answers = self.list_commits(new.id, size, page)?;
            let is_last = (answers.len() as u64) < size;
            listed.extend(answers.into_iter().map(|answer| (answer.id(), answer)));
            let mut is_listed = true;
            let seen = search_ancestors(new, old, |id| {
                if let Some(commit) = known(id) {
                    return Some(commit);
                }
                let answer: &CommitAnswer = listed.get(&id).or_else(|| {
                    is_listed = false;
                    None
                })?;
                let prove = || {
                    let proven = answer.rebuild(&mut budget).map(|(commit, _)| commit);
                    proven.or_else(|| answer.unproven().filter(|_| self.trust))
                };
                let commit: &Option<Commit> = proven.entry(id).or_insert_with(prove);
                commit.clone()
            });
            match seen {
                Ancestry::Ancestor => {
                    threads::lock(&self.between).extend(proven.into_values().flatten());
                    return Ok(true);
                }
                Ancestry::NoAncestor => return Ok(false),
                // More would not help.
                Ancestry::Unknown if is_listed || is_last => break,
                Ancestry::Unknown => {}
            }
        }
        Err(VerificationError::UnprovenDescent {
            remote: self.remote.clone(),
            new: new.id,
            old,
        }
        .into())
    }

    /// A page of the commits from `new` back, the newest first.
    fn list_commits(
        &self,
        new: CommitId,
        size: u64,
        page: u64,
    ) -> Result<Vec<CommitAnswer>, Error> {
        let request = self
            .get(&["commits"], JSON)
            .query(&format!("sha={new}&per_page={size}&page={page}"))
            .cap(Cap::fixed(size * COMMIT_BYTES, "the list of commits"));
        let reply = self.ask(&request)?;
        if reply.status != 200 {
            return Err(self.refusal(&reply));
        }
        let described: Vec<Described> = reply.json("list of commits")?;
        Ok(described.into_iter().map(CommitAnswer::from).collect())
    }
}

/// A response to `compare/{base}...{head}`. It is a convenience: one that lacks something is as good as none.
#[derive(Deserialize)]
struct Comparison {
    status: Option<String>,
    ahead_by: Option<u64>,
    behind_by: Option<u64>,
    base_commit: Option<Described>,
}

/// What the forge reports about a new commit and an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// The new one descends from the old one, and has so many more commits, where that was reported.
    Forward(Option<u64>),
    /// It does not.
    Elsewhere,
    /// Not known.
    Nothing,
}

/// A hint, and the new and the old commit that it is about.
pub(super) type Compared = (CommitId, CommitId, Hint);

impl GitHub {
    /// The new commit, where it comes along with the comparison to the last one; what that hints at is remembered.
    ///
    /// Asked from the new commit back: the response holds its base whole, and after an update without a rewrite it
    /// holds no changes, for the last commit has none that the new one lacks.
    pub(super) fn compare(
        &self,
        new: CommitId,
        last: CommitId,
    ) -> Result<Option<CommitAnswer>, Error> {
        let reply = match self.ask(&self.comparison(new, last)) {
            Ok(reply) => reply,
            // A request for the new commit alone shows what is wrong, if something is.
            Err(Error::ServerError { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (hint, answer) = match reply.status.as_u16() {
            200 => {
                let Ok(comparison) = reply.json::<Comparison>("comparison") else {
                    return Ok(None);
                };
                let hint = match comparison.status.as_deref() {
                    Some("identical" | "behind") => Hint::Forward(comparison.behind_by),
                    Some("ahead" | "diverged") => Hint::Elsewhere,
                    _ => Hint::Nothing,
                };
                let answer = comparison.base_commit.map(CommitAnswer::from);
                let answer = answer.filter(|answer| answer.id() == new);
                (
                    if answer.is_some() {
                        hint
                    } else {
                        Hint::Nothing
                    },
                    answer,
                )
            }
            // The old commit is gone, so that nothing descends from it; that the new one is there was seen.
            404 if is_json(&reply) => (Hint::Elsewhere, None),
            _ => (Hint::Nothing, None),
        };
        let mut compared = threads::lock(&self.compared);
        *compared = Some((new, last, hint));
        Ok(answer)
    }

    /// What the forge reports about two commits.
    pub(super) fn is_said_ahead(&self, new: CommitId, old: CommitId) -> Result<Ahead, Error> {
        Ok(match self.hint(new, old)? {
            Hint::Forward(commits) => Ahead {
                descends: Some(true),
                commits,
            },
            Hint::Elsewhere => Ahead {
                descends: Some(false),
                commits: None,
            },
            Hint::Nothing => Ahead::default(),
        })
    }

    /// What the forge reports about two commits, remembered or requested.
    fn hint(&self, new: CommitId, old: CommitId) -> Result<Hint, Error> {
        let compared = *threads::lock(&self.compared);
        match compared {
            Some((head, base, hint)) if (head, base) == (new, old) && hint != Hint::Nothing => {
                return Ok(hint);
            }
            _ => {}
        }
        let reply = match self.ask(&self.comparison(old, new)) {
            Err(Error::ServerError { .. }) => return Ok(Hint::Nothing),
            reply => reply?,
        };
        match reply.status.as_u16() {
            200 => {}
            404 if is_json(&reply) => return Ok(Hint::Elsewhere),
            401 | 403 | 429 => return Err(self.refusal(&reply)),
            _ => return Ok(Hint::Nothing),
        }
        let comparison = reply.json::<Comparison>("comparison").ok();
        let ahead = comparison.as_ref().and_then(|known| known.ahead_by);
        let status = comparison.and_then(|known| known.status);
        Ok(match status.as_deref() {
            Some("identical" | "ahead") => Hint::Forward(ahead),
            Some("behind" | "diverged") => Hint::Elsewhere,
            _ => Hint::Nothing,
        })
    }

    fn comparison(&self, base: CommitId, head: CommitId) -> Request {
        // Files come on the first page only, and none are wanted.
        self.get(&["compare", &format!("{base}...{head}")], JSON)
            .query("per_page=1&page=2")
    }
}

fn is_json(reply: &Reply) -> bool {
    reply.media_type().contains("json")
}
