//! `hyper-sync diff`: what it prints is a patch, whatever the files hold, and says what a sync would do.

use std::os::unix::fs::symlink;

use crate::common::git;
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;
use crate::common::world::World;

/// A target at a commit with files of every kind.
fn world() -> World {
    let repo = Repo::small();
    repo.write("crlf.txt", "one\r\ntwo\r\nthree\r\n")
        .write("cr.txt", "one\rtwo\rthree")
        .write("escape.txt", "plain\n")
        .write("with space.nix", "a\nb\nc\n")
        .write("say \"hi\".nix", "a\n")
        .write("ünï.nix", "ü\n")
        .write("-rf", "a\n")
        .write("empty", "")
        .write("filled", "")
        .write("long", numbers(1))
        .write("becomes-link", "a\n")
        .write("mode", "a\n")
        .symlink("link", "flake.nix")
        .symlink("becomes-file", "flake.nix")
        .commit("kinds");
    World::local(&repo).synced()
}

/// What real git makes of a commit with a patch.
fn patched(world: &World, revision: &str, patch: &str) -> TreeSnapshot {
    let tree = tempfile::tempdir().unwrap();
    let tree = tree.path();
    let checkout = ["read-tree", "-u", "--reset", revision];
    let index = tree.with_extension("index");
    let git = |args: &[&str]| {
        let mut git = world.repo.git();
        git.arg("--work-tree").arg(tree).current_dir(tree);
        git.env("GIT_INDEX_FILE", &index).args(args);
        git
    };
    git::succeeds(&mut git(&checkout));
    git::feed(
        &mut git(&["apply", "--whitespace=nowarn"]),
        patch.as_bytes(),
    );
    std::fs::remove_file(&index).unwrap();
    TreeSnapshot::of(tree).git_modes()
}

/// Lines with every number below 99, rounded down.
fn numbers(step: usize) -> String {
    let numbers: Vec<String> = (0..99).map(|n| (n / step * step).to_string()).collect();
    numbers.join("\n") + "\n"
}

#[test]
fn git_apply_turns_the_commit_into_the_target() {
    let world = world();
    let target = world.target();
    world
        .edit("crlf.txt", "one\r\ntwo\nthree\r\nfour\r\n")
        .edit("cr.txt", "one\rTWO\rthree")
        .edit("escape.txt", "esc \u{1b}[31m\u{202e}\u{7f}\n")
        .edit("with space.nix", "a\nB\nc")
        .edit("say \"hi\".nix", "b\n")
        .edit("ünï.nix", "ö\n")
        .edit("-rf", "b\n")
        .edit("filled", "now\n")
        .edit("long", numbers(9));
    for (name, to) in [("becomes-link", "flake.nix"), ("link", "other")] {
        std::fs::remove_file(target.join(name)).unwrap();
        symlink(to, target.join(name)).unwrap();
    }
    std::fs::remove_file(target.join("becomes-file")).unwrap();
    world.edit("becomes-file", "a\n");
    std::fs::remove_file(target.join("empty")).unwrap();
    std::fs::remove_file(target.join("modules/base.nix")).unwrap();
    std::fs::remove_dir(target.join("modules")).unwrap();
    git::succeeds(
        std::process::Command::new("chmod")
            .arg("+x")
            .arg(target.join("mode")),
    );

    let diff = world.run(&["diff"]).ok();
    let here = world.target_tree().git_modes();
    patched(&world, "main", &diff.stdout).assert_same(&here);
    let entries = world.json(&["diff"])["files"].clone();
    let whole: String = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["diff"].as_str().unwrap())
        .collect();
    assert_eq!(whole, diff.stdout);
}

#[test]
fn git_apply_turns_the_target_into_what_a_sync_would_write() {
    let world = world();
    world
        .repo
        .write("crlf.txt", "one\ntwo\r\n")
        .write("new/empty", "")
        .write_exec("new/with space", "a\n")
        .symlink("becomes-link", "mode")
        .write("becomes-file", "b\n")
        .remove("filled")
        .remove("link")
        .remove("modules")
        .write("modules", "a file now\n")
        .commit("second");
    let diff = world.run(&["diff", "--remote"]).ok();
    patched(&world, "main~1", &diff.stdout)
        .assert_same(&TreeSnapshot::of_commit(&world.repo, "main"));
}

