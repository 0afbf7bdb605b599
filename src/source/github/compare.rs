//! Two commits compared: for one request a hint whether one descends from the other, and the new one itself.
//!
//! What the API says about two commits is believed only where it leads to a refusal. That a branch has moved forward is
//! proven from the commits between, as [`descent`](super::descent) does.

use std::sync::PoisonError;

use serde::Deserialize;

use super::commit::{CommitAnswer, Described};
use super::{Error, GitHub, JSON, Reply, Request};
use crate::git::CommitId;

/// An answer to `compare/{base}...{head}`. It is a convenience: one that lacks something is as good as none.
#[derive(Deserialize)]
struct Comparison {
    status: Option<String>,
    ahead_by: Option<u64>,
    behind_by: Option<u64>,
    base_commit: Option<Described>,
}

/// What the forge says about a new commit and an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// The new one descends from the old one, and has so many commits more, where that was said.
    Forward(Option<u64>),
    /// It does not.
    Elsewhere,
    /// Nothing that would be known.
    Nothing,
}

/// A hint, and the new and the old commit that it is about.
pub(super) type Compared = (CommitId, CommitId, Hint);

impl GitHub {
    /// The new commit, where it comes along with the comparison to the last one; what that hints at is remembered.
    ///
    /// Asked from the new commit back: the answer holds its base whole, and after an update without a rewrite it
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
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        *compared = Some((new, last, hint));
        Ok(answer)
    }

    /// What the forge says about two commits, remembered or asked for.
    pub(super) fn hint(&self, new: CommitId, old: CommitId) -> Result<Hint, Error> {
        let compared = *self.compared.lock().unwrap_or_else(PoisonError::into_inner);
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
