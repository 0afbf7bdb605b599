//! Reboots: when the new system waits for one, when the machine may reboot, and that it does so once.

use hyper_sync::rebuild::{
    ErrorKind, Reboot, RebootDecision, RebootStage, RebuildNote, RebuildStatus, Repeat,
};
use hyper_sync::settings::{self, Action, RebootWindow};
use hyper_sync::state::{Suspended, Suspension};
use jiff::Timestamp;
use jiff::civil::{Time, time};

use super::world::{Call, FakeSystem};
use crate::common::env::Sandbox;

const SWITCH: &str = "store/new/bin/switch-to-configuration";
const ANY_TIME: settings::Reboot = settings::Reboot {
    allow: true,
    window: None,
    when_idle: false,
};

/// A machine that runs `old` and is to run `new`, of which `part` is another one.
fn world(part: Option<&str>) -> FakeSystem {
    let world = FakeSystem::pinned().with_systemd();
    world.script("nixos-rebuild", "exit 1");
    world.logind();
    for system in ["old", "new", "other"] {
        for part in ["initrd", "kernel", "kernel-modules"] {
            world.part(system, part, "1");
        }
    }
    if let Some(part) = part {
        world.part("new", part, "2");
    }
    world
}

/// The rebuild of the unit.
fn unit(world: &FakeSystem) -> Call<'_> {
    world.request(Action::Switch).reboots()
}

/// A machine whose boot default `new` waits for its reboot.
fn waiting() -> FakeSystem {
    let world = world(Some("kernel"));
    unit(&world).run().unwrap();
    world
}

fn record(world: &FakeSystem) -> Option<Reboot> {
    Reboot::load(&world.state()).unwrap()
}

fn stage(world: &FakeSystem) -> Option<RebootStage> {
    record(world).map(|reboot| reboot.stage)
}

#[track_caller]
fn waits_for(decision: &RebootDecision) -> &str {
    match decision {
        RebootDecision::Waits { waits_for, .. } => waits_for,
        decision => panic!("{decision}"),
    }
}

#[track_caller]
fn assert_scheduled(world: &FakeSystem) {
    let decision = unit(world).reboot(&ANY_TIME).unwrap();
    assert!(
        matches!(decision, RebootDecision::Scheduled { .. }),
        "{decision}"
    );
    let message = "the system was updated and needs a reboot";
    let arguments = world.arguments("shutdown");
    assert_eq!(arguments[arguments.len() - 3..], ["-r", "+1", message]);
}

const NOT_NEEDED: RebootDecision = RebootDecision::NotNeeded {
    ended: false,
    cancelled: false,
};

#[test]
fn the_same_kernel_is_switched_to_at_once() {
    let world = world(None);
    let outcome = unit(&world).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    assert_eq!(unit(&world).reboot(&ANY_TIME).unwrap(), NOT_NEEDED);
    assert_eq!(record(&world), None);
    assert_eq!(world.calls("shutdown"), 0);
}

#[test]
fn another_kernel_is_rebooted_into_once() {
    for part in ["kernel", "initrd", "kernel-modules"] {
        let world = world(Some(part));
        let outcome = unit(&world).run().unwrap();
        assert_eq!(outcome.status, RebuildStatus::RebootNeeded, "{part}");
        assert_eq!(
            outcome.notes,
            [RebuildNote::RebootNeeded {
                inhibitors: vec![part.to_owned()]
            }]
        );
        assert_eq!(world.arguments(SWITCH), ["boot"]);
        assert_eq!(world.record().pending, None, "only the boot is left");
        assert_eq!(record(&world).unwrap().changes, [part]);

        assert_scheduled(&world);
        // The next ticks of both units, in the minute that is left.
        let again = unit(&world).run().unwrap();
        assert_eq!(again.status, RebuildStatus::Unchanged);
        let again = unit(&world).reboot(&ANY_TIME).unwrap();
        assert!(matches!(again, RebootDecision::Scheduled { .. }), "{again}");
        assert_eq!(world.calls("shutdown"), 1);

        world.boots("new");
        assert!(unit(&world).booted("2").judge_boot().is_none());
        assert_eq!(record(&world), None);
        let decision = unit(&world).booted("2").reboot(&ANY_TIME).unwrap();
        assert_eq!(decision, NOT_NEEDED);
        let after = unit(&world).booted("2").run().unwrap();
        assert_eq!(after.status, RebuildStatus::Unchanged);
        assert_eq!(after.notes, []);
        assert_eq!(world.calls("shutdown"), 1);
    }
}

