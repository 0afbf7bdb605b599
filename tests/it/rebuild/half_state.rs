//! States between two systems: recognised by the next run and by `status`, named, and repaired where that is safe. The rows
//! of the table in `docs/safe-updates.md`.

use hyper_sync::rebuild::{
    ErrorKind, HalfState, HalfStateKind, Outcome, RebuildNote, RebuildStatus,
};
use hyper_sync::settings::Action;

use super::world::{Call, FakeSystem};
use crate::common::world::{World, flake_repo};

const UNIT: &str = "nixos-rebuild-switch-to-configuration.service";
const SWITCH: &str = "store/new/bin/switch-to-configuration";
/// What a whole activation does.
const WHOLE: &str =
    "case $1 in test|switch) ln -sfn \"${world%/bin}\" \"$world/../../../current\";; esac";
/// Ends the run while the activation goes on in its unit.
const CUT_OFF: &str = "echo nixos-rebuild-switch-to-configuration.service >\"$world/../../../active\"; \
     echo started; exec sleep 1000";

/// A machine that runs `old`.
fn world() -> FakeSystem {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world
}

fn switch(world: &FakeSystem) -> Call<'_> {
    world.request(Action::Switch)
}

/// The machine after an activation of `new` that was cut off when this had been done.
fn cut_off(action: Action, done: &str) -> FakeSystem {
    let world = world();
    world.script(
        SWITCH,
        &format!("[ $1 != check ] || exit 0; {done}\n{CUT_OFF}"),
    );
    let stopped = world.request(action).interrupted_at("started").run();
    let error = stopped.unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::Interrupted { .. }),
        "{error}"
    );
    std::fs::remove_file(world.path("active")).unwrap();
    world.script(SWITCH, WHOLE);
    world
}

/// The kind of a state, and its sentence.
#[track_caller]
fn assert_state(world: &FakeSystem, call: &Call<'_>, kind: &HalfStateKind, sentence: &str) {
    let state = call.half_state().unwrap();
    assert_eq!(state.kind, *kind);
    let root = world.path("").display().to_string();
    assert_eq!(state.to_string().replace(&root, "ROOT/"), sentence);
}

/// The note of a run about the state in which it has found the machine, and whether it has ended that.
fn noted(outcome: &Outcome) -> Option<(&HalfState, bool)> {
    outcome.notes.iter().find_map(|note| match note {
        RebuildNote::HalfState { state, ended } => Some((state, *ended)),
        _ => None,
    })
}

/// The next run repeats the activation, says why, and leaves a machine that runs `new`.
#[track_caller]
fn assert_repaired(world: &FakeSystem, call: &Call<'_>, kind: &HalfStateKind) {
    let outcome = call.run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    let (state, ended) = noted(&outcome).unwrap();
    assert_eq!((&state.kind, ended), (kind, true));
    assert_eq!(
        [world.system("current"), world.system("profile")],
        ["new", "new"]
    );
    assert_eq!(call.half_state(), None);
    assert_eq!(world.record().pending, None);
    let again = call.run().unwrap();
    assert_eq!(
        (again.status, noted(&again)),
        (RebuildStatus::Unchanged, None)
    );
}

#[test]
fn a_machine_that_runs_its_boot_default_is_in_no_such_state() {
    let world = world();
    assert_eq!(switch(&world).half_state(), None);
    let outcome = switch(&world).run().unwrap();
    assert_eq!(noted(&outcome), None);
    assert_eq!(switch(&world).half_state(), None);
}

#[test]
fn an_activation_that_was_cut_off_before_it_changed_anything_is_repeated() {
    let world = world();
    let sets = world.read("nix-env.sh");
    world.script("nix-env", "echo started; exec sleep 1000");
    switch(&world).interrupted_at("started").run().unwrap_err();
    world.script("nix-env", &sets);
    let kind = HalfStateKind::Unchanged;
    let sentence = "the activation of `ROOT/store/new` has no recorded end, and changed neither the running system nor the boot default";
    assert_state(&world, &switch(&world), &kind, sentence);
    assert_repaired(&world, &switch(&world), &kind);
}

