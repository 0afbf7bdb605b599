//! The real binary.

use std::fs;

use crate::common::env::{Output, Sandbox};
use crate::common::repo::Repo;

/// A machine with a repository of its own, for the real binary.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox
        .config("[validate]\nmin_free = \"1 MiB\"\ntools = [\"git\"]\n")
        .edit(
            "flake.nix",
            "{\n  outputs = { self }: { nixosConfigurations.box = 1; };\n}\n",
        )
        .edit("configuration.nix", "{ }\n");
    let settings = sandbox.home().join(".config/nix");
    fs::create_dir_all(&settings).unwrap();
    fs::write(
        settings.join("nix.conf"),
        "experimental-features = nix-command flakes\n",
    )
    .unwrap();
    for tool in ["nix", "nixos-rebuild"] {
        sandbox.tool(tool, "exit 1");
    }
    sandbox
}

/// Only the checks of `--quick`: the others read the network of the machine that runs the test.
fn run(sandbox: &Sandbox, args: &[&str]) -> Output {
    sandbox.run(&[&["validate", "--quick"], args].concat())
}

#[test]
fn a_healthy_machine_exits_with_0() {
    let sandbox = sandbox();
    insta::assert_snapshot!(run(&sandbox, &[]).masked(), @r"
    exit: 0
    --- stdout
    skipped  directories: none are named in `validate.directories`
    passed   target
    skipped  configuration files: none are named in `validate.files`
    passed   flake
    passed   flake.lock
    skipped  Nix syntax: left out by `--quick`
    skipped  sockets and FIFOs: left out by `--quick`
    skipped  scripts: no patterns are set in `executable`
    skipped  git work tree: no sync was done yet
    passed   hardware configuration
    skipped  user configuration: the target is not that of Hyper-NixOS
    skipped  system configuration: the target is not that of Hyper-NixOS
    passed   Nix
    skipped  virtualisation: not asked for: `validate.kvm` is false
    skipped  network: left out by `--quick`
    skipped  services: left out by `--quick`
    passed   tools
    skipped  integrity: left out by `--quick`
    skipped  permissions: left out by `--quick`
    passed   disk space
    passed   state

    21 checks: 8 passed, 13 skipped
    ");
    assert_eq!(run(&sandbox, &["--quiet"]).masked(), "exit: 0\n");
}

#[test]
fn a_warning_exits_with_2_unless_only_failures_count() {
    let sandbox = sandbox();
    sandbox.config("[validate]\nmin_free = \"1 MiB\"\ntools = [\"git\", \"no-such-tool\"]\n");
    insta::assert_snapshot!(run(&sandbox, &["--quiet"]).masked(), @"
    exit: 2
    --- stdout
    warning  tools
             `no-such-tool` is not in the search path
             help: add it to `environment.systemPackages`, or take it out of `validate.tools`
    ");
    let _ = run(&sandbox, &["--fail-on", "critical"]).ok();
}

#[test]
fn a_failure_exits_with_1_and_shows_the_place() {
    let sandbox = sandbox();
    sandbox.edit(
        "flake.nix",
        "{\n  outputs = { self }: { nixosConfigurations.box = 1 };\n}\n",
    );
    insta::assert_snapshot!(run(&sandbox, &["--quiet"]).masked(), @"
    exit: 1
    --- stdout
    failed   flake
             [target]/flake.nix:2:53: unexpected `}`, expected `;`
                 2 |   outputs = { self }: { nixosConfigurations.box = 1 };
                   |                                                     ^
             help: correct it: Nix cannot read it either
    ");
    let _ = run(&sandbox, &["--fail-on", "critical"]).code(1);
}

#[test]
fn a_broken_configuration_exits_as_a_failure_not_as_a_warning() {
    let sandbox = sandbox();
    sandbox.config("[validate]\ndirectory = []\n");
    let _ = run(&sandbox, &[]).code(1);
    let _ = run(&sandbox, &["--typo"]).code(64);
}

#[test]
fn fix_prints_what_it_does_and_the_next_run_is_clean() {
    let sandbox = sandbox();
    let directory = sandbox.root().join("made");
    sandbox.config(&format!(
        "executable = [\"*.sh\"]\n[validate]\nmin_free = \"1 MiB\"\ndirectories = [{directory:?}, \"hosts\"]\n"
    ));
    sandbox.edit("setup.sh", "");
    let _ = run(&sandbox, &[]).code(1);
    insta::assert_snapshot!(run(&sandbox, &["--fix"]).ok().err(), @"
    repair: make the directory `[root]/made`
    repair: make the directory `[target]/hosts`
    repair: set the mode of `[target]/setup.sh` to 0755
    ");
    assert_eq!(run(&sandbox, &["--fix"]).ok().err(), "");
    assert!(directory.is_dir() && sandbox.target().join("hosts").is_dir());
}

#[test]
fn verbose_lists_the_checks_that_passed() {
    let sandbox = sandbox();
    let output = run(&sandbox, &["--verbose"]).ok();
    assert!(
        output
            .stdout
            .contains("passed   flake\n         it has `box`\n"),
        "{}",
        output.stdout
    );
}

#[test]
fn json_is_one_document() {
    let sandbox = sandbox();
    sandbox.config("[validate]\nmin_free = \"1 MiB\"\ntools = [\"no-such-tool\"]\n");
    let json = run(&sandbox, &["--json"]).code(2).json();
    let tools = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["id"] == "tools")
        .unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(tools).unwrap(), @r#"
    {
      "detail": [
        {
          "status": "passed",
          "text": "`nixos-rebuild` is there"
        },
        {
          "status": "warned",
          "text": "`no-such-tool` is not in the search path"
        }
      ],
      "hint": [
        "add it to `environment.systemPackages`, or take it out of `validate.tools`"
      ],
      "id": "tools",
      "severity": "critical",
      "status": "warned",
      "title": "tools"
    }
    "#);
    assert_eq!((&json["warned"], &json["failed"]), (&1.into(), &0.into()));
    assert_eq!(json["repairs"], serde_json::json!([]));
}

/// A file name of a repository must not control the terminal.
#[test]
fn names_from_the_target_are_escaped() {
    let sandbox = sandbox();
    sandbox.edit("flake.nix", "{ \u{1b}[2J = 1; }");
    let output = run(&sandbox, &[]).code(1);
    assert!(!output.stdout.contains('\u{1b}'), "{}", output.stdout);
    insta::assert_snapshot!(run(&sandbox, &["-q"]).out(), @r"
    failed   flake
             [target]/flake.nix:1:3: unexpected `\u{1b}`
                 1 | { \u{1b}[2J = 1; }
                   |   ^
             help: correct it: Nix cannot read it either
    ");
}

/// A repository with a flake, and a machine whose programs leave a trace when they are called.
fn update(flake: &str) -> (Output, bool, String) {
    let repo = Repo::new();
    repo.write("flake.nix", flake)
        .write("configuration.nix", "{ }\n")
        .commit("start");
    let world = sandbox();
    fs::remove_dir_all(world.target()).unwrap();
    let called = world.root().join("called");
    for tool in ["nix", "nixos-rebuild"] {
        fs::remove_file(world.root().join("bin").join(tool)).unwrap();
        world.tool(
            tool,
            &format!("echo {tool} >> '{}'; exit 1", called.display()),
        );
    }
    let output = world.run(&["--repo", &repo.path().display().to_string()]);
    let synced = fs::read_to_string(world.target().join("flake.nix")).unwrap();
    (output, called.exists(), synced)
}

#[test]
fn a_critical_failure_after_the_sync_stops_the_update_before_anything_is_built() {
    let flake = "{ outputs = { self }: { packages = 1; }; }\n";
    let (output, called, synced) = update(flake);
    let output = output.code(1);
    assert_eq!(synced, flake);
    assert!(!called);
    assert!(
        output
            .stderr
            .contains("warning: flake: it has no `nixosConfigurations`"),
        "{}",
        output.stderr
    );
    assert!(
        output
            .stderr
            .contains("the installation has critical failures: flake"),
        "{}",
        output.stderr
    );
}

/// The old script's validator failed on every machine, so that every update asked whether to go on.
#[test]
fn a_healthy_machine_is_rebuilt() {
    let (output, called, _) = update("{ outputs = { self }: { nixosConfigurations.box = 1; }; }\n");
    let _ = output.code(11);
    assert!(called);
}

#[test]
fn signers_that_cannot_be_used_are_a_fault_of_the_tools() {
    let sandbox = sandbox();
    let signers = sandbox.root().join("signers");
    fs::write(&signers, "ada\n").unwrap();
    let path = signers.display().to_string();
    let output = sandbox.process(&[], &["validate", "--quick"]);
    let mut command = assert_cmd::Command::from_std(output);
    let output = sandbox.finish(command.env("HYPER_SYNC_TRUST_SIGNERS", path));
    let output = output.code(1);
    assert!(
        output.stdout.contains("line 1 of the file of signers"),
        "{}",
        output.stdout
    );
}