#[test]
fn a_system_without_an_initial_ram_disk_is_compared_too() {
    let world = world(None);
    for system in ["old", "new"] {
        std::fs::remove_file(world.path("store").join(system).join("initrd")).unwrap();
    }
    assert_eq!(unit(&world).run().unwrap().status, RebuildStatus::Switched);
}

#[test]
fn a_person_switches_at_once_also_after_the_unit_has_left_it_to_a_reboot() {
    for repeat in [Repeat::Build, Repeat::IfNeeded] {
        let world = waiting();
        let by_hand = world.request(Action::Switch).repeat(repeat);
        assert_eq!(by_hand.run().unwrap().status, RebuildStatus::Switched);
        assert_eq!(world.system("current"), "new");
        // The kernel is still the old one.
        assert_eq!(stage(&world), Some(RebootStage::Waiting));
        assert_scheduled(&world);
    }
    // With the first run, too.
    let world = world(Some("kernel"));
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    assert_eq!(record(&world), None);
    assert_scheduled(&world);
    assert_eq!(record(&world).unwrap().commit, "1".repeat(40).parse().ok());
}

#[test]
fn a_switch_that_was_left_to_a_reboot_is_due_where_none_is_allowed_any_more() {
    let world = waiting();
    let commit = "1".repeat(40).parse().ok();
    let systems = hyper_sync::rebuild::Systems {
        current: std::fs::canonicalize(world.path("current")).ok(),
        booted: std::fs::canonicalize(world.path("booted")).ok(),
        profile: std::fs::canonicalize(world.path("profile")).ok(),
    };
    let mut record = world.record();
    assert!(!record.is_due(commit, Action::Switch, &systems));
    record.end_deferral();
    assert!(record.is_due(commit, Action::Switch, &systems));
}

#[test]
fn a_live_build_with_another_kernel_becomes_the_boot_default() {
    let world = FakeSystem::new();
    world.switches_to("nixos-rebuild", "new");
    world.part("new", "kernel", "2");
    let outcome = unit(&world).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
    assert_eq!(
        [world.system("current"), world.system("profile")],
        ["old", "new"]
    );
    assert_eq!(record(&world).unwrap().changes, ["kernel"]);
}

#[test]
fn a_reboot_waits_for_its_window() {
    let world = waiting();
    let window = |from: Time, to: Time| settings::Reboot {
        window: Some(RebootWindow { from, to }),
        ..ANY_TIME
    };
    let night = window(time(22, 0, 0, 0), time(8, 0, 0, 0));
    let decision = unit(&world).reboot(&night).unwrap();
    insta::assert_snapshot!(decision, @"a reboot is needed, because these change: `kernel`; it waits for its window, 22:00-08:00");
    assert_eq!(world.calls("shutdown"), 0);
    assert_eq!(
        record(&world).unwrap().waits_for.as_deref(),
        Some("for its window, 22:00-08:00")
    );
    let since = record(&world).unwrap().since;
    // The timer decides again.
    assert!(
        world
            .read("systemctl.log")
            .ends_with("start hyper-sync-reboot.timer\n")
    );

    let day = window(time(12, 0, 0, 0), time(12, 1, 0, 0));
    let decision = unit(&world).reboot(&day).unwrap();
    assert!(
        matches!(decision, RebootDecision::Scheduled { .. }),
        "{decision}"
    );
    assert_eq!(record(&world).unwrap().since, since);
    world.boots("new");
    unit(&world).booted("2").reboot(&day).unwrap();
    assert!(
        world
            .read("systemctl.log")
            .ends_with("stop hyper-sync-reboot.timer\n")
    );
}

#[test]
fn without_permission_a_reboot_waits_for_a_person() {
    let world = waiting();
    let forbidden = settings::Reboot {
        allow: false,
        ..ANY_TIME
    };
    let decision = unit(&world).reboot(&forbidden).unwrap();
    assert_eq!(
        waits_for(&decision),
        "for a person, because `reboot.allow` is false"
    );
    assert_eq!(world.calls("shutdown"), 0);
}

