//! What a rebuild reports beside its result: packages and units that change, the generation, and how long its parts took.

use hyper_sync::rebuild::{Outcome, PackageChange, SystemChanges, UnitChanges};
use hyper_sync::settings::Action;

use super::world::FakeSystem;

/// A machine with systemd whose Nix compares systems, and whose new system knows what its activation does.
fn machine() -> FakeSystem {
    let world = FakeSystem::pinned().with_systemd();
    world.script("nixos-rebuild", "exit 1");
    world.script(
        "nix",
        "case $1 in\n\
         build) echo 'these 2 derivations will be built:' >&2; echo \"$world/store/new\";;\n\
         flake) echo '{}';;\n\
         store) printf 'nginx: 1.26.2 \u{2192} 1.26.3, +12.0 KiB\\nwarning\\nvim: \u{2205} \u{2192} 9.1, +3.1 MiB\\n';;\n\
         esac",
    );
    world.script(
        "store/new/bin/switch-to-configuration",
        "case $1 in\n\
         dry-activate) echo 'would restart the following units: nginx.service, sshd.service' >&2\n\
         echo 'would activate the configuration...' >&2;;\n\
         test|switch) ln -sfn \"${world%/bin}\" \"$world/../../../current\";;\n\
         esac",
    );
    world.script(
        "nix-env",
        "ln -sfn \"$4\" \"$2-42-link\"; ln -sfn \"$(basename \"$2\")-42-link\" \"$2\"",
    );
    world
}

fn packages() -> Vec<PackageChange> {
    let change = |name: &str, change: &str| PackageChange {
        name: name.to_owned(),
        change: change.to_owned(),
    };
    vec![
        change("nginx", "1.26.2 \u{2192} 1.26.3, +12.0 KiB"),
        change("vim", "\u{2205} \u{2192} 9.1, +3.1 MiB"),
    ]
}

fn run(world: &FakeSystem, action: Action) -> Outcome {
    world.request(action).run().unwrap()
}

#[test]
fn a_switch_reports_packages_and_units_and_its_generation() {
    let world = machine();
    let outcome = run(&world, Action::Switch);
    let units = ["nginx.service", "sshd.service"].map(str::to_owned);
    assert_eq!(
        outcome.changes,
        SystemChanges {
            packages: Some(packages()),
            units: Some(UnitChanges {
                restart: units.to_vec(),
                ..UnitChanges::default()
            }),
        }
    );
    assert_eq!(outcome.generation, Some(42));
    let durations = outcome.durations;
    assert!(durations.evaluation_ms.is_some() && durations.build_ms.is_some());
    assert!(durations.snapshot_ms.is_some() && durations.preparation_ms.is_some());
    assert!(durations.comparison_ms.is_some() && durations.activation_ms.is_some());
    assert_eq!(world.record().last.unwrap().durations, durations);
    // What runs already changes nothing, and nothing was evaluated.
    let again = run(&world, Action::Switch);
    assert_eq!(again.changes, SystemChanges::default());
    assert_eq!(again.durations.evaluation_ms, None);
}

#[test]
fn what_is_not_activated_now_changes_no_units() {
    for action in [Action::Build, Action::Boot] {
        let outcome = run(&machine(), action);
        assert_eq!(outcome.changes.packages, Some(packages()), "{action:?}");
        assert_eq!(outcome.changes.units, None, "{action:?}");
    }
}

#[test]
fn a_build_that_has_nothing_to_do_is_all_evaluation() {
    let world = machine();
    world.script(
        "nix",
        "case $1 in build) echo \"$world/store/new\";; flake) echo '{}';; esac",
    );
    let durations = run(&world, Action::Build).durations;
    assert!(durations.evaluation_ms.is_some());
    assert_eq!((durations.build_ms, durations.activation_ms), (None, None));
}

#[test]
fn a_comparison_that_fails_does_not_fail_the_rebuild() {
    let world = machine();
    world.script(
        "nix",
        "case $1 in build) echo \"$world/store/new\";; flake) echo '{}';; store) exit 1;; esac",
    );
    world.script(
        "store/new/bin/switch-to-configuration",
        "case $1 in\n\
         dry-activate) exit 4;;\n\
         test|switch) ln -sfn \"${world%/bin}\" \"$world/../../../current\";;\n\
         esac",
    );
    let outcome = run(&world, Action::Switch);
    assert_eq!(outcome.changes, SystemChanges::default());
    assert_eq!(world.system("current"), "new");
}
