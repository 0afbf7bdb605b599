//! Syncs that do not reach the repository: counted, shown by `status` and the metrics, a failure of `overdue` at last.

use crate::common::env::Sandbox;
use crate::common::forge::fault::{Action, When};
use crate::common::repo::Repo;
use crate::common::world::World;

/// A machine that has synced once from a forge.
fn world() -> World {
    let world = World::served(&Repo::small());
    set_grace(&world, "24h");
    world.synced()
}

fn set_grace(world: &World, grace: &str) {
    let root = world.root().display();
    world.set(&format!(
        "failure_grace = '{grace}'\nmetrics_file = '{root}/metrics/m.prom'"
    ));
}

/// As in a hotel: something answers, and it is not the git host.
fn login_page(world: &World) {
    let page = Action::status_with(200, "content-type", "text/html", "<title>Welcome</title>");
    let _ = world.forge().clear_faults().fault(When::any(), page);
}

fn unreached_syncs(world: &World) -> String {
    let metrics = world.root().join("metrics/m.prom");
    let text = std::fs::read_to_string(metrics).unwrap();
    let sample = |line: &&str| line.starts_with("hyper_sync_unreached_syncs{");
    let line = text.lines().find(sample).unwrap();
    line.rsplit_once(' ').unwrap().1.to_owned()
}

