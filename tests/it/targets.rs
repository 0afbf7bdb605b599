//! One state directory and two targets.

use std::fs;

use crate::common::env::Sandbox;
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;

/// A target that was synced, its repository, and where another one could be.
fn synced() -> (Sandbox, Repo, String) {
    let (sandbox, repo) = (Sandbox::new(), Repo::small());
    sandbox.follow(&repo, "");
    let other = sandbox.root().join("other").display().to_string();
    sandbox.mask(&other, "[other]");
    // A preview claims nothing.
    let _ = sandbox.run(&["sync", "--dry-run", "--target", &other]).ok();
    let _ = sandbox.run(&["sync"]).ok();
    (sandbox, repo, other)
}

#[test]
fn another_target_is_refused_by_every_command_before_anything_is_written() {
    let (sandbox, repo, other) = synced();
    // The lock file has the line of the last holder.
    let index = || ["index", "lock"].map(|name| fs::read(sandbox.state().join(name)).unwrap());
    let before = index();
    for command in [
        &["sync"][..],
        &["sync", "--dry-run"],
        &["--skip-rebuild"],
        &["diff"],
        &["status"],
        &["history"],
        &["rollback"],
        &["restore", "."],
        &["rebuild"],
        &["rebuild", "--if-pending"],
    ] {
        let refused = sandbox.run(&[command, &["--target", &other]].concat());
        assert!(
            refused.stderr.contains("hyper_sync::state::other_target"),
            "{command:?}: {}",
            refused.masked()
        );
        let _ = refused.code(2);
        assert!(!sandbox.root().join("other").exists());
    }
    assert_eq!(index(), before);
    let tree = TreeSnapshot::of_commit(&repo, "main");
    sandbox.target_tree().assert_same(&tree);
    insta::assert_snapshot!(sandbox.run(&["sync", "--target", &other]).masked(), @r#"
    exit: 2
    --- stderr
    hyper_sync::state::other_target

      x the state directory `[state]` is that of the target `[target]`
      help: give each target a state directory of its own with `state_dir` (`--state-dir`); if it is the same target and was moved, remove `[state]/target`; nothing was written
    "#);
}

#[test]
fn a_moved_target_keeps_its_state_once_the_record_is_removed() {
    let (sandbox, repo, other) = synced();
    sandbox.edit("modules/base.nix", "{ mine = true; }\n");
    fs::rename(sandbox.target(), &other).unwrap();
    let _ = sandbox.run(&["sync", "--target", &other]).code(2);

    fs::remove_file(sandbox.state().join("target")).unwrap();
    repo.write("modules/new.nix", "{ }\n").commit("second");
    let arguments = ["sync", "--target", &other, "--local-edits", "keep"];
    let _ = sandbox.run(&arguments).ok();
    let edits = sandbox.run(&["status", "--json", "--target", &other]).ok();
    assert_eq!(
        edits.json()["local_edits"],
        serde_json::json!([{ "path": "modules/base.nix", "edit": "edited" }])
    );
    let _ = sandbox.run(&["sync"]).code(2);
}

#[test]
fn an_empty_or_torn_target_record_is_written_for_the_first_target() {
    let (sandbox, repo, other) = synced();
    let record = sandbox.state().join("target");
    for content in ["", "torn"] {
        fs::write(&record, content).unwrap();
        repo.write("modules/new.nix", format!("{{ }} # {content}\n"))
            .commit("next");
        let _ = sandbox.run(&["sync"]).ok();
        let _ = sandbox.run(&["sync", "--target", &other]).code(2);
    }
}
