//! State directories that commit 052a4a5 wrote (`tests/data/state-052a4a5`, made by its binary) are read, recovered and
//! continued by this version.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::common::env::Output;
use crate::common::git;
use crate::common::repo::Repo;
use crate::common::world::World;

const DATA: &str = "tests/data/state-052a4a5";
/// Where the target and the state directory were when they were written.
const ROOT: &str = "/tmp/hyper-sync-052a4a5";
const EDITED: &str = "modules/base.nix";

/// A machine as that version left it.
pub(crate) fn older_world(name: &str) -> World {
    let repo = Repo::new();
    let stream = fs::read(format!("{DATA}/repo.stream")).unwrap();
    git::feed(repo.git().args(["fast-import", "--quiet"]), &stream);
    repo.update_ref("refs/heads/main", &repo.id("c3"));
    let world = World::local(&repo).with("local_edits = 'replace'");
    let places = [
        (format!("{ROOT}/repo"), repo.path().display().to_string()),
        (ROOT.to_owned(), world.root().display().to_string()),
    ];
    let data = Path::new(DATA).join(name);
    for (from, to) in [("target", world.target()), ("state", world.state())] {
        copy(&data.join(from), &to, &places);
    }
    for empty in fs::read_to_string(data.join("directories"))
        .unwrap()
        .lines()
    {
        fs::create_dir_all(world.root().join(empty)).unwrap();
    }
    // These are not in the data, or elsewhere: hyper-sync can sync its own repository, without a notice about a link
    // that leaves the tree, and a commit with the name of the staging directory is refused.
    let system = format!("{ROOT}/system");
    std::os::unix::fs::symlink(system, world.state().join("result")).unwrap();
    let staging = world.target().join(".hyper-sync.tmp");
    if data.join("staging").exists() {
        copy(&data.join("staging"), &staging, &places);
        // git keeps no mode of a directory.
        fs::set_permissions(staging, fs::Permissions::from_mode(0o700)).unwrap();
    }
    world
}

/// Runs a sync that finds the branch at a commit.
fn sync_to(world: &World, revision: &str) -> Output {
    let id = world.repo.id(revision);
    world.repo.update_ref("refs/heads/main", &id);
    world.sync(&[]).ok()
}

/// Puts the last replaced edit back, and reads it.
fn restored(world: &World) -> String {
    let _ = world.run(&["restore", EDITED]).ok();
    world.read(EDITED)
}

/// Copies a directory, with this machine's places in its files.
fn copy(from: &Path, to: &Path, places: &[(String, String)]) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        let kind = fs::symlink_metadata(&from).unwrap().file_type();
        if kind.is_dir() {
            copy(&from, &to, places);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from).unwrap(), &to).unwrap();
        } else {
            // With the modes it has.
            fs::copy(&from, &to).unwrap();
            if let Ok(text) = fs::read_to_string(&from)
                && text.contains(ROOT)
            {
                fs::write(&to, moved(text, places)).unwrap();
            }
        }
    }
}

/// A text with other places, sealed anew if it was sealed.
fn moved(mut text: String, places: &[(String, String)]) -> String {
    for (from, to) in places {
        text = text.replace(from, to);
    }
    let Some((line, body)) = text
        .split_once('\n')
        .filter(|_| text.starts_with("hyper-sync "))
    else {
        return text;
    };
    let (what, _) = line.rsplit_once(' ').unwrap();
    let sum = Sha256::digest(format!("{what}\n{body}"));
    format!("{what} {}\n{body}", data_encoding::HEXLOWER.encode(&sum))
}

#[test]
fn a_synced_target_is_known_with_its_replaced_edit_and_the_pending_rebuild() {
    let world = older_world("edited");
    let status = world.json(&["status"]);
    let [first, second] = ["c1", "c2"].map(|revision| world.repo.id(revision));
    assert_eq!(status["commit"], second);
    assert_eq!(status["last_sync"]["last_sync"]["commit_sha"], second);
    assert_eq!(status["pending_rebuild"]["commit"], second);
    assert_eq!(status["built_commit"], first);
    assert_eq!(status["last_rebuild"]["status"], "built");
    let before = world.target_tree();
    let _ = sync_to(&world, "c2");
    before.assert_same(&world.target_tree());
    let history = world.json(&["history"])["updates"].clone();
    assert_eq!(history.as_array().unwrap().len(), 2, "{history}");
    assert_eq!(restored(&world), "{ edited = true; }\n");
    let _ = sync_to(&world, "c3");
    world.assert_at("c3");
    assert_eq!(restored(&world), "{ edited = true; }\n");
}

#[test]
fn an_update_that_was_interrupted_is_finished() {
    let world = older_world("interrupted");
    assert!(world.state().join("tx/active").exists());
    let output = sync_to(&world, "c3");
    assert!(
        output
            .stderr
            .contains("an interrupted update was finished: the target was brought to"),
        "{}",
        output.masked()
    );
    world.assert_at("c3");
    assert_eq!(restored(&world), "{ edited = \"again\"; }\n");
    let _ = world.run(&["rollback"]).ok();
}

#[test]
fn a_commit_that_was_rolled_back_from_is_still_held() {
    let world = older_world("held");
    let output = sync_to(&world, "c2");
    assert!(
        output.stderr.contains("rolled back from"),
        "{}",
        output.masked()
    );
    let _ = sync_to(&world, "c3");
    world.assert_at("c3");
    assert!(!world.state().join("hold").exists());
}