#[test]
fn a_program_that_blocks_a_shutdown_is_waited_for() {
    let world = waiting();
    world.write(
        "inhibitors.json",
        r#"{"type":"a(ssssuu)","data":[[["sleep:shutdown","dnf","an upgrade","block",0,42]]]}"#,
    );
    let decision = unit(&world).reboot(&ANY_TIME).unwrap();
    assert_eq!(
        waits_for(&decision),
        "for programs that keep the machine from a shutdown: `dnf` (an upgrade)"
    );
    assert_eq!(world.calls("shutdown"), 0);
    // One that only delays it, or blocks something else, is logind's to wait for.
    world.logind();
    assert_scheduled(&world);
}

#[test]
fn with_when_idle_users_who_are_logged_in_are_waited_for() {
    let world = waiting();
    let when_idle = settings::Reboot {
        when_idle: true,
        ..ANY_TIME
    };
    for (class, state) in [("user", "active"), ("user-early", "online")] {
        world.session(class, state);
        let decision = unit(&world).reboot(&when_idle).unwrap();
        assert_eq!(waits_for(&decision), "until nobody is logged in: `ada`");
    }
    assert_eq!(world.calls("shutdown"), 0);
    for (class, state) in [
        ("user", "closing"),
        ("greeter", "active"),
        ("manager", "active"),
        ("background", "active"),
    ] {
        world.logind();
        world.session(class, state);
        let decision = unit(&world).reboot(&when_idle).unwrap();
        assert!(
            matches!(decision, RebootDecision::Scheduled { .. }),
            "{class} {state}"
        );
    }
    // Without it nobody is asked for.
    world.logind();
    assert_scheduled(&world);
}

#[test]
fn a_logind_that_gives_no_answer_is_waited_for() {
    for script in ["echo 'Failed to connect to bus' >&2; exit 1", "echo []"] {
        let world = waiting();
        world.script("busctl", script);
        let decision = unit(&world).reboot(&ANY_TIME).unwrap();
        assert!(
            waits_for(&decision).starts_with("for logind: "),
            "{decision}"
        );
        assert_eq!(world.calls("shutdown"), 0);
    }
}

