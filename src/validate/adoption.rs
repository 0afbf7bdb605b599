//! What a directory keeps of the time before it was a target: its `.git`, and the hardware configuration at its top.

use super::findings::Findings;
use super::probe::Probe;
use crate::git::RelPath;
use crate::git_dir;
use crate::nix::OtherHardware;
use crate::rebuild::{Machine, likely_host};
use crate::text;

/// The target has no `.git` of another commit, because git, and Nix by it, would not see new files.
pub(super) fn git_dir(probe: &Probe<'_>, findings: &mut Findings) {
    let Ok(target) = &probe.target else {
        return findings.skip("there is no target to check");
    };
    let Some(index) = probe.index() else {
        return findings.skip("no sync was done yet");
    };
    if git_dir::is_left(target, probe.env(), index.point.commit) {
        let shown = text::path(&probe.settings().target);
        findings.fault(
            format!("`{shown}/.git` is not at the commit of the target: git, and with it `nixos-rebuild --flake {shown}`, does not see new files"),
            format!("`hyper-sync sync --adopt` moves it into the state directory; or build by hand with `--flake path:{shown}`"),
        );
    } else {
        findings.pass("none is in the way");
    }
}

/// The host uses the hardware configuration that lies at the top of the target, or one that is the same.
pub(super) fn hardware(probe: &Probe<'_>, findings: &mut Findings) {
    if probe.target.is_err() {
        return findings.skip("there is no target to check");
    }
    let read = |path: &RelPath| {
        let text = probe.read_target(path).ok().flatten();
        text.map(String::into_bytes)
    };
    let flake = RelPath::new(b"flake.nix").ok().and_then(|path| read(&path));
    let host = probe.settings().rebuild.host.as_deref();
    let host = likely_host(host, flake.as_deref(), &Machine::here());
    match OtherHardware::find(&host, &read) {
        Some(other) => findings.fault(
            other.to_string(),
            "compare both before the next rebuild: a machine with another one's file systems does not boot; remove the one at the top when it is not needed any more",
        ),
        None => findings.pass("no other one is used"),
    }
}
