//! What can go wrong with the target directory.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use rustix::io::Errno;

use crate::git::RelPath;

/// The local file system refused.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// There is no target.
    #[error("the target `{}` does not exist", .path.display())]
    #[diagnostic(
        code(hyper_sync::fs::target_missing),
        help(
            "set `target` (or `--target`) to the directory that should follow the repository; nothing was written"
        )
    )]
    TargetMissing {
        /// As it was set.
        path: PathBuf,
    },
    /// The target or something above it is a symlink.
    #[error("the path of the target `{}` goes through a symlink", .path.display())]
    #[diagnostic(
        code(hyper_sync::fs::target_symlink),
        help("set `target` to the real path (`realpath` prints it); nothing was written")
    )]
    TargetSymlink {
        /// As it was set.
        path: PathBuf,
    },
    /// The target is something else than a directory.
    #[error("the target `{}` is not a directory", .path.display())]
    #[diagnostic(
        code(hyper_sync::fs::target_not_a_directory),
        help("set `target` to a directory; nothing was written")
    )]
    TargetNotADirectory {
        /// As it was set.
        path: PathBuf,
    },
    /// The target could not be opened.
    #[error("cannot open the target `{}`", .path.display())]
    #[diagnostic(
        code(hyper_sync::fs::target_io),
        help("run as a user who may write it, as root for `/etc`; nothing was written")
    )]
    TargetIo {
        /// As it was set.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A path in the target could not be read or written.
    #[error("cannot {verb} `{}` in the target", .path.escape_debug())]
    #[diagnostic(
        code(hyper_sync::fs::io),
        help("see the cause; `hyper-sync status` tells which commit the target is at")
    )]
    Io {
        /// What was tried.
        verb: &'static str,
        /// Relative to the target.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    pub(super) fn open_target(path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOENT => Self::TargetMissing { path },
            Errno::LOOP => Self::TargetSymlink { path },
            Errno::NOTDIR => Self::TargetNotADirectory { path },
            _ => Self::TargetIo {
                path,
                source: errno.into(),
            },
        }
    }

    pub(super) fn io(verb: &'static str, path: &RelPath, errno: Errno) -> Self {
        Self::io_at(verb, path.as_str(), errno)
    }

    pub(super) fn io_at(verb: &'static str, path: &str, errno: Errno) -> Self {
        Self::Io {
            verb,
            path: path.to_owned(),
            source: errno.into(),
        }
    }
}
