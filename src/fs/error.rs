//! What can go wrong with the target directory.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use rustix::io::Errno;

use crate::exit::Exit;
use crate::git::RelPath;
use crate::text;

/// A call of the local file system failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} `{}`", text::path(.path))]
pub struct Failure {
    /// What was tried.
    pub verb: &'static str,
    /// On what.
    pub path: PathBuf,
    /// The system's error.
    #[source]
    pub source: std::io::Error,
}

impl Failure {
    pub(crate) fn new(verb: &'static str, path: &Path, errno: Errno) -> Self {
        Self::from_io(verb, path, errno.into())
    }

    pub(crate) fn from_io(verb: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self {
            verb,
            path: path.to_owned(),
            source,
        }
    }

    /// The system's error number, where there is one.
    pub(crate) fn errno(&self) -> Option<Errno> {
        Errno::from_io_error(&self.source)
    }
}

/// The local file system refused.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// There is no target.
    #[error("the target `{}` does not exist", text::path(.path))]
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
    #[error("the path of the target `{}` goes through a symlink", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::fs::target_symlink),
        help("set `target` to the real path (`realpath` prints it); nothing was written")
    )]
    TargetSymlink {
        /// As it was set.
        path: PathBuf,
    },
    /// The target is something else than a directory.
    #[error("the target `{}` is not a directory", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::fs::target_not_a_directory),
        help("set `target` to a directory; nothing was written")
    )]
    TargetNotADirectory {
        /// As it was set.
        path: PathBuf,
    },
    /// The directory the target would be made in is missing.
    #[error("the target `{}` does not exist, and neither does the directory it would be made in", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::fs::target_parent_missing),
        help("check `target`, or make the directory above it; nothing was written")
    )]
    TargetParentMissing {
        /// As it was set.
        path: PathBuf,
    },
    /// Somebody else could put another directory in the target's place.
    #[error("`{}`, which is above the target, can be changed by others", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::fs::target_exposed),
        help(
            "a user who can write there could replace the target while root writes into it: give it to root and take write access from group and others; nothing was written"
        )
    )]
    TargetExposed {
        /// The directory above the target.
        path: PathBuf,
    },
    /// The kernel is too old, or a sandbox hides the call.
    #[error("the system has no `openat2`")]
    #[diagnostic(
        code(hyper_sync::fs::unsupported_kernel),
        help(
            "hyper-sync needs Linux 5.6 or newer, and a sandbox that lets `openat2` through; nothing was written"
        )
    )]
    UnsupportedKernel,
    /// The target could not be opened.
    #[error("cannot open the target `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::fs::target_io),
        help("run as a user who may write it, as root for `/etc`; nothing was written")
    )]
    TargetIo {
        /// As it was set.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Another file system inside the target.
    #[error("`{}` in the target is on another file system, or a mount point", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::fs::foreign_mount),
        help("unmount it, or leave it out with `exclude`; nothing was written")
    )]
    ForeignMount {
        /// Relative to the target.
        path: String,
    },
    /// A change of the target failed.
    #[error(transparent)]
    #[diagnostic(
        code(hyper_sync::fs::change),
        help(
            "correct the cause and run again; `hyper-sync status` shows which commit the target is at"
        )
    )]
    Change(#[from] Failure),
    /// A path in the target could not be read or written.
    #[error("cannot {verb} `{}` in the target", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::fs::io),
        help(
            "correct the cause and run again; `hyper-sync status` shows which commit the target is at"
        )
    )]
    Io {
        /// What was tried.
        verb: &'static str,
        /// Relative to the target.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::TargetMissing { .. }
            | Self::TargetSymlink { .. }
            | Self::TargetNotADirectory { .. }
            | Self::TargetParentMissing { .. }
            | Self::TargetExposed { .. } => Exit::Configuration,
            Self::UnsupportedKernel
            | Self::TargetIo { .. }
            | Self::ForeignMount { .. }
            | Self::Change(_)
            | Self::Io { .. } => Exit::FileSystem,
        }
    }

    pub(super) fn open_target(path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOENT => Self::TargetMissing { path },
            Errno::LOOP => Self::TargetSymlink { path },
            Errno::NOTDIR => Self::TargetNotADirectory { path },
            Errno::NOSYS => Self::UnsupportedKernel,
            _ => Self::TargetIo {
                path,
                source: errno.into(),
            },
        }
    }

    /// A failure at a path of the target, which is relative to it.
    pub(super) fn of(path: &str, failure: Failure) -> Self {
        match failure.errno() {
            Some(Errno::XDEV) => Self::ForeignMount {
                path: path.to_owned(),
            },
            _ => Self::Io {
                verb: failure.verb,
                path: path.to_owned(),
                source: failure.source,
            },
        }
    }

    pub(super) fn io(verb: &'static str, path: &RelPath, errno: Errno) -> Self {
        Self::io_at(verb, path.as_str(), errno)
    }

    pub(super) fn io_at(verb: &'static str, path: &str, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::XDEV => Self::ForeignMount { path },
            _ => Self::Io {
                verb,
                path,
                source: errno.into(),
            },
        }
    }
}
