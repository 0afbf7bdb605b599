//! Repairs that lose nothing: missing directories, and wrong permission bits.

use std::fmt;
use std::path::{Path, PathBuf};

use super::probe::{Part, Probe};
use crate::fs::{Directory, Failure, Faults};
use crate::text;

/// A repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    path: PathBuf,
    action: RepairAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RepairAction {
    MakeDirectory,
    SetMode(u32),
}

impl Repair {
    /// Creates a directory of the system or of the target, and the missing ones above it.
    pub(super) fn make_directory(path: PathBuf) -> Self {
        Self {
            path,
            action: RepairAction::MakeDirectory,
        }
    }

    /// Sets the permission bits of a file or directory of the system or of the target.
    pub(super) fn set_mode(path: PathBuf, mode: u32) -> Self {
        Self {
            path,
            action: RepairAction::SetMode(mode),
        }
    }

    /// Makes the repair. The error is the reason of a failure.
    pub(super) fn make(&self, probe: &Probe<'_>) -> Result<(), String> {
        // Paths in the target are opened through its descriptor, so that no symlink leads out of it.
        let inside = probe.target.as_ref().ok().zip(probe.in_target(&self.path));
        let real = probe.system.real(&self.path);
        match (self.action, inside) {
            (RepairAction::SetMode(mode), Some((target, part))) => {
                let below = match &part {
                    Part::Whole => None,
                    Part::Below(below) => Some(below),
                };
                target
                    .set_mode(below, mode)
                    .map_err(|error| text::with_causes(&error))
            }
            (RepairAction::SetMode(mode), None) => {
                set_mode(&real, mode).map_err(|error| text::with_causes(&error))
            }
            (RepairAction::MakeDirectory, Some((target, Part::Below(below)))) => target
                .make_directories(&below)
                .map_err(|error| text::with_causes(&error)),
            (RepairAction::MakeDirectory, Some((_, Part::Whole)) | None) => {
                make_directories(&real).map_err(|error| text::with_causes(&error))
            }
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = text::path(&self.path);
        match self.action {
            RepairAction::MakeDirectory => write!(f, "make the directory `{path}`"),
            RepairAction::SetMode(mode) => write!(f, "set the mode of `{path}` to {mode:04o}"),
        }
    }
}

/// The directory of a path and its last name. Symlinks above it are the administrator's, and are followed.
fn parent(path: &Path) -> Result<(Directory, &str), Failure> {
    let invalid = || Failure::from_io("open", path, std::io::ErrorKind::InvalidInput.into());
    let parent = path.parent().ok_or_else(invalid)?;
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(invalid)?;
    Ok((Directory::open_following(parent, Faults::default())?, name))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Failure> {
    let (parent, name) = parent(path)?;
    parent.set_mode(name, mode)
}

fn make_directories(path: &Path) -> Result<(), Failure> {
    if Directory::open_following(path, Faults::default()).is_ok() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_directories(above)?;
    }
    let (parent, name) = parent(path)?;
    parent.make_directory(name, 0o755)?;
    parent.sync()
}
