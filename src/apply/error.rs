//! The errors of applying an update.

use std::path::PathBuf;

use miette::Diagnostic;

use super::TxId;
use crate::exit::Exit;
use crate::fs::{self, Failure};
use crate::git::{BlobId, RelPath};
use crate::objects;
use crate::state;
use crate::text::{self, Amount};

/// Why content is not available.
pub type ContentError = Box<dyn std::error::Error + Send + Sync>;

/// The update was not applied, or not finished.
///
/// Every variant but [`Unfinished`](Self::Unfinished) and [`NeedsPerson`](Self::NeedsPerson) leaves the target as it
/// was.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// A signal arrived before the commit point.
    #[error("stopped by a signal")]
    #[diagnostic(
        code(hyper_sync::apply::interrupted),
        help("nothing was written; run again")
    )]
    Interrupted,
    /// The target has changed since the plan was made.
    #[error("the target changed while the update was prepared: {}", listed(.paths))]
    #[diagnostic(
        code(hyper_sync::apply::stale),
        help(
            "something writes into the target right now; run again when it is done; nothing was written"
        )
    )]
    Stale {
        /// Where.
        paths: Vec<RelPath>,
    },
    /// Another directory has the target's name now.
    #[error("the target `{}` was moved or replaced while the update was prepared", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::apply::target_replaced),
        help("run again; nothing was written")
    )]
    TargetReplaced {
        /// The target.
        path: PathBuf,
    },
    /// `chattr +i` or `+a`.
    #[error("`{path}` in the target, or its directory, is immutable or append-only")]
    #[diagnostic(
        code(hyper_sync::apply::immutable),
        help("take the flag away with `chattr -i -a` if it is not meant; nothing was written")
    )]
    Immutable {
        /// What cannot be changed.
        path: RelPath,
    },
    /// No permission.
    #[error("the directory of `{path}` in the target cannot be written")]
    #[diagnostic(
        code(hyper_sync::apply::denied),
        help("run as the owner of the target, as root for `/etc`; nothing was written")
    )]
    Denied {
        /// What cannot be changed.
        path: RelPath,
    },
    /// Mounted read-only.
    #[error("`{}` is on a read-only file system", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::apply::read_only),
        help(
            "remount it writable, or give the service write access (`ReadWritePaths=`); nothing was written"
        )
    )]
    ReadOnly {
        /// The target or the state directory.
        path: PathBuf,
    },
    /// Not enough room.
    #[error("`{}` needs {}, and {} are free", text::path(.path), .need, .free)]
    #[diagnostic(
        code(hyper_sync::apply::no_space),
        help(
            "make room on its file system, then run again; where that has the Nix store, `nix-collect-garbage --delete-older-than 30d` removes old generations; nothing was written"
        )
    )]
    NoSpace {
        /// The target or the state directory.
        path: PathBuf,
        /// How many are needed, with a margin.
        need: Amount,
        /// How many there are.
        free: Amount,
    },
    /// The file system supports neither way to replace a file without losing an edit.
    #[error("the file system of `{}` can neither exchange files nor link them", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::apply::unsupported_file_system),
        help(
            "keep the target on ext4, xfs, btrfs, zfs or another file system with hard links; nothing was written"
        )
    )]
    UnsupportedFileSystem {
        /// The target.
        path: PathBuf,
    },
    /// Two paths of the commit that are one on the target's file system.
    #[error("`{first}` and `{second}` are the same name on the target's file system")]
    #[diagnostic(
        code(hyper_sync::apply::case_collision),
        help(
            "rename one of them in the repository, or keep the target on a file system that minds case; nothing was written"
        )
    )]
    CaseCollision {
        /// One path.
        first: String,
        /// The other.
        second: String,
    },
    /// A file or directory that hyper-sync did not create has the name of the staging directory.
    #[error("`{}` is in the way of the staging directory", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::apply::staging_blocked),
        help(
            "hyper-sync keeps new files there while it applies them, but this is not its own: move it away; nothing was written"
        )
    )]
    StagingBlocked {
        /// The path.
        path: PathBuf,
    },
    /// The content of a file is not available.
    #[error("the content {id} of `{path}` is not in the store")]
    #[diagnostic(
        code(hyper_sync::apply::content),
        help("run again: what is missing is downloaded again; nothing was written")
    )]
    Content {
        /// The file.
        path: RelPath,
        /// Its content.
        id: BlobId,
        /// Why.
        #[source]
        source: ContentError,
    },
    /// An earlier update was not finished, and no recovery came first.
    #[error("an earlier update is not finished")]
    #[diagnostic(
        code(hyper_sync::apply::recovery_first),
        help("run again: the next run finishes it first; nothing was written")
    )]
    RecoveryFirst,
    /// The update is recorded and partly carried out.
    #[error("update {id} is recorded, but could not be carried out to its end")]
    #[diagnostic(
        code(hyper_sync::apply::unfinished),
        help(
            "see the cause; when it is gone, the next run finishes the update, without the network; no file is lost: what was replaced is in the `undo` directory of the state directory"
        )
    )]
    Unfinished {
        /// The update.
        id: TxId,
        /// What happened.
        #[source]
        source: Box<Error>,
    },
    /// Recovery cannot determine what to do.
    #[error("an unfinished update cannot be finished: {}", .problem)]
    #[diagnostic(
        code(hyper_sync::apply::needs_person),
        help(
            "nothing was touched; see `tx/active` and the `undo` directory of the state directory; when the target is as it should be, move `tx/active` away and run again"
        )
    )]
    NeedsPerson {
        /// What is wrong, with the paths.
        problem: RecoveryProblem,
    },
    /// The state directory.
    #[error(transparent)]
    #[diagnostic(transparent)]
    State(#[from] state::Error),
    /// The object store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] objects::Error),
    /// The target could not be inspected or changed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] fs::Error),
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            Self::Stale { .. } => Exit::Conflict,
            Self::CaseCollision { .. } => Exit::UnsafeTree,
            Self::TargetReplaced { .. }
            | Self::Immutable { .. }
            | Self::Denied { .. }
            | Self::ReadOnly { .. }
            | Self::NoSpace { .. }
            | Self::UnsupportedFileSystem { .. }
            | Self::StagingBlocked { .. }
            | Self::Content { .. }
            | Self::RecoveryFirst
            | Self::Unfinished { .. } => Exit::FileSystem,
            Self::NeedsPerson { .. } => Exit::NeedsPerson,
            Self::State(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Target(error) => error.exit(),
        }
    }
}

/// Why an unfinished update cannot be finished.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryProblem {
    /// The record has content that hyper-sync never writes.
    #[error("its record is not one that hyper-sync writes")]
    Record,
    /// The record is about another directory.
    #[error("it is about the target `{}`", text::path(.0))]
    OtherTarget(String),
    /// New content is neither staged nor in the store.
    #[error("the new content of these files is neither staged nor in the store: {}", listed(.0))]
    Content(Vec<RelPath>),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Target(failure.into())
    }
}

fn listed(paths: &[RelPath]) -> String {
    text::list(paths.iter().map(|path| format!("`{path}`")))
}
