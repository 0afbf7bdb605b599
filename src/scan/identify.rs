//! What is at one path.

use std::io::Read;

use sha1::{Digest, Sha1};

use super::{Belief, Below, Error, Local, Scanner};
use crate::fs::{FileKind, Stat, StatReader};
use crate::git::{BlobId, FileMode, Oid, RelPath};
use crate::lookup::AscendingLookup;
use crate::state::Owned;
use crate::text;

impl Scanner<'_> {
    /// Inspects sorted paths, each with what is known of it, one after the other.
    pub(super) fn look_at_each(
        &self,
        stats: &mut StatReader<'_>,
        files: impl Iterator<Item = (RelPath, Option<Owned>)>,
    ) -> Result<Vec<(RelPath, Local)>, Error> {
        let look = |(path, known): (RelPath, Option<Owned>)| {
            let local = match stats.of(&path)? {
                Some(stat) => self.identify(&path, stat, known)?,
                None => Local::Missing,
            };
            Ok((path, local))
        };
        files.map(look).collect()
    }

    /// What the index has of paths that ascend from the first one.
    pub(super) fn known_from(
        &self,
        first: Option<&RelPath>,
    ) -> impl FnMut(&RelPath) -> Option<Owned> {
        let known = self.remembered.zip(first);
        let mut known = known.map(|(index, first)| {
            let files = AscendingLookup::new(index.files.range::<RelPath, _>(first..));
            let begin = index.seen.find_index(first).unwrap_or_else(|begin| begin);
            let seen = &index.seen.as_slice()[begin..];
            let seen = seen.iter().map(|(path, stat)| (path, stat));
            (files, AscendingLookup::new(seen))
        });
        move |path| {
            let (files, seen) = known.as_mut()?;
            let seen = seen.get(path).copied();
            files.get(path).map(|file| Owned::of(*file, seen))
        }
    }

    pub(super) fn look_at(&self, path: &RelPath) -> Result<Local, Error> {
        match self.target.stat(path)? {
            Some(stat) => {
                let known = self.remembered.and_then(|index| index.owned(path));
                self.identify(path, stat, known)
            }
            None => Ok(Local::Missing),
        }
    }

    /// What is at a path with this `lstat`.
    fn identify(&self, path: &RelPath, stat: Stat, known: Option<Owned>) -> Result<Local, Error> {
        Ok(match stat.kind {
            FileKind::File => match known {
                Some(known) if self.believes(&known, &stat) => file(Some(known.id), stat),
                _ if self.is_edited(known.as_ref(), &stat) => file(None, stat),
                _ => self.hashed(path)?,
            },
            FileKind::Symlink => match self.target.read_link(path)? {
                Some(text) => Local::Symlink {
                    id: hash(text.len() as u64, &mut text.as_slice()).map_err(read(path))?,
                    stat,
                },
                None => Local::Missing,
            },
            FileKind::Directory => Local::Directory {
                stat,
                below: Box::new(self.below(path)?),
            },
            FileKind::Special => Local::Special { stat },
        })
    }

    /// Whether the size alone shows that a file is not what was written there, or not in any commit.
    fn is_edited(&self, known: Option<&Owned>, stat: &Stat) -> bool {
        let written = known.and_then(|known| known.seen);
        written.is_some_and(|seen| seen.size != stat.size) || stat.size > self.largest
    }

    /// Hashes a file that counted as edited by its size, if it may be equal to the wanted file.
    pub(super) fn hash_if_wanted(
        &self,
        path: &RelPath,
        stat: &Stat,
        wanted: BlobId,
    ) -> Result<Option<Local>, Error> {
        let known = self.remembered.and_then(|index| index.files.get(path));
        let is_new = known.is_none_or(|known| known.id != wanted);
        (is_new && stat.size <= self.largest)
            .then(|| self.hashed(path))
            .transpose()
    }

    fn hashed(&self, path: &RelPath) -> Result<Local, Error> {
        // A file that is written to while it is read has another size than `fstat` returned: its hash then belongs to
        // no content at all, so it is read again, and in the end taken as what it was at some moment.
        let mut attempts = 0;
        loop {
            let Some((mut content, stat)) = self.target.open_file(path)? else {
                return Ok(Local::Missing);
            };
            if stat.size > self.largest {
                return Ok(file(None, stat));
            }
            attempts += 1;
            match hash(stat.size, &mut content) {
                Ok(id) => return Ok(file(Some(id), stat)),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && attempts < 3 => {
                }
                Err(error) => return Err(read(path)(error)),
            }
        }
    }

    fn believes(&self, known: &Owned, stat: &Stat) -> bool {
        let Some(seen) = known.seen.filter(|_| known.mode != FileMode::Symlink) else {
            return false;
        };
        let same_content = seen.size == stat.size && seen.mtime == stat.mtime;
        match self.belief {
            Belief::SizeAndTime => same_content,
            Belief::Unchanged => same_content && seen.ino == stat.ino && seen.ctime == stat.ctime,
        }
    }

    fn below(&self, directory: &RelPath) -> Result<Below, Error> {
        let mut below = Below::default();
        let mut pending = vec![directory.clone()];
        while let Some(directory) = pending.pop() {
            for name in self.target.list(Some(&directory))? {
                let Ok(path) = RelPath::join(Some(&directory), &name) else {
                    below.foreign = Some(format!("{directory}/{}", text::name(&name)));
                    return Ok(below);
                };
                match self.target.stat(&path)?.map(|stat| stat.kind) {
                    Some(FileKind::Directory) => pending.push(path),
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

fn file(id: Option<BlobId>, stat: Stat) -> Local {
    Local::File {
        executable: stat.mode & 0o100 != 0,
        id,
        stat,
    }
}

/// Hashes as git does, with a plain SHA-1: the content is local, nobody gains by a collision here.
///
/// The content must have exactly `size` bytes.
pub(crate) fn hash(size: u64, content: &mut dyn Read) -> std::io::Result<BlobId> {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {size}\0"));
    let buffer = usize::try_from(size).unwrap_or(usize::MAX);
    let mut buffer = vec![0; buffer.clamp(1, 1 << 16)];
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
