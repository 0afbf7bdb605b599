//! What a sync tells about a commit: once, when it is new.

use serde_json::{Value, json};

use crate::common::env::Sandbox;
use crate::common::repo::Repo;

const LINK: &str = "the symlink `link` leads out of the tree, to `/nowhere`";
const MODULE: &str = "`external` is a submodule and is left out";

fn world() -> (Sandbox, Repo) {
    let (sandbox, repo) = (Sandbox::new(), Repo::small());
    let id = "1234567890".repeat(4);
    repo.symlink("link", "/nowhere")
        .gitlink("external", &id)
        .commit("more");
    sandbox.follow(&repo, "");
    (sandbox, repo)
}

fn notices(sandbox: &Sandbox, args: &[&str]) -> (Value, Value) {
    let document = sandbox.run(&[args, &["--json"]].concat()).ok().json();
    let told = |key: &str| document[key].clone();
    (told("notices"), told("known_notices"))
}

#[test]
fn what_leaves_the_tree_or_is_left_out_is_told_when_it_is_new() {
    let (sandbox, repo) = world();
    let all = json!([LINK, MODULE]);
    assert_eq!(
        notices(&sandbox, &["sync", "--dry-run"]),
        (all.clone(), json!([]))
    );
    let first = sandbox.run(&["sync"]).ok().err();
    assert!(first.contains(LINK) && first.contains(MODULE), "{first}");

    let again = sandbox.run(&["sync"]).ok();
    assert_eq!(again.err(), "", "nothing of it is new");
    let verbose = sandbox.run(&["sync", "--verbose"]).ok().err();
    assert!(
        verbose.contains(LINK) && verbose.contains(MODULE),
        "{verbose}"
    );
    assert_eq!(notices(&sandbox, &["sync"]), (json!([]), all.clone()));
    for command in [&["status"][..], &["validate", "--verbose"]] {
        let output = sandbox.run(command).out();
        assert!(output.contains(LINK) && output.contains(MODULE), "{output}");
    }

    // A commit that moves the submodule on and adds a link: only that is new.
    repo.gitlink("external", &"abcdef0123".repeat(4))
        .symlink("other", "../out")
        .commit("another");
    let new = "the symlink `other` leads out of the tree, to `../out`";
    assert_eq!(notices(&sandbox, &["sync", "--check-only"]).0, json!([]));
    assert_eq!(notices(&sandbox, &["sync"]), (json!([new]), all));

    // It leads elsewhere.
    repo.symlink("link", "/elsewhere").commit("moved");
    let moved = "the symlink `link` leads out of the tree, to `/elsewhere`";
    assert_eq!(notices(&sandbox, &["sync"]).0, json!([moved]));
}

/// A state of a version that did not remember them, and one that is lost: all is told once more.
#[test]
fn what_is_not_known_to_have_been_told_is_told() {
    let (sandbox, _repo) = world();
    let _ = sandbox.run(&["sync"]).ok();
    let file = sandbox.state().join("sync-state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    state.as_object_mut().unwrap().remove("notices").unwrap();
    std::fs::write(&file, state.to_string()).unwrap();
    assert_eq!(notices(&sandbox, &["sync"]).0, json!([LINK, MODULE]));
    assert_eq!(notices(&sandbox, &["sync"]).0, json!([]));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(notices(&sandbox, &["sync"]).0, json!([LINK, MODULE]));
}

#[test]
fn files_that_stand_for_others_are_counted_when_they_are_written() {
    let (sandbox, repo) = (Sandbox::new(), Repo::small());
    let pointer = |size: u32| {
        format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {size}\n",
            "0".repeat(64)
        )
    };
    repo.write("a.png", pointer(1))
        .write("b.png", pointer(2))
        .write("copy.png", pointer(2))
        .write("secret.nix", b"\0GITCRYPT\0\x01\x02\x03")
        .commit("large and secret");
    sandbox.follow(&repo, "");
    let lfs = "3 files that were written are for git LFS: a pointer in place of the content, which is not downloaded";
    let crypt = "1 file that was written is encrypted by git-crypt, and not decrypted";
    let output = sandbox.run(&["sync"]).ok().err();
    assert_eq!(output, format!("warning: {lfs}\nwarning: {crypt}\n"));
    assert_eq!(sandbox.run(&["sync"]).ok().err(), "");

    repo.write("a.png", pointer(3)).commit("next");
    let one = "1 file that was written is for git LFS: a pointer in place of the content, which is not downloaded";
    assert_eq!(notices(&sandbox, &["sync"]).0, json!([one]));
    repo.write("flake.nix", "{ new = true; }\n").commit("plain");
    assert_eq!(notices(&sandbox, &["sync"]).0, json!([]));
}
