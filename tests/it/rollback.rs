//! History, rollback, the hold, and restored local edits.

use crate::common::env::Sandbox;
use crate::common::forge::{Forge, OWNER_NAME};
use crate::common::git;
use crate::common::world::World;

/// A target at the second of two commits.
fn at_the_second_commit() -> World {
    let world = World::small().synced();
    world
        .repo
        .write("modules/base.nix", "{ second = true; }\n")
        .write("modules/new.nix", "{ }\n")
        .remove("scripts/run.sh")
        .commit("second");
    world.synced()
}

#[test]
fn a_rollback_restores_bytes_modes_and_deletions_without_the_network() {
    let world = at_the_second_commit();
    let gone = world.repo.path().with_extension("away");
    std::fs::rename(world.repo.path(), &gone).unwrap();
    let _ = world.run(&["rollback", "--dry-run"]).ok();
    let output = world.run(&["rollback"]).ok();
    assert!(output.stderr.contains("is held"), "{}", output.masked());
    std::fs::rename(&gone, world.repo.path()).unwrap();
    world.assert_at("main~1");
    let _ = world.run(&["rollback"]).ok();
    world.assert_at("main");
}

#[test]
fn a_commit_that_was_rolled_back_from_is_held_until_the_branch_moves_on() {
    let world = at_the_second_commit();
    let _ = world.run(&["rollback"]).ok();
    for _ in 0..2 {
        let held = world.sync(&[]).ok();
        assert!(
            held.stderr.contains("rolled back from"),
            "{}",
            held.masked()
        );
        world.assert_at("main~1");
    }
    world
        .repo
        .write("modules/base.nix", "{ third = true; }\n")
        .commit("third");
    let after = world.sync(&[]).ok();
    assert!(
        !after.stderr.contains("rolled back from"),
        "{}",
        after.masked()
    );
    world.assert_at("main");
}

#[test]
fn a_branch_that_goes_back_to_a_held_commit_between_two_requests_is_held() {
    let world = at_the_second_commit();
    let _ = world.run(&["rollback"]).ok();
    let held = world.repo.id("main");
    world
        .repo
        .write("modules/third.nix", "{ }\n")
        .commit("third");
    let forge = Forge::serve(&world.repo);
    let repo = format!("repo = 'http://{}/{OWNER_NAME}.git'\n", forge.host());
    world.config(&repo);
    forge.after_each_request(move |repo| {
        repo.update_ref("refs/heads/main", &held);
        git::succeeds(repo.git().args(["gc", "--quiet", "--prune=now"]));
    });
    let output = world.sync(&["--allow-other-repo"]).ok();
    assert!(
        output.stderr.contains("rolled back from"),
        "{}",
        output.masked()
    );
    world.assert_at("main~1");
    assert!(forge.count() > 2, "it was asked for once more");
}

#[test]
fn a_held_commit_is_synced_again_on_demand() {
    let world = at_the_second_commit();
    let _ = world.run(&["rollback"]).ok();
    let _ = world.sync(&["--resume"]).ok();
    world.assert_at("main");
    let _ = world.sync(&[]).ok();
    world.assert_at("main");
}

#[test]
fn a_commit_can_be_named_by_a_prefix_and_one_that_is_not_kept_is_refused() {
    let world = at_the_second_commit();
    world
        .repo
        .write("modules/base.nix", "{ third = true; }\n")
        .commit("third");
    let _ = world.sync(&[]).ok();
    let first = world.repo.id("main~2");
    let before = world.target_tree();
    let _ = world.run(&["rollback", "ffffffff"]).code(1);
    let _ = world.run(&["rollback", "9"]).code(1);
    world.target_tree().assert_same(&before);
    let _ = world.run(&["rollback", &first[..10]]).ok();
    world.assert_at("main~2");
}

