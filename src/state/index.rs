//! The index: what we wrote into the target, the base of the three-way plan and a cache of hashes.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::sealed::{self, Format, Found};
use super::{Error, StateDir};
use crate::fs::{Kind, Stat};
use crate::git::{BlobId, CommitId, File, FileMode, RelPath, TreeId};
use crate::scan::Remembered;

const NAME: &str = "index";
const FORMAT: Format = Format {
    kind: "index",
    version: 1,
};

/// Two seconds, the coarsest time stamps of any file system Linux writes to (FAT). A file that changed this shortly
/// before it was looked at could change again without its time stamps telling.
const RACY: i128 = 2_000_000_000;

/// What we wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The commit the target was brought to.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// The name the commit was asked for by.
    pub reference: String,
    /// When the files were looked at, nanoseconds since 1970: a time before the first look.
    pub looked_at: i128,
    /// What is ours, by path.
    pub entries: BTreeMap<RelPath, Owned>,
}

/// A file or symlink of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owned {
    /// What it was written as.
    pub mode: FileMode,
    /// Its content.
    pub id: BlobId,
    /// How the file looked while it had exactly this content; `None` where the file there has another.
    pub seen: Option<Seen>,
}

/// The part of `lstat` that changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Size in bytes.
    pub size: u64,
    /// Last change of content, nanoseconds since 1970.
    pub mtime: i128,
    /// Last change of the inode, nanoseconds since 1970.
    pub ctime: i128,
    /// Inode number.
    pub ino: u64,
}

impl Index {
    /// Reads the index. A damaged one is not touched; see [`set_aside`](Self::set_aside).
    pub fn load(state: &StateDir) -> Result<Found<Self>, Error> {
        sealed::read(state.directory(), NAME, FORMAT)
    }

    /// Puts a damaged index aside and tells where it is now. The base is then unknown, and the rules of a first run
    /// apply: whatever differs from the commit counts as edited.
    pub fn set_aside(state: &StateDir) -> Result<PathBuf, Error> {
        sealed::set_aside(state.directory(), NAME)
    }

    /// Writes the index, durable when this returns.
    pub fn save(&self, state: &StateDir) -> Result<(), Error> {
        sealed::write(state.directory(), NAME, FORMAT, self)
    }

    /// The base of the plan.
    #[must_use]
    pub fn base(&self) -> BTreeMap<RelPath, File> {
        let file = |owned: &Owned| File {
            mode: owned.mode,
            id: owned.id,
        };
        self.entries
            .iter()
            .map(|(path, owned)| (path.clone(), file(owned)))
            .collect()
    }

    /// The hashes that need not be computed again while the files look the same.
    #[must_use]
    pub fn remembered(&self) -> HashMap<RelPath, Remembered> {
        self.entries
            .iter()
            .filter_map(|(path, owned)| Some((path.clone(), owned.remembered()?)))
            .collect()
    }

    /// Only files that changed before this time are believed to be what they were
    /// ([`Belief::OlderThan`](crate::scan::Belief::OlderThan)).
    #[must_use]
    pub fn believed_before(&self) -> i128 {
        self.looked_at - RACY
    }
}

impl Owned {
    fn remembered(&self) -> Option<Remembered> {
        let seen = self.seen?;
        Some(Remembered {
            id: self.id,
            stat: Stat {
                kind: match self.mode {
                    FileMode::Regular | FileMode::Executable => Kind::File,
                    FileMode::Symlink => Kind::Symlink,
                },
                mode: self.mode.permissions().unwrap_or(0o777),
                size: seen.size,
                mtime: seen.mtime,
                ctime: seen.ctime,
                ino: seen.ino,
                nlink: 1,
                uid: 0,
            },
        })
    }
}

impl From<&Stat> for Seen {
    fn from(stat: &Stat) -> Self {
        Self {
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
            ino: stat.ino,
        }
    }
}
