//! Inspects and hashes what is at a path.

use std::fs;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fs::{Directory, Failure, FileKind, Stat, Target};
use crate::git::{BlobId, File, FileMode, RelPath};
use crate::scan::hash;

use super::{Error, Image};

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    /// A file, a directory, or nothing.
    Image(Image),
    /// A socket, FIFO or device.
    Special,
}

/// Hashes a path of the target. The `lstat` is returned where it was the same before and after hashing.
pub(super) fn target(target: &Target, path: &RelPath) -> Result<(There, Option<Stat>), Error> {
    let Some(directory) = target.directory(path.parent().as_ref())? else {
        return Ok((There::Image(Image::Missing), None));
    };
    Ok(entry(&directory, path.name())?)
}

/// Hashes an entry of a directory.
pub(super) fn entry(directory: &Directory, name: &str) -> Result<(There, Option<Stat>), Failure> {
    let Some(stat) = directory.stat(name)? else {
        return Ok((There::Image(Image::Missing), None));
    };
    let file = match stat.kind {
        FileKind::Directory => return Ok((There::Image(Image::Directory), None)),
        FileKind::Special => return Ok((There::Special, None)),
        FileKind::Symlink => content(directory, name, stat.kind)?.map(|id| (FileMode::Symlink, id)),
        FileKind::File => content(directory, name, stat.kind)?.map(|id| (mode(&stat), id)),
    };
    // Its kind changed in between; the next scan finds that.
    let Some((mode, id)) = file else {
        return Ok((There::Special, None));
    };
    let unchanged = directory.stat(name)?.filter(|after| *after == stat);
    Ok((There::Image(Image::File(File { mode, id })), unchanged))
}

/// Hashes a file of the target, of any size; `None` if its `lstat` differs from `seen`.
pub(super) fn unhashed(
    target: &Target,
    path: &RelPath,
    seen: &Stat,
    interrupt: &AtomicBool,
) -> Result<Option<Image>, Error> {
    let Some((file, now)) = target.open_file(path)? else {
        return Ok(None);
    };
    let id = hash(now.size, &mut Heeding { file, interrupt });
    if interrupt.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let mode = mode(&now);
    let is_same = now == *seen && target.stat(path)? == Some(now);
    Ok(id
        .ok()
        .filter(|_| is_same)
        .map(|id| Image::File(File { mode, id })))
}

/// A reader that fails once the flag is set.
pub(super) struct Heeding<'a> {
    pub(super) file: fs::File,
    pub(super) interrupt: &'a AtomicBool,
}

impl Read for Heeding<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        self.file.read(buffer)
    }
}

/// How often a file that is being written to is read again.
const ATTEMPTS: u32 = 16;

/// The id of what is of this kind by its `lstat`; `None` if it is neither a file nor a symlink any more, or if its size
/// keeps changing.
pub(super) fn content(
    directory: &Directory,
    name: &str,
    kind: FileKind,
) -> Result<Option<BlobId>, Failure> {
    let failure = |error| Failure::from_io("read", &directory.path().join(name), error);
    match kind {
        FileKind::File => {
            // It was written to while it was read, so its size differs.
            for _ in 0..ATTEMPTS {
                let Some((mut file, stat)) = directory.open_file(name)? else {
                    return Ok(None);
                };
                match hash(stat.size, &mut file) {
                    Ok(id) => return Ok(Some(id)),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                    Err(error) => return Err(failure(error)),
                }
            }
            Ok(None)
        }
        FileKind::Symlink => {
            let Some(text) = directory.read_link(name)? else {
                return Ok(None);
            };
            hash(text.len() as u64, &mut text.as_slice())
                .map(Some)
                .map_err(failure)
        }
        FileKind::Directory | FileKind::Special => Ok(None),
    }
}

fn mode(stat: &Stat) -> FileMode {
    FileMode::of_file(stat.mode & 0o100 != 0)
}
