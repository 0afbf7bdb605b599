//! The host flake: it can be read, has hosts and reaches the target; its lock file is complete.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FilePosition;
use super::findings::Findings;
use super::probe::Probe;
use crate::nix::{Flake, FlakeLock, Layout, lock};
use crate::text;

const MISSING: &str = "set `rebuild.flake` to the directory that holds the machine's `flake.nix`";

/// `flake.nix` parses, has hosts and reaches the target.
pub(super) fn flake(probe: &Probe<'_>, findings: &mut Findings) {
    let path = probe.settings().rebuild.flake.join("flake.nix");
    let shown = text::path(&path);
    let source: Arc<str> = match probe.read(&path) {
        Ok(Some(source)) => source.into(),
        Ok(None) => return findings.fault(format!("`{shown}` is missing"), MISSING),
        Err(error) => {
            return findings.fault(format!("`{shown}` cannot be read: {error}"), MISSING);
        }
    };
    let flake = match Flake::parse(&source) {
        Ok(flake) => flake,
        Err(error) => {
            return findings.place(
                true,
                error.fault.to_string(),
                FilePosition::of(&path, &source, &error),
                "correct it: Nix cannot read it either",
            );
        }
    };
    hosts(probe, &flake, findings);
    reach(probe, &flake, findings);
}

fn hosts(probe: &Probe<'_>, flake: &Flake, findings: &mut Findings) {
    let wanted = &probe.settings().rebuild.host;
    match (&flake.hosts, wanted) {
        _ if !flake.outputs => findings.fault(
            "it has no `outputs`",
            "a flake that a system is built from has `outputs` with `nixosConfigurations`; where nothing is to be rebuilt, set `rebuild.action = \"none\"`",
        ),
        (Some(names), _) if names.is_empty() => findings.fault(
            "it has no `nixosConfigurations`",
            "add the machine to `nixosConfigurations`, or set `rebuild.flake` to the flake that has it; where nothing is to be rebuilt, set `rebuild.action = \"none\"`",
        ),
        (Some(names), Some(host)) if !names.contains(host) => findings.fault(
            format!("it has no `nixosConfigurations.{host}`, only {}", list(names)),
            "set `rebuild.host` to one of them",
        ),
        (Some(names), _) => findings.pass(format!("it has {}", list(names))),
        (None, _) => findings.pass("its hosts are computed, which only Nix can evaluate"),
    }
}

fn list(names: &[String]) -> String {
    text::list(names.iter().map(|name| format!("`{}`", text::name(name))))
}

/// The flake reaches the target by one of the layouts.
fn reach(probe: &Probe<'_>, flake: &Flake, findings: &mut Findings) {
    let settings = probe.settings();
    let (directory, target) = (&settings.rebuild.flake, &settings.target);
    let shown = text::path(target);
    match Layout::of(flake, directory, target) {
        Some(Layout::Own) => findings.pass(format!("it lies in the target `{shown}`")),
        Some(Layout::Input { names }) => {
            findings.pass(format!("it has the target as its input {}", list(&names)));
        }
        Some(Layout::Literal) => findings.pass(format!("it names files in the target `{shown}`")),
        None => elsewhere(flake, directory, target, findings),
    }
}

fn elsewhere(flake: &Flake, directory: &Path, target: &Path, findings: &mut Findings) {
    let hint = "without that, a rebuild does not see what was synced: name the target in it, or set `rebuild.flake`";
    let text = format!("nothing in it leads to the target `{}`", text::path(target));
    if leads_elsewhere(flake, directory) {
        findings.warn(text + ", as far as its own text shows", hint);
    } else {
        findings.fault(text, hint);
    }
}

/// Whether it reads other local files, which may lead to the target.
fn leads_elsewhere(flake: &Flake, directory: &Path) -> bool {
    flake
        .inputs
        .iter()
        .any(|input| input.path(directory).is_some())
        || flake.paths.iter().any(|path| path.is_relative())
}

/// `flake.lock` can be parsed and has the flake's inputs.
pub(super) fn lock(probe: &Probe<'_>, findings: &mut Findings) {
    let directory = &probe.settings().rebuild.flake;
    let path = directory.join("flake.lock");
    let shown = text::path(&path);
    let flake = probe.read(&directory.join("flake.nix"));
    let flake = flake
        .ok()
        .flatten()
        .and_then(|source| Flake::parse(&source).ok());
    let Some(flake) = flake else {
        return findings.skip("there is no flake that can be read");
    };
    let source: Arc<str> = match probe.read(&path) {
        Ok(Some(source)) => source.into(),
        Ok(None) if flake.inputs.is_empty() => {
            return findings.pass("the flake has no inputs to lock");
        }
        Ok(None) => {
            return findings.warn(
                format!("`{shown}` is missing"),
                "the next rebuild makes it; until then nothing says which nixpkgs is built",
            );
        }
        Err(error) => return findings.fault(format!("`{shown}` cannot be read: {error}"), BROKEN),
    };
    match FlakeLock::parse(&source) {
        Ok(lock) => {
            let inputs = flake
                .inputs
                .iter()
                .filter(|input| lock.input(&input.name).is_none());
            let missing: Vec<_> = inputs.map(|input| input.name.clone()).collect();
            findings.each(
                false,
                &missing,
                |name| format!("the input `{name}` is not locked"),
                "the next rebuild locks it to what is newest then; `nix flake lock` does so now",
            );
            if missing.is_empty() {
                findings.pass(format!("`{shown}` is whole"));
            }
        }
        Err(fault) => broken(&path, &source, &fault, findings),
    }
}

const BROKEN: &str =
    "bring it back from a backup or from the repository; removing it locks every input anew";

fn broken(path: &Path, source: &Arc<str>, fault: &lock::LockFault, findings: &mut Findings) {
    let lock::LockFault::Json { position, cause } = fault else {
        return findings.fault(format!("`{}` is broken: {fault}", text::path(path)), BROKEN);
    };
    let line = source
        .split_inclusive('\n')
        .take(position.line - 1)
        .map(str::len)
        .sum::<usize>();
    let at = (line + position.column - 1).min(source.len());
    let place = FilePosition {
        path: PathBuf::from(path),
        position: *position,
        span: at..at,
        source: Arc::clone(source),
    };
    findings.place(true, cause.clone(), place, BROKEN);
}
