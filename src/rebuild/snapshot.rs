//! An immutable copy of a directory for one build.
//!
//! Nix reads a tree for seconds to minutes, and half of an edit made meanwhile could get into the system. So Nix reads
//! a copy that nobody else writes, with the modes and times that Nix hashes. Files that Nix cannot copy (FIFO, socket,
//! device) or must not publish in its world-readable store (excluded files, `.git`, the staging directory) are left
//! out.
//!
//! An excluded *file* that ends in `.nix` is copied nevertheless: it is not managed because it belongs to the host, but
//! it may be part of the configuration.
//!
//! Limits: a name that is not valid in a tree (control characters, not UTF-8) is left out. A tree with another file
//! system mounted in it has no snapshot.
#![expect(
    clippy::disallowed_methods,
    reason = "the copy is in our state directory and is written by path"
)]

use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, fstat, utimensat};

use crate::fs::{self, FileKind, Stat, Target};
use crate::git::RelPath;
use crate::nix::NarHash;
use crate::patterns::Patterns;

/// The directory of the snapshots in the state directory.
const DIRECTORY: &str = "snapshots";
/// How often a file that changes while it is copied is copied again before the last copy is used.
const ATTEMPTS: u32 = 3;
/// The size limit of a snapshot: the default limits of a commit, including the host's own files.
const BYTES_MAX: u64 = 1 << 30;
const ENTRIES_MAX: u64 = 100_000;

/// A finished copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Its path.
    pub(super) path: PathBuf,
    /// The hash of its content.
    pub(super) nar: NarHash,
    /// The newest time of its files, in seconds since 1970, before it got the time of a commit.
    pub(super) time: i64,
    /// The files that were left out because Nix cannot copy them.
    pub(super) special: Vec<RelPath>,
}

/// The snapshot could not be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] fs::Error),
    /// The copy cannot be written.
    #[error("cannot write the snapshot: {0}")]
    Copy(#[from] io::Error),
    /// The source is too large.
    #[error("it contains more than {ENTRIES_MAX} files or {} MiB", BYTES_MAX >> 20)]
    TooLarge,
}

/// What to leave out.
pub(super) struct Filter<'a> {
    /// Paths that are not managed.
    pub(super) exclude: &'a Patterns,
    /// A directory over which another snapshot is mounted; it is left empty.
    pub(super) replaced: Option<&'a RelPath>,
}

impl Snapshot {
    /// Copies `source` into the state directory, under a name that starts with `name`.
    pub(super) fn take(
        source: &Target,
        filter: &Filter<'_>,
        state_dir: &Path,
        name: &str,
    ) -> Result<Self, Error> {
        Self::take_changed(source, filter, state_dir, name, |_| Ok(()))
    }

    /// As [`take`](Self::take), but the copy is changed before it is hashed.
    pub(super) fn take_changed(
        source: &Target,
        filter: &Filter<'_>,
        state_dir: &Path,
        name: &str,
        change: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Self, Error> {
        // Nix refuses a path that goes through a symlink.
        let directory = std::fs::canonicalize(state_dir)?.join(DIRECTORY);
        private().recursive(true).create(&directory)?;
        let fresh = directory.join(format!("{name}.new"));
        remove(&fresh)?;
        private().create(&fresh)?;
        let mut copier = Copier {
            source,
            filter,
            root: &fresh,
            bytes: 0,
            entries: 0,
            special: Vec::new(),
        };
        copier.directory(None)?;
        if let Some(root) = source.root() {
            let stat = fstat(root).map_err(io::Error::from)?;
            let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
            let mtime = { stat.st_mtime }
                .saturating_mul(NANOS)
                .saturating_add(nanoseconds);
            set_time(&fresh, mtime)?;
        }
        let special = copier.special;
        change(&fresh)?;
        let (nar, time) = NarHash::with_time_of(&fresh)?;
        let path = directory.join(format!("{name}-{}", &nar.hex()[..16]));
        remove(&path)?;
        std::fs::rename(&fresh, &path)?;
        Ok(Self {
            path,
            nar,
            time,
            special,
        })
    }

    /// Whether its content is unchanged.
    pub(super) fn is_intact(&self) -> bool {
        NarHash::of(&self.path).is_ok_and(|nar| nar == self.nar)
    }
}

/// Removes all other snapshots.
pub(super) fn prune(state_dir: &Path, keep: &[&Snapshot]) -> io::Result<()> {
    let directory = std::fs::canonicalize(state_dir)?.join(DIRECTORY);
    for entry in std::fs::read_dir(&directory)? {
        let path = entry?.path();
        if !keep.iter().any(|snapshot| snapshot.path == path) {
            remove(&path)?;
        }
    }
    Ok(())
}

const NANOS: i64 = 1_000_000_000;

struct Copier<'a> {
    source: &'a Target,
    filter: &'a Filter<'a>,
    root: &'a Path,
    bytes: u64,
    entries: u64,
    special: Vec<RelPath>,
}

