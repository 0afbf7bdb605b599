//! A switch on trial: the timer of the revert is started before the activation, and the boot default is changed after the checks.

use hyper_sync::rebuild::{ErrorKind, RebuildNote, RebuildStatus, Repeat, Trial, TrialStage};
use hyper_sync::settings::Action;

use super::world::{Call, FakeSystem};

const SWITCH: &str = "store/new/bin/switch-to-configuration";
const FORMER: &str = "store/old/bin/switch-to-configuration";

/// A machine that runs `old` of the commit 2 and is to run `new` of the commit 1.
fn world() -> FakeSystem {
    let world = FakeSystem::pinned().with_systemd();
    world.script("nixos-rebuild", "exit 1");
    world.revert_command();
    world
}

fn switch(world: &FakeSystem) -> Call<'_> {
    world.request(Action::Switch).on_trial()
}

fn trial(world: &FakeSystem) -> Option<Trial> {
    Trial::load(&world.state()).unwrap()
}

fn systems(world: &FakeSystem) -> [String; 2] {
    ["current", "profile"].map(|link| world.system(link))
}

#[test]
fn a_healthy_system_becomes_the_boot_default_after_its_checks() {
    let world = world();
    // The checks find the system running, the former one as the boot default, and the timer started.
    world.script(
        "check",
        "[ \"$(readlink \"$world/current\")\" = \"$world/store/new\" ]\n\
         [ \"$(readlink \"$world/profile\")\" = \"$world/store/old\" ]\n\
         grep -q -- --on-active= \"$world/systemd-run.log\"",
    );
    let outcome = switch(&world).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    assert_eq!(systems(&world), ["new", "new"]);
    assert_eq!(
        world.arguments(SWITCH),
        ["check", "dry-activate", "test", "boot"]
    );
    assert_eq!(world.calls("check"), 1);
    assert_eq!(trial(&world), None);
    assert_eq!(world.record().pending, None);
    let asked = world.read("systemctl.log");
    assert!(asked.ends_with("stop hyper-sync-revert.timer\n"), "{asked}");
    assert!(!world.path("state/former").is_symlink());
    // The effect holds: nothing is on trial again.
    let again = switch(&world).run().unwrap();
    assert_eq!(again.status, RebuildStatus::Unchanged);
}

#[test]
fn the_revert_runs_the_former_program_and_keeps_it() {
    let world = world();
    switch(&world).run().unwrap();
    let arguments = world.arguments("systemd-run").join(" ");
    let revert_command = format!("-- {} revert", world.path("hyper-sync").display());
    assert!(arguments.contains(&revert_command), "{arguments}");
    // Two activations, the time of the checks and of a try of each, and five minutes.
    assert!(arguments.contains("--on-active=3920s"), "{arguments}");
    assert!(
        arguments.contains("--unit=hyper-sync-revert"),
        "{arguments}"
    );
    let former = world.path("store/old").display().to_string();
    assert!(world.arguments("nix-store").contains(&former));
}

#[test]
fn a_check_that_fails_brings_the_former_system_back() {
    let world = world();
    world.script("check", "echo 'no answer' >&2; exit 1");
    let error = switch(&world).run().unwrap_err();
    let ErrorKind::Reverted { cause, report } = &error.kind else {
        panic!("{error}");
    };
    assert_eq!(cause, "it failed the health checks `web`");
    assert_eq!(report.as_ref().unwrap().checks[0].lines, ["no answer"]);
    assert_eq!(error.exit().code(), 13);
    assert_eq!(systems(&world), ["old", "old"]);
    assert_eq!(world.arguments(SWITCH), ["check", "dry-activate", "test"]);
    assert_eq!(world.arguments(FORMER), ["test"]);
    assert_eq!(world.calls("nix-env"), 0);
    // The tree is still to go back.
    assert_eq!(trial(&world).unwrap().stage, TrialStage::Reverted);
    let record = world.record();
    assert_eq!(record.last.unwrap().status, RebuildStatus::Reverted);
    assert!(!record.pending.unwrap().begun);
}

