//! The target that is found, in this process as a user who is not root: a run as root would find the state of this
//! machine.

use std::fs;
use std::path::{Path, PathBuf};

use hyper_sync::cli;
use hyper_sync::exit::Exit;
use hyper_sync::report::Stdio;
use hyper_sync::settings::Env;
use hyper_sync::source::Interrupt;
use tempfile::TempDir;

use crate::common::repo::Repo;
use crate::common::written::Written;

/// A user with an empty configuration file.
struct User {
    root: TempDir,
}

/// How a run ended, and what it printed.
struct Ended {
    exit: Exit,
    out: String,
    err: String,
}

impl Ended {
    #[track_caller]
    fn with(self, exit: Exit) -> Self {
        assert_eq!(self.exit, exit, "{}{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn ok(self) -> Self {
        self.with(Exit::Done)
    }

    #[track_caller]
    fn target(&self) -> PathBuf {
        let status: serde_json::Value = serde_json::from_str(&self.out).unwrap();
        status["target"].as_str().unwrap().into()
    }
}

impl User {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["home", "elsewhere"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join("config.toml"), "").unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn run_in(&self, directory: &Path, args: &[&str]) -> Ended {
        let env = Env::empty()
            .with("PATH", std::env::var_os("PATH").unwrap())
            .with("HOME", self.path("home"))
            .with("HYPER_SYNC_CONFIG", self.path("config.toml"))
            .in_dir(directory);
        let (out, err) = (Written::default(), Written::default());
        let stdio = Stdio {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            out_is_terminal: false,
            err_is_terminal: false,
            err_width: None,
            out_width: None,
            err_is_journal: false,
        };
        let words = ["hyper-sync"].iter().chain(args).map(Into::into);
        let exit = cli::main(words, &env, stdio, &Interrupt::default());
        let (out, err) = (out.text(), err.text());
        Ended { exit, out, err }
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.run_in(&self.path("elsewhere"), args)
    }

