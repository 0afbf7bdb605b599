//! One sync: recover, resolve, obtain, look, plan, apply, remember.
//!
//! The order is the one promise of this file: nothing is written into the target before every needed object is proven
//! and durable here, and what is written is planned against what was there a moment before. Planning is repeated
//! where the target changes under it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::apply::{self, Applied, Content, Point};
use crate::git::{BlobId, Commit, CommitId, File, RelPath, Tree};
use crate::objects::Store;
use crate::plan::{self, MassDelete, Plan};
use crate::rebuild;
use crate::scan::{Local, Scanner};
use crate::settings::{Env, Settings};
use crate::signature::Signers;
use crate::source::{self, Depth, Interrupt, Opening, RefKind, Resolved, Source, Staged, Terms};
use crate::state::Index;

mod error;
mod hold;
mod inventory;
mod outcome;
mod remember;
mod restore;
mod rollback;
mod session;

pub use error::Error;
pub use hold::Hold;
pub use outcome::Outcome;
pub use restore::{Restored, restore};
pub use rollback::{Back, history, rollback};
pub use session::{Note, Session};

use inventory::{Inventory, policy, survey};
use restore::Edits;

/// What a sync is to do, beyond the settings.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, and named where it is set"
)]
pub struct Options {
    /// How far it goes.
    pub mode: Mode,
    /// One self-contained download, whatever is here already.
    pub force_full: bool,
    /// Local files are believed by size and time where the index knows them.
    pub skip_validation: bool,
    /// A branch may move to a commit that does not descend from the last one.
    pub allow_rewind: bool,
    /// Most of the files may go.
    pub mass_delete: MassDelete,
    /// A commit that was rolled back from may be taken again.
    pub resume: bool,
    /// How long to wait for another run to end.
    pub wait: Duration,
}

/// How far a sync goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// To the end.
    Apply,
    /// Everything but the writing into the target; content is downloaded and proven.
    DryRun,
    /// The comparison only; no content is downloaded.
    Check,
}

/// The steps a person sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The name is asked for.
    Resolve,
    /// Objects come, and are proven.
    Obtain,
    /// The target is looked at.
    Compare,
    /// The target is written.
    Apply,
}

/// Is told how a run goes on, to show it.
pub trait Observer {
    /// A step begins.
    fn step(&self, step: Step);

    /// The step under way has done so much of so much; what the unit is depends on the step.
    fn progress(&self, done: u64, total: u64);
}

/// What surrounds a run.
pub struct Context<'a> {
    /// What is to be done.
    pub settings: &'a Settings,
    /// The environment, for what is looked up there.
    pub env: &'a Env,
    /// Who shows how it goes on.
    pub observer: &'a dyn Observer,
    /// Set by a signal.
    pub interrupt: &'a Interrupt,
}

/// How often a plan is made anew because the target changed under it.
const ATTEMPTS: u32 = 3;

/// Runs one sync.
pub fn run(context: &Context<'_>, options: &Options) -> Result<Outcome, crate::Error> {
    let begun = Instant::now();
    let session = Session::begin(context, options.wait)?;
    let scanner = session.scanner(options.skip_validation);
    thread::scope(|scope| {
        if let Some(index) = session.index() {
            let scanner = &scanner;
            // While the network is waited for. What goes wrong here goes wrong again where it matters.
            scope.spawn(|| drop(scanner.look(index.entries.keys())));
        }
        run_with(context, options, &session, &scanner, begun)
    })
}

fn run_with(
    context: &Context<'_>,
    options: &Options,
    session: &Session,
    scanner: &Scanner<'_>,
    begun: Instant,
) -> Result<Outcome, crate::Error> {
    let opening = Opening {
        env: context.env,
        interrupt: context.interrupt,
        state: session.state(),
        last: session.index().map(|index| index.commit),
        force_full: options.force_full,
    };
    let source = source::open(context.settings, &opening)?;
    let reference = &context.settings.reference;

    context.observer.step(Step::Resolve);
    let mut resolved = source.resolve(reference)?;
    let hold = Hold::load(session.state())?;
    let is_held = hold
        .as_ref()
        .is_some_and(|hold| hold.commits.contains(&resolved.commit) && !options.resume);
    let mut notes = session.notes().to_vec();
    // Without an index, back to where the rollback led.
    let here = session.index().map(|index| index.commit);
    let here = here.or(hold.as_ref().and_then(|hold| hold.at));
    if is_held && let Some(commit) = here {
        notes.push(Note::Held(resolved.commit));
        resolved = Resolved {
            commit,
            kind: RefKind::Commit,
        };
    }
    let goal = Goal {
        resolved,
        reference,
        edits: Edits::default(),
    };
    let mut pipeline = Pipeline {
        context,
        options,
        session,
        scanner,
        source: source.as_ref(),
        goal,
        notes,
        begun,
    };
    let outcome = match pipeline.run() {
        // Gone between two requests: the branch has moved meanwhile, and is asked for once more.
        Err(crate::Error::Source(source::Error::UnknownCommit { .. }))
            if pipeline.goal.resolved.kind != RefKind::Commit =>
        {
            pipeline.goal.resolved = source.resolve(reference)?;
            pipeline.run()
        }
        other => other,
    }?;
    let has_moved_on = |hold: &Hold| options.resume || hold.ends_with(reference);
    if options.mode == Mode::Apply && !is_held && hold.as_ref().is_some_and(has_moved_on) {
        Hold::replace(session.state(), None)?;
    }
    Ok(outcome)
}

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
struct Goal<'a> {
    resolved: Resolved,
    /// The name that is remembered for it.
    reference: &'a str,
    /// Edits that are put back on top of the commit, as edits.
    edits: Edits,
}

