//! Moves the `.git` of a target into the state directory, once the target is kept by syncs and not by git.
//!
//! On one file system that is one rename. Where a rename cannot do it, `.git` gets another name in the target, is copied,
//! and the original is removed when the copy is durable. A run that dies in between leaves the whole of it under one of
//! the two names, and the next `--adopt` goes on from there.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::SyncError;
use crate::fs::{self, Directory, Failure, Target};
use crate::git::path::RESERVED_PREFIX;
use crate::git_dir;
use crate::state::{self, StateDir};

/// The directory in the state directory.
pub(crate) const PARKED: &str = "parked";
/// Ends the name of a copy that is not finished.
const PART: &str = ".part";

/// Moves it; returns where it is now, `None` if the target has none.
pub(super) fn park(target: &Target, state: &StateDir) -> Result<Option<PathBuf>, crate::Error> {
    let failed = |source: Failure| SyncError::NotParked {
        path: target.path().join(git_dir::NAME),
        source,
    };
    let Some(root) = target.directory(None).map_err(failed)? else {
        return Ok(None);
    };
    // `.git` before it is copied, and after.
    let (leaving, done) = (
        format!("{RESERVED_PREFIX}.git"),
        format!("{RESERVED_PREFIX}.copied"),
    );
    root.remove_all(&done).map_err(failed)?;
    let is_there = |name: &str| root.stat(name).map(|stat| stat.is_some());
    let was_interrupted = is_there(&leaving).map_err(failed)?;
    if !was_interrupted && !is_there(git_dir::NAME).map_err(failed)? {
        return Ok(None);
    }
    let place = state.make(PARKED)?;
    let name = next_name(&place).map_err(failed)?;
    if !was_interrupted {
        match root.rename_new(git_dir::NAME, &place, &name) {
            Ok(()) => {
                place.sync().map_err(failed)?;
                root.sync().map_err(failed)?;
                return Ok(Some(place.path().join(name)));
            }
            // Another file system or another mount, or one that knows no rename without replacing.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS) => root
                .rename(git_dir::NAME, &root, &leaving)
                .map_err(|errno| failed(root.failure("rename", git_dir::NAME, errno)))?,
            Err(errno) => return Err(failed(root.failure("move", git_dir::NAME, errno)).into()),
        }
    }
    if let Err(failure) = copy(&root, &leaving, &place, &name) {
        // As it was. If that fails too, the next `--adopt` goes on.
        let _ = root.rename_new(&leaving, &root, git_dir::NAME);
        return Err(failed(failure).into());
    }
    root.rename(&leaving, &root, &done)
        .map_err(|errno| failed(root.failure("rename", &leaving, errno)))?;
    root.sync().map_err(failed)?;
    root.remove_all(&done).map_err(failed)?;
    Ok(Some(place.path().join(name)))
}

/// What was parked, oldest first.
pub fn parked(state: &StateDir) -> Result<Vec<PathBuf>, state::Error> {
    let Some(place) = state.directory().child(PARKED)? else {
        return Ok(Vec::new());
    };
    let names = place.list()?.into_iter();
    Ok(names.map(|name| place.path().join(name)).collect())
}

/// Copies it durably, under its name only when the copy is whole.
fn copy(root: &Directory, leaving: &str, place: &Directory, name: &str) -> Result<(), Failure> {
    let part = format!("{name}{PART}");
    place.remove_all(&part)?;
    root.sync()?;
    let copied = fs::copy_all(root, leaving, place, &part).and_then(|()| {
        place
            .rename_new(&part, place, name)
            .map_err(|errno| place.failure("rename", &part, errno))
    });
    if copied.is_err() {
        let _ = place.remove_all(&part);
    }
    copied?;
    place.sync()
}