#[test]
fn a_conflict_of_the_next_sync_is_shown_and_warned_of() {
    let world = world();
    world.edit("mode", "mine\n").edit("long", "mine\n");
    world
        .repo
        .write("mode", "theirs\n")
        .write("flake.nix", "{ second = true; }\n")
        .commit("second");
    let before = world.target_tree();
    let diff = world.run(&["diff", "--remote"]).ok();
    insta::assert_snapshot!(diff.masked(), @r#"
    exit: 0
    --- stdout
    diff --git a/flake.nix b/flake.nix
    --- a/flake.nix
    +++ b/flake.nix
    @@ -1 +1 @@
    -{ outputs = _: { }; }
    +{ second = true; }
    diff --git a/mode b/mode
    --- a/mode
    +++ b/mode
    @@ -1 +1 @@
    -mine
    +theirs
    --- stderr
    warning: a sync would stop: `mode`: it was edited here, and the commit changes it
    "#);
    world.target_tree().assert_same(&before);
    let _ = world.sync(&[]).code(8);
}

#[test]
fn a_path_that_is_not_managed_is_named_and_one_outside_is_refused() {
    let world = world();
    world.edit("mode", "mine\n").edit("unmanaged", "mine\n");
    for path in ["unmanaged", "no/such"] {
        let diff = world.run(&["diff", path]).ok();
        assert_eq!(diff.stdout, "");
        let expected = format!("note: `{path}` is not managed: no sync has written it\n");
        assert_eq!(diff.stderr, expected);
    }
    let nothing = world.run(&["diff", "flake.nix"]).ok();
    assert_eq!((nothing.stdout, nothing.stderr), Default::default());
    let absolute = world.target().join("mode").display().to_string();
    for path in ["mode", "./mode", &absolute, "."] {
        let diff = world.run(&["diff", path]).ok();
        assert!(diff.stdout.contains("+mine"), "{path}");
    }
    for command in ["diff", "restore"] {
        let outside = world.run(&[command, "/etc/passwd"]).code(64);
        let expected = "`/etc/passwd` is not in the target";
        assert!(outside.stderr.contains(expected), "{}", outside.masked());
        let _ = world.run(&[command, "../passwd"]).code(64);
    }
    let refused = world
        .run(&["diff", "--json", "/etc/passwd"])
        .code(64)
        .json();
    assert_eq!(refused["error"]["code"], "hyper_sync::sync::outside");
}

#[test]
fn a_path_that_is_excluded_no_longer_is_not_a_difference_before_its_first_sync() {
    let repo = Repo::small();
    repo.write("var/x", "theirs\n").commit("more");
    let world = World::local(&repo).with("exclude = ['/var/']");
    world.edit("var/x", "mine\n");
    let world = world.synced();
    world.set("").edit("modules/base.nix", "mine\n");
    let patch = world.run(&["diff"]).ok();
    assert!(
        patch.stdout.contains("modules/base.nix"),
        "{}",
        patch.masked()
    );
    assert!(!patch.stdout.contains("var/x"), "{}", patch.masked());
}

/// What a sync would refuse is shown all the same, with a warning.
#[test]
fn the_difference_to_the_remote_warns_of_what_a_sync_refuses() {
    let world = world();
    let first = world.repo.id("main");
    world.repo.write("long", numbers(2)).commit("second");
    let warning = |args: &[&str]| {
        let output = world.run(&[&["diff", "--remote"], args].concat()).ok();
        assert!(output.stdout.contains("diff --git"), "{}", output.masked());
        output.stderr
    };
    assert_eq!(warning(&[]), "");
    let _ = world.sync(&[]).ok();
    world.repo.update_ref("refs/heads/main", &first);
    let rewind = warning(&[]);
    assert!(
        rewind.starts_with("warning: a sync would stop: `main` moved from"),
        "{rewind}"
    );

    let other = Repo::small();
    let other = warning(&["--repo", other.path().to_str().unwrap()]);
    assert!(other.contains("warning: a sync would stop: `"), "{other}");
    assert!(other.contains(" follows "), "{other}");

    let _ = world.sync(&["--allow-rewind"]).ok();
    world.repo.write("long", numbers(3)).commit("third");
    let _ = world.sync(&[]).ok();
    let _ = world.run(&["rollback"]).ok();
    let held = warning(&[]);
    assert!(
        held.starts_with("warning: a sync would leave the target as it is"),
        "{held}"
    );
}
