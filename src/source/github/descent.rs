//! Whether one commit descends from another, proven from the commits between.
//!
//! Each commit of a list is rebuilt to the bytes that hash to its id, as far as that is needed; its parents count only
//! then, or with `trust.forge`. What cannot be proven is refused: a branch that was rewritten must not pass as one that
//! moved on.

use std::collections::HashMap;

use super::commit::{Budget, CommitAnswer, Described};
use super::compare::Hint;
use super::{Cap, Error, GitHub, JSON};
use crate::git::{Commit, CommitId};
use crate::objects::Store;
use crate::source::ancestry::{Ancestry, search_ancestors};

/// The most that the API lists in one answer.
const PAGE: u64 = 100;
/// The most answers that are asked for: a thousand commits between two updates.
const PAGES: u64 = 10;
/// Bytes of a commit in a list: a few thousand around the message, and messages are short.
const COMMIT_BYTES: u64 = 64 << 10;

impl GitHub {
    /// Checks the parents, then the commits in the store, and only then asks for those between.
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
                Ancestry::Ancestor => return Ok(true),
                Ancestry::NoAncestor => return Ok(false),
                // More would not help.
                Ancestry::Unknown if is_listed || is_last => break,
                Ancestry::Unknown => {}
            }
        }
        Err(Error::UnprovenDescent {
            remote: self.remote.clone(),
            new: new.id,
            old,
        })
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