impl Copier<'_> {
    /// Copies the content of a directory that exists already. `RelPath` bounds the depth.
    fn directory(&mut self, path: Option<&RelPath>) -> Result<(), Error> {
        for name in self.source.list(path)? {
            // `.git`, the staging directory, and names that are not valid in a tree.
            let Ok(path) = RelPath::join(path, &name) else {
                continue;
            };
            let Some(stat) = self.source.stat(&path)? else {
                continue;
            };
            if self.is_left_out(&path, &stat) {
                continue;
            }
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(Error::TooLarge);
            }
            let copy = self.root.join(&path);
            match stat.kind {
                FileKind::File => self.file(&path, &copy)?,
                FileKind::Symlink => {
                    let Some(text) = self.source.read_link(&path)? else {
                        continue;
                    };
                    symlink(os(&text), &copy)?;
                    set_time(&copy, stat.mtime)?;
                }
                FileKind::Directory => {
                    std::fs::DirBuilder::new().mode(0o755).create(&copy)?;
                    if self.filter.replaced != Some(&path) {
                        self.directory(Some(&path))?;
                    }
                    // Last, because writing the content changes the time.
                    set_time(&copy, stat.mtime)?;
                }
                FileKind::Special => self.special.push(path),
            }
        }
        Ok(())
    }

    fn is_left_out(&self, path: &RelPath, stat: &Stat) -> bool {
        let extension = Path::new(path.as_str()).extension();
        let is_nix_file =
            stat.kind == FileKind::File && extension.is_some_and(|name| name == "nix");
        let exclude = self.filter.exclude;
        if stat.kind == FileKind::Directory {
            return exclude.matches_directory(path);
        }
        let parent_is_left_out = || {
            path.parent()
                .is_some_and(|parent| exclude.matches_directory(&parent))
        };
        exclude.matches(path) && (!is_nix_file || parent_is_left_out())
    }

    fn file(&mut self, path: &RelPath, copy: &Path) -> Result<(), Error> {
        for attempt in 1.. {
            let Some((file, before)) = self.source.open_file(path)? else {
                return Ok(());
            };
            if self.bytes.saturating_add(before.size) > BYTES_MAX {
                return Err(Error::TooLarge);
            }
            // Modes with which every user computes the same NAR hash: read-only, and executable for all or nobody.
            let mode = if before.mode & 0o100 == 0 {
                0o444
            } else {
                0o555
            };
            let mut to = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(copy)?;
            // A growing file is copied up to the size it had when it was opened.
            let size = io::copy(&mut file.take(before.size), &mut to)?;
            drop(to);
            let after = self.source.stat(path)?;
            if after == Some(before) && size == before.size || attempt == ATTEMPTS {
                self.bytes += size;
                return Ok(set_time(copy, before.mtime)?);
            }
            std::fs::remove_file(copy)?;
        }
        Ok(())
    }
}

