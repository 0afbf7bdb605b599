//! Modes that no commit has: a sync sets them back, and reports it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::world::World;

fn world() -> World {
    World::small()
        .with("protect = ['modules/base.nix']")
        .synced()
}

fn set_mode(world: &World, path: &str, mode: u32) {
    let path = world.target().join(path);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(world: &World, path: &str) -> u32 {
    let metadata = fs::metadata(world.target().join(path)).unwrap();
    metadata.permissions().mode() & 0o7777
}

#[test]
fn a_run_without_changes_sets_them_back_and_reports_it() {
    let world = world();
    for (before, after) in [
        (0o4644, 0o644),
        (0o2644, 0o644),
        (0o1644, 0o644),
        (0o664, 0o644),
        (0o646, 0o644),
        (0o7666, 0o644),
        (0o620, 0o600),
    ] {
        set_mode(&world, "flake.nix", before);
        let output = world.sync(&["--dry-run"]).ok();
        let expected =
            format!("the mode of `flake.nix` is {before:04o} and would be {after:04o} again");
        assert!(output.stderr.contains(&expected), "{}", output.masked());
        assert_eq!(mode(&world, "flake.nix"), before);

        let output = world.sync(&[]).ok();
        let expected = format!("the mode of `flake.nix` was {before:04o} and is {after:04o} again");
        assert!(output.stderr.contains(&expected), "{}", output.masked());
        assert!(
            output.stdout.contains(" is up to date ("),
            "{}",
            output.masked()
        );
        assert_eq!(mode(&world, "flake.nix"), after);
    }
    set_mode(&world, "scripts/run.sh", 0o6777);
    let report = world.json(&["sync"]);
    let expected = serde_json::json!([{
        "path": "scripts/run.sh", "before": "6777", "after": "0755", "error": null
    }]);
    assert_eq!(report["modes"], expected);
    assert_eq!(report["changed"], false);
    assert_eq!(mode(&world, "scripts/run.sh"), 0o755);
    let report = world.json(&["sync"]);
    assert_eq!(report["modes"], serde_json::json!([]));
}

#[test]
fn an_update_sets_them_back_and_leaves_alone_what_is_edited_or_not_ours() {
    let world = world();
    world.edit("modules/base.nix", "{ mine = true; }\n");
    world.edit("mine", "mine");
    for path in ["flake.nix", "scripts/run.sh", "modules/base.nix", "mine"] {
        set_mode(&world, path, 0o4777);
    }
    set_mode(&world, "flake.nix", 0o4666);
    world
        .repo
        .write("flake.nix", "{ second = true; }\n")
        .commit("second");
    let output = world.sync(&[]).ok();
    // What is written anew has the mode of the commit.
    assert!(!output.stderr.contains("flake.nix"), "{}", output.masked());
    assert_eq!(mode(&world, "flake.nix"), 0o644);
    assert!(
        output
            .stderr
            .contains("the mode of `scripts/run.sh` was 4777"),
        "{}",
        output.masked()
    );
    assert_eq!(mode(&world, "scripts/run.sh"), 0o755);
    for path in ["modules/base.nix", "mine"] {
        assert_eq!(mode(&world, path), 0o4777, "{path}");
    }
}

#[test]
fn validate_names_them_and_repairs_them_without_a_sync() {
    let world = world();
    set_mode(&world, "flake.nix", 0o2664);
    set_mode(&world, "scripts/run.sh", 0o4757);
    let output = world.run(&["validate"]);
    let expected = "`flake.nix` has the mode 2664, which no sync writes";
    assert!(output.stdout.contains(expected), "{}", output.masked());
    let _ = world.run(&["validate", "--fix"]);
    assert_eq!(mode(&world, "flake.nix"), 0o644);
    assert_eq!(mode(&world, "scripts/run.sh"), 0o755);
}
