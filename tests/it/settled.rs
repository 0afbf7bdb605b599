//! Runs of an unchanged branch over an unchanged target: they verify nothing again, and say the same as those that do.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::common::git;
use crate::common::repo::Repo;
use crate::common::world::World;

/// The line of a run that verifies the objects of the store.
const VERIFIES: &str = "verifying what is here";

/// Whether a run verifies the objects of the store; it succeeds.
#[track_caller]
fn verifies(world: &World, args: &[&str]) -> bool {
    let run = world.sync(&[&["-v"], args].concat()).ok();
    run.err().contains(VERIFIES)
}

/// Runs until the metadata of the files tells that nothing has changed. That takes as many runs as there are in the tick
/// of the clock in which the files were written, and two more.
#[track_caller]
fn settle(world: &World) {
    assert!((0..100).any(|_| !verifies(world, &[])), "it never settles");
}

fn settled(world: World) -> World {
    let world = world.synced();
    settle(&world);
    world
}

/// A repository of which a reader should know something, and of which one file is left out.
fn remarkable() -> Repo {
    let repo = Repo::small();
    repo.gitlink("external", &"1".repeat(40))
        .symlink("outside", "/etc/os-release")
        .write("notes/left out.md", "x\n")
        .commit("remarkable");
    repo
}

/// What does not differ between two runs of the same result.
fn lasting(mut document: Value) -> Value {
    let object = document.as_object_mut().unwrap();
    for varies in ["duration_ms", "traffic"] {
        let _ = object.remove(varies);
    }
    // A check that lists a tree does not read the symlinks of it.
    if object["mode"] == "check" {
        let _ = object.remove("known_notices");
    }
    document
}

#[test]
fn the_report_is_that_of_a_run_that_verifies_everything() {
    let world = settled(World::local(&remarkable()).with("exclude = ['/notes/']"));
    let state = world.sync_state();
    for args in [
        &["sync"][..],
        &["sync", "--dry-run"],
        &["sync", "--check-only"],
    ] {
        let document = world.json(args);
        assert_eq!(document["excluded"], 1);
        fs::remove_file(world.state().join("settled")).unwrap();
        assert_eq!(lasting(document), lasting(world.json(args)), "{args:?}");
        let _ = world.sync(&[]).ok();
        assert!(!verifies(&world, &[]));
    }
    assert_eq!(world.sync_state(), state);
}

#[test]
fn a_run_without_changes_reads_no_tree_and_writes_nothing() {
    let world = settled(World::served(&Repo::small()));
    let index = fs::metadata(world.state().join("index")).unwrap();
    let record = fs::metadata(world.state().join("settled")).unwrap();
    let before = world.forge().requests().len();
    let _ = world.sync(&[]).ok();
    assert_eq!(world.forge().requests().len() - before, 1);
    let modified = |name: &str| fs::metadata(world.state().join(name)).unwrap().modified();
    assert_eq!(modified("index").unwrap(), index.modified().unwrap());
    assert_eq!(modified("settled").unwrap(), record.modified().unwrap());
}

#[test]
fn a_check_after_an_update_verifies_nothing_again() {
    const CHECKS: [&str; 2] = ["--check-only", "--dry-run"];
    let world = World::local(&remarkable()).synced();
    let is_verified = || CHECKS.map(|check| verifies(&world, &[check]));
    assert_eq!(is_verified(), [false; 2], "after the first sync");
    let reports = || CHECKS.map(|check| lasting(world.json(&["sync", check])));
    let short = reports();
    fs::remove_file(world.state().join("settled")).unwrap();
    assert_eq!(short, reports());

    settle(&world);
    world.repo.write("flake.nix", "two\n").commit("two");
    let _ = world.sync(&[]).ok();
    assert_eq!(is_verified(), [false; 2], "after an update");
    fs::write(world.target().join("flake.nix"), "owt\n").unwrap();
    assert_eq!(is_verified(), [true; 2]);
}

#[test]
fn an_update_does_not_verify_what_the_commit_before_had_too() {
    let world = World::small().synced();
    fs::remove_file(world.state().join("settled")).unwrap();
    world.repo.write("flake.nix", "two\n").commit("two");
    let _ = world.sync(&[]).ok();
    assert!(verifies(&world, &["--check-only"]));
}

#[test]
fn the_day_of_a_record_goes_on_in_an_update() {
    let world = settled(World::small());
    let verified_at = set_age(&world, 23);
    world.repo.write("flake.nix", "two\n").commit("two");
    let _ = world.sync(&[]).ok();
    let record = fs::read_to_string(world.state().join("settled")).unwrap();
    assert!(record.contains(&verified_at), "{record}");
    assert!(!verifies(&world, &["--check-only"]));
    let _ = set_age(&world, 25);
    assert!(verifies(&world, &["--check-only"]));
}

