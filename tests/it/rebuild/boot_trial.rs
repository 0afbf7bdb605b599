//! A system that is on trial after a reboot: it is checked once it was booted, and the machine goes back to the former one
//! by another reboot if it fails, or was not booted.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hyper_sync::rebuild::{ErrorKind, Quarantine, Reboot, RebootStage, RebuildStatus};
use hyper_sync::settings::{self, Action};

use super::world::{Call, FakeSystem};

const SWITCH: &str = "store/new/bin/switch-to-configuration";
const FORMER: &str = "store/old/bin/switch-to-configuration";
const ANY_TIME: settings::Reboot = settings::Reboot {
    allow: true,
    window: None,
    when_idle: false,
};

/// A machine that runs `old` of the commit 2 and is to run `new` of the commit 1, which has another kernel.
fn world() -> FakeSystem {
    let world = FakeSystem::pinned().with_systemd();
    world.script("nixos-rebuild", "exit 1");
    world.logind();
    world.revert_command();
    // As the real one: a new boot default does not run.
    world.script(
        FORMER,
        "case $1 in test|switch) ln -sfn \"${world%/bin}\" \"$world/../../../current\";; esac",
    );
    world.part("old", "kernel", "1");
    world.part("new", "kernel", "2");
    world
}

fn unit(world: &FakeSystem) -> Call<'_> {
    world.request(Action::Switch).on_trial().reboots()
}

/// A machine whose boot default `new` is on trial from the next boot on.
fn waiting() -> FakeSystem {
    let world = world();
    let outcome = unit(&world).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
    unit(&world).reboot(&ANY_TIME).unwrap();
    assert_eq!(world.calls("shutdown"), 1);
    world
}

/// It has booted `new`, for the second boot of the test.
fn booted() -> FakeSystem {
    let world = waiting();
    world.boots("new");
    world
}

/// The same, with a check that fails.
fn broken() -> FakeSystem {
    let world = booted();
    world.script("check", "echo 'no answer' >&2; exit 1");
    world
}

fn record(world: &FakeSystem) -> Option<Reboot> {
    Reboot::load(&world.state()).unwrap()
}

fn stage(world: &FakeSystem) -> Option<RebootStage> {
    record(world).map(|reboot| reboot.stage)
}

fn last(world: &FakeSystem) -> RebuildStatus {
    world.record().last.unwrap().status
}

fn quarantined(world: &FakeSystem) -> usize {
    Quarantine::load(&world.state()).unwrap().entries.len()
}

fn is_kept(world: &FakeSystem) -> bool {
    world.path("state/former-boot").is_symlink()
}

#[test]
fn a_healthy_system_stays_after_the_boot() {
    let world = waiting();
    let trial = record(&world).unwrap().trial.unwrap();
    assert_eq!(trial.former, world.path("store/old"));
    assert!(is_kept(&world));
    assert_eq!(world.calls("check"), 0);
    // Before the boot nothing is judged.
    assert!(!unit(&world).judge_trial(true).unwrap());

    world.boots("new");
    assert!(unit(&world).booted("2").judge_trial(true).unwrap());
    assert_eq!(world.calls("check"), 1);
    assert_eq!(record(&world), None);
    assert!(!is_kept(&world));
    assert_eq!(last(&world), RebuildStatus::Switched);
    let outcome = unit(&world).booted("2").run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Unchanged);
    assert_eq!((quarantined(&world), world.calls("shutdown")), (0, 1));
}

#[test]
fn each_way_to_a_boot_default_is_on_trial() {
    let inhibited = world();
    inhibited.part("new", "kernel", "1");
    inhibited.write("store/old/switch-inhibitors", r#"{"dbus":"dbus"}"#);
    inhibited.write("store/new/switch-inhibitors", r#"{"dbus":"broker"}"#);
    unit(&inhibited).run().unwrap();

    let other_init = world();
    other_init.part("new", "kernel", "1");
    other_init.script(SWITCH, "[ $1 != test ] || exit 100");
    let outcome = unit(&other_init).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
    assert!(!other_init.path("state/trial").exists());

    let boot = world();
    boot.part("new", "kernel", "1");
    let by_action = boot.request(Action::Boot).on_trial();
    assert_eq!(by_action.run().unwrap().status, RebuildStatus::SetForBoot);

    for (world, changes) in [
        (inhibited, &["dbus"][..]),
        (other_init, &["init"]),
        (boot, &[]),
    ] {
        let reboot = record(&world).unwrap();
        assert_eq!(reboot.changes, changes);
        assert!(reboot.trial.is_some());
        world.script("check", "exit 1");
        world.boots("new");
        let error = unit(&world).booted("2").judge_trial(true).unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::BootReverting { .. }),
            "{error}"
        );
        assert_eq!(world.system("profile"), "old");
    }
}

#[test]
fn a_boot_default_that_nothing_needs_a_reboot_for_waits_for_a_person() {
    let world = world();
    world.part("new", "kernel", "1");
    world.request(Action::Boot).on_trial().run().unwrap();
    unit(&world).reboot(&ANY_TIME).unwrap();
    assert_eq!(world.calls("shutdown"), 0);
    assert!(record(&world).unwrap().trial.is_some(), "still on trial");
}

