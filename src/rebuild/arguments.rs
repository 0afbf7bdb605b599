//! The arguments that a user hands to `nixos-rebuild`, for `nix build`.

use std::ffi::OsString;

use super::outcome::UnpinnedReason;

/// Without a meaning where `nixos-rebuild` does not build: it would not start a newer version of itself, nor build Nix.
const DROPPED: &[&str] = &[
    "--fast",
    "--no-reexec",
    "--no-build-nix",
    "--no-build-output",
    "-Q",
];

/// What only `nixos-rebuild` can do: other machines, other profiles, other users, other sources.
const ONLY_REBUILD: &[&str] = &[
    "--ask-sudo-password",
    "--attr",
    "--build-host",
    "--file",
    "--flake",
    "--install-bootloader",
    "--install-grub",
    "--no-flake",
    "--profile-name",
    "--rollback",
    "--specialisation",
    "--store-path",
    "--substitute-on-destination",
    "--sudo",
    "--target-host",
    "--upgrade",
    "--upgrade-all",
    "--use-remote-sudo",
    "--use-substitutes",
    "-A",
    "-S",
    "-c",
    "-f",
    "-p",
    "-s",
];

/// The arguments that Nix takes, or the one it does not.
pub(super) fn of_build(args: &[String]) -> Result<Vec<OsString>, UnpinnedReason> {
    let name = |arg: &str| arg.split('=').next().unwrap_or(arg).to_owned();
    if let Some(argument) = args
        .iter()
        .find(|arg| ONLY_REBUILD.contains(&name(arg).as_str()))
    {
        return Err(UnpinnedReason::Argument {
            argument: argument.clone(),
        });
    }
    Ok(args
        .iter()
        .filter(|arg| !DROPPED.contains(&arg.as_str()))
        .map(OsString::from)
        .collect())
}

/// The settings of Nix among the arguments, which every command of Nix takes.
pub(super) fn of_settings(args: &[String]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--option" {
            kept.push(arg.into());
            kept.extend(rest.by_ref().take(2).map(OsString::from));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|&arg| arg.to_owned()).collect()
    }

    #[test]
    fn what_nix_knows_passes_and_what_is_without_a_meaning_is_dropped() {
        let args = strings(&["--impure", "--fast", "--option", "cores", "3", "-L"]);
        let passed = of_build(&args).unwrap();
        assert_eq!(passed, ["--impure", "--option", "cores", "3", "-L"]);
        assert_eq!(of_settings(&args), ["--option", "cores", "3"]);
    }

    #[test]
    fn what_only_nixos_rebuild_can_do_is_named() {
        for arg in ["--target-host", "--sudo", "--profile-name=x", "-p"] {
            let args = strings(&["--impure", arg, "x"]);
            let argument = arg.to_owned();
            assert_eq!(of_build(&args), Err(UnpinnedReason::Argument { argument }));
        }
    }
}
