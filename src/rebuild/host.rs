//! Which of the flake's hosts this machine is.
//!
//! As it is set; else the only one there is; else the one called like this machine. The name of the machine comes
//! last because a configuration may change it: after its first switch a Hyper-NixOS host is called otherwise than the
//! attribute it was installed from.

use super::error::Error;
use super::runner::{Command, Output};
use super::session::Session;

/// Finds the host.
pub(super) fn resolve(session: &Session<'_>) -> Result<String, Error> {
    let names = names(session);
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

/// The names in `nixosConfigurations`, by Nix.
fn names(session: &Session<'_>) -> Option<Vec<String>> {
    let nix = session.find("nix").ok()?;
    let mut args = vec![
        "eval".to_owned(),
        "--json".to_owned(),
        "--no-write-lock-file".to_owned(),
        "--apply".to_owned(),
        "builtins.attrNames".to_owned(),
        format!(
            "{}#nixosConfigurations",
            session.request.settings.flake.display()
        ),
    ];
    if session.is_impure() {
        args.push("--impure".to_owned());
    }
    let command = Command::new(
        nix,
        args,
        &session.environment,
        session.request.state.path(),
        session.left(),
    )
    .output(Output::Quiet);
    let finished = session.runner.run(&command).ok()?;
    if !finished.end.is_success() {
        return None;
    }
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
