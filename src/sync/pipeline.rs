//! The sync, from a reference to the target: first the sequence of its steps, then the steps.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::adoption::{self, FirstBase};
use super::guard::{self, Guard};
use super::inventory::{Inventory, UpdateContent, never_ours, policy, survey};
use super::merge::{Bases, Merger};
use super::pending::mark_pending_and_apply;
use super::restore::Edits;
use super::stand_ins::ObservedContent;
use super::{
    OpenMode, Options, Outcome, Passage, Session, StateNote, Step, SyncContext, SyncMode, modes,
    outcome, settled,
};
use crate::SyncError;
use crate::apply::{self, Applied, Content};
use crate::git::{BlobId, CommitId, File, KnownTree, RelPath, Tree};
use crate::objects::Store;
use crate::plan::{self, Attempt, Details, EditedFile, Plan, Policy};
use crate::rebuild::{self, Machine, PlannedUpdate, RebuildRequest, Repeat};
use crate::scan::{Locals, Scanner};
use crate::settings::{Action, Gate, Repo, Settings};
use crate::signature::Signers;
use crate::source::{
    self, Depth, Opening, RefKind, ResolvedRef, Source, Staged, VerificationPolicy,
};
use crate::state::{self, FollowedRepo, Kept, SyncPoint, SyncState};
use crate::threads;

/// How many plans are made at most, if the target changes between scan and apply.
const ATTEMPTS: u32 = 3;

/// How many commits the store keeps while they fit in its size limit, and that limit in bytes
/// (docs/architecture.md, State directory).
const KEEP: (usize, u64) = (10, 1 << 30);

/// Runs one sync: resolve, hold; then [`SyncPipeline::run`].
pub fn run(context: &SyncContext<'_>, options: &Options) -> Result<Outcome, crate::Error> {
    let begun = Instant::now();
    let repo = context.settings.repository()?;
    let session = Session::open(context, options.wait)?;
    if options.mode == SyncMode::Apply {
        refuse_on_trial(&session)?;
    }
    guard::refuse_nested(&session, context.settings, context.env)?;
    if !options.allow_other_repo {
        guard::refuse_other_repo(&session, repo, context.settings)?;
    }

    // Resolve. The local work below runs while the server responds.
    context.observer.step(Step::Resolve);
    let settings = context.settings;
    let opening = Opening {
        env: context.env,
        interrupt: context.interrupt,
        state: Some(session.state()),
        // From the store, because the index is not read yet; usually both have the same commit.
        known: session.store().commits().last().copied(),
        meter: context.observer.meter(),
        force_full: options.force_full,
    };
    thread::scope(|network| {
        let answer = network.spawn(|| open_and_resolve(repo, settings, &opening));
        let early = session.scanner(options.skip_validation);
        thread::scope(|disk| {
            let (files, blocks) = mpsc::channel();
            let ahead = early.look_ahead(disk, blocks);
            session.load(Some(&files))?;
            drop(files);
            // What a damaged index says of its files is not used.
            let ahead = session.index().map(|_| ahead);
            let scanner = session.scanner(options.skip_validation).after(ahead);
            let answer = threads::join(answer);
            let (source, resolved) = answer.map_err(|error| with_known(error, session.store()))?;
            let (source, commit, kind) = (source.as_ref(), resolved.commit, resolved.kind);
            context.observer.resolved(commit);

            let guard = Guard::load(context, options, &session)?;
            let (base, base_note) = FirstBase::find(context, options, &session, &scanner, source)?;
            let bring = |resolved: ResolvedRef| {
                // Hold.
                let admitted = guard.admit(source, resolved)?;
                let pipeline = SyncPipeline {
                    context,
                    options,
                    session: &session,
                    scanner: &scanner,
                    remote: Some(source),
                    repository: source.describe(),
                    goal: admitted.goal,
                    base: base.as_ref(),
                    notes: { admitted.notes.into_iter() }
                        .chain(base_note.clone())
                        .collect(),
                    begun,
                };
                let outcome = pipeline.run()?;
                guard.write(admitted.name, admitted.is_held)?;
                Ok(outcome)
            };
            let outcome = match bring(resolved) {
                // The commit disappeared between two requests because the branch moved: resolve once more.
                Err(crate::Error::Source(source::Error::UnknownCommit { .. }))
                    if kind != RefKind::Commit && !guard.holds(commit) =>
                {
                    let resolved = source.resolve(&settings.reference);
                    let resolved = resolved.inspect_err(|_| source.forget())?;
                    context.observer.resolved(resolved.commit);
                    bring(resolved)
                }
                outcome => outcome,
            };
            // After any error, the next run uses the configured address.
            outcome.inspect_err(|_| source.forget())
        })
    })
}

