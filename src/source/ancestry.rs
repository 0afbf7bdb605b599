//! Whether one commit descends from another, as far as commits are known here.

use std::collections::HashSet;

use crate::git::{Commit, CommitId};

/// The result of a walk through known commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ancestry {
    /// It is among the ancestors.
    Ancestor,
    /// Every ancestor is known, and it is not among them.
    NoAncestor,
    /// Some commits on the way are not known.
    Unknown,
}

/// Walks the ancestors of `new`, as far as they are known.
pub(super) fn search_ancestors(
    new: &Commit,
    old: CommitId,
    mut known: impl FnMut(CommitId) -> Option<Commit>,
) -> Ancestry {
    let mut seen: HashSet<CommitId> = new.parents.iter().copied().collect();
    let mut pending = new.parents.clone();
    let mut complete = true;
    while let Some(id) = pending.pop() {
        if id == old {
            return Ancestry::Ancestor;
        }
        match known(id) {
            None => complete = false,
            Some(commit) => {
                pending.extend(commit.parents.into_iter().filter(|id| seen.insert(*id)));
            }
        }
    }
    if complete {
        Ancestry::NoAncestor
    } else {
        Ancestry::Unknown
    }
}