/// A name that is free: `1.git`, `2.git`.
fn next_name(place: &Directory) -> Result<String, Failure> {
    let names = place.list()?.into_iter();
    let numbers = names.filter_map(|name| name.to_str()?.strip_suffix(".git")?.parse::<u64>().ok());
    Ok(format!("{}.git", numbers.max().unwrap_or(0) + 1))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "files of a test")]

    use std::collections::BTreeMap;
    use std::fs as std_fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::fs::{Faults, Outcome};

    const FILES: &[(&str, &str)] = &[
        ("HEAD", "ref: refs/heads/main\n"),
        ("objects/ab/cdef", "object"),
        ("refs/heads/main", "id"),
    ];

    /// A target with a `.git`, and a state directory.
    fn world() -> tempfile::TempDir {
        let world = tempfile::tempdir().unwrap();
        for (name, content) in FILES {
            let path = world.path().join("target/.git").join(name);
            std_fs::create_dir_all(path.parent().unwrap()).unwrap();
            std_fs::write(path, content).unwrap();
        }
        std::os::unix::fs::symlink("HEAD", world.path().join("target/.git/link")).unwrap();
        world
    }

    /// Parks it; with `is_other`, the state directory is on another file system. From call number `death` on nothing
    /// can be changed any more. Also how many calls there were.
    fn park_until(
        world: &Path,
        is_other: bool,
        death: usize,
    ) -> (Result<Option<PathBuf>, crate::Error>, usize) {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let state_path = world.join("state");
        let (state_dir, target_dir) = (state_path.clone(), world.join("target"));
        let faults = Faults::new(move |call| {
            if count.fetch_add(1, Ordering::Relaxed) >= death {
                return Outcome::Fail(Errno::IO);
            }
            let crosses = call.name == "rename_new"
                && call.path.starts_with(&target_dir)
                && call.to.is_some_and(|to| to.starts_with(&state_dir));
            if is_other && crosses {
                Outcome::Fail(Errno::XDEV)
            } else {
                Outcome::Proceed
            }
        });
        let target = Target::open(&world.join("target")).unwrap();
        let state = StateDir::open(&state_path).unwrap();
        let state = state.with_faults(faults.clone()).unwrap();
        let parked = park(&target.with_faults(faults), &state);
        (parked, calls.load(Ordering::Relaxed))
    }

    /// The files below a directory.
    fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in std_fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                found.insert(path.clone(), std_fs::read(&path).unwrap());
            }
        }
        found
    }

    #[track_caller]
    fn assert_whole(parked: &Path) {
        for (name, content) in FILES {
            let found = std_fs::read_to_string(parked.join(name)).unwrap();
            assert_eq!(found, *content, "{name}");
        }
        assert_eq!(
            std_fs::read_link(parked.join("link")).unwrap(),
            Path::new("HEAD")
        );
    }

    #[test]
    fn a_git_directory_is_whole_in_one_place_whenever_the_run_dies() {
        for is_other in [false, true] {
            let (parked, calls) = park_until(world().path(), is_other, usize::MAX);
            parked.unwrap().unwrap();
            assert!(calls > 3);
            for death in 0..calls {
                let world = world();
                let dead = park_until(world.path(), is_other, death).0;
                let (again, _) = park_until(world.path(), is_other, usize::MAX);
                // The one that died may have done its work.
                let again = again.unwrap();
                assert!(again.is_some() || death > 0, "{death}");
                let parked = world.path().join("state/parked");
                assert_whole(&again.unwrap_or_else(|| parked.join("1.git")));
                assert_eq!(
                    files(&world.path().join("target")).len(),
                    0,
                    "{death}: {dead:?}"
                );
                let left = std_fs::read_dir(&parked).unwrap();
                let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
                let is_part = |name: &std::ffi::OsString| name.to_str().unwrap().ends_with(PART);
                assert!(!left.iter().any(is_part), "{death}: {left:?}");
            }
        }
    }

    #[test]
    fn modes_stay() {
        use std::os::unix::fs::PermissionsExt as _;
        let world = world();
        let file = world.path().join("target/.git/objects/ab/cdef");
        std_fs::set_permissions(&file, std_fs::Permissions::from_mode(0o444)).unwrap();
        let parked = park_until(world.path(), true, usize::MAX)
            .0
            .unwrap()
            .unwrap();
        let mode = std_fs::metadata(parked.join("objects/ab/cdef"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o7777, 0o444);
    }
}
