//! Local edits that stop an update or a rollback: a preview shows all of it, and each way out is a command that works.

use std::fs;

use crate::common::repo::Repo;
use crate::common::world::World;

const PATH: &str = "modules/base.nix";
const BASE: &str = "{\n  a = 1;\n\n  b = 1;\n\n  c = 1;\n}\n";

/// The file with other values.
fn with(a: u32, b: u32, c: u32) -> String {
    format!("{{\n  a = {a};\n\n  b = {b};\n\n  c = {c};\n}}\n")
}

/// Two commits, of which the second changes the file and has a new one.
fn two_commits() -> Repo {
    let repo = Repo::small();
    repo.write(PATH, BASE).commit("base");
    repo.write(PATH, with(1, 1, 2))
        .write("new.nix", "{ }\n")
        .commit("theirs");
    repo
}

/// A target at the first of the commits, with an edit that conflicts with the second.
fn before_an_update() -> World {
    let world =
        World::local(&two_commits()).with("local_edits = 'refuse'\n[rebuild]\naction = 'none'");
    let _ = world.sync(&["--ref", &world.repo.id("main~1")]).ok();
    world.edit(PATH, with(2, 1, 1));
    world
}

/// A target at the second of them, with an edit that conflicts with going back to the first.
fn before_a_rollback() -> World {
    let world =
        World::local(&two_commits()).with("local_edits = 'refuse'\n[rebuild]\naction = 'none'");
    let _ = world.sync(&["--ref", &world.repo.id("main~1")]).ok();
    let world = world.synced();
    world.edit(PATH, with(2, 1, 2));
    world
}

/// The commands that the help of a conflict names, in order.
fn ways_out(stderr: &str) -> Vec<Vec<String>> {
    let (_, help) = stderr.split_once("\nhelp: ").expect("a help");
    let commands = help.split('`').skip(1).step_by(2);
    let commands = commands.filter_map(|command| command.strip_prefix("hyper-sync "));
    commands
        .map(|command| command.split(' ').map(str::to_owned).collect())
        .collect()
}

