//! `flake.lock` before a build: nothing is left to float, and nothing of other people's is moved.
//!
//! A flake of its own belongs to the tree, where we write nothing that is not in the commit: what its lock file lacks
//! is kept in the state directory and put into the snapshot. A host's flake outside the target gets its lock file as
//! Nix would have made it by hand.
#![expect(
    clippy::disallowed_methods,
    reason = "the host's own lock file, outside the target, and the snapshot are written by path"
)]

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::Pin;
use crate::nix::{Flake, Layout, NarHash};
use crate::rebuild::arguments;
use crate::rebuild::lockfile::LockFile;
use crate::rebuild::outcome::{LockChange, Note};
use crate::rebuild::places::Places;
use crate::rebuild::runner::{Finished, Output};

const LOCK: &str = "flake.lock";

impl Pin<'_> {
    /// Makes the lock file complete. What cannot be done is said, and the build shows whether it matters.
    pub(in crate::rebuild) fn keep_lock(&mut self, notes: &mut Vec<Note>) {
        let done = if self.places.is_own() {
            self.keep_own()
        } else {
            self.keep_hosts()
        };
        match done {
            Ok(change) => notes.extend(change.map(|change| Note::Lock { change })),
            Err(cause) => notes.push(Note::LockFailed { cause }),
        }
    }

    /// The lock file of a flake that lies in the target.
    fn keep_own(&mut self) -> Result<Option<LockChange>, String> {
        let inside = self.places.flake.strip_prefix(&self.places.target);
        let lock = self
            .tree
            .path
            .join(inside.unwrap_or(Path::new("")))
            .join(LOCK);
        let kept = self.session.request.state.path().join(LOCK);
        let is_missing = !lock.exists();
        if is_missing && kept.exists() {
            fs::copy(&kept, &lock).map_err(|error| error.to_string())?;
        }
        let before = read(&lock);
        let mut change = None;
        if !self.is_complete(before.as_deref()) {
            let reference = self.places.reference(&self.tree.path);
            self.lock(reference, false)?;
            let after = read(&lock);
            if after != before {
                change = Some(if is_missing {
                    LockChange::Made
                } else {
                    LockChange::Completed
                });
            }
        }
        if is_missing && lock.exists() {
            fs::copy(&lock, &kept).map_err(|error| error.to_string())?;
        }
        self.tree.nar = NarHash::of(&self.tree.path).map_err(|error| error.to_string())?;
        Ok(change)
    }

    /// The lock file of a host's flake outside the target.
    fn keep_hosts(&self) -> Result<Option<LockChange>, String> {
        let path = self.places.flake.join(LOCK);
        let before = read(&path);
        let after = match &self.places.layout {
            // In a git repository a lock file counts once git knows it, which is Nix's to arrange.
            Some(Layout::Input { .. }) if before.is_none() && self.places.in_git => {
                self.lock(self.places.reference(&self.places.target), true)?;
                read(&path)
            }
            Some(Layout::Input { names }) => self.locked_to_snapshot(names, before.as_deref())?,
            _ if self.is_complete(before.as_deref()) => return Ok(None),
            _ => {
                self.lock(self.places.reference(&self.places.target), true)?;
                read(&path)
            }
        };
        let Some(after) = after.filter(|after| Some(after) != before.as_ref()) else {
            return Ok(None);
        };
        let Some(before) = before else {
            replace(&path, &after).map_err(|error| error.to_string())?;
            return Ok(Some(LockChange::Made));
        };
        let (Some(old), Some(new)) = (LockFile::parse(&before), LockFile::parse(&after)) else {
            return Ok(None);
        };
        let ours = match &self.places.layout {
            Some(Layout::Input { names }) => names.as_slice(),
            _ => &[],
        };
        if !new.keeps(&old, ours) {
            replace(&path, &before).map_err(|error| error.to_string())?;
            return Err("it would move inputs that are locked already".to_owned());
        }
        replace(&path, &after).map_err(|error| error.to_string())?;
        Ok(Some(if new.keeps(&old, &[]) {
            LockChange::Completed
        } else {
            LockChange::Refreshed
        }))
    }

    /// The lock file with which Nix evaluates the snapshot, as it would stand beside the flake.
    ///
    /// With an override Nix adds what the new tree asks for and keeps what is locked of the old one; `nix flake update`
    /// would move all that the target depends on, `nix flake lock` would not look into it.
    fn locked_to_snapshot(
        &self,
        names: &[String],
        before: Option<&str>,
    ) -> Result<Option<String>, String> {
        let old = match before {
            // One that we cannot read is left to Nix.
            Some(before) => match LockFile::parse(before) {
                Some(old) => Some(old),
                None => return Ok(None),
            },
            None => None,
        };
        let finished = self.metadata().map_err(|error| error.to_string())?;
        let Some(mut lock) = LockFile::of_metadata(&finished.answer) else {
            return Err(last_line(&finished));
        };
        for name in names {
            lock.relocate(name, old.as_ref());
        }
        Ok(Some(lock.text()))
    }

    /// Whether a lock file names all that the flake asks for.
    fn is_complete(&self, text: Option<&str>) -> bool {
        let Some(text) = text else {
            return false;
        };
        let (Some(lock), Some(flake)) = (LockFile::parse(text), &self.places.text) else {
            // One that we cannot read is Nix's to judge.
            return true;
        };
        let names = flake.inputs.iter().map(|input| input.name.as_str());
        lock.has_inputs(names)
    }

    /// `nix flake lock`, which adds what is missing and moves nothing.
    fn lock(&self, reference: String, in_namespace: bool) -> Result<(), String> {
        let mut args: Vec<OsString> = vec!["flake".into(), "lock".into()];
        args.extend(arguments::of_settings(
            &self.session.request.settings.extra_args,
        ));
        args.push(reference.into());
        let command = if in_namespace {
            self.command(args)
        } else {
            self.session.command(&self.nix, args)
        };
        let finished = self.session.runner.run(&command.output(Output::Answer));
        match finished {
            Ok(finished) if finished.end.is_success() => Ok(()),
            Ok(finished) => Err(last_line(&finished)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Locks the target, where it is an input, to what lies in it now, for a `nixos-rebuild` that is not pinned. Whether
/// that changed the file.
pub(in crate::rebuild) fn refresh_lock(places: &Places) -> Result<bool, String> {
    let Some(Layout::Input { names }) = &places.layout else {
        return Ok(false);
    };
    let path = places.flake.join(LOCK);
    let Some(mut lock) = read(&path).as_deref().and_then(LockFile::parse) else {
        return Ok(false);
    };
    let nar = NarHash::of(&places.target).map_err(|error| error.to_string())?;
    let time = newest(&places.target).map_err(|error| error.to_string())?;
    let source = read(&places.target.join("flake.nix"));
    let target = source.and_then(|source| Flake::parse(&source).ok());
    let refreshed = names.iter().filter(|name| lock.refresh(name, &nar, time));
    if refreshed.count() == 0 {
        return Ok(false);
    }
    for name in names {
        let asked = target.iter().flat_map(|target| &target.inputs);
        if !lock.has_nested(name, asked.map(|input| input.name.as_str())) {
            return Err(format!(
                "the tree has new inputs; `nix flake update {name}` locks them"
            ));
        }
    }
    replace(&path, &lock.text()).map_err(|error| error.to_string())?;
    Ok(true)
}

/// The newest time of all that lies at a path, which is Nix's `lastModified`.
fn newest(path: &Path) -> io::Result<i64> {
    let found = fs::symlink_metadata(path)?;
    let mut newest = found.mtime();
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            newest = newest.max(self::newest(&entry?.path())?);
        }
    }
    Ok(newest)
}

/// What a program that failed has said last.
fn last_line(finished: &Finished) -> String {
    let last = finished.tail.lines().last();
    last.map_or_else(|| finished.end.to_string(), str::to_owned)
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Replaces a file whole, with the mode it had, where it really lies; or makes it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path: PathBuf = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut fresh = tempfile::Builder::new()
        .prefix(".flake.lock.")
        .tempfile_in(directory)?;
    fresh.write_all(text.as_bytes())?;
    let permissions = match fs::metadata(&path) {
        Ok(found) => found.permissions(),
        Err(_) => fs::Permissions::from_mode(0o644),
    };
    fresh.as_file().set_permissions(permissions)?;
    fresh.as_file().sync_all()?;
    fresh.persist(&path)?;
    fs::File::open(directory)?.sync_all()
}
