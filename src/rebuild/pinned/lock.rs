//! `flake.lock` before a build: every input is locked, and no other input than the target is moved.
//!
//! If the flake is in the target, nothing is written beside it that is not in the commit: the lock file is kept in the
//! state directory and copied into the snapshot. A host flake outside the target gets the lock file that Nix would make
//! by hand.
#![expect(
    clippy::disallowed_methods,
    reason = "the lock file of the host flake may be a symlink of the administrator; no file is opened by this"
)]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::{Pin, nix_options};
use crate::fs::{Directory, Failure, Faults, PathTarget, Target, content};
use crate::git::RelPath;
use crate::nix::{Flake, FlakeLock, Layout, NarHash};
use crate::process::{Finished, Output};
use crate::rebuild::flake::{HostFlake, LOCK, TEXT_MAX};
use crate::rebuild::outcome::{LockChange, RebuildNote};
use crate::rebuild::output;
use crate::state::replace;

impl Pin<'_> {
    /// Completes the lock file. A failure becomes a note; the build fails if it matters.
    pub(in crate::rebuild) fn update_lock(&mut self, notes: &mut Vec<RebuildNote>) {
        let done = if self.flake.is_own() {
            self.lock_own_flake()
        } else {
            self.lock_host_flake()
        };
        match done {
            Ok(change) => notes.extend(change.map(|change| RebuildNote::Lock { change })),
            Err(cause) => notes.push(RebuildNote::LockFailed { cause }),
        }
    }

    /// Completes the lock file of a flake in the target.
    fn lock_own_flake(&mut self) -> Result<Option<LockChange>, String> {
        let inside = self.flake.directory.strip_prefix(&self.flake.target);
        let lock = inside.unwrap_or(Path::new("")).join(LOCK);
        let lock = RelPath::new(lock.as_os_str().as_encoded_bytes());
        let lock = lock.map_err(|error| error.to_string())?;
        let tree = Target::open(&self.tree.path).map_err(|error| error.to_string())?;
        let state = self.context.request.state;
        let committed = read_in(&tree, &lock)?;
        let is_missing = committed.is_none();
        let kept = state.directory().read(LOCK).map_err(shown)?;
        if let (true, Some(kept)) = (is_missing, kept) {
            let above = tree.directory(lock.parent().as_ref()).map_err(shown)?;
            let above = above.ok_or("the snapshot has lost a directory")?;
            let mut file = above.create(LOCK).map_err(shown)?;
            file.write(&kept).map_err(shown)?;
        }
        let before = read_in(&tree, &lock)?;
        let mut change = None;
        if !self.is_complete(before.as_deref()) {
            let reference = self.flake.reference(&self.tree.path, None);
            self.lock(reference, false)?;
            if read_in(&tree, &lock)? != before {
                change = Some(if is_missing {
                    LockChange::Made
                } else {
                    LockChange::Completed
                });
            }
        }
        if is_missing && let Some(made) = read_in(&tree, &lock)? {
            replace(state.directory(), LOCK, made.as_bytes(), 0o600)
                .map_err(|error| error.to_string())?;
        }
        if read_in(&tree, &lock)? != committed {
            // The commit has no such lock file.
            self.revision = None;
            self.tree.nar = NarHash::of(&self.tree.path).map_err(|error| error.to_string())?;
        }
        Ok(change)
    }

    /// Completes the lock file of a host flake outside the target.
    fn lock_host_flake(&mut self) -> Result<Option<LockChange>, String> {
        let before = self.flake.lock()?;
        let after = match &self.flake.layout {
            // In a git repository only a tracked lock file counts; Nix adds it to the git index.
            Some(Layout::Input { .. }) if before.is_none() && self.flake.in_git => {
                self.lock(self.flake.reference(&self.flake.target, None), true)?;
                self.flake.lock()?
            }
            Some(Layout::Input { names }) => self.locked_to_snapshot(names, before.as_deref())?,
            _ if self.is_complete(before.as_deref()) => return Ok(None),
            _ => {
                self.lock(self.flake.reference(&self.flake.target, None), true)?;
                self.flake.lock()?
            }
        };
        let Some(after) = after.filter(|after| Some(after) != before.as_ref()) else {
            return Ok(None);
        };
        let Some(before) = before else {
            write(self.flake, &after)?;
            return Ok(Some(LockChange::Made));
        };
        let (Ok(old), Ok(new)) = (FlakeLock::parse(&before), FlakeLock::parse(&after)) else {
            return Ok(None);
        };
        let ours = match &self.flake.layout {
            Some(Layout::Input { names }) => names.as_slice(),
            _ => &[],
        };
        if !new.keeps(&old, ours) {
            write(self.flake, &before)?;
            return Err("it would move inputs that are locked already".to_owned());
        }
        write(self.flake, &after)?;
        Ok(Some(if new.keeps(&old, &[]) {
            LockChange::Completed
        } else {
            LockChange::Refreshed
        }))
    }

    /// The lock file with which Nix evaluates the snapshot, with the live target in place of the snapshot.
    ///
    /// The target is locked to its content and time as without a revision, which a `nixos-rebuild` by hand does not
    /// know. With an override, Nix adds the inputs of the new tree and keeps those that are locked; `nix flake update`
    /// would move all inputs of the target, and `nix flake lock` would not read its new inputs.
    fn locked_to_snapshot(
        &mut self,
        names: &[String],
        before: Option<&str>,
    ) -> Result<Option<String>, String> {
        let old = match before {
            // A lock file that we cannot parse is left to Nix.
            Some(before) => match FlakeLock::parse(before) {
                Ok(old) => Some(old),
                Err(_) => return Ok(None),
            },
            None => None,
        };
        let finished = self.metadata().map_err(|error| error.to_string())?;
        let Some(mut lock) = FlakeLock::of_metadata(&finished.answer) else {
            return Err(cause(&finished));
        };
        for name in names {
            lock.relocate(name, old.as_ref(), self.tree.time);
        }
        self.metadata = Some(finished);
        Ok(Some(lock.text()))
    }

    /// Whether a lock file has all inputs of the flake.
    fn is_complete(&self, text: Option<&str>) -> bool {
        let Some(text) = text else {
            return false;
        };
        let (Ok(lock), Some(flake)) = (FlakeLock::parse(text), &self.flake.parsed) else {
            // A file that we cannot parse is left to Nix.
            return true;
        };
        let names = flake.inputs.iter().map(|input| input.name.as_str());
        lock.has_inputs(names)
    }

    /// `nix flake lock`, which adds missing inputs and moves none.
    fn lock(&self, reference: String, in_namespace: bool) -> Result<(), String> {
        let mut args: Vec<OsString> = vec!["flake".into(), "lock".into()];
        args.extend(nix_options(&self.context.request.settings.extra_args));
        args.push(reference.into());
        let command = if in_namespace {
            self.command(args)
        } else {
            self.context.command(&self.nix, args)
        };
        let finished = self.context.runner.run(&command.output(Output::Answer));
        match finished {
            Ok(finished) if finished.end.is_success() => Ok(()),
            Ok(finished) => Err(cause(&finished)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Locks the target, if it is an input, to its present content, for a `nixos-rebuild` that is not pinned. Returns
/// whether the file has changed.
pub(in crate::rebuild) fn refresh_lock(flake: &HostFlake) -> Result<bool, String> {
    let Some(Layout::Input { names }) = &flake.layout else {
        return Ok(false);
    };
    let Some(Ok(mut lock)) = flake.lock()?.as_deref().map(FlakeLock::parse) else {
        return Ok(false);
    };
    let (nar, time) = NarHash::with_time_of(&flake.target).map_err(|error| error.to_string())?;
    let target = Target::open(&flake.target).map_err(|error| error.to_string())?;
    let path = RelPath::new(b"flake.nix").map_err(|error| error.to_string())?;
    let source = read_in(&target, &path)?;
    let target = source.and_then(|source| Flake::parse(&source).ok());
    let refreshed = names.iter().filter(|name| lock.refresh(name, &nar, time));
    if refreshed.count() == 0 {
        return Ok(false);
    }
    for name in names {
        let inputs = target.iter().flat_map(|target| &target.inputs);
        if !lock.has_nested(name, inputs.map(|input| input.name.as_str())) {
            return Err(format!(
                "the tree has new inputs; `nix flake update {name}` locks them"
            ));
        }
    }
    write(flake, &lock.text())?;
    Ok(true)
}

/// The error message of Nix, else its last line.
fn cause(finished: &Finished) -> String {
    let last = || finished.tail.lines().last().map(str::to_owned);
    let cause = output::error_message(&finished.tail).or_else(last);
    cause.unwrap_or_else(|| finished.end.to_string())
}

/// The text of a file of a tree, following symlinks inside the tree; `None` if it is missing.
fn read_in(tree: &Target, path: &RelPath) -> Result<Option<String>, String> {
    match tree.open_led(path).map_err(|error| error.to_string())? {
        PathTarget::Absent => Ok(None),
        PathTarget::File(file) => content::text(&file, TEXT_MAX)
            .map(Some)
            .map_err(|error| error.to_string()),
        PathTarget::Other => Err(format!("`{path}` is not a regular file of the tree")),
    }
}

/// Replaces or creates the lock file of the host flake, at its real path and with the mode it had.
fn write(flake: &HostFlake, text: &str) -> Result<(), String> {
    let path = flake.directory.join(LOCK);
    let path = fs::canonicalize(&path).unwrap_or(path);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory = Directory::open(directory, Faults::default()).map_err(shown)?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("its name is not text")?;
    let mode = directory.stat(name).map_err(shown)?;
    let mode = mode.map_or(0o644, |found| found.mode & 0o777);
    replace(&directory, name, text.as_bytes(), mode).map_err(|error| error.to_string())
}

/// A failure with its cause.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that `map_err` needs"
)]
fn shown(failure: Failure) -> String {
    format!("{failure}: {}", failure.source)
}
