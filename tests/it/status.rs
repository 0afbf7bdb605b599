//! `hyper-sync status`, and what `diff` shows of the same.

use std::fs;

use serde_json::json;

use crate::common::env::Sandbox;
use crate::common::repo::Repo;
use crate::common::world::World;

/// A repository with files that a machine had before the first sync, and that machine.
fn adopting(settings: &str) -> (Sandbox, Repo) {
    let (sandbox, repo) = (Sandbox::new(), Repo::small());
    let commit = repo
        .write("modules/host-local.nix", "{ theirs = true; }\n")
        .write("modules/own/a.nix", "{ }\n")
        .commit("more");
    sandbox
        .follow(&repo, settings)
        .mask_id(&commit, "commit")
        .edit("modules/host-local.nix", "{ mine = true; }\n");
    (sandbox, repo)
}

#[test]
fn a_kept_file_that_was_here_before_is_listed_until_it_is_removed() {
    let (sandbox, _repo) = adopting("protect = ['modules/*-local.nix']");
    let _ = sandbox.run(&["sync"]).ok();
    insta::assert_snapshot!(sandbox.run(&["status"]).masked(), @"
    exit: 0
    --- stdout
    target    [target]
    commit    [commit] more
    follows   main of [repo]
    changed   [time] ago, 4 files; committed [time] ago
    last run  [time] ago
    rebuild   pending: switch, left [time] ago; `hyper-sync rebuild` does it
    kept      modules/host-local.nix: the commit's version is NOT here, because a pattern of `protect` matches; `hyper-sync diff modules/host-local.nix` shows the difference
    edits     none
    ");
    insta::assert_snapshot!(sandbox.run(&["diff"]).masked(), @r#"
    exit: 0
    --- stdout
    diff --git a/modules/host-local.nix b/modules/host-local.nix
    --- a/modules/host-local.nix
    +++ b/modules/host-local.nix
    @@ -1 +1 @@
    -{ theirs = true; }
    +{ mine = true; }
    "#);
    let kept = |command: &str| sandbox.run(&[command, "--json"]).ok().json()["kept"].clone();
    let expected =
        json!([{ "path": "modules/host-local.nix", "reason": "protected", "withheld": true }]);
    assert_eq!(kept("status"), expected);
    assert_eq!(
        kept("sync"),
        expected,
        "nothing has changed, and it is still so"
    );

    fs::remove_file(sandbox.target().join("modules/host-local.nix")).unwrap();
    assert_eq!(kept("status"), json!([]));
    assert_eq!(sandbox.run(&["diff"]).ok().stdout, "");
    let _ = sandbox.run(&["sync"]).ok();
    sandbox.edit("modules/host-local.nix", "{ mine = true; }\n");
    assert_eq!(kept("status"), json!([]), "it is ours now, and edited");
}

#[test]
fn a_reverted_edit_is_no_longer_kept() {
    let (sandbox, _repo) = adopting("local_edits = 'keep'");
    sandbox.edit("modules/own", "a file\n");
    let _ = sandbox.run(&["sync"]).ok();
    let kept = || sandbox.run(&["status", "--json"]).ok().json()["kept"].clone();
    assert_eq!(
        kept(),
        json!([
            { "path": "modules/host-local.nix", "reason": "policy", "withheld": true },
            { "path": "modules/own/a.nix", "reason": "blocked", "withheld": true },
        ])
    );
    sandbox.edit("modules/host-local.nix", "{ theirs = true; }\n");
    let changed = || {
        let state = fs::read_to_string(sandbox.state().join("sync-state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        state["last_sync"].clone()
    };
    let before = changed();
    let _ = sandbox.run(&["sync"]).ok();
    assert_eq!(
        kept(),
        json!([{ "path": "modules/own/a.nix", "reason": "blocked", "withheld": true }])
    );
    assert_eq!(changed(), before, "nothing was written into the target");
}

#[test]
fn an_edit_against_which_the_commit_was_withheld_is_named_until_it_is_gone() {
    let world = World::small().with("local_edits = 'keep'").synced();
    world.edit("modules/base.nix", "{ mine = true; }\n");
    let untouched = world.sync(&["--verbose"]).ok();
    assert!(
        untouched.stderr.contains("it is not as in the commit, and"),
        "{}",
        untouched.masked()
    );
    let commit = world
        .repo
        .write("modules/base.nix", "{ theirs = true; }\n")
        .write("new.nix", "{ }\n")
        .commit("second");
    world.mask_id(&commit, "commit");
    let first = world.sync(&[]).ok();
    assert!(
        first.out().contains(
            "\n  1 file does not have the commit's version: `hyper-sync diff modules/base.nix`\n"
        ),
        "{}",
        first.masked()
    );
    // A later sync says so too, although its base is that commit.
    for output in [first, world.sync(&["--verbose"]).ok()] {
        let note = "note: `modules/base.nix` stays as it is: the commit's version is NOT here, because `local_edits` is \"keep\"; `hyper-sync diff modules/base.nix` shows the difference\n";
        assert!(output.stderr.contains(note), "{}", output.masked());
    }
    let brief = world.sync(&[]).ok();
    assert!(
        brief.out().ends_with(
            "; 1 file stays as it is, without the commit's version: `hyper-sync diff`\n"
        ),
        "{}",
        brief.masked()
    );
    let status = world.json(&["status"]);
    let base = world.repo.id("main~1:modules/base.nix");
    let base = json!({ "mode": "100644", "id": base });
    let kept =
        json!([{ "path": "modules/base.nix", "reason": "policy", "withheld": true, "base": base }]);
    assert_eq!(status["kept"], kept);
    // Under another policy too.
    let _ = world.sync(&["--local-edits", "refuse"]).ok();
    let status = world.run(&["status"]).ok();
    let says_so = "kept      modules/base.nix: the commit's version is NOT here, because an earlier sync has kept";
    assert!(status.stdout.contains(says_so), "{}", status.masked());
    world.edit("modules/base.nix", "{ theirs = true; }\n");
    assert_eq!(world.json(&["status"])["kept"], json!([]));
    assert_eq!(world.sync(&[]).ok().stderr, "");
}

#[test]
fn a_run_that_failed_is_shown_until_one_ends_well() {
    let world = World::small().synced();
    let last_run = || world.json(&["status"])["last_run"].clone();
    assert_eq!(last_run()["stage"], json!(null));
    assert_eq!(last_run()["failures"], 0);
    assert!(!world.state().join("failed").exists());
    world.set("ref = 'mian'");
    for count in 1..=3 {
        let _ = world.sync(&[]).code(2);
        let last = last_run();
        assert_eq!(last["stage"], "sync");
        assert_eq!(last["exit"], 2);
        assert_eq!(last["code"], "hyper_sync::source::unknown_ref");
        assert_eq!(
            last["message"],
            format!(
                "`mian` is neither a branch nor a tag of {}",
                world.repo.path().display()
            )
        );
        assert_eq!(last["failures"], count);
    }
    let status = world.run(&["status"]).ok().out();
    let line = status.lines().find(|line| line.starts_with("FAILING"));
    assert_eq!(
        line.unwrap(),
        "FAILING   sync, 3 times in a row, first [time] ago, last [time] ago (exit code 2): `mian` is neither a branch nor a tag of [repo]"
    );
    // What a person looks at, or undoes, does not count; and a preview tells nothing.
    let _ = world.run(&["rollback"]).code(1);
    let _ = world.sync(&["--dry-run", "--ref", "main"]).ok();
    assert_eq!(last_run()["failures"], 3);
    world.set("");
    let _ = world.sync(&[]).ok();
    assert_eq!(last_run()["failures"], 0);
    assert!(!world.state().join("failed").exists());
}

#[test]
fn what_only_the_command_line_asks_for_is_no_failed_run() {
    let world = World::small().with("rebuild.action = 'none'").synced();
    let other = world.repo.write("flake.nix", "{ }\n").commit("unrelated");
    world.repo.update_ref("refs/heads/other", &other);
    world
        .repo
        .update_ref("refs/heads/main", &world.repo.id("main~1"));
    let hook = world.root().join("failed.json").display().to_string();
    world
        .link_tool("cat")
        .tool("failed", &format!("cat > '{hook}'"));
    let metrics = world.root().join("hyper-sync.prom").display().to_string();
    world.set(&format!(
        "rebuild.action = 'none'\nmetrics_file = '{metrics}'\nhooks.failed = ['failed']"
    ));
    let failures = || world.json(&["status"])["last_run"]["failures"].clone();
    let _ = world.sync(&[]).ok();
    world.edit("flake.nix", "{ mine = true; }\n");
    for (arguments, code) in [
        (&["rebuild"][..], 2),
        (&["sync", "--ref", "mian"], 2),
        (&["sync", "--base", &other], 64),
        (&["sync", "other", "--local-edits", "refuse"], 8),
        (&["--skip-rebuild", "--ref", "mian"], 2),
    ] {
        let _ = world.run(arguments).code(code);
        assert_eq!(failures(), 0, "{arguments:?}");
        assert!(!world.state().join("failed").exists(), "{arguments:?}");
        let metrics = fs::read_to_string(&metrics).unwrap();
        let count = "hyper_sync_consecutive_failures{";
        let mut counts = metrics.lines().filter(|line| line.starts_with(count));
        assert!(counts.all(|line| line.ends_with(" 0")), "{metrics}");
        assert!(!std::path::Path::new(&hook).exists(), "{arguments:?}");
    }
    // The same in the configuration file is what the timer meets too.
    world.set("rebuild.action = 'none'\nref = 'mian'");
    let _ = world.run(&["--skip-rebuild", "--sandboxed"]).code(2);
    assert_eq!(failures(), 1);
}

#[test]
fn a_failed_rebuild_is_no_news_where_nothing_is_rebuilt_any_more() {
    let world = World::small().synced();
    let _ = world.run(&["rebuild"]).code(2);
    let failing = || world.json(&["status"])["last_run"]["stage"].clone();
    assert_eq!(failing(), "rebuild");
    world.set("rebuild.action = 'none'");
    assert_eq!(failing(), json!(null));
    let _ = world.sync(&[]).ok();
    assert!(!world.state().join("failed").exists());
}

#[test]
fn a_failure_of_several_lines_is_shown_with_what_it_lists() {
    let world = World::small().with("local_edits = 'refuse'").synced();
    for name in ["flake.nix", "modules/base.nix"] {
        world.edit(name, "{ mine = true; }\n");
        world.repo.write(name, "{ theirs = true; }\n");
    }
    world.repo.commit("second");
    let _ = world.sync(&[]).code(8);
    let status = world.run(&["status"]).ok().out();
    let line = status.lines().find(|line| line.starts_with("FAILING"));
    assert_eq!(
        line.unwrap(),
        "FAILING   sync, [time] ago (exit code 8): 2 files were edited here and are changed by the commit: flake.nix; modules/base.nix"
    );
}

#[test]
fn a_run_that_was_cut_off_is_the_last_one_until_another_ends() {
    let world = World::small().synced();
    world.link_tool("env").link_tool("strace");
    let last_run = || world.json(&["status"])["last_run"].clone();
    assert_eq!(last_run()["interrupted"], false);
    world.repo.write("flake.nix", "{ }\n").commit("second");
    // Of a stop by a signal nothing is left to be done; a kill leaves the target unfinished.
    for (signal, calls, line) in [
        (
            "KILL",
            "renameat2,renameat,rename",
            "last run  [time] ago, interrupted",
        ),
        (
            "INT",
            "fsync,fdatasync",
            "last run  [time] ago, interrupted",
        ),
    ] {
        world.repo.write("new.nix", signal).commit(signal);
        let inject = format!("inject={calls}:signal={signal}:when=1");
        let strace = [
            "env",
            "--default-signal=INT",
            "strace",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &inject,
        ];
        let repo = world.repo.path().display().to_string();
        let args = ["sync", "--repo", &repo];
        let status = world.process(&strace, &args).status().unwrap();
        assert!(!status.success(), "{signal}");
        assert_eq!(last_run()["interrupted"], true, "{signal}");
        let text = world.run(&["status"]).ok().out();
        assert!(text.contains(line), "{text}");
        let _ = world.sync(&[]).ok();
        assert_eq!(last_run()["interrupted"], false, "{signal}");
    }
}

#[test]
fn the_next_run_is_that_of_the_timer_of_this_target() {
    let world = World::small().synced();
    let next_run = || world.json(&["status"])["next_run"].clone();
    assert_eq!(next_run(), json!(null), "no systemd");
    let systemctl = |directory: &str| {
        world.tool(
            "systemctl",
            &format!(
                "[ \"$*\" = 'show --property=Id,WorkingDirectory,NextElapseUSecRealtime --timestamp=unix --no-pager hyper-sync.timer hyper-sync.service' ] || exit 1\n\
                 printf 'Id=hyper-sync.timer\\nNextElapseUSecRealtime=@4102444800\\n\\n'\n\
                 printf 'WorkingDirectory={directory}\\nId=hyper-sync.service\\n'"
            ),
        );
    };
    systemctl(&world.state().display().to_string());
    assert_eq!(next_run(), "2100-01-01T00:00:00Z");
    let text = world.run(&["status"]).ok().stdout;
    assert!(text.contains(" years, by `hyper-sync.timer`\n"), "{text}");
    let text = world.run(&["status", "--verbose"]).ok().stdout;
    assert!(
        text.contains("next run  2100-01-01 00:00:00 +00:00 (in "),
        "{text}"
    );
    systemctl("/var/lib/other");
    assert_eq!(next_run(), json!(null), "the units update another target");
    world.tool("systemctl", "exit 1");
    assert_eq!(next_run(), json!(null));
}

#[test]
fn of_many_edits_the_first_are_named() {
    let (sandbox, repo) = (Sandbox::new(), Repo::small());
    for number in 0..30 {
        repo.write(format!("many/{number:02}"), "x");
    }
    repo.commit("many");
    sandbox.follow(&repo, "");
    let _ = sandbox.run(&["sync"]).ok();
    fs::remove_dir_all(sandbox.target().join("many")).unwrap();
    let lines = |args: &[&str]| {
        let text = sandbox.run(args).ok().stdout;
        let missing = text.lines().filter(|line| line.contains("missing  many/"));
        (
            missing.count(),
            text.contains("and 10 more; `--verbose` names them"),
        )
    };
    assert_eq!(lines(&["status"]), (20, true));
    assert_eq!(lines(&["status", "--verbose"]), (30, false));
}

#[test]
fn a_commit_is_shown_with_its_subject_and_time() {
    let world = World::small().synced();
    let commit = world.repo.write("new.nix", "{ }\n").commit("nginx: a site");
    let _ = world.sync(&[]).ok();
    let status = world.json(&["status"]);
    let known = &status["commits"][&commit];
    assert_eq!(known["subject"], "nginx: a site");
    assert!(known["committed_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn status_remote_counts_the_commits_that_are_missing_here() {
    let world = World::small().synced();
    let behind = || world.json(&["status", "--remote"])["behind"].clone();
    let line = || {
        let text = world.run(&["status", "--remote"]).ok().out();
        let line = text.lines().find(|line| line.starts_with("behind"));
        line.unwrap().to_owned()
    };
    assert_eq!(world.json(&["status"])["behind"], json!(null), "not asked");
    let here = world.repo.id("main");
    assert_eq!(
        behind(),
        json!({ "ref": "main", "commit": here, "commits": 0, "descends": true, "lacks": null })
    );
    for number in 0..3 {
        let name = format!("{number}.nix");
        world.repo.write(name, "{ }\n").commit("more");
    }
    let tip = world.repo.id("main");
    let before = fs::read_dir(world.state()).unwrap().count();
    assert_eq!(
        behind(),
        json!({ "ref": "main", "commit": tip, "commits": 3, "descends": true, "lacks": null })
    );
    assert_eq!(
        line(),
        format!(
            "behind    by 3 commits; the repository is at {}",
            &tip[..10]
        )
    );
    assert_eq!(
        fs::read_dir(world.state()).unwrap().count(),
        before,
        "nothing is written"
    );
    assert_eq!(
        fs::read_dir(world.root().join("tmp")).unwrap().count(),
        0,
        "nothing is left"
    );
    // A branch that was set back: what is here is not behind.
    let _ = world.sync(&[]).ok();
    let earlier = world.repo.id("main~1");
    world.repo.update_ref("refs/heads/main", &earlier);
    let tip = world.repo.id("main");
    assert_eq!(
        behind(),
        json!({ "ref": "main", "commit": tip, "commits": null, "descends": false, "lacks": 1 })
    );
    assert_eq!(
        line(),
        format!(
            "behind    not, the repository is at {}, and this commit is 1 commit ahead of that",
            &tip[..10]
        )
    );
}

#[test]
fn a_branch_that_was_taken_once_is_shown_beside_the_configured_one() {
    let repo = Repo::small();
    let world = World::local(&repo).with("ref = 'main'").synced();
    repo.branch("feature").checkout("feature");
    let feature = repo.write("b.nix", "{ }\n").commit("a feature");
    repo.checkout("main");
    let first = repo.write("a.nix", "{ }\n").commit("on main");
    let _ = world.sync(&["feature"]).ok();
    let lines = |arguments: &[&str], names: &[&str]| -> Vec<String> {
        let text = world.run(arguments).ok().out();
        let mut lines = text.lines().skip_while(|line| !line.starts_with(names[0]));
        names
            .iter()
            .map(|_| lines.next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        lines(&["status"], &["follows"]),
        ["follows   main of [repo]; the last sync brought `feature`"]
    );
    let status = world.json(&["status"]);
    assert_eq!(status["ref"], "feature");
    assert_eq!(status["configured_ref"], "main");
    assert_eq!(
        lines(&["status", "--remote"], &["behind", ""]),
        [
            format!(
                "behind    `main`: it is at {}, which does not descend from this commit",
                &first[..10]
            ),
            "          `feature`: not, it is at this commit".to_owned(),
        ]
    );
    // The branch goes when it has been merged.
    repo.delete_ref("refs/heads/feature");
    repo.update_ref("refs/heads/main", &feature);
    assert_eq!(
        lines(&["status", "--remote"], &["behind", ""]),
        [
            "behind    `main`: not, it is at this commit",
            "          `feature`: the repository does not have it any more",
        ]
    );
    let document = world.json(&["status", "--remote"]);
    assert_eq!(document["behind"]["commits"], 0);
    assert_eq!(document["behind_synced"]["commit"], json!(null));
    let _ = world.sync(&[]).ok();
    assert_eq!(
        lines(&["status"], &["follows"]),
        ["follows   main of [repo]"]
    );
    assert_eq!(
        world.json(&["status", "--remote"])["behind_synced"],
        json!(null)
    );
    // A commit is named by its id.
    let _ = world.sync(&[&first, "--allow-rewind"]).ok();
    assert_eq!(
        lines(&["status"], &["follows"]),
        [format!(
            "follows   main of [repo]; the last sync brought {}",
            &first[..10]
        )]
    );
}

#[test]
fn status_remote_takes_the_number_of_an_api_in_few_requests() {
    let repo = Repo::small();
    let served = World::github(&repo, "api").synced();
    repo.write("a.nix", "{ }\n").commit("a");
    repo.write("b.nix", "{ }\n").commit("b");
    let before = served.forge().count();
    let behind = served.json(&["status", "--remote"])["behind"].clone();
    assert_eq!(behind["commits"], 2);
    assert_eq!(behind["descends"], true);
    assert_eq!(served.forge().count() - before, 2);
}

#[test]
fn ids_edits_and_failures_are_coloured_where_that_is_wanted() {
    let repo = Repo::small();
    let commit = repo.id("main");
    let world = World::local(&repo).synced();
    let id = format!("\u{1b}[33m{}\u{1b}[0m", &commit[..10]);
    let plain = world.run(&["status"]).ok().stdout;
    fs::remove_file(world.target().join("flake.nix")).unwrap();
    let shown = world.run(&["status", "--color", "always"]).ok().stdout;
    assert!(
        shown.contains(&format!("\u{1b}[2mcommit\u{1b}[0m    {id} ")),
        "{shown}"
    );
    assert!(
        shown.contains("\u{1b}[31mmissing\u{1b}[0m  flake.nix\n"),
        "{shown}"
    );
    let history = world.run(&["history", "--color", "always"]).ok().stdout;
    assert!(history.contains(&format!("\u{1b}[0m  {id} ")), "{history}");
    assert!(!plain.contains('\u{1b}'), "a pipe has no colours: {plain}");

    world.set("ref = 'mian'");
    let _ = world.sync(&[]).code(2);
    let shown = world.run(&["status", "--color", "always"]).ok().stdout;
    assert!(
        shown.contains("\n\u{1b}[1;31mFAILING\u{1b}[0m   sync, "),
        "{shown}"
    );
}
