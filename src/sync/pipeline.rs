//! From a commit id to the target.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use super::carry_out::carry_out;
use super::inventory::{Inventory, policy, survey};
use super::restore::Edits;
use super::stand_ins::Seen;
use super::{
    Context, Error, Mode, Note, OpenMode, Options, Outcome, Session, Step, modes, outcome, remember,
};
use crate::apply::{self, Applied, Point};
use crate::git::{Commit, CommitId, File, RelPath, Tree};
use crate::objects::Store;
use crate::plan::{self, Plan};
use crate::scan::{Local, Scanner};
use crate::signature::Signers;
use crate::source::{self, Depth, Obtained, RefKind, Resolved, Source, Staged, Terms};
use crate::state::{Index, SyncState};

/// How often a plan is made anew because the target changed under it.
const ATTEMPTS: u32 = 3;

/// How many commits the store keeps at least while it has room, and how many bytes that is (design §4).
const KEEP: (usize, u64) = (10, 1 << 30);

/// Bounds the store. What fails here is done by the next run.
fn tidy(store: &Store) {
    if let Err(error) = store.tidy(KEEP.0, KEEP.1) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the object store is tidied by the next run"
        );
    }
}

/// Where a run goes.
pub(super) struct Goal<'a> {
    pub(super) resolved: Resolved,
    /// The name that is remembered for it.
    pub(super) reference: &'a str,
    /// Edits that are put back on top of the commit, as edits.
    pub(super) edits: Edits,
}

/// A plan, what it was made from, and what became of it.
struct Planned {
    plan: Plan,
    local: BTreeMap<RelPath, Local>,
    applied: Option<Applied>,
    /// About what was written.
    notes: Vec<Note>,
}

/// From a commit id to the target.
pub(super) struct Pipeline<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) options: &'a Options,
    pub(super) session: &'a Session,
    pub(super) scanner: &'a Scanner<'a>,
    pub(super) source: &'a dyn Source,
    pub(super) goal: Goal<'a>,
    pub(super) notes: Vec<Note>,
    pub(super) begun: Instant,
}