/// A plan, what it was made from, and what became of it.
type Planned = (Plan, BTreeMap<RelPath, Local>, Option<Applied>);

/// From a commit id to the target.
struct Pipeline<'a> {
    context: &'a Context<'a>,
    options: &'a Options,
    session: &'a Session,
    scanner: &'a Scanner<'a>,
    source: &'a dyn Source,
    goal: Goal<'a>,
    notes: Vec<Note>,
    begun: Instant,
}

impl Pipeline<'_> {
    fn run(&self) -> Result<Outcome, crate::Error> {
        let (context, options, session) = (self.context, self.options, self.session);
        let settings = context.settings;
        let policy = policy(settings, options.mass_delete)?;
        let signers = match &settings.trust.signers {
            Some(path) => Some(Signers::load(path, context.env)?),
            None => None,
        };
        let last = session.index().map(|index| index.commit);

        context.observer.step(Step::Obtain);
        let depth = if options.mode == Mode::Check {
            Depth::Listing
        } else {
            Depth::Content
        };
        let need = Inventory {
            scanner: self.scanner,
            policy: &policy,
            depth,
        };
        let managed = |tree: &Tree| plan::managed(tree, &policy);
        let terms = Terms {
            limits: settings.limits,
            symlinks: settings.trust.symlinks,
            signers: signers.as_ref(),
            ignores_case: session.target().ignores_case()?,
            managed: &managed,
        };
        let source = self.source;
        let obtained = source.obtain(self.goal.resolved.commit, last, session.store(), &need)?;
        let commit = obtained.commit.commit().clone();
        let (staged, (plan, local, applied)) = thread::scope(|scope| {
            // It may cost a request, which need not be waited for before there is something to be written.
            let descent = match self.moves_on(&commit) {
                Some(last) => {
                    let store = session.store();
                    let commit = &commit;
                    Some(scope.spawn(move || source.descends(commit, last, store)))
                }
                None => None,
            };
            let remote = source.describe();
            let staged = source::prove(session.store(), obtained, depth, &need, &terms, &remote)?;
            let descent = || match descent {
                Some(descent) => self.check_descent(descent, &commit),
                None => Ok(()),
            };
            let planned = self.plan_and_apply(&policy, &staged, descent)?;
            Ok::<_, crate::Error>((staged, planned))
        })?;
        let outcome = Outcome {
            mode: options.mode,
            repository: self.source.describe(),
            reference: self.goal.reference.to_owned(),
            kind: self.goal.resolved.kind,
            before: last,
            commit: staged.commit().clone(),
            signer: staged.signer().cloned(),
            applied,
            recovered: session.recovered().cloned(),
            notices: staged.notices().to_vec(),
            route: staged.route(),
            fallbacks: staged.fallbacks().to_vec(),
            downloaded: staged.downloaded(),
            traffic: self.source.traffic(),
            duration: self.begun.elapsed(),
            tree_size: outcome::tree_size(&local, &plan, &staged),
            notes: self.notes.clone(),
            plan,
        };
        if options.mode == Mode::Apply {
            remember::remember(context, session, &outcome)?;
        }
        // A check brings listings too.
        tidy(session.store());
        Ok(outcome)
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
        allowed()?;
        loop {
            let (plan, local) = planned?;
            if self.options.mode != Mode::Apply {
                return Ok((plan, local, None));
            }
            self.context.observer.step(Step::Apply);
            let update = apply::Update {
                plan: &plan,
                local: &local,
                looked_at: self.scanner.since(),
                after: Point {
                    commit: staged.commit().id,
                    tree: staged.commit().tree,
                    reference: self.goal.reference.to_owned(),
                    repository: Some(self.source.describe()),
                },
            };
            let content = PutBack {
                contents: &self.goal.edits.contents,
                others: staged,
            };
            match carry_out(self.context, self.session, &update, &content) {
                Ok(applied) => return Ok((plan, local, Some(applied))),
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

fn carry_out(
    context: &Context<'_>,
    session: &Session,
    update: &apply::Update<'_>,
    source: &dyn Content,
) -> Result<Applied, apply::Error> {
    if !update.plan.operations().is_empty() {
        // Before the tree changes: a crash in between costs a rebuild that was not needed, never one that was.
        let action = context.settings.rebuild.action;
        rebuild::mark_pending(session.state(), Some(update.after.commit), action)?;
    }
    let progress =
        |progress: apply::Progress| context.observer.progress(progress.done, progress.total);
    apply::apply(
        session.target(),
        session.state(),
        update,
        source,
        context.interrupt,
        &progress,
    )
}

/// Content of edits that are put back, and of everything else.
struct PutBack<'a> {
    contents: &'a BTreeMap<BlobId, Vec<u8>>,
    others: &'a dyn Content,
}

impl Content for PutBack<'_> {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, apply::ContentError> {
        match self.contents.get(&id) {
            Some(content) => Ok(content.clone()),
            None => self.others.blob(id),
        }
    }

    fn size(&self, id: BlobId) -> Result<u64, apply::ContentError> {
        match self.contents.get(&id) {
            Some(content) => Ok(content.len() as u64),
            None => self.others.size(id),
        }
    }
}
