//! Programs in the search path.

use super::findings::Findings;
use super::probe::Probe;
use crate::settings::Repo;
use crate::signature::Signers;
use crate::source::Interrupt;

const REBUILD: &str = "nixos-rebuild";

/// What hyper-sync starts is there, and what the settings name.
pub(super) fn tools(probe: &Probe<'_>, findings: &mut Findings) {
    let settings = probe.settings();
    rebuild(probe, findings);
    let mut needed = Vec::new();
    match settings.repo {
        Repo::Ssh(_) => needed.push(("ssh", "the repository is reached through it")),
        Repo::Local(_) => needed.push(("git", "the repository is read through it")),
        Repo::GitHub { .. } | Repo::Http(_) => {}
    }
    if let Some(path) = &settings.trust.signers {
        let path = probe.system.real(path);
        match Signers::load(&path, probe.env(), &Interrupt::default()) {
            Ok(signers) => needed.push((signers.program(), "`trust.signers` needs it")),
            Err(error) => findings.fault(error.to_string(), help(&error)),
        }
    }
    for (name, why) in &needed {
        match probe.find_program(name) {
            Some(_) => findings.pass(format!("`{name}` is there")),
            None => findings.fault(
                format!("`{name}` is not in the search path, but {why}"),
                "install it, or add its directory to `PATH`",
            ),
        }
    }
    for name in &settings.validate.tools {
        let told = name == REBUILD || needed.iter().any(|(needed, _)| needed == name);
        if told {
            continue;
        }
        if probe.find_program(name).is_some() {
            findings.pass(format!("`{name}` is there"));
        } else {
            findings.warn(
                format!("`{name}` is not in the search path"),
                "add it to `environment.systemPackages`, or take it out of `validate.tools`",
            );
        }
    }
}

/// What an error says is to be done.
fn help(error: &dyn miette::Diagnostic) -> String {
    error
        .help()
        .map_or_else(String::new, |help| help.to_string())
}

/// A rebuild is possible: by `nixos-rebuild`, or by what it would start itself.
fn rebuild(probe: &Probe<'_>, findings: &mut Findings) {
    if probe.find_program(REBUILD).is_some() {
        findings.pass(format!("`{REBUILD}` is there"));
        return;
    }
    let missing = ["nix", "nix-env"].map(|name| (name, probe.find_program(name)));
    match missing.iter().find(|(_, found)| found.is_none()) {
        None => findings.warn(
            format!(
                "`{REBUILD}` is not in the search path: a rebuild does without it, but not where the build cannot be pinned to a snapshot"
            ),
            "install it, or add its directory to `PATH`",
        ),
        Some((name, _)) => findings.fault(
            format!("neither `{REBUILD}` nor `{name}` is in the search path, and a rebuild needs either"),
            "install one of them, or add its directory to `PATH`",
        ),
    }
}
