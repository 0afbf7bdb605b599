//! Whether one commit descends from another, proven from the commits themselves.

use std::collections::HashSet;

use crate::git::history::between as between_commits;
use crate::git::id::ObjectKind;
use crate::git::{Commit, CommitId};
use crate::objects::{IngestError, Store, Transient};
use crate::source::ancestry::{Ancestry, search_ancestors};
use crate::source::{Ahead, Error};
use crate::threads;

use super::answer::{self, Fetched};
use super::connection::KEPT_MAX;
use super::request::Fetch;
use super::{FetchReply, GitSource};

/// Bytes of commits between two updates: about fifty thousand of them.
const BYTES_MAX: u64 = KEPT_MAX;

impl GitSource {
    /// Checks the parents, then the commits in the store, and only then requests those between from the server.
    pub(super) fn is_descendant(
        &self,
        new: &Commit,
        old: CommitId,
        store: &Store,
    ) -> Result<bool, Error> {
        if new.id == old {
            return Ok(true);
        }
        let known = |id| store.commit(id).ok().flatten();
        match search_ancestors(new, old, known) {
            Ancestry::Ancestor => Ok(true),
            Ancestry::NoAncestor => Ok(false),
            Ancestry::Unknown => {
                let Some(between) = self.between(new.id, old, store)? else {
                    return Ok(false);
                };
                let read = |id: CommitId| {
                    let raw = between.read(ObjectKind::Commit, id.0);
                    raw.and_then(|raw| Commit::verify(id, &raw).ok())
                };
                let seen = search_ancestors(new, old, |id| read(id).or_else(|| known(id)));
                let descends = seen == Ancestry::Ancestor;
                if descends {
                    let between = between_commits(new, old, read);
                    threads::lock(&self.between).extend(between.commits);
                }
                Ok(descends)
            }
        }
    }

    /// Counts the commits that `new` has and `old` has not.
    pub(super) fn commits_between(
        &self,
        new: CommitId,
        old: CommitId,
        store: &Store,
    ) -> Result<Ahead, Error> {
        let Some(between) = self.between(new, old, store)? else {
            return Ok(Ahead {
                descends: Some(false),
                commits: None,
            });
        };
        let mut seen = HashSet::from([new]);
        let mut pending = vec![new];
        let mut descends = false;
        while let Some(id) = pending.pop() {
            let raw = between.read(ObjectKind::Commit, id.0);
            let Some(commit) = raw.and_then(|raw| Commit::verify(id, &raw).ok()) else {
                seen.remove(&id);
                continue;
            };
            descends |= commit.parents.contains(&old);
            pending.extend(commit.parents.into_iter().filter(|id| seen.insert(*id)));
        }
        Ok(Ahead {
            descends: Some(descends),
            commits: descends.then_some(seen.len() as u64),
        })
    }

    /// The commits that `new` has and `old` has not; `None` where the server finds no path between them.
    fn between(
        &self,
        new: CommitId,
        old: CommitId,
        store: &Store,
    ) -> Result<Option<Transient>, Error> {
        let want = [new.0];
        let mut fetch = Fetch::history(&want, old);
        let beside = self.read_beside(new, old, store);
        if !matches!(beside, Some(FetchReply::Pack(_))) {
            // A server process remembers the cuts of earlier fetches, and history would end there.
            self.connection().reset();
        }
        let mut reply = if let Some(reply) = beside {
            Ok(Some(reply))
        } else {
            if self.connection().filters()? == Some(false) {
                fetch.filter = None;
            }
            self.look_into(&fetch, store)
        };
        if fetch.filter.is_some()
            && matches!(reply, Err(Error::Protocol { .. } | Error::Refused { .. }))
        {
            // Its capabilities were not requested, and it exited on a filter.
            fetch.filter = None;
            reply = self.look_into(&fetch, store);
        }
        if matches!(reply, Ok(Some(FetchReply::Common))) {
            // Commit dates out of order defeat the server's shortcut; `done` makes it search in full.
            fetch.done = true;
            reply = self.look_into(&fetch, store);
        }
        match reply? {
            Some(FetchReply::Pack(pack)) => Ok(Some(pack)),
            Some(FetchReply::NotOurRef(_)) => Err(Error::UnknownCommit {
                remote: self.remote.clone(),
                commit: new,
            }),
            Some(FetchReply::Common | FetchReply::Nothing | FetchReply::BaseMissing) | None => {
                Ok(None)
            }
        }
    }

    /// Asks for the commits since `old` beside the next request, if some are expected, and if the connection can.
    pub(super) fn ask_beside(&self, new: CommitId, old: CommitId) {
        if threads::lock(&self.expected).take() != Some(old) {
            return;
        }
        let mut connection = self.connection();
        // Without filters the commits come with all that they hold.
        if !matches!(connection.filters(), Ok(None | Some(true))) {
            return;
        }
        let request = Fetch::history(&[new.0], old).encode();
        if connection.command_beside(&request) {
            *threads::lock(&self.beside) = Some((new, old));
        }
    }

    /// The response to that, if it is of use.
    fn read_beside(
        &self,
        new: CommitId,
        old: CommitId,
        store: &Store,
    ) -> Option<FetchReply<Transient>> {
        if threads::lock(&self.beside).take() != Some((new, old)) {
            return None;
        }
        let response = self.connection().take_beside()?;
        let bounds = self
            .options
            .bounds(BYTES_MAX.min(self.options.limits.bytes));
        let read = answer::fetch(response.as_slice(), |pack| {
            store.peek(pack, bounds, &self.options.interrupt)
        });
        match read {
            Ok(Fetched::Pack(pack)) => Some(FetchReply::Pack(pack)),
            Ok(Fetched::Common) => Some(FetchReply::Common),
            Ok(Fetched::Nothing) => Some(FetchReply::Nothing),
            Err(error) => {
                tracing::debug!(?error, "the commits between are requested again");
                None
            }
        }
    }

    /// A fetch whose pack is not kept; `None` where it would be too large to be an update.
    fn look_into(
        &self,
        fetch: &Fetch<'_>,
        store: &Store,
    ) -> Result<Option<FetchReply<Transient>>, Error> {
        let bytes = BYTES_MAX.min(self.options.limits.bytes);
        let bounds = self.options.bounds(bytes);
        let mut too_large = false;
        let reply = self.fetch(fetch, |pack| {
            let seen = store.peek(pack, bounds, &self.options.interrupt);
            too_large = matches!(seen, Err(IngestError::PackTooLarge { .. }));
            seen
        });
        if too_large {
            tracing::warn!(bytes, "more history than is searched for a fast-forward");
            return Ok(None);
        }
        reply.map(Some)
    }
}
