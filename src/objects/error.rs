//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use crate::exit::Exit;
use crate::git::Oid;
use crate::text;

/// The store cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} `{}` in the object store", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::objects::io),
        help(
            "check the free space and the permissions of the state directory; the target is as it was"
        )
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Io { .. } => Exit::FileSystem,
        }
    }

    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: super::shown(path),
            source,
        }
    }
}

/// A pack was not taken; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A delta against an object that is not here.
    #[error("the pack needs the object {id}, which is not here")]
    BaseMissing {
        /// The base.
        id: Oid,
    },
    /// The pack contradicts itself or its checksum, or carries a SHA-1 collision attack.
    #[error("the pack is damaged: {}", text::words(.detail))]
    Corrupt {
        /// What is wrong, the whole chain in one line.
        detail: String,
    },
    /// The pack is larger than allowed.
    #[error("the pack is larger than {limit} bytes")]
    PackTooLarge {
        /// The limit.
        limit: u64,
    },
    /// One of its objects is larger than allowed.
    #[error("an object of the pack is larger than {limit} bytes")]
    ObjectTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The interrupt flag was set.
    #[error("interrupted")]
    Interrupted,
    /// The deadline passed.
    #[error("out of time")]
    Deadline,
    /// The stream that brings the pack failed.
    #[error("the stream broke")]
    Stream(#[source] io::Error),
    /// The store itself.
    #[error(transparent)]
    Store(#[from] Error),
}
