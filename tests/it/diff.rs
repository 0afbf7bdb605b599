//! `hyper-sync diff`: what it prints is a patch, whatever the files hold, and says what a sync would do.

use std::os::unix::fs::symlink;

use crate::common::env::{Output, Sandbox};
use crate::common::git;
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;

struct World {
    sandbox: Sandbox,
    repo: Repo,
}

impl World {
    /// A target at a commit with files of every kind.
    fn new() -> Self {
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
        let sandbox = Sandbox::new();
        sandbox.follow(&repo, "");
        let world = Self { sandbox, repo };
        let _ = world.run("sync", &[]).ok();
        world
    }

    fn run(&self, command: &str, args: &[&str]) -> Output {
        self.sandbox.run(&[&[command], args].concat())
    }

    /// What real git makes of a commit with a patch.
    fn patched(&self, revision: &str, patch: &str) -> TreeSnapshot {
        let tree = tempfile::tempdir().unwrap();
        let tree = tree.path();
        let checkout = ["read-tree", "-u", "--reset", revision];
        let index = tree.with_extension("index");
        let git = |args: &[&str]| {
            let mut git = self.repo.git();
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
}

/// Lines with every number below 99, rounded down.
fn numbers(step: usize) -> String {
    let numbers: Vec<String> = (0..99).map(|n| (n / step * step).to_string()).collect();
    numbers.join("\n") + "\n"
}

#[test]
fn git_apply_makes_of_the_commit_what_is_here() {
    let world = World::new();
    let target = world.sandbox.target();
    world
        .sandbox
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
    world.sandbox.edit("becomes-file", "a\n");
    std::fs::remove_file(target.join("empty")).unwrap();
    std::fs::remove_file(target.join("modules/base.nix")).unwrap();
    std::fs::remove_dir(target.join("modules")).unwrap();
    git::succeeds(
        std::process::Command::new("chmod")
            .arg("+x")
            .arg(target.join("mode")),
    );

    let diff = world.run("diff", &[]).ok();
    let here = world.sandbox.target_tree().git_modes();
    world.patched("main", &diff.stdout).assert_same(&here);
    let entries = world.run("diff", &["--json"]).ok().json();
    let whole: String = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["diff"].as_str().unwrap())
        .collect();
    assert_eq!(whole, diff.stdout);
}

#[test]
fn git_apply_makes_of_what_is_here_what_a_sync_would() {
    let world = World::new();
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
    let diff = world.run("diff", &["--remote"]).ok();
    world
        .patched("main~1", &diff.stdout)
        .assert_same(&TreeSnapshot::of_commit(&world.repo, "main"));
}

#[test]
fn what_would_stop_a_sync_is_shown_and_said() {
    let world = World::new();
    world.sandbox.edit("mode", "mine\n").edit("long", "mine\n");
    world
        .repo
        .write("mode", "theirs\n")
        .write("flake.nix", "{ second = true; }\n")
        .commit("second");
    let before = world.sandbox.target_tree();
    let diff = world.run("diff", &["--remote"]).ok();
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
    world.sandbox.target_tree().assert_same(&before);
    let _ = world.run("sync", &[]).code(8);
}

#[test]
fn a_path_that_is_not_managed_is_told_and_one_outside_is_refused() {
    let world = World::new();
    world
        .sandbox
        .edit("mode", "mine\n")
        .edit("unmanaged", "mine\n");
    for path in ["unmanaged", "no/such"] {
        let diff = world.run("diff", &[path]).ok();
        assert_eq!(diff.stdout, "");
        let told = format!("`{path}` is not managed: no sync has written it\n");
        assert_eq!(diff.stderr, told);
    }
    let nothing = world.run("diff", &["flake.nix"]).ok();
    assert_eq!((nothing.stdout, nothing.stderr), Default::default());
    let absolute = world.sandbox.target().join("mode").display().to_string();
    for path in ["mode", "./mode", &absolute, "."] {
        let diff = world.run("diff", &[path]).ok();
        assert!(diff.stdout.contains("+mine"), "{path}");
    }
    for command in ["diff", "restore"] {
        let outside = world.run(command, &["/etc/passwd"]).code(64);
        let told = "`/etc/passwd` is not in the target";
        assert!(outside.stderr.contains(told), "{}", outside.masked());
        let _ = world.run(command, &["../passwd"]).code(64);
    }
    let refused = world
        .run("diff", &["--json", "/etc/passwd"])
        .code(64)
        .json();
    assert_eq!(refused["error"]["code"], "hyper_sync::sync::outside");
}

#[test]
fn what_was_excluded_until_now_is_no_difference_before_it_was_brought() {
    let repo = Repo::small();
    repo.write("var/x", "theirs\n").commit("more");
    let sandbox = Sandbox::new();
    sandbox
        .follow(&repo, "exclude = ['/var/']")
        .edit("var/x", "mine\n");
    let _ = sandbox.run(&["sync"]).ok();
    sandbox.follow(&repo, "").edit("modules/base.nix", "mine\n");
    let patch = sandbox.run(&["diff"]).ok();
    assert!(
        patch.stdout.contains("modules/base.nix"),
        "{}",
        patch.masked()
    );
    assert!(!patch.stdout.contains("var/x"), "{}", patch.masked());
}
