//! What a build depends on, as one hash: with the same key, the same system would come out.
//!
//! The tree by its snapshot, the host's own flake with all that lies beside it, the files outside that the flake names
//! (`/etc/nixos/hardware-configuration.nix`) with the Nix files beside those, the host's name and the arguments.
//!
//! Limits: what a file outside imports from a third place is not seen. `hyper-sync rebuild` builds all the same.
#![expect(
    clippy::disallowed_methods,
    reason = "the names beside a file of the host, outside the target, are listed by path"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::places::{LOCK, Places};
use super::session::RebuildContext;
use crate::fs::{FileKind, Target, content};
use crate::git::RelPath;
use crate::nix::NarHash;
use crate::vetted::{self, FileRequirements, UntrustedReason};

/// More beside a flake than any configuration has: such a directory (a home, perhaps) is not read at every run.
const ENTRIES_MAX: usize = 10_000;
const BYTES_MAX: u64 = 64 << 20;

/// The key of this build; `None` where it depends on more than is known.
pub(super) fn of(
    session: &RebuildContext<'_>,
    places: &Places,
    tree: Option<NarHash>,
    host: &str,
) -> Option<String> {
    let mut key = KeyHasher(Sha256::new());
    key.part(tree?.to_string().as_bytes());
    key.part(host.as_bytes());
    for arg in &session.request.settings.extra_args {
        key.part(arg.as_bytes());
    }
    if places.is_own() {
        // Stands in for the lock file that the tree does not have.
        let kept = session.request.state.directory().open_file(LOCK).ok()?;
        key.content(kept.map(|(file, _)| file))?;
    } else {
        key.flake(places)?;
    }
    for path in outside(places) {
        key.part(path.as_os_str().as_encoded_bytes());
        key.outside(&path)?;
    }
    Some(data_encoding::HEXLOWER.encode(&key.0.finalize()))
}

struct KeyHasher(Sha256);

impl KeyHasher {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// A file's content. One that is not there counts as empty: making it changes the key, unless it stays empty.
    fn content(&mut self, file: Option<File>) -> Option<()> {
        let content = file.map(|file| content::read(&file, BYTES_MAX));
        self.part(&content.transpose().ok()?.unwrap_or_default());
        Some(())
    }

    /// As [`content`](Self::content), of a file outside the flake, where it and all above it is the administrator's.
    fn outside(&mut self, path: &Path) -> Option<()> {
        match vetted::read(path, &FileRequirements::anyone(BYTES_MAX)) {
            Ok(content) => self.part(&content),
            Err(UntrustedReason::TooLarge(_)) => return None,
            Err(_) => self.part(&[]),
        }
        Some(())
    }

    /// All that lies in the directory of the host's flake, but for the target.
    fn flake(&mut self, places: &Places) -> Option<()> {
        let flake = Target::open(&places.flake).ok()?;
        let hole = places.target.strip_prefix(&places.flake).ok();
        let (mut entries, mut bytes) = (0, 0);
        let mut directories: Vec<Option<RelPath>> = vec![None];
        while let Some(directory) = directories.pop() {
            for name in flake.list(directory.as_ref()).ok()? {
                let Ok(path) = RelPath::join(directory.as_ref(), &name) else {
                    continue;
                };
                let Some(stat) = flake.stat(&path).ok()? else {
                    continue;
                };
                if hole == Some(Path::new(path.as_str())) {
                    continue;
                }
                entries += 1;
                if entries > ENTRIES_MAX {
                    return None;
                }
                self.part(path.as_str().as_bytes());
                match stat.kind {
                    FileKind::Directory => directories.push(Some(path)),
                    FileKind::Symlink => self.part(&flake.read_link(&path).ok()??),
                    FileKind::File => {
                        bytes += stat.size;
                        if bytes > BYTES_MAX {
                            return None;
                        }
                        self.part(if stat.mode & 0o100 == 0 { b"-" } else { b"x" });
                        self.content(flake.open_file(&path).ok()?.map(|(file, _)| file))?;
                    }
                    FileKind::Special => {}
                }
            }
        }
        Some(())
    }
}

/// The files outside the flake and the target that the flake names, and the Nix files beside them.
fn outside(places: &Places) -> Vec<PathBuf> {
    let named = places.text.iter().flat_map(|flake| &flake.paths);
    let mut files: Vec<PathBuf> = Vec::new();
    for path in named.filter(|path| path.is_absolute()) {
        if path.starts_with(&places.flake) || path.starts_with(&places.target) || !path.is_file() {
            continue;
        }
        files.push(path.clone());
        let beside = path
            .parent()
            .and_then(|directory| fs::read_dir(directory).ok());
        let beside = beside.into_iter().flatten().flatten();
        files.extend(
            beside
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|name| name == "nix"))
                .filter(|path| path.is_file())
                .take(ENTRIES_MAX),
        );
    }
    files.sort();
    files.dedup();
    files
}
