//! Which target and which repository a run means that names none, and what it refuses: another repository, and the state
//! of another target.

use std::fs;

use crate::common::env::Sandbox;
use crate::common::forge::Forge;
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;
use crate::common::world::World;
use crate::older_state::older_world;

mod commands;
mod found;

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
            refused.stderr.contains("state::other_target"),
            "{command:?}: {}",
            refused.masked()
        );
        let _ = refused.code(2);
        assert!(!sandbox.root().join("other").exists());
    }
    assert_eq!(index(), before);
    let tree = TreeSnapshot::of_commit(&repo, "main");
    sandbox.target_tree().assert_same(&tree);
    insta::assert_snapshot!(sandbox.run(&["sync", "--target", &other]).masked(), @"
    exit: 2
    --- stderr
    error: the state directory `[state]` is that of the target `[target]`
    help: give each target a state directory of its own with `state_dir` (`--state-dir`); if it is the same target and was moved, remove `[state]/target`; nothing was written
    [state::other_target]
    ");
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

/// A machine whose configuration names no repository, after a first sync that did.
fn remembering() -> (World, String) {
    let world = World::small();
    let repo = world.repo.path().display().to_string();
    world.config("");
    let _ = world.sync(&["--repo", &repo]).ok();
    (world, repo)
}

/// Another project, masked as `[other]`.
fn other_project(world: &World) -> (Repo, String) {
    let other = Repo::new();
    other
        .write("flake.nix", "{ }\n")
        .write("configuration.nix", "{ }\n")
        .write("theirs.nix", "{ }\n")
        .commit("another project");
    let path = other.path().display().to_string();
    world.mask(&path, "[other]");
    (other, path)
}

#[test]
fn a_target_without_a_repository_is_refused_before_anything_is_made() {
    let world = World::small();
    world.config("");
    for command in [
        &["sync"][..],
        &["sync", "--check-only"],
        &["--skip-rebuild"],
        &["diff", "--remote"],
    ] {
        let refused = world.run(command).code(2);
        assert!(
            refused.stderr.contains("settings::no_repository"),
            "{command:?}: {}",
            refused.masked()
        );
    }
    assert!(!world.target().exists());
    assert!(!world.state().join("index").exists());
    insta::assert_snapshot!(world.sync(&[]).masked(), @r#"
    exit: 2
    --- stderr
    error: no repository is set, and `[target]` does not follow one yet
    help: give it once with `--repo`, such as `--repo owner/name`, or write `repo = "owner/name"` into `/etc/hyper-sync/config.toml`; nothing was written
    [settings::no_repository]
    "#);
    for command in ["status", "history"] {
        let _ = world.run(&[command]).ok();
    }
}

#[test]
fn a_run_without_a_repository_follows_the_one_that_the_target_has() {
    let (world, repo) = remembering();
    world.repo.write("new.nix", "{ }\n").commit("second");
    let _ = world.sync(&[]).ok();
    world.assert_at("main");
    let shown = world.run(&["config", "show"]).ok();
    let line = shown
        .stdout
        .lines()
        .find(|line| line.starts_with("repo = "));
    assert_eq!(
        line.unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        format!("repo = \"{repo}\" # remembered: what the target follows")
    );
}

#[test]
fn another_repository_is_refused_until_it_is_allowed_and_is_followed_from_then_on() {
    let (world, repo) = remembering();
    let (other, path) = other_project(&world);
    let before = world.target_tree();
    for command in [
        &["sync"][..],
        &["sync", "--check-only"],
        &["sync", "--dry-run"],
        &["--skip-rebuild"],
    ] {
        let refused = world.run(&[command, &["--repo", &path]].concat()).code(8);
        assert!(
            refused.stderr.contains("sync::other_repo"),
            "{command:?}: {}",
            refused.masked()
        );
    }
    before.assert_same(&world.target_tree());
    insta::assert_snapshot!(world.sync(&["--repo", &path]).masked(), @"
    exit: 8
    --- stderr
    error: `[target]` follows [repo], not [other]
    help: remove `repo` (`--repo`) to stay with [repo]; `--allow-other-repo` replaces its files by those of the other repository, which is followed from then on; nothing was written
    [sync::other_repo]
    ");

    let _ = world.sync(&["--repo", &path, "--allow-other-repo"]).ok();
    let tree = TreeSnapshot::of_commit(&other, "main");
    world.target_tree().assert_same(&tree);
    let _ = world.sync(&[]).ok();
    world.target_tree().assert_same(&tree);
    let _ = world.sync(&["--repo", &repo]).code(8);

    // A rollback goes back to the files of the first one, and the second one is still followed.
    let back = world.run(&["rollback"]).ok();
    assert!(
        back.out().contains("  a commit of [repo], 1 commit\n"),
        "{}",
        back.masked()
    );
    world.assert_at("main");
    let _ = world.sync(&["--resume"]).ok();
    world.target_tree().assert_same(&tree);
}

#[test]
fn one_repository_may_be_reached_in_other_ways() {
    let repo = Repo::small();
    let world = World::at(&repo, Some(Forge::serve(&repo)), "");
    let forge = world.forge();
    let api = ["--repo", &forge.owner_name(), "--api-url", &forge.api_url()].map(str::to_owned);
    let by_api = |more: &[&str]| {
        let api: Vec<&str> = api.iter().map(String::as_str).collect();
        world.sync(&[&api[..], more].concat())
    };
    let _ = by_api(&[]).ok();
    let _ = world.sync(&["--repo", &forge.git_url()]).ok();
    let _ = by_api(&["--transport", "api"]).ok();
    // The host is remembered with the name.
    let _ = world.sync(&[]).ok();
    let requests = forge.count();
    let _ = world.sync(&["--repo", &forge.owner_name()]).code(8);
    let other_api = "https://git.example.org/api/v3";
    let _ = world.sync(&["--api-url", other_api]).code(8);
    assert_eq!(forge.count(), requests);
}

#[test]
fn a_repository_that_has_moved_may_be_named_by_its_new_name() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.former_names = vec!["acme/before".to_owned()]);
    let now = forge.git_url();
    let before = now.replace("acme/machines", "acme/before");
    let world = World::at(&repo, Some(forge), "");
    let _ = world.sync(&["--repo", &before]).ok();
    let _ = world.sync(&["--repo", &now]).ok();
    let _ = world.sync(&["--repo", &before]).code(8);
}

#[test]
fn the_repository_that_an_older_version_has_synced_is_known() {
    let world = older_world("edited");
    let (_other, path) = other_project(&world);
    let repo = world.repo.path().display().to_string();
    world.config("local_edits = 'replace'\n");
    world
        .repo
        .update_ref("refs/heads/main", &world.repo.id("c3"));
    let _ = world.sync(&["--repo", &path]).code(8);
    let _ = world.sync(&[]).ok();
    world.assert_at("c3");
    let record = fs::read_to_string(world.state().join("repository")).unwrap();
    assert!(record.contains(&repo), "{record}");
}

#[test]
fn a_damaged_record_of_the_repository_is_made_again_from_the_index() {
    let (world, repo) = remembering();
    let (_other, path) = other_project(&world);
    let record = world.state().join("repository");
    for content in ["", "torn"] {
        fs::write(&record, content).unwrap();
        let _ = world.sync(&["--repo", &path]).code(8);
        let _ = world.sync(&[]).ok();
        assert!(fs::read_to_string(&record).unwrap().contains(&repo));
    }
    let newer = "hyper-sync repository 2 0000\n{}";
    fs::write(&record, newer).unwrap();
    let _ = world.sync(&[]).ok();
}