/// Refuses to change the target while a system is on trial after its run died: reverting it needs the target unchanged.
fn refuse_on_trial(session: &Session) -> Result<(), crate::Error> {
    match rebuild::Trial::load(session.state())? {
        Some(trial) if trial.is_open(&Machine::here()) => Err(SyncError::OnTrial {
            commit: trial.commit,
            until: trial.until,
        }
        .into()),
        _ => Ok(()),
    }
}

/// The input of a sync whose commit is known; a rollback starts here.
pub(super) struct SyncPipeline<'a> {
    pub(super) context: &'a SyncContext<'a>,
    pub(super) options: &'a Options,
    pub(super) session: &'a Session,
    pub(super) scanner: &'a Scanner<'a>,
    /// The source of the objects; `None` if the commit is in the store.
    pub(super) remote: Option<&'a dyn Source>,
    /// The address of the repository, without credentials.
    pub(super) repository: String,
    pub(super) goal: Goal<'a>,
    /// What the target had before its first sync.
    pub(super) base: Option<&'a FirstBase>,
    pub(super) notes: Vec<StateNote>,
    pub(super) begun: Instant,
}

impl SyncPipeline<'_> {
    /// Obtain, prove, scan, plan, gate, mark pending, apply, write state.
    pub(super) fn run(&self) -> Result<Outcome, crate::Error> {
        let (settings, mode) = (self.context.settings, self.options.mode);
        let store = self.session.store();
        let policy = policy(settings, self.options.mass_delete);
        let depth = match mode {
            SyncMode::Check => Depth::Listing,
            SyncMode::Apply | SyncMode::DryRun => Depth::Content,
        };
        let need = Inventory::new(self.scanner, &policy, depth).knowing(self.known_tree());
        let managed = |tree: &Tree| need.managed(tree);
        let signers = self.signers()?;
        let terms = VerificationPolicy {
            limits: settings.limits,
            symlinks: settings.trust.symlinks,
            signers: signers.as_ref(),
            ignores_case: self.session.target().ignores_case()?,
            managed: &managed,
        };

        if let Some(outcome) = settled::outcome(self, &policy, &terms)? {
            return Ok(outcome);
        }

        // Obtain.
        let wanted = self.goal.resolved.commit;
        let is_here = store.is_complete(wanted) && !self.options.force_full;
        self.context
            .observer
            .step(if self.remote.is_none() || is_here {
                Step::Prove
            } else {
                Step::Obtain
            });
        if let Some((remote, last)) = self.remote.zip(self.required_ancestor(wanted))
            && self.expects_commits()?
        {
            remote.expect_commits_since(last);
        }
        let obtained = match self.remote {
            Some(remote) => remote.obtain(wanted, self.last(), store, &need)?,
            None => source::stored(wanted, store)?,
        };

        let commit = obtained.commit.commit().clone();
        let point = SyncPoint {
            commit: commit.id,
            tree: commit.tree,
            reference: self.goal.reference.to_owned(),
            repository: Some(self.repository.clone()),
        };
        thread::scope(|scope| {
            // In parallel, because it may cost a request, and its result is needed only before the target is written.
            let descent = self.remote.zip(self.required_ancestor(point.commit));
            let descent = descent.map(|(remote, last)| {
                let commit = &commit;
                scope.spawn(move || remote.descends(commit, last, store))
            });

            // Prove.
            let staged = source::prove(store, obtained, depth, &need, &terms, &self.repository)?;

            // Scan and plan.
            let planned = self.scan_and_plan(&policy, &staged);
            if let Some(descent) = descent {
                self.check_descent(threads::join(descent)?, &point)?;
            }
            let mut planned = planned?;

            // Gate, mark pending and apply.
            let mut applied = None;
            if mode == SyncMode::Apply {
                let seen = ObservedContent::new(&staged);
                let mut attempt = 1;
                let done = loop {
                    let content = UpdateContent {
                        made: [&self.goal.edits.contents, &planned.merged],
                        others: &seen,
                        store,
                    };
                    self.gate(&planned.plan, &staged, &content)?;
                    match self.mark_pending_and_apply(&planned, &point, &staged, &content) {
                        Err(apply::Error::Stale { .. }) if attempt < ATTEMPTS => {
                            attempt += 1;
                            self.scanner.forget();
                            planned = self.scan_and_plan(&policy, &staged)?;
                        }
                        done => break done?,
                    }
                };
                applied = Some((done, seen.notes(&planned.plan)));
            }

            // Write state.
            let modes = self.close_modes(&planned);
            let mut outcome = self.outcome(&staged, point, planned, applied, modes)?;
            if mode == SyncMode::Apply {
                self.bases().keep(outcome.plan.kept())?;
                outcome::write_state(self.context, self.session, &outcome)?;
                settled::remember(self, &outcome, &policy, &terms)?;
            }
            let notes = adoption::finish(self, &staged, &outcome)?;
            outcome.notes.extend(notes);
            // Also after a check, which adds trees to the store.
            let bases = outcome.plan.kept().iter().filter_map(|kept| kept.base);
            repack(store, &bases.map(|base| base.id).collect::<Vec<_>>());
            Ok(outcome)
        })
    }

    fn scan_and_plan(&self, policy: &Policy, staged: &Staged<'_>) -> Result<Planned, crate::Error> {
        self.context.observer.step(Step::Compare);
        let base = match (self.session.index(), self.base) {
            (Some(index), _) => Cow::Borrowed(&*index.files),
            (None, Some(first)) => Cow::Borrowed(&*first.files),
            (None, None) => Cow::default(),
        };
        let local = survey(self.scanner, &base, staged)?;
        plan::check_required(staged.files(), policy, &|path| staged.leads_to_file(path))?;
        let files = staged.files();
        let kept = self.last_state()?.map(|last| last.kept);
        let kept = kept.unwrap_or_default();
        let withheld = Kept::withheld(&kept);
        let merging = Merger {
            bases: self.bases(),
            scanner: self.scanner,
            staged,
            depth: match self.options.mode {
                SyncMode::Check => Depth::Listing,
                SyncMode::Apply | SyncMode::DryRun => Depth::Content,
            },
            contents: RefCell::default(),
        };
        let merge = |edit: EditedFile<'_>| merging.merge(edit);
        let written = self.goal.edits.written_over(&base, &local);
        let plan_with = |left: &BTreeMap<RelPath, File>| {
            let details = Details {
                left,
                withheld: &withheld,
                merge: &merge,
            };
            plan::plan_with(&written, &local, files, &details, policy)
        };
        let mut plan = plan_with(&BTreeMap::new())?;
        if !plan.conflicts().is_empty() {
            // Only now, because it reads the last commit's trees.
            plan = plan_with(&never_ours(self.session, self.context.settings))?;
        }
        if let (SyncMode::Apply, Some(refused)) = (self.options.mode, self.refusal(&plan)) {
            return Err(refused.into());
        }
        plan.put_back(&self.goal.edits.files, &base, &written, &local);
        let merged = merging.contents.into_inner();
        Ok(Planned {
            plan,
            local,
            merged,
        })
    }

    /// Where the files are that were edited.
    fn bases(&self) -> Bases<'_> {
        Bases {
            store: self.session.store(),
            first: self.base,
        }
    }

    /// The conflicts of a plan as an error; `None` without any.
    fn refusal(&self, plan: &Plan) -> Option<plan::Error> {
        let conflicts = plan.conflicts().to_vec();
        (!conflicts.is_empty()).then(|| plan::Error::Conflicts {
            conflicts,
            attempt: Attempt {
                command: self.options.command.clone(),
                back_to: self.remote.is_none().then_some(self.goal.resolved.commit),
            },
        })
    }

    /// Builds the system of the commit, if the settings require that. A rollback is not gated, because the user wants
    /// to leave a commit that does not work.
    fn gate(
        &self,
        plan: &Plan,
        staged: &Staged<'_>,
        content: &dyn Content,
    ) -> Result<(), crate::Error> {
        let (settings, session) = (self.context.settings, self.session);
        let is_rollback = self.remote.is_none();
        if settings.rebuild.gate == Gate::Off || is_rollback {
            return Ok(());
        }
        if plan.operations().is_empty() {
            return Ok(rebuild::pass_gate(session.state())?);
        }
        self.context.observer.step(Step::Build);
        let request = RebuildRequest {
            settings: &settings.rebuild,
            action: Action::Build,
            target: &settings.target,
            state: session.state(),
            state_file: None,
            commit: self.last(),
            verbose: false,
            exclude: &settings.exclude,
            timer: None,
            repeat: Repeat::IfNeeded,
            reboots: false,
            retry: self.options.retry,
            now: state::now(),
            confirmation: None,
        };
        let update = PlannedUpdate {
            plan,
            content,
            commit: staged.commit(),
            is_proven: staged.is_proven(),
        };
        let (env, runner) = (self.context.env, self.context.runner);
        Ok(rebuild::gate(
            &request,
            &update,
            &Machine::here(),
            env,
            runner,
        )?)
    }

    fn mark_pending_and_apply(
        &self,
        planned: &Planned,
        point: &SyncPoint,
        staged: &Staged<'_>,
        content: &UpdateContent<'_>,
    ) -> Result<Applied, apply::Error> {
        if !planned.plan.operations().is_empty() {
            self.context.observer.step(Step::Prepare);
        }
        let looked_at = (!self.options.skip_validation).then(|| self.scanner.since());
        // Frees memory: the plan has everything that is needed from here on.
        self.scanner.forget();
        let update = apply::Update {
            plan: &planned.plan,
            local: &planned.local,
            looked_at,
            before: self.session.index(),
            after: point.clone(),
            directories: staged.tree().directories_as_in(planned.plan.index()),
            // Only a rollback reaches no repository.
            rolls_back: self.remote.is_none(),
        };
        let repo = self.followed_repo();
        mark_pending_and_apply(self.context, self.session, &update, content, repo)
    }

    /// The repository that the target follows from now on; `None` leaves the one that it has.
    pub(super) fn followed_repo(&self) -> Option<FollowedRepo> {
        let settings = self.context.settings;
        let (remote, repo) = self.remote.zip(settings.repo.as_ref())?;
        let moved = remote.moved_to();
        let moved = moved.map(|moved| moved.repo.unwrap_or(moved.read_from));
        Some(FollowedRepo::new(repo, settings.api_url.as_deref(), moved))
    }

    fn signers(&self) -> Result<Option<Signers>, crate::Error> {
        let path = self.context.settings.trust.signers.as_deref();
        let load = |path| Signers::load(path, self.context.env, self.context.interrupt);
        Ok(path.map(load).transpose()?)
    }

    /// The commit that was applied last.
    fn last(&self) -> Option<CommitId> {
        self.session.index().map(|index| index.point.commit)
    }

    /// What the index has of another commit's tree. A commit that is here already is read whole: that shows whether the store
    /// still has it.
    pub(super) fn known_tree(&self) -> Option<KnownTree<'_>> {
        let (session, wanted) = (self.session, self.goal.resolved.commit);
        let index = session.index()?;
        let last = index.point.commit;
        let is_known =
            last != wanted && session.store().is_complete(last) && !self.options.force_full;
        is_known.then(|| index.known_tree())
    }

    /// How the last sync went; `None` without an index.
    pub(super) fn last_state(&self) -> Result<Option<SyncState>, state::Error> {
        match self.session.index() {
            Some(_) => SyncState::load(self.session.state()),
            None => Ok(None),
        }
    }

    /// Resets modes that no sync writes or, without `Apply`, lists them.
    fn close_modes(&self, planned: &Planned) -> Vec<OpenMode> {
        let found = modes::find(&planned.plan, &planned.local);
        match self.options.mode {
            SyncMode::Apply => modes::close(self.session.target(), found),
            SyncMode::DryRun | SyncMode::Check => found.into_iter().map(|(open, _)| open).collect(),
        }
    }

    fn outcome(
        &self,
        staged: &Staged<'_>,
        point: SyncPoint,
        planned: Planned,
        applied: Option<(Applied, Vec<StateNote>)>,
        modes: Vec<OpenMode>,
    ) -> Result<Outcome, crate::Error> {
        let Planned {
            plan,
            local,
            merged,
        } = planned;
        let (applied, written) = applied.unzip();
        // Without an index, no notice counts as already reported.
        let last = self.last_state()?;
        let moved = self.remote.and_then(Source::moved_to);
        let read_from = moved.as_ref().map(|moved| moved.read_from.clone());
        let before = self.last().or(self.base.map(|base| base.commit));
        let (notices, known_notices) = outcome::part(staged.notices(), last.as_ref());
        Ok(Outcome {
            mode: self.options.mode,
            point,
            kind: self.goal.resolved.kind,
            before,
            commit: staged.commit().clone(),
            passage: Passage::find(
                before,
                staged.commit(),
                self.remote.map(Source::commits_read).unwrap_or_default(),
                self.session.store(),
            )
            // A rollback may go both ways.
            .filter(|passage| self.remote.is_some() || passage.is_whole()),
            proven: staged.is_proven(),
            signer: staged.signer().cloned(),
            applied,
            excluded: (staged.tree().files().len() - staged.files().len()) as u64,
            recovered: self.session.recovered().cloned(),
            notices,
            known_notices,
            route: staged.route(),
            fallbacks: staged.fallbacks().to_vec(),
            downloaded: staged.downloaded(),
            traffic: self.remote.map(Source::traffic).unwrap_or_default(),
            duration: self.begun.elapsed(),
            tree_size: outcome::tree_size(&local, &plan, &merged, staged),
            modes,
            notes: self
                .notes
                .iter()
                .cloned()
                .chain(written.into_iter().flatten())
                .chain(moved.map(StateNote::Moved))
                .collect(),
            read_from,
            refused: self.refusal(&plan),
            plan,
            merged,
        })
    }
}

