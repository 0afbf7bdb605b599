//! Directories and files that have to be there, and things that must not.

use std::path::{Path, PathBuf};

use super::findings::Findings;
use super::probe::Probe;
use super::repair::Repair;
use crate::fs::{self, FileKind};
use crate::text;

/// The target can be opened, and its file system can be written.
pub(super) fn target(probe: &Probe<'_>, findings: &mut Findings) {
    let path = &probe.settings().target;
    let shown = text::path(path);
    if let Err(error) = &probe.target {
        let hint = match error {
            fs::Error::TargetMissing { .. } => {
                "`hyper-sync sync` makes it; check `target` if it should be elsewhere".to_owned()
            }
            other => {
                miette::Diagnostic::help(other).map_or_else(String::new, |help| help.to_string())
            }
        };
        findings.fault(error.to_string(), hint);
        return;
    }
    match probe.system.space(path) {
        Some(space) if space.read_only => findings.fault(
            format!("`{shown}` is on a file system that is mounted read-only"),
            "mount it writable, or set `target` to a directory that is",
        ),
        _ => findings.pass(format!("`{shown}` is there")),
    }
}

/// The configured directories are there.
pub(super) fn directories(probe: &Probe<'_>, findings: &mut Findings) {
    let directories = &probe.settings().validate.directories;
    if directories.is_empty() {
        findings.skip("none are named in `validate.directories`");
    }
    for path in directories {
        let shown = text::path(path);
        match probe.kind(&absolute(probe, path)) {
            Some(FileKind::Directory) => findings.pass(format!("`{shown}` is there")),
            Some(_) => findings.fault(
                format!("`{shown}` is not a directory"),
                "move aside what stands there",
            ),
            None => findings.fault(format!("`{shown}` is missing"), "`--fix` makes it"),
        }
    }
}

/// Missing directories are made.
pub(super) fn make_directories(probe: &Probe<'_>) -> Vec<Repair> {
    let directories = probe.settings().validate.directories.iter();
    let missing = directories.filter(|path| probe.kind(&absolute(probe, path)).is_none());
    missing
        .map(|path| Repair::make_directory(absolute(probe, path)))
        .collect()
}

/// The configured files are there.
pub(super) fn files(probe: &Probe<'_>, findings: &mut Findings) {
    let files = &probe.settings().validate.files;
    if files.is_empty() {
        findings.skip("none are named in `validate.files`");
    }
    for path in files {
        let shown = text::path(path);
        let hint = if probe.in_target(&absolute(probe, path)).is_some() {
            "`hyper-sync sync` brings what the repository has"
        } else {
            "it does not come from the repository: restore it from a backup, or make it anew (`nixos-generate-config` makes `hardware-configuration.nix`)"
        };
        match probe.kind(&absolute(probe, path)) {
            Some(FileKind::File) => findings.pass(format!("`{shown}` is there")),
            Some(_) => findings.fault(format!("`{shown}` is not a regular file"), hint),
            None => findings.fault(format!("`{shown}` is missing"), hint),
        }
    }
}

/// Sockets, FIFOs and devices: Nix refuses to copy a directory that holds one.
pub(super) fn special_files(probe: &Probe<'_>, findings: &mut Findings) {
    let walk = match probe.walk() {
        Ok(walk) => walk,
        Err(error) => {
            findings.fault(error.to_string(), "check the disk and its permissions");
            return;
        }
    };
    if probe.target.is_err() {
        findings.skip("there is no target to check");
        return;
    }
    let entries = walk.entries.iter();
    let special = entries.filter(|(_, stat)| stat.kind == FileKind::Special);
    let special: Vec<_> = special.map(|(path, _)| path).collect();
    findings.each(
        false,
        &special,
        |path| format!("`{path}` is a socket, a FIFO or a device"),
        "Nix refuses to copy a directory that holds one: remove it, or keep it elsewhere",
    );
    if walk.is_cut {
        findings.pass(format!(
            "only the first {} names were checked",
            walk.entries.len()
        ));
    } else if special.is_empty() {
        findings.pass("none in the target");
    }
}

fn absolute(probe: &Probe<'_>, path: &Path) -> PathBuf {
    probe.settings().target.join(path)
}
