//! Activations of others, and of runs that have died: waited for, named, and stopped if they are ours and hang.

use std::fs::File;
use std::time::Duration;

use hyper_sync::rebuild::{ErrorKind, RebuildNote, RebuildStatus, Repeat};
use hyper_sync::settings::Action;

use super::world::FakeSystem;

const UNIT: &str = "nixos-rebuild-switch-to-configuration.service";
const SWITCH: &str = "store/new/bin/switch-to-configuration";

/// A machine that has been switched to `new` of the commit 1, with a unit that had failed before.
fn switched() -> FakeSystem {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.write("failed", "old.service\n");
    world.request(Action::Switch).run().unwrap();
    world
}

/// For the next questions, the unit is active.
fn is_active_for(world: &FakeSystem, questions: usize) {
    let log = world.log("systemctl");
    let asked = log.lines().filter(|line| line.starts_with("active: "));
    let asked = asked.count();
    for number in asked + 1..=asked + questions {
        world.write(&format!("active.{number}"), UNIT);
    }
}

/// What systemd says of the unit.
fn is_run_by(world: &FakeSystem, process: u32, system: &str) {
    let program = world.path(&format!("store/{system}/bin/switch-to-configuration"));
    let program = program.display();
    world.write(
        "activations",
        &format!(
            "Id={UNIT}\nMainPID={process}\nExecStart={{ path={program} ; argv[]={program} switch ; ignore_errors=no }}\n"
        ),
    );
}

#[test]
fn an_activation_of_somebody_else_is_waited_for_before_nothing_is_done() {
    let world = switched();
    is_active_for(&world, 1);
    world.write("failed", "old.service\nnew.service\n");
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Unchanged);
    let note = RebuildNote::Waited {
        activations: vec![UNIT.to_owned()],
        failed: vec!["new.service".to_owned()],
    };
    assert_eq!(
        note.to_string(),
        "another activation was waited for: nixos-rebuild-switch-to-configuration.service; units have failed by now that \
         had not before: new.service"
    );
    assert_eq!(outcome.notes, [note]);
}

#[test]
fn a_build_by_hand_waits_for_an_activation_of_somebody_else_too() {
    let world = switched();
    is_active_for(&world, 1);
    let by_hand = world.request(Action::Switch).repeat(Repeat::Build);
    let outcome = by_hand.run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Unchanged);
    assert!(matches!(outcome.notes[..], [RebuildNote::Waited { .. }]));
}

#[test]
fn units_that_failed_in_the_activation_of_somebody_else_are_not_taken_for_ours() {
    let world = switched();
    world.write("flake/src/module.nix", "{ } # newer");
    is_active_for(&world, 1);
    world.write("failed", "old.service\nnew.service\n");
    std::fs::remove_file(world.path("current")).unwrap();
    world.link("current", "old");
    let outcome = world.request(Action::Switch).at("2").run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    let note = RebuildNote::Waited {
        activations: vec![UNIT.to_owned()],
        failed: vec!["new.service".to_owned()],
    };
    assert!(outcome.notes.contains(&note), "{:?}", outcome.notes);
}

#[test]
fn without_another_activation_nothing_is_said() {
    let world = switched();
    world.write("failed", "old.service\nnew.service\n");
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(
        (outcome.status, outcome.notes),
        (RebuildStatus::Unchanged, vec![])
    );
}

#[test]
fn an_activation_of_somebody_else_that_does_not_end_is_busy_and_not_nothing_to_do() {
    let world = switched();
    world.write("active", UNIT);
    let error = world.request(Action::Switch).run().unwrap_err();
    assert!(
        matches!(&error.kind, ErrorKind::Busy { unit: Some(unit) } if unit == UNIT),
        "{error}"
    );
    assert_eq!(error.exit().code(), 10);
}

