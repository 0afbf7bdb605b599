//! One sync: recover, resolve, obtain, look, plan, apply, remember.
//!
//! The order is the one promise of this file: nothing is written into the target before every needed object is proven
//! and durable here, and what is written is planned against what was there a moment before. Planning is repeated
//! where the target changes under it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use crate::apply::{self, Applied, Content, ContentError, Recovered};
use crate::git::id::Kind;
use crate::git::{BlobId, Commit, CommitId, RelPath, Tree};
use crate::objects::Store;
use crate::patterns::Patterns;
use crate::plan::{self, MassDelete, Plan, Policy};
use crate::rebuild;
use crate::scan::{Local, Scanner};
use crate::settings::{Env, Settings};
use crate::signature::{Signer, Signers};
use crate::source::{
    self, Depth, Fallback, Interrupt, Need, Notice, Opening, RefKind, Route, Source, Staged, Terms,
    Traffic,
};
use crate::state::{Index, LastSync, Stats, SyncState};

mod error;
mod session;

pub use error::Error;
pub use session::{Note, Session};

/// What a sync is to do, beyond the settings.
#[derive(Debug, Clone)]
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

/// How a sync ended.
#[derive(Debug)]
pub struct Outcome {
    /// How far it went.
    pub mode: Mode,
    /// The repository, without credentials.
    pub repository: String,
    /// The name that was asked for.
    pub reference: String,
    /// How the name was understood.
    pub kind: RefKind,
    /// The commit the target was at, as far as that is known.
    pub before: Option<CommitId>,
    /// The commit.
    pub commit: Commit,
    /// Who has signed it, where a signature was asked for.
    pub signer: Option<Signer>,
    /// What was done, or would be.
    pub plan: Plan,
    /// What applying told; `None` where nothing had to be done or was to be done.
    pub applied: Option<Applied>,
    /// What was finished or undone of an earlier run.
    pub recovered: Option<Recovered>,
    /// What the reader should know about the commit.
    pub notices: Vec<Notice>,
    /// The route its objects came by.
    pub route: Route,
    /// The routes given up before.
    pub fallbacks: Vec<Fallback>,
    /// How many blobs were downloaded.
    pub downloaded: u64,
    /// What was moved over the network.
    pub traffic: Traffic,
    /// How long it took.
    pub duration: Duration,
    /// Bytes of all managed files together: what a copy of the tree would be, before compression.
    pub tree_size: u64,
    /// What was found and mended in the state directory.
    pub notes: Vec<Note>,
}

impl Outcome {
    /// Whether the target is, or would be, written to.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.plan.operations().is_empty()
    }
}

/// How often a plan is made anew because the target changed under it.
const ATTEMPTS: u32 = 3;

/// Runs one sync.
pub fn run(context: &Context<'_>, options: &Options) -> Result<Outcome, crate::Error> {
    let begun = Instant::now();
    let session = Session::begin(context, options.wait)?;
    let opening = Opening {
        env: context.env,
        interrupt: context.interrupt,
        state: session.state(),
        last: session.index().map(|index| index.commit),
        force_full: options.force_full,
    };
    let source = source::open(context.settings, &opening)?;
    run_with(context, options, &session, source.as_ref(), begun)
}

