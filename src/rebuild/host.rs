//! Which of the flake's hosts this machine is.
//!
//! As it is set; else the only one there is; else the one called like this machine. The name of the machine comes
//! last because a configuration may change it: after its first switch a Hyper-NixOS host is called otherwise than the
//! attribute it was installed from.

use std::ffi::OsString;

use super::error::Error;
use super::pinned::Pin;
use super::places::Places;
use super::session::RebuildContext;
use crate::process::{Finished, Output};

/// Finds the host: by the flake's text where that is enough, else by evaluation, pinned where the build will be.
pub(super) fn resolve(
    session: &RebuildContext<'_>,
    places: &Places,
    pin: Option<&Pin<'_>>,
) -> Result<String, Error> {
    let written = places.text.as_ref().and_then(|flake| flake.hosts.clone());
    let names = written.or_else(|| match pin {
        Some(pin) => pin.hosts(),
        None => evaluated(session, places),
    });
    let flake = &session.request.settings.flake;
    let hostname = &session.machine.hostname;
    match (&session.request.settings.host, names) {
        (Some(host), Some(names)) if !names.contains(host) => Err(Error::HostUnknown {
            flake: flake.clone(),
            host: host.clone(),
            names,
            standing: session.standing(),
        }),
        (Some(host), _) => Ok(host.clone()),
        (None, Some(names)) => choose(&names, hostname).ok_or_else(|| Error::HostUnclear {
            flake: flake.clone(),
            names,
            hostname: hostname.clone(),
            standing: session.standing(),
        }),
        // Whatever keeps Nix from telling the names will be the build's own error.
        (None, None) => Ok(short(hostname).to_owned()),
    }
}

fn choose(names: &[String], hostname: &str) -> Option<String> {
    if let [only] = names {
        return Some(only.clone());
    }
    [hostname, short(hostname)]
        .iter()
        .find(|name| names.iter().any(|known| known == *name))
        .map(|name| (*name).to_owned())
}

fn short(hostname: &str) -> &str {
    hostname.split('.').next().unwrap_or(hostname)
}

/// The names in `nixosConfigurations` of the live flake, by evaluation.
fn evaluated(session: &RebuildContext<'_>, places: &Places) -> Option<Vec<String>> {
    let nix = session.find("nix").ok()?;
    let mut args = arguments();
    if session.is_impure() {
        args.push("--impure".into());
    }
    args.push(format!("{}#{ATTRIBUTE}", places.reference(&places.target)).into());
    answer(
        session
            .runner
            .run(&session.command(&nix, args).output(Output::Quiet)),
    )
}

/// The attribute that holds the hosts.
pub(super) const ATTRIBUTE: &str = "nixosConfigurations";

/// The arguments with which Nix prints the names in an attribute.
pub(super) fn arguments() -> Vec<OsString> {
    let args = [
        "eval",
        "--json",
        "--no-write-lock-file",
        "--apply",
        "builtins.attrNames",
    ];
    args.map(OsString::from).to_vec()
}

/// What Nix answers to them.
pub(super) fn answer(finished: std::io::Result<Finished>) -> Option<Vec<String>> {
    let finished = finished.ok().filter(|finished| finished.end.is_success())?;
    serde_json::from_slice(&finished.answer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], hostname: &str) -> Option<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        choose(&names, hostname)
    }

    #[test]
    fn the_only_host_is_taken_whatever_the_machine_is_called() {
        assert_eq!(chosen(&["vm"], "hyper-nixos").as_deref(), Some("vm"));
    }

    #[test]
    fn of_several_the_one_called_like_the_machine_is_taken() {
        let names = ["a", "b", "b.example.org"];
        assert_eq!(chosen(&names, "a").as_deref(), Some("a"));
        assert_eq!(chosen(&names, "a.example.org").as_deref(), Some("a"));
        assert_eq!(
            chosen(&names, "b.example.org").as_deref(),
            Some("b.example.org")
        );
        assert_eq!(chosen(&names, "c"), None);
        assert_eq!(chosen(&[], "c"), None);
    }
}
