//! The index: what the last sync wrote. It is the base of the three-way plan, and a cache of hashes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use litemap::LiteMap;
use rustix::io::Errno;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::sealed::{self, Found, SealedFormat};
use super::{Error, StateDir};
use crate::fs::{Stat, Unsynced};
use crate::git::{BlobId, CommitId, File, FileMode, KnownTree, RelPath, TreeId};

mod encoding;

const NAME: &str = "index";
/// The first version that is not in JSON.
const FIRST_ENCODED: u32 = 3;
const FORMAT: SealedFormat = SealedFormat {
    kind: "index",
    // 2: `repository`; 3: not in JSON; 4: `directories`.
    version: 4,
};

/// Two seconds, the coarsest time stamps of any file system Linux writes to (FAT).
const COARSE_TICK: i64 = 2_000_000_000;
/// Twice the tick of a kernel with `HZ=100`, from which finer time stamps are taken.
const FINE_TICK: i64 = 20_000_000;

/// A commit that a target is brought to, and how it was requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncPoint {
    /// The commit.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// The branch, tag or id by which it was requested.
    pub reference: String,
    /// Its repository, without credentials. Unknown in an index or a transaction of version 1.
    #[serde(default)]
    pub repository: Option<String>,
}

/// The commit that the target was brought to, and what was written for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// What the target is at.
    pub point: SyncPoint,
    /// The managed files and symlinks, by path: the base of the next plan. Shared with the plan that they are from.
    pub files: Arc<BTreeMap<RelPath, File>>,
    /// How a file of these looked while it had exactly its content. One is not here where that is not known, or where it
    /// changed so shortly before it was inspected that it could change again without looking different.
    pub seen: LiteMap<RelPath, StatData>,
    /// The tree objects of directories below which the commit has what `files` has, and nothing else. A directory of the
    /// next commit that has the same object need not be read. As git's `TREE` extension (gitformat-index(5)).
    pub directories: Arc<BTreeMap<RelPath, TreeId>>,
}

/// An index of a version in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexFields {
    commit: CommitId,
    tree: TreeId,
    reference: String,
    #[serde(default)]
    repository: Option<String>,
    entries: BTreeMap<RelPath, Owned>,
}

impl From<IndexFields> for Index {
    fn from(fields: IndexFields) -> Self {
        let point = SyncPoint {
            commit: fields.commit,
            tree: fields.tree,
            reference: fields.reference,
            repository: fields.repository,
        };
        Self::of(point, fields.entries)
    }
}

/// Consecutive files of an index that is being read.
pub type FileBlock = Vec<(RelPath, Owned)>;

/// How many files a block has, but for the last one.
pub const FILES_A_BLOCK: usize = 256;

/// A file or symlink of ours, with what is known of its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owned {
    /// What it was written as.
    pub mode: FileMode,
    /// Its content.
    pub id: BlobId,
    /// As in [`Index::seen`].
    pub seen: Option<StatData>,
}

/// The part of `lstat` that changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatData {
    /// Size in bytes.
    pub size: u64,
    /// Last change of content, nanoseconds since 1970.
    #[serde(deserialize_with = "read_time")]
    pub mtime: i64,
    /// Last change of the inode, nanoseconds since 1970.
    #[serde(deserialize_with = "read_time")]
    pub ctime: i64,
    /// Inode number.
    pub ino: u64,
}

/// As an array in the record of a transaction: there are thousands of them, and the names of the fields would be a quarter
/// of the file. Every reader reads either.
impl Serialize for Owned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.mode, self.id, self.seen).serialize(serializer)
    }
}

/// As an array, as above.
impl Serialize for StatData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.size, self.mtime, self.ctime, self.ino).serialize(serializer)
    }
}

impl Index {
    /// The index of these files.
    #[must_use]
    pub fn of(point: SyncPoint, files: impl IntoIterator<Item = (RelPath, Owned)>) -> Self {
        let mut seen = LiteMap::new();
        let files = files.into_iter().map(|(path, owned)| {
            if let Some(stat) = owned.seen {
                seen.insert(path.clone(), stat);
            }
            (path, owned.file())
        });
        let files = Arc::new(files.collect());
        Self {
            point,
            files,
            seen,
            directories: Arc::default(),
        }
    }

