//! One sync, step by step: see [`run`].
//!
//! The order is the one promise of this file: nothing is written into the target before every needed object is proven
//! and durable here, and what is written is planned against what was there a moment before. Planning is repeated
//! where the target changes under it.

use std::time::Duration;

use crate::plan::MassDelete;
use crate::process::Runner;
use crate::settings::{Env, Settings};
use crate::source::Interrupt;

mod guard;
mod hold;
mod inventory;
mod modes;
mod outcome;
mod pipeline;
mod restore;
mod rollback;
mod session;
mod stand_ins;

pub use hold::Hold;
pub use inventory::never_ours;
pub use modes::OpenMode;
pub use outcome::Outcome;
pub use pipeline::run;
pub use restore::{Restored, restore};
pub use rollback::{history, rollback};
pub use session::{Session, StateNote};
pub use stand_ins::StandIn;

/// What a sync is to do, beyond the settings.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, and named where it is set"
)]
pub struct Options {
    /// How far it goes.
    pub mode: SyncMode,
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
    /// For a preview of what a sync would do, or for a way back that a person has chosen: no guard refuses it, and another
    /// run is not waited for.
    #[must_use]
    pub fn unguarded(mode: SyncMode) -> Self {
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
pub enum SyncMode {
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
    /// The target is inspected.
    Compare,
    /// The system of the commit is built.
    Build,
    /// The target is written.
    Apply,
}

/// Receives the progress of a run.
pub trait Observer {
    /// A step begins.
    fn step(&self, step: Step);

    /// The step under way has done so much of so much; what the unit is depends on the step.
    fn progress(&self, done: u64, total: u64);
}

/// What surrounds a run.
pub struct SyncContext<'a> {
    /// What is to be done.
    pub settings: &'a Settings,
    /// The environment, for what is looked up there.
    pub env: &'a Env,
    /// Who shows how it goes on.
    pub observer: &'a dyn Observer,
    /// Set by a signal.
    pub interrupt: &'a Interrupt,
    /// Runs Nix, if a commit must build.
    pub runner: &'a dyn Runner,
}
