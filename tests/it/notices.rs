//! Notices of a sync about a commit: printed once, when they are new.

use serde_json::{Value, json};

use crate::common::world::World;

const LINK: &str = "the symlink `link` leads out of the tree, to `/nowhere`";
const MODULE: &str = "`external` is a submodule and is left out";

fn world() -> World {
    let world = World::small();
    let id = "1234567890".repeat(4);
    world
        .repo
        .symlink("link", "/nowhere")
        .gitlink("external", &id)
        .commit("more");
    world
}

/// The notices that are new, and those that were printed before.
fn notices(world: &World, args: &[&str]) -> (Value, Value) {
    let document = world.json(args);
    (
        document["notices"].clone(),
        document["known_notices"].clone(),
    )
}

#[test]
fn links_out_of_the_tree_and_submodules_are_reported_when_they_are_new() {
    let world = world();
    let all = json!([LINK, MODULE]);
    assert_eq!(
        notices(&world, &["sync", "--dry-run"]),
        (all.clone(), json!([]))
    );
    let first = world.sync(&[]).ok().err();
    assert!(first.contains(LINK) && first.contains(MODULE), "{first}");

    let again = world.sync(&[]).ok();
    assert_eq!(again.err(), "", "nothing of it is new");
    let verbose = world.sync(&["--verbose"]).ok().err();
    assert!(
        verbose.contains(LINK) && verbose.contains(MODULE),
        "{verbose}"
    );
    assert_eq!(notices(&world, &["sync"]), (json!([]), all.clone()));
    for command in [&["status"][..], &["validate", "--verbose"]] {
        let output = world.run(command).out();
        assert!(output.contains(LINK) && output.contains(MODULE), "{output}");
    }

    // A commit that moves the submodule on and adds a link: only that is new.
    world
        .repo
        .gitlink("external", &"abcdef0123".repeat(4))
        .symlink("other", "../out")
        .commit("another");
    let new = "the symlink `other` leads out of the tree, to `../out`";
    assert_eq!(notices(&world, &["sync", "--check-only"]).0, json!([]));
    assert_eq!(notices(&world, &["sync"]), (json!([new]), all));

    // It leads elsewhere.
    world.repo.symlink("link", "/elsewhere").commit("moved");
    let moved = "the symlink `link` leads out of the tree, to `/elsewhere`";
    assert_eq!(notices(&world, &["sync"]).0, json!([moved]));
}

/// A state of a version that did not remember them, and one that is lost: all of them are printed once more.
#[test]
fn notices_are_reported_again_when_the_record_of_them_is_lost() {
    let world = world();
    let _ = world.sync(&[]).ok();
    let file = world.state().join("sync-state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    state.as_object_mut().unwrap().remove("notices").unwrap();
    std::fs::write(&file, state.to_string()).unwrap();
    assert_eq!(notices(&world, &["sync"]).0, json!([LINK, MODULE]));
    assert_eq!(notices(&world, &["sync"]).0, json!([]));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(notices(&world, &["sync"]).0, json!([LINK, MODULE]));
}

#[test]
fn lfs_pointers_and_encrypted_files_are_counted_when_they_are_written() {
    let world = World::small();
    let pointer = |size: u32| {
        format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {size}\n",
            "0".repeat(64)
        )
    };
    world
        .repo
        .write("a.png", pointer(1))
        .write("b.png", pointer(2))
        .write("copy.png", pointer(2))
        .write("secret.nix", b"\0GITCRYPT\0\x01\x02\x03")
        .commit("large and secret");
    let lfs = "3 files that were written are for git LFS: a pointer in place of the content, which is not downloaded";
    let crypt = "1 file that was written is encrypted by git-crypt, and not decrypted";
    let output = world.sync(&[]).ok().err();
    assert_eq!(output, format!("warning: {lfs}\nwarning: {crypt}\n"));
    assert_eq!(world.sync(&[]).ok().err(), "");

    world.repo.write("a.png", pointer(3)).commit("next");
    let one = "1 file that was written is for git LFS: a pointer in place of the content, which is not downloaded";
    assert_eq!(notices(&world, &["sync"]).0, json!([one]));
    world
        .repo
        .write("flake.nix", "{ new = true; }\n")
        .commit("plain");
    assert_eq!(notices(&world, &["sync"]).0, json!([]));
}
