//! The change of the target, and what has to be on disk before it.

use std::collections::BTreeMap;

use super::{Context, Session};
use crate::apply::{self, Applied, Content, ContentError};
use crate::git::{BlobId, CommitId};
use crate::rebuild;
use crate::settings::Action;

/// Carries out an update. Content comes from `put_back`, and from `others` where it is not there.
pub(super) fn carry_out(
    context: &Context<'_>,
    session: &Session,
    update: &apply::Update<'_>,
    put_back: &BTreeMap<BlobId, Vec<u8>>,
    others: &dyn Content,
) -> Result<Applied, apply::Error> {
    let progress = |done, total| context.observer.progress(done, total);
    let contents = Contents {
        put_back,
        others,
        session,
        commit: update.after.commit,
        action: context.settings.rebuild.action,
    };
    let applied = apply::apply(
        session.target(),
        session.state(),
        update,
        &contents,
        context.interrupt,
        &progress,
    )?;
    session.state().keep_for(&context.settings.target)?;
    Ok(applied)
}

/// Content of edits that are put back, and of everything else.
struct Contents<'a> {
    put_back: &'a BTreeMap<BlobId, Vec<u8>>,
    others: &'a dyn Content,
    session: &'a Session,
    commit: CommitId,
    action: Action,
}

impl Content for Contents<'_> {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
        match self.put_back.get(&id) {
            Some(content) => Ok(content.clone()),
            None => self.others.blob(id),
        }
    }

    fn size(&self, id: BlobId) -> Result<u64, ContentError> {
        match self.put_back.get(&id) {
            Some(content) => Ok(content.len() as u64),
            None => self.others.size(id),
        }
    }

    fn settle(&self) -> Result<(), apply::Error> {
        // Before the tree changes: a crash in between costs a rebuild that was not needed, never one that was.
        rebuild::mark_pending(self.session.state(), Some(self.commit), self.action)?;
        Ok(self.session.store().settle()?)
    }
}