#[track_caller]
fn run(world: &World, words: &[String]) -> crate::common::env::Output {
    world.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_preview_shows_the_whole_plan_and_the_conflict() {
    let world = before_an_update();
    world.mask_id(&world.repo.id("main~1"), "base");
    world.mask_id(&world.repo.id("main"), "theirs");
    insta::assert_snapshot!(world.sync(&["--dry-run"]).masked());
    let before = world.target_tree();
    for preview in [
        &["sync", "--dry-run"][..],
        &["sync", "--check-only"],
        &["sync", "--dry-run", "--exit-code"],
        &["--dry-run"],
        &["--check-only"],
    ] {
        let text = world.run(preview).code(8);
        for expected in [
            ", 1 commit\n",
            "  theirs  ",
            "+ new.nix\n",
            "! modules/base.nix\n",
            "  +1 new  !1 in conflict\n",
        ] {
            assert!(text.stdout.contains(expected), "{}", text.masked());
        }
        assert!(
            text.stderr.contains("[plan::conflicts]"),
            "{}",
            text.masked()
        );
        let json = world.run(&[preview, &["--json"]].concat()).code(8).json();
        assert_eq!(json["error"]["conflicts"][0]["path"], PATH);
        assert_eq!(json["sync"]["operations"][0]["path"], "new.nix");
        assert_eq!(json["sync"]["commits"][0]["subject"], "theirs");
    }
    let log = world.run(&["log", "--remote"]).ok();
    assert!(log.stdout.contains("theirs"), "{}", log.masked());
    world.target_tree().assert_same(&before);
}

#[test]
fn a_rollback_says_what_it_would_do() {
    let world = before_a_rollback();
    world.mask_id(&world.repo.id("main~1"), "base");
    world.mask_id(&world.repo.id("main"), "theirs");
    insta::assert_snapshot!(world.run(&["rollback", "--dry-run"]).masked());
    let refused = world.run(&["rollback"]).code(8);
    assert!(
        !refused.stderr.contains("the commit"),
        "{}",
        refused.masked()
    );
    let json = world.run(&["rollback", "--json"]).code(8).json();
    assert_eq!(
        json["error"]["conflicts"][0]["problem"],
        "it was edited here, and the rollback changes it"
    );
    // What cannot be merged, too.
    world.edit(PATH, with(1, 1, 3));
    let refused = world.run(&["rollback", "--local-edits", "merge"]).code(8);
    assert!(
        refused
            .stderr
            .contains("it was edited here, and the rollback changes it; both change line 6"),
        "{}",
        refused.masked()
    );
}

/// By each of the commands, in a world of its own.
#[test]
fn each_way_out_of_an_update_works_when_it_is_pasted() {
    for update in [&["sync"][..], &[]] {
        let refused = before_an_update().run(update).code(8);
        let ways = ways_out(&refused.stderr);
        assert_eq!(ways.len(), 6, "{}", refused.masked());
        for (way, expected) in ways[..5].iter().zip([
            with(2, 1, 1),
            with(2, 1, 1),
            with(2, 1, 2),
            with(2, 1, 1),
            with(1, 1, 2),
        ]) {
            let world = before_an_update();
            let done = run(&world, way).ok();
            assert_eq!(world.read(PATH), expected, "{way:?}");
            if way[0] == "diff" {
                assert!(done.stdout.contains("-  "), "{}", done.masked());
            } else {
                assert!(world.target().join("new.nix").exists(), "{way:?}");
            }
            if way.contains(&"replace".to_owned()) {
                let _ = run(&world, &ways[5]).ok();
                assert_eq!(world.read(PATH), with(2, 1, 1), "{way:?}");
            }
        }
    }
}

#[test]
fn each_way_out_of_a_rollback_works_when_it_is_pasted() {
    let first = before_a_rollback().repo.id("main~1");
    for back in [
        &["rollback"][..],
        &["rollback", &first[..10]],
        &["rollback", "000002"],
    ] {
        let refused = before_a_rollback().run(back).code(8);
        let ways = ways_out(&refused.stderr);
        assert_eq!(ways.len(), 5, "{}", refused.masked());
        for (way, expected) in
            ways[..4]
                .iter()
                .zip([with(2, 1, 2), with(2, 1, 1), with(2, 1, 2), with(1, 1, 1)])
        {
            let world = before_a_rollback();
            let _ = run(&world, way).ok();
            assert_eq!(world.read(PATH), expected, "{way:?}");
            let is_back = !world.target().join("new.nix").exists();
            assert_eq!(is_back, way[0] == "rollback", "{way:?}");
            if way.contains(&"replace".to_owned()) {
                let _ = run(&world, &ways[4]).ok();
                assert_eq!(world.read(PATH), with(2, 1, 2), "{way:?}");
            }
        }
    }
}

/// Before the first sync nothing is known that the file was.
#[test]
fn each_way_out_of_a_file_that_was_here_before_works_when_it_is_pasted() {
    let new = || {
        let world = World::local(&two_commits());
        world.set("local_edits = 'refuse'\n[rebuild]\naction = 'none'");
        world.edit(PATH, "mine\n");
        world
    };
    let refused = new().sync(&[]).code(8);
    let ways = ways_out(&refused.stderr);
    assert_eq!(ways.len(), 4, "{}", refused.masked());
    let theirs = with(1, 1, 2);
    for (way, expected) in ways[..3].iter().zip(["mine\n", "mine\n", &theirs]) {
        let world = new();
        let done = run(&world, way).ok();
        assert_eq!(world.read(PATH), expected, "{way:?}");
        if way[0] == "diff" {
            assert!(done.stdout.contains("-mine\n"), "{}", done.masked());
        }
        if way.contains(&"replace".to_owned()) {
            let _ = run(&world, &ways[3]).ok();
            assert_eq!(world.read(PATH), "mine\n", "{way:?}");
        }
    }
}

/// The options without which it would be another update are in the commands.
#[test]
fn a_way_out_repeats_what_the_update_was_of() {
    let world = World::local(&two_commits()).with("[rebuild]\naction = 'none'");
    world.repo.write(PATH, with(1, 3, 1));
    let branch = world.repo.commit("on no branch");
    succeeds_branch(&world, &branch);
    world.edit(PATH, with(2, 1, 1));
    let options = ["sync", "--ref=feature", "--base", &world.repo.id("main~1")];
    let refused = world.run(&options).code(8);
    let ways = ways_out(&refused.stderr);
    let diff = run(&world, &ways[1]).ok();
    assert!(diff.stdout.contains("+  b = 3;\n"), "{}", diff.masked());
    let _ = run(&world, &ways[2]).ok();
    assert_eq!(world.read(PATH), with(2, 3, 1));
    assert_eq!(world.json(&["status"])["ref"], "feature");
}

/// Moves the commit to a branch of its own.
fn succeeds_branch(world: &World, commit: &str) {
    use crate::common::git::succeeds;
    succeeds(world.repo.git().args(["branch", "feature", commit]));
    succeeds(
        world
            .repo
            .git()
            .args(["update-ref", "refs/heads/main", &format!("{commit}~1")]),
    );
}

/// In a directory of the target, a path in a command is absolute.
#[test]
fn a_way_out_works_in_a_directory_of_the_target() {
    let world = before_an_update();
    let mut command = world.cmd(&["sync"]);
    command.current_dir(world.target().join("modules"));
    let refused = world.finish(&mut command).code(8);
    for way in &ways_out(&refused.stderr)[..2] {
        let mut command = world.cmd(&way.iter().map(String::as_str).collect::<Vec<_>>());
        command.current_dir(world.target().join("modules"));
        let diff = world.finish(&mut command).ok();
        assert!(diff.stdout.contains("a = 2;"), "{}", diff.masked());
    }
    assert!(fs::exists(world.target().join(PATH)).unwrap());
}
