//! The repository that a target follows, so that a run need not name it, and another one is not followed by mistake.
//!
//! It is not taken from the index, which a rollback brings back to an earlier repository, and which names no host of
//! `owner/name`. It is written before the target changes: a run that dies in between has named the repository all the
//! same. Where there is none, an older version wrote the state: then the repository of the last sync counts.

use serde::{Deserialize, Serialize};

use super::sealed::{self, Found, SealedFormat};
use super::{Error, Index, StateDir, SyncState};
use crate::settings::Repo;

const NAME: &str = "repository";
const FORMAT: SealedFormat = SealedFormat {
    kind: "repository",
    version: 1,
};

/// The repository that a target follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowedRepo {
    /// Its address, as the setting `repo` has it.
    repo: String,
    /// The setting `api_url`, by which the host of `owner/name` is known.
    api_url: Option<String>,
    /// The address that it was read from, if it has moved there.
    moved_to: Option<String>,
    /// Whether it is from an index or a `sync-state.json`, which do not record the host of `owner/name`.
    #[serde(skip)]
    is_older: bool,
}

impl FollowedRepo {
    /// For a sync of this repository.
    #[must_use]
    pub fn new(repo: &Repo, api_url: Option<&str>, moved_to: Option<String>) -> Self {
        Self {
            repo: repo.to_string(),
            api_url: api_url
                .filter(|_| matches!(repo, Repo::GitHub { .. }))
                .map(str::to_owned),
            moved_to,
            is_older: false,
        }
    }

    /// Reads the record; `None` if the target follows nothing yet. A damaged one counts as absent.
    pub fn load(state: &StateDir) -> Result<Option<Self>, Error> {
        if let Found::Whole(known) = sealed::read(state.directory(), NAME, FORMAT)? {
            return Ok(Some(known));
        }
        let index = Index::load(state)?.whole();
        let of_index = index.and_then(|index| index.point.repository);
        let repo = match of_index {
            Some(repo) => repo,
            None => match SyncState::load(state)? {
                Some(last) if !last.repository.is_empty() => last.repository,
                _ => return Ok(None),
            },
        };
        Ok(Some(Self {
            repo,
            api_url: None,
            moved_to: None,
            is_older: true,
        }))
    }

    /// The repository, if its address can be read.
    #[must_use]
    pub fn repo(&self) -> Option<Repo> {
        Repo::recorded(&self.repo)
    }

    /// The setting `api_url` that belongs to it.
    #[must_use]
    pub fn api_url(&self) -> Option<&str> {
        self.api_url.as_deref()
    }

    /// Whether it is this repository, however that is reached.
    #[must_use]
    pub fn is(&self, repo: &Repo, api_url: Option<&str>) -> bool {
        let other = repo.identity(api_url);
        let moved = self.moved_to.as_deref();
        let places = [(Some(&*self.repo), self.api_url()), (moved, api_url)];
        let is_same = |(address, api_url): (Option<&str>, Option<&str>)| {
            address
                .and_then(Repo::recorded)
                .is_some_and(|known| known.identity(api_url) == other)
        };
        places.into_iter().any(is_same) || (self.is_older && self.repo == repo.to_string())
    }

    /// Writes the record, durable, unless it is there already. The caller holds the lock.
    pub fn keep(&self, state: &StateDir) -> Result<(), Error> {
        match sealed::read::<Self>(state.directory(), NAME, FORMAT)? {
            Found::Whole(known) if known == *self => Ok(()),
            _ => sealed::write(state.directory(), NAME, FORMAT, self),
        }
    }
}

/// As the setting `repo` has it.
impl std::fmt::Display for FollowedRepo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&crate::text::words(&self.repo))
    }
}
