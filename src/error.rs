//! The one error of the library: each stage's own, wrapped.
//!
//! Rules for a new error:
//!
//! 1. A stage's `Error` is beside its functions; fields hold data, not finished text.
//! 2. Every variant has a `code`, `hyper_sync::<stage>::<name>`, that never changes its meaning once released, and a
//!    `help` with what to do and what state things are in.
//! 3. Its exit code is decided beside it, in `fn exit`, by a `match` without a catch-all.
//! 4. Text from others enters a message by `text::words`, `text::name` or `text::path`; secrets are not printed.
//! 5. What a person or a server did wrong reads differently from our own fault: only the latter requests a report.

mod sync;

pub use sync::SyncError;

use miette::Diagnostic;

use crate::exit::Exit;
use crate::plan::{self, ConflictDocument};

/// Anything that stops a run.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The command line.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Usage(#[from] UsageError),
    /// A setting.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Settings(#[from] crate::settings::Error),
    /// The token.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Token(#[from] crate::token::Error),
    /// The target directory.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] crate::fs::Error),
    /// The state directory.
    #[error(transparent)]
    #[diagnostic(transparent)]
    State(#[from] crate::state::Error),
    /// The lock.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] crate::lock::Error),
    /// The file of signers; what is wrong with a commit's signature comes as one of the source's.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Signature(#[from] crate::signature::Error),
    /// The remote, or what it sent.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] crate::source::Error),
    /// The object store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] crate::objects::Error),
    /// The scan of the target.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Scan(#[from] crate::scan::Error),
    /// The plan.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Plan(#[from] plan::Error),
    /// Changing the target.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Apply(#[from] crate::apply::Error),
    /// What past updates replaced.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Undo(#[from] crate::apply::undo::Error),
    /// A policy about commits.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sync(#[from] SyncError),
    /// The health checks.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Health(#[from] crate::health::Error),
    /// The check of a commit's hosts.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Check(#[from] crate::check::Error),
    /// The rebuild.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Rebuild(#[from] crate::rebuild::Error),
    /// The state of the machine.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Validate(#[from] crate::validate::Error),
}

/// A command line that is wrong.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
#[diagnostic(code(hyper_sync::cli::usage), help("{help}; nothing was written"))]
pub struct UsageError {
    /// What is wrong, in one line.
    pub message: String,
    /// What to write in its place, and where it is described.
    pub help: String,
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Settings(error) => error.exit(),
            Self::Token(error) => error.exit(),
            Self::Target(error) => error.exit(),
            Self::State(error) => error.exit(),
            Self::Lock(error) => error.exit(),
            Self::Signature(error) => error.exit(),
            Self::Source(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Scan(error) => error.exit(),
            Self::Plan(error) => error.exit(),
            Self::Apply(error) => error.exit(),
            Self::Undo(error) => error.exit(),
            Self::Sync(error) => error.exit(),
            Self::Health(error) => error.exit(),
            Self::Check(error) => error.exit(),
            Self::Rebuild(error) => error.exit(),
            Self::Validate(error) => error.exit(),
        }
    }

    /// The local files that conflict with an update, if the error is about them.
    #[must_use]
    pub fn conflicts(&self) -> Option<Vec<ConflictDocument<'_>>> {
        match self {
            Self::Plan(error) => error.conflicts(),
            _ => None,
        }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        error.exit()
    }
}
