//! Replacing a file whole: written under a second name, then renamed over the first.
//!
//! A reader sees the old file or the new one, and nothing between. What outlives a power cut is a
//! parameter: see [`Durability`].

use std::ffi::OsStr;
use std::path::Path;

use super::{Directory, Failure, Faults};

/// What outlives a power cut when a file has been replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The content, then the name: the old file or the new one.
    Full,
    /// The name. The content is durable already, or it is a symlink, which is nothing but its name.
    Name,
    /// Nothing: the file may be torn. For what the caller flushes itself, or can make again.
    Unflushed,
}

/// Replaces `name` by what `make` creates under the name `temporary`. What an earlier run left there is removed first:
/// the caller holds the lock, or is the only one to use that name.
pub(crate) fn replace<E: From<Failure>>(
    directory: &Directory,
    name: impl AsRef<OsStr>,
    temporary: &str,
    durability: Durability,
    make: impl FnOnce(&Directory, &str) -> Result<(), E>,
) -> Result<(), E> {
    let name = name.as_ref();
    directory.unlink(temporary)?;
    make(directory, temporary)?;
    if durability == Durability::Full {
        directory.sync_file(temporary)?;
    }
    directory
        .rename(temporary, directory, name)
        .map_err(|errno| directory.failure("replace", name, errno))?;
    if durability != Durability::Unflushed {
        directory.sync()?;
    }
    Ok(())
}

/// Replaces the file at `path` by one of these bytes, for its owner alone; the directory above it is ours.
pub(crate) fn replace_at(
    path: &Path,
    temporary: &str,
    durability: Durability,
    bytes: &[u8],
) -> Result<(), Failure> {
    let invalid = || Failure::from_io("write", path, std::io::ErrorKind::InvalidInput.into());
    let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(invalid)?;
    // The store is named by its descriptor (`/proc/self/fd/7`), which is a symlink.
    let directory = Directory::open_following(parent, Faults::default())?;
    replace(
        &directory,
        name,
        temporary,
        durability,
        |directory, name| directory.create(name)?.write(bytes),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rustix::io::Errno;

    use super::*;
    use crate::fs::Outcome;

    /// Replaces `file`; the calls of that, of which the last is refused where it is `refused`.
    fn calls(path: &Path, durability: Durability, refused: &'static str) -> Vec<&'static str> {
        let seen = Arc::<Mutex<Vec<&'static str>>>::default();
        let hook = Arc::clone(&seen);
        let faults = Faults::new(move |call| {
            hook.lock().unwrap().push(call.name);
            if call.name == refused {
                Outcome::Fail(Errno::NOSPC)
            } else {
                Outcome::Proceed
            }
        });
        let directory = Directory::open(path, faults).unwrap();
        let result = replace(
            &directory,
            "file",
            ".aside",
            durability,
            |directory, name| directory.create(name)?.write(b"new"),
        );
        assert_eq!(result.is_err(), !refused.is_empty());
        let calls = seen.lock().unwrap();
        calls.clone()
    }

    #[test]
    fn what_is_durable_is_flushed_in_its_order() {
        let directory = tempfile::tempdir().unwrap();
        for (durability, expected) in [
            (
                Durability::Full,
                &["unlink", "create", "write", "fsync", "rename", "fsync"][..],
            ),
            (
                Durability::Name,
                &["unlink", "create", "write", "rename", "fsync"],
            ),
            (
                Durability::Unflushed,
                &["unlink", "create", "write", "rename"],
            ),
        ] {
            assert_eq!(calls(directory.path(), durability, ""), expected);
        }
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole() {
        let aside = tempfile::tempdir().unwrap();
        let directory = Directory::open(aside.path(), Faults::default()).unwrap();
        directory.create("file").unwrap().write(b"old").unwrap();
        let content = || directory.read("file").unwrap().unwrap();
        for refused in ["create", "write", "fsync", "rename"] {
            let _ = calls(aside.path(), Durability::Full, refused);
            assert_eq!(content(), b"old", "{refused}");
        }
        let _ = calls(aside.path(), Durability::Full, "");
        assert_eq!(content(), b"new");
        assert_eq!(directory.list().unwrap(), ["file"]);
    }
}