#[test]
fn a_shutdown_that_somebody_else_has_scheduled_is_left_alone() {
    let world = waiting();
    world.write("scheduled.json", r#"{"type":"(st)","data":["poweroff",1]}"#);
    let decision = unit(&world).reboot(&ANY_TIME).unwrap();
    assert_eq!(
        waits_for(&decision),
        "because a shutdown (`poweroff`) is scheduled already"
    );
    // Nor is it cancelled.
    world.link("profile", "old");
    unit(&world).reboot(&ANY_TIME).unwrap();
    assert!(!unit(&world).cancel_reboot().unwrap());
    assert_eq!(world.calls("shutdown"), 0);
}

#[test]
fn a_reboot_that_is_no_longer_needed_is_cancelled() {
    let world = waiting();
    assert_scheduled(&world);
    // Somebody has made the former system the boot default again.
    world.link("profile", "old");
    let decision = unit(&world).reboot(&ANY_TIME).unwrap();
    insta::assert_snapshot!(decision, @"the reboot is not needed any more, and was cancelled");
    assert_eq!(world.arguments("shutdown").last().unwrap(), "-c");
    assert_eq!(record(&world), None);
    assert_eq!(unit(&world).reboot(&ANY_TIME).unwrap(), NOT_NEEDED);
    assert_eq!(world.calls("shutdown"), 2);
}

#[test]
fn a_rebuild_that_makes_the_reboot_needless_cancels_it() {
    let world = waiting();
    assert_scheduled(&world);
    world.part("new", "kernel", "1");
    let by_hand = world.request(Action::Switch).repeat(Repeat::Build);
    assert_eq!(by_hand.run().unwrap().status, RebuildStatus::Switched);
    assert_eq!(world.arguments("shutdown").last().unwrap(), "-c");
    assert_eq!(record(&world), None);
}

#[test]
fn another_system_takes_the_place_of_one_that_waits() {
    let world = waiting();
    assert_scheduled(&world);
    let since = record(&world).unwrap().since;
    world.part("other", "kernel", "3");
    world.link("profile", "other");
    let decision = unit(&world).reboot(&ANY_TIME).unwrap();
    assert!(
        matches!(decision, RebootDecision::Scheduled { .. }),
        "{decision}"
    );
    // The shutdown that is scheduled boots it.
    assert_eq!(world.calls("shutdown"), 1);
    let reboot = record(&world).unwrap();
    assert_eq!(reboot.system, world.path("store/other"));
    assert_eq!(reboot.since, since);
}

#[test]
fn a_shutdown_that_fails_is_tried_again_by_the_next_run() {
    let world = waiting();
    world.script("shutdown", "echo 'Failed to talk to logind' >&2; exit 1");
    let error = unit(&world).reboot(&ANY_TIME).unwrap_err();
    assert!(matches!(&error.kind, ErrorKind::NoReboot { .. }), "{error}");
    assert_eq!(error.exit().code(), 11);
    assert_eq!(stage(&world), Some(RebootStage::Waiting));
    world.logind();
    assert_scheduled(&world);
}

#[test]
fn a_run_that_was_killed_before_the_shutdown_is_followed_by_one_that_asks_for_it() {
    let world = waiting();
    assert_scheduled(&world);
    assert_eq!(stage(&world), Some(RebootStage::Rebooting));
    // As if it had not been asked for.
    world.logind();
    assert_scheduled(&world);
    assert_eq!(world.calls("shutdown"), 2);
}

#[test]
fn a_suspension_that_is_set_meanwhile_cancels_the_reboot() {
    let world = waiting();
    let suspension = Suspension {
        since: Timestamp::UNIX_EPOCH,
        until: None,
        reason: None,
        reference: None,
    };
    let _ = Suspended::set(&world.state(), suspension).unwrap();
    let decision = unit(&world).reboot(&ANY_TIME).unwrap();
    assert_eq!(waits_for(&decision), "because updates are suspended");
    assert_eq!(world.calls("shutdown"), 2);
    assert_eq!(world.arguments("shutdown").last().unwrap(), "-c");
}

#[test]
fn suspend_cancels_a_reboot_that_was_scheduled() {
    let (world, boot) = FakeSystem::waits_for_reboot();
    world.logind();
    let scheduled = unit(&world).booted(boot).reboot(&ANY_TIME).unwrap();
    assert!(matches!(scheduled, RebootDecision::Scheduled { .. }));
    let sandbox = Sandbox::new();
    let suspend = |args: &[&str]| {
        let mut command = sandbox.cmd(args);
        command.env("HYPER_SYNC_STATE_DIR", world.state_dir());
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", world.path("").display()));
        sandbox.finish(&mut command)
    };
    let suspended = suspend(&["suspend", "--json"]).ok().json();
    assert_eq!(suspended["reboot_cancelled"], true);
    assert_eq!(world.arguments("shutdown").last().unwrap(), "-c");
    let again = suspend(&["suspend"]).ok();
    assert!(!again.stderr.contains("reboot"), "{}", again.masked());
    assert_eq!(world.calls("shutdown"), 2);
    // And nothing else is done until `resume`.
    let decision = suspend(&["reboot"]).ok();
    assert!(
        decision.stderr.contains("nothing is done"),
        "{}",
        decision.masked()
    );

    world.script("shutdown", "exit 1");
    world.write("scheduled.json", r#"{"type":"(st)","data":["reboot",1]}"#);
    let failed = suspend(&["suspend"]).code(11);
    assert!(
        failed.stderr.contains("cannot be cancelled"),
        "{}",
        failed.masked()
    );
}

#[test]
fn the_status_shows_since_when_why_and_what_it_waits_for() {
    let (world, boot) = FakeSystem::waits_for_reboot();
    world.logind();
    let forbidden = settings::Reboot {
        allow: false,
        ..ANY_TIME
    };
    let line = || {
        let sandbox = Sandbox::new();
        let mut status = sandbox.cmd(&["status"]);
        status.env("HYPER_SYNC_STATE_DIR", world.state_dir());
        let status = sandbox.finish(&mut status).ok().out();
        let line = status.lines().find(|line| line.starts_with("reboot "));
        line.unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!(line(), @"reboot    needed since [date], because these change: `kernel`");
    unit(&world).booted(boot).reboot(&forbidden).unwrap();
    insta::assert_snapshot!(line(), @"reboot    needed since [date], because these change: `kernel`; it waits for a person, because `reboot.allow` is false");
    unit(&world).booted(boot).reboot(&ANY_TIME).unwrap();
    insta::assert_snapshot!(line(), @"reboot    needed since [date], because these change: `kernel`; it is scheduled");
    world.boots("old");
    unit(&world).booted("2").judge_boot().unwrap();
    insta::assert_snapshot!(line(), @"reboot    needed since [date], because these change: `kernel`; the machine came up with another system, and is not rebooted again for it");
}

#[test]
fn a_machine_that_comes_up_with_another_system_is_not_rebooted_again() {
    for scheduled in [true, false] {
        let world = waiting();
        if scheduled {
            assert_scheduled(&world);
        }
        let asked = world.calls("shutdown");
        // The boot loader fell back, or somebody chose it.
        world.boots("old");
        let tick = || unit(&world).booted("2");
        let error = tick().judge_boot().unwrap();
        assert!(
            matches!(error.kind, ErrorKind::OtherSystemBooted { .. }),
            "{error}"
        );
        assert_eq!(error.exit().code(), 13);
        // Said once.
        assert!(tick().judge_boot().is_none());
        let decision = tick().reboot(&ANY_TIME).unwrap();
        assert_eq!(decision, RebootDecision::NotAgain);
        assert_eq!(stage(&world), Some(RebootStage::Missed));
        let error = tick().run().unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Quarantined(_)), "{error}");
        assert_eq!(
            unit(&world).booted("3").reboot(&ANY_TIME).unwrap(),
            RebootDecision::NotAgain
        );
        assert_eq!(world.calls("shutdown"), asked);

        // A person who boots it ends that.
        world.boots("new");
        assert!(unit(&world).booted("4").judge_boot().is_none());
        assert_eq!(record(&world), None);
        let outcome = unit(&world).booted("4").run().unwrap();
        assert_eq!(outcome.status, RebuildStatus::Unchanged);
    }
}

#[test]
fn a_person_who_tries_it_again_gets_another_reboot() {
    let world = waiting();
    world.boots("old");
    unit(&world).booted("2").judge_boot().unwrap();
    let outcome = unit(&world).booted("2").retry().run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
    let decision = unit(&world).booted("2").reboot(&ANY_TIME).unwrap();
    assert!(
        matches!(decision, RebootDecision::Scheduled { .. }),
        "{decision}"
    );
}

#[test]
fn a_specialisation_of_the_system_counts_as_it() {
    let world = waiting();
    world.write("store/new/specialisation/.keep", "");
    let variant = world.path("store/new/specialisation/desktop");
    std::os::unix::fs::symlink(world.path("store/other"), variant).unwrap();
    world.boots("other");
    assert!(unit(&world).booted("2").judge_boot().is_none());
    assert_eq!(record(&world), None);
}

#[test]
fn a_boot_default_that_somebody_has_changed_is_not_judged() {
    let world = waiting();
    world.link("profile", "other");
    world.boots("other");
    assert!(unit(&world).booted("2").judge_boot().is_none());
    assert_eq!(record(&world), None);
}

#[test]
fn with_action_boot_only_another_kernel_is_rebooted_into() {
    for (part, reboots) in [(None, false), (Some("kernel"), true)] {
        let world = world(part);
        let outcome = world.request(Action::Boot).reboots().run().unwrap();
        assert_eq!(outcome.status, RebuildStatus::SetForBoot);
        assert_eq!(record(&world).is_some(), reboots);
        let decision = unit(&world).reboot(&ANY_TIME).unwrap();
        assert_eq!(
            matches!(decision, RebootDecision::Scheduled { .. }),
            reboots
        );
    }
}

#[test]
fn an_inhibitor_and_another_init_need_a_reboot_too() {
    let inhibited = world(None);
    inhibited.write("store/old/switch-inhibitors", r#"{"dbus":"dbus"}"#);
    inhibited.write("store/new/switch-inhibitors", r#"{"dbus":"broker"}"#);
    let other_init = world(None);
    other_init.script(SWITCH, "[ $1 != switch ] || exit 100");
    for (world, change) in [(inhibited, "dbus"), (other_init, "init")] {
        // Also where the unit does not reboot: the age is known.
        let outcome = world.request(Action::Switch).run().unwrap();
        assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
        assert_eq!(record(&world).unwrap().changes, [change]);
        assert_scheduled(&world);
        world.boots("new");
        assert!(unit(&world).booted("2").judge_boot().is_none());
        assert_eq!(
            unit(&world).booted("2").reboot(&ANY_TIME).unwrap(),
            NOT_NEEDED
        );
    }
}
