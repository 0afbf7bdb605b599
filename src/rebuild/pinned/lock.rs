//! `flake.lock` before a build: nothing is left to float, and nothing of other people's is moved.
//!
//! A flake of its own belongs to the tree, where we write nothing that is not in the commit: what its lock file lacks
//! is kept in the state directory and put into the snapshot. A host's flake outside the target gets its lock file as
//! Nix would have made it by hand.
#![expect(
    clippy::disallowed_methods,
    reason = "the host's own lock file, outside the target, may be a symlink of the administrator's; nothing is opened by that"
)]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::Pin;
use crate::fs::{Directory, Failure, Faults, PathTarget, Target, content};
use crate::git::RelPath;
use crate::nix::{Flake, FlakeLock, Layout, NarHash};
use crate::process::{Finished, Output};
use crate::rebuild::arguments;
use crate::rebuild::complaint;
use crate::rebuild::outcome::{LockChange, RebuildNote};
use crate::rebuild::places::{LOCK, Places, TEXT_MAX};
use crate::state::replace;

impl Pin<'_> {
    /// Makes the lock file complete. What cannot be done is said, and the build shows whether it matters.
    pub(in crate::rebuild) fn keep_lock(&mut self, notes: &mut Vec<RebuildNote>) {
        let done = if self.places.is_own() {
            self.keep_own()
        } else {
            self.keep_hosts()
        };
        match done {
            Ok(change) => notes.extend(change.map(|change| RebuildNote::Lock { change })),
            Err(cause) => notes.push(RebuildNote::LockFailed { cause }),
        }
    }

    /// The lock file of a flake that lies in the target.
    fn keep_own(&mut self) -> Result<Option<LockChange>, String> {
        let inside = self.places.flake.strip_prefix(&self.places.target);
        let lock = inside.unwrap_or(Path::new("")).join(LOCK);
        let lock = RelPath::new(lock.as_os_str().as_encoded_bytes());
        let lock = lock.map_err(|error| error.to_string())?;
        let tree = Target::open(&self.tree.path).map_err(|error| error.to_string())?;
        let state = self.session.request.state;
        let before = read_in(&tree, &lock)?;
        let is_missing = before.is_none();
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
            let reference = self.places.reference(&self.tree.path);
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
        self.tree.nar = NarHash::of(&self.tree.path).map_err(|error| error.to_string())?;
        Ok(change)
    }

    /// The lock file of a host's flake outside the target.
    fn keep_hosts(&self) -> Result<Option<LockChange>, String> {
        let before = self.places.lock()?;
        let after = match &self.places.layout {
            // In a git repository a lock file counts once git knows it, which is Nix's to arrange.
            Some(Layout::Input { .. }) if before.is_none() && self.places.in_git => {
                self.lock(self.places.reference(&self.places.target), true)?;
                self.places.lock()?
            }
            Some(Layout::Input { names }) => self.locked_to_snapshot(names, before.as_deref())?,
            _ if self.is_complete(before.as_deref()) => return Ok(None),
            _ => {
                self.lock(self.places.reference(&self.places.target), true)?;
                self.places.lock()?
            }
        };
        let Some(after) = after.filter(|after| Some(after) != before.as_ref()) else {
            return Ok(None);
        };
        let Some(before) = before else {
            write(self.places, &after)?;
            return Ok(Some(LockChange::Made));
        };
        let (Ok(old), Ok(new)) = (FlakeLock::parse(&before), FlakeLock::parse(&after)) else {
            return Ok(None);
        };
        let ours = match &self.places.layout {
            Some(Layout::Input { names }) => names.as_slice(),
            _ => &[],
        };
        if !new.keeps(&old, ours) {
            write(self.places, &before)?;
            return Err("it would move inputs that are locked already".to_owned());
        }
        write(self.places, &after)?;
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
            lock.relocate(name, old.as_ref());
        }
        Ok(Some(lock.text()))
    }

    /// Whether a lock file names all that the flake asks for.
    fn is_complete(&self, text: Option<&str>) -> bool {
        let Some(text) = text else {
            return false;
        };
        let (Ok(lock), Some(flake)) = (FlakeLock::parse(text), &self.places.text) else {
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
            Ok(finished) => Err(cause(&finished)),
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
    let Some(Ok(mut lock)) = places.lock()?.as_deref().map(FlakeLock::parse) else {
        return Ok(false);
    };
    let (nar, time) = NarHash::with_time_of(&places.target).map_err(|error| error.to_string())?;
    let target = Target::open(&places.target).map_err(|error| error.to_string())?;
    let flake = RelPath::new(b"flake.nix").map_err(|error| error.to_string())?;
    let source = read_in(&target, &flake)?;
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
    write(places, &lock.text())?;
    Ok(true)
}

/// What Nix says went wrong; where it names no error, what it said last.
fn cause(finished: &Finished) -> String {
    let last = || finished.tail.lines().last().map(str::to_owned);
    let cause = complaint::cause(&finished.tail).or_else(last);
    cause.unwrap_or_else(|| finished.end.to_string())
}

/// The text of a file of a tree, or of one that a symlink leads to in it; `None` where nothing is there.
fn read_in(tree: &Target, path: &RelPath) -> Result<Option<String>, String> {
    match tree.open_led(path).map_err(|error| error.to_string())? {
        PathTarget::Absent => Ok(None),
        PathTarget::File(file) => content::text(&file, TEXT_MAX)
            .map(Some)
            .map_err(|error| error.to_string()),
        PathTarget::Other => Err(format!("`{path}` is not a regular file of the tree")),
    }
}

/// Replaces the lock file of the host's flake whole, with the mode it had, where it really lies; or makes it.
fn write(places: &Places, text: &str) -> Result<(), String> {
    let path = places.flake.join(LOCK);
    let path = fs::canonicalize(&path).unwrap_or(path);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory = Directory::open(directory, Faults::default()).map_err(shown)?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("its name is not text")?;
    let mode = directory.stat(name).map_err(shown)?;
    let mode = mode.map_or(0o644, |found| found.mode & 0o777);
    replace(&directory, name, text.as_bytes(), mode).map_err(|error| error.to_string())
}

/// A failure with what the system said.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn shown(failure: Failure) -> String {
    format!("{failure}: {}", failure.source)
}
