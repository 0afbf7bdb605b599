//! `local_edits = "merge"` by the binary: what it writes, and what the other commands make of a merged file.
//!
//! Which files are merged is in the rows of `docs/local-edits.md` (`policies`); that the merge is git's in `by_git`.

mod by_git;

use crate::common::git::{git, succeeds};
use crate::common::world::World;

const PATH: &str = "modules/base.nix";
const BASE: &str = "{\n  a = 1;\n\n  b = 1;\n\n  c = 1;\n}\n";

/// The file with other values.
fn with(a: u32, b: u32, c: u32) -> String {
    format!("{{\n  a = {a};\n\n  b = {b};\n\n  c = {c};\n}}\n")
}

/// A target at a commit with the file, where `a` is edited, while the branch has changed `c`.
fn edited() -> World {
    let world = World::small().with("local_edits = 'merge'");
    world.repo.write(PATH, BASE).commit("base");
    let world = world.synced();
    world.edit(PATH, with(2, 1, 1));
    world.repo.write(PATH, with(1, 1, 2)).commit("theirs");
    world
}

#[test]
fn an_edit_and_the_commits_change_are_both_taken_update_after_update() {
    let world = edited();
    let output = world.sync(&[]).ok();
    let note = "the local edit of `modules/base.nix` was merged with the commit's change; `hyper-sync diff modules/base.nix` shows the edit, and `hyper-sync restore modules/base.nix` puts it back as it was before";
    assert!(output.stderr.contains(note), "{}", output.masked());
    assert!(!output.stderr.contains("replaced"), "{}", output.masked());
    assert_eq!(world.read(PATH), with(2, 1, 2));

    let history = world.run(&["history"]).ok().stdout;
    assert!(history.contains("1 file, 1 local edit merged"), "{history}");

    // It stays an edit, and the next merge has the commit as its base.
    let status = world.json(&["status"]);
    assert_eq!(status["local_edits"][0]["path"], PATH);
    let diff = world.run(&["diff"]).ok().stdout;
    assert!(diff.contains("-  a = 1;\n+  a = 2;\n"), "{diff}");
    assert!(!diff.contains("+  c"), "{diff}");
    let again = world.sync(&[]).ok();
    assert!(
        again.stdout.contains(" is up to date ("),
        "{}",
        again.masked()
    );
    world.repo.write(PATH, with(1, 3, 2)).commit("more");
    let _ = world.sync(&[]).ok();
    assert_eq!(world.read(PATH), with(2, 3, 2));
    // Once the repository has the edit, it is none.
    world.repo.write(PATH, with(2, 3, 2)).commit("mine");
    let _ = world.sync(&[]).ok();
    world.assert_at("main");
    assert_eq!(
        world.json(&["status"])["local_edits"],
        serde_json::json!([])
    );
}

#[test]
fn a_merge_is_previewed_and_is_data() {
    let world = edited();
    let diff = world.run(&["diff", "--remote"]).ok().stdout;
    assert!(diff.contains("-  c = 1;\n+  c = 2;\n"), "{diff}");
    assert!(!diff.contains("-  a"), "{diff}");
    for preview in ["--check-only", "--dry-run"] {
        let document = world.json(&["sync", preview]);
        let merge = serde_json::json!([{"path": PATH, "action": "merge", "edited": true}]);
        assert_eq!(document["operations"], merge, "{preview}");
        let text = world.sync(&[preview]).ok().stderr;
        assert!(
            text.contains("would be merged with the commit's change"),
            "{text}"
        );
    }
    assert_eq!(world.read(PATH), with(2, 1, 1));
}

#[test]
fn a_conflict_names_the_lines_and_nothing_is_written() {
    let world = edited();
    world
        .repo
        .write("new.nix", "{ }\n")
        .write(PATH, with(3, 1, 2))
        .commit("conflict");
    let before = world.target_tree();
    let output = world.sync(&[]).code(8);
    let line =
        "modules/base.nix: it was edited here, and the commit changes it; both change line 2";
    assert!(output.stderr.contains(line), "{}", output.masked());
    world.target_tree().assert_same(&before);
    // The plan of what is merged besides is not carried out either.
    let diff = world.run(&["diff", "--remote"]).ok();
    assert!(
        diff.stderr.contains("both change line 2"),
        "{}",
        diff.masked()
    );
}