fn run_with(
    context: &Context<'_>,
    options: &Options,
    session: &Session,
    source: &dyn Source,
    begun: Instant,
) -> Result<Outcome, crate::Error> {
    let settings = context.settings;
    let policy = policy(settings, options.mass_delete)?;
    let signers = match &settings.trust.signers {
        Some(path) => Some(Signers::load(path, context.env)?),
        None => None,
    };
    let index = session.index();
    let last = index.map(|index| index.commit);

    context.observer.step(Step::Resolve);
    let resolved = source.resolve(&settings.reference)?;

    context.observer.step(Step::Obtain);
    let scanner = session.scanner(options.skip_validation);
    let depth = if options.mode == Mode::Check {
        Depth::Listing
    } else {
        Depth::Content
    };
    let need = Inventory {
        scanner: &scanner,
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
    let staged = source::stage(
        source,
        session.store(),
        &resolved,
        last,
        depth,
        &need,
        &terms,
    )?;
    if !options.allow_rewind {
        check_descent(context, session, source, &staged, resolved.kind)?;
    }

    let mut attempt = 1;
    let (plan, local, applied) = loop {
        context.observer.step(Step::Compare);
        let looked_at = now();
        let local = survey(session, &scanner, &staged)?;
        let base = session.index().map(Index::base).unwrap_or_default();
        let plan = plan::plan(&base, &local, staged.files(), &policy)?;
        if options.mode != Mode::Apply {
            break (plan, local, None);
        }
        context.observer.step(Step::Apply);
        let update = apply::Update {
            plan: &plan,
            local: &local,
            looked_at,
            commit: staged.commit().id,
            tree: staged.commit().tree,
            reference: &settings.reference,
        };
        match carry_out(context, session, &update, &staged) {
            Ok(applied) => break (plan, local, Some(applied)),
            Err(apply::Error::Stale { .. }) if attempt < ATTEMPTS => {
                attempt += 1;
                scanner.forget();
            }
            Err(error) => return Err(error.into()),
        }
    };
    let outcome = Outcome {
        mode: options.mode,
        repository: source.describe(),
        reference: settings.reference.clone(),
        kind: resolved.kind,
        before: last,
        commit: staged.commit().clone(),
        signer: staged.signer().cloned(),
        applied,
        recovered: session.recovered().cloned(),
        notices: staged.notices().to_vec(),
        route: staged.route(),
        fallbacks: staged.fallbacks().to_vec(),
        downloaded: staged.downloaded(),
        traffic: source.traffic(),
        duration: begun.elapsed(),
        tree_size: tree_size(&local, &plan, &staged),
        notes: session.notes().to_vec(),
        plan,
    };
    if options.mode == Mode::Apply {
        remember(context, session, &outcome)?;
    }
    Ok(outcome)
}

/// The target as a route sees it.
struct Inventory<'a> {
    scanner: &'a Scanner<'a>,
    policy: &'a Policy,
    depth: Depth,
}

impl Need for Inventory<'_> {
    fn missing(&self, tree: &Tree) -> Result<Vec<BlobId>, crate::scan::Error> {
        if self.depth == Depth::Listing {
            return Ok(Vec::new());
        }
        let files = plan::managed(tree, self.policy);
        let local = self.scanner.look(files.keys())?;
        let here: HashSet<BlobId> = local.values().filter_map(Local::id).collect();
        let missing: BTreeSet<BlobId> = files
            .values()
            .map(|file| file.id)
            .filter(|id| !here.contains(id))
            .collect();
        Ok(missing.into_iter().collect())
    }

    fn content(&self, id: BlobId) -> Option<Vec<u8>> {
        self.scanner.content(id)
    }
}

/// The policy that the settings and the flags of a run make.
pub fn policy(settings: &Settings, mass_delete: MassDelete) -> Result<Policy, Error> {
    let require = settings
        .require
        .iter()
        .filter_map(|path| RelPath::new(path.as_bytes()).ok());
    Ok(Policy {
        local_edits: settings.local_edits,
        protect: Patterns::new(&settings.protect)?,
        exclude: Patterns::new(&settings.exclude)?,
        executable: Patterns::new(&settings.executable)?,
        require: require.collect(),
        mass_delete,
    })
}

/// Everything that is ours or should be, as it is now.
fn survey(
    session: &Session,
    scanner: &Scanner<'_>,
    staged: &Staged<'_>,
) -> Result<BTreeMap<RelPath, Local>, crate::Error> {
    let ours = session.index().map(|index| index.entries.keys());
    Ok(scanner.survey(ours.into_iter().flatten().chain(staged.files().keys()))?)
}

