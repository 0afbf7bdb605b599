//! What can be at a path of the target.

use std::collections::BTreeSet;

use crate::fs::Stat;
use crate::git::{BlobId, File, FileMode, RelPath};

/// What is at a path of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// Nothing.
    Missing,
    /// A regular file.
    File {
        /// Whether its owner may execute it, which is what git keeps of a mode.
        executable: bool,
        /// The hash of its content; `None` where it was not hashed, because it has another size than what a sync wrote
        /// there, or than any file of a commit: then it is nothing that a commit has.
        id: Option<BlobId>,
        /// What `lstat` returns.
        stat: Stat,
    },
    /// A symlink.
    Symlink {
        /// The hash of its target.
        id: BlobId,
        /// What `lstat` returns.
        stat: Stat,
    },
    /// A directory.
    Directory {
        /// What `lstat` returns.
        stat: Stat,
        /// All that is not a directory below it.
        below: Below,
    },
    /// A socket, FIFO or device.
    Special {
        /// What `lstat` returns.
        stat: Stat,
    },
}

/// What a directory holds, inspected only where a file is wanted in its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Below {
    /// Paths that a tree could have.
    pub paths: BTreeSet<RelPath>,
    /// A name that no tree could have, which therefore is not ours.
    pub foreign: Option<String>,
}

impl Local {
    /// Whether it is exactly this file of a commit, as far as git distinguishes files.
    #[must_use]
    pub fn is(&self, file: &File) -> bool {
        self.file().as_ref() == Some(file)
    }

    /// The file of a commit that it would be.
    #[must_use]
    pub fn file(&self) -> Option<File> {
        let (mode, id) = match self {
            Self::File { executable, id, .. } => (FileMode::of_file(*executable), (*id)?),
            Self::Symlink { id, .. } => (FileMode::Symlink, *id),
            Self::Missing | Self::Directory { .. } | Self::Special { .. } => return None,
        };
        Some(File { mode, id })
    }

    /// The hash of its content, where it has one.
    #[must_use]
    pub fn id(&self) -> Option<BlobId> {
        self.file().map(|file| file.id)
    }

    /// What `lstat` returned.
    #[must_use]
    pub fn stat(&self) -> Option<&Stat> {
        match self {
            Self::File { stat, .. }
            | Self::Symlink { stat, .. }
            | Self::Directory { stat, .. }
            | Self::Special { stat } => Some(stat),
            Self::Missing => None,
        }
    }
}
