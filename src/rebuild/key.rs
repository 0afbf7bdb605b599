//! A hash of everything a build depends on: builds with the same key have the same result.
//!
//! It covers the snapshot of the tree, the commit that Nix is given as its revision, the host flake with all files
//! beside it, the files outside that the flake names (`/etc/nixos/hardware-configuration.nix`) with the Nix files
//! beside those, the host and the arguments.
//!
//! Limits: files that those outside files import from elsewhere are not covered. `hyper-sync rebuild` builds in any
//! case.
#![expect(
    clippy::disallowed_methods,
    reason = "the names beside a file of the host, outside the target, are listed by path"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::context::RebuildContext;
use super::flake::{HostFlake, LOCK};
use super::revision::Revision;
use crate::fs::{FileKind, Target, content};
use crate::git::RelPath;
use crate::nix::NarHash;
use crate::vetted::{self, FileRequirements, UntrustedReason};

/// More entries than a configuration has: such a directory (perhaps a home) is not read at every run.
const ENTRIES_MAX: usize = 10_000;
const BYTES_MAX: u64 = 64 << 20;

/// The key of this build; `None` if something it depends on cannot be read.
pub(super) fn of(
    context: &RebuildContext<'_>,
    flake: &HostFlake,
    tree: Option<NarHash>,
    revision: Option<Revision>,
    host: &str,
) -> Option<String> {
    let mut key = KeyHasher(Sha256::new());
    key.part(tree?.to_string().as_bytes());
    if let Some(revision) = revision {
        key.part(revision.query().as_bytes());
    }
    key.part(host.as_bytes());
    for arg in &context.request.settings.extra_args {
        key.part(arg.as_bytes());
    }
    if flake.is_own() {
        // The lock file that is missing in the tree.
        let kept = context.request.state.directory().open_file(LOCK).ok()?;
        key.content(kept.map(|(file, _)| file))?;
    } else {
        key.directory(flake)?;
    }
    for path in outside(flake) {
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

    /// A file's content. A missing file counts as empty.
    fn content(&mut self, file: Option<File>) -> Option<()> {
        let content = file.map(|file| content::read(&file, BYTES_MAX));
        self.part(&content.transpose().ok()?.unwrap_or_default());
        Some(())
    }

    /// The content of a file outside the flake, if only the administrator can change it.
    fn outside(&mut self, path: &Path) -> Option<()> {
        match vetted::read(path, &FileRequirements::anyone(BYTES_MAX)) {
            Ok(content) => self.part(&content),
            Err(UntrustedReason::TooLarge(_)) => return None,
            Err(_) => self.part(&[]),
        }
        Some(())
    }

    /// Everything in the directory of the host flake except the target.
    fn directory(&mut self, flake: &HostFlake) -> Option<()> {
        let root = Target::open(&flake.directory).ok()?;
        let target = flake.target.strip_prefix(&flake.directory).ok();
        let (mut entries, mut bytes) = (0, 0);
        let mut directories: Vec<Option<RelPath>> = vec![None];
        while let Some(directory) = directories.pop() {
            for name in root.list(directory.as_ref()).ok()? {
                let Ok(path) = RelPath::join(directory.as_ref(), &name) else {
                    continue;
                };
                let Some(stat) = root.stat(&path).ok()? else {
                    continue;
                };
                if target == Some(Path::new(path.as_str())) {
                    continue;
                }
                entries += 1;
                if entries > ENTRIES_MAX {
                    return None;
                }
                self.part(path.as_str().as_bytes());
                match stat.kind {
                    FileKind::Directory => directories.push(Some(path)),
                    FileKind::Symlink => self.part(&root.read_link(&path).ok()??),
                    FileKind::File => {
                        bytes += stat.size;
                        if bytes > BYTES_MAX {
                            return None;
                        }
                        self.part(if stat.mode & 0o100 == 0 { b"-" } else { b"x" });
                        self.content(root.open_file(&path).ok()?.map(|(file, _)| file))?;
                    }
                    FileKind::Special => {}
                }
            }
        }
        Some(())
    }
}

/// The files outside the flake and the target that the flake names, and the Nix files beside them.
fn outside(flake: &HostFlake) -> Vec<PathBuf> {
    let named = flake.parsed.iter().flat_map(|flake| &flake.paths);
    let mut files: Vec<PathBuf> = Vec::new();
    for path in named.filter(|path| path.is_absolute()) {
        if path.starts_with(&flake.directory) || path.starts_with(&flake.target) || !path.is_file()
        {
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
