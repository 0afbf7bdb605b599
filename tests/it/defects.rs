//! What the shell scripts that hyper-sync replaces did wrong: one test a defect, so that none comes back.
//!
//! The letters are those of the list in the project's issue about the main job. One is elsewhere: r, a rebuild of
//! something else than what was synced, is shown with real Nix for every layout of a host's flake in `tests/nix`.

use std::os::unix::fs::PermissionsExt;

use crate::common::env::Sandbox;
use crate::common::forge::Forge;
use crate::common::forge::fault::{Action, When};
use crate::common::repo::{Entry, Repo};
use crate::common::snapshot::TreeSnapshot;
use crate::common::world::World;

/// A machine that gets the repository by the API of a forge, or by git from its path.
fn by(transport: &str, repo: &Repo) -> World {
    match transport {
        "api" => World::github(repo, "api"),
        _ => World::local(repo),
    }
}

#[test]
fn a_verbose_output_never_becomes_part_of_a_result() {
    let repo = Repo::small();
    let world = World::github(&repo, "api");
    let _ = world.sync(&["--verbose"]).ok();
    assert_eq!(
        world.sync_state()["last_sync"]["commit_sha"],
        repo.id("main")
    );
    world.assert_at("main");
}

#[test]
fn b_files_deleted_upstream_are_deleted_here() {
    let repo = Repo::small();
    let world = World::local(&repo);
    let _ = world.sync(&[]).ok();
    world.edit("modules/mine.nix", "{ }");
    repo.remove("modules/base.nix")
        .remove("scripts/run.sh")
        .commit("clean up");
    let _ = world.sync(&[]).ok();
    assert_eq!(
        world.target_tree().files(),
        ["flake.nix", "modules/mine.nix"],
        "ours are gone, theirs stays"
    );
    assert!(
        !world.target().join("scripts").exists(),
        "the directory that became empty is gone"
    );
}

#[test]
fn c_execute_bits_come_from_the_commit_wherever_a_file_is() {
    let repo = Repo::small();
    repo.write_exec("tools/check", "#!/bin/sh\n")
        .write("scripts/data.txt", "data")
        .commit("bits");
    let world = World::local(&repo);
    let _ = world.sync(&[]).ok();
    let mode = |path: &str| {
        std::fs::metadata(world.target().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("tools/check"), mode("scripts/data.txt")),
        (0o755, 0o644)
    );
    repo.chmod("tools/check", "100644").commit("plain");
    let _ = world.sync(&[]).ok();
    assert_eq!(mode("tools/check"), 0o644);
}

#[test]
fn d_symlinks_are_symlinks() {
    let repo = Repo::small();
    repo.symlink("current.nix", "modules/base.nix")
        .commit("link");
    for transport in ["api", "git"] {
        let world = by(transport, &repo);
        let _ = world.sync(&[]).ok();
        let link = std::fs::read_link(world.target().join("current.nix")).unwrap();
        assert_eq!(link.to_str(), Some("modules/base.nix"), "{transport}");
    }
}

#[test]
fn e_a_submodule_without_gitmodules_is_left_out_with_one_notice() {
    let repo = Repo::small();
    repo.gitlink("external/tool", "1111111111111111111111111111111111111111")
        .commit("submodule");
    let world = World::local(&repo);
    let output = world.sync(&[]).ok();
    assert_eq!(
        output.stderr.matches("external/tool").count(),
        1,
        "{}",
        output.masked()
    );
    assert!(!world.target().join("external").exists());
}

#[test]
fn f_a_push_during_the_run_does_not_mix_commits() {
    let repo = Repo::small();
    let world = World::github(&repo, "api");
    let resolved = repo.id("main");
    let mut count = 0;
    world.forge().after_each_request(move |repo| {
        count += 1;
        repo.write("modules/base.nix", format!("{{ n = {count}; }}"))
            .commit("push");
    });
    let _ = world.sync(&[]).ok();
    assert_eq!(world.sync_state()["last_sync"]["commit_sha"], resolved);
    world.assert_at(&resolved);
}