#[test]
fn an_activation_that_fails_brings_the_former_system_back() {
    let world = world();
    world.script(
        SWITCH,
        "case $1 in test) ln -sfn \"${world%/bin}\" \"$world/../../../current\"; exit 2;; esac",
    );
    let error = switch(&world).run().unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::Reverted { report: None, .. }),
        "{error}"
    );
    assert_eq!(world.calls("check"), 0);
    assert_eq!(systems(&world), ["old", "old"]);
}

#[test]
fn a_boot_loader_that_fails_brings_the_former_system_and_boot_default_back() {
    let world = world();
    world.script(
        SWITCH,
        "case $1 in test) ln -sfn \"${world%/bin}\" \"$world/../../../current\";; boot) exit 1;; esac",
    );
    let error = switch(&world).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Reverted { .. }), "{error}");
    assert_eq!(systems(&world), ["old", "old"]);
    assert_eq!(world.arguments(FORMER), ["switch"]);
}

#[test]
fn a_former_system_that_cannot_be_activated_needs_a_person() {
    let world = world();
    world.script("check", "exit 1");
    world.script(FORMER, "exit 1");
    let error = switch(&world).run().unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::NotReverted { .. }),
        "{error}"
    );
    assert_eq!(error.exit().code(), 12);
    // The timer tries once more.
    assert_eq!(trial(&world).unwrap().stage, TrialStage::Reverting);
    assert!(
        world
            .read("systemctl.log")
            .matches("stop hyper-sync-revert.timer")
            .count()
            == 1
    );
}

#[test]
fn without_a_revert_nothing_is_activated() {
    for program in ["nix-store", "systemd-run"] {
        let world = world();
        world.script(
            program,
            "case \" $* \" in *--on-active*|*--add-root*) exit 1;; esac",
        );
        let error = switch(&world).run().unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::RevertNotPrepared { .. }),
            "{error}"
        );
        assert_eq!(world.arguments(SWITCH), ["check", "dry-activate"]);
        assert_eq!(trial(&world), None);
    }
}

#[test]
fn another_process_reverts_a_trial_that_was_interrupted() {
    let world = world();
    world.script("check", "exit 1");
    let error = switch(&world).stopped_in_pause().run().unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::Interrupted { .. }),
        "{error}"
    );
    assert_eq!(systems(&world), ["new", "old"]);
    assert_eq!(trial(&world).unwrap().stage, TrialStage::Running);

    let error = switch(&world).revert().unwrap();
    assert!(matches!(error.kind, ErrorKind::Reverted { .. }), "{error}");
    assert_eq!(systems(&world), ["old", "old"]);
    assert!(switch(&world).revert().is_none());
}

#[test]
fn a_machine_that_goes_down_in_each_trial_gets_no_third_one() {
    let world = world();
    world.script("check", "exit 1");
    for boot in ["1", "2"] {
        world.link("current", "old");
        switch(&world)
            .booted(boot)
            .stopped_in_pause()
            .run()
            .unwrap_err();
        assert!(switch(&world).booted("9").revert().is_none());
    }
    world.link("current", "old");
    let activations = world.calls(SWITCH);
    let error = switch(&world).booted("3").run().unwrap_err();
    let ErrorKind::Reverted { cause, .. } = &error.kind else {
        panic!("{error}");
    };
    assert_eq!(cause, "the machine went down in each trial of it");
    // But for the pre-switch check and what it would do to units, the new system is not started.
    assert_eq!(world.calls(SWITCH), activations + 2);
}

#[test]
fn only_a_switch_is_on_trial() {
    for action in [Action::Test, Action::Boot] {
        let world = world();
        world
            .request(action)
            .on_trial()
            .repeat(Repeat::Build)
            .run()
            .unwrap();
        assert_eq!(world.calls("check"), 0, "{action}");
        assert_eq!(trial(&world), None);
    }
}

#[test]
fn a_switch_that_is_not_pinned_warns_that_it_is_not_on_trial() {
    let world = world();
    world.switches_to("nixos-rebuild", "new");
    let outcome = switch(&world).without("nix").run().unwrap();
    assert!(outcome.notes.contains(&RebuildNote::NotOnTrial));
    assert_eq!(trial(&world), None);
}

