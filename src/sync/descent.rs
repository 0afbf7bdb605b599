//! Whether a branch may move to a commit: one that does not descend from the last takes commits back.

use jiff::SignedDuration;

use super::pipeline::SyncPipeline;
use crate::SyncError;
use crate::git::CommitId;
use crate::source::RefKind;
use crate::state::{self, SyncPoint};

/// The age of the last update up to which a branch has likely moved by one commit only.
const ONE_COMMIT: SignedDuration = SignedDuration::from_hours(1);

impl SyncPipeline<'_> {
    /// The commit that the new one must descend from, if that is required.
    ///
    /// It is not required after a change of the reference or the repository: switching from `main` to a feature branch
    /// is not a rewind.
    ///
    /// A work tree that is at a branch of this name was on the same line.
    pub(super) fn required_ancestor(&self, commit: CommitId) -> Option<CommitId> {
        let (last, same_line) = match (self.session.index(), self.base) {
            (Some(index), _) => {
                let last = &index.point;
                let same_repository =
                    { last.repository.as_ref() }.is_none_or(|last| *last == self.repository);
                let same_line = same_repository && last.reference == self.goal.reference;
                (last.commit, same_line)
            }
            (None, Some(base)) => {
                let same_line = base.branch.as_deref() == Some(self.goal.reference);
                (base.commit, same_line)
            }
            (None, None) => return None,
        };
        let is_asked = !self.options.allow_rewind && !self.context.settings.trust.rewind;
        let moves = self.goal.resolved.kind == RefKind::Branch && same_line && last != commit;
        (is_asked && moves).then_some(last)
    }

    /// Refuses a rewind, and to leave commits that only the work tree has.
    pub(super) fn check_descent(&self, descends: bool, point: &SyncPoint) -> Result<(), SyncError> {
        match (self.session.index(), self.base) {
            (Some(last), _) if !descends => Err(SyncError::Rewind {
                reference: point.reference.clone(),
                from: last.point.commit,
                to: point.commit,
            }),
            (None, Some(base)) if !descends => Err(SyncError::Unpushed {
                target: self.context.settings.target.clone(),
                reference: point.reference.clone(),
                head: base.commit,
            }),
            _ => Ok(()),
        }
    }

    /// Whether more than one commit is likely since the last update. A wrong guess costs less than a kilobyte, or a round
    /// trip.
    pub(super) fn expects_commits(&self) -> Result<bool, state::Error> {
        let last = self.last_state()?.map(|last| last.last_sync.timestamp);
        Ok(last.is_some_and(|last| state::now().duration_since(last) >= ONE_COMMIT))
    }
}
