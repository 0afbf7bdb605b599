//! What the target holds: scripts that can be run, and the machine's own modules.

use super::findings::Findings;
use super::probe::Probe;
use super::repair::Repair;
use crate::fs::{FileKind, Stat};
use crate::git::RelPath;
use crate::nix::names::sets_attribute;

/// Files that match `executable` can be run.
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

/// Scripts are made executable for those who may read them.
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

/// Hyper-NixOS keeps the users of a machine in a module of their own.
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

/// Hyper-NixOS keeps what is special to a machine in a module of its own.
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