#[test]
fn g_a_private_repository_is_read_with_the_token_and_the_token_goes_nowhere_else() {
    let token = "canary-5f1c0a9d";
    let repo = Repo::small();
    for transport in ["api", "git"] {
        let forge = Forge::private(&repo, token);
        let world = Sandbox::new();
        let file = world.root().join("token");
        std::fs::write(&file, format!("{token}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (name, api, file) = (
            forge.owner_name(),
            forge.api_url(),
            file.display().to_string(),
        );
        let with = [
            "sync",
            "--repo",
            &name,
            "--api-url",
            &api,
            "--transport",
            transport,
            "--verbose",
        ];
        let _ = world.run(&with).code(4);
        let output = world
            .run(&[&with[..], &["--token-file", &file]].concat())
            .ok();
        world
            .target_tree()
            .assert_same(&TreeSnapshot::of_commit(&repo, "main"));
        assert!(!output.stdout.contains(token) && !output.stderr.contains(token));
        for directory in [world.target(), world.state(), world.home()] {
            for (path, node) in TreeSnapshot::of(&directory).nodes() {
                let found = format!("{node:?}").contains(token);
                assert!(!found, "the token is in {}", String::from_utf8_lossy(path));
            }
        }
    }
}

#[test]
fn h_a_full_download_can_be_of_a_commit() {
    let repo = Repo::small();
    let first = repo.id("main");
    repo.write("flake.nix", "{ }").commit("second");
    let world = World::local(&repo);
    let _ = world.sync(&["--ref", &first, "--force-full"]).ok();
    world.assert_at(&first);
}

#[test]
fn i_a_truncated_listing_is_walked_and_never_read_as_deletions() {
    let repo = Repo::with_history(3);
    let world = World::github(&repo, "api");
    let _ = world.sync(&[]).ok();
    repo.write("one/more.nix", "{ }").commit("more");
    world.forge().configure(|config| config.tree_entries = 5);
    let _ = world.sync(&[]).ok();
    world.assert_at("main");
}

#[test]
fn j_odd_names_arrive_and_dangerous_ones_refuse_the_commit() {
    let repo = Repo::small();
    for name in [
        "a|b",
        "sp ace",
        "per%20cent",
        "hash#?",
        "-rf",
        "$(touch pwn)",
        "café",
        "plus+&=",
        "quote'\"",
    ] {
        repo.write(name, name);
    }
    repo.commit("odd names");
    for transport in ["api", "git"] {
        let world = by(transport, &repo);
        let _ = world.sync(&[]).ok();
        world.assert_at("main");
    }
    let blob = repo.blob("evil");
    let good = repo.id("main");
    for name in ["..", ".git", "/etc/passwd"] {
        let tree = repo.raw_tree(&[Entry::file(name, &blob)]);
        let commit = repo.commit_tree(&tree, &[&good], "evil");
        repo.update_ref("refs/heads/evil", &commit);
        let world = World::local(&repo);
        let _ = world.sync(&["--ref", "evil"]).code(7);
        assert!(
            !world.target().exists() || world.target_tree().is_empty(),
            "{name}"
        );
    }
}

#[test]
fn k_a_failing_download_leaves_the_old_tree() {
    let repo = Repo::small();
    let world = World::github(&repo, "api");
    let _ = world.sync(&[]).ok();
    let before = world.target_tree();
    for n in 0..6 {
        repo.write(format!("modules/{n}.nix"), format!("{{ n = {n}; }}"));
    }
    repo.commit("six files");
    let hits = world
        .forge()
        .fault(When::get("/git/blobs/").from(4), Action::status(404, "{}"));
    let output = world.sync(&[]);
    assert!(hits.count() > 0);
    assert_ne!(output.code, Some(0), "{}", output.masked());
    world.target_tree().assert_same(&before);
    world.forge().clear_faults();
    let _ = world.sync(&[]).ok();
    world.assert_at("main");
}

#[test]
fn l_a_local_edit_is_named_and_kept() {
    let repo = Repo::small();
    let world = World::local(&repo);
    let _ = world.sync(&[]).ok();
    world.edit("modules/base.nix", "{ mine = true; }");
    repo.write("modules/base.nix", "{ theirs = true; }")
        .commit("theirs");
    let refused = world.sync(&[]).code(8);
    assert!(
        refused.stderr.contains("modules/base.nix"),
        "{}",
        refused.masked()
    );
    assert_eq!(world.read("modules/base.nix"), "{ mine = true; }");
    let replaced = world.sync(&["--local-edits", "replace"]).ok();
    assert!(
        replaced.stderr.contains("modules/base.nix"),
        "{}",
        replaced.masked()
    );
    assert_eq!(world.read("modules/base.nix"), "{ theirs = true; }");
    let kept = TreeSnapshot::of(&world.state().join("undo"));
    assert!(
        kept.nodes()
            .values()
            .any(|node| format!("{node:?}").contains("mine = true")),
        "{:?}",
        kept.files()
    );
}

#[test]
fn m_a_full_download_keeps_local_files_and_leaves_no_backup_beside_the_target() {
    let repo = Repo::small();
    let world = World::local(&repo);
    let _ = world.sync(&[]).ok();
    world.edit("users-local.nix", "{ }");
    repo.write("flake.nix", "{ }").commit("second");
    let _ = world.sync(&["--force-full"]).ok();
    assert_eq!(world.read("users-local.nix"), "{ }");
    assert_eq!(world.read("flake.nix"), "{ }");
    let beside: Vec<_> = std::fs::read_dir(world.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("target") && name != "target")
        .collect();
    assert!(beside.is_empty(), "{beside:?}");
}

#[test]
fn n_a_second_run_does_not_interleave() {
    let repo = Repo::small();
    let world = World::github(&repo, "api");
    let _ = world.sync(&[]).ok();
    let lock = std::fs::File::open(world.state().join("lock")).unwrap();
    lock.lock().unwrap();
    world.forge().reset();
    let output = world.sync(&[]).code(10);
    assert!(output.stderr.contains("another run"), "{}", output.masked());
    assert_eq!(world.forge().count(), 0, "no request was sent");
}

#[test]
fn o_nothing_prompts_for_an_answer() {
    let repo = Repo::small();
    let world = World::local(&repo);
    world.tool("nixos-rebuild", "read line && exit 66; exit 0");
    // The answer that a prompt would take is there, and stays unread.
    let mut command = world.cmd(&["--skip-rebuild"]);
    let output = world.finish(command.write_stdin("n\nn\nn\n"));
    assert_eq!(output.code, Some(0), "{}", output.masked());
    world.assert_at("main");
}

#[test]
fn p_downloads_are_verified_even_without_validation_and_a_check_has_an_exit_code_for_changes() {
    let repo = Repo::small();
    let world = World::github(&repo, "api");
    world.forge().fault(
        When::get("/git/blobs/"),
        Action::mutate(|mut body| {
            if let Some(byte) = body.first_mut() {
                *byte ^= 1;
            }
            body
        }),
    );
    let _ = world.sync(&["--skip-validation"]).code(6);
    assert!(!world.target().exists() || world.target_tree().is_empty());
    world.forge().clear_faults();
    let _ = world.sync(&["--check-only"]).ok();
    let _ = world.sync(&["--check-only", "--exit-code"]).code(20);
    let _ = world.sync(&[]).ok();
    let _ = world.sync(&["--check-only", "--exit-code"]).ok();
}

#[test]
fn q_an_annotated_tag_is_the_commit_it_points_to() {
    let repo = Repo::small();
    repo.annotated_tag("v1");
    let commit = repo.id("main");
    for transport in ["api", "git"] {
        let world = by(transport, &repo);
        let args = ["--ref", "v1"];
        let _ = world.sync(&args).ok();
        assert_eq!(
            world.sync_state()["last_sync"]["commit_sha"],
            commit,
            "{transport}"
        );
        assert_eq!(world.sync_state()["last_sync"]["ref"], "v1");
    }
}

#[test]
fn s_nothing_is_installed() {
    let repo = Repo::small();
    let world = World::local(&repo);
    for tool in ["nix-env", "nix", "apt", "apt-get", "jq", "curl", "sudo"] {
        world.tool(
            tool,
            &format!("echo {tool} >> '{}'", world.root().join("called").display()),
        );
    }
    let _ = world.run(&["--skip-rebuild"]).ok();
    assert!(!world.root().join("called").exists());
}
