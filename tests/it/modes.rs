//! Modes that no commit has: a sync sets them back, and says so.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::env::Sandbox;
use crate::common::repo::Repo;

struct World {
    sandbox: Sandbox,
    repo: Repo,
}

impl World {
    fn new() -> Self {
        let (sandbox, repo) = (Sandbox::new(), Repo::small());
        sandbox.follow(&repo, "protect = ['modules/base.nix']");
        let _ = sandbox.run(&["sync"]).ok();
        Self { sandbox, repo }
    }

    fn set(&self, path: &str, mode: u32) {
        let path = self.sandbox.target().join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(&self, path: &str) -> u32 {
        let path = self.sandbox.target().join(path);
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }
}

#[test]
fn a_run_without_changes_sets_them_back_and_says_so() {
    let world = World::new();
    for (mode, after) in [
        (0o4644, 0o644),
        (0o2644, 0o644),
        (0o1644, 0o644),
        (0o664, 0o644),
        (0o646, 0o644),
        (0o7666, 0o644),
        (0o620, 0o600),
    ] {
        world.set("flake.nix", mode);
        let told = world.sandbox.run(&["sync", "--dry-run"]).ok();
        let expected =
            format!("the mode of `flake.nix` is {mode:04o} and would be {after:04o} again");
        assert!(told.stderr.contains(&expected), "{}", told.masked());
        assert_eq!(world.mode("flake.nix"), mode);

        let told = world.sandbox.run(&["sync"]).ok();
        let expected = format!("the mode of `flake.nix` was {mode:04o} and is {after:04o} again");
        assert!(told.stderr.contains(&expected), "{}", told.masked());
        assert!(told.stdout.contains("nothing to do"), "{}", told.masked());
        assert_eq!(world.mode("flake.nix"), after);
    }
    world.set("scripts/run.sh", 0o6777);
    let told = world.sandbox.run(&["sync", "--json"]).ok().json();
    let expected = serde_json::json!([{
        "path": "scripts/run.sh", "before": "6777", "after": "0755", "error": null
    }]);
    assert_eq!(told["modes"], expected);
    assert_eq!(told["changed"], false);
    assert_eq!(world.mode("scripts/run.sh"), 0o755);
    let told = world.sandbox.run(&["sync", "--json"]).ok().json();
    assert_eq!(told["modes"], serde_json::json!([]));
}

#[test]
fn an_update_sets_them_back_and_leaves_alone_what_is_edited_or_not_ours() {
    let world = World::new();
    world.sandbox.edit("modules/base.nix", "{ mine = true; }\n");
    world.sandbox.edit("mine", "mine");
    for path in ["flake.nix", "scripts/run.sh", "modules/base.nix", "mine"] {
        world.set(path, 0o4777);
    }
    world.set("flake.nix", 0o4666);
    world
        .repo
        .write("flake.nix", "{ second = true; }\n")
        .commit("second");
    let told = world.sandbox.run(&["sync"]).ok();
    // What is written anew has the mode of the commit.
    assert!(!told.stderr.contains("flake.nix"), "{}", told.masked());
    assert_eq!(world.mode("flake.nix"), 0o644);
    assert!(
        told.stderr
            .contains("the mode of `scripts/run.sh` was 4777"),
        "{}",
        told.masked()
    );
    assert_eq!(world.mode("scripts/run.sh"), 0o755);
    for path in ["modules/base.nix", "mine"] {
        assert_eq!(world.mode(path), 0o4777, "{path}");
    }
}

#[test]
fn validate_names_them_and_repairs_them_without_a_sync() {
    let world = World::new();
    world.set("flake.nix", 0o2664);
    world.set("scripts/run.sh", 0o4757);
    let told = world.sandbox.run(&["validate"]);
    let expected = "`flake.nix` has the mode 2664, which no sync writes";
    assert!(told.stdout.contains(expected), "{}", told.masked());
    let _ = world.sandbox.run(&["validate", "--fix"]);
    assert_eq!(world.mode("flake.nix"), 0o644);
    assert_eq!(world.mode("scripts/run.sh"), 0o755);
}