#[test]
fn a_trial_without_a_program_for_the_revert_does_not_begin() {
    let world = world();
    let error = switch(&world).without("hyper-sync").run().unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::RevertNotPrepared { .. }),
        "{error}"
    );
    assert_eq!(world.arguments(SWITCH), ["check", "dry-activate"]);
}

#[test]
fn a_system_that_runs_by_hand_is_on_trial_against_the_boot_default() {
    let world = world();
    world.link("current", "new");
    world.script("check", "exit 1");
    let error = switch(&world).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Reverted { .. }), "{error}");
    assert_eq!(systems(&world), ["old", "old"]);
}

#[test]
fn a_reboot_ends_a_trial_whose_revert_failed() {
    let world = world();
    world.script("check", "exit 1");
    world.script(FORMER, "exit 1");
    switch(&world).run().unwrap_err();
    world.link("current", "old");
    assert!(switch(&world).booted("2").revert().is_none());
    // The tree goes back, and a sync is free.
    assert_eq!(trial(&world).unwrap().stage, TrialStage::Reverted);
}

#[test]
fn a_system_that_a_person_has_activated_since_stays() {
    let world = world();
    world.script("check", "exit 1");
    switch(&world).stopped_in_pause().run().unwrap_err();
    world.link("current", "other");
    assert!(switch(&world).revert().is_none());
    assert_eq!(world.system("current"), "other");
    assert_eq!(trial(&world), None);
}

/// The boot loader may have been written before the activation failed, and the revert ends before it is written again.
#[test]
fn a_second_revert_writes_the_boot_loader_too() {
    let world = world();
    world.script(
        SWITCH,
        "case $1 in test) ln -sfn \"${world%/bin}\" \"$world/../../../current\";; boot) exit 1;; esac",
    );
    world.script(FORMER, "exit 1");
    switch(&world).run().unwrap_err();
    assert_eq!(systems(&world), ["new", "old"]);
    world.script(
        FORMER,
        "ln -sfn \"${world%/bin}\" \"$world/../../../current\"",
    );
    let error = switch(&world).revert().unwrap();
    assert!(matches!(error.kind, ErrorKind::Reverted { .. }), "{error}");
    assert_eq!(systems(&world), ["old", "old"]);
    assert_eq!(world.arguments(FORMER), ["switch", "switch"]);
}

#[test]
fn a_reboot_does_not_end_a_revert_that_has_left_the_profile() {
    let world = world();
    world.script(
        SWITCH,
        "case $1 in test) ln -sfn \"${world%/bin}\" \"$world/../../../current\";; boot) exit 1;; esac",
    );
    let set = world.read("nix-env.sh");
    world.script("nix-env.2", "exit 1");
    let error = switch(&world).run().unwrap_err();
    assert_eq!(error.exit().code(), 12);
    assert_eq!(systems(&world), ["new", "new"]);
    world.script("nix-env", &set);
    world.link("current", "old");
    let error = switch(&world).booted("2").revert().unwrap();
    assert!(matches!(error.kind, ErrorKind::Reverted { .. }), "{error}");
    assert_eq!(systems(&world), ["old", "old"]);
    assert_eq!(trial(&world).unwrap().stage, TrialStage::Reverted);
}

/// The record of the first has the only other system.
#[test]
fn a_second_trial_that_cannot_begin_keeps_the_record_of_the_first() {
    let world = world();
    // Stopped while the new system becomes the boot default.
    world.script(
        "nix-env",
        "ln -sfn \"$4\" \"$2\"; echo the profile is set; sleep 1",
    );
    let error = switch(&world).interrupted_at("the profile is set").run();
    assert!(matches!(
        error.unwrap_err().kind,
        ErrorKind::Interrupted { .. }
    ));
    assert_eq!(systems(&world), ["new", "new"]);
    let arms = world.read("systemd-run.sh");
    world.script(
        "systemd-run",
        "case \" $* \" in *--on-active*) exit 1;; esac",
    );
    let error = switch(&world).run().unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::RevertNotPrepared { .. }),
        "{error}"
    );
    assert_eq!(trial(&world).unwrap().stage, TrialStage::Confirming);
    world.script("systemd-run", &arms);
    world.script("check", "exit 1");
    let error = switch(&world).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Reverted { .. }), "{error}");
    assert_eq!(systems(&world), ["old", "old"]);
}