/// Gives a copy the time of its source, in nanoseconds since 1970.
pub(super) fn set_time(copy: &Path, mtime: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: mtime.div_euclid(NANOS),
        tv_nsec: mtime.rem_euclid(NANOS),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(CWD, copy, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

fn private() -> std::fs::DirBuilder {
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            let world = Self(tempfile::tempdir().unwrap());
            fs::create_dir(world.path("target")).unwrap();
            fs::create_dir(world.path("state")).unwrap();
            world
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.path("target").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn take(&self, exclude: &[&str]) -> Result<Snapshot, Error> {
            let exclude = Patterns::new(exclude).unwrap();
            let filter = Filter {
                exclude: &exclude,
                replaced: None,
            };
            let target = Target::open(&self.path("target")).unwrap();
            Snapshot::take(&target, &filter, &self.path("state"), "tree")
        }
    }

    /// All paths below a directory.
    fn names(root: &Path) -> Vec<String> {
        let mut names = Vec::new();
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap();
                names.push(name.to_str().unwrap().to_owned());
                if path.is_dir() && !path.is_symlink() {
                    directories.push(path);
                }
            }
        }
        names.sort();
        names
    }

    #[test]
    fn secret_and_special_files_are_left_out() {
        let world = World::new();
        for name in [
            "flake.nix",
            ".git/config",
            ".hyper-sync/1",
            "var/secret",
            "var/in.nix",
            "hosts/own.nix",
            "hosts/own.key",
        ] {
            world.write(name, name);
        }
        symlink("flake.nix", world.path("target/link")).unwrap();
        rustix::fs::mkfifoat(CWD, world.path("target/pipe"), rustix::fs::Mode::RUSR).unwrap();
        let snapshot = world.take(&["/var/", "hosts/own.*"]).unwrap();
        assert_eq!(
            names(&snapshot.path),
            ["flake.nix", "hosts", "hosts/own.nix", "link"]
        );
        assert_eq!(snapshot.special, [RelPath::new(b"pipe").unwrap()]);
    }

    #[test]
    fn a_copy_has_the_modes_and_times_that_nix_hashes() {
        let world = World::new();
        world.write("run", "x");
        world.write("d/plain", "y");
        // Nix considers only the owner's execute bit.
        for (name, mode) in [("run", 0o700), ("d/plain", 0o611)] {
            let path = world.path("target").join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let snapshot = world.take(&[]).unwrap();
        let mode = |name| fs::metadata(snapshot.path.join(name)).unwrap().mode() & 0o777;
        assert_eq!((mode("run") & 0o100, mode("d/plain") & 0o111), (0o100, 0));
        assert_eq!(mode("run") & 0o222, 0);
        for name in ["", "run", "d", "d/plain"] {
            let source = fs::metadata(world.path("target").join(name)).unwrap();
            let copy = fs::metadata(snapshot.path.join(name)).unwrap();
            assert_eq!(
                (source.mtime(), source.mtime_nsec()),
                (copy.mtime(), copy.mtime_nsec()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_change_of_the_copy_is_detected() {
        let world = World::new();
        world.write("flake.nix", "x");
        let snapshot = world.take(&[]).unwrap();
        assert!(snapshot.is_intact());
        fs::write(snapshot.path.join("late"), "").unwrap();
        assert!(!snapshot.is_intact());
        // The next snapshot is made anew, with the same content.
        let again = world.take(&[]).unwrap();
        assert_eq!(
            (again.path.clone(), again.nar),
            (snapshot.path, snapshot.nar)
        );
        assert!(again.is_intact());
    }

    #[test]
    fn only_the_last_snapshot_is_kept() {
        let world = World::new();
        world.write("flake.nix", "x");
        let first = world.take(&[]).unwrap();
        world.write("flake.nix", "y");
        let second = world.take(&[]).unwrap();
        assert!(first.path.exists());
        prune(&world.path("state"), &[&second]).unwrap();
        assert_eq!((first.path.exists(), second.is_intact()), (false, true));
    }
}
