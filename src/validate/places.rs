//! The files of the target: required directories and files, sockets and FIFOs, scripts, and the machine's own modules.

use std::path::{Path, PathBuf};

use super::findings::Findings;
use super::probe::Probe;
use super::repair::Repair;
use crate::fs::{self, FileKind, Stat};
use crate::git::RelPath;
use crate::nix::names::sets_attribute;
use crate::text;

/// The target can be opened, and its file system is writable.
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

/// The configured directories exist.
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

/// Creates the missing directories.
pub(super) fn make_directories(probe: &Probe<'_>) -> Vec<Repair> {
    let directories = probe.settings().validate.directories.iter();
    let missing = directories.filter(|path| probe.kind(&absolute(probe, path)).is_none());
    missing
        .map(|path| Repair::make_directory(absolute(probe, path)))
        .collect()
}

/// The configured files exist.
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

/// The target has no sockets, FIFOs and devices, because Nix refuses to copy a directory that contains one.
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

/// Files that match `executable` are executable.
pub(super) fn scripts(probe: &Probe<'_>, findings: &mut Findings) {
    if probe.settings().executable.is_empty() {
        return findings.skip("no patterns are set in `executable`");
    }
    if probe.target.is_err() {
        return findings.skip("there is no target to check");
    }
    let scripts = matching(probe);
    let plain: Vec<_> = scripts
        .iter()
        .filter(|(_, stat)| !is_executable(*stat))
        .map(|(path, _)| path)
        .collect();
    findings.each(
        true,
        &plain,
        |path| format!("`{path}` is not executable"),
        "`--fix` makes them executable; so does the next sync",
    );
    if scripts.is_empty() {
        findings.warn(
            "no file matches `executable`",
            "check the patterns, and whether the target was ever synced",
        );
    } else if plain.is_empty() {
        findings.pass(format!("{} files are executable", scripts.len()));
    }
}

/// Makes scripts executable for everybody who may read them.
pub(super) fn make_executable(probe: &Probe<'_>) -> Vec<Repair> {
    let target = &probe.settings().target;
    let plain = matching(probe)
        .into_iter()
        .filter(|(_, stat)| !is_executable(*stat));
    plain
        .map(|(path, stat)| {
            Repair::set_mode(target.join(path), stat.mode | ((stat.mode & 0o444) >> 2))
        })
        .collect()
}

fn is_executable(stat: Stat) -> bool {
    stat.mode & 0o100 != 0
}

fn matching(probe: &Probe<'_>) -> Vec<(RelPath, Stat)> {
    let patterns = &probe.settings().executable;
    let paths = probe
        .managed()
        .into_iter()
        .filter(|path| patterns.matches(path));
    let files = paths.filter_map(|path| Some((probe.target_stat(&path)?, path)));
    files
        .filter(|(stat, _)| stat.kind == FileKind::File)
        .map(|(stat, path)| (path, stat))
        .collect()
}

/// Hyper-NixOS defines the users of a machine in one module.
pub(super) fn users(probe: &Probe<'_>, findings: &mut Findings) {
    let Some((path, source)) = local_module(probe, "modules/users-local.nix", findings) else {
        return;
    };
    match sets_attribute(&source, &["users", "users"]) {
        Ok(true) => findings.pass(format!("`{path}` defines users")),
        Ok(false) => findings.fault(
            format!("`{path}` defines no user"),
            "add `users.users.NAME`, or nobody may be able to log in after a rebuild",
        ),
        // The syntax check reports it with its position.
        Err(_) => findings.skip(format!("`{path}` does not parse")),
    }
}

/// Hyper-NixOS has one module for the settings of a machine.
pub(super) fn system(probe: &Probe<'_>, findings: &mut Findings) {
    if let Some((path, _)) = local_module(probe, "modules/system-local.nix", findings) {
        findings.pass(format!("`{path}` is there"));
    }
}

fn local_module(
    probe: &Probe<'_>,
    path: &'static str,
    findings: &mut Findings,
) -> Option<(&'static str, String)> {
    if !probe.is_hyper_nixos() {
        findings.skip("the target is not that of Hyper-NixOS");
        return None;
    }
    let found = RelPath::new(path.as_bytes())
        .ok()
        .map(|path| probe.read_target(&path));
    match found {
        Some(Ok(Some(source))) => return Some((path, source)),
        Some(Err(error)) => findings.fault(format!("`{path}` cannot be read: {error}"), "check its permissions"),
        _ => findings.fault(
            format!("`{path}` is missing"),
            "the installer of Hyper-NixOS writes it; without it the machine has only what the repository says",
        ),
    }
    None
}