impl Pipeline<'_> {
    pub(super) fn run(&self) -> Result<Outcome, crate::Error> {
        let (settings, mode) = (self.context.settings, self.options.mode);
        let policy = policy(settings, self.options.mass_delete);
        let depth = if mode == Mode::Check {
            Depth::Listing
        } else {
            Depth::Content
        };
        let need = Inventory::new(self.session, self.scanner, &policy, depth);
        let managed = |tree: &Tree| need.managed(tree);
        let signers = settings.trust.signers.as_deref();
        let signers =
            signers.map(|path| Signers::load(path, self.context.env, self.context.interrupt));
        let signers = signers.transpose()?;
        let terms = Terms {
            limits: settings.limits,
            symlinks: settings.trust.symlinks,
            signers: signers.as_ref(),
            ignores_case: self.session.target().ignores_case()?,
            managed: &managed,
        };
        self.context.observer.step(Step::Obtain);
        let store = self.session.store();
        let obtained =
            (self.source).obtain(self.goal.resolved.commit, self.last(), store, &need)?;
        let (staged, planned) = self.prove_and_apply(obtained, &need, &terms)?;
        let modes = self.close_modes(&planned);
        let outcome = self.outcome(&staged, planned, modes)?;
        if mode == Mode::Apply {
            remember::remember(self.context, self.session, &outcome)?;
        }
        // A check brings listings too.
        tidy(store);
        Ok(outcome)
    }

    /// The commit that was applied last.
    fn last(&self) -> Option<CommitId> {
        self.session.index().map(|index| index.commit)
    }

    fn prove_and_apply(
        &self,
        obtained: Obtained,
        need: &Inventory<'_>,
        terms: &Terms<'_>,
    ) -> Result<(Staged<'_>, Planned), crate::Error> {
        let (source, store) = (self.source, self.session.store());
        let commit = obtained.commit.commit().clone();
        thread::scope(|scope| {
            // It may cost a request, which need not be waited for before there is something to be written.
            let descent = self.moves_on(&commit).map(|last| {
                let commit = &commit;
                scope.spawn(move || source.descends(commit, last, store))
            });
            let remote = source.describe();
            let staged = source::prove(store, obtained, need.depth, need, terms, &remote)?;
            let descent = || match descent {
                Some(descent) => self.check_descent(descent, &commit),
                None => Ok(()),
            };
            let planned = self.plan_and_apply(need.policy, &staged, descent)?;
            Ok((staged, planned))
        })
    }

    /// Sets modes back that are none of ours, or tells which they are.
    fn close_modes(&self, planned: &Planned) -> Vec<OpenMode> {
        let found = modes::find(&planned.plan, &planned.local);
        match self.options.mode {
            Mode::Apply => modes::close(self.session.target(), found),
            Mode::DryRun | Mode::Check => found.into_iter().map(|(open, _)| open).collect(),
        }
    }

    fn outcome(
        &self,
        staged: &Staged<'_>,
        planned: Planned,
        modes: Vec<OpenMode>,
    ) -> Result<Outcome, crate::Error> {
        let Planned {
            plan,
            local,
            applied,
            notes,
        } = planned;
        // Without an index nothing is known to be as before.
        let last = match self.session.index() {
            Some(_) => SyncState::load(self.session.state())?,
            None => None,
        };
        let read_from = self.source.moved_to();
        let moved = read_from.clone().map(Note::Moved);
        let (notices, known_notices) = outcome::part(staged.notices(), last.as_ref());
        Ok(Outcome {
            mode: self.options.mode,
            repository: self.source.describe(),
            reference: self.goal.reference.to_owned(),
            kind: self.goal.resolved.kind,
            before: self.last(),
            commit: staged.commit().clone(),
            proven: staged.is_proven(),
            signer: staged.signer().cloned(),
            applied,
            recovered: self.session.recovered().cloned(),
            notices,
            known_notices,
            route: staged.route(),
            fallbacks: staged.fallbacks().to_vec(),
            downloaded: staged.downloaded(),
            traffic: self.source.traffic(),
            duration: self.begun.elapsed(),
            tree_size: outcome::tree_size(&local, &plan, staged),
            modes,
            notes: self
                .notes
                .iter()
                .cloned()
                .chain(notes)
                .chain(moved)
                .collect(),
            read_from,
            plan,
        })
    }

    /// `allowed` tells whether the commit may be applied, and is waited for before anything is written.
    fn plan_and_apply(
        &self,
        policy: &plan::Policy,
        staged: &Staged<'_>,
        allowed: impl FnOnce() -> Result<(), crate::Error>,
    ) -> Result<Planned, crate::Error> {
        let base = self.session.index().map(Index::base).unwrap_or_default();
        let mut attempt = 1;
        let mut planned = self.plan(&base, policy, staged);
        let seen = Seen::new(staged);
        allowed()?;
        loop {
            let (plan, local) = planned?;
            if self.options.mode != Mode::Apply {
                return Ok(Planned {
                    plan,
                    local,
                    applied: None,
                    notes: Vec::new(),
                });
            }
            self.context.observer.step(Step::Apply);
            let looked_at = self.scanner.since();
            // The plan has it all, and of a large tree it is much.
            self.scanner.forget();
            let update = apply::Update {
                plan: &plan,
                local: &local,
                looked_at,
                before: self.session.index(),
                after: Point {
                    commit: staged.commit().id,
                    tree: staged.commit().tree,
                    reference: self.goal.reference.to_owned(),
                    repository: Some(self.source.describe()),
                },
            };
            match carry_out(
                self.context,
                self.session,
                &update,
                &self.goal.edits.contents,
                &seen,
            ) {
                Ok(applied) => {
                    let notes = seen.notes(&plan);
                    return Ok(Planned {
                        plan,
                        local,
                        applied: Some(applied),
                        notes,
                    });
                }
                Err(apply::Error::Stale { .. }) if attempt < ATTEMPTS => {
                    attempt += 1;
                    self.scanner.forget();
                    planned = self.plan(&base, policy, staged);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn plan(
        &self,
        base: &BTreeMap<RelPath, File>,
        policy: &plan::Policy,
        staged: &Staged<'_>,
    ) -> Result<(Plan, BTreeMap<RelPath, Local>), crate::Error> {
        self.context.observer.step(Step::Compare);
        let local = survey(self.session, self.scanner, staged)?;
        plan::check_required(staged.files(), policy, &|path| staged.leads_to_file(path))?;
        let mut plan = plan::plan(base, &local, staged.files(), policy)?;
        plan.put_back(&self.goal.edits.files, base, &local);
        Ok((plan, local))
    }

    /// The commit that the branch moves on from, if it must be a descendant of that.
    ///
    /// Another name or repository than last time starts a line of its own: going from `main` to a feature branch is no
    /// rewind.
    fn moves_on(&self, commit: &Commit) -> Option<CommitId> {
        let last = self.session.index()?;
        let repository = last.repository.as_ref();
        let same_line = last.reference == self.goal.reference
            && repository.is_none_or(|known| *known == self.source.describe());
        let is_asked = !self.options.allow_rewind && !self.context.settings.trust.rewind;
        let moves =
            self.goal.resolved.kind == RefKind::Branch && same_line && last.commit != commit.id;
        (is_asked && moves).then_some(last.commit)
    }

    /// A branch only moves forward, or somebody has to say that it may not.
    fn check_descent(
        &self,
        answer: thread::ScopedJoinHandle<'_, Result<bool, source::Error>>,
        commit: &Commit,
    ) -> Result<(), crate::Error> {
        let descends = answer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        match self.session.index() {
            Some(last) if !descends => Err(Error::Rewind {
                reference: self.goal.reference.to_owned(),
                from: last.commit,
                to: commit.id,
            }
            .into()),
            _ => Ok(()),
        }
    }
}
