//! Updates that would delete most of the tree: a mistake upstream, or the wrong branch.

use crate::common::repo::Repo;
use crate::common::world::World;

/// A target with `count` modules beside its flake.
fn with_modules(count: usize) -> World {
    let repo = Repo::small();
    for number in 0..count {
        repo.write(
            format!("many/{number}.nix"),
            format!("{{ n = {number}; }}\n"),
        );
    }
    repo.commit("many");
    World::local(&repo).synced()
}

/// The update is refused, and nothing is written; with the option it is done, and can be rolled back without one.
fn assert_guarded(world: &World, code: &str) {
    for preview in [&[][..], &["--check-only"], &["--dry-run"]] {
        let refused = world.sync(&[preview, &["--json"]].concat()).code(8).json();
        assert_eq!(refused["error"]["code"], code, "{preview:?}");
        let help = refused["error"]["help"].as_str().unwrap();
        assert!(help.contains("--allow-mass-delete"), "{help}");
        assert!(help.contains("nothing was written"), "{help}");
        world.assert_at("main~1");
    }
    let _ = world.sync(&["--allow-mass-delete"]).ok();
    world.assert_at("main");
    let _ = world.run(&["rollback"]).ok();
    world.assert_at("main~1");
}

#[test]
fn an_update_that_deletes_most_files_is_done_only_on_demand() {
    let world = with_modules(20);
    world.repo.remove("many").commit("oops");
    assert_guarded(&world, "hyper_sync::plan::mass_delete");
}

#[test]
fn an_update_that_deletes_everything_is_done_only_on_demand() {
    let world = with_modules(1);
    for path in ["many", "modules", "scripts", "flake.nix"] {
        world.repo.remove(path);
    }
    world.repo.commit("empty");
    assert_guarded(&world, "hyper_sync::plan::required_gone");
}

#[test]
fn an_update_that_deletes_the_flake_is_done_only_on_demand() {
    let world = with_modules(20);
    world.repo.remove("flake.nix").commit("no flake");
    assert_guarded(&world, "hyper_sync::plan::required_gone");
}

#[test]
fn half_of_the_files_may_be_deleted() {
    let world = with_modules(20);
    for number in 0..11 {
        world.repo.remove(format!("many/{number}.nix"));
    }
    world.repo.commit("half");
    let _ = world.sync(&[]).ok();
    world.assert_at("main");
}

#[test]
fn edited_and_unmanaged_files_survive_a_mass_deletion() {
    let world = with_modules(20);
    world
        .edit("many/3.nix", "{ mine = true; }\n")
        .edit("many/unmanaged.nix", "{ mine = 2; }\n");
    world.repo.remove("many").commit("oops");
    let all = ["--allow-mass-delete", "--local-edits", "replace"];
    let _ = world.sync(&all).ok();
    let read = |path: &str| std::fs::read_to_string(world.target().join(path));
    assert_eq!(read("many/unmanaged.nix").unwrap(), "{ mine = 2; }\n");
    let _ = world.run(&["restore", "many"]).ok();
    assert_eq!(read("many/3.nix").unwrap(), "{ mine = true; }\n");
}
