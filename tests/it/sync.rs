//! `hyper-sync sync` as a person and a program see it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::common::env::{Output, Sandbox};
use crate::common::git;
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;
use crate::common::world::World;
use crate::state::{documented_fields, fields};

fn world(repo: &Repo) -> Sandbox {
    let world = Sandbox::new();
    world.mask(&repo.path().display().to_string(), "[repo]");
    world.mask_id(&repo.id("main"), "start");
    world
}

fn sync(world: &Sandbox, repo: &Repo, args: &[&str]) -> Output {
    let path = repo.path().display().to_string();
    world.run(&[&["sync", "--repo", &path], args].concat())
}

#[test]
fn prints_what_it_did_and_that_nothing_is_left_to_do() {
    let repo = Repo::small();
    let world = world(&repo);
    insta::assert_snapshot!(sync(&world, &repo, &[]).masked(), @r"
    exit: 0
    --- stdout
    [target]  [start]  main of [repo]
      [start]  start  2025-10-09
      + flake.nix
      + modules/base.nix
      + scripts/run.sh
      +3 new
      not rebuilt yet: `hyper-sync rebuild`
    ");
    insta::assert_snapshot!(sync(&world, &repo, &[]).masked(), @r"
    exit: 0
    --- stdout
    [target] is up to date ([start], main)
    ");
    repo.write("modules/base.nix", "{ changed = true; }")
        .remove("scripts/run.sh")
        .commit("second");
    world.mask_id(&repo.id("main"), "second");
    insta::assert_snapshot!(sync(&world, &repo, &["--check-only"]).masked(), @r"
    exit: 0
    --- stdout
    [target]  [start] -> [second]  main of [repo], 1 commit
      [second]  second  2025-10-09
      ~ modules/base.nix
      - scripts/run.sh
      ~1 changed  -1 deleted
      nothing was written; `hyper-sync diff --remote --repo [repo]` shows what would change
    ");
    insta::assert_snapshot!(sync(&world, &repo, &["--dry-run", "--exit-code"]).masked(), @r"
    exit: 20
    --- stdout
    [target]  [start] -> [second]  main of [repo], 1 commit
      [second]  second  2025-10-09
      ~ modules/base.nix
      - scripts/run.sh
      ~1 changed  -1 deleted
      nothing was written
    ");
    insta::assert_snapshot!(sync(&world, &repo, &["--verbose"]).masked(), @r"
    exit: 0
    --- stdout
    [target]  [start] -> [second]  main of [repo], 1 commit
      [second]  second  2025-10-09
      ~ modules/base.nix
      - scripts/run.sh
      ~1 changed  -1 deleted
      1 request, [bytes] received in [time]; the whole tree is 41 B; 2 files checked
      not rebuilt yet: `hyper-sync rebuild`
    --- stderr
    the target is `[target]` (HYPER_SYNC_TARGET)
    asking the remote for the commit
    verifying what is here
    comparing with the target
    preparing the update
    writing the target
    time: resolve [time], prove [time], plan [time], prepare [time], apply [time]; [time] in all
    ");
    insta::assert_snapshot!(sync(&world, &repo, &["--quiet"]).masked(), @"exit: 0");
}

#[test]
fn prints_what_happened_to_local_edits() {
    let repo = Repo::small();
    let world = world(&repo);
    let _ = sync(&world, &repo, &[]).ok();
    world.edit("modules/base.nix", "{ mine = true; }");
    world.edit("flake.nix", "{ mine = true; }");
    insta::assert_snapshot!(sync(&world, &repo, &[]).masked(), @r"
    exit: 0
    --- stdout
    [target] is up to date ([start], main); 2 files stay as they are: `hyper-sync diff`
    ");
    repo.write("modules/base.nix", "{ theirs = true; }")
        .commit("second");
    world.mask_id(&repo.id("main"), "second");
    insta::assert_snapshot!(sync(&world, &repo, &[]).masked(), @"
    exit: 8
    --- stderr
    error: 1 file was edited here and is changed by the commit:
      modules/base.nix
    help: nothing was written; the ways out:
      `hyper-sync diff modules/base.nix` shows your edit, to put into the repository
      `hyper-sync diff --remote modules/base.nix --repo [repo]` shows what the commit has in its place
      `hyper-sync sync --local-edits merge --repo [repo]` keeps your edit and takes what the commit changes in other lines
      `hyper-sync sync --local-edits keep --repo [repo]` leaves your version and takes everything else
      `hyper-sync sync --local-edits replace --repo [repo]` takes the commit's version, and `hyper-sync restore modules/base.nix` then puts yours back
    [plan::conflicts]
    ");
    let refused = sync(&world, &repo, &["--json"]).code(8).json();
    assert_eq!(
        refused["error"]["conflicts"],
        serde_json::json!([{
            "path": "modules/base.nix",
            "problem": "it was edited here, and the commit changes it",
        }])
    );
    insta::assert_snapshot!(sync(&world, &repo, &["--local-edits", "keep"]).masked(), @r#"
    exit: 0
    --- stdout
    [target]  [start] -> [second]  main of [repo], 1 commit
      [second]  second  2025-10-09
      no file was changed
      1 file does not have the commit's version: `hyper-sync diff modules/base.nix`
      not rebuilt yet: `hyper-sync rebuild`
    --- stderr
    note: `flake.nix` stays as it is: it is not as in the commit, and `local_edits` is "keep"
    note: `modules/base.nix` stays as it is: the commit's version is NOT here, because `local_edits` is "keep"; `hyper-sync diff modules/base.nix` shows the difference
    "#);
    insta::assert_snapshot!(sync(&world, &repo, &["--local-edits", "replace"]).masked(), @r"
    exit: 0
    --- stdout
    [target]  [second]  main of [repo]
      [second]  second  2025-10-09
      ~ flake.nix
      ~ modules/base.nix
      ~2 changed
      not rebuilt yet: `hyper-sync rebuild`
    --- stderr
    warning: the local edit of `flake.nix` was replaced; it is kept as transaction 000003, `hyper-sync restore flake.nix` puts it back
    warning: the local edit of `modules/base.nix` was replaced; it is kept as transaction 000003, `hyper-sync restore modules/base.nix` puts it back
    ");
    world
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(&repo, "main"));
}

#[test]
fn many_local_edits_are_counted_instead_of_named() {
    let repo = Repo::small();
    let files: Vec<String> = (10..35).map(|i| format!("many/{i}.nix")).collect();
    for file in &files {
        repo.write(file, "{ }\n");
    }
    repo.commit("many");
    let world = world(&repo);
    let _ = sync(&world, &repo, &[]).ok();
    for file in &files {
        world.edit(file, "{ mine = true; }\n");
    }
    let lines = |args: &[&str]| -> Vec<String> {
        let output = sync(&world, &repo, args).ok();
        output.stderr.lines().map(str::to_owned).collect()
    };
    let stay = sync(&world, &repo, &[]).ok();
    let counted = "; 25 files stay as they are: `hyper-sync diff`\n";
    assert!(stay.stdout.ends_with(counted), "{}", stay.masked());
    let all = lines(&["--verbose"]);
    assert!(
        all.iter()
            .any(|line| line.starts_with("note: `many/34.nix` stays"))
    );
    let replace = ["--local-edits", "replace"];
    let preview = lines(&[&replace[..], &["--dry-run"]].concat());
    assert_eq!(
        preview[20],
        "warning: and 5 more local edits would be; `--verbose` names them"
    );
    let replaced = lines(&replace);
    assert_eq!(replaced.len(), 21, "{replaced:#?}");
    assert!(replaced[20].starts_with("warning: and 5 more local edits were; "));
    let path = repo.path().display().to_string();
    let history = world.run(&["history", "--repo", &path, "--verbose"]).ok();
    assert!(history.stdout.contains("many/34.nix"));
}

#[test]
fn a_check_and_a_dry_run_write_nothing_into_the_target() {
    let repo = Repo::small();
    let world = world(&repo);
    for args in [&["--check-only"][..], &["--dry-run"]] {
        let _ = sync(&world, &repo, args).ok();
        assert!(!world.target().exists());
    }
    let _ = sync(&world, &repo, &[]).ok();
    let before = world.target_tree();
    repo.write("flake.nix", "{ }").commit("second");
    for args in [&["--check-only"][..], &["--dry-run"]] {
        let _ = sync(&world, &repo, args).ok();
        world.target_tree().assert_same(&before);
    }
}

#[test]
fn a_check_downloads_no_file() {
    let repo = Repo::small();
    let world = world(&repo);
    // Random hexadecimal digits, which do not compress below the bound.
    let big = |seed: u64| {
        let mut state = seed;
        (0..20_000).fold(String::new(), |mut text, _| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            text.push(char::from_digit(u32::try_from(state >> 60).unwrap(), 16).unwrap());
            text
        })
    };
    repo.write("big", big(1)).commit("big");
    let inspect = || {
        let report = sync(&world, &repo, &["--check-only", "--json"]).ok().json();
        assert!(
            report["traffic"]["received"].as_u64().unwrap() < 2000,
            "{report}"
        );
        assert_eq!(report["downloaded"], 0);
        report
    };
    assert_eq!(
        inspect()["tree_bytes"],
        serde_json::Value::Null,
        "not known"
    );
    let _ = sync(&world, &repo, &[]).ok();
    repo.write("big", big(2)).commit("bigger");
    assert_eq!(inspect()["route"], "delta");
    assert_eq!(inspect()["route"], "store");
    let report = sync(&world, &repo, &["--json"]).ok().json();
    assert_eq!(
        (&report["route"], &report["downloaded"]),
        (&"delta".into(), &1.into())
    );
    world
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(&repo, "main"));
}

#[test]
fn a_commit_id_may_be_written_in_capitals() {
    let repo = Repo::small();
    let world = world(&repo);
    let id = repo.id("main").to_uppercase();
    let _ = sync(&world, &repo, &["--ref", &id]).ok();
    world
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(&repo, "main"));
}

#[test]
fn a_rewritten_branch_is_followed_only_on_demand_and_another_branch_is_not_a_rewind() {
    let repo = Repo::small();
    let world = world(&repo);
    let first = repo.id("main");
    repo.write("flake.nix", "{ second = true; }")
        .commit("second");
    let _ = sync(&world, &repo, &[]).ok();
    repo.update_ref("refs/heads/main", &first);
    let refused = sync(&world, &repo, &[]).code(8);
    assert!(
        refused.stderr.contains("does not descend"),
        "{}",
        refused.masked()
    );
    let _ = sync(&world, &repo, &["--allow-rewind"]).ok();
    world
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(&repo, &first));
    repo.branch("feature")
        .checkout("feature")
        .amend("rewritten");
    let _ = sync(&world, &repo, &["--ref", "feature"]).ok();
    world
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(&repo, "feature"));
}

#[test]
fn prints_json_for_programs() {
    let repo = Repo::small();
    let world = world(&repo);
    let first = sync(&world, &repo, &["--json"]).ok().json();
    assert_eq!(first["commit"], repo.id("main"));
    assert_eq!(first["operations"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&first["changed"], &first["downloaded"]),
        (&true.into(), &3.into())
    );
    let second = sync(&world, &repo, &["--json"]).ok().json();
    assert_eq!(
        (&second["changed"], &second["traffic"]["requests"]),
        (&false.into(), &1.into())
    );
    let refused = sync(&world, &repo, &["--json", "--ref", "no-such-branch"])
        .code(2)
        .json();
    assert_eq!(refused["error"]["code"], "hyper_sync::source::unknown_ref");
    assert_eq!(refused["error"]["exit"], 2);
}

#[test]
fn the_written_state_file_has_the_documented_fields() {
    let repo = Repo::small();
    let world = world(&repo);
    let published = world.root().join("cache/sync-state.json");
    let path = published.display().to_string();
    let _ = sync(&world, &repo, &["--state-file", &path]).ok();
    let state: serde_json::Value = serde_json::from_slice(&fs::read(&published).unwrap()).unwrap();
    assert_eq!(state["last_sync"]["commit_sha"], repo.id("main"));
    assert_eq!(state["last_sync"]["ref"], "main");
    let time = state["last_sync"]["timestamp"].as_str().unwrap();
    assert!(
        time.ends_with('Z') && time.len() == "2025-10-12T10:30:01Z".len(),
        "{time}"
    );
    assert_eq!(
        state["stats"],
        serde_json::json!({ "checked": 3, "changed": 3, "downloaded": 3, "errors": 0 })
    );
    assert_eq!(state["version"], 1);
    assert_eq!(state["repository"], repo.path().display().to_string());
    assert_eq!(state["tree_sha"], repo.id("main^{tree}"));
    for field in ["bytes", "requests", "duration_ms"] {
        assert!(state[field].as_u64().unwrap() > 0, "{field}");
    }
    assert_eq!(state["kept"], serde_json::json!([]));
    assert_eq!(state["notices"], serde_json::json!([]));
    // These apply to a repository that has moved and to a rebuild; all others are always there.
    let optional = ["read_from", "nar_hash", "rebuild"];
    let mut expected = documented_fields();
    expected.retain(|field| !optional.contains(&field.as_str()));
    assert_eq!(fields(&state), expected);
}

#[test]
fn a_diff_is_that_of_git_and_shows_what_a_sync_would_change() {
    let repo = Repo::small();
    let world = world(&repo);
    let _ = sync(&world, &repo, &[]).ok();
    world.edit("modules/base.nix", "{ mine = true; }\n");
    repo.write("flake.nix", "{ second = true; }\n")
        .remove("scripts/run.sh")
        .commit("second");
    let path = repo.path().display().to_string();
    let diff = |args: &[&str]| world.run(&[&["diff", "--repo", &path], args].concat());
    insta::assert_snapshot!(diff(&[]).masked(), @r#"
    exit: 0
    --- stdout
    diff --git a/modules/base.nix b/modules/base.nix
    --- a/modules/base.nix
    +++ b/modules/base.nix
    @@ -1 +1 @@
    -{ ... }: { }
    +{ mine = true; }
    "#);
    insta::assert_snapshot!(diff(&["--remote"]).masked(), @r#"
    exit: 0
    --- stdout
    diff --git a/flake.nix b/flake.nix
    --- a/flake.nix
    +++ b/flake.nix
    @@ -1 +1 @@
    -{ outputs = _: { }; }
    +{ second = true; }
    diff --git a/scripts/run.sh b/scripts/run.sh
    deleted file mode 100755
    --- a/scripts/run.sh
    +++ /dev/null
    @@ -1,2 +0,0 @@
    -#!/bin/sh
    -echo run
    "#);
    insta::assert_snapshot!(diff(&["--remote", "flake.nix"]).masked(), @r#"
    exit: 0
    --- stdout
    diff --git a/flake.nix b/flake.nix
    --- a/flake.nix
    +++ b/flake.nix
    @@ -1 +1 @@
    -{ outputs = _: { }; }
    +{ second = true; }
    "#);
    let entries = diff(&["--json"]).ok().json()["files"].clone();
    assert_eq!(entries[0]["path"], "modules/base.nix");
    let _ = world.run(&["diff", "../secret"]).code(64);
}

#[test]
fn whether_a_branch_was_rewound_does_not_depend_on_the_published_state() {
    let repo = Repo::small();
    let world = world(&repo);
    let first = repo.id("main");
    repo.write("flake.nix", "{ second = true; }")
        .commit("second");
    let _ = sync(&world, &repo, &[]).ok();
    let path = world.state().join("sync-state.json");
    let state = fs::read_to_string(&path).unwrap();
    let known = repo.path().display().to_string();
    assert!(state.contains(&known));
    fs::write(&path, state.replace(&known, "/another")).unwrap();
    repo.update_ref("refs/heads/main", &first);
    let refused = sync(&world, &repo, &[]).code(8);
    assert!(
        refused.stderr.contains("does not descend"),
        "{}",
        refused.masked()
    );
}

#[test]
fn another_repository_is_not_a_rewind() {
    let repo = Repo::small();
    let world = world(&repo);
    repo.write("flake.nix", "{ second = true; }")
        .commit("second");
    let _ = sync(&world, &repo, &[]).ok();
    let other = Repo::small();
    let _ = sync(&world, &other, &["--allow-other-repo"]).ok();
    world
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(&other, "main"));
    let history = world.run(&["history", "--json"]).ok().json()["updates"].clone();
    assert_eq!(history[0]["repository"], other.path().to_str().unwrap());
}

#[test]
fn an_index_without_a_repository_asks_for_descent_and_records_it() {
    use hyper_sync::state::{Found, Index, StateDir};

    let repo = Repo::small();
    let world = world(&repo);
    repo.write("flake.nix", "{ second = true; }")
        .commit("second");
    let _ = sync(&world, &repo, &[]).ok();
    let state = StateDir::open(&world.state()).unwrap();
    let index = || match Index::load(&state).unwrap() {
        Found::Whole(index) => index,
        other => panic!("{other:?}"),
    };
    let mut forgotten = index();
    forgotten.point.repository = None;
    forgotten.save(&state).unwrap();
    let other = Repo::small();
    let _ = sync(&world, &other, &["--allow-other-repo"]).code(8);
    let _ = sync(&world, &repo, &[]).ok();
    assert_eq!(
        index().point.repository.unwrap(),
        repo.path().to_str().unwrap()
    );
    let _ = sync(&world, &other, &["--allow-other-repo"]).ok();
}

#[test]
fn the_execute_bit_of_a_script_is_not_a_local_edit() {
    let repo = Repo::small();
    let world = world(&repo);
    world.config("executable = ['/scripts/']");
    let _ = sync(&world, &repo, &[]).ok();
    let chmod = |path: &str, mode| {
        fs::set_permissions(world.target().join(path), Permissions::from_mode(mode)).unwrap();
    };
    chmod("scripts/run.sh", 0o644);
    chmod("flake.nix", 0o755);
    let status = world.run(&["status", "--json"]).ok().json();
    let edits = &status["local_edits"];
    assert_eq!(edits[0]["path"], "flake.nix");
    assert_eq!(edits.as_array().unwrap().len(), 1);
    let diff = world.run(&["diff", "--json"]).ok().json()["files"].clone();
    assert_eq!(diff[0]["path"], "flake.nix");
    assert_eq!(diff.as_array().unwrap().len(), 1);
}

#[test]
fn a_tag_is_pinned_to_its_commit() {
    let repo = Repo::small();
    let world = world(&repo);
    let first = repo.id("main");
    let second = repo
        .write("flake.nix", "{ second = true; }\n")
        .commit("second");
    repo.update_ref("refs/tags/v1", &first);
    let v1 = |args: &[&str]| sync(&world, &repo, &[&["--ref", "v1"], args].concat());
    let at = |commit: &str| {
        world
            .target_tree()
            .assert_same(&TreeSnapshot::of_commit(&repo, commit));
    };
    let _ = v1(&[]).ok();
    let _ = v1(&[]).ok();
    repo.update_ref("refs/tags/v1", &second);
    for args in [&[][..], &["--check-only"]] {
        let refused = v1(&[args, &["--json"]].concat()).code(8).json();
        assert_eq!(refused["error"]["code"], "hyper_sync::sync::moved_tag");
        at(&first);
    }
    // The commit of the tag is remembered after another name, and by its whole name.
    let _ = sync(&world, &repo, &[]).ok();
    let refused = v1(&["--json"]).code(8).json();
    assert_eq!(refused["error"]["code"], "hyper_sync::sync::moved_tag");
    let whole = sync(&world, &repo, &["--ref", "refs/tags/v1", "--json"]);
    let refused = whole.code(8).json();
    assert_eq!(refused["error"]["code"], "hyper_sync::sync::moved_tag");
    let _ = v1(&["--allow-rewind"]).ok();
    at(&second);
    let _ = v1(&[]).ok();

    world.follow(&repo, "[trust]\nmoving_tags = true\n");
    repo.update_ref("refs/tags/v1", &first);
    let _ = v1(&[]).ok();
    at(&first);
}

#[test]
fn a_rollback_does_not_move_a_tag() {
    let repo = Repo::small();
    let world = world(&repo);
    let _ = sync(&world, &repo, &[]).ok();
    let tag = repo
        .write("flake.nix", "{ second = true; }\n")
        .commit("second");
    repo.update_ref("refs/tags/v1", &tag);
    let _ = sync(&world, &repo, &["--ref", "v1"]).ok();
    let _ = world.run(&["rollback"]).ok();
    let _ = sync(&world, &repo, &["--ref", "v1", "--resume"]).ok();
    world
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(&repo, &tag));
}

#[test]
fn a_branch_that_takes_the_name_of_a_tag_is_refused_and_a_name_of_both_is_mentioned() {
    let repo = Repo::small();
    let world = world(&repo);
    let first = repo.id("main");
    repo.update_ref("refs/tags/v7", &first);
    let _ = sync(&world, &repo, &["--ref", "v7"]).ok();
    let second = repo
        .write("flake.nix", "{ second = true; }\n")
        .commit("second");
    repo.update_ref("refs/heads/v7", &second);
    let refused = sync(&world, &repo, &["--ref", "v7", "--json"])
        .code(8)
        .json();
    assert_eq!(refused["error"]["code"], "hyper_sync::sync::ref_kind");
    world
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(&repo, &first));
    // The advice works: by the whole name it is the tag.
    let _ = sync(&world, &repo, &["--ref", "refs/tags/v7"]).ok();
    let _ = sync(&world, &repo, &["--ref", "v7", "--allow-rewind"]).ok();
    for _ in 0..2 {
        let both = sync(&world, &repo, &["--ref", "v7"]).ok();
        assert!(
            both.stderr.contains("`v7` is a branch and a tag"),
            "{}",
            both.stderr
        );
    }
}

/// Without the mark, a crash after the change could leave a tree that no rebuild is known to be due for.
#[test]
fn nothing_changes_before_the_rebuild_is_marked_as_pending() {
    let repo = Repo::small();
    let world = world(&repo);
    let _ = sync(&world, &repo, &[]).ok();
    let before = world.target_tree();
    repo.write("modules/base.nix", "{ second = true; }")
        .commit("second");
    let mark = world.state().join("rebuild.json");
    fs::remove_file(&mark).unwrap();
    fs::create_dir(&mark).unwrap();
    let _ = sync(&world, &repo, &[]).code(9);
    assert_eq!(world.target_tree(), before);
    fs::remove_dir(&mark).unwrap();
    let _ = sync(&world, &repo, &[]).ok();
    assert_ne!(world.target_tree(), before);
    let status = world.run(&["status", "--json"]).ok().json();
    assert_eq!(status["pending_rebuild"]["commit"], repo.id("main"));
}

/// A system may contain the id of its commit.
#[test]
fn another_commit_of_the_same_tree_leaves_a_rebuild_to_be_done() {
    let repo = Repo::small();
    let world = world(&repo);
    let _ = sync(&world, &repo, &[]).ok();
    fs::remove_file(world.state().join("rebuild.json")).unwrap();
    let _ = sync(&world, &repo, &[]).ok();
    let status = || world.run(&["status", "--json"]).ok().json();
    assert_eq!(status()["pending_rebuild"], serde_json::Value::Null);
    repo.commit("nothing");
    let _ = sync(&world, &repo, &[]).ok();
    assert_eq!(status()["pending_rebuild"]["commit"], repo.id("main"));
}

#[test]
fn the_steps_are_those_that_happen() {
    let repo = Repo::small();
    let world = world(&repo);
    let _ = sync(&world, &repo, &[]).ok();
    let steps = |output: Output| -> Vec<String> {
        let known = [
            "asking",
            "downloading",
            "verifying",
            "comparing",
            "preparing",
            "writing",
        ];
        let lines = output.stderr.lines();
        lines
            .filter_map(|line| line.split(' ').next())
            .filter(|word| known.contains(word))
            .map(str::to_owned)
            .collect()
    };
    let nothing = sync(&world, &repo, &["--verbose"]).ok();
    assert_eq!(steps(nothing), ["asking", "verifying", "comparing"]);
    repo.write("flake.nix", "{ second = true; }")
        .commit("second");
    let update = sync(&world, &repo, &["--verbose"]).ok();
    assert_eq!(
        steps(update),
        ["asking", "downloading", "comparing", "preparing", "writing"]
    );
    let back = world.run(&["rollback", "--verbose"]).ok();
    assert_eq!(
        steps(back),
        ["verifying", "comparing", "preparing", "writing"]
    );
}

/// The branch was never at the commit that the target comes from.
#[test]
fn the_headline_says_where_the_target_was() {
    let repo = Repo::small();
    let world = world(&repo);
    repo.git().args(["branch", "feature"]).status().unwrap();
    let second = repo
        .write("flake.nix", "{ second = true; }")
        .commit("second");
    // The same tree, another commit.
    repo.write("flake.nix", "{ third = true; }").commit("third");
    let fourth = repo
        .write("flake.nix", "{ second = true; }")
        .commit("fourth");
    world.mask_id(&second, "second").mask_id(&fourth, "fourth");
    let head = |output: Output| {
        let lines: Vec<String> = output.out().lines().take(2).map(str::to_owned).collect();
        lines.join("\n")
    };
    let _ = sync(&world, &repo, &["--ref", "feature"]).ok();
    let preview = head(sync(&world, &repo, &["--ref", &second, "--check-only"]).ok());
    assert!(
        preview.starts_with("[target]  [start] -> [second]  a commit of [repo], 1 commit\n"),
        "{preview}"
    );
    let _ = sync(&world, &repo, &["--ref", &second]).ok();
    insta::assert_snapshot!(head(sync(&world, &repo, &[]).ok()), @r"
    [target]  [second] -> [fourth]  main of [repo]
      [fourth]  fourth  2025-10-09
    ");
}

#[test]
fn a_name_after_sync_is_the_ref() {
    let world = World::small();
    world.repo.branch("feature");
    world.repo.write("feature.nix", "{ }\n").commit("feature");
    let _ = world.sync(&["feature"]).ok();
    world.assert_at("feature");
    let _ = world.sync(&["feature", "--ref", "main"]).code(64);
}

#[test]
fn a_preview_without_a_command_lists_files_and_writes_none() {
    let world = World::small();
    for option in ["-n", "--dry-run"] {
        let output = world.run(&[option]).ok();
        assert!(output.stdout.contains("flake.nix"), "{}", output.masked());
        assert!(!world.target().exists());
    }
    let _ = world.run(&["-n", "--exit-code"]).code(20);
}

#[test]
fn a_deploy_key_takes_one_command_to_make_and_one_to_use() {
    let world = Sandbox::new();
    world.fake_ssh();
    let repo = Repo::small();
    let address = format!("ssh://git@host{}", repo.path().display());
    let key = world.root().join("key");
    let hosts = world.root().join("hosts");
    fs::write(&hosts, "").unwrap();
    let mut make = std::process::Command::new("ssh-keygen");
    make.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
    git::succeeds(make.arg(&key));
    let (key, hosts) = (key.to_str().unwrap(), hosts.to_str().unwrap());
    let options = ["--ssh-key-file", key, "--known-hosts-file", hosts];
    let _ = world
        .run(&[&["sync", "--repo", &address][..], &options].concat())
        .ok();
    let calls = world.ssh_calls();
    assert!(
        calls
            .iter()
            .all(|call| call.contains(key) && call.contains(hosts)),
        "{calls:?}"
    );
    assert!(!calls.is_empty());
}

/// A branch, a tag, or the commit of which the beginning was given; the help is a command line that works.
#[test]
fn a_name_that_is_not_there_is_answered_with_the_one_that_is_meant() {
    let repo = Repo::small();
    repo.branch("feature").tag("v1.0");
    for world in [World::local(&repo), World::served(&repo)] {
        let world = world.synced();
        let [old, new] = ["one", "two"].map(|_| {
            let text = format!("{{ }} # {}\n", repo.id("main"));
            repo.write("flake.nix", text).commit("next")
        });
        let _ = world.sync(&[]).ok();
        let text = format!("{{ }} # after {new}\n");
        let newest = repo.write("flake.nix", text).commit("newest");
        for (given, meant) in [
            ("faeture", "feature"),
            ("v1.o", "v1.0"),
            (&newest[..8], &newest),
            (&newest[..7].to_uppercase(), &newest),
            // Known here, though no branch points to it.
            (&new[..10], &new),
        ] {
            let refused = world.sync(&[given]).code(2);
            let expected = format!("write `--ref {meant}`");
            assert!(
                refused.stderr.contains(&expected),
                "{given}: {}",
                refused.stderr
            );
            let _ = world.sync(&["--ref", meant, "--allow-rewind"]).ok();
        }
        for given in [&newest[..6], "0000000", &old[..7]] {
            let refused = world.sync(&[given]).code(2);
            assert!(
                refused.stderr.contains("full 40 digits"),
                "{}",
                refused.stderr
            );
        }
        let _ = world.sync(&["main"]).ok();
    }
}
