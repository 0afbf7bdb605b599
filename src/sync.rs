//! One sync: recover, resolve, obtain, look, plan, apply, remember.
//!
//! The order is the one promise of this file: nothing is written into the target before every needed object is proven
//! and durable here, and what is written is planned against what was there a moment before. Planning is repeated
//! where the target changes under it.

use std::thread;
use std::time::{Duration, Instant};

use crate::plan::MassDelete;
use crate::scan::Scanner;
use crate::settings::{Env, Settings};
use crate::source::{self, Interrupt, Opening, RefKind, Resolved, Source};

mod carry_out;
mod error;
mod followed;
mod hold;
mod inventory;
mod modes;
mod outcome;
mod pipeline;
mod remember;
mod restore;
mod rollback;
mod session;
mod stand_ins;
mod unreached;

pub use error::Error;
pub use hold::Hold;
pub use inventory::never_ours;
pub use modes::OpenMode;
pub use outcome::Outcome;
pub use restore::{Restored, restore};
pub use rollback::{Back, history, rollback};
pub use session::{Note, Session};
pub use stand_ins::StandIn;
pub use unreached::Unreached;

use followed::{Followed, Name};
use pipeline::{Goal, Pipeline};
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

impl Options {
    /// For a look at what a sync would do, or for a way back that a person has chosen: no guard refuses it, and another
    /// run is not waited for.
    #[must_use]
    pub fn unguarded(mode: Mode) -> Self {
        Self {
            mode,
            force_full: false,
            skip_validation: false,
            allow_rewind: true,
            mass_delete: MassDelete::Allow,
            resume: true,
            wait: Duration::ZERO,
        }
    }
}

/// How far a sync goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// To the end.
    Apply,
    /// Everything but the writing into the target; content is downloaded and proven.
    DryRun,
    /// The comparison only; content is not asked for where the server can leave it out.
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

/// Runs one sync.
pub fn run(context: &Context<'_>, options: &Options) -> Result<Outcome, crate::Error> {
    let begun = Instant::now();
    let session = Session::open(context, options.wait)?;
    context.observer.step(Step::Resolve);
    let settings = context.settings;
    let opening = Opening {
        env: context.env,
        interrupt: context.interrupt,
        state: session.state(),
        // Not that of the index, which is not read yet; most often it is the same.
        known: session.store().commits().last().copied(),
        force_full: options.force_full,
    };
    let ask = || -> Result<Answer, crate::Error> {
        let source = source::open(settings, &opening)?;
        let resolved = source.resolve(&settings.reference);
        let resolved = resolved.inspect_err(|_| source.forget())?;
        Ok((source, resolved))
    };
    thread::scope(|network| {
        // All that is done here meanwhile costs no time.
        let answer = network.spawn(ask);
        session.load()?;
        let scanner = session.scanner(options.skip_validation);
        thread::scope(|disk| {
            if let Some(index) = session.index() {
                // What goes wrong here goes wrong again where it matters.
                disk.spawn(|| drop(scanner.look_ahead(index.entries.keys())));
                disk.spawn(|| session.last_tree());
            }
            let answer = answer
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            run_with(context, options, &session, &scanner, answer?, begun)
        })
    })
}

/// The repository, and what it says the name stands for.
type Answer = (Box<dyn Source>, Resolved);

fn run_with(
    context: &Context<'_>,
    options: &Options,
    session: &Session,
    scanner: &Scanner<'_>,
    (source, resolved): Answer,
    begun: Instant,
) -> Result<Outcome, crate::Error> {
    let reference = &context.settings.reference;
    let trust = &context.settings.trust;
    let followed = Followed::load(session.state())?;
    let hold = Hold::load(session.state())?;
    // Without an index, back to where the rollback led.
    let here = session.index().map(|index| index.commit);
    let here = here.or(hold.as_ref().and_then(|hold| hold.at));
    let go = |resolved: Resolved| {
        let holds = |hold: &Hold| hold.commits.contains(&resolved.commit) && !options.resume;
        let is_held = hold.as_ref().is_some_and(holds);
        let mut notes = session.notes();
        let name = Name::new(reference, source.describe(), &resolved);
        if resolved.is_tag_too {
            notes.push(Note::BranchAndTag(reference.clone()));
        }
        let mut goal = Goal {
            resolved,
            reference,
            edits: Edits::default(),
        };
        if is_held && let Some(commit) = here {
            notes.push(Note::Held(goal.resolved.commit));
            goal.resolved = Resolved {
                commit,
                kind: RefKind::Commit,
                is_tag_too: false,
            };
            // It stays where it is, which is not what was asked for.
            goal.reference = session.index().map_or(reference, |index| &index.reference);
        } else if !options.allow_rewind
            && let Err(error) = followed.check(&name, trust)
        {
            return (is_held, name, Err(error.into()));
        }
        let pipeline = Pipeline {
            context,
            options,
            session,
            scanner,
            source: source.as_ref(),
            goal,
            notes,
            begun,
        };
        (is_held, name, pipeline.run())
    };
    let kind = resolved.kind;
    let (is_held, name, outcome) = match go(resolved) {
        // Gone between two requests: the branch has moved meanwhile, and is asked for once more.
        (false, _, Err(crate::Error::Source(source::Error::UnknownCommit { .. })))
            if kind != RefKind::Commit =>
        {
            go(source.resolve(reference)?)
        }
        other => other,
    };
    // After anything unexpected, the next run asks the address that is set.
    let outcome = outcome.inspect_err(|_| source.forget())?;
    let has_moved_on = |hold: &Hold| options.resume || hold.ends_with(reference);
    if options.mode == Mode::Apply && !is_held && hold.as_ref().is_some_and(has_moved_on) {
        Hold::replace(session.state(), None)?;
    }
    if options.mode == Mode::Apply && !is_held {
        followed.remember(session.state(), name)?;
    }
    Ok(outcome)
}