#[test]
fn a_rollback_gives_back_the_bytes_from_before_the_merge_and_can_be_undone() {
    for policy in ["merge", "refuse", "keep"] {
        let world = edited();
        let _ = world.sync(&[]).ok();
        let back = ["rollback", "--local-edits", policy];
        let preview = world.run(&[&back[..], &["--dry-run"]].concat()).ok();
        let note = "note: the local edit of `modules/base.nix` would be as it was before the undone update; what the update had made of it would be kept aside\n";
        assert_eq!(preview.stderr, note, "{policy}");
        for (number, expected) in [(3, with(2, 1, 1)), (4, with(2, 1, 2)), (5, with(2, 1, 1))] {
            let here = world.read(PATH);
            let done = world.run(&back).ok();
            let note = format!(
                "note: the local edit of `modules/base.nix` is as it was before the undone update; what the update had made of it is kept as transaction 00000{number}, and `hyper-sync restore modules/base.nix` puts that back\n"
            );
            assert!(done.stderr.starts_with(&note), "{}", done.masked());
            assert!(!done.stderr.contains("warning"), "{}", done.masked());
            assert_eq!(world.read(PATH), expected, "{policy}");
            if number == 5 {
                // Nothing is lost.
                let _ = world.run(&["restore", PATH]).ok();
                assert_eq!(world.read(PATH), here, "{policy}");
            }
        }
        assert_eq!(world.json(&["status"])["commit"], world.repo.id("main~1"));
    }
}

#[test]
fn a_rollback_names_the_edits_that_it_puts_back_and_replaces() {
    let world = World::small().with("local_edits = 'replace'").synced();
    world.edit("flake.nix", "mine\n");
    world.repo.write("flake.nix", "theirs\n").commit("second");
    let _ = world.sync(&[]).ok();
    let note = |output: &str| output.lines().next().unwrap_or_default().to_owned();
    assert_eq!(
        note(&world.run(&["rollback", "--dry-run"]).ok().stderr),
        "note: the local edit of `flake.nix` would be back, which an undone update had replaced"
    );
    world.edit("flake.nix", "later\n");
    let done = world.run(&["rollback"]).ok();
    assert_eq!(
        note(&done.stderr),
        "warning: the local edit of `flake.nix` was replaced by the one from before the undone update; it is kept as transaction 000003, and `hyper-sync restore flake.nix` puts that back"
    );
    assert_eq!(world.read("flake.nix"), "mine\n");
    let _ = world.run(&["restore", "flake.nix"]).ok();
    assert_eq!(world.read("flake.nix"), "later\n");
}

#[test]
fn a_rollback_over_two_merges_gives_back_the_first_edit() {
    let world = edited();
    let _ = world.sync(&[]).ok();
    world.repo.write(PATH, with(1, 3, 2)).commit("more");
    let _ = world.sync(&[]).ok();
    let _ = world.run(&["rollback", "2"]).ok();
    assert_eq!(world.read(PATH), with(2, 1, 1));
}

#[test]
fn an_edit_after_the_merge_is_carried_over_a_rollback_or_stops_it() {
    let world = edited();
    let _ = world.sync(&[]).ok();
    world.edit(PATH, with(2, 4, 2));
    let _ = world.run(&["rollback", "--local-edits", "refuse"]).code(8);
    assert_eq!(world.read(PATH), with(2, 4, 2));
    let _ = world.run(&["rollback"]).ok();
    assert_eq!(world.read(PATH), with(2, 4, 1));
}

#[test]
fn restore_brings_the_file_back_as_it_was_before_the_merge() {
    let world = edited();
    let _ = world.sync(&[]).ok();
    let _ = world.run(&["restore", PATH]).ok();
    assert_eq!(world.read(PATH), with(2, 1, 1));
    let _ = world.run(&["restore", PATH]).ok();
    assert_eq!(
        world.read(PATH),
        with(2, 1, 2),
        "the same command swaps them"
    );
}

#[test]
fn a_change_that_was_withheld_is_merged_later() {
    // With and without another change of the commit in between.
    for changes_again in [false, true] {
        let world = edited();
        let _ = world.sync(&["--local-edits", "keep"]).ok();
        assert_eq!(world.read(PATH), with(2, 1, 1));
        let mut expected = with(2, 1, 2);
        if changes_again {
            world.repo.write(PATH, with(1, 3, 2)).commit("more");
            expected = with(2, 3, 2);
        }
        let check = world.json(&["sync", "--check-only"]);
        assert_eq!(check["operations"][0]["action"], "merge");
        assert_eq!(world.json(&["diff", "--remote"])["files"][0]["path"], PATH);
        let _ = world.sync(&[]).ok();
        assert_eq!(world.read(PATH), expected);
        assert_eq!(
            world.json(&["status"])["kept"],
            serde_json::json!([]),
            "nothing is withheld any more"
        );
        let _ = world.run(&["rollback"]).ok();
        assert_eq!(world.read(PATH), with(2, 1, 1));
    }
}

