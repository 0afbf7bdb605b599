//! `rebuild.action = "none"`: a target that is not for NixOS, on a machine without Nix.

use crate::common::git;
use crate::common::repo::Repo;
use crate::common::world::World;

/// A site that was synced by the program without a command.
fn site(settings: &str) -> World {
    let repo = Repo::new();
    repo.write("index.html", "<p>one</p>\n").commit("site");
    let world = World::local(&repo).with(settings);
    let _ = world.run(&[]).ok();
    world
}

const NONE: &str = "[rebuild]\naction = 'none'";

#[test]
fn one_command_brings_the_target_to_the_commit_and_leaves_nothing_to_do() {
    let repo = Repo::new();
    repo.write("index.html", "<p>one</p>\n").commit("site");
    let world = World::local(&repo);
    let output = world.run(&["--rebuild-action", "none"]).ok();
    world.assert_at("main");
    // That there was no target before the first sync is nothing to warn of.
    for word in ["rebuild", "Nix", "flake", "configuration", "validate"] {
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(!text.contains(word), "{word}: {}", output.masked());
    }
    assert!(!world.state().join("rebuild.json").exists());
    let status = world.json(&["status"]);
    assert_eq!(status["pending_rebuild"], serde_json::Value::Null);
    // Checks that all passed are not worth a line.
    let again = world.run(&["--rebuild-action", "none"]).ok();
    assert!(!again.stdout.contains("validate"), "{}", again.masked());
    assert!(!again.stderr.contains("validate"), "{}", again.masked());
}

#[test]
fn status_and_metrics_are_about_the_target_alone() {
    let world = site(NONE);
    let metrics = world.root().join("metrics.prom");
    let file = format!("metrics_file = '{}'\n{NONE}", metrics.display());
    let world = world.with(&file);
    world.repo.write("index.html", "<p>two</p>\n").commit("two");
    let _ = world.run(&[]).ok();
    let status = world.run(&["status"]).ok();
    for word in ["rebuild", "built", "running", "booted", "system"] {
        assert!(!status.stdout.contains(word), "{word}: {}", status.masked());
    }
    let metrics = std::fs::read_to_string(metrics).unwrap();
    assert!(metrics.contains("hyper_sync_local_edits"), "{metrics}");
    for word in ["rebuild_pending", "reboot_pending{", "stage=\"rebuild\""] {
        assert!(!metrics.contains(word), "{word}: {metrics}");
    }
    let back = world.run(&["rollback"]).ok();
    assert!(back.stderr.contains("is held"), "{}", back.masked());
    assert!(!back.stderr.contains("rebuild"), "{}", back.masked());
}

#[test]
fn validate_asks_nothing_of_nix() {
    let world = site(NONE);
    let document = world.run(&["validate", "--json"]).ok().json();
    for check in document["checks"].as_array().unwrap() {
        let id = check["id"].as_str().unwrap();
        if ["flake", "flake-lock", "nix-syntax", "special-files", "nix"].contains(&id) {
            assert_eq!(check["status"], "skipped", "{check}");
        }
    }
}

#[test]
fn a_rebuild_by_hand_is_refused_unless_it_names_an_action() {
    let world = site(NONE);
    for args in [&["rebuild"][..], &["rollback", "--rebuild"]] {
        let refused = world.run(&[args, &["--json"]].concat()).code(2).json();
        assert_eq!(refused["error"]["code"], "hyper_sync::settings::no_rebuild");
    }
    let idle = world.run(&["rebuild", "--if-pending"]).ok();
    assert!(
        idle.stderr.contains("no rebuild waits"),
        "{}",
        idle.masked()
    );
}

#[test]
fn a_clone_can_be_followed_without_a_word_about_nix() {
    let repo = Repo::new();
    repo.write("index.html", "<p>one</p>\n").commit("site");
    let world = World::local(&repo).with(NONE);
    let mut clone = git::git(world.root());
    git::succeeds(
        clone
            .args(["clone", "-q"])
            .arg(repo.path())
            .arg(world.target()),
    );
    repo.write("new.html", "<p>new</p>\n").commit("new");
    let sync = world.run(&[]).ok();
    let status = world.run(&["status"]).ok();
    let text = [sync.stdout, sync.stderr, status.stdout, status.stderr].concat();
    assert_eq!(world.read("new.html"), "<p>new</p>\n");
    for word in ["nixos-rebuild", "Nix", "rebuil"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_directory_in_the_home_directory_can_be_a_target() {
    let repo = Repo::new();
    repo.write("vimrc", "set nocompatible\n").commit("dotfiles");
    let world = World::local(&repo);
    let home = world.home();
    let at = |target: &std::path::Path| {
        let target = target.to_str().unwrap();
        let state = world.root().join("other-state");
        let place = ["--target", target, "--state-dir", state.to_str().unwrap()];
        world.run(&[&["--rebuild-action", "none", "--json"], &place[..]].concat())
    };
    let _ = at(&home.join("dotfiles")).ok();
    assert!(home.join("dotfiles/vimrc").exists());
    let refused = at(&home).code(64).json();
    assert_eq!(
        refused["error"]["code"],
        "hyper_sync::settings::protected_directory"
    );
}