    /// Reads the index. A damaged one stays in its place; see [`set_aside`](Self::set_aside).
    pub fn load(state: &StateDir) -> Result<Found<Self>, Error> {
        Self::load_as(state, NAME, None)
    }

    /// As [`load`](Self::load), and sends its files while it is read: of one that turns out damaged, some of them.
    pub(crate) fn load_sending(
        state: &StateDir,
        files: Option<&Sender<FileBlock>>,
    ) -> Result<Found<Self>, Error> {
        Self::load_as(state, NAME, files)
    }

    fn load_as(
        state: &StateDir,
        name: &str,
        files: Option<&Sender<FileBlock>>,
    ) -> Result<Found<Self>, Error> {
        sealed::read_as(state.directory(), name, FORMAT, |version, body| {
            if version < FIRST_ENCODED {
                let fields: IndexFields = serde_json::from_slice(body).ok()?;
                return Some(fields.into());
            }
            encoding::read(version, body, files)
        })
    }

    /// What the index is sealed with: it changes whenever the index does. `None` if there is no index.
    pub fn checksum(state: &StateDir) -> Result<Option<String>, Error> {
        sealed::checksum(state.directory(), NAME)
    }

    /// Puts a damaged index aside; returns where it is now. The base is then unknown, and the rules of a first run
    /// apply: whatever differs from the commit counts as edited.
    pub fn set_aside(state: &StateDir) -> Result<PathBuf, Error> {
        sealed::set_aside(state.directory(), NAME)
    }

    /// Writes the index, durable when this returns.
    pub fn save(&self, state: &StateDir) -> Result<(), Error> {
        sealed::write(state.directory(), NAME, FORMAT, self)
    }

    /// Writes the index in the place of the one that is saved, durable with what is returned. A power cut before that may
    /// leave a torn one, so the former one is kept, for [`load_either`](Self::load_either), until
    /// [`remove_former`](Self::remove_former).
    pub(crate) fn exchange<'a>(&self, state: &'a StateDir) -> Result<[Unsynced<'a>; 2], Error> {
        let directory = state.directory();
        let former = sealed::temporary(NAME);
        sealed::create(directory, &former, FORMAT, self)?;
        let exchanged = match directory.exchange(&former, directory, NAME) {
            // There is none.
            Err(Errno::NOENT) => directory.rename(&former, directory, NAME),
            // The file system cannot do that.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                directory.sync_file(&former)?;
                directory.rename(&former, directory, NAME)
            }
            exchanged => exchanged,
        };
        exchanged.map_err(|errno| directory.failure("replace", NAME, errno))?;
        Ok([
            Unsynced::File(directory, NAME.to_owned()),
            Unsynced::Names(directory),
        ])
    }

    /// Reads the index after an interrupted [`exchange`](Self::exchange): this one or the former one. `None` if neither is
    /// whole.
    pub(crate) fn load_either(state: &StateDir) -> Result<Option<Self>, Error> {
        let directory = state.directory();
        let former = sealed::temporary(NAME);
        if let Found::Whole(index) = Self::load(state)? {
            // It may not be durable yet, and the former one is about to go.
            if directory.stat(&former)?.is_some() {
                directory.sync_file(NAME)?;
                directory.sync()?;
            }
            return Ok(Some(index));
        }
        let Found::Whole(index) = Self::load_as(state, &former, None)? else {
            return Ok(None);
        };
        // Its name is that of what is written next.
        directory
            .rename(&former, directory, NAME)
            .map_err(|errno| directory.failure("replace", NAME, errno))?;
        directory.sync()?;
        Ok(Some(index))
    }

    /// Removes the former index.
    pub(crate) fn remove_former(state: &StateDir) -> Result<(), Error> {
        Ok(state.directory().unlink(sealed::temporary(NAME))?)
    }

    /// What is known of a path.
    #[must_use]
    pub fn owned(&self, path: &RelPath) -> Option<Owned> {
        let file = self.files.get(path)?;
        Some(Owned::of(*file, self.seen.get(path).copied()))
    }

    /// What need not be read again of another tree.
    #[must_use]
    pub fn known_tree(&self) -> KnownTree<'_> {
        KnownTree {
            files: &self.files,
            directories: &self.directories,
        }
    }
}

