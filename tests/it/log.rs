//! `hyper-sync log`, and the pager that it and `diff` are read with.

use std::fs;

use hyper_sync::cli;
use hyper_sync::exit::Exit;
use hyper_sync::report::Stdio;
use hyper_sync::settings::Env;
use hyper_sync::source::Interrupt;
use serde_json::json;

use crate::common::repo::Repo;
use crate::common::world::World;

/// A target at the second of three commits, after a rollback from the third.
fn rolled_back() -> World {
    let world = World::small().synced();
    world.mask_id(&world.repo.id("main"), "first");
    for name in ["second", "third"] {
        world.repo.write("flake.nix", name).commit(name);
        world.mask_id(&world.repo.id("main"), name);
        let _ = world.sync(&[]).ok();
    }
    let _ = world.run(&["rollback"]).ok();
    world
}

#[test]
fn the_commits_of_the_target_are_listed_newest_first_and_its_own_is_marked() {
    let world = rolled_back();
    insta::assert_snapshot!(world.run(&["log"]).ok().masked(), @r"
    exit: 0
    --- stdout
      [third]  third  Fixture Author, 2025-10-09
    * [second]  second  Fixture Author, 2025-10-09
      [first]  start  Fixture Author, 2025-10-09
    ");
    let log = world.json(&["log", "--max-count", "2"]);
    let current: Vec<_> = { log["commits"].as_array().unwrap().iter() }
        .map(|commit| (&commit["subject"], &commit["current"]))
        .collect();
    assert_eq!(json!(current), json!([["third", false], ["second", true]]));
    assert_eq!(log["complete"], false);
}

#[test]
fn what_is_missing_is_marked_where_it_is() {
    let repo = Repo::with_history(4);
    let world = World::local(&repo);
    let id = |revision: &str| repo.id(revision);
    for (revision, name) in [("main", "tip"), ("main~3", "root")] {
        world.mask_id(&id(revision), name);
    }
    let _ = world.sync(&[&id("main~3")]).ok();
    let marks = || -> Vec<String> {
        let text = world.run(&["log"]).ok().out();
        let mark = |line: &str| match line.split_whitespace().find(|word| word.starts_with('[')) {
            Some(name) => name.to_owned(),
            None => line.trim().to_owned(),
        };
        text.lines().map(mark).collect()
    };
    assert_eq!(marks(), ["[root]"], "a root has nothing before it");
    let _ = world.sync(&["--force-full"]).ok();
    assert_eq!(
        marks(),
        [
            "[tip]",
            "⋮ commits that are not in the object store",
            "[root]"
        ]
    );
}

#[test]
fn a_target_without_a_sync_has_no_commits() {
    let output = World::small().run(&["log"]).ok();
    assert_eq!(output.stdout, "");
    assert_eq!(
        output.stderr,
        "no commit is known: nothing was synced here\n"
    );
}

#[test]
fn incoming_commits_are_listed_and_nothing_is_changed() {
    let world = World::small().synced();
    let before = world.target_tree();
    for name in ["second", "third"] {
        world.repo.write("flake.nix", name).commit(name);
        world.mask_id(&world.repo.id("main"), name);
    }
    insta::assert_snapshot!(world.run(&["log", "--remote"]).ok().masked(), @r"
    exit: 0
    --- stdout
      [third]  third  Fixture Author, 2025-10-09
      [second]  second  Fixture Author, 2025-10-09
    ");
    let log = world.json(&["log", "--incoming"]);
    assert_eq!(log["complete"], true);
    world.target_tree().assert_same(&before);
    // An edit that would stop the sync is not what is asked about.
    world.set("local_edits = 'refuse'");
    world.edit("flake.nix", "{ mine = true; }\n");
    assert_eq!(world.json(&["log", "--remote"])["commits"], log["commits"]);
    world.edit("flake.nix", world.repo.cat("main~2:flake.nix"));
    let _ = world.sync(&[]).ok();
    let none = world.run(&["log", "--remote"]).ok();
    assert_eq!(none.stderr, "a sync would bring no commit\n");
}

#[test]
fn a_sync_counts_the_commits_that_it_brings() {
    let world = World::small().synced();
    for number in 1..=7 {
        let name = format!("commit {number}");
        world.repo.write("flake.nix", &name).commit(&name);
    }
    let waiting = world.run(&["log", "--remote", "--json"]).ok().json();
    assert_eq!(waiting["commits"].as_array().unwrap().len(), 7);
    let preview = world.sync(&["--check-only"]).ok();
    let more = "\n  2 more: `hyper-sync log --remote`\n";
    assert!(preview.out().contains(more), "{}", preview.masked());
    let output = world.sync(&["--json"]).ok().json();
    assert_eq!(output["commits"].as_array().unwrap().len(), 7);
    assert_eq!(output["commits"][0]["subject"], "commit 7");
    let _ = world.run(&["rollback"]).ok();
    let output = world.sync(&["--resume"]).ok();
    let out = output.out();
    assert!(out.contains("  main of [repo], 7 commits\n"), "{out}");
    assert!(out.contains("\n  2 more\n"), "{out}");
}

/// A branch that began before the target's commit is merged: which of its commits the target has is not known here.
#[test]
fn commits_that_are_not_all_known_are_not_counted_and_that_is_said() {
    let world = World::small();
    let start = world.repo.id("main");
    world.repo.write("flake.nix", "{ n = 2; }").commit("second");
    let world = world.synced();
    let second = world.repo.id("main");
    world.repo.branch("side").checkout("side");
    let mut side = start;
    for number in 1..=2 {
        world.repo.write("side.nix", format!("{{ n = {number}; }}"));
        side = world.repo.commit_onto(&format!("side {number}"), &[&side]);
    }
    let main = world.repo.checkout("main").write("side.nix", "{ n = 2; }");
    let _ = main.commit_onto("merge", &[&second, &side]);
    let log = world.run(&["log", "--remote"]).ok();
    assert!(
        log.stdout.ends_with("\n  not all are known here\n"),
        "{}",
        log.masked()
    );
    assert!(!log.stdout.contains("start"), "the target has it");
    assert_eq!(world.json(&["log", "--remote"])["complete"], false);
    for preview in [&["--check-only"][..], &["--dry-run"], &[]] {
        let sync = world.sync(preview).ok();
        let said = "\n  not all commits in between are known here\n";
        assert!(sync.stdout.contains(said), "{}", sync.masked());
        let heading = sync.stdout.lines().next().unwrap();
        assert!(!heading.contains(" commit"), "{}", sync.masked());
    }
}

#[test]
fn a_list_that_is_cut_says_how_many_are_left() {
    let world = rolled_back();
    let log = world.run(&["log", "-n", "1"]).ok();
    assert!(log.stdout.ends_with("\n  2 more\n"), "{}", log.masked());
}

#[test]
fn the_lines_that_differ_are_counted() {
    let world = World::small().synced();
    world.edit("flake.nix", "{ mine = true; }\n{ }\n");
    world.edit("modules/base.nix", "\0");
    insta::assert_snapshot!(world.run(&["diff", "--stat"]).ok().masked(), @r"
    exit: 0
    --- stdout
     flake.nix        |   3 ++-
     modules/base.nix | Bin
     2 files changed, 2 insertions(+), 1 deletion(-)
    ");
    let files = world.json(&["diff"])["files"].clone();
    assert_eq!(files[0]["insertions"], 2);
    assert_eq!(files[1]["insertions"], json!(null));
}

/// What a command prints in a terminal with this pager, of which the variable is the one that decides.
fn paged(world: &World, args: &[&str], pager: &str) -> String {
    let read = world.root().join("read");
    let _ = fs::remove_file(&read);
    let env = Env::from_process()
        .with("HYPER_SYNC_CONFIG", world.root().join("config.toml"))
        .with("HYPER_SYNC_TARGET", world.target())
        .with("HYPER_SYNC_STATE_DIR", world.state())
        .with("PAGER", "exit 1")
        .with("HYPER_SYNC_PAGER", pager);
    let stdio = Stdio {
        out: Box::new(std::io::sink()),
        err: Box::new(std::io::sink()),
        out_is_terminal: true,
        err_is_terminal: true,
        err_width: Some(80),
        out_width: Some(80),
        err_is_journal: false,
    };
    let words = ["hyper-sync"].iter().chain(args).map(Into::into);
    let exit = cli::main(words, &env, stdio, &Interrupt::default());
    assert_eq!(exit, Exit::Done);
    fs::read_to_string(read).unwrap_or_default()
}

#[test]
fn a_difference_is_read_with_the_pager_of_the_user_on_a_terminal_only() {
    let world = World::small().synced();
    world.edit("flake.nix", "{ mine = true; }\n");
    let pager = format!("cat > {}", world.root().join("read").display());
    let read = paged(&world, &["diff", "--color", "never"], &pager);
    assert!(
        read.starts_with("diff --git a/flake.nix b/flake.nix\n"),
        "{read}"
    );
    let read = paged(&world, &["log", "--color", "always"], &pager);
    assert!(read.contains("\u{1b}[33m"), "{read}");
    let read = paged(&world, &["history", "--color", "never"], &pager);
    assert!(read.starts_with("* 000001  "), "{read}");
    for args in [
        &["history", "--no-pager"][..],
        &["log", "--no-pager"],
        &["diff", "--no-pager"],
        &["diff", "--json"],
        &["status"],
    ] {
        assert_eq!(paged(&world, args, &pager), "", "{args:?}");
    }
    // A pager that ends at once takes nothing away but its own text.
    assert_eq!(paged(&world, &["diff"], "true"), "");
}
