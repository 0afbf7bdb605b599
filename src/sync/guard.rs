//! What keeps a sync from a commit that its name refers to: a rollback from it, or a tag that was set anew.

use super::followed::{Followed, Name};
use super::pipeline::Goal;
use super::restore::Edits;
use super::{Hold, Options, Session, StateNote, SyncContext, SyncMode};
use crate::git::CommitId;
use crate::source::{RefKind, ResolvedRef, Source};

/// What is known of the name and of past rollbacks.
pub(super) struct Guard<'a> {
    context: &'a SyncContext<'a>,
    options: &'a Options,
    session: &'a Session,
    followed: Followed,
    hold: Option<Hold>,
}

/// Where a run may go.
pub(super) struct Admitted<'a> {
    pub(super) goal: Goal<'a>,
    pub(super) notes: Vec<StateNote>,
    pub(super) name: Name,
    pub(super) is_held: bool,
}

impl<'a> Guard<'a> {
    pub(super) fn load(
        context: &'a SyncContext<'a>,
        options: &'a Options,
        session: &'a Session,
    ) -> Result<Self, crate::Error> {
        Ok(Self {
            context,
            options,
            session,
            followed: Followed::load(session.state())?,
            hold: Hold::load(session.state())?,
        })
    }

    /// Whether the commit was rolled back from.
    pub(super) fn holds(&self, commit: CommitId) -> bool {
        let hold = self.hold.as_ref();
        !self.options.resume && hold.is_some_and(|hold| hold.commits.contains(&commit))
    }

    /// Where the run goes: to the commit that the name refers to, or, where that is held, to where the target is.
    pub(super) fn admit(
        &self,
        source: &dyn Source,
        resolved: ResolvedRef,
    ) -> Result<Admitted<'a>, crate::Error> {
        let settings = self.context.settings;
        let reference = &settings.reference;
        let mut notes = self.session.notes();
        let name = Name::new(reference, source.describe(), &resolved);
        if resolved.is_tag_too {
            notes.push(StateNote::BranchAndTag(reference.clone()));
        }
        let index = self.session.index();
        let is_held = self.holds(resolved.commit);
        let mut goal = Goal {
            resolved,
            reference,
            edits: Edits::default(),
        };
        // Without an index, back to where the rollback led.
        let here = index.map(|index| index.point.commit);
        let here = here.or(self.hold.as_ref().and_then(|hold| hold.at));
        if is_held && let Some(commit) = here {
            notes.push(StateNote::Held(goal.resolved.commit));
            goal.resolved = ResolvedRef {
                commit,
                kind: RefKind::Commit,
                is_tag_too: false,
            };
            // It stays where it is, which is not what was asked for.
            goal.reference = index.map_or(reference, |index| &index.point.reference);
        } else if !self.options.allow_rewind {
            self.followed.check(&name, &settings.trust)?;
        }
        Ok(Admitted {
            goal,
            notes,
            name,
            is_held,
        })
    }

    /// After a sync that took the commit: its name is known by it, and a hold that it has moved on from ends.
    pub(super) fn write(&self, name: Name, is_held: bool) -> Result<(), crate::Error> {
        if self.options.mode != SyncMode::Apply || is_held {
            return Ok(());
        }
        let reference = &self.context.settings.reference;
        let has_moved_on = |hold: &Hold| self.options.resume || hold.ends_with(reference);
        if self.hold.as_ref().is_some_and(has_moved_on) {
            Hold::replace(self.session.state(), None)?;
        }
        Ok(self.followed.clone().remember(self.session.state(), name)?)
    }
}
