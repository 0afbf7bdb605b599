//! `rebuild.gate`: a commit whose system does not build never gets into the target.

use std::fs;

use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;
use crate::common::world::World;

/// A machine whose target is the host's flake, at the first commit. Its Nix builds what has no file `broken`, notes each
/// build with the files that it reads, and keeps the system as Nix does.
fn world() -> World {
    let repo = Repo::new();
    repo.write(
        "flake.nix",
        "{ outputs = _: { nixosConfigurations.vm = { }; }; }\n",
    )
    .write(
        "flake.lock",
        r#"{"nodes":{"root":{}},"root":"root","version":7}"#,
    )
    .write("old/only.nix", "{ }\n")
    .write("module.nix", "{ }\n")
    .commit("start");
    let world =
        World::local(&repo).with("[rebuild]\ngate = 'build'\naction = 'build'\nhost = 'vm'");
    world.tool("nixos-rebuild", "exit 1");
    set_nix(&world, "");
    let _ = world.run(&["--skip-rebuild"]).ok();
    world
}

/// Does this when it builds.
fn set_nix(world: &World, script: &str) {
    let root = world.root().display().to_string();
    world.tool(
        "nix",
        &format!(
            r#"[ "$1" = build ] || {{ echo '{{}}'; exit 0; }}
while [ $# -gt 0 ]; do
case $1 in --out-link) link=$2;; path:*) tree=${{1#path:}} tree=${{tree%%[#?]*}};; esac
shift
done
(cd "$tree" && find . -type f | sort | tr '\n' ' '; echo) >>'{root}/builds'
{script}
[ ! -e "$tree/broken" ] || {{ echo 'error: it is broken' >&2; exit 1; }}
mkdir -p '{root}/system'
ln -sfn '{root}/system' "$link"
echo '{root}/system'"#
        ),
    );
}

fn builds(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.root().join("builds")).unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// What a run must leave as it was: the target, and what is known of it.
fn known(world: &World) -> (TreeSnapshot, Vec<Option<Vec<u8>>>) {
    let names = ["index", "sync-state.json", "rebuild.json", "followed"];
    let known = names.map(|name| fs::read(world.state().join(name)).ok());
    (world.target_tree(), known.into())
}

#[test]
fn a_commit_that_does_not_build_changes_nothing() {
    let world = world();
    let before = known(&world);
    world
        .repo
        .write("broken", "")
        .remove("module.nix")
        .commit("bad");
    for args in [&["sync"][..], &[], &["--skip-rebuild", "--sandboxed"]] {
        let output = world.run(args).code(11);
        let text = output
            .stderr
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(text.contains("was not brought into the target"), "{text}");
        assert!(text.contains("it is broken"), "{text}");
        assert!(text.contains("the target was not changed"), "{text}");
        assert!(known(&world) == before, "{args:?}");
    }
    // The next commit repairs it.
    world.repo.remove("broken").commit("good");
    let _ = world.sync(&[]).ok();
    world.assert_at("main");
}

#[test]
fn the_tree_that_is_built_is_the_target_with_the_commit_and_the_local_files() {
    let world = world();
    world.edit("own.nix", "{ }");
    world
        .repo
        .write("new/deep/module.nix", "{ }\n")
        .remove("old/only.nix")
        .remove("module.nix")
        .write("module.nix/default.nix", "{ }\n")
        .commit("second");
    let _ = world.sync(&[]).ok();
    let built = "./flake.lock ./flake.nix ./module.nix/default.nix ./new/deep/module.nix ./own.nix";
    assert_eq!(builds(&world).last().map(String::as_str), Some(built));
    assert!(!world.target().join("old").exists());
}

#[test]
fn what_the_gate_has_built_is_not_built_again() {
    let world = world();
    assert_eq!(builds(&world).len(), 1, "the first commit");
    world
        .repo
        .write("module.nix", "{ a = 1; }\n")
        .commit("second");
    let _ = world.run(&["--skip-rebuild"]).ok();
    assert_eq!(builds(&world).len(), 2);
    let rebuilt = world.json(&["rebuild", "--if-pending"]);
    assert_eq!(rebuilt["commit"], world.repo.id("main"));
    assert_eq!(builds(&world).len(), 2);
    // By hand, it is.
    let _ = world.run(&["rebuild"]).ok();
    assert_eq!(builds(&world).len(), 3);
}

#[test]
fn a_preview_or_a_rollback_or_an_unchanged_tree_builds_nothing() {
    let world = world();
    world
        .repo
        .write("module.nix", "{ a = 1; }\n")
        .commit("second");
    let _ = world.sync(&["--dry-run"]).ok();
    let _ = world.sync(&["--check-only"]).ok();
    assert_eq!(builds(&world).len(), 1);
    let _ = world.sync(&[]).ok();
    let _ = world.sync(&[]).ok();
    assert_eq!(builds(&world).len(), 2);
    set_nix(&world, "exit 1");
    let _ = world.run(&["rollback"]).ok();
    world.assert_at("main^");
}

/// Before the plan is staged, and before a rebuild is marked as pending.
#[test]
fn a_kill_during_the_build_leaves_everything_as_it_was() {
    let world = world();
    let before = known(&world);
    world
        .repo
        .write("module.nix", "{ a = 1; }\n")
        .commit("second");
    set_nix(&world, "kill -KILL $PPID; exit 1");
    let output = world.run(&["sync"]);
    assert_eq!(output.code, None);
    assert!(known(&world) == before);
    set_nix(&world, "");
    let _ = world.run(&["sync"]).ok();
    world.assert_at("main");
}

#[test]
fn a_build_that_would_read_the_old_target_is_refused() {
    let world = world();
    let before = known(&world);
    world.set("[rebuild]\ngate = 'build'\naction = 'build'\nhost = 'vm'\nextra_args = ['--sudo']");
    world
        .repo
        .write("module.nix", "{ a = 1; }\n")
        .commit("second");
    let output = world.sync(&[]).code(11);
    assert!(
        output.stderr.contains("argument of `nixos-rebuild`"),
        "{}",
        output.stderr
    );
    assert!(known(&world) == before);
}
