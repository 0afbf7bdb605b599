//! `hyper-sync suspend` and `hyper-sync resume`: what the runs of the units and of a person do meanwhile.

use std::fs;
use std::time::Duration;

use hyper_sync::lock::RunLock;
use hyper_sync::source::Interrupt;
use hyper_sync::state::{StateDir, Suspended, Suspension, Unreached};
use jiff::Timestamp;

use crate::common::env::Sandbox;
use crate::common::forge::fault::{Action, When};
use crate::common::git;
use crate::common::repo::Repo;
use crate::common::world::World;

/// As the units call the program.
const FETCH: &[&str] = &["--skip-rebuild", "--sandboxed"];
const REBUILD: &[&str] = &["rebuild", "--if-pending"];
const REBOOT: &[&str] = &["reboot"];

/// A machine that is one commit behind a forge.
fn behind() -> World {
    let world = World::served(&Repo::small()).synced();
    world.repo.write("a.nix", "{ }\n").commit("next");
    world
}

fn state(sandbox: &Sandbox) -> StateDir {
    StateDir::open(&sandbox.state()).unwrap()
}

/// A suspension that is over.
fn set_ended(sandbox: &Sandbox) {
    let past = |second| Timestamp::from_second(second).unwrap();
    let suspension = Suspension {
        since: past(1_000),
        until: Some(past(2_000)),
        reason: None,
        reference: None,
    };
    let _ = Suspended::set(&state(sandbox), suspension).unwrap();
}

