//! Two commits compared: whether one descends from the other, and, for the same request, the new one itself.

use std::sync::PoisonError;

use serde::Deserialize;

use super::commit::{Answer, Described};
use super::{Error, GitHub, JSON, Reply, Request};
use crate::git::{Commit, CommitId};
use crate::objects::Store;
use crate::source::ancestry::{Seen, look};

/// An answer to `compare/{base}...{head}`.
#[derive(Deserialize)]
struct Comparison {
    status: String,
    base_commit: Option<Described>,
}

impl Comparison {
    /// Whether the base is an ancestor of the head, and whether the head is one of the base.
    fn directions(&self) -> Option<(bool, bool)> {
        match self.status.as_str() {
            "identical" => Some((true, true)),
            "ahead" => Some((true, false)),
            "behind" => Some((false, true)),
            "diverged" => Some((false, false)),
            _ => None,
        }
    }
}

impl GitHub {
    /// The new commit, where it comes along with the comparison to the last one; what that tells is remembered.
    ///
    /// Asked from the new commit back: the answer holds its base whole, and after an update without a rewrite it
    /// holds no changes, for the last commit has none that the new one lacks.
    pub(super) fn compare(&self, new: CommitId, last: CommitId) -> Result<Option<Answer>, Error> {
        let reply = match self.ask(&self.comparison(new, last)) {
            Ok(reply) => reply,
            // It is a convenience: asking for the new commit alone tells what is wrong, if something is.
            Err(Error::ServerError { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let remember = |descends| {
            let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
            *compared = Some((new, last, descends));
        };
        match reply.status.as_u16() {
            200 => {}
            404 if is_gone(&reply) => {
                remember(false);
                return Ok(None);
            }
            _ => return Ok(None),
        }
        let comparison: Comparison = reply.json("comparison")?;
        let directions = comparison.directions();
        let answer = comparison.base_commit.map(Answer::from);
        let answer = answer.filter(|answer| answer.id() == new);
        if let (Some(_), Some((_, descends))) = (&answer, directions) {
            remember(descends);
        }
        Ok(answer)
    }

    pub(super) fn is_descendant(
        &self,
        new: &Commit,
        old: CommitId,
        store: &Store,
    ) -> Result<bool, Error> {
        let known = |id| store.commit(id).ok().flatten();
        if new.id == old || look(new, old, known) == Seen::Ancestor {
            return Ok(true);
        }
        let compared = *self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, descends)) =
            compared.filter(|(head, base, _)| (*head, *base) == (new.id, old))
        {
            return Ok(descends);
        }
        let reply = self.ask(&self.comparison(old, new.id))?;
        match reply.status.as_u16() {
            200 => {}
            404 if is_gone(&reply) => return Ok(false),
            _ => return Err(self.refusal(&reply)),
        }
        let comparison: Comparison = reply.json("comparison")?;
        match comparison.directions() {
            Some((descends, _)) => Ok(descends),
            None => Err(self.malformed(
                "comparison",
                format!("its status is `{}`", comparison.status),
            )),
        }
    }

    fn comparison(&self, base: CommitId, head: CommitId) -> Request {
        // Files come on the first page only, and none are wanted.
        self.get(&["compare", &format!("{base}...{head}")], JSON)
            .query("per_page=1&page=2")
    }
}

/// Whether the old commit is gone, so that nothing descends from it; that the new one is there was seen.
fn is_gone(reply: &Reply) -> bool {
    reply.media_type().contains("json")
}