impl StatData {
    /// What to remember of a file that was hashed at `looked_at` (nanoseconds since 1970, not later than the `lstat`);
    /// `None` where it changed in the same tick of its file system's clock, so that a second change in that tick would
    /// not show (git calls this "racy").
    #[must_use]
    pub fn of(stat: &Stat, looked_at: i64) -> Option<Self> {
        // `ctime` cannot be set, so it shows the resolution of the clock: whole milliseconds are unlikely by chance.
        let tick = if stat.ctime % 1_000_000 == 0 {
            COARSE_TICK
        } else {
            FINE_TICK
        };
        (stat.mtime.max(stat.ctime) < looked_at - tick).then(|| Self::from(stat))
    }
}

impl From<&Stat> for StatData {
    fn from(stat: &Stat) -> Self {
        Self {
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
            ino: stat.ino,
        }
    }
}

impl Owned {
    /// A file, and how it looked.
    #[must_use]
    pub fn of(file: File, seen: Option<StatData>) -> Self {
        Self {
            mode: file.mode,
            id: file.id,
            seen,
        }
    }

    /// What it was written as.
    #[must_use]
    pub fn file(&self) -> File {
        File {
            mode: self.mode,
            id: self.id,
        }
    }
}

/// Nanoseconds since 1970, in JSON. A time beyond those of an `i64` is one that an older version wrote: it is read as one near
/// to it, so that its file is hashed again.
fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    struct Time;

    impl Visitor<'_> for Time {
        type Value = i64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("nanoseconds since 1970")
        }

        fn visit_i64<E: de::Error>(self, time: i64) -> Result<i64, E> {
            Ok(time)
        }

        fn visit_u64<E: de::Error>(self, time: u64) -> Result<i64, E> {
            Ok(i64::try_from(time).unwrap_or(i64::MAX))
        }

        #[expect(clippy::cast_possible_truncation, reason = "the nearest will do")]
        fn visit_f64<E: de::Error>(self, time: f64) -> Result<i64, E> {
            Ok(time as i64)
        }
    }

    deserializer.deserialize_i64(Time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::FileKind;

    fn stat(mtime: i64, ctime: i64) -> Stat {
        Stat {
            kind: FileKind::File,
            mode: 0o644,
            size: 1,
            mtime,
            ctime,
            ino: 1,
            uid: 0,
        }
    }

    #[test]
    fn a_file_that_changed_in_the_tick_it_was_looked_at_is_not_remembered() {
        let now = 1_700_000_000_123_456_789;
        let earlier = |milliseconds: i64| now - milliseconds * 1_000_000;
        assert!(StatData::of(&stat(0, earlier(21)), now).is_some());
        assert!(StatData::of(&stat(0, earlier(19)), now).is_none());
        assert!(
            StatData::of(&stat(now, earlier(900)), now).is_none(),
            "a time from the future"
        );

        let coarse = 1_700_000_000_000_000_000;
        assert!(StatData::of(&stat(0, coarse), coarse + 2_000_000_001).is_some());
        assert!(StatData::of(&stat(0, coarse), coarse + 1_999_999_999).is_none());
    }

    fn read(time: &str) -> i64 {
        read_time(&mut serde_json::Deserializer::from_str(time)).unwrap()
    }

    #[test]
    fn a_time_is_read_and_one_beyond_is_read_as_the_nearest() {
        for time in [0, 1, -1, 1_700_000_000_123_456_789, i64::MIN, i64::MAX] {
            assert_eq!(read(&time.to_string()), time);
        }
        assert_eq!(read(&u64::MAX.to_string()), i64::MAX);
        let beyond = i128::from(i64::MAX) * 1_000_000_000 + 7;
        assert_eq!(read(&beyond.to_string()), i64::MAX);
        assert_eq!(read(&(-beyond).to_string()), i64::MIN);
    }
}