#[test]
fn a_replaced_edit_comes_back_with_the_rollback_and_is_an_edit_again() {
    let world = at_the_second_commit();
    world.edit("modules/base.nix", "{ mine = true; }\n");
    world
        .repo
        .write("modules/base.nix", "{ third = true; }\n")
        .commit("third");
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    let _ = world.run(&["rollback"]).ok();
    assert_eq!(world.read("modules/base.nix"), "{ mine = true; }\n");
    let status = world.run(&["status", "--json"]).ok().json();
    assert_eq!(status["local_edits"][0]["path"], "modules/base.nix");
    assert_eq!(status["commit"], world.repo.id("main~1"));
}

#[test]
fn a_later_edit_conflicts_with_a_rollback_as_with_a_sync() {
    let world = at_the_second_commit();
    world.edit("modules/base.nix", "{ later = true; }\n");
    let before = world.target_tree();
    let _ = world.run(&["rollback"]).code(8);
    world.target_tree().assert_same(&before);
    let _ = world.run(&["rollback", "--local-edits", "keep"]).ok();
    assert_eq!(world.read("modules/base.nix"), "{ later = true; }\n");
    assert!(world.target().join("scripts/run.sh").exists());
}

/// As docs/going-back.md tells it.
#[test]
fn a_second_rollback_in_a_row_goes_forward_and_two_go_further_back() {
    let world = at_the_second_commit();
    world.repo.write("third.nix", "{ }\n").commit("third");
    let world = world.synced();
    for (back, expected) in [
        (&["rollback"][..], "main~1"),
        (&["rollback"], "main"),
        (&["rollback"], "main~1"),
        (&["rollback", "2"], "main~2"),
    ] {
        let commit = world.repo.id(expected);
        let preview = world.json(&[back, &["--dry-run"]].concat());
        assert_eq!(preview["commit"], commit.as_str(), "{back:?}");
        let _ = world.run(back).ok();
        world.assert_at(expected);
    }
}

#[test]
fn restore_puts_an_edit_back_and_the_next_sync_sees_it_as_one() {
    let world = at_the_second_commit();
    world.edit("modules/base.nix", "{ mine = true; }\n");
    world.edit("flake.nix", "{ mine = true; }\n");
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    world.assert_at("main");
    let output = world.run(&["restore", "modules"]).ok();
    assert!(
        output.stdout.contains("modules/base.nix"),
        "{}",
        output.masked()
    );
    assert_eq!(world.read("modules/base.nix"), "{ mine = true; }\n");
    assert_ne!(
        world.read("flake.nix"),
        "{ mine = true; }\n",
        "not asked for"
    );
    let kept = world.sync(&[]).ok();
    assert!(
        kept.stdout
            .ends_with("; 1 file stays as it is: `hyper-sync diff`\n"),
        "{}",
        kept.masked()
    );
    let _ = world.run(&["restore", "modules/new.nix"]).code(1);
    let _ = world.run(&["restore"]).code(64);
}

