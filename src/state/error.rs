//! What can go wrong with the state directory.

use std::path::{Path, PathBuf};

use miette::Diagnostic;

use crate::exit::Exit;
use crate::fs::Failure;
use crate::text;

/// The state directory, or a file in it.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// A symlink, or something else than a directory, stands at its place.
    #[error("the state directory `{}` is a symlink or not a directory", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::state::not_a_directory),
        help("set `state_dir` (or `--state-dir`) to a real directory; nothing was written")
    )]
    NotADirectory {
        /// Where.
        path: PathBuf,
    },
    /// Somebody else owns it.
    #[error("the state directory `{}` belongs to the user with id {uid}", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::state::foreign_owner),
        help(
            "run as that user, or set `state_dir` to a directory of your own: its files decide what is written; nothing was written"
        )
    )]
    ForeignOwner {
        /// Where.
        path: PathBuf,
        /// The owner.
        uid: u32,
    },
    /// Others can write into it.
    #[error("the state directory `{}` can be written by others (mode {mode:03o})", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::state::writable),
        help(
            "check that it contains nothing unexpected, then `chmod 700` it; nothing was written"
        )
    )]
    Writable {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others can put another directory in its place.
    #[error("`{}`, which is above the state directory `{}`, can be changed by others", text::path(.above), text::path(.path))]
    #[diagnostic(
        code(hyper_sync::state::exposed),
        help(
            "a user who can write there controls the state that root uses: give it to root and take write access from group and others, or set `state_dir` to another directory; nothing was written"
        )
    )]
    Exposed {
        /// Where.
        path: PathBuf,
        /// The directory above it, or a symlink on the way.
        above: PathBuf,
    },
    /// It is another target's.
    #[error("the state directory `{}` is that of the target `{}`", text::path(.path), text::path(.target))]
    #[diagnostic(
        code(hyper_sync::state::other_target),
        help(
            "give each target a state directory of its own with `state_dir` (`--state-dir`); if it is the same target and was moved, remove `{}`; nothing was written", text::path(.record)
        )
    )]
    OtherTarget {
        /// Where.
        path: PathBuf,
        /// The target.
        target: PathBuf,
        /// The file that says so.
        record: PathBuf,
    },
    /// A file that a newer hyper-sync wrote.
    #[error("`{}` was made by a newer hyper-sync (format {version})", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::state::newer),
        help("run the newer hyper-sync; nothing was written")
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// A call failed.
    #[error(transparent)]
    #[diagnostic(
        code(hyper_sync::state::io),
        help(
            "check the disk, its free space and who owns the state directory (`--state-dir` names another); `hyper-sync status` shows which commit the target is at"
        )
    )]
    Io(#[from] Failure),
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotADirectory { .. }
            | Self::ForeignOwner { .. }
            | Self::Writable { .. }
            | Self::Exposed { .. }
            | Self::OtherTarget { .. }
            | Self::Newer { .. } => Exit::Configuration,
            Self::Io(_) => Exit::FileSystem,
        }
    }

    pub(super) fn exposed(path: &Path, above: PathBuf) -> Self {
        Self::Exposed {
            path: path.to_owned(),
            above,
        }
    }
}
