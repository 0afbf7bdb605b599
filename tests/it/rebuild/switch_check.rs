//! A new system that the running one cannot be switched to, or that refuses it by a check of its own.

use hyper_sync::rebuild::{ErrorKind, RebuildNote, RebuildStatus};
use hyper_sync::settings::Action;

use super::world::FakeSystem;

const SWITCH: &str = "store/new/bin/switch-to-configuration";

/// A machine whose `nixos-rebuild` is too old to activate a system that is built.
fn machine() -> FakeSystem {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world
}

/// A machine whose running and new systems have these tables of inhibitors.
fn with_inhibitors(running: &str, new: &str) -> FakeSystem {
    let world = machine();
    world.write("store/old/switch-inhibitors", running);
    world.write("store/new/switch-inhibitors", new);
    world
}

fn note(names: &[&str]) -> RebuildNote {
    RebuildNote::RebootNeeded {
        inhibitors: names.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_inhibited_switch_makes_the_system_the_boot_default() {
    let world = with_inhibitors(
        r#"{"dbus":"dbus","kept":"1","removed":"1"}"#,
        r#"{"added":"1","dbus":"broker","kept":"1"}"#,
    );
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
    assert_eq!(outcome.notes, [note(&["dbus"])]);
    assert_eq!(world.arguments(SWITCH), ["boot"]);
    assert_eq!(world.system("profile"), "new");
    assert_eq!(world.system("current"), "old");
    assert_eq!(world.record().pending, None, "nothing is left but the boot");

    // The next run of the timer neither activates nor adds a generation, and still says what is needed.
    let again = world.request(Action::Switch).run().unwrap();
    assert_eq!(again.status, RebuildStatus::Unchanged);
    assert_eq!(again.notes, [note(&["dbus"])]);
    assert_eq!(world.calls(SWITCH), 1);
    assert_eq!(world.calls("nix-env"), 1);
}

#[test]
fn an_inhibited_test_names_what_needs_the_reboot() {
    let world = with_inhibitors(r#"{"dbus":"dbus"}"#, r#"{"dbus":"broker"}"#);
    let error = world.request(Action::Test).run().unwrap_err();
    assert!(
        matches!(&error.kind, ErrorKind::RebootNeeded { inhibitors, .. } if inhibitors == &["dbus"])
    );
    assert_eq!(world.calls(SWITCH), 0);
    assert_eq!(world.system("current"), "old");
}

#[test]
fn equal_or_missing_tables_inhibit_nothing() {
    let table = r#"{"dbus":"dbus"}"#;
    for (running, new) in [
        (table, table),
        (table, "{}"),
        ("{}", table),
        (table, "no JSON"),
    ] {
        let world = with_inhibitors(running, new);
        let outcome = world.request(Action::Switch).run().unwrap();
        assert_eq!(outcome.status, RebuildStatus::Switched, "{running} {new}");
        assert_eq!(world.arguments(SWITCH), ["check", "switch"]);
    }
}

#[test]
fn the_administrator_can_turn_the_checks_off() {
    let world = with_inhibitors(r#"{"dbus":"dbus"}"#, r#"{"dbus":"broker"}"#);
    let request = world.request(Action::Switch).with("NIXOS_NO_CHECK", "1");
    assert_eq!(request.run().unwrap().status, RebuildStatus::Switched);
    assert_eq!(world.arguments(SWITCH), ["switch"]);
}

#[test]
fn a_failed_check_of_the_new_system_changes_nothing() {
    let world = machine();
    world.script(
        SWITCH,
        "echo '/var is full' >&2; echo \"Pre-switch check 'disk' failed\" >&2; exit 1",
    );
    for _ in 0..3 {
        let error = world.request(Action::Switch).retry().run().unwrap_err();
        assert!(matches!(&error.kind, ErrorKind::PreSwitchCheck { name, .. } if name == "disk"));
    }
    assert_eq!(world.arguments(SWITCH), ["check"; 3]);
    assert_eq!(world.calls("nix-env"), 0, "no generation");
    assert_eq!(world.record().pending.unwrap().action, "switch");
}

#[test]
fn a_system_that_does_not_know_the_check_is_activated() {
    let world = machine();
    world.script(
        &format!("{SWITCH}.1"),
        "echo 'Usage: switch-to-configuration [switch|boot|test|dry-activate]' >&2; exit 1",
    );
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
}

#[test]
fn nixos_rebuild_that_meets_an_inhibitor_is_asked_for_the_boot_default() {
    let world = FakeSystem::new();
    world.switches_to("nixos-rebuild", "new");
    world.script(
        "nixos-rebuild.1",
        "printf 'There are changes:\\n\\ndbus : dbus -> broker\\n\\n' >&2\n\
         echo \"Pre-switch check 'switchInhibitors' failed\" >&2; exit 1",
    );
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
    assert!(outcome.notes.contains(&note(&["dbus"])));
    assert_eq!(world.system("profile"), "new");
    assert_eq!(world.system("current"), "old");
}

#[test]
fn a_profile_that_is_taken_back_leaves_no_generation() {
    let world = machine();
    // A profile as Nix keeps it: a link to the link of a generation.
    world.script(
        "nix-env",
        "cd \"$world\"\n\
         case $3 in\n\
         --set) ln -sfn \"$4\" profile-8-link; ln -sfn profile-8-link profile;;\n\
         --switch-generation) ln -sfn profile-$4-link profile;;\n\
         --delete-generations) rm profile-$4-link;;\n\
         esac",
    );
    world.link("profile-7-link", "old");
    std::fs::remove_file(world.path("profile")).unwrap();
    std::os::unix::fs::symlink("profile-7-link", world.path("profile")).unwrap();
    world.script(
        SWITCH,
        "[ $1 = check ] || { echo 'Failed to install bootloader' >&2; exit 1; }",
    );
    for _ in 0..3 {
        let error = world.request(Action::Switch).retry().run().unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Activation { .. }));
        assert_eq!(world.system("profile"), "old");
        assert!(!world.path("profile-8-link").is_symlink());
        assert!(world.path("profile-7-link").is_symlink());
    }
}
