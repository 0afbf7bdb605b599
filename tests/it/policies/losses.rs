//! Updates that would delete most of the tree: a mistake upstream, or the wrong branch.

use crate::common::env::{Output, Sandbox};
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;

struct World {
    sandbox: Sandbox,
    repo: Repo,
}

impl World {
    /// A target with `count` modules beside its flake.
    fn new(count: usize) -> Self {
        let (sandbox, repo) = (Sandbox::new(), Repo::small());
        for number in 0..count {
            repo.write(
                format!("many/{number}.nix"),
                format!("{{ n = {number}; }}\n"),
            );
        }
        repo.commit("many");
        let world = Self { sandbox, repo };
        let _ = world.sync(&[]).ok();
        world
    }

    fn run(&self, command: &str, args: &[&str]) -> Output {
        let path = self.repo.path().display().to_string();
        self.sandbox
            .run(&[&[command, "--repo", &path], args].concat())
    }

    fn sync(&self, args: &[&str]) -> Output {
        self.run("sync", args)
    }

    fn is_at(&self, revision: &str) {
        self.sandbox
            .target_tree()
            .assert_same(&TreeSnapshot::of_commit(&self.repo, revision));
    }

    /// The update is refused, and nothing is written; with the option it is done, and can be rolled back without one.
    fn is_guarded(&self, code: &str) {
        for preview in [&[][..], &["--check-only"], &["--dry-run"]] {
            let refused = self.sync(&[preview, &["--json"]].concat()).code(8).json();
            assert_eq!(refused["error"]["code"], code, "{preview:?}");
            let help = refused["error"]["help"].as_str().unwrap();
            assert!(help.contains("--allow-mass-delete"), "{help}");
            assert!(help.contains("nothing was written"), "{help}");
            self.is_at("main~1");
        }
        let _ = self.sync(&["--allow-mass-delete"]).ok();
        self.is_at("main");
        let _ = self.run("rollback", &[]).ok();
        self.is_at("main~1");
    }
}

#[test]
fn an_update_that_deletes_most_files_is_done_only_on_demand() {
    let world = World::new(20);
    world.repo.remove("many").commit("oops");
    world.is_guarded("hyper_sync::plan::mass_delete");
}

#[test]
fn an_update_that_deletes_everything_is_done_only_on_demand() {
    let world = World::new(1);
    for path in ["many", "modules", "scripts", "flake.nix"] {
        world.repo.remove(path);
    }
    world.repo.commit("empty");
    world.is_guarded("hyper_sync::plan::required_gone");
}

#[test]
fn an_update_that_deletes_the_flake_is_done_only_on_demand() {
    let world = World::new(20);
    world.repo.remove("flake.nix").commit("no flake");
    world.is_guarded("hyper_sync::plan::required_gone");
}

#[test]
fn half_of_the_files_may_be_deleted() {
    let world = World::new(20);
    for number in 0..11 {
        world.repo.remove(format!("many/{number}.nix"));
    }
    world.repo.commit("half");
    let _ = world.sync(&[]).ok();
    world.is_at("main");
}

#[test]
fn edited_and_unmanaged_files_survive_a_mass_deletion() {
    let world = World::new(20);
    world
        .sandbox
        .edit("many/3.nix", "{ mine = true; }\n")
        .edit("many/unmanaged.nix", "{ mine = 2; }\n");
    world.repo.remove("many").commit("oops");
    let all = ["--allow-mass-delete", "--local-edits", "replace"];
    let _ = world.sync(&all).ok();
    let read = |path: &str| std::fs::read_to_string(world.sandbox.target().join(path));
    assert_eq!(read("many/unmanaged.nix").unwrap(), "{ mine = 2; }\n");
    let _ = world.run("restore", &["many"]).ok();
    assert_eq!(read("many/3.nix").unwrap(), "{ mine = true; }\n");
}