#[test]
fn the_runs_of_the_units_do_nothing_and_use_no_network() {
    let world = behind();
    insta::assert_snapshot!(world.run(&["suspend", "--reason", " a \u{1b}migration "]).masked(), @r#"
    exit: 0
    --- stdout
    suspended since [date]: a \u{1b}migration; `hyper-sync resume` ends that
    "#);
    let (requests, state) = (
        world.forge().count(),
        fs::read_dir(world.state()).unwrap().count(),
    );
    insta::assert_snapshot!(world.run(FETCH).masked(), @r#"
    exit: 0
    --- stderr
    nothing is done: updates are suspended since [date]: a \u{1b}migration; `hyper-sync resume` ends that
    "#);
    insta::assert_snapshot!(world.run(REBUILD).masked(), @r#"
    exit: 0
    --- stderr
    nothing is done: updates are suspended since [date]: a \u{1b}migration; `hyper-sync resume` ends that
    "#);
    for args in [FETCH, REBUILD, REBOOT] {
        let document = world.run(&[args, &["--json"]].concat()).ok().json();
        assert_eq!(document["schema"], 1);
        assert_eq!(document["suspended"]["until"], serde_json::Value::Null);
    }
    assert_eq!(world.forge().count(), requests);
    assert_eq!(fs::read_dir(world.state()).unwrap().count(), state);
    world.assert_at("main~1");

    insta::assert_snapshot!(world.run(&["resume"]).masked(), @r#"
    exit: 0
    --- stdout
    updates go on; they were suspended since [date]: a \u{1b}migration
    "#);
    insta::assert_snapshot!(world.run(&["resume"]).masked(), @r#"
    exit: 0
    --- stdout
    updates were not suspended
    "#);
    let _ = world.run(FETCH).ok();
    world.assert_at("main");
}

#[test]
fn what_a_person_runs_goes_on_with_a_note() {
    let world = behind();
    let _ = world.run(&["suspend", "--for", "2h"]).ok();
    for args in [&["sync"][..], &["--skip-rebuild"], &["rebuild"]] {
        let output = world.run(args);
        assert!(
            output
                .stderr
                .contains("this run goes on, and `hyper-sync resume` lets the timer go on"),
            "{}",
            output.masked()
        );
    }
    world.assert_at("main");
    // A preview changes nothing anyway.
    let output = world.sync(&["--check-only"]).ok();
    assert!(!output.stderr.contains("resume"), "{}", output.masked());
    assert!(!world.json(&["status"])["suspended"].is_null());
}

#[test]
fn the_status_shows_it_beside_a_hold_and_resume_does_not_end_the_hold() {
    let world = behind();
    let _ = world.sync(&[]).ok();
    world.mask_id(&world.repo.id("main"), "next");
    let _ = world.run(&["rollback"]).ok();
    let _ = world
        .run(&["suspend", "--for", "1 day", "--reason", "a migration"])
        .ok();
    let status = world.run(&["status"]).ok().masked();
    let lines: Vec<&str> = status
        .lines()
        .filter(|line| line.starts_with("suspended") || line.starts_with("held"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    suspended since [date], until [date]: a migration; `hyper-sync resume` ends that
    held      [next] (next): it was rolled back from; the next commit ends that, or `hyper-sync sync --resume`
    "#);
    let suspended = world.json(&["status"])["suspended"].clone();
    let time = |name: &str| {
        suspended[name]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap()
    };
    assert_eq!(time("until").duration_since(time("since")).as_hours(), 24);
    assert_eq!(suspended["reason"], "a migration");
    assert_eq!(suspended["damaged"], false);

    insta::assert_snapshot!(world.run(&["resume"]).masked(), @r"
    exit: 0
    --- stdout
    updates go on; they were suspended since [date], until [date]: a migration
    --- stderr
    note: [next] is still held after a rollback; the next commit ends that, or `hyper-sync sync --resume`
    ");
    let document = world.run(&["resume", "--json"]).ok().json();
    assert_eq!(document["schema"], 1);
    assert!(document["ended"].is_null());
    assert_eq!(document["held"], world.json(&["status"])["held"]);
    assert_eq!(document["held"].as_array().unwrap().len(), 1);
    assert!(world.json(&["status"])["suspended"].is_null());
}

#[test]
fn one_that_is_over_counts_as_none_and_the_next_run_that_may_write_removes_it() {
    let world = behind();
    set_ended(&world);
    assert!(world.json(&["status"])["suspended"].is_null());
    let _ = world.sync(&["--check-only"]).ok();
    assert!(world.state().join("suspended").exists());
    let _ = world.run(FETCH).ok();
    world.assert_at("main");
    assert!(!world.state().join("suspended").exists());

    for args in [REBUILD, REBOOT, &["sync"], &["resume"]] {
        set_ended(&world);
        let output = world.run(args);
        assert!(
            !output.stderr.contains("suspended since"),
            "{}",
            output.masked()
        );
        assert!(!world.state().join("suspended").exists(), "{args:?}");
    }
}

#[test]
fn a_damaged_record_suspends_until_a_person_resumes() {
    let world = behind();
    let _ = world.run(&["suspend", "--for", "1h"]).ok();
    fs::write(world.state().join("suspended"), "hyper-sync suspended 1").unwrap();
    insta::assert_snapshot!(world.run(FETCH).masked(), @r#"
    exit: 0
    --- stderr
    nothing is done: updates are suspended without an end: its record is damaged (its checksum does not match); `hyper-sync resume` ends that
    "#);
    let _ = world.run(REBUILD).ok();
    let _ = world.run(&["overdue"]).ok();
    let reboot = world.run(REBOOT).ok();
    assert!(
        reboot.stderr.contains("nothing is done"),
        "{}",
        reboot.masked()
    );
    world.assert_at("main~1");
    assert_eq!(world.json(&["status"])["suspended"]["damaged"], true);
    insta::assert_snapshot!(world.run(&["resume"]).masked(), @r#"
    exit: 0
    --- stdout
    updates go on; they were suspended without an end: its record is damaged (its checksum does not match)
    "#);
    let _ = world.run(FETCH).ok();
    world.assert_at("main");

    // Or sets another one.
    fs::write(world.state().join("suspended"), "").unwrap();
    let _ = world.run(&["suspend", "--for", "1h"]).ok();
    assert_eq!(world.json(&["status"])["suspended"]["damaged"], false);
}

/// Nothing is late while nothing is to be done, and the grace begins anew afterwards.
#[test]
fn lateness_does_not_count_while_suspended() {
    let world = behind();
    let page = Action::status_with(200, "content-type", "text/html", "<title>Welcome</title>");
    let _ = world.forge().fault(When::any(), page);
    let old = Unreached {
        since: Timestamp::from_second(500).unwrap(),
        last: Timestamp::from_second(600).unwrap(),
        count: 9,
        rate_limited: false,
        cause: "no route".to_owned(),
    };
    let late = || Unreached::replace(&state(&world), Some(&old)).unwrap();
    late();
    let _ = world.run(&["overdue"]).code(3);
    let _ = world.run(&["suspend"]).ok();
    let _ = world.run(&["overdue"]).ok();
    let _ = world.run(FETCH).ok();
    let _ = world.run(&["overdue"]).ok();
    let _ = world.run(&["resume"]).ok();
    let _ = world.run(&["overdue"]).ok();
    let _ = world.run(FETCH).code(3);
    let _ = world.run(&["overdue"]).code(75);

    // One that has ended by itself, by the first run after it.
    late();
    set_ended(&world);
    let _ = world.run(&["overdue"]).code(3);
    let _ = world.run(FETCH).code(3);
    let _ = world.run(&["overdue"]).code(75);
    assert_eq!(world.json(&["status"])["unreached"]["count"], 1);
}

#[test]
fn it_does_not_wait_for_a_run_that_is_active() {
    let world = behind();
    let metrics = world.root().join("metrics/m.prom");
    world.set(&format!("metrics_file = '{}'", metrics.display()));
    let state = state(&world);
    let lock = RunLock::acquire(&state, Duration::ZERO, &Interrupt::default()).unwrap();
    insta::assert_snapshot!(world.run(&["suspend"]).masked(), @r"
    exit: 0
    --- stdout
    suspended since [date]; `hyper-sync resume` ends that
    --- stderr
    note: a run is active and goes on; the next one of the timer does nothing
    ");
    let document = world.run(&["suspend", "--json"]).ok().json();
    assert_eq!(document["active"], true);
    assert_eq!(
        document["suspended"]["since"],
        document["replaced"]["since"]
    );
    let _ = world.run(FETCH).ok();
    let output = world.run(&["resume"]).ok();
    assert!(!output.stderr.contains("warning"), "{}", output.masked());
    assert!(!metrics.exists(), "the active run writes them");
    drop(lock);
    let document = world.run(&["suspend", "--json"]).ok().json();
    assert_eq!(document["active"], false);
    let text = fs::read_to_string(&metrics).unwrap();
    assert!(text.contains("\nhyper_sync_suspended{"), "{text}");
}

#[test]
fn the_metrics_show_it() {
    let world = behind();
    let metrics = world.root().join("metrics/m.prom");
    world.set(&format!("metrics_file = '{}'", metrics.display()));
    let samples = || -> Vec<String> {
        let text = fs::read_to_string(&metrics).unwrap();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("hyper_sync_suspended"));
        lines.map(str::to_owned).collect()
    };
    let _ = world.run(&["suspend", "--for", "1h"]).ok();
    let until = world.json(&["status"])["suspended"]["until"].clone();
    let until: Timestamp = until.as_str().unwrap().parse().unwrap();
    let [is, end] = &samples()[..] else {
        panic!("{:?}", samples())
    };
    assert!(is.ends_with("} 1"), "{is}");
    assert!(end.ends_with(&format!("}} {}", until.as_second())), "{end}");

    let exits = || {
        let text = fs::read_to_string(&metrics).unwrap();
        text.contains("hyper_sync_last_exit_code")
    };
    let _ = world.run(FETCH).ok();
    assert!(
        !exits(),
        "a run that does nothing is no success of the sync"
    );
    let _ = world.run(&["suspend"]).ok();
    assert_eq!(samples().len(), 1);
    let _ = world.run(&["resume"]).ok();
    assert!(samples()[0].ends_with("} 0"), "{:?}", samples());
}

#[test]
fn before_the_first_sync_too() {
    let sandbox = Sandbox::new();
    let _ = sandbox.run(&["resume"]).ok();
    assert!(!sandbox.state().exists(), "nothing is there to end");
    let _ = sandbox.run(&["suspend"]).ok();
    let _ = sandbox.run(FETCH).ok();
    let _ = sandbox.run(REBUILD).ok();
    let _ = sandbox.run(REBOOT).ok();
}

#[test]
fn a_wrong_length_or_reason_is_refused() {
    let sandbox = Sandbox::new();
    for length in ["0", "0s", "-1h", "soon", "366 days", "8761h", ""] {
        let _ = sandbox.run(&["suspend", "--for", length]).code(64);
    }
    let long = "x".repeat(301);
    for reason in ["", " ", &long] {
        let _ = sandbox.run(&["suspend", "--reason", reason]).code(64);
    }
    assert!(!sandbox.state().exists());
    insta::assert_snapshot!(sandbox.run(&["suspend", "--for", "2 years"]).masked(), @r"
    exit: 64
    --- stderr
    error: `2 years` is not a value of `--for <TIME>`: it is `2 years`, which is not a time, such as `[time]` or `1h [time]`
    help: `hyper-sync suspend --help` lists its options; nothing was written
    [cli::usage]
    ");
    let _ = sandbox.run(&["suspend", "--for", "365 days"]).ok();
}

/// A machine that follows `main`, whose repository has the branch `feature` too.
fn with_feature() -> World {
    let world = World::small().with("ref = 'main'").synced();
    world.repo.branch("feature").checkout("feature");
    world.repo.write("feature.nix", "{ }\n").commit("feature");
    world.repo.checkout("main");
    world
}

fn suspended(world: &World) -> serde_json::Value {
    world.json(&["status"])["suspended"].clone()
}

#[test]
fn one_command_goes_to_a_feature_branch_that_the_timer_leaves_and_one_goes_back() {
    let world = with_feature();
    let there = world.sync(&["feature"]).ok();
    let says_so = there.stderr.contains(
        "the timer leaves the target at `feature`; a run without `--ref` goes back to `main`",
    );
    assert!(says_so, "{}", there.stderr);
    for args in [FETCH, REBUILD, REBOOT] {
        let _ = world.run(args).ok();
        world.assert_at("feature");
    }
    let unit = world.run(FETCH).ok();
    let says_so = unit
        .stderr
        .contains("`feature` was chosen in place of the configured name; `hyper-sync resume` ends");
    assert!(says_so, "{}", unit.stderr);
    assert_eq!(suspended(&world)["ref"], "feature");
    // Its new commits come when a person wants them.
    world.repo.checkout("feature");
    world.repo.write("more.nix", "{ }\n").commit("more");
    let _ = world.run(FETCH).ok();
    world.assert_at("feature~1");
    let _ = world.sync(&["--ref", "feature"]).ok();
    world.assert_at("feature");

    let back = world.sync(&[]).ok();
    let says_so = back.stderr.contains("the timer follows `main` again");
    assert!(says_so, "{}", back.stderr);
    world.assert_at("main");
    assert_eq!(suspended(&world), serde_json::Value::Null);
    world.repo.checkout("main");
    world.repo.write("a.nix", "{ }\n").commit("next");
    let _ = world.run(FETCH).ok();
    world.assert_at("main");
}

/// A rollback has said that the commit is not wanted; that the target stays at the other branch is not passed over.
#[test]
fn the_way_back_to_a_held_commit_is_named() {
    let world = with_feature();
    world.repo.write("a.nix", "{ }\n").commit("next");
    let _ = world.sync(&[]).ok();
    let _ = world.run(&["rollback"]).ok();
    let _ = world.sync(&["feature"]).ok();
    let back = world.sync(&[]).ok();
    world.assert_at("feature");
    assert!(
        back.stderr
            .contains("the target is not at `main` yet, because its commit is held"),
        "{}",
        back.stderr
    );
    assert!(!back.stderr.contains("again"), "{}", back.stderr);
    let _ = world.sync(&["--resume"]).ok();
    world.assert_at("main");
}

/// From the configured branch to another, back by a rollback, and to either of them again.
#[test]
fn a_rollback_from_a_chosen_branch_names_the_way_back_to_it() {
    let world = with_feature();
    let _ = world.sync(&["feature"]).ok();
    let back = world.run(&["rollback"]).ok();
    world.assert_at("main");
    let feature = world.repo.id("feature");
    let again = "`hyper-sync sync --resume --ref feature`";
    for line in [
        format!("{} is held until the branch moves on or {again}", &feature[..10]),
        "the timer still does nothing, because `feature` was chosen; `hyper-sync resume` lets it follow `main`".to_owned(),
    ] {
        assert!(back.stderr.contains(&line), "{}", back.stderr);
    }
    let status = world.run(&["status"]).ok();
    for line in [
        again,
        "`feature` was chosen in place of the configured name",
    ] {
        assert!(status.stdout.contains(line), "{}", status.stdout);
    }
    let _ = world.run(FETCH).ok();
    world.assert_at("main");

    // The configured branch is not held, and the timer follows it again.
    let main = world.sync(&[]).ok();
    assert!(
        main.stderr.contains("the timer follows `main` again"),
        "{}",
        main.stderr
    );
    assert_eq!(suspended(&world), serde_json::Value::Null);

    // The other one is; a run that leaves the target where it is leaves the timer as it is.
    let held = world.sync(&["feature"]).ok();
    world.assert_at("main");
    assert!(held.stderr.contains(again), "{}", held.stderr);
    assert!(!held.stderr.contains("the timer leaves"), "{}", held.stderr);
    assert_eq!(suspended(&world), serde_json::Value::Null);
    world.repo.write("a.nix", "{ }\n").commit("next");
    let _ = world.run(FETCH).ok();
    world.assert_at("main");
    assert_eq!(
        world.json(&["status"])["held"],
        serde_json::json!([feature])
    );

    let _ = world.sync(&["--resume", "--ref", "feature"]).ok();
    world.assert_at("feature");
    assert_eq!(world.json(&["status"])["held"], serde_json::json!([]));
    assert_eq!(suspended(&world)["ref"], "feature");
    let _ = world.sync(&["main"]).ok();
    world.assert_at("main");
}

#[test]
fn the_timer_goes_back_when_the_time_is_over_or_a_person_lets_it() {
    let world = with_feature();
    let _ = world.sync(&["feature", "--for", "2h"]).ok();
    assert!(suspended(&world)["until"].is_string());
    let _ = world.run(&["resume"]).ok();
    let _ = world.run(FETCH).ok();
    world.assert_at("main");

    let _ = world.sync(&["feature", "--for", "2h"]).ok();
    let past = |second| Timestamp::from_second(second).unwrap();
    let over = Suspension {
        since: past(1_000),
        until: Some(past(2_000)),
        reason: None,
        reference: Some("feature".to_owned()),
    };
    let _ = Suspended::set(&state(&world), over).unwrap();
    let _ = world.run(FETCH).ok();
    world.assert_at("main");
    let nothing = world.sync(&["--for", "2h"]).ok();
    assert!(
        nothing.stderr.contains("`--for` has no effect"),
        "{}",
        nothing.stderr
    );
    assert_eq!(suspended(&world), serde_json::Value::Null);
}

#[test]
fn a_sync_that_fails_or_only_looks_leaves_the_timer_as_it_was() {
    let world = with_feature();
    let _ = world.sync(&["no-such-branch"]).code(2);
    let _ = world.sync(&["feature", "--dry-run"]).ok();
    let _ = world.run(&["--ref", "feature", "--check-only"]).ok();
    let _ = world.sync(&["--ref", "main"]).ok();
    assert_eq!(suspended(&world), serde_json::Value::Null);
    let _ = world.sync(&["feature"]).ok();
    let before = suspended(&world);
    let _ = world.sync(&["no-such-branch"]).code(2);
    assert_eq!(suspended(&world), before);
    // The way back fails too.
    let mut git = world.repo.git();
    git::succeeds(git.args(["update-ref", "-d", "refs/heads/main"]));
    let _ = world.sync(&[]).code(2);
    assert_eq!(suspended(&world), before);
}

#[test]
fn a_suspension_of_a_person_stays_as_it_is() {
    let world = with_feature();
    let _ = world
        .run(&["suspend", "--for", "2h", "--reason", "a migration"])
        .ok();
    let before = suspended(&world);
    let _ = world.sync(&["feature"]).ok();
    assert_eq!(suspended(&world), before);
    let _ = world.sync(&[]).ok();
    assert_eq!(suspended(&world), before);
}

#[test]
fn without_a_configuration_there_is_no_timer_to_suspend() {
    let world = with_feature();
    let repo = world.repo.path().display().to_string();
    let mut command = world.cmd(&["sync", "feature", "--repo", &repo]);
    let _ = world.finish(command.env_remove("HYPER_SYNC_CONFIG")).ok();
    world.assert_at("feature");
    assert_eq!(suspended(&world), serde_json::Value::Null);
}
