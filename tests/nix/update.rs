//! The whole update with the real binary: a commit is synced, and its system is built.

use std::process::{Command, Output};

use super::world::{NixHost, WAYS, Way, commit, git, is_text};

fn update(world: &NixHost) {
    let output = run(world, &[]);
    assert!(
        output.status.success(),
        "{:?}: {}",
        world.way,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The update that only builds, with more arguments.
pub(super) fn run(world: &NixHost, args: &[&str]) -> Output {
    run_by(world, &[env!("CARGO_BIN_EXE_hyper-sync")], args)
}

/// The same by a program with arguments, which runs the binary.
pub(super) fn run_by(world: &NixHost, program: &[&str], args: &[&str]) -> Output {
    // Validation requires one; a pinned build does not need it.
    let nixos_rebuild = world.program("bin/nixos-rebuild", "#!/bin/sh\nexit 1\n");
    let mut path = nixos_rebuild.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    Command::new(program[0])
        .args(&program[1..])
        .env_clear()
        .env("PATH", path)
        .env("HOME", world.path("home"))
        .env(
            "NIX_CONFIG",
            "sandbox = false\nsubstituters =\nflake-registry =",
        )
        .env("HYPER_SYNC_REBUILD_FLAKE", world.flake())
        .env("HYPER_SYNC_REBUILD_ACTION", "build")
        .env("HYPER_SYNC_REBUILD_GATE", world.gate)
        .arg("--repo")
        .arg(world.path("repo"))
        .arg("--target")
        .arg(world.target())
        .arg("--state-dir")
        .arg(world.path("state"))
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn an_update_builds_the_commit_it_brought() {
    for way in WAYS {
        let world = NixHost::new(way);
        std::fs::create_dir(world.path("repo")).unwrap();
        git(&world, &["init", "--quiet", "--initial-branch=main"]);
        commit(&world);
        update(&world);
        assert!(
            is_text(&world.link("state/result").unwrap(), "one dep-1"),
            "{way:?}"
        );
        // The next commit, with the target left as the first one was.
        world.write("repo/text.nix", "\"two\"\n");
        git(
            &world,
            &["commit", "--quiet", "--all", "--message", "change"],
        );
        update(&world);
        assert!(
            is_text(&world.link("state/result").unwrap(), "two dep-1"),
            "{way:?}"
        );
        assert_eq!(world.read("target/text.nix"), "\"two\"\n", "{way:?}");
        if way == Way::Input {
            assert!(is_text(&world.by_hand(), "two dep-1"));
        }
    }
}

#[test]
fn a_gate_keeps_a_commit_out_that_does_not_build() {
    for way in WAYS {
        let world = NixHost::new(way).with_gate();
        std::fs::create_dir(world.path("repo")).unwrap();
        git(&world, &["init", "--quiet", "--initial-branch=main"]);
        commit(&world);
        update(&world);
        let before = ["target/text.nix", "flake/flake.lock", "state/rebuild.json"];
        let before = before.map(|name| (name, world.read(name)));
        world.write("repo/text.nix", "throw \"it is broken\"\n");
        git(&world, &["commit", "--quiet", "--all", "--message", "bad"]);
        let output = run(&world, &[]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(11), "{way:?}: {errors}");
        assert!(errors.contains("it is broken"), "{way:?}: {errors}");
        for (name, text) in before {
            assert_eq!(world.read(name), text, "{way:?}: {name}");
        }
        let result = world.link("state/result").unwrap();
        assert!(is_text(&result, "one dep-1"), "{way:?}");

        world.write("repo/text.nix", "\"two\"\n");
        git(&world, &["commit", "--quiet", "--all", "--message", "good"]);
        update(&world);
        assert_eq!(world.read("target/text.nix"), "\"two\"\n", "{way:?}");
        let result = world.link("state/result").unwrap();
        assert!(is_text(&result, "two dep-1"), "{way:?}");
    }
}