#[test]
fn a_boot_default_whose_activation_was_cut_off_is_activated() {
    let world = cut_off(Action::Switch, "");
    let kind = HalfStateKind::BootDefault;
    let sentence = "the activation of `ROOT/store/new` has no recorded end: it is the boot default, perhaps not in the boot loader, \
                    and `ROOT/store/old` runs";
    assert_state(&world, &switch(&world), &kind, sentence);
    assert_repaired(&world, &switch(&world), &kind);
}

#[test]
fn a_system_whose_activation_was_cut_off_half_way_is_activated_again() {
    let world = cut_off(Action::Switch, WHOLE);
    let kind = HalfStateKind::Running;
    let sentence =
        "the activation of `ROOT/store/new` has no recorded end: it runs, perhaps in part";
    assert_state(&world, &switch(&world), &kind, sentence);
    assert_repaired(&world, &switch(&world), &kind);
}

#[test]
fn a_test_that_was_cut_off_half_way_is_followed_by_the_switch() {
    let world = cut_off(Action::Test, WHOLE);
    let kind = HalfStateKind::Running;
    let sentence = "the activation of `ROOT/store/new` has no recorded end: it runs, perhaps in part, and `ROOT/store/old` is the \
                    boot default";
    assert_state(&world, &switch(&world), &kind, sentence);
    assert_repaired(&world, &switch(&world), &kind);
}

#[test]
fn a_system_that_was_booted_after_its_activation_was_cut_off_is_activated_again() {
    let world = cut_off(Action::Switch, WHOLE);
    world.link("booted", "new");
    let kind = HalfStateKind::Booted;
    let sentence = "the activation of `ROOT/store/new` has no recorded end, and the machine has booted it since";
    assert_state(&world, &switch(&world).booted("2"), &kind, sentence);
    assert_repaired(&world, &switch(&world).booted("2"), &kind);
}

#[test]
fn an_activation_that_goes_on_without_its_run_is_waited_for() {
    let world = cut_off(Action::Switch, WHOLE);
    let program = world.path(SWITCH);
    let program = program.display();
    world.write(
        "activations",
        &format!(
            "Id={UNIT}\nMainPID=1\nExecStart={{ path={program} ; argv[]={program} switch }}\n"
        ),
    );
    world.write("active", UNIT);
    let kind = HalfStateKind::Active(UNIT.to_owned());
    let sentence = "the activation of `ROOT/store/new` goes on in \
                    `nixos-rebuild-switch-to-configuration.service`, and its run has ended";
    assert_state(&world, &switch(&world), &kind, sentence);
    let error = switch(&world).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Busy { .. }), "{error}");
    std::fs::remove_file(world.path("active")).unwrap();
    assert_repaired(&world, &switch(&world), &HalfStateKind::Running);
}

#[test]
fn a_boot_default_whose_activation_failed_is_named_and_not_repeated() {
    let world = world();
    // The profile cannot be set back.
    world.script("nix-env.2", "exit 1");
    world.script(SWITCH, "[ $1 = check ] || exit 1");
    switch(&world).run().unwrap_err();
    let kind = HalfStateKind::BootDefault;
    let sentence = "the activation of `ROOT/store/new` failed: it is the boot default, perhaps not in the boot loader, and \
                    `ROOT/store/old` runs";
    assert_state(&world, &switch(&world), &kind, sentence);
    let error = switch(&world).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Quarantined(_)), "{error}");
    world.script(SWITCH, WHOLE);
    assert_repaired(&world, &switch(&world).retry(), &kind);
}

#[test]
fn a_boot_loader_that_failed_for_lack_of_space_is_written_by_the_next_run() {
    let world = world();
    world.script("nix-env.2", "exit 1");
    let full = "[ $1 = check ] && exit 0; echo 'cp: /boot: No space left on device' >&2; exit 1";
    world.script(SWITCH, full);
    switch(&world).run().unwrap_err();
    assert_eq!(
        switch(&world).half_state().unwrap().kind,
        HalfStateKind::BootDefault
    );
    world.script(SWITCH, WHOLE);
    assert_repaired(&world, &switch(&world), &HalfStateKind::BootDefault);
}

#[test]
fn a_system_whose_activation_failed_half_way_is_named_and_not_repeated() {
    let world = world();
    world.script(SWITCH, &format!("{WHOLE}\n[ $1 = check ] || exit 2"));
    switch(&world).run().unwrap_err();
    let kind = HalfStateKind::Running;
    let sentence = "the activation of `ROOT/store/new` failed: it runs, perhaps in part";
    assert_state(&world, &switch(&world), &kind, sentence);
    let error = switch(&world).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Quarantined(_)), "{error}");
    let help = world.rendered(&error);
    assert!(
        help.ends_with(&format!(
            "the running system is `ROOT/store/new` of 1111111111; {sentence}"
        )),
        "{help}"
    );
}

