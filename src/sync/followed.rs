//! What the followed name stood for last: a tag is pinned to its commit, and a name to its kind.
//!
//! A branch moves, and its commits prove that it moves forward. Nothing of the kind is known of a tag: one that was set
//! anew, or a branch that took a tag's name, would bring other files under the name that somebody had checked.
//!
//! It is a file of its own and not a part of the index, because a rollback changes the index and not what the tag was.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::git::CommitId;
use crate::settings::Trust;
use crate::source::{RefKind, Resolved};
use crate::state::sealed::{self, Format, Found};
use crate::state::{self, StateDir};

const NAME: &str = "followed";
const FORMAT: Format = Format {
    kind: "followed",
    version: 1,
};

/// A name of a repository, and what it stood for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Followed {
    /// As it was asked for.
    pub(super) reference: String,
    /// The repository, without credentials.
    pub(super) repository: String,
    /// How the name was understood.
    pub(super) kind: RefKind,
    /// The commit of a tag. That of a branch is the index's, and not written once more at each update.
    pub(super) tag: Option<CommitId>,
}

impl Followed {
    /// Reads it. A damaged one counts as none, as for a name that is followed for the first time.
    pub(super) fn load(state: &StateDir) -> Result<Option<Self>, state::Error> {
        Ok(match sealed::read(state.directory(), NAME, FORMAT)? {
            Found::Whole(followed) => Some(followed),
            Found::Absent | Found::Damaged(_) => None,
        })
    }

    /// Writes it, durable.
    pub(super) fn save(&self, state: &StateDir) -> Result<(), state::Error> {
        sealed::write(state.directory(), NAME, FORMAT, self)
    }

    /// An error where the same name stands for another kind of thing now, or is a tag of another commit.
    pub(super) fn check(&self, now: &Self, trust: &Trust) -> Result<(), Error> {
        let same_name = self.reference == now.reference && self.repository == now.repository;
        if !same_name {
            return Ok(());
        }
        let reference = now.reference.clone();
        if self.kind != now.kind {
            return Err(Error::RefKind {
                reference,
                was: self.kind,
                is: now.kind,
            });
        }
        match (self.tag, now.tag) {
            (Some(from), Some(to)) if from != to && !trust.moving_tags => Err(Error::MovedTag {
                reference,
                from,
                to,
            }),
            _ => Ok(()),
        }
    }

    /// What a name stands for.
    pub(super) fn new(reference: &str, repository: String, resolved: &Resolved) -> Self {
        Self {
            reference: reference.to_owned(),
            repository,
            kind: resolved.kind,
            tag: (resolved.kind == RefKind::Tag).then_some(resolved.commit),
        }
    }
}
