//! A rebuild stays to be done until its effect holds: another action by hand, or a reboot, does not end the wait.

use hyper_sync::rebuild::{RebuildRecord, Systems};
use hyper_sync::settings::Action;

use super::world::FakeSystem;

fn systems(world: &FakeSystem) -> Systems {
    let link = |name| std::fs::canonicalize(world.path(name)).ok();
    Systems {
        current: link("current"),
        booted: link("booted"),
        profile: link("profile"),
    }
}

fn is_due(world: &FakeSystem, commit: &str, wanted: Action) -> bool {
    let commit = commit.repeat(40).parse().ok();
    world.record().is_due(commit, wanted, &systems(world))
}

#[test]
fn another_action_by_hand_leaves_the_switch_to_be_done() {
    for action in [
        Action::Build,
        Action::DryActivate,
        Action::Test,
        Action::Boot,
    ] {
        let world = FakeSystem::pinned();
        world.script("nixos-rebuild", "exit 1");
        let by_hand = world.request(action).wanted(Action::Switch);
        by_hand.run().unwrap();
        let pending = world.record().pending.unwrap();
        assert_eq!((pending.action.as_str(), pending.begun), ("switch", false));
        assert!(is_due(&world, "1", Action::Switch), "{action}");

        world.request(Action::Switch).run().unwrap();
        assert_eq!(world.record().pending, None);
        assert!(!is_due(&world, "1", Action::Switch), "{action}");
    }
}

#[test]
fn a_build_by_hand_does_not_end_the_wait_of_a_switch_that_failed() {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.script("nix-env", "exit 1");
    world.request(Action::Switch).run().unwrap_err();
    let by_hand = world.request(Action::Build).wanted(Action::Switch);
    by_hand.run().unwrap();
    assert!(is_due(&world, "1", Action::Switch));
}

#[test]
fn an_action_that_does_more_than_is_wanted_ends_the_wait() {
    for wanted in [Action::Build, Action::Test, Action::Boot] {
        let world = FakeSystem::pinned();
        world.script("nixos-rebuild", "exit 1");
        let by_hand = world.request(Action::Switch).wanted(wanted);
        by_hand.run().unwrap();
        assert_eq!(world.record().pending, None, "{wanted}");
    }
}

#[test]
fn what_a_reboot_or_a_person_has_undone_is_due_without_a_mark() {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.request(Action::Switch).run().unwrap();
    for (link, wanted) in [("current", Action::Test), ("profile", Action::Boot)] {
        assert!(!is_due(&world, "1", wanted));
        world.link(link, "old");
        assert!(is_due(&world, "1", wanted), "{link}");
        assert!(is_due(&world, "1", Action::Switch), "{link}");
        world.link(link, "new");
    }
    assert!(!is_due(&world, "1", Action::Switch));
    assert!(
        !is_due(&world, "2", Action::Switch),
        "never built: only a mark says so"
    );
}

#[test]
fn without_systems_to_compare_only_the_mark_counts() {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.request(Action::Switch).run().unwrap();
    let record: RebuildRecord = world.record();
    let commit = "1".repeat(40).parse().ok();
    assert!(!record.is_due(commit, Action::Switch, &Systems::default()));
}

#[test]
fn the_systems_that_the_machine_uses_stay_known_after_many_builds() {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.request(Action::Switch).run().unwrap();
    world.boots("new");
    for number in 0..25 {
        let system = format!("built-{number}");
        world.write(&format!("store/{system}/version"), "");
        world.write("flake/src/module.nix", &format!("{number}"));
        world.script(
            "nix",
            &format!(
                "case $1 in build) echo \"$world/store/{system}\";; flake) echo '{{}}';; esac"
            ),
        );
        world.request(Action::Build).at("2").run().unwrap();
    }
    let record = world.record();
    assert_eq!(record.builds.len(), 21);
    let commit = |name: &str| record.commit_of(&world.path("store").join(name));
    assert_eq!(commit("new"), "1".repeat(40).parse().ok());
    assert_eq!(commit("built-24"), "2".repeat(40).parse().ok());
    assert_eq!(commit("built-4"), None);
}

#[test]
fn the_generation_of_a_commit_is_that_of_the_system_that_was_activated() {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.script(
        "nix-env",
        "ln -sfn \"$4\" \"$2-42-link\"; ln -sfn \"$(basename \"$2\")-42-link\" \"$2\"",
    );
    world.request(Action::Build).run().unwrap();
    let commit = "1".repeat(40).parse().unwrap();
    assert_eq!(world.record().generation_of(commit), None);
    world.request(Action::Switch).run().unwrap();
    assert_eq!(world.record().generation_of(commit), Some(42));
}
