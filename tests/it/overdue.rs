//! Syncs that do not reach the repository: counted, told by `status` and the metrics, a failure of `overdue` at last.

use crate::common::env::Sandbox;
use crate::common::forge::Forge;
use crate::common::forge::fault::{Action, When};
use crate::common::repo::Repo;

/// A machine that has synced once from a forge.
struct World {
    sandbox: Sandbox,
    forge: Forge,
    repo: Repo,
}

impl World {
    fn new() -> Self {
        let repo = Repo::small();
        let world = Self {
            sandbox: Sandbox::new(),
            forge: Forge::serve(&repo),
            repo,
        };
        world.sandbox.mask_forge(&world.forge);
        world.grace("24h");
        let _ = world.sandbox.run(&["sync"]).ok();
        world
    }

    fn grace(&self, grace: &str) {
        let (repo, root) = (self.forge.git_url(), self.sandbox.root().display());
        self.sandbox.config(&format!(
            "repo = '{repo}'\nfailure_grace = '{grace}'\nmetrics_file = '{root}/metrics/m.prom'\n"
        ));
    }

    /// As in a hotel: something answers, and it is not the git host.
    fn login_page(&self) {
        let page = Action::status_with(200, "content-type", "text/html", "<title>Welcome</title>");
        let _ = self.forge.clear_faults().fault(When::any(), page);
    }

    fn unreached_syncs(&self) -> String {
        let metrics = self.sandbox.root().join("metrics/m.prom");
        let text = std::fs::read_to_string(metrics).unwrap();
        let sample = |line: &&str| line.starts_with("hyper_sync_unreached_syncs{");
        let line = text.lines().find(sample).unwrap();
        line.rsplit_once(' ').unwrap().1.to_owned()
    }
}

#[test]
fn a_repository_that_is_not_reached_is_a_failure_after_the_grace_only() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let _ = sandbox.run(&["overdue"]).ok();
    assert_eq!(world.unreached_syncs(), "0");

    world.login_page();
    for count in ["1", "2"] {
        let _ = sandbox.run(&["sync"]).code(3);
        assert_eq!(world.unreached_syncs(), count);
        assert_eq!(sandbox.run(&["overdue"]).code(75).masked(), "exit: 75\n");
    }
    let record = sandbox.run(&["status", "--json"]).ok().json()["unreached"].clone();
    assert_eq!(record["count"], 2);
    assert_eq!(record["rate_limited"], false);
    let status = sandbox.run(&["status"]).ok().masked();
    let told = status.lines().find(|line| line.starts_with("unreached"));
    insta::assert_snapshot!(told.unwrap(), @"unreached since [date], syncs: 2, the last one: [forge] does not answer like a git host: status 200, <title>Welcome</title>");

    world.grace("1ns");
    insta::assert_snapshot!(sandbox.run(&["overdue"]).masked(), @r"
    exit: 3
    --- stderr
    hyper_sync::sync::overdue

      x no sync has ended well since [date]; 2 syncs did not reach the repository, the last one at [date] because [forge] does not answer like a git host: status 200, <title>Welcome</title>
      help: run `hyper-sync sync` to see whether it still is so, and correct the cause; `failure_grace` is how long this is no failure; nothing was written
    ");
    let document = sandbox.run(&["overdue", "--json"]).code(3).json();
    assert_eq!(document["error"]["code"], "hyper_sync::sync::overdue");

    world.forge.clear_faults();
    let _ = sandbox.run(&["sync"]).ok();
    let _ = sandbox.run(&["overdue"]).ok();
    assert_eq!(world.unreached_syncs(), "0");
    let document = sandbox.run(&["status", "--json"]).ok().json();
    assert!(document["unreached"].is_null());
}

/// Another try soon would only lengthen it.
#[test]
fn a_rate_limit_is_waited_for_and_not_tried_again_soon() {
    let world = World::new();
    let limit = Action::status_with(429, "retry-after", "3600", "");
    let _ = world.forge.fault(When::any(), limit);
    let _ = world.sandbox.run(&["sync"]).code(5);
    assert_eq!(world.unreached_syncs(), "1");
    let _ = world.sandbox.run(&["overdue"]).ok();
    world.grace("1ns");
    let _ = world.sandbox.run(&["overdue"]).code(5);
}

/// What the network did not cause is a failure at once, and neither counted nor forgiven.
#[test]
fn other_failures_do_not_count() {
    let world = World::new();
    let _ = world.sandbox.run(&["sync", "--ref", "gone"]).code(2);
    let _ = world.sandbox.run(&["overdue"]).ok();
    world.login_page();
    let _ = world.sandbox.run(&["sync"]).code(3);
    world.forge.clear_faults();
    let _ = world.sandbox.run(&["sync", "--ref", "gone"]).code(2);
    let _ = world.sandbox.run(&["overdue"]).code(75);
    assert_eq!(world.unreached_syncs(), "1");
}

#[test]
fn only_a_sync_that_writes_is_counted_and_the_update_is_one() {
    let world = World::new();
    world.repo.write("a.nix", "{ }\n").commit("next");
    world.login_page();
    for args in [&["sync", "--check-only"][..], &["diff", "--remote"]] {
        let _ = world.sandbox.run(args).code(3);
        let _ = world.sandbox.run(&["overdue"]).ok();
    }
    let _ = world.sandbox.run(&["--skip-rebuild"]).code(3);
    let _ = world.sandbox.run(&["overdue"]).code(75);
    world.forge.clear_faults();
    let _ = world.sandbox.run(&["--skip-rebuild"]).ok();
    let _ = world.sandbox.run(&["overdue"]).ok();
}

#[test]
fn before_the_first_run_nothing_is_overdue() {
    let sandbox = Sandbox::new();
    let _ = sandbox.run(&["overdue"]).ok();
    assert!(!sandbox.state().exists(), "it writes nothing");
}
