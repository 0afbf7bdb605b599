//! What was built is what is activated, and the result of its activation is reported.

use hyper_sync::rebuild::{ErrorKind, RebuildNote, RebuildStatus};
use hyper_sync::settings::Action;

use super::world::{NixHost, Way, is_text};

#[test]
fn each_action_leaves_the_links_it_should() {
    let world = NixHost::new(Way::Literal);
    world.text(Action::Switch);
    let one = world.link("current").unwrap();
    world.sync("two");

    assert_eq!(
        world.rebuild(Action::Build).unwrap().status,
        RebuildStatus::Built
    );
    assert_eq!(world.link("current").as_ref(), Some(&one));
    let two = world.link("state/result").unwrap();

    assert_eq!(
        world.rebuild(Action::DryActivate).unwrap().status,
        RebuildStatus::Previewed
    );
    assert_eq!(world.link("current").as_ref(), Some(&one));

    assert_eq!(
        world.rebuild(Action::Test).unwrap().status,
        RebuildStatus::Activated
    );
    assert_eq!(world.link("current").as_ref(), Some(&two));
    assert_eq!(world.link("profile").as_ref(), Some(&one));

    assert_eq!(
        world.rebuild(Action::Boot).unwrap().status,
        RebuildStatus::SetForBoot
    );
    assert_eq!(world.link("profile").as_ref(), Some(&two));
    assert_eq!(
        world.activations(),
        [
            "switch one dep-1",
            "dry-activate two dep-1",
            "test two dep-1",
            "boot two dep-1"
        ]
    );
    // Both halves of a switch were done.
    assert_eq!(
        world.rebuild(Action::Switch).unwrap().status,
        RebuildStatus::Unchanged
    );
}

#[test]
fn a_system_that_runs_already_is_not_activated_again() {
    let world = NixHost::new(Way::Input);
    world.text(Action::Switch);
    world.sync("two");
    world.text(Action::Switch);
    world.sync("one");
    // As a person would: back to the first, by hand.
    let one = world.by_hand();
    assert!(is_text(&one, "two dep-1"));
    world.text(Action::Build);
    let one = world.link("state/result").unwrap();
    for link in ["current", "profile"] {
        std::fs::remove_file(world.path(link)).unwrap();
        std::os::unix::fs::symlink(&one, world.path(link)).unwrap();
    }
    assert_eq!(
        world.rebuild(Action::Switch).unwrap().status,
        RebuildStatus::Unchanged
    );
    assert_eq!(world.activations().len(), 2);
}

#[test]
fn the_exit_codes_of_the_activation_are_reported() {
    let world = NixHost::new(Way::Own);
    world.text(Action::Switch);
    // What runs already is not activated again.
    let switch = |code: &str| {
        world.sync(&format!("code-{code}"));
        world.write("exit", code);
        world.rebuild(Action::Switch)
    };
    let error = switch("2").unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Activation { .. }));
    assert_eq!(switch("4").unwrap().status, RebuildStatus::Switched);
    let outcome = switch("100").unwrap();
    assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
    assert!(
        outcome
            .notes
            .contains(&RebuildNote::RebootNeeded { inhibitors: vec![] })
    );
    assert_eq!(switch("0").unwrap().status, RebuildStatus::Switched);
}

/// A full `/boot`: the profile would name a system that cannot be booted.
#[test]
fn an_activation_that_did_not_start_restores_the_boot_default() {
    let world = NixHost::new(Way::Literal);
    world.text(Action::Switch);
    let one = world.link("profile").unwrap();
    world.sync("two");
    world.write("stays", "");
    world.write("exit", "1");
    let error = world.rebuild(Action::Switch).unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::Activation { .. }),
        "{error}"
    );
    assert_eq!(world.link("profile").as_ref(), Some(&one));
    assert_eq!(world.link("current").as_ref(), Some(&one));
    assert!(world.record().pending.is_some());
}

/// Another activation holds the lock: the boot default must not name a system that was never activated.
#[test]
fn an_activation_blocked_by_another_restores_the_boot_default() {
    let world = NixHost::new(Way::Literal);
    world.text(Action::Switch);
    let one = world.link("profile").unwrap();
    world.sync("two");
    world.write("stays", "");
    world.write("says", "Could not acquire lock\n");
    world.write("exit", "11");
    let error = world.rebuild(Action::Switch).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Busy { .. }), "{error}");
    assert_eq!(world.link("profile").as_ref(), Some(&one));
    assert!(world.record().pending.is_some());
}

