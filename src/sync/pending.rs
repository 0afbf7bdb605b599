//! The step from a plan to the target, of a sync, a rollback and a restore: what is pending is recorded before anything changes.

use super::inventory::UpdateContent;
use super::{Session, Step, SyncContext};
use crate::apply::{self, Applied};
use crate::rebuild;
use crate::state::FollowedRepo;

/// Stages an update, records the repository, marks a rebuild as pending, and passes the commit point.
pub(super) fn mark_pending_and_apply(
    context: &SyncContext<'_>,
    session: &Session,
    update: &apply::Update<'_>,
    blobs: &UpdateContent<'_>,
    repo: Option<FollowedRepo>,
) -> Result<Applied, apply::Error> {
    let (target, state) = (session.target(), session.state());
    let progress = |done, total| context.observer.progress(done, total);
    let prepared = apply::prepare(target, state, update, blobs, context.interrupt, &progress)?;
    if let Some(Err(error)) = repo.map(|repo| repo.keep(state)) {
        let error = error.into();
        prepared.discard(&error);
        return Err(error);
    }
    let before = update.before.map(|before| before.point.commit);
    // A system may contain the id of the commit, and another commit may have the same tree.
    let is_other_commit = before.is_some_and(|before| before != update.after.commit);
    let mut marked = None;
    if let Some(action) = context.settings.rebuild.action
        && (prepared.has_changes() || is_other_commit)
    {
        // Before the target changes: a crash in between may cause a needless rebuild, but never skips a needed one.
        match rebuild::mark_pending(state, Some(update.after.commit), action) {
            Ok(before) => marked = Some(before),
            Err(error) => {
                let error = error.into();
                prepared.discard(&error);
                return Err(error);
            }
        }
    }
    if prepared.has_changes() {
        context.observer.step(Step::Apply);
    }
    let applied = prepared.commit();
    // Stopped before the commit point, or stale.
    if let (Err(_), Some(before), Ok(false)) = (&applied, &marked, apply::is_active(state)) {
        // A mark that stays costs a rebuild that does nothing.
        let _ = rebuild::unmark_pending(state, before);
    }
    let applied = applied?;
    state.keep_for(&context.settings.target)?;
    Ok(applied)
}
