//! What is in the target now: `lstat` and, where that is not enough, the hash.
//!
//! Only requested paths are inspected, so a target may have gigabytes of unmanaged files. Content is hashed unless the
//! index has the same inode, size and times (it has none of a file that changed in the clock tick in which it was
//! inspected: "racy", as in git's index). A file whose size differs from the written one is not hashed either: it is
//! edited, however large it has become.
//! Symlinks are never followed, FIFOs never opened for their content.
//!
//! What one scan has found is kept, so that a run inspects and hashes each path once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;
use litemap::LiteMap;
use miette::Diagnostic;

use crate::exit::Exit;
use crate::fs::{self, FileKind, Stat, Target, content};
use crate::git::{BlobId, File, FileMode, Oid, RelPath};
use crate::lookup::AscendingLookup;
use crate::patterns::Patterns;
use crate::state::{Index, StatData};
use crate::{text, threads};

mod identify;
mod look_ahead;
mod parallel;

pub(crate) use identify::hash;
pub use look_ahead::LookAhead;

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
        /// All that is not a directory below it. Boxed, because it is rare and would double the size of all others.
        below: Box<Below>,
    },
    /// A socket, FIFO or device.
    Special {
        /// What `lstat` returns.
        stat: Stat,
    },
}

/// What is at paths of the target. A run makes a few of these, of all paths and in their order: in one piece of memory, that
/// costs a tenth of what a tree does.
pub type Locals = LiteMap<RelPath, Local>;

/// What a directory holds, inspected only where a file is wanted in its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Below {
    /// Paths that a tree could have.
    pub paths: BTreeSet<RelPath>,
    /// A name that no tree could have, which therefore is not ours.
    pub foreign: Option<String>,
}

/// Which `lstat` data must be equal for a hash of the index to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// Inode, size, mtime and ctime.
    Unchanged,
    /// Size and mtime.
    SizeAndTime,
}

/// The scan of the target failed.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] fs::Error),
    /// A file could not be read to its end.
    #[error("cannot read `{}` in the target", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::scan::read),
        help("check the disk and the file's permissions; nothing was written")
    )]
    Read {
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
            Self::Target(error) => error.exit(),
            Self::Read { .. } => Exit::FileSystem,
        }
    }
}

/// Scans the target, and keeps the results for the time of a run.
#[derive(Debug)]
pub struct Scanner<'a> {
    target: &'a Target,
    /// Has hashes that are valid while the `lstat` data is the same.
    remembered: Option<&'a Index>,
    belief: Belief,
    /// The largest file that a commit may have, in bytes: what is larger is not hashed.
    largest: u64,
    /// Locked for a whole scan: a second one uses the results of the first.
    seen: Mutex<FileObservation>,
}

/// Files that are as they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unchanged {
    /// The sum of their sizes.
    pub bytes: u64,
    /// Whether the index has the metadata of each of them, so that none was hashed.
    pub is_as_in_index: bool,
}

#[derive(Debug)]
struct FileObservation {
    /// Not later than the first `lstat`.
    since: Timestamp,
    /// Has the first results, and is waited for when they are needed.
    ahead: Option<LookAhead>,
    by_path: Locals,
    /// Made on first use: most runs never need it.
    by_id: Option<HashMap<BlobId, RelPath>>,
}

impl<'a> Scanner<'a> {
    /// A scanner of `target` that uses the hashes of the index, if there is one.
    #[must_use]
    pub fn new(target: &'a Target, index: Option<&'a Index>, belief: Belief) -> Self {
        Self {
            target,
            remembered: index,
            belief,
            largest: u64::MAX,
            seen: Mutex::new(FileObservation::nothing()),
        }
    }

    /// Sets the bytes of the largest file that a commit may have.
    #[must_use]
    pub fn largest(self, largest: u64) -> Self {
        Self { largest, ..self }
    }

    /// A time not later than the first `lstat` whose result is kept, in nanoseconds since 1970.
    pub fn since(&self) -> i64 {
        i64::try_from(self.seen().since.as_nanosecond()).unwrap_or(i64::MAX)
    }

