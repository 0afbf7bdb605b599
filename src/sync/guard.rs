//! Refuses another repository than the target follows, a commit that a rollback has left, a tag that was moved, and a
//! name that changed its kind.
//!
//! A branch moves, and its commits prove that it moves forward. A tag has no such proof: a tag that was moved, or a
//! branch that took a tag's name, would bring other files under a name that was reviewed.
//!
//! A tag is pinned to its commit, not to the tag object: an annotated tag that was recreated on the same commit brings
//! the same files, signatures are checked on commits, and by the API the object would cost a request in each run.
//!
//! The file `followed` is separate from the index because a rollback changes the index, but not the record of a tag.

use serde::{Deserialize, Serialize};

use super::pipeline::Goal;
use super::restore::Edits;
use super::{Hold, Options, Session, StateNote, SyncContext, SyncMode};
use crate::SyncError;
use crate::git::{CommitId, RelPath};
use crate::settings::{Env, Repo, Settings, Trust, known_targets};
use crate::source::{RefKind, ResolvedRef, Source};
use crate::state::sealed::{self, Found, SealedFormat};
use crate::state::{self, FollowedRepo, Index, StateDir, StateRecords};

/// Refuses a repository that is not the one that the target follows.
///
/// Another project's files would replace the target without any of the other guards: its branch is not the same line of
/// commits.
pub(super) fn refuse_other_repo(
    session: &Session,
    repo: &Repo,
    settings: &Settings,
) -> Result<(), crate::Error> {
    match FollowedRepo::load(session.state())? {
        Some(known) if !known.is(repo, settings.api_url.as_deref()) => Err(SyncError::OtherRepo {
            target: settings.target.clone(),
            followed: known.to_string(),
            given: repo.to_string(),
        }
        .into()),
        _ => Ok(()),
    }
}

/// Refuses a target that was not synced yet and is in another one that manages files there.
pub(super) fn refuse_nested(
    session: &Session,
    settings: &Settings,
    env: &Env,
) -> Result<(), crate::Error> {
    let target = &settings.target;
    if session.state().target()?.is_some() {
        return Ok(());
    }
    for known in known_targets(env, &StateRecords) {
        let outer = known.record.target;
        let below = target.strip_prefix(&outer).ok();
        let below = below.and_then(|below| RelPath::new(below.as_os_str().as_encoded_bytes()).ok());
        let (Some(below), Ok(Some(state))) = (below, StateDir::find(&known.state_dir, &outer))
        else {
            continue;
        };
        let index = Index::load(&state)?.whole();
        let manages = |index: Index| index.files.keys().any(|path| path.starts_with(&below));
        if index.is_some_and(manages) {
            return Err(SyncError::NestedTarget {
                target: target.clone(),
                outer,
            }
            .into());
        }
    }
    Ok(())
}

/// The branches, tags and commits that were requested, as they were written.
pub fn followed_names(state: &StateDir) -> Result<Vec<String>, state::Error> {
    let followed = Followed::load(state)?;
    Ok(followed
        .names
        .into_iter()
        .map(|name| name.reference)
        .collect())
}

/// The names that were followed, and the hold of a rollback.
pub(super) struct Guard<'a> {
    context: &'a SyncContext<'a>,
    options: &'a Options,
    session: &'a Session,
    followed: Followed,
    hold: Option<Hold>,
}

/// The commit that a run may apply.
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

    /// The commit to apply: the one that the name refers to or, if that is held, the one that the target is at.
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
        // Without an index, the commit that the rollback led to.
        let here = index.map(|index| index.point.commit);
        let here = here.or(self.hold.as_ref().and_then(|hold| hold.at));
        if is_held && let Some(commit) = here {
            notes.push(StateNote::Held(goal.resolved.commit));
            goal.resolved = ResolvedRef {
                commit,
                kind: RefKind::Commit,
                is_tag_too: false,
            };
            // The target stays at its commit, whose reference may not be the requested one.
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

    /// After a commit was applied: records what its name refers to, and ends a hold that the branch has left behind.
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

const NAME: &str = "followed";
const FORMAT: SealedFormat = SealedFormat {
    kind: "followed",
    version: 1,
};

/// How many names are kept; the one that was requested least recently goes first.
const NAMES_MAX: usize = 100;

/// What each name referred to, the most recently requested last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Followed {
    names: Vec<Name>,
}

/// A branch, tag or id of a repository, and what it referred to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Name {
    /// As it was requested.
    reference: String,
    /// The repository, without credentials.
    repository: String,
    /// How the name was understood.
    kind: RefKind,
    /// The commit of a tag. That of a branch is in the index, and is not written again at each update.
    tag: Option<CommitId>,
}

impl Name {
    /// What a name refers to.
    fn new(reference: &str, repository: String, resolved: &ResolvedRef) -> Self {
        Self {
            reference: reference.to_owned(),
            repository,
            kind: resolved.kind,
            tag: (resolved.kind == RefKind::Tag).then_some(resolved.commit),
        }
    }

    /// Whether both are the same tag, which may also be requested by its full name.
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
    /// Reads the file. A damaged one counts as absent: each name is then followed as if for the first time.
    fn load(state: &StateDir) -> Result<Self, state::Error> {
        Ok(match sealed::read(state.directory(), NAME, FORMAT)? {
            Found::Whole(followed) => followed,
            Found::Absent => Self::default(),
            Found::Damaged(damage) => {
                tracing::warn!(%damage, "which commits the followed tags were is not known any more");
                Self::default()
            }
        })
    }

    /// Records what a name refers to, durable when this returns, unless it is recorded already.
    fn remember(mut self, state: &StateDir, now: Name) -> Result<(), state::Error> {
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

    /// An error if a name changed its kind, or if it is a tag of another commit now.
    fn check(&self, now: &Name, trust: &Trust) -> Result<(), SyncError> {
        let names = self.names.iter();
        for known in names.filter(|known| known.repository == now.repository) {
            let reference = || now.reference.clone();
            if known.reference == now.reference && known.kind != now.kind {
                return Err(SyncError::RefKind {
                    reference: reference(),
                    was: known.kind,
                    is: now.kind,
                });
            }
            match (known.tag, now.tag) {
                (Some(from), Some(to))
                    if known.is_same_tag(now) && from != to && !trust.moving_tags =>
                {
                    return Err(SyncError::MovedTag {
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