/// However many commits came in between, and however often the store was tidied.
#[test]
fn the_base_of_a_withheld_change_outlives_its_commit_in_the_store() {
    let world = edited();
    for commit in 0..40 {
        let _ = world.sync(&["--local-edits", "keep"]).ok();
        world
            .repo
            .write("other.nix", format!("{{ n = {commit}; }}\n"))
            .commit("other");
    }
    let base = world.json(&["status"])["kept"][0]["base"].clone();
    let objects = world.state().join("objects.git");
    let marks = succeeds(git(&objects).args(["for-each-ref", "--format=%(objectname)"]));
    let marks = String::from_utf8(marks).unwrap();
    assert!(
        !marks.contains(&world.repo.id("main~41")),
        "its commit is gone"
    );
    let id = base["id"].as_str().unwrap();
    let content = succeeds(git(&objects).args(["cat-file", "blob", id]));
    assert_eq!(String::from_utf8(content).unwrap(), BASE);
    let _ = world.sync(&[]).ok();
    assert_eq!(world.read(PATH), with(2, 1, 2));
}

#[test]
fn what_was_withheld_and_cannot_be_merged_stays_until_the_commit_changes_it_again() {
    let world = edited();
    world
        .repo
        .write(PATH, with(3, 1, 1))
        .commit("the same line");
    let _ = world.sync(&[]).code(8);
    let _ = world.sync(&["--local-edits", "keep"]).ok();
    let kept = world.sync(&[]).ok();
    assert!(
        kept.stdout.contains("without the commit's version"),
        "{}",
        kept.masked()
    );
    let status = world.json(&["status"]);
    assert_eq!(status["kept"][0]["reason"], "kept-before");
    assert_eq!(status["kept"][0]["withheld"], true);
    world.repo.write(PATH, with(4, 1, 1)).commit("again");
    let _ = world.sync(&[]).code(8);
    // By hand: then nothing is withheld.
    world.edit(PATH, with(4, 5, 1));
    let _ = world.sync(&[]).ok();
    assert_eq!(world.json(&["status"])["kept"], serde_json::json!([]));
    assert_eq!(world.read(PATH), with(4, 5, 1));
}

/// The edit is of the commit that it goes back to.
#[test]
fn a_rollback_past_a_withheld_change_leaves_the_edit_and_withholds_nothing() {
    for policy in ["merge", "refuse", "keep"] {
        let world = edited();
        let _ = world.sync(&["--local-edits", "keep"]).ok();
        let _ = world.run(&["rollback", "--local-edits", policy]).ok();
        assert_eq!(world.read(PATH), with(2, 1, 1), "{policy}");
        let status = world.json(&["status"]);
        assert_eq!(status["kept"], serde_json::json!([]), "{policy}");
    }
}

#[test]
fn a_kept_edit_without_a_record_of_its_base_is_not_merged() {
    let world = edited();
    let _ = world.sync(&["--local-edits", "keep"]).ok();
    // As an earlier version wrote it.
    let path = world.state().join("sync-state.json");
    let mut state = world.sync_state();
    let kept = state["kept"][0].as_object_mut().unwrap();
    kept.remove("base");
    kept["reason"] = "untouched".into();
    std::fs::write(&path, state.to_string()).unwrap();
    assert_eq!(world.json(&["status"])["kept"][0]["reason"], "kept-before");
    let _ = world.sync(&[]).ok();
    assert_eq!(world.read(PATH), with(2, 1, 1));
    world.repo.write(PATH, with(1, 3, 2)).commit("more");
    let output = world.sync(&[]).code(8);
    let problem = "an earlier sync has kept it without the change of an earlier commit";
    assert!(output.stderr.contains(problem), "{}", output.masked());
}

/// At every third rename, flush and removal of the run.
#[test]
fn killed_anywhere_in_a_merging_update_the_next_run_has_merged_it() {
    let calls = ["renameat", "renameat2", "fsync", "unlinkat"];
    let mut points = 0;
    for call in calls {
        for when in (1..).step_by(3) {
            let world = edited();
            world.link_tool("strace");
            let inject = format!("inject={call}:signal=SIGKILL:when={when}");
            let strace = ["strace", "-qq", "-f", "-o", "/dev/null", "-e", &inject];
            let output = world.process(&strace, &["sync"]).output().unwrap();
            if output.status.success() {
                break;
            }
            points += 1;
            let here = world.read(PATH);
            assert!(
                [with(2, 1, 1), with(2, 1, 2)].contains(&here),
                "{call} {when}: {here}"
            );
            let _ = world.sync(&[]).ok();
            assert_eq!(world.read(PATH), with(2, 1, 2), "{call} {when}");
            let _ = world.run(&["rollback"]).ok();
            assert_eq!(world.read(PATH), with(2, 1, 1), "{call} {when}");
        }
    }
    assert!(points > 5, "only {points} calls were found");
}
