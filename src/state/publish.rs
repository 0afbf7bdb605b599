//! Small files that everybody may read, outside the state directory.

use std::path::Path;

use super::{Error, make_directories};
use crate::fs::{self, Directory, Durability, Failure, Faults};

/// Writes `path`, whose directory is made where it is missing, for all to read.
pub(crate) fn publish(path: &Path, bytes: &[u8], faults: &Faults) -> Result<(), Error> {
    let failure = || Failure::from_io("write", path, std::io::ErrorKind::InvalidInput.into());
    let parent = path.parent().ok_or_else(failure)?;
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(failure)?;
    make_directories(parent, 0o755, faults)?;
    let directory = Directory::open_following(parent, faults.clone())?;
    replace(&directory, name, bytes, 0o644)
}

/// Whether exactly this was published there and nobody has removed or changed it since.
pub(super) fn is_published(path: &Path, bytes: &[u8], faults: &Faults) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return false;
    };
    let there = Directory::open_following(parent, faults.clone()).and_then(|directory| {
        match directory.stat(name)? {
            Some(stat) if stat.size == bytes.len() as u64 => directory.read(name),
            _ => Ok(None),
        }
    });
    there.is_ok_and(|there| there.is_some_and(|there| there == bytes))
}

/// Replaces a file, durable when this returns.
pub(crate) fn replace(
    directory: &Directory,
    name: &str,
    bytes: &[u8],
    mode: u32,
) -> Result<(), Error> {
    fs::replace(
        directory,
        name,
        &temporary(name),
        Durability::Full,
        |directory, name| {
            let mut file = directory.create(name)?;
            file.write(bytes)?;
            Ok(file.set_mode(mode)?)
        },
    )
}

/// The second name, through which it is written. Where a file is published, others have their files.
pub(super) fn temporary(name: &str) -> String {
    format!(".{name}.hyper-sync")
}