#[test]
fn a_repository_that_is_not_reached_is_a_failure_after_the_grace_only() {
    let world = world();
    let _ = world.run(&["overdue"]).ok();
    assert_eq!(unreached_syncs(&world), "0");

    login_page(&world);
    for count in ["1", "2"] {
        let _ = world.sync(&[]).code(3);
        assert_eq!(unreached_syncs(&world), count);
        assert_eq!(world.run(&["overdue"]).code(75).masked(), "exit: 75\n");
    }
    let record = world.json(&["status"])["unreached"].clone();
    assert_eq!(record["count"], 2);
    assert_eq!(record["rate_limited"], false);
    let status = world.run(&["status"]).ok().masked();
    let line = status.lines().find(|line| line.starts_with("unreached"));
    insta::assert_snapshot!(line.unwrap(), @"unreached first [time] ago, syncs: 2, the last one: [forge] does not answer like a git host: status 200, <title>Welcome</title>");

    set_grace(&world, "1ns");
    insta::assert_snapshot!(world.run(&["overdue"]).masked(), @"
    exit: 3
    --- stderr
    error: no sync has ended well since [date]; 2 syncs did not reach the repository, the last one at [date] because [forge] does not answer like a git host: status 200, <title>Welcome</title>
    help: run `hyper-sync sync` to see whether it still is so, and correct the cause; `failure_grace` is how long this is not a failure
    [sync::overdue]
    ");
    let document = world.run(&["overdue", "--json"]).code(3).json();
    assert_eq!(document["error"]["code"], "hyper_sync::sync::overdue");

    world.forge().clear_faults();
    let _ = world.sync(&[]).ok();
    let _ = world.run(&["overdue"]).ok();
    assert_eq!(unreached_syncs(&world), "0");
    let document = world.json(&["status"]);
    assert!(document["unreached"].is_null());
}

/// Another try soon would only lengthen it.
#[test]
fn a_rate_limit_is_waited_for_and_not_tried_again_soon() {
    let world = world();
    let limit = Action::status_with(429, "retry-after", "3600", "");
    let _ = world.forge().fault(When::any(), limit);
    let _ = world.sync(&[]).code(5);
    assert_eq!(unreached_syncs(&world), "1");
    let _ = world.run(&["overdue"]).ok();
    set_grace(&world, "1ns");
    let _ = world.run(&["overdue"]).code(5);
}

/// What the network did not cause is a failure at once, and neither counted nor forgiven.
#[test]
fn other_failures_do_not_count() {
    let world = world();
    let _ = world.sync(&["--ref", "gone"]).code(2);
    let _ = world.run(&["overdue"]).ok();
    login_page(&world);
    let _ = world.sync(&[]).code(3);
    world.forge().clear_faults();
    let _ = world.sync(&["--ref", "gone"]).code(2);
    let _ = world.run(&["overdue"]).code(75);
    assert_eq!(unreached_syncs(&world), "1");
}

#[test]
fn only_a_sync_that_writes_is_counted_and_the_update_is_one() {
    let world = world();
    world.repo.write("a.nix", "{ }\n").commit("next");
    login_page(&world);
    for args in [&["sync", "--check-only"][..], &["diff", "--remote"]] {
        let _ = world.run(args).code(3);
        let _ = world.run(&["overdue"]).ok();
    }
    let _ = world.run(&["--skip-rebuild"]).code(3);
    let _ = world.run(&["overdue"]).code(75);
    world.forge().clear_faults();
    let _ = world.run(&["--skip-rebuild"]).ok();
    let _ = world.run(&["overdue"]).ok();
}

#[test]
fn before_the_first_run_nothing_is_overdue() {
    let sandbox = Sandbox::new();
    let _ = sandbox.run(&["overdue"]).ok();
    assert!(!sandbox.state().exists(), "it writes nothing");
}

/// Limits of a run that process 1 is older than.
const SHORT: &str = "[rebuild]\ntimeout = '1s'\nactivation_timeout = '1s'\n[health]\nwithin = '1s'";

/// A run of this process holds the lock.
fn hold(world: &World, process: u32) -> std::fs::File {
    let lock = std::fs::File::options()
        .write(true)
        .open(world.state().join("lock"))
        .unwrap();
    lock.lock().unwrap();
    let line = format!("process {process}, since 2020-01-01T00:00:00Z");
    let line = format!("{line:<63}\n");
    std::os::unix::fs::FileExt::write_all_at(&lock, line.as_bytes(), 0).unwrap();
    lock
}

#[test]
fn a_run_that_holds_the_lock_for_too_long_is_a_failure_and_named() {
    let world = world();
    world.set(SHORT);
    let lock = hold(&world, 1);
    let _ = world.run(&["sync"]).code(10);
    insta::assert_snapshot!(world.run(&["overdue"]).masked(), @"
    exit: 12
    --- stderr
    error: another run has been active for more than [time] (process 1, since [date])
    help: see what the process does (`ps`), and end it: until then this machine is not updated
    [lock::hangs]
    ");
    let document = world.run(&["overdue", "--json"]).code(12).json();
    assert_eq!(document["error"]["code"], "hyper_sync::lock::hangs");

    // A run may take that long where its limits say so.
    world.set("[rebuild]\ntimeout = '3650days'");
    let _ = world.run(&["overdue"]).ok();
    // While updates are suspended, nobody waits for one.
    world.set(SHORT);
    let _ = world.run(&["suspend"]).ok();
    let _ = world.run(&["overdue"]).ok();
    let _ = world.run(&["resume"]).ok();
    // A child that another test starts at this moment has a copy of the handle, which would keep the lock.
    lock.unlock().unwrap();
    let _ = world.run(&["overdue"]).ok();
}

#[test]
fn a_lock_that_was_just_taken_is_not_a_failure_whatever_the_clock_was() {
    let world = world();
    let _lock = hold(&world, std::process::id());
    // The tests take less than an hour.
    world.set("[rebuild]\ntimeout = '1h'");
    let _ = world.run(&["overdue"]).ok();
}

#[test]
fn an_activation_that_takes_too_long_is_a_failure_and_named() {
    let world = world();
    let unit = "nixos-rebuild-switch-to-configuration.service";
    world.tool(
        "systemctl",
        &format!(
            "case \"$*\" in\n\
             *--state=active*) echo '{unit} loaded active running A switch';;\n\
             *ExecStart*) printf 'Id={unit}\\nMainPID=1\\nExecStart=\\n';;\n\
             list-jobs*) echo '7 slow.service start running';;\n\
             esac"
        ),
    );
    world.set("[rebuild]\nactivation_timeout = '1s'");
    let output = world.run(&["overdue"]).code(12);
    let text: Vec<&str> = output.stderr.split_whitespace().collect();
    let text = text.join(" ");
    for part in [
        "[rebuild::activation_hangs]",
        "`nixos-rebuild-switch-to-configuration.service` has been activating a system since 20",
        "for more than 1s; it waits for `start of slow.service`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    world.set("[rebuild]\nactivation_timeout = '3650days'");
    let _ = world.run(&["overdue"]).ok();
}