/// What happens to a target, and its name.
type Change = (&'static str, fn(&Path));

#[test]
fn whatever_happens_to_a_file_is_found() {
    let changes: &[Change] = &[
        ("content of the same size", |root| {
            let path = root.join("flake.nix");
            let before = fs::metadata(&path).unwrap();
            let text = fs::read(&path).unwrap();
            fs::write(&path, text.to_ascii_uppercase()).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
        }),
        ("deleted", |root| {
            fs::remove_file(root.join("flake.nix")).unwrap();
        }),
        ("executable", |root| {
            let path = root.join("flake.nix");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("a symlink to a copy", |root| {
            fs::rename(root.join("flake.nix"), root.join("copy.nix")).unwrap();
            symlink("copy.nix", root.join("flake.nix")).unwrap();
        }),
        ("a directory", |root| {
            fs::remove_file(root.join("flake.nix")).unwrap();
            fs::create_dir(root.join("flake.nix")).unwrap();
        }),
    ];
    for (name, change) in changes {
        let world = settled(World::small().with("local_edits = 'replace'"));
        change(&world.target());
        assert!(verifies(&world, &[]), "{name}");
        let _ = fs::remove_file(world.target().join("copy.nix"));
        world.assert_at("main");
        settle(&world);
    }
}

#[test]
fn an_open_mode_is_closed() {
    let world = settled(World::small());
    let path = world.target().join("flake.nix");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(verifies(&world, &[]));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn every_other_question_is_answered_by_a_run_that_verifies_everything() {
    let world = settled(World::small());
    for option in ["--force-full", "--skip-validation", "--allow-other-repo"] {
        let run = world.sync(&["-v", option]).ok();
        let steps = run.err();
        let verified = steps.contains(VERIFIES) || steps.contains("downloading and verifying");
        assert!(verified, "{option}: {steps}");
        settle(&world);
    }
    for settings in [
        "local_edits = 'keep'",
        "exclude = ['/docs/']",
        "protect = ['flake.nix']",
        "executable = ['*.sh']",
        "[trust]\nsymlinks = 'within'",
    ] {
        world.set(settings);
        assert!(verifies(&world, &[]), "{settings}");
        settle(&world);
    }
}

#[test]
fn a_changed_limit_applies_to_the_commit_that_is_here() {
    let world = settled(World::small());
    world.set("[limits]\nfiles = 1");
    let _ = world.sync(&[]).code(7);
}

/// Seals the record anew, with other text.
fn rewrite(path: &Path, change: &dyn Fn(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let (line, body) = text.split_once('\n').unwrap();
    let (what, _) = line.rsplit_once(' ').unwrap();
    let body = change(body);
    let sum = Sha256::digest(format!("{what}\n{body}"));
    let sum = data_encoding::HEXLOWER.encode(&sum);
    fs::write(path, format!("{what} {sum}\n{body}")).unwrap();
}

/// Makes the record one of a verification so many hours ago, and returns the time of that.
fn set_age(world: &World, hours: i64) -> String {
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
    rewrite(&world.state().join("settled"), &|body| {
        let mut record: Value = serde_json::from_str(body).unwrap();
        record["verified_at"] = time.to_string().into();
        record.to_string()
    });
    time.to_string()
}

#[test]
fn a_record_applies_for_a_day_and_not_before_it_was_written() {
    let world = settled(World::small());
    let is_verified = |age| {
        let _ = set_age(&world, age);
        verifies(&world, &["--dry-run"])
    };
    assert!(!is_verified(23));
    assert!(is_verified(25));
    assert!(is_verified(-1));
    // The run that verified wrote it anew.
    assert!(verifies(&world, &[]) && !verifies(&world, &[]));
}

#[test]
fn the_record_of_another_index_or_commit_does_not_apply() {
    let world = settled(World::small());
    let record = fs::read(world.state().join("settled")).unwrap();
    world.repo.write("flake.nix", "two\n").commit("two");
    let _ = world.sync(&[]).ok();
    world.assert_at("main");
    fs::write(world.state().join("settled"), &record).unwrap();
    assert!(verifies(&world, &[]));
    // Of the same commit again, by way of a rollback and its index.
    let _ = world.run(&["rollback"]).ok();
    fs::write(world.state().join("settled"), record).unwrap();
    assert!(verifies(&world, &[]));
    assert_eq!(
        world.sync_state()["last_sync"]["commit_sha"],
        world.repo.id("main~1")
    );
}

#[test]
fn without_validation_nothing_is_learned_about_a_file() {
    let world = settled(World::small());
    let path = world.target().join("flake.nix");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.to_ascii_uppercase()).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(before).unwrap();
    // Also where the index is written for another reason.
    world.repo.write("docs/new.md", "new\n").commit("new");
    let _ = world.sync(&["--skip-validation"]).ok();
    let status = world.json(&["status"]);
    assert_eq!(status["local_edits"][0]["path"], "flake.nix", "{status:#}");
}

#[test]
fn a_file_that_was_only_touched_is_hashed_once() {
    let world = settled(World::small());
    let path = world.target().join("flake.nix");
    let mut touch = Command::new("touch");
    git::succeeds(touch.arg(&path));
    settle(&world);
}
