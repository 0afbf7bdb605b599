//! What is in the target now: `lstat` and, where that does not tell, the hash.
//!
//! Only paths that are asked for are looked at, so a target may hold gigabytes that are not ours. Content is hashed
//! unless the index knows the very same inode, size and times (and the index forgets those of a file that changed in
//! the tick in which it was looked at: "racy", as in git's own index).
//! Symlinks are never followed, FIFOs never opened for their content.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::sync::Mutex;

use jiff::Timestamp;
use miette::Diagnostic;
use sha1::{Digest, Sha1};

use crate::fs::{self, Kind, Stat, Target};
use crate::git::{BlobId, File, FileMode, Oid, RelPath};

mod edits;

/// What is at a path of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// Nothing.
    Missing,
    /// A regular file.
    File {
        /// Whether its owner may execute it, which is what git keeps of a mode.
        executable: bool,
        /// The hash of its content.
        id: BlobId,
        /// What `lstat` tells.
        stat: Stat,
    },
    /// A symlink.
    Symlink {
        /// The hash of its target.
        id: BlobId,
        /// What `lstat` tells.
        stat: Stat,
    },
    /// A directory.
    Directory {
        /// What `lstat` tells.
        stat: Stat,
        /// All that is not a directory below it.
        below: Below,
    },
    /// A socket, FIFO or device.
    Special {
        /// What `lstat` tells.
        stat: Stat,
    },
}

/// What a directory holds, looked at only where a file is wanted in its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Below {
    /// Paths that a tree could have.
    pub paths: BTreeSet<RelPath>,
    /// A name that no tree could have, which therefore is not ours.
    pub foreign: Option<String>,
}

/// What the index remembers of a file, so that it need not be hashed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// The hash of its content.
    pub id: BlobId,
    /// What `lstat` told when it was written or hashed.
    pub stat: Stat,
}

/// How far the index is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// Everything is hashed.
    Nothing,
    /// Inode, size, mtime and ctime must be the same. The index remembers only what is old enough to be believed.
    Unchanged,
    /// Size and mtime are enough.
    SizeAndTime,
}

/// The look at the target failed.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] fs::Error),
    /// A file could not be read to its end.
    #[error("cannot read `{}` in the target", .path.escape_debug())]
    #[diagnostic(
        code(hyper_sync::scan::read),
        help("check the disk and the file's permissions; nothing was written")
    )]
    Read {
        /// Relative to the target.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Looks at the target, remembering what it saw for the time of a run.
#[derive(Debug)]
pub struct Scanner<'a> {
    target: &'a Target,
    remembered: HashMap<RelPath, Remembered>,
    belief: Belief,
    since: Mutex<Timestamp>,
    /// One look at a time: a second one finds what the first one saw.
    looking: Mutex<()>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    by_path: HashMap<RelPath, Local>,
    by_id: HashMap<BlobId, RelPath>,
}

impl Local {
    /// Whether it is exactly this file of a commit, as far as git tells files apart.
    #[must_use]
    pub fn is(&self, file: &File) -> bool {
        self.file().as_ref() == Some(file)
    }

