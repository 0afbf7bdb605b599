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
    insta::assert_snapshot!(line.unwrap(), @"unreached since [date], syncs: 2, the last one: [forge] does not answer like a git host: status 200, <title>Welcome</title>");

    set_grace(&world, "1ns");
    insta::assert_snapshot!(world.run(&["overdue"]).masked(), @r"
    exit: 3
    --- stderr
    hyper_sync::sync::overdue

      x no sync has ended well since [date]; 2 syncs did not reach the repository, the last one at [date] because [forge] does not answer like a git host: status 200, <title>Welcome</title>
      help: run `hyper-sync sync` to see whether it still is so, and correct the cause; `failure_grace` is how long this is not a failure; nothing was written
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
