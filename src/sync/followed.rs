//! What the followed names stood for: a tag is pinned to its commit, and a name to its kind.
//!
//! A branch moves, and its commits prove that it moves forward. Nothing of the kind is known of a tag: one that was set
//! anew, or a branch that took a tag's name, would bring other files under the name that somebody had checked.
//!
//! What is pinned is the commit and not the tag's own object: an annotated tag that was made anew on the same commit
//! brings the same files, signatures are asked of commits, and by the API the object would cost a request at each run.
//!
//! It is a file of its own and not a part of the index, because a rollback changes the index and not what the tag was.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::git::CommitId;
use crate::settings::Trust;
use crate::source::{RefKind, ResolvedRef};
use crate::state::sealed::{self, Found, SealedFormat};
use crate::state::{self, StateDir};

const NAME: &str = "followed";
const FORMAT: SealedFormat = SealedFormat {
    kind: "followed",
    version: 1,
};

/// So many names are kept; the one that was not asked for the longest goes first.
const NAMES_MAX: usize = 100;

/// What names stood for, the last one that was asked for at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Followed {
    names: Vec<Name>,
}

/// A name of a repository, and what it stood for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Name {
    /// As it was asked for.
    reference: String,
    /// The repository, without credentials.
    repository: String,
    /// How the name was understood.
    kind: RefKind,
    /// The commit of a tag. That of a branch is the index's, and not written once more at each update.
    tag: Option<CommitId>,
}

impl Name {
    /// What a name refers to.
    pub(super) fn new(reference: &str, repository: String, resolved: &ResolvedRef) -> Self {
        Self {
            reference: reference.to_owned(),
            repository,
            kind: resolved.kind,
            tag: (resolved.kind == RefKind::Tag).then_some(resolved.commit),
        }
    }

    /// Whether both are the same tag, which may be asked for by its whole name too.
    fn is_same_tag(&self, other: &Self) -> bool {
        let short = |name: &Self| {
            let reference = name.reference.as_str();
            let short = reference.strip_prefix("refs/tags/").unwrap_or(reference);
            (name.kind == RefKind::Tag).then(|| short.to_owned())
        };
        short(self).is_some() && short(self) == short(other)
    }
}

impl Followed {
    /// Reads it. A damaged one counts as none, as for a name that is followed for the first time.
    pub(super) fn load(state: &StateDir) -> Result<Self, state::Error> {
        Ok(match sealed::read(state.directory(), NAME, FORMAT)? {
            Found::Whole(followed) => followed,
            Found::Absent => Self::default(),
            Found::Damaged(damage) => {
                tracing::warn!(%damage, "which commits the followed tags were is not known any more");
                Self::default()
            }
        })
    }

    /// Takes over what a name refers to, durable, where that is not known yet.
    pub(super) fn remember(mut self, state: &StateDir, now: Name) -> Result<(), state::Error> {
        if self.names.contains(&now) {
            return Ok(());
        }
        self.names.retain(|known| {
            let is_same = known.reference == now.reference || known.is_same_tag(&now);
            known.repository != now.repository || !is_same
        });
        self.names.push(now);
        let given_up = self.names.len().saturating_sub(NAMES_MAX);
        self.names.drain(..given_up);
        sealed::write(state.directory(), NAME, FORMAT, &self)
    }

    /// An error where a name refers to another kind of thing now, or is a tag of another commit.
    pub(super) fn check(&self, now: &Name, trust: &Trust) -> Result<(), Error> {
        let names = self.names.iter();
        for known in names.filter(|known| known.repository == now.repository) {
            let reference = || now.reference.clone();
            if known.reference == now.reference && known.kind != now.kind {
                return Err(Error::RefKind {
                    reference: reference(),
                    was: known.kind,
                    is: now.kind,
                });
            }
            match (known.tag, now.tag) {
                (Some(from), Some(to))
                    if known.is_same_tag(now) && from != to && !trust.moving_tags =>
                {
                    return Err(Error::MovedTag {
                        reference: reference(),
                        from,
                        to,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}