#[test]
fn a_live_build_is_on_trial_too() {
    let world = FakeSystem::new().with_systemd();
    world.switches_to("nixos-rebuild", "new");
    world.revert_command();
    world.part("new", "kernel", "2");
    let outcome = unit(&world).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
    assert!(record(&world).unwrap().trial.is_some());
}

#[test]
fn a_check_that_fails_makes_the_machine_boot_the_former_system_once() {
    let world = broken();
    let error = unit(&world).booted("2").judge_trial(true).unwrap_err();
    let ErrorKind::BootReverting { cause, report, .. } = &error.kind else {
        panic!("{error}");
    };
    assert_eq!(cause, "it failed the health checks `web`");
    assert_eq!(report.as_ref().unwrap().checks[0].lines, ["no answer"]);
    assert_eq!(error.exit().code(), 11);
    assert_eq!(world.system("profile"), "old");
    assert_eq!(world.arguments(FORMER), ["boot"]);
    assert_eq!(world.system("current"), "new", "until the reboot");
    assert_eq!(world.calls("shutdown"), 2);
    assert_eq!(stage(&world), Some(RebootStage::Reverting));
    assert_eq!(quarantined(&world), 1);
    // A run before the reboot says so again, and does nothing else.
    let again = unit(&world).booted("2").judge_trial(true).unwrap_err();
    assert!(
        matches!(again.kind, ErrorKind::BootReverting { .. }),
        "{again}"
    );
    assert_eq!(world.calls("shutdown"), 2);

    world.boots("old");
    let error = unit(&world).booted("3").judge_trial(true).unwrap_err();
    let ErrorKind::Reverted { cause, .. } = &error.kind else {
        panic!("{error}");
    };
    assert_eq!(cause, "it failed the health checks `web`");
    assert_eq!(error.exit().code(), 13);
    // The target is still to be reverted.
    assert_eq!(stage(&world), Some(RebootStage::Reverted));
    assert!(!unit(&world).booted("3").judge_trial(true).unwrap());
    assert_eq!(last(&world), RebuildStatus::Reverted);
    let error = unit(&world).booted("3").run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Quarantined(_)), "{error}");
    assert_eq!(world.calls("shutdown"), 2);
}

#[test]
fn without_permission_a_person_reboots_into_the_former_system() {
    let world = broken();
    for _ in 0..2 {
        let error = unit(&world).booted("2").judge_trial(false).unwrap_err();
        assert!(
            matches!(&error.kind, ErrorKind::BootNotReverted { failure, .. } if failure == "`reboot.allow` is false"),
            "{error}"
        );
        assert_eq!(error.exit().code(), 12);
    }
    assert_eq!(world.calls("shutdown"), 1);
    assert_eq!(
        world.calls("check"),
        3,
        "tried until the time is over, once"
    );
    assert_eq!(world.system("profile"), "old");
    world.boots("old");
    let error = unit(&world).booted("3").judge_trial(false).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Reverted { .. }), "{error}");
}

#[test]
fn a_machine_that_comes_up_with_the_former_system_keeps_it() {
    let world = waiting();
    world.boots("old");
    let error = unit(&world).booted("2").judge_trial(true).unwrap_err();
    let ErrorKind::Reverted { cause, .. } = &error.kind else {
        panic!("{error}");
    };
    assert!(
        cause.starts_with("the machine was to boot the new system"),
        "{cause}"
    );
    assert_eq!(world.system("profile"), "old");
    assert_eq!(world.arguments(FORMER), ["boot"]);
    assert_eq!(stage(&world), Some(RebootStage::Reverted));
    assert_eq!((quarantined(&world), world.calls("shutdown")), (1, 1));
    assert_eq!(world.calls("check"), 0);
}

#[test]
fn a_machine_that_comes_up_with_a_third_system_keeps_that() {
    let world = waiting();
    std::fs::create_dir(world.path("store/other/bin")).unwrap();
    let other = "store/other/bin/switch-to-configuration";
    std::fs::copy(world.path(FORMER), world.path(other)).unwrap();
    world.boots("other");
    let error = unit(&world).booted("2").judge_trial(true).unwrap_err();
    assert!(
        matches!(
            error.kind,
            ErrorKind::OtherSystemBooted {
                is_default: true,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(world.system("profile"), "other");
    assert_eq!((record(&world), quarantined(&world)), (None, 1));
    assert_eq!(world.calls("shutdown"), 1);
}

#[test]
fn a_former_system_that_cannot_be_the_boot_default_needs_a_person_and_is_tried_again() {
    let world = broken();
    world.script(FORMER, "echo 'Failed to install bootloader' >&2; exit 1");
    let error = unit(&world).booted("2").judge_trial(true).unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::BootNotReverted { .. }),
        "{error}"
    );
    assert_eq!(
        (stage(&world), world.calls("shutdown")),
        (Some(RebootStage::Failed), 1)
    );
    world.script(FORMER, "");
    let checks = world.calls("check");
    let error = unit(&world).booted("2").judge_trial(true).unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::BootReverting { .. }),
        "{error}"
    );
    assert_eq!((world.calls("check"), world.calls("shutdown")), (checks, 2));
}