#[test]
fn a_failed_build_leaves_everything_as_it_was() {
    let world = NixHost::new(Way::Input);
    world.text(Action::Switch);
    let one = world.link("current").unwrap();
    world.write("target/module.nix", "{ text = throw \"no such thing\"; }");
    let error = world.rebuild(Action::Switch).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Build { .. }), "{error}");
    assert!(error.tail().unwrap().contains("no such thing"), "{error}");
    assert_eq!(world.link("current").as_ref(), Some(&one));
    assert_eq!(world.link("profile").as_ref(), Some(&one));
    assert_eq!(world.link("state/result").as_ref(), Some(&one));
    assert_eq!(world.activations().len(), 1);
}

#[test]
fn the_text_of_a_failed_assertion_and_the_end_of_a_log_are_printed() {
    assert_errors(&NixHost::new(Way::Own));
}

/// Nix logs as JSON then.
#[test]
fn a_build_that_nom_draws_has_the_same_errors_and_is_the_same() {
    let world = NixHost::new(Way::Own).with_nom();
    assert_errors(&world);
    let drawn = world.read("drawn");
    assert!(drawn.contains("@nix {\"action\":\"start\""), "{drawn}");
    // Only what other commands of Nix say is printed.
    assert!(!world.shown().contains("building '"), "{}", world.shown());

    let world = NixHost::new(Way::Own).with_nom();
    assert_eq!(world.text(Action::Build), "one dep-1");
    let outcome = world.rebuild_with(Action::Build, |_| ()).unwrap();
    assert_eq!(outcome.status, RebuildStatus::Unchanged);
}

/// Nix prints its trace first, and the message below a bare `error:`.
#[track_caller]
fn assert_errors(world: &NixHost) {
    let throws =
        r#"{ text = throw "\nFailed assertions:\n- `services.x` is a\n  and b.\n- second"; }"#;
    world.write("target/module.nix", throws);
    let error = world.rebuild(Action::Build).unwrap_err().to_string();
    let expected = ": Failed assertions: - `services.x` is a and b. - second";
    assert!(error.ends_with(expected), "{error}");

    world.write("target/module.nix", "{ text = ; }");
    let error = world.rebuild(Action::Build).unwrap_err().to_string();
    assert!(
        error.contains(": syntax error, unexpected ';' at ") && error.ends_with("module.nix:1:10:"),
        "{error}"
    );

    world.write("target/module.nix", "{ text = \"\"; }");
    let flake = world.read("target/flake.nix");
    let builds = "\"mkdir -p $out/bin";
    assert!(flake.contains(builds));
    let fails = "\"for line in a b c d; do echo $line; done; exit 3; mkdir -p $out/bin";
    world.write("target/flake.nix", &flake.replace(builds, fails));
    let error = world.rebuild(Action::Build).unwrap_err().to_string();
    assert!(error.contains("nixos-system-vm.drv' failed"), "{error}");
    assert!(error.ends_with(" > b > c > d"), "{error}");
}

#[test]
fn a_timer_does_not_activate_a_system_without_itself() {
    let world = NixHost::new(Way::Own);
    world.write("running/etc/systemd/system/hyper-sync.timer", "");
    std::os::unix::fs::symlink(world.path("running"), world.path("current")).unwrap();
    let error = world
        .rebuild_with(Action::Switch, |settings| {
            settings.timer = Some("hyper-sync.timer");
        })
        .unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::SelfRemoval { .. }),
        "{error}"
    );
    assert!(world.activations().is_empty());
    assert_eq!(world.link("profile"), None);
}

#[test]
fn the_hosts_of_a_computed_set_are_found_in_what_was_synced() {
    let world = NixHost::new(Way::Literal);
    let flake = world.read("flake/flake.nix");
    let flake = flake.replace(
        "nixosConfigurations.vm.config.system.build.toplevel",
        "nixosConfigurations = builtins.mapAttrs (_: toplevel: { config.system.build = { inherit toplevel; }; }) { vm",
    );
    let end = flake.rfind("; }; }").unwrap();
    world.write(
        "flake/flake.nix",
        &format!("{} }}{}", &flake[..=end], &flake[end..]),
    );
    let outcome = world.rebuild_with(Action::Build, |settings| {
        settings.rebuild.extra_args = vec!["--impure".to_owned()];
    });
    assert_eq!(outcome.unwrap().host, "vm");
}