fn carry_out(
    context: &Context<'_>,
    session: &Session,
    update: &apply::Update<'_>,
    staged: &Staged<'_>,
) -> Result<Applied, apply::Error> {
    if !update.plan.operations().is_empty() {
        // Before the tree changes: a crash in between costs a rebuild that was not needed, never one that was.
        let action = context.settings.rebuild.action;
        rebuild::mark_pending(session.state(), Some(update.commit), action)?;
    }
    let progress =
        |progress: apply::Progress| context.observer.progress(progress.done, progress.total);
    apply::apply(
        session.target(),
        session.state(),
        update,
        staged,
        context.interrupt,
        &progress,
    )
}

impl Content for Staged<'_> {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
        Ok(Staged::blob(self, id)?)
    }
}

impl Content for Store {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
        self.read(Kind::Blob, id.0)
            .ok_or_else(|| format!("the store has no blob {id}").into())
    }
}

/// Bytes of the managed files: what is there and stays, and what is written.
fn tree_size(local: &BTreeMap<RelPath, Local>, plan: &Plan, staged: &Staged<'_>) -> u64 {
    let written: HashSet<&RelPath> = plan
        .operations()
        .iter()
        .map(|operation| &operation.path)
        .collect();
    let stays = staged.files().keys().filter(|path| !written.contains(path));
    let stays = stays
        .filter_map(|path| local.get(path)?.stat())
        .map(|stat| stat.size);
    let comes = plan
        .operations()
        .iter()
        .filter_map(|operation| operation.after);
    let comes = comes.map(|file| staged.size(file.id).unwrap_or_default());
    stays.chain(comes).sum()
}

/// Nanoseconds since 1970, as files' times are compared with.
fn now() -> i128 {
    jiff::Timestamp::now().as_nanosecond()
}

/// A branch only moves forward, or somebody has to say that it may not.
///
/// Another name or repository than last time starts a line of its own: going from `main` to a feature branch is no
/// rewind.
fn check_descent(
    context: &Context<'_>,
    session: &Session,
    source: &dyn Source,
    staged: &Staged<'_>,
    kind: RefKind,
) -> Result<(), crate::Error> {
    let reference = &context.settings.reference;
    let Some(last) = session.index() else {
        return Ok(());
    };
    let commit = staged.commit();
    let repository = SyncState::load(session.state())?.map(|last| last.repository);
    let same_line =
        last.reference == *reference && repository.is_none_or(|known| known == source.describe());
    let moves = kind == RefKind::Branch && same_line && last.commit != commit.id;
    if !moves
        || context.settings.trust.rewind
        || source.descends(commit, last.commit, session.store())?
    {
        return Ok(());
    }
    Err(Error::Rewind {
        reference: reference.clone(),
        from: last.commit,
        to: commit.id,
    }
    .into())
}

/// Writes what people and programs read about the last sync.
fn remember(
    context: &Context<'_>,
    session: &Session,
    outcome: &Outcome,
) -> Result<(), crate::Error> {
    let changed = outcome.plan.operations().len() as u64;
    let known = SyncState::load(session.state())?;
    let at_it = known
        .as_ref()
        .is_some_and(|known| known.last_sync.commit_sha == outcome.commit.id);
    if changed == 0 && at_it {
        return Ok(());
    }
    let last_sync = LastSync {
        commit_sha: outcome.commit.id,
        reference: outcome.reference.clone(),
        timestamp: jiff::Timestamp::now(),
    };
    let stats = Stats {
        checked: outcome.plan.counts().checked,
        changed,
        downloaded: outcome.downloaded,
        errors: outcome
            .applied
            .as_ref()
            .map_or(0, |applied| applied.late.len() as u64),
    };
    let route = outcome.route.to_string();
    let mut summary = SyncState::new(
        last_sync,
        stats,
        outcome.repository.clone(),
        outcome.commit.tree,
        route,
    );
    summary.bytes = outcome.traffic.received;
    summary.requests = outcome.traffic.requests;
    summary.duration_ms = u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX);
    Ok(summary.save(session.state(), context.settings.state_file.as_deref())?)
}
