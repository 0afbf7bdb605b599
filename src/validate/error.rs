//! The errors of a validation that stops an update.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::exit::Exit;
use crate::text::{self, Amount};

/// The installation does not allow a sync or a rebuild.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The target could not be opened.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] crate::fs::Error),
    /// The state directory is not trusted, or not readable.
    #[error(transparent)]
    #[diagnostic(transparent)]
    State(#[from] crate::state::Error),
    /// A file system is mounted read-only.
    #[error("`{}` is on a file system that is mounted read-only", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::validate::read_only),
        help(
            "mount it writable, or set `target` and `state_dir` to places that are; nothing was written"
        )
    )]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// This user may not write.
    #[error("this user may not write into `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::validate::not_writable),
        help("run as root, or as the user who owns it; nothing was written")
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
    },
    /// There is too little free space.
    #[error("the file system of `{}` has only {} free", text::path(.path), Amount::Bytes(*.free))]
    #[diagnostic(
        code(hyper_sync::validate::no_room),
        help(
            "make room, for example with `nix-collect-garbage --delete-older-than 30d`; nothing was written"
        )
    )]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// How much is free.
        free: u64,
    },
    /// Critical failures, before a rebuild.
    #[error("the installation has critical failures: {}", .failed.join(", "))]
    #[diagnostic(
        code(hyper_sync::validate::critical),
        help(
            "`hyper-sync validate` lists them in full, `--fix` repairs some; the target is synced, the system was not rebuilt"
        )
    )]
    Critical {
        /// The checks that failed.
        failed: Vec<&'static str>,
    },
}

impl Error {
    /// The exit class.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Target(error) => error.exit(),
            Self::State(error) => error.exit(),
            Self::ReadOnly { .. } | Self::NotWritable { .. } | Self::NoRoom { .. } => {
                Exit::FileSystem
            }
            Self::Critical { .. } => Exit::Failure,
        }
    }
}