    /// Syncs a repository into a target for the first time.
    fn synced(&self, name: &str) -> (PathBuf, Repo) {
        let (target, repo) = (self.path(name), Repo::small());
        let words = [repo.path().to_str().unwrap(), target.to_str().unwrap()];
        let _ = self
            .run(&["sync", "--repo", words[0], "--target", words[1]])
            .ok();
        (target, repo)
    }
}

#[test]
fn without_configuration_and_targets_a_bare_run_prints_help() {
    let user = User::new();
    let ended = user.run(&[]).with(Exit::Usage);
    assert_eq!(ended.out, "");
    let lines = ended.err.lines();
    let last: Vec<&str> = lines.rev().take(5).collect();
    insta::assert_debug_snapshot!(last, @r#"
    [
        "  hyper-sync sync --repo owner/name --target /etc/nixos",
        "  hyper-sync sync --repo owner/name --target /etc/nixos --dry-run",
        "",
        "then sync, with your own repository and directory:",
        "already, and",
    ]
    "#);
    for command in [
        &["status"][..],
        &["sync"],
        &["sync", "--repo", "o/n"],
        &["history"],
    ] {
        let refused = user.run(command).with(Exit::Configuration);
        assert!(
            refused.err.contains("settings::no_target"),
            "{}",
            refused.err
        );
    }
    assert!(!user.path("home/.local").exists());
    // Once a target is known, it is updated.
    let (target, repo) = user.synced("target");
    repo.write("new.nix", "{ }\n").commit("second");
    let _ = user.run(&["--skip-rebuild"]).ok();
    assert!(target.join("new.nix").exists());
}

#[test]
fn the_only_known_target_is_meant_and_is_synced_from_its_repository() {
    let user = User::new();
    let (target, repo) = user.synced("target");
    assert_eq!(user.run(&["status", "--json"]).ok().target(), target);
    repo.write("new.nix", "{ }\n").commit("second");
    let _ = user.run(&["sync"]).ok();
    assert!(target.join("new.nix").exists());
    let shown = user.run(&["config", "show"]).ok().out;
    let target_line = shown.lines().find(|line| line.starts_with("target = "));
    let ends = target_line
        .unwrap()
        .ends_with("# found: no other one is known");
    assert!(ends, "{shown}");
}

#[test]
fn of_several_targets_the_one_is_meant_that_the_run_is_in() {
    let user = User::new();
    let (one, _one) = user.synced("one");
    let (two, _two) = user.synced("two");
    for (directory, target) in [
        (one.clone(), &one),
        (two.clone(), &two),
        (two.join("modules"), &two),
    ] {
        let found = user.run_in(&directory, &["status", "--json"]).ok().target();
        assert_eq!(found, *target);
    }
    let refused = user.run(&["status"]).with(Exit::Configuration);
    let text = refused
        .err
        .replace(user.root.path().to_str().unwrap(), "[root]");
    insta::assert_snapshot!(text, @"
    error: `target` is not set, and several targets are known: `[root]/one`, `[root]/two`
    help: name one with `--target`, or run the command inside of one
    [settings::which_target]
    ");
    // What is set is meant, wherever the run is.
    let in_one = ["status", "--json", "--target", one.to_str().unwrap()];
    assert_eq!(user.run_in(&two, &in_one).ok().target(), one);
    fs::write(
        user.path("config.toml"),
        format!("target = '{}'\n", one.display()),
    )
    .unwrap();
    assert_eq!(user.run_in(&two, &["status", "--json"]).ok().target(), one);
}

#[test]
fn a_state_directory_that_is_given_names_its_target() {
    let user = User::new();
    let (one, _) = user.synced("one");
    let (target, state, repo) = (user.path("two"), user.path("state"), Repo::small());
    let [repo, at, state] = [repo.path(), &target, &state].map(|path| path.to_str().unwrap());
    let given = ["--target", at, "--state-dir", state];
    let _ = user
        .run(&[&["sync", "--repo", repo], &given[..]].concat())
        .ok();
    let found = user.run(&["status", "--json", "--state-dir", state]).ok();
    assert_eq!(found.target(), target);
    // Also in the directory of another target.
    let found = user.run_in(&one, &["status", "--json", "--state-dir", state]);
    assert_eq!(found.ok().target(), target);
    // The list has both, and where it is from.
    let listed = user.run(&["targets", "--json", "--state-dir", state]).ok();
    let listed: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["targets"].as_array().unwrap().len(), 2);
    let home = user.path("home/.local/state/hyper-sync");
    assert_eq!(listed["searched"], serde_json::json!([home, state]));
    // One that has no target yet is no reason to take another's.
    let empty = user.path("empty");
    let given = ["--state-dir", empty.to_str().unwrap()];
    let refused = user.run_in(&one, &[&["status"][..], &given].concat());
    assert!(
        refused
            .with(Exit::Configuration)
            .err
            .contains("no target is set")
    );
}

#[test]
fn targets_lists_what_this_user_has_synced() {
    let user = User::new();
    let none = user.run(&["targets"]).ok();
    assert_eq!(none.out, "");
    let home = user.path("home/.local/state/hyper-sync");
    let expected = format!("no target is known yet: nothing in `{}`\n", home.display());
    assert_eq!(none.err, expected);
    let (one, repo) = user.synced("one");
    let (_two, _) = user.synced("two");
    let listed = user.run(&["targets", "--json"]).ok().out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["schema"], 1);
    let first = &listed["targets"][0];
    assert_eq!(first["target"], one.to_str().unwrap());
    assert_eq!(first["repo"], repo.path().to_str().unwrap());
    assert_eq!(first["ref"], "main");
    assert_eq!(first["commit"], repo.id("main"));
    assert!(first["last_run"].is_string());
    let text = user.run(&["targets"]).ok().out;
    let heads: Vec<&str> = text
        .lines()
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    assert_eq!(heads.len(), 3);
    assert_eq!(heads[1], one.to_str().unwrap());
}

#[test]
fn forget_removes_the_state_and_leaves_the_target() {
    let user = User::new();
    let (one, _repo) = user.synced("one");
    let (two, _) = user.synced("two");
    let states = user.path("home/.local/state/hyper-sync");
    assert_eq!(fs::read_dir(&states).unwrap().count(), 2);
    let word = one.to_str().unwrap();
    let _ = user.run(&["forget", word]).ok();
    assert!(one.join("flake.nix").exists());
    assert_eq!(fs::read_dir(&states).unwrap().count(), 1);
    assert_eq!(user.run(&["status", "--json"]).ok().target(), two);
    let again = user.run(&["forget", word]).with(Exit::Usage);
    assert!(again.err.contains("sync::unknown_target"), "{}", again.err);
}

#[test]
fn forget_refuses_to_remove_the_only_copies_of_edits_and_what_is_not_finished() {
    let user = User::new();
    let (target, _repo) = user.synced("target");
    let forget = |more: &[&str]| {
        let words = [&["forget", target.to_str().unwrap()], more].concat();
        user.run(&words)
    };
    let states = user.path("home/.local/state/hyper-sync");
    let state = fs::read_dir(&states)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();

    let journal = state.join("tx/active");
    fs::write(&journal, "damaged").unwrap();
    let refused = forget(&["--discard-edits"]).with(Exit::FileSystem);
    assert!(
        refused.err.contains("apply::recovery_first"),
        "{}",
        refused.err
    );
    fs::remove_file(journal).unwrap();

    fs::write(target.join("flake.nix"), "{ mine = true; }\n").unwrap();
    let _ = user.run(&["sync", "--local-edits", "replace"]).ok();
    let refused = forget(&[]).with(Exit::Conflict);
    assert!(
        refused.err.contains("copies of: edits of update 000002"),
        "{}",
        refused.err
    );
    let before = fs::read_dir(&state).unwrap().count();
    let lock = fs::File::open(state.join("lock")).unwrap();
    lock.lock().unwrap();
    let _ = forget(&["--discard-edits"]).with(Exit::Busy);
    lock.unlock().unwrap();
    assert_eq!(fs::read_dir(&state).unwrap().count(), before);
    let _ = forget(&["--discard-edits"]).ok();
    assert!(!state.exists());
}

#[test]
fn forget_refuses_a_target_whose_system_is_on_trial() {
    let user = User::new();
    let (target, _repo) = user.synced("target");
    let states = user.path("home/.local/state/hyper-sync");
    let state = fs::read_dir(&states)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let system = crate::rebuild::world::FakeSystem::pinned().with_systemd();
    system.script("nixos-rebuild", "exit 1");
    system.revert_command();
    system.script("check", "exit 1");
    let switch = system
        .request(hyper_sync::settings::Action::Switch)
        .on_trial();
    switch.stopped_in_pause().run().unwrap_err();
    fs::copy(system.state_dir().join("trial"), state.join("trial")).unwrap();
    let refused = user
        .run(&["forget", target.to_str().unwrap()])
        .with(Exit::Busy);
    assert!(refused.err.contains("sync::on_trial"), "{}", refused.err);
    assert!(state.join("index").exists());
}

/// Only root can give a directory away.
#[test]
fn a_target_that_another_user_owns_is_named_first() {
    let user = User::new();
    let (target, _repo) = user.synced("target");
    if std::os::unix::fs::chown(&target, Some(4711), None).is_err() {
        return;
    }
    let warning = format!(
        "warning: `{}` belongs to the user with id 4711; what the user with id 4711 has synced is known to the user with id 4711 only\n",
        target.display()
    );
    for (command, exit) in [
        ("status", Exit::Done),
        ("history", Exit::Done),
        ("diff", Exit::Done),
        ("rollback", Exit::Failure),
    ] {
        let ended = user.run(&[command]).with(exit);
        assert!(ended.err.starts_with(&warning), "{command}: {}", ended.err);
    }
}

#[test]
fn a_target_in_another_one_that_has_files_there_is_refused() {
    let user = User::new();
    let (outer, repo) = user.synced("outer");
    let inside = |name: &str| {
        let target = outer.join(name);
        let words = ["sync", "--repo", repo.path().to_str().unwrap(), "--target"];
        user.run(&[&words[..], &[target.to_str().unwrap()]].concat())
    };
    let refused = inside("modules").with(Exit::Conflict);
    assert!(
        refused.err.contains("sync::nested_target"),
        "{}",
        refused.err
    );
    // What the outer one does not manage may be a target of its own.
    let _ = inside("own").ok();
    assert!(outer.join("own/flake.nix").exists());
    let _ = user.run_in(&outer, &["sync"]).ok();
}

#[test]
fn forget_removes_what_a_preview_has_left() {
    let user = User::new();
    let (target, repo) = (user.path("target"), Repo::small());
    let [target, repo] = [&target, repo.path()].map(|path| path.to_str().unwrap());
    let _ = user
        .run(&["sync", "--repo", repo, "--target", target, "--dry-run"])
        .ok();
    let states = user.path("home/.local/state/hyper-sync");
    assert_eq!(fs::read_dir(&states).unwrap().count(), 1);
    let _ = user.run(&["forget", target]).ok();
    assert_eq!(fs::read_dir(&states).unwrap().count(), 0);
    let _ = user.run(&["forget", target]).with(Exit::Usage);
}