    /// The file of a commit that it would be.
    #[must_use]
    pub fn file(&self) -> Option<File> {
        let (mode, id) = match self {
            Self::File {
                executable: true,
                id,
                ..
            } => (FileMode::Executable, *id),
            Self::File { id, .. } => (FileMode::Regular, *id),
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

    /// What `lstat` told.
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

impl<'a> Scanner<'a> {
    /// A scanner over `target` that believes the index as far as `belief` goes.
    #[must_use]
    pub fn new(
        target: &'a Target,
        remembered: HashMap<RelPath, Remembered>,
        belief: Belief,
    ) -> Self {
        Self {
            target,
            remembered,
            belief,
            since: Mutex::new(Timestamp::now()),
            looking: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// When the first of what is remembered may have been seen, in nanoseconds since 1970, as files' times are.
    pub fn since(&self) -> i128 {
        lock(&self.since).as_nanosecond()
    }

    /// Looks at each path, in parallel; a path that was seen before is not looked at again.
    pub fn look<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p RelPath>,
    ) -> Result<BTreeMap<RelPath, Local>, Error> {
        let _looking = lock(&self.looking);
        let mut found = Vec::new();
        let mut unseen = Vec::new();
        {
            let seen = lock(&self.seen);
            for path in paths {
                match seen.by_path.get(path) {
                    Some(local) => found.push((path.clone(), local.clone())),
                    None => unseen.push(path),
                }
            }
        }
        unseen.sort_unstable();
        unseen.dedup();
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(8);
        // Contiguous chunks keep one directory with one thread.
        let chunk = unseen.len().div_ceil(threads).max(64);
        let looked: Vec<Result<Vec<(RelPath, Local)>, Error>> = std::thread::scope(|scope| {
            let workers: Vec<_> = unseen
                .chunks(chunk)
                .map(|paths| {
                    scope.spawn(move || {
                        let mut stats = self.target.stats();
                        let look = |&path: &&RelPath| {
                            let local = match stats.of(path)? {
                                Some(stat) => self.identify(path, stat)?,
                                None => Local::Missing,
                            };
                            Ok((path.clone(), local))
                        };
                        paths.iter().map(look).collect()
                    })
                })
                .collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            workers.into_iter().map(join).collect()
        });
        let mut seen = lock(&self.seen);
        for part in looked {
            for (path, local) in part? {
                if let Some(id) = local.id() {
                    seen.by_id.insert(id, path.clone());
                }
                seen.by_path.insert(path.clone(), local.clone());
                found.push((path, local));
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Looks at each path, and where one is missing also at what may stand in its way: a file or symlink at the
    /// place of a directory above it is part of the answer.
    pub fn survey<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p RelPath>,
    ) -> Result<BTreeMap<RelPath, Local>, Error> {
        let mut found = self.look(paths)?;
        let above: BTreeSet<RelPath> = found
            .iter()
            .filter(|(_, local)| **local == Local::Missing)
            .flat_map(|(path, _)| path.ancestors())
            .collect();
        for directory in above {
            let kind = self.target.stat(&directory)?.map(|stat| stat.kind);
            if !matches!(kind, None | Some(Kind::Directory)) {
                let local = self.look_at(&directory)?;
                found.insert(directory, local);
            }
        }
        Ok(found)
    }

    /// Forgets what was seen, so that the next look is fresh.
    pub fn forget(&self) {
        let _looking = lock(&self.looking);
        *lock(&self.since) = Timestamp::now();
        *lock(&self.seen) = Seen::default();
    }

    /// The content behind an id, from a file that was seen to hash to it and still does.
    pub fn content(&self, id: BlobId) -> Option<Vec<u8>> {
        let path = lock(&self.seen).by_id.get(&id).cloned()?;
        self.read(&path, id)
    }

    /// The content of the file at `path`, if it hashes to `id`.
    pub fn read(&self, path: &RelPath, id: BlobId) -> Option<Vec<u8>> {
        let content = match self.target.open_file(path).ok()? {
            Some((mut file, _)) => {
                let mut content = Vec::new();
                file.read_to_end(&mut content).ok()?;
                content
            }
            None => self.target.read_link(path).ok()??,
        };
        (Oid::of(crate::git::id::Kind::Blob, &content).ok()? == id.0).then_some(content)
    }

    fn look_at(&self, path: &RelPath) -> Result<Local, Error> {
        match self.target.stat(path)? {
            Some(stat) => self.identify(path, stat),
            None => Ok(Local::Missing),
        }
    }

    /// What is at a path of which `lstat` told this.
    fn identify(&self, path: &RelPath, stat: Stat) -> Result<Local, Error> {
        Ok(match stat.kind {
            Kind::File => self.file(path, stat)?,
            Kind::Symlink => match self.target.read_link(path)? {
                Some(text) => Local::Symlink {
                    id: hash(text.len() as u64, &mut text.as_slice()).map_err(read(path))?,
                    stat,
                },
                None => Local::Missing,
            },
            Kind::Directory => Local::Directory {
                stat,
                below: self.below(path)?,
            },
            Kind::Special => Local::Special { stat },
        })
    }

    fn file(&self, path: &RelPath, stat: Stat) -> Result<Local, Error> {
        if let Some(remembered) = self
            .remembered
            .get(path)
            .filter(|known| self.believes(known, &stat))
        {
            return Ok(Local::File {
                executable: stat.mode & 0o100 != 0,
                id: remembered.id,
                stat,
            });
        }
        // A file that is written to while it is read has another size than `fstat` told: its hash then belongs to
        // no content at all, so it is read again, and in the end taken as what it was at some moment.
        let mut attempts = 0;
        loop {
            let Some((mut file, stat)) = self.target.open_file(path)? else {
                return Ok(Local::Missing);
            };
            attempts += 1;
            match hash(stat.size, &mut file) {
                Ok(id) => {
                    return Ok(Local::File {
                        executable: stat.mode & 0o100 != 0,
                        id,
                        stat,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && attempts < 3 => {
                }
                Err(error) => return Err(read(path)(error)),
            }
        }
    }

    fn believes(&self, known: &Remembered, stat: &Stat) -> bool {
        let same_content = known.stat.size == stat.size && known.stat.mtime == stat.mtime;
        match self.belief {
            Belief::Nothing => false,
            Belief::SizeAndTime => same_content,
            Belief::Unchanged => {
                same_content && known.stat.ino == stat.ino && known.stat.ctime == stat.ctime
            }
        }
    }

    fn below(&self, directory: &RelPath) -> Result<Below, Error> {
        let mut below = Below::default();
        let mut pending = vec![directory.clone()];
        while let Some(directory) = pending.pop() {
            for name in self.target.list(Some(&directory))? {
                let Ok(path) = RelPath::join(Some(&directory), &name) else {
                    below.foreign = Some(format!("{directory}/{}", String::from_utf8_lossy(&name)));
                    return Ok(below);
                };
                match self.target.stat(&path)?.map(|stat| stat.kind) {
                    Some(Kind::Directory) => pending.push(path),
                    Some(_) => {
                        below.paths.insert(path);
                    }
                    None => {}
                }
            }
        }
        Ok(below)
    }
}

/// Hashes as git does, with a plain SHA-1: the content is local, nobody gains by a collision here.
///
/// `size` bytes must come, no more and no fewer.
pub(crate) fn hash(size: u64, content: &mut dyn Read) -> std::io::Result<BlobId> {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {size}\0"));
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                total += count as u64;
                hasher.update(&buffer[..count]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if total != size {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(BlobId(Oid::from_bytes(hasher.finalize().into())))
}

fn read(path: &RelPath) -> impl FnOnce(std::io::Error) -> Error + '_ {
    |source| Error::Read {
        path: path.to_string(),
        source,
    }
}

/// A poisoned cache is as good as another: nothing in it is half-written.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
