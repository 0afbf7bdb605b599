//! The commits that the target passes on its way from one commit to another.

use std::collections::HashMap;

use crate::git::history::{Between, between};
use crate::git::{Commit, CommitId};
use crate::objects::Store;

/// The commits that a target passes, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// These come in.
    Forward(Between),
    /// These go away: the new commit is among the ancestors of the one before.
    Back(Between),
}

impl Passage {
    /// Whether all of them are known, and with that the direction.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let (Self::Forward(between) | Self::Back(between)) = self;
        between.is_whole
    }

    /// From `before` to `new`, as far as commits are here: in the store, or `read` from the server for another reason.
    pub(super) fn find(
        before: Option<CommitId>,
        new: &Commit,
        read: Vec<Commit>,
        store: &Store,
    ) -> Option<Self> {
        let before = before.filter(|before| *before != new.id)?;
        let read: HashMap<CommitId, Commit> =
            read.into_iter().map(|commit| (commit.id, commit)).collect();
        let known = |id| {
            let here = read.get(&id).cloned();
            here.or_else(|| store.commit(id).ok().flatten())
        };
        let forward = between(new, before, known);
        if !forward.commits.is_empty() {
            return Some(Self::Forward(forward));
        }
        Some(Self::Back(between(&known(before)?, new.id, known)))
    }
}