    /// Inspects each path, in parallel; a path that was inspected before is not inspected again.
    pub fn inspect<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p RelPath>,
    ) -> Result<Locals, Error> {
        let paths = sorted(paths);
        let mut seen = self.seen();
        self.see(&mut seen, &paths)?;
        let mut by_path = AscendingLookup::new(&seen.by_path);
        let found = paths
            .into_iter()
            .filter_map(|path| Some((path.clone(), by_path.get(path)?.clone())));
        Ok(found.collect())
    }

    /// The hash of what is at the path of each file, in their order, inspected as by [`inspect`](Self::inspect). A file
    /// that was not hashed because its size shows that it is edited is hashed if it may be equal to the given one.
    pub fn hashes(&self, files: &BTreeMap<RelPath, File>) -> Result<Vec<Option<BlobId>>, Error> {
        let paths: Vec<&RelPath> = files.keys().collect();
        let mut seen = self.seen();
        self.see(&mut seen, &paths)?;
        let mut ids = Vec::with_capacity(files.len());
        let mut hashed = Vec::new();
        let mut by_path = AscendingLookup::new(&seen.by_path);
        for (path, file) in files {
            let local = by_path.get(path);
            let mut id = local.and_then(Local::id);
            if let Some(Local::File { id: None, stat, .. }) = local
                && let Some(local) = self.hash_if_wanted(path, stat, file.id)?
            {
                id = local.id();
                hashed.push((path.clone(), local));
            }
            ids.push(id);
        }
        if !hashed.is_empty() {
            seen.by_path.extend(hashed);
            seen.by_id = None;
        }
        Ok(ids)
    }

    /// Inspects each path and, for missing ones, the directories above: a file or symlink in the place of one of those is
    /// part of the result.
    ///
    /// The results are not kept as well: they are the largest part of what a run has in memory.
    pub fn survey<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p RelPath>,
    ) -> Result<Locals, Error> {
        let paths = sorted(paths);
        let mut seen = self.seen();
        self.see(&mut seen, &paths)?;
        seen.by_id = None;
        let mut found = std::mem::take(&mut seen.by_path);
        drop(seen);
        if found.len() > paths.len() {
            found.retain(|path, _| paths.binary_search(&path).is_ok());
        }
        let missing = found
            .iter()
            .filter(|(_, local)| matches!(local, Local::Missing));
        let mut stats = self.target.stats();
        for directory in RelPath::above(missing.map(|(path, _)| path)) {
            let kind = stats.of(&directory)?.map(|stat| stat.kind);
            if !matches!(kind, None | Some(FileKind::Directory)) {
                let local = self.look_at(&directory)?;
                found.insert(directory, local);
            }
        }
        Ok(found)
    }

    /// The files of `base` that are not as they were written: each path with what is there now.
    ///
    /// Where `executable` matches, a file that differs only in its execute bit is not edited.
    pub fn edits(
        &self,
        base: &BTreeMap<RelPath, File>,
        executable: &Patterns,
    ) -> Result<Locals, Error> {
        let mut local = self.inspect(base.keys())?;
        local.retain(|path, local| {
            let is_same = base.get(path).is_some_and(|file| {
                local.is(file) || (local.has_content_of(file) && executable.matches(path))
            });
            !is_same
        });
        Ok(local)
    }

    /// Whether the target is absent or empty. One that cannot be listed counts as not empty.
    pub fn finds_nothing(&self) -> bool {
        self.target.list(None).is_ok_and(|names| names.is_empty())
    }

    /// The files of the index, if each of them is as it was written and none has mode bits that no commit has. Those whose
    /// metadata is not that of the index are hashed.
    pub fn unchanged(&self, index: &Index) -> Result<Option<Unchanged>, Error> {
        let paths: Vec<&RelPath> = index.files.keys().collect();
        let mut seen = self.seen();
        self.see(&mut seen, &paths)?;
        let mut by_path = AscendingLookup::new(&seen.by_path);
        let mut known = AscendingLookup::new(&index.seen);
        let mut found = Unchanged {
            bytes: 0,
            is_as_in_index: true,
        };
        for (path, file) in &*index.files {
            let Some(local) = by_path.get(path).filter(|local| local.is(file)) else {
                return Ok(None);
            };
            let stat = match local {
                Local::File { stat, .. } if stat.excess() == 0 => stat,
                Local::Symlink { stat, .. } => stat,
                _ => return Ok(None),
            };
            found.bytes += stat.size;
            found.is_as_in_index &= known.get(path) == Some(&StatData::from(stat));
        }
        Ok(Some(found))
    }

    /// Drops all results, so that the next scan starts anew.
    pub fn forget(&self) {
        *self.seen() = FileObservation::nothing();
    }

    /// The content with this id, from a file that hashed to it and still does.
    pub fn content(&self, id: BlobId) -> Option<Vec<u8>> {
        let path = self.seen().holder(id)?;
        self.read(&path, id)
    }

    /// The content of the file at `path`, if it hashes to `id`.
    pub fn read(&self, path: &RelPath, id: BlobId) -> Option<Vec<u8>> {
        let content = match self.target.open_file(path).ok()? {
            Some((file, _)) => content::read(&file, self.largest).ok()?,
            None => self.target.read_link(path).ok()??,
        };
        (Oid::of(crate::git::id::ObjectKind::Blob, &content).ok()? == id.0).then_some(content)
    }

    /// The content of the file at `path` that was not hashed, if its `lstat` is the same; `None` also if it is larger than
    /// any file of a commit.
    pub fn read_edited(&self, path: &RelPath, stat: &Stat) -> Option<Vec<u8>> {
        let (file, now) = self.target.open_file(path).ok()??;
        let content = content::read(&file, self.largest).ok()?;
        (now == *stat && content.len() as u64 == stat.size).then_some(content)
    }

    fn seen(&self) -> MutexGuard<'_, FileObservation> {
        let mut seen = threads::lock(&self.seen);
        if let Some(ahead) = seen.ahead.take() {
            seen.by_path = ahead.results();
        }
        seen
    }
}

impl FileObservation {
    fn nothing() -> Self {
        Self {
            since: Timestamp::now(),
            ahead: None,
            by_path: Locals::new(),
            by_id: None,
        }
    }

    /// A path whose content hashes to `id`.
    fn holder(&mut self, id: BlobId) -> Option<RelPath> {
        let by_path = &self.by_path;
        let by_id = self.by_id.get_or_insert_with(|| {
            let holders = by_path.iter();
            holders
                .filter_map(|(path, local)| Some((local.id()?, path.clone())))
                .collect()
        });
        by_id.get(&id).cloned()
    }
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

    /// Whether both are regular files of the same content.
    fn has_content_of(&self, file: &File) -> bool {
        let are_files = matches!(self, Self::File { .. }) && file.mode != FileMode::Symlink;
        are_files && self.id() == Some(file.id)
    }
}

fn sorted<'p>(paths: impl IntoIterator<Item = &'p RelPath>) -> Vec<&'p RelPath> {
    let mut paths: Vec<&RelPath> = paths.into_iter().collect();
    // Stable, because that is fast where it is sorted in parts.
    paths.sort();
    paths.dedup();
    paths
}
