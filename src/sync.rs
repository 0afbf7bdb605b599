//! One sync, step by step: see [`run`].
//!
//! This module guarantees the order: nothing is written into the target before every needed object is proven and
//! durable, and the plan is made from a scan of the target just before. If the target changes after the scan, it is
//! scanned and planned again.

use std::sync::Arc;
use std::time::Duration;

use crate::git::CommitId;
use crate::plan::MassDelete;
use crate::process::Runner;
use crate::settings::{Env, Settings};
use crate::source::{Interrupt, Meter};

mod adoption;
mod behind;
mod checkout;
mod descent;
mod guard;
mod hold;
mod inventory;
mod merge;
mod modes;
mod outcome;
mod passage;
mod pending;
mod pipeline;
mod restore;
mod rollback;
mod session;
mod settled;
mod stand_ins;

pub use adoption::{FirstBase, parked};
pub use behind::{Behind, behind};
pub use checkout::Checkout;
pub use guard::followed_names;
pub use hold::Hold;
pub use inventory::never_ours;
pub use modes::OpenMode;
pub use outcome::Outcome;
pub use passage::Passage;
pub use pipeline::run;
pub use restore::{Restored, restore};
pub use rollback::{history, rollback};
pub use session::{Session, StateNote};
pub use stand_ins::StandIn;

/// The options of one sync, beyond the settings.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the options are independent, and are set by name"
)]
pub struct Options {
    /// How far it goes.
    pub mode: SyncMode,
    /// The command that runs it, as advice repeats it ([`Attempt`](crate::plan::Attempt)).
    pub command: String,
    /// Fetches everything in one full pack, without using the objects that are already in the store.
    pub force_full: bool,
    /// A local file counts as unchanged if its size and time are those in the index.
    pub skip_validation: bool,
    /// A branch may move to a commit that does not descend from the last one.
    pub allow_rewind: bool,
    /// The repository may be another one than the target follows.
    pub allow_other_repo: bool,
    /// Whether a sync may delete most of the files.
    pub mass_delete: MassDelete,
    /// Whether a held commit may be applied again.
    pub resume: bool,
    /// Whether a commit that did not build before (`rebuild.gate`) is tried although its pause is not over.
    pub retry: bool,
    /// The branch, tag or commit that the files of a target without state are of.
    pub base: Option<String>,
    /// Whether the `.git` of the target is moved into the state directory after the sync.
    pub adopt: bool,
    /// How long to wait for another run to end.
    pub wait: Duration,
}

impl Options {
    /// For a preview, or for a rollback that the user requested: no guard refuses it, and it does not wait for another
    /// run.
    #[must_use]
    pub fn unguarded(mode: SyncMode) -> Self {
        Self {
            mode,
            command: "hyper-sync sync".to_owned(),
            force_full: false,
            skip_validation: false,
            allow_rewind: true,
            allow_other_repo: true,
            mass_delete: MassDelete::Allow,
            resume: true,
            retry: true,
            base: None,
            adopt: false,
            wait: Duration::ZERO,
        }
    }
}

/// How far a sync goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncMode {
    /// The target is written.
    Apply,
    /// Everything except writing to the target; content is downloaded and proven.
    DryRun,
    /// Only the comparison; content is not requested if the server can leave it out.
    Check,
}

/// The steps that are shown as progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The reference is resolved to a commit.
    Resolve,
    /// Objects are fetched and proven.
    Obtain,
    /// Objects of the store are proven.
    Prove,
    /// The target is scanned and compared.
    Compare,
    /// The system of the commit is built.
    Build,
    /// What is replaced is copied, and what is new is written beside the target.
    Prepare,
    /// The target is written.
    Apply,
    /// The hosts of a commit are evaluated and built.
    Hosts,
}

/// Receives the progress of a run.
pub trait Observer {
    /// A step begins.
    fn step(&self, step: Step);

    /// The progress of the current step; the unit depends on the step.
    fn progress(&self, done: u64, total: u64);

    /// Counts what the run receives.
    fn meter(&self) -> Arc<Meter> {
        Arc::default()
    }

    /// The repository's reference resolves to this commit.
    fn resolved(&self, commit: CommitId);
}

/// The input of a run.
pub struct SyncContext<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The environment variables.
    pub env: &'a Env,
    /// Receives the progress.
    pub observer: &'a dyn Observer,
    /// Set by a signal.
    pub interrupt: &'a Interrupt,
    /// Runs Nix, if the commit must build before it is applied.
    pub runner: &'a dyn Runner,
}
