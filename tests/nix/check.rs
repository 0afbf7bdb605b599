//! The command `check` with real Nix.

use std::path::Path;
use std::process::{Command, Output};

use super::world::system_name;

/// A configuration of three hosts: one builds, one does not evaluate, one does not build. Each system has the revision
/// of its commit in it.
fn repository(root: &Path) {
    let flake = format!(
        r#"{{
  outputs = {{ self }}:
    let
      make = name: script: derivation {{
        name = "nixos-system-${{name}}";
        system = "{}";
        builder = "/bin/sh";
        PATH = "/bin:/usr/bin";
        args = [ "-c" script ];
      }};
      host = toplevel: {{ config.system.build.toplevel = toplevel; }};
    in {{
      nixosConfigurations.good = host (make "good" "echo ${{self.rev}} >$out");
      nixosConfigurations.typo = host (make "typo" (import ./typo.nix {{ }}).missing);
      nixosConfigurations.fails = host (make "fails" "echo it fails >&2; exit 3");
    }};
}}
"#,
        system_name()
    );
    std::fs::create_dir(root).unwrap();
    std::fs::write(root.join("flake.nix"), flake).unwrap();
    std::fs::write(root.join("typo.nix"), "{ }: { present = \"\"; }\n").unwrap();
    for args in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message", "three hosts"],
    ] {
        let git = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
            .args(args)
            .status();
        assert!(git.unwrap().success(), "{args:?}");
    }
}

fn check(root: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyper-sync"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", root.parent().unwrap())
        .env("HYPER_SYNC_CONFIG", root.join("../config.toml"))
        .env(
            "NIX_CONFIG",
            "sandbox = false\nsubstituters =\nflake-registry =",
        )
        .arg("check")
        .args(args)
        .current_dir(root)
        .output()
        .unwrap()
}

#[test]
fn one_command_says_which_hosts_of_a_clone_build() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("config");
    repository(&root);
    std::fs::write(directory.path().join("config.toml"), "").unwrap();
    let output = check(&root, &["--json"]);
    assert_eq!(output.status.code(), Some(11), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let host = |number: usize, key: &str| document["hosts"][number][key].clone();
    assert_eq!(
        [0, 1, 2].map(|number| host(number, "result")),
        ["build-failed", "built", "evaluation-failed"]
    );
    let log = host(0, "log");
    assert!(log.as_str().unwrap().contains("it fails"), "{log}");
    let error = host(2, "error");
    assert!(
        error
            .as_str()
            .unwrap()
            .contains("attribute 'missing' missing"),
        "{error}"
    );
    // What was built has the commit in it.
    let system = host(1, "system");
    let built = std::fs::read_to_string(system.as_str().unwrap()).unwrap();
    assert_eq!(document["commit"], built.trim());

    let good = check(&root, &["--host", "good", "--jobs", "1"]);
    assert!(good.status.success(), "{good:?}");
    let evaluated = check(&root, &["--eval", "--host", "fails", "--host", "good"]);
    assert!(evaluated.status.success(), "{evaluated:?}");
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 3, "{root:?}");
}