#[test]
fn an_activation_that_failed_and_changed_nothing_leaves_no_such_state() {
    let world = world();
    world.script(SWITCH, "[ $1 = check ] || exit 1");
    switch(&world).run().unwrap_err();
    assert_eq!(
        [world.system("current"), world.system("profile")],
        ["old", "old"]
    );
    assert_eq!(switch(&world).half_state(), None);
}

/// Whoever has changed the system has repaired it: the same activation could break it again.
#[test]
fn an_activation_after_which_somebody_has_changed_the_system_is_not_repeated() {
    for (current, profile) in [
        ("other", "other"),
        ("other", "new"),
        ("old", "old"),
        ("old", "new"),
    ] {
        let world = cut_off(Action::Switch, WHOLE);
        world.link("current", current);
        world.link("profile", profile);
        let kind = HalfStateKind::ChangedSince;
        let sentence = format!(
            "the activation of `ROOT/store/new` has no recorded end, and somebody has changed the system since: \
             `ROOT/store/{current}` runs, and `ROOT/store/{profile}` is the boot default"
        );
        assert_state(&world, &switch(&world), &kind, &sentence);
        let error = switch(&world).run().unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::ChangedSince { .. }),
            "{error}"
        );
        assert_eq!(error.exit().code(), 13);
        let error = switch(&world).run().unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Quarantined(_)), "{error}");
        assert_eq!(world.system("current"), current);

        // A person's run and a newer commit do it.
        assert_repaired(&world, &switch(&world).retry(), &kind);
    }
    let world = cut_off(Action::Switch, WHOLE);
    world.link("current", "other");
    world.write("flake/src/module.nix", "{ } # newer");
    assert_repaired(
        &world,
        &switch(&world).at("2"),
        &HalfStateKind::ChangedSince,
    );
}

#[test]
fn a_running_system_that_is_not_the_boot_default_is_named_and_replaced() {
    for (link, sentence) in [
        (
            "current",
            "`ROOT/store/other` runs, and `ROOT/store/new` is the boot default",
        ),
        (
            "profile",
            "`ROOT/store/new` runs, and `ROOT/store/other` is the boot default",
        ),
    ] {
        let world = world();
        switch(&world).run().unwrap();
        world.link(link, "other");
        let kind = HalfStateKind::Differs;
        assert_state(&world, &switch(&world), &kind, sentence);
        assert_repaired(&world, &switch(&world), &kind);
    }
}

#[test]
fn a_system_that_waits_for_its_reboot_or_is_only_to_be_tested_does_not_differ() {
    let world = world();
    world.script(SWITCH, "[ $1 = check ] || exit 100");
    let outcome = switch(&world).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
    assert_eq!(
        [world.system("current"), world.system("profile")],
        ["old", "new"]
    );
    assert_eq!(switch(&world).half_state(), None);

    let world = self::world();
    world.request(Action::Test).run().unwrap();
    assert_eq!(
        [world.system("current"), world.system("profile")],
        ["new", "old"]
    );
    assert_eq!(world.request(Action::Test).half_state(), None);
}

#[test]
fn status_says_that_an_activation_was_cut_off_and_what_the_next_run_does() {
    let world = World::local(&flake_repo());
    // `nixos-rebuild` builds and activates.
    world.set_flake("", "extra_args = ['--sudo']");
    world
        .tool("nix", "exit 1")
        .tool("nixos-rebuild", "kill -KILL $PPID; exit 1");
    let _ = world.sync(&[]).ok();
    let output = world.run(&["rebuild"]);
    assert_eq!(output.code, None, "{}", output.stderr);
    let human = world.run(&["status"]).ok().stdout;
    let line = human.lines().find(|line| line.starts_with("system"));
    assert_eq!(
        line,
        Some(
            "system    the activation of an unknown system has no recorded end, and changed neither the running system nor the \
             boot default; the next run repeats it"
        )
    );
    assert_eq!(world.json(&["status"])["half_state"]["kind"], "unchanged");
}