#[test]
fn history_lists_what_can_be_undone() {
    let world = at_the_second_commit();
    let (first, second) = (world.repo.id("main~1"), world.repo.id("main"));
    world.mask_id(&first, "first").mask_id(&second, "second");
    world.edit("flake.nix", "{ mine = true; }\n");
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    insta::assert_snapshot!(world.run(&["history"]).masked(), @r#"
    exit: 0
    --- stdout
      000003  [second] second
              [time] ago: repair (main), 1 file, 1 local edit replaced
                flake.nix
    * 000002  [second] second
              [time] ago: sync from [first] (main), 3 files
      000001  [first] start
              [time] ago: first sync (main), 3 files
    "#);
    let updates = world.run(&["history", "--json"]).ok().json()["updates"].clone();
    assert_eq!(updates[0]["edits"][0], "flake.nix");
    assert_eq!(updates.as_array().unwrap().len(), 3);
}

#[test]
fn history_says_what_made_each_update() {
    let world = at_the_second_commit();
    world.edit("flake.nix", "{ mine = true; }\n");
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    let _ = world.run(&["restore", "flake.nix"]).ok();
    let _ = world.run(&["rollback"]).ok();
    world.repo.write("third.nix", "{ }\n").commit("third");
    let _ = world.sync(&[]).ok();
    let _ = world.run(&["rollback"]).ok();
    let updates = world.json(&["history"])["updates"].clone();
    let field = |name: &str| -> Vec<serde_json::Value> {
        let updates = updates.as_array().unwrap().iter();
        updates.map(|update| update[name].clone()).collect()
    };
    assert_eq!(
        field("kind"),
        [
            "rollback", "sync", "rollback", "restore", "repair", "sync", "first"
        ]
    );
    assert_eq!(
        field("current"),
        [true, false, false, false, false, false, false]
    );
    assert_eq!(field("subject")[1], "third");
    let text = world.run(&["history"]).ok().out();
    assert!(text.contains("[time] ago: rollback from "), "{text}");
    assert!(
        text.contains("[time] ago: restore (main), 1 file, "),
        "{text}"
    );
}

#[test]
fn a_branch_that_is_not_synced_yet_has_no_history() {
    let sandbox = Sandbox::new();
    let _ = sandbox.run(&["history"]).ok();
    let _ = sandbox.run(&["rollback"]).code(1);
    let _ = sandbox.run(&["restore", "flake.nix"]).code(1);
}

#[test]
fn rolling_back_further_keeps_the_commits_left_before_on_hold() {
    let world = at_the_second_commit();
    world
        .repo
        .write("modules/base.nix", "{ bad = true; }\n")
        .commit("third");
    let _ = world.sync(&[]).ok();
    let _ = world.run(&["rollback"]).ok();
    world.assert_at("main~1");
    let first = world.repo.id("main~2");
    let _ = world.run(&["rollback", &first[..10]]).ok();
    for _ in 0..2 {
        let _ = world.sync(&[]).ok();
        world.assert_at("main~2");
    }
    let status = world.run(&["status", "--json"]).ok().json();
    let held = [world.repo.id("main"), world.repo.id("main~1")];
    assert_eq!(status["held"].as_array().unwrap().len(), 2);
    assert!(
        held.iter()
            .all(|id| status["held"].to_string().contains(id))
    );
    // The commit that it is at now is not held any more: the person has chosen it.
    let _ = world.run(&["rollback"]).ok();
    world.assert_at("main~1");
    let status = world.run(&["status", "--json"]).ok().json();
    assert!(!status["held"].to_string().contains(&held[1]), "{status}");
}

#[test]
fn a_rollback_that_is_refused_holds_nothing() {
    let world = at_the_second_commit();
    world.edit("modules/base.nix", "{ mine = true; }\n");
    let _ = world.run(&["rollback"]).code(8);
    let status = world.run(&["status", "--json"]).ok().json();
    assert_eq!(status["held"], serde_json::json!([]));
    let after = world.sync(&[]).ok();
    assert!(!after.stderr.contains("is held"), "{}", after.masked());
}

#[test]
fn a_sync_to_another_branch_ends_no_hold() {
    let world = at_the_second_commit();
    world.repo.branch("feature");
    let _ = world.run(&["rollback"]).ok();
    world
        .repo
        .checkout("feature")
        .write("feature.nix", "{ }\n")
        .commit("feature");
    let _ = world.sync(&["--ref", "feature"]).ok();
    world.assert_at("feature");
    let held = world.sync(&["--ref", "main"]).ok();
    assert!(held.stderr.contains("is held"), "{}", held.masked());
}

#[test]
fn an_edit_whose_place_was_taken_comes_back_with_a_rollback() {
    let world = at_the_second_commit();
    world.edit("modules/base.nix", "{ mine = true; }\n");
    world
        .repo
        .remove("modules")
        .write("modules", "now a file\n")
        .commit("third");
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    let refused = world.run(&["restore", "modules"]).code(8);
    assert!(
        refused
            .stderr
            .contains("`modules` is not a directory any more"),
        "{}",
        refused.masked()
    );
    let _ = world.run(&["rollback"]).ok();
    assert_eq!(world.read("modules/base.nix"), "{ mine = true; }\n");
}

#[test]
fn edits_are_kept_longer_than_the_updates_that_replaced_nothing() {
    let world = at_the_second_commit();
    world.edit("flake.nix", "{ mine = true; }\n");
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    for number in 0..12 {
        world
            .repo
            .write("modules/new.nix", format!("{{ number = {number}; }}\n"))
            .commit("more");
        let _ = world.sync(&[]).ok();
    }
    let updates = world.run(&["history", "--json"]).ok().json()["updates"].clone();
    assert_eq!(updates.as_array().unwrap().len(), 11);
    let _ = world.run(&["restore", "flake.nix"]).ok();
    assert_eq!(world.read("flake.nix"), "{ mine = true; }\n");
}

#[test]
fn restoring_over_an_edit_keeps_that_edit_too() {
    let world = at_the_second_commit();
    world.edit("flake.nix", "{ first = true; }\n");
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    world.edit("flake.nix", "{ second = true; }\n");
    for expected in ["{ first = true; }\n", "{ second = true; }\n"] {
        let output = world.run(&["restore", "flake.nix"]).ok();
        assert!(
            output.stdout.contains("swaps them again"),
            "{}",
            output.masked()
        );
        assert_eq!(world.read("flake.nix"), expected);
    }
    let output = world.run(&["restore", "flake.nix"]).ok();
    assert!(!output.stderr.contains("replaces it again"), "it does not");
    world.follow(
        &world.repo,
        "local_edits = 'replace'\nprotect = ['*-local.nix']",
    );
    let output = world.run(&["restore", "flake.nix"]).ok();
    assert!(
        output.stderr.contains("replaces it again"),
        "{}",
        output.masked()
    );
    world.follow(
        &world.repo,
        "local_edits = 'replace'\nprotect = ['flake.nix']",
    );
    let output = world.run(&["restore", "flake.nix"]).ok();
    assert_eq!(output.stderr, "");
    let report = world.run(&["restore", "--json", "flake.nix"]).ok().json();
    assert_eq!(report["displaced"][0], "flake.nix");
}

#[test]
fn an_edit_that_does_not_fit_into_the_earlier_commit_is_reported_and_stays_kept() {
    let world = at_the_second_commit();
    world.repo.remove("modules").write("modules", "a file\n");
    world.repo.commit("third");
    let _ = world.sync(&[]).ok();
    world.repo.remove("modules").write("modules/a.nix", "{ }\n");
    world.repo.commit("fourth");
    let _ = world.sync(&[]).ok();
    world.edit("modules/a.nix", "{ mine = true; }\n");
    world
        .repo
        .write("modules/a.nix", "{ fifth = true; }\n")
        .commit("fifth");
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    let back = world.run(&["rollback", "2"]).ok();
    world.assert_at("main~2");
    assert!(
        back.stderr.contains("`modules/a.nix` is not put back"),
        "{}",
        back.masked()
    );
    let _ = world.sync(&["--resume"]).ok();
    let _ = world.run(&["restore", "modules"]).ok();
    assert_eq!(world.read("modules/a.nix"), "{ mine = true; }\n");
}

#[test]
fn a_commit_that_the_store_has_lost_is_named_with_the_command_that_fetches_it() {
    let world = at_the_second_commit();
    std::fs::remove_dir_all(world.state().join("objects.git")).unwrap();
    let before = world.target_tree();
    let refused = world.run(&["rollback"]).code(1);
    let way = format!("`hyper-sync sync --ref {}`", world.repo.id("main~1"));
    assert!(refused.stderr.contains(&way), "{}", refused.masked());
    world.target_tree().assert_same(&before);
    let _ = world.sync(&["--ref", &world.repo.id("main~1")]).ok();
    world.assert_at("main~1");
}

#[test]
fn a_held_commit_stays_held_when_the_index_is_lost() {
    let world = at_the_second_commit();
    let _ = world.run(&["rollback"]).ok();
    std::fs::remove_file(world.state().join("index")).unwrap();
    let held = world.sync(&[]).ok();
    assert!(held.stderr.contains("is held"), "{}", held.masked());
    world.assert_at("main~1");
    let status = world.run(&["status", "--json"]).ok().json();
    assert_eq!(status["commit"], world.repo.id("main~1"));
}

#[test]
fn repairs_do_not_take_away_the_way_back() {
    let world = at_the_second_commit();
    world.set("local_edits = 'replace'");
    for number in 0..12 {
        world.edit("flake.nix", format!("{{ lock = {number}; }}\n"));
        let _ = world.sync(&[]).ok();
        std::fs::remove_file(world.target().join("modules/new.nix")).unwrap();
        let _ = world.sync(&[]).ok();
    }
    // The last ten repairs are kept, of which five replaced no edit, and all older ones that did.
    let history = world.json(&["history"])["updates"].clone();
    let repairs = history.as_array().unwrap().iter().filter(|update| {
        update["before"] == update["after"] && update["edits"].as_array().unwrap().is_empty()
    });
    assert_eq!(repairs.count(), 5);
    assert_eq!(history.as_array().unwrap().len(), 2 + 5 + 12);
    let _ = world.run(&["rollback", "--local-edits", "replace"]).ok();
    assert_eq!(world.json(&["status"])["commit"], world.repo.id("main~1"));
}

#[test]
fn a_rollback_goes_to_any_commit_of_the_store() {
    let world = World::small().synced();
    let first = world.repo.id("main");
    for number in 0..12 {
        world
            .repo
            .write("modules/base.nix", format!("{{ number = {number}; }}\n"))
            .commit("next");
        let _ = world.sync(&[]).ok();
        if number == 6 {
            // What is left is that commit in the store.
            std::fs::remove_dir_all(world.state().join("undo")).unwrap();
        }
    }
    let seventh = world.repo.id("main~6");
    let _ = world.run(&["rollback", "ffffffff"]).code(1);
    let _ = world.run(&["rollback", &first[..10]]).ok();
    world.assert_at("main~12");
    assert_eq!(world.json(&["status"])["ref"], "main");
    let _ = world.run(&["rollback", &seventh[..10]]).ok();
    world.assert_at("main~6");
}

#[test]
fn a_number_counts_commits_and_no_rollbacks() {
    let world = at_the_second_commit();
    world
        .repo
        .write("modules/base.nix", "{ third = true; }\n")
        .commit("third");
    let _ = world.sync(&[]).ok();
    let _ = world.run(&["rollback"]).ok();
    let _ = world.run(&["rollback"]).ok();
    world.assert_at("main");
    // One back is the second commit, two the first.
    let _ = world.run(&["rollback", "2"]).ok();
    world.assert_at("main~2");
    let _ = world.run(&["rollback", "3"]).code(1);
}

#[test]
fn the_number_of_an_update_leads_to_what_was_before_it() {
    let world = at_the_second_commit();
    world
        .repo
        .write("modules/base.nix", "{ third = true; }\n")
        .commit("third");
    let _ = world.sync(&[]).ok();
    let history = world.json(&["history"])["updates"].clone();
    let ids: Vec<String> = { history.as_array().unwrap().iter() }
        .map(|update| update["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["000003", "000002", "000001"]);
    let _ = world.run(&["rollback", "000002"]).ok();
    world.assert_at("main~2");
    // Nothing was before the first.
    let refused = world.run(&["rollback", "000001"]).code(1);
    assert!(
        refused
            .stderr
            .contains("update 000001 has no state before it"),
        "{}",
        refused.masked()
    );
}

#[test]
fn a_move_that_changes_no_file_is_in_the_history_and_can_be_undone() {
    let world = at_the_second_commit();
    let second = world.repo.id("main");
    world
        .repo
        .write("modules/base.nix", "{ third = true; }\n")
        .commit("third");
    let fourth = world
        .repo
        .write("modules/base.nix", "{ second = true; }\n")
        .commit("fourth");
    let moved = world.sync(&[]).ok();
    assert!(
        moved.stdout.contains("\n  no file was changed\n"),
        "{}",
        moved.masked()
    );
    let last = world.json(&["history"])["updates"][0].clone();
    assert_eq!(last["changed"], 0);
    assert_eq!(
        (&last["before"], &last["after"]),
        (&second.clone().into(), &fourth.into())
    );
    let _ = world.run(&["rollback"]).ok();
    assert_eq!(world.json(&["status"])["commit"], second);
    assert_eq!(
        world.json(&["history"])["updates"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

/// A target in which an edit of `flake.nix` was replaced.
fn replaced(settings: &str) -> World {
    let world = World::small()
        .with(&format!("{settings}\nlocal_edits = 'replace'"))
        .synced();
    world.edit("flake.nix", "{ mine = true; }\n");
    let _ = world.sync(&[]).ok();
    world
}

#[test]
fn a_restored_edit_that_is_protected_stays_and_the_file_keeps_its_comments() {
    let world = replaced("# Why.\nprotect = ['*-local.nix']");
    let output = world.run(&["restore", "--protect", "flake.nix"]).ok();
    assert!(
        output.stderr.contains("`/flake.nix` is in `protect` of"),
        "{}",
        output.masked()
    );
    assert!(!output.stderr.contains("replaces it again"));
    let file = std::fs::read_to_string(world.root().join("config.toml")).unwrap();
    let line = "# Why.\nprotect = ['*-local.nix', \"/flake.nix\"]";
    assert!(file.contains(line), "{file}");
    let _ = world.sync(&[]).ok();
    assert_eq!(world.read("flake.nix"), "{ mine = true; }\n");
    let again = world.json(&["restore", "--protect", "flake.nix"]);
    let nothing = serde_json::json!({ "patterns": [], "set": true });
    assert_eq!(again["protected"], nothing);
}

#[test]
fn where_the_configuration_is_managed_the_lines_to_add_are_printed() {
    let world = replaced("");
    let file = world.root().join("config.toml");
    let store = world.root().join("store.toml");
    std::fs::rename(&file, &store).unwrap();
    std::os::unix::fs::symlink(&store, &file).unwrap();
    let before = std::fs::read(&store).unwrap();
    let output = world.run(&["restore", "--protect", "flake.nix"]).code(2);
    for line in [
        r#"protect = ["hardware-configuration.nix", "/flake.nix"]"#,
        r#"services.hyper-sync.protect = [ "hardware-configuration.nix" "/flake.nix" ];"#,
    ] {
        assert!(output.stderr.contains(line), "{}", output.masked());
    }
    assert_eq!(world.read("flake.nix"), "{ mine = true; }\n");
    assert_eq!(std::fs::read(&store).unwrap(), before);
    assert!(file.is_symlink());
}

#[test]
fn a_path_is_relative_to_a_directory_of_the_target_and_so_are_hints() {
    let world = World::small().with("local_edits = 'replace'").synced();
    world.edit("flake.nix", "{ mine = true; }\n");
    let sync = world
        .process(&[], &["sync"])
        .current_dir(world.target().join("modules"))
        .output();
    let text = String::from_utf8(sync.unwrap().stderr).unwrap();
    let path = world.target().join("flake.nix");
    let hint = format!("hyper-sync restore {}", path.display());
    assert!(text.contains(&hint), "{text}");
    let here = |path: &str| {
        let mut process = world.process(&[], &["restore", path]);
        process
            .current_dir(world.target().join("modules"))
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(
        here("flake.nix"),
        Some(1),
        "there is none of modules/flake.nix"
    );
    assert_eq!(here("../flake.nix"), Some(0));
    assert_eq!(world.read("flake.nix"), "{ mine = true; }\n");
}
