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

/// As the unit runs it.
const UNIT: [&str; 2] = ["--skip-rebuild", "--sandboxed"];

/// The failures in `status`: commit, class, number of tries, and whether the target is not at the commit.
fn failures(world: &World) -> Vec<(String, String, u64, bool)> {
    let status = world.json(&["status"]);
    let entries = status["quarantined"].as_array().unwrap().iter();
    let entry = |entry: &serde_json::Value| {
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        let tries = entry["tries"].as_u64().unwrap();
        let before_update = entry["before_update"].as_bool().unwrap();
        (text("commit"), text("class"), tries, before_update)
    };
    entries.map(entry).collect()
}

fn in_the_metrics(world: &World, class: &str) -> String {
    let metrics = fs::read_to_string(world.root().join("metrics/m.prom")).unwrap();
    let is_class = |line: &&str| {
        line.starts_with("hyper_sync_quarantined{") && line.contains(&format!("class=\"{class}\""))
    };
    let line = metrics.lines().find(is_class).unwrap();
    line.rsplit_once(' ').unwrap().1.to_owned()
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
    for args in [&UNIT[..], &["sync"], &[]] {
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
    assert_eq!(rebuilt["rebuild"]["commit"], world.repo.id("main"));
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

#[test]
fn a_commit_that_does_not_build_is_not_tried_again_by_the_unit() {
    let world = world();
    let root = world.root().display();
    world.set(&format!(
        "metrics_file = '{root}/metrics/m.prom'\n\
         [rebuild]\ngate = 'build'\naction = 'build'\nhost = 'vm'"
    ));
    let before = known(&world);
    let bad = world.repo.write("broken", "").commit("bad");
    let _ = world.run(&UNIT).code(11);
    for _ in 0..2 {
        let output = world.run(&UNIT).code(13);
        let text: Vec<&str> = output.stderr.split_whitespace().collect();
        let text = text.join(" ");
        for part in [
            "[rebuild::quarantined]",
            "was not brought into the target: the evaluation of this tree has failed since",
            "it is broken",
            "the target was not changed",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(known(&world) == before);
    }
    assert_eq!(builds(&world).len(), 2, "the first commit, and one try");
    let class = "evaluation".to_owned();
    assert_eq!(failures(&world), [(bad.clone(), class.clone(), 1, true)]);
    assert_eq!(in_the_metrics(&world, "evaluation"), "1");
    let human = world.run(&["status"]).ok().stdout;
    assert!(
        human.contains(", not in the target: the evaluation"),
        "{human}"
    );

    // A person, and the unit if it is asked to.
    for args in [&["sync"][..], &[], &[UNIT[0], UNIT[1], "--retry"]] {
        let _ = world.run(args).code(11);
    }
    assert_eq!(failures(&world), [(bad, class.clone(), 4, true)]);

    // Newer commits at once.
    let worse = world
        .repo
        .write("module.nix", "{ a = 1; }\n")
        .commit("worse");
    let _ = world.run(&UNIT).code(11);
    assert_eq!(failures(&world), [(worse, class, 1, true)]);
    world.repo.remove("broken").commit("good");
    let _ = world.run(&UNIT).ok();
    world.assert_at("main");
    assert_eq!(failures(&world), []);
    assert_eq!(in_the_metrics(&world, "evaluation"), "0");
}

#[test]
fn a_success_ends_the_failure_of_the_same_commit() {
    let world = world();
    world
        .repo
        .write("module.nix", "{ a = 1; }\n")
        .commit("second");
    set_nix(
        &world,
        "echo \"error: builder for 'x.drv' failed with exit code 1\" >&2; exit 1",
    );
    let _ = world.run(&UNIT).code(11);
    assert_eq!(failures(&world)[0].1, "build");
    set_nix(&world, "");
    let _ = world.run(&UNIT).code(13);
    let _ = world.sync(&[]).ok();
    world.assert_at("main");
    assert_eq!(failures(&world), []);
    assert!(!world.state().join("quarantine").exists());
}

#[test]
fn a_branch_that_is_set_back_to_the_targets_commit_has_no_failure() {
    let world = world();
    world.repo.write("broken", "").commit("bad");
    let _ = world.run(&UNIT).code(11);
    assert_eq!(failures(&world).len(), 1);
    let former = world.repo.id("main^");
    world.repo.update_ref("refs/heads/main", &former);
    let _ = world.run(&UNIT).ok();
    assert_eq!(failures(&world), []);
}

#[test]
fn what_passes_by_itself_is_tried_by_every_run_of_the_unit() {
    let world = world();
    world
        .repo
        .write("module.nix", "{ a = 1; }\n")
        .commit("second");
    for (number, output) in [
        "error: unable to download 'https://x/a': Could not resolve host: x (6)",
        "error: writing to file: No space left on device",
        "error: builder for '/nix/store/x.drv' failed due to signal 9 (Killed)",
    ]
    .into_iter()
    .enumerate()
    {
        set_nix(&world, &format!("echo \"{output}\" >&2; exit 1"));
        for _ in 0..2 {
            let _ = world.run(&UNIT).code(11);
        }
        assert_eq!(builds(&world).len(), 1 + 2 * (number + 1), "{output}");
        assert_eq!(failures(&world), []);
    }
}

#[test]
fn with_json_a_build_that_fails_is_one_document_with_what_was_done_before() {
    let world = world().with("[rebuild]\naction = 'build'\nhost = 'vm'");
    world.repo.write("broken", "").commit("bad");
    let failed = world.run(&["--json"]).code(11).json();
    assert_eq!(failed["error"]["code"], "hyper_sync::rebuild::build");
    assert_eq!(failed["sync"]["commit"], world.repo.id("main"));
    assert!(failed["validate"]["checks"].is_array());
    let help = failed["error"]["help"].as_str().unwrap();
    assert!(help.starts_with("nothing was activated; "), "{help}");
    assert!(help.contains("`hyper-sync rollback`"), "{help}");
}

/// Without the gate, so that only the rebuild builds.
fn without_gate() -> World {
    let world = world();
    world
        .repo
        .write("module.nix", "{ a = 1; }\n")
        .write(
            "flake.nix",
            "{ outputs = _: { nixosConfigurations.vm = { }; nixosConfigurations.web = { }; }; }\n",
        )
        .commit("second");
    world.set("[rebuild]\naction = 'build'\nhost = 'vm'");
    world
}

#[test]
fn a_rollback_rebuilds_when_asked_to() {
    let world = without_gate();
    let _ = world.run(&[]).ok();
    let before = builds(&world).len();
    let _ = world.run(&["rollback", "--dry-run", "--rebuild"]).code(64);
    let document = world.json(&["rollback", "--rebuild"]);
    world.assert_at("main^");
    assert_eq!(builds(&world).len(), before + 1);
    assert_eq!(document["rebuild"]["status"], "built");
    assert_eq!(document["commit"], world.repo.id("main^"));
}

#[test]
fn a_rollback_whose_system_does_not_build_has_rolled_the_files_back() {
    let world = without_gate();
    let _ = world.run(&[]).ok();
    set_nix(&world, "echo 'error: no' >&2; exit 1");
    let document = world
        .run(&["rollback", "--rebuild", "--json"])
        .code(11)
        .json();
    world.assert_at("main^");
    assert_eq!(document["error"]["code"], "hyper_sync::rebuild::build");
    assert_eq!(document["sync"]["mode"], "apply");
}

#[test]
fn without_nix_a_rollback_with_a_rebuild_changes_nothing() {
    let world = without_gate();
    let _ = world.run(&["--skip-rebuild"]).ok();
    for program in ["nix", "nixos-rebuild"] {
        fs::remove_file(world.root().join("bin").join(program)).unwrap();
    }
    let refused = world.run(&["rollback", "--rebuild"]);
    assert!(
        refused.stderr.contains("program_missing"),
        "{}",
        refused.masked()
    );
    world.assert_at("main");
}

#[test]
fn the_host_and_the_flake_are_chosen_by_option() {
    let world = without_gate();
    let host = |args: &[&str]| world.json(args)["rebuild"]["host"].clone();
    assert_eq!(host(&["--host", "web"]), "web");
    assert_eq!(host(&["rebuild"]), "vm");
    let flake = format!("{}#web", world.target().display());
    assert_eq!(host(&["rebuild", "--flake", &flake]), "web");
    let _ = world.run(&["rebuild", "--host", "wbe"]).code(2);
    let elsewhere = world.root().join("elsewhere");
    let missing = world.run(&["rebuild", "--flake", elsewhere.to_str().unwrap()]);
    assert!(
        missing.stderr.contains("flake_missing"),
        "{}",
        missing.masked()
    );
    let _ = world
        .run(&["rebuild", "--flake", "github:you/config"])
        .code(64);
}