/// Opens the source and resolves the configured reference.
pub(super) fn open_and_resolve(
    repo: &Repo,
    settings: &Settings,
    opening: &Opening<'_>,
) -> Result<(Box<dyn Source>, ResolvedRef), crate::Error> {
    let source = source::open(repo, settings, opening)?;
    let resolved = source.resolve(&settings.reference);
    let resolved = resolved.inspect_err(|_| source.forget())?;
    Ok((source, resolved))
}

/// An error about a name that is the beginning of the id of a commit that is here gives the whole id.
fn with_known(error: crate::Error, store: &Store) -> crate::Error {
    match error {
        crate::Error::Source(error) => error.with_known(&store.commits()).into(),
        error => error,
    }
}

/// Repacks the store to limit its size; the files that were edited stay. After a failure, the next run does it.
fn repack(store: &Store, edited: &[BlobId]) {
    if let Err(error) = store.repack(KEEP.0, KEEP.1, edited) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the object store is tidied by the next run"
        );
    }
}

/// The commit that a run is to apply.
pub(super) struct Goal<'a> {
    pub(super) resolved: ResolvedRef,
    /// The reference that is recorded for it.
    pub(super) reference: &'a str,
    /// Local edits that are put back on top of the commit.
    pub(super) edits: Edits,
}

/// A plan, and the scan that it was made from.
struct Planned {
    plan: Plan,
    local: Locals,
    /// The contents of merged edits.
    merged: BTreeMap<BlobId, Vec<u8>>,
}