#[test]
fn a_machine_that_boots_the_failed_system_again_is_not_rebooted_once_more() {
    let world = broken();
    unit(&world).booted("2").judge_trial(true).unwrap_err();
    world.boots("new");
    for _ in 0..2 {
        let error = unit(&world).booted("3").judge_trial(true).unwrap_err();
        assert!(
            matches!(&error.kind, ErrorKind::BootNotReverted { failure, .. } if failure.contains("booted the new system again")),
            "{error}"
        );
    }
    assert_eq!(world.calls("shutdown"), 2);
}

#[test]
fn a_machine_that_goes_down_in_the_checks_is_checked_once_more() {
    let world = broken();
    for boot in ["2", "3"] {
        let call = unit(&world).booted(boot).stopped_in_pause();
        let error = call.judge_trial(true).unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::Interrupted { .. }),
            "{error}"
        );
        // A run in the same boot goes on with it.
        let again = unit(&world).booted(boot).stopped_in_pause();
        again.judge_trial(true).unwrap_err();
        assert_eq!(stage(&world), Some(RebootStage::Checking));
    }
    let checks = world.calls("check");
    let error = unit(&world).booted("4").judge_trial(true).unwrap_err();
    assert!(
        matches!(&error.kind, ErrorKind::BootReverting { cause, .. } if cause.contains("went down")),
        "{error}"
    );
    assert_eq!(world.calls("check"), checks);
}

#[test]
fn another_choice_of_a_person_ends_the_trial() {
    for link in ["profile", "current"] {
        let world = broken();
        world.link(link, "other");
        assert!(!unit(&world).booted("2").judge_trial(true).unwrap());
        assert_eq!((record(&world), world.calls("check")), (None, 0), "{link}");
    }
}

#[test]
fn an_activation_that_fails_leaves_the_record_that_there_was() {
    let world = world();
    world.script(SWITCH, "[ $1 = check ] || exit 1");
    unit(&world).run().unwrap_err();
    assert_eq!(
        (record(&world), world.system("profile")),
        (None, "old".to_owned())
    );
}

#[test]
fn without_a_root_for_the_former_system_nothing_is_done() {
    let world = world();
    world.script("nix-store", "exit 1");
    let error = unit(&world).run().unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::RevertNotPrepared { .. }),
        "{error}"
    );
    assert_eq!(world.system("profile"), "old");
    assert_eq!(record(&world), None);
}

/// The power is cut before each program that is run: in the rebuild, in the checks and in the way back. The machine
/// boots its boot default each time.
#[test]
fn a_power_cut_at_any_step_ends_in_a_whole_machine() {
    for is_healthy in [true, false] {
        let steps = run_with_a_cut(is_healthy, usize::MAX);
        assert!(steps > 5, "{steps}");
        for cut in 0..steps {
            run_with_a_cut(is_healthy, cut);
        }
    }
}

/// Returns how many programs were run.
fn run_with_a_cut(is_healthy: bool, cut: usize) -> usize {
    const BOOTS: [&str; 6] = ["1", "2", "3", "4", "5", "6"];
    let world = world();
    if !is_healthy {
        world.script(
            "check",
            "[ \"$(readlink \"$world/current\")\" != \"$world/store/new\" ]",
        );
    }
    let (mut steps, mut left) = (0, cut);
    let mut boots = BOOTS.into_iter();
    let mut boot = boots.next().unwrap();
    let mut done = 0;
    loop {
        let tick = || {
            let unit = || unit(&world).booted(boot);
            let judge = unit().cut_after(left);
            let judged = judge.judge_trial(true);
            let mut count = judge.steps();
            if judged.is_err() {
                return count;
            }
            let rebuild = unit().cut_after(left.saturating_sub(count));
            let _ = rebuild.run();
            count += rebuild.steps();
            let reboot = unit().cut_after(left.saturating_sub(count));
            let _ = reboot.reboot(&ANY_TIME);
            count + reboot.steps()
        };
        let ticked = catch_unwind(AssertUnwindSafe(tick));
        let is_cut = ticked.is_err();
        // Only one.
        left = ticked.map_or(usize::MAX, |count| {
            steps += count;
            left.saturating_sub(count)
        });
        let is_scheduled = world.read("scheduled.json").contains("reboot");
        if is_cut || is_scheduled {
            boot = boots
                .next()
                .unwrap_or_else(|| panic!("it never ends, cut at {cut}"));
            world.boots(&world.system("profile"));
            done = 0;
            continue;
        }
        done += 1;
        if done == 2 {
            break;
        }
    }
    let wanted = if is_healthy { "new" } else { "old" };
    let systems = ["current", "booted", "profile"].map(|link| world.system(link));
    assert_eq!(systems, [wanted; 3], "cut at {cut}");
    let ended = (!is_healthy).then_some(RebootStage::Reverted);
    assert_eq!(stage(&world), ended, "cut at {cut}");
    assert_eq!(
        quarantined(&world),
        usize::from(!is_healthy),
        "cut at {cut}"
    );
    steps
}