#[test]
fn a_process_that_switches_without_a_unit_is_found_by_its_lock() {
    let world = switched();
    let lock = File::create(world.path("switch.lock")).unwrap();
    let unchanged = || {
        world
            .request(Action::Switch)
            .run()
            .map(|outcome| outcome.status)
    };
    assert_eq!(unchanged().unwrap(), RebuildStatus::Unchanged);
    lock.lock().unwrap();
    let process = format!("process {}", std::process::id());
    let error = unchanged().unwrap_err();
    assert!(
        matches!(&error.kind, ErrorKind::Busy { unit: Some(unit) } if *unit == process),
        "{error}"
    );
    drop(lock);
    assert_eq!(unchanged().unwrap(), RebuildStatus::Unchanged);
}

/// A machine on which our activation of `new` goes on after its run was stopped, and whose newer commit is `other`.
fn left_behind() -> FakeSystem {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.script(
        SWITCH,
        &format!(
            "[ $1 = switch ] || exit 0\n\
             echo {UNIT} >\"$world/../../../active\"; echo started; exec sleep 1000"
        ),
    );
    let stopped = world
        .request(Action::Switch)
        .interrupted_at("started")
        .run();
    assert!(matches!(
        stopped.unwrap_err().kind,
        ErrorKind::Interrupted { .. }
    ));
    let begun = world.record().pending.unwrap().activation.unwrap();
    assert_eq!(begun.system.unwrap().file_name().unwrap(), "new");
    std::fs::remove_file(world.path("active")).unwrap();
    world.write("flake/src/module.nix", "{ } # newer");
    world.script(
        "nix",
        "case $1 in build) echo \"$world/store/other\";; flake) echo '{}';; esac",
    );
    std::fs::create_dir(world.path("store/other/bin")).unwrap();
    let program = "bin/switch-to-configuration";
    std::fs::copy(world.path(SWITCH), world.path("store/other").join(program)).unwrap();
    world.script(
        &format!("store/other/{program}"),
        "case $1 in switch) ln -sfn \"${world%/bin}\" \"$world/../../../current\";; esac",
    );
    world
}

/// Process 1 is older than this, and that of the tests younger.
const LIMIT: Duration = Duration::from_secs(1);

#[test]
fn an_activation_of_ours_that_hangs_is_stopped_before_that_of_a_newer_commit() {
    let world = left_behind();
    // For the state of the machine, and for whether one hangs.
    is_active_for(&world, 2);
    is_run_by(&world, 1, "new");
    let newer = world
        .request(Action::Switch)
        .at("2")
        .activation_timeout(LIMIT);
    let outcome = newer.run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    assert!(world.log("systemctl").contains(&format!("stop {UNIT}\n")));
    let note = RebuildNote::Stopped {
        unit: UNIT.to_owned(),
        after: LIMIT,
        jobs: vec![],
    };
    assert!(outcome.notes.contains(&note), "{:?}", outcome.notes);
    assert_eq!(world.record().pending, None);
}

#[test]
fn an_activation_of_somebody_else_is_never_stopped() {
    let world = left_behind();
    world.write("active", UNIT);
    is_run_by(&world, 1, "old");
    let newer = world
        .request(Action::Switch)
        .at("2")
        .activation_timeout(LIMIT);
    let error = newer.run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Busy { .. }), "{error}");
    assert!(!world.log("systemctl").contains("stop"));
    // What was begun is still known.
    let begun = world.record().pending.unwrap().activation.unwrap();
    assert_eq!(begun.system.unwrap().file_name().unwrap(), "new");
}

#[test]
fn an_activation_of_ours_within_its_limit_is_waited_for() {
    let world = left_behind();
    is_active_for(&world, 3);
    is_run_by(&world, std::process::id(), "new");
    let outcome = world.request(Action::Switch).at("2").run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    let asked = world.log("systemctl").matches("active: ").count();
    assert!(asked > 3, "it was waited for");
    assert!(!world.log("systemctl").contains("stop"));
}
