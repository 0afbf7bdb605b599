//! `metrics_file`: what Prometheus's node exporter reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::common::world::World;
use crate::rebuild::world::FakeSystem;

/// A machine that is to write metrics.
fn world() -> World {
    let world = World::small();
    follow(&world, "main");
    world
}

/// Lets the machine follow a branch.
fn follow(world: &World, reference: &str) {
    let file = file(world).display().to_string();
    world.set(&format!("metrics_file = '{file}'\nref = '{reference}'"));
}

fn file(world: &World) -> PathBuf {
    world.root().join("collector/hyper-sync.prom")
}

fn text(world: &World) -> String {
    fs::read_to_string(file(world)).unwrap()
}

/// The samples by name and labels, the target's left out, read as strictly as the format demands.
fn samples(world: &World) -> BTreeMap<String, i64> {
    let label = format!("target=\"{}\"", world.target().display());
    parse(&text(world))
        .into_iter()
        .map(|(name, value)| {
            let labels = name
                .replace(&label, "")
                .replace("{,", "{")
                .replace("{}", "");
            (labels, value)
        })
        .collect()
}

fn value(world: &World, name: &str) -> Option<i64> {
    samples(world).get(name).copied()
}

/// Each family is announced once, before its samples, which follow each other; every line has the form of the format.
fn parse(text: &str) -> BTreeMap<String, i64> {
    let mut samples = BTreeMap::new();
    let mut family = "";
    let mut announced: Vec<&str> = Vec::new();
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    assert!(text.ends_with('\n'));
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(is_name(name) && words.ends_with('.'), "{line}");
            assert!(!announced.contains(&name), "{name} is announced twice");
            announced.push(name);
            family = name;
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
            let (name, kind) = kind.unwrap().split_once(' ').unwrap();
            assert_eq!(name, family);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(["counter", "gauge"].contains(&kind));
            continue;
        }
        let (name, rest) = line.split_once('{').unwrap();
        assert_eq!(name, family);
        let (labels, value) = rest.rsplit_once("} ").unwrap();
        for label in labels.split("\",") {
            let (name, value) = label.split_once("=\"").unwrap();
            assert!(is_name(name) && !value.contains('\n'), "{line}");
        }
        let value = value.parse().unwrap();
        let sample = format!("{name}{{{labels}}}");
        assert_eq!(samples.insert(sample, value), None, "{line} is there twice");
    }
    samples
}

const SUCCESS: &str = "hyper_sync_last_success_timestamp_seconds{stage=\"sync\"}";
const EXIT: &str = "hyper_sync_last_exit_code{stage=\"sync\"}";
const FAILURES: &str = "hyper_sync_consecutive_failures{stage=\"sync\"}";
const CHANGE: &str = "hyper_sync_last_change_timestamp_seconds";

/// Lets the program forget the last success, so that a later one shows without waiting for the clock.
fn forget(world: &World) {
    fs::remove_file(world.state().join("metrics")).unwrap();
}

#[test]
fn a_sync_writes_each_metric() {
    let world = world();
    let _ = world.sync(&[]).ok();
    let text = text(&world)
        .replace(&world.target().display().to_string(), "[target]")
        .replace(&world.repo.path().display().to_string(), "[repo]")
        .replace(&world.repo.id("main"), "[commit]")
        .replace(env!("CARGO_PKG_VERSION"), "[version]");
    // Times, and how git cuts its answer into packets, differ from run to run.
    let text: String = text
        .lines()
        .map(|line| match line.rsplit_once(' ') {
            Some((sample, value))
                if sample.contains("_seconds{") || sample.contains("_bytes_total{") =>
            {
                assert!(value.parse::<u64>().unwrap() > 100, "{line}");
                format!("{sample} [number]\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    insta::assert_snapshot!(text, @r#"
    # HELP hyper_sync_info The commit that the target is at; always 1.
    # TYPE hyper_sync_info gauge
    hyper_sync_info{target="[target]",repository="[repo]",ref="main",commit="[commit]",version="[version]"} 1
    # HELP hyper_sync_last_success_timestamp_seconds When a stage last ended well, also with nothing to do.
    # TYPE hyper_sync_last_success_timestamp_seconds gauge
    hyper_sync_last_success_timestamp_seconds{target="[target]",stage="sync"} [number]
    # HELP hyper_sync_last_exit_code The exit code of a stage's last run.
    # TYPE hyper_sync_last_exit_code gauge
    hyper_sync_last_exit_code{target="[target]",stage="sync"} 0
    # HELP hyper_sync_consecutive_failures How often a stage has failed since it last ended well.
    # TYPE hyper_sync_consecutive_failures gauge
    hyper_sync_consecutive_failures{target="[target]",stage="sync"} 0
    # HELP hyper_sync_received_bytes_total Bytes received by syncs that ended well.
    # TYPE hyper_sync_received_bytes_total counter
    hyper_sync_received_bytes_total{target="[target]"} [number]
    # HELP hyper_sync_requests_total Requests sent by syncs that ended well.
    # TYPE hyper_sync_requests_total counter
    hyper_sync_requests_total{target="[target]"} 2
    # HELP hyper_sync_behind Whether the repository was at another commit than the target, when it was last reached.
    # TYPE hyper_sync_behind gauge
    hyper_sync_behind{target="[target]"} 0
    # HELP hyper_sync_commit_timestamp_seconds When the commit of the target was committed.
    # TYPE hyper_sync_commit_timestamp_seconds gauge
    hyper_sync_commit_timestamp_seconds{target="[target]"} [number]
    # HELP hyper_sync_unreached_syncs Syncs that did not reach the repository since the last that ended well.
    # TYPE hyper_sync_unreached_syncs gauge
    hyper_sync_unreached_syncs{target="[target]"} 0
    # HELP hyper_sync_last_change_timestamp_seconds When the target last came to another commit or was brought back to it.
    # TYPE hyper_sync_last_change_timestamp_seconds gauge
    hyper_sync_last_change_timestamp_seconds{target="[target]"} [number]
    # HELP hyper_sync_local_edits Files of the target that are not as they were written.
    # TYPE hyper_sync_local_edits gauge
    hyper_sync_local_edits{target="[target]"} 0
    # HELP hyper_sync_rebuild_pending Whether a rebuild still is to be done.
    # TYPE hyper_sync_rebuild_pending gauge
    hyper_sync_rebuild_pending{target="[target]"} 1
    # HELP hyper_sync_reboot_pending Whether the boot default needs a reboot to run.
    # TYPE hyper_sync_reboot_pending gauge
    hyper_sync_reboot_pending{target="[target]"} 0
    # HELP hyper_sync_held Whether a rollback keeps the target from a commit.
    # TYPE hyper_sync_held gauge
    hyper_sync_held{target="[target]"} 0
    # HELP hyper_sync_suspended Whether the runs of the timer do nothing because somebody suspended them.
    # TYPE hyper_sync_suspended gauge
    hyper_sync_suspended{target="[target]"} 0
    # HELP hyper_sync_quarantined Builds that failed, by the stage in which they did: of the target's commit, of held ones, and of one that the gate refused.
    # TYPE hyper_sync_quarantined gauge
    hyper_sync_quarantined{target="[target]",class="evaluation"} 0
    hyper_sync_quarantined{target="[target]",class="build"} 0
    hyper_sync_quarantined{target="[target]",class="activation"} 0
    hyper_sync_quarantined{target="[target]",class="health"} 0
    "#);
    let mode = fs::metadata(file(&world)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    let names: Vec<_> = fs::read_dir(file(&world).parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["hyper-sync.prom"]);
}

#[test]
fn the_documentation_names_every_metric_and_no_other() {
    let world = world();
    let _ = world.sync(&[]).ok();
    let (rebooting, _) = FakeSystem::waits_for_reboot();
    let reboot = |state: &Path| state.join("reboot");
    fs::copy(reboot(&rebooting.state_dir()), reboot(&world.state())).unwrap();
    let rebuilds = |state: &Path| state.join("rebuild.json");
    fs::copy(rebuilds(&rebooting.state_dir()), rebuilds(&world.state())).unwrap();
    let _ = world.run(&["suspend", "--for", "1h"]).ok();
    assert_eq!(value(&world, "hyper_sync_reboot_pending"), Some(1));
    let text = text(&world);
    let written: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split_once(' ').unwrap().0)
        .collect();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/module.md");
    let docs = fs::read_to_string(docs).unwrap();
    let documented: BTreeSet<&str> = docs
        .split(|character: char| !(character.is_ascii_lowercase() || character == '_'))
        .filter(|word| word.starts_with("hyper_sync_"))
        .collect();
    assert_eq!(documented, written);
}

#[test]
fn a_run_with_nothing_to_do_is_a_success() {
    let world = world();
    let _ = world.sync(&[]).ok();
    let change = value(&world, CHANGE);
    forget(&world);
    let _ = world.sync(&[]).ok();
    assert!(value(&world, SUCCESS).is_some());
    assert_eq!(value(&world, CHANGE), change);
}

#[test]
fn failures_are_counted_until_a_success() {
    let world = world();
    let _ = world.sync(&[]).ok();
    let success = value(&world, SUCCESS);
    fs::remove_file(world.state().join("sync-state.json")).unwrap();
    follow(&world, "gone");
    for count in 1..=2 {
        let _ = world.sync(&[]).code(2);
        assert_eq!(value(&world, FAILURES), Some(count));
        assert_eq!(value(&world, EXIT), Some(2));
        assert_eq!(value(&world, SUCCESS), success);
    }
    let info = samples(&world)
        .into_keys()
        .find(|name| name.contains("_info"))
        .unwrap();
    let here = format!(
        "repository=\"{}\",ref=\"main\"",
        world.repo.path().display()
    );
    assert!(info.contains(&here), "it is where it was: {info}");
    follow(&world, "main");
    let _ = world.sync(&[]).ok();
    assert_eq!(value(&world, FAILURES), Some(0));
    assert_eq!(value(&world, EXIT), Some(0));
}

#[test]
fn the_sync_and_the_rebuild_keep_the_metrics_of_each_other() {
    let world = world();
    let _ = world.run(&["--skip-rebuild"]).ok();
    assert_eq!(value(&world, "hyper_sync_rebuild_pending"), Some(1));
    assert_eq!(
        value(&world, "hyper_sync_last_exit_code{stage=\"rebuild\"}"),
        None
    );
    let before = samples(&world);
    // Nix is not in the path.
    let ended = world.run(&["rebuild", "--if-pending"]);
    let code = i64::from(ended.code.unwrap());
    assert_ne!(code, 0);
    let after = samples(&world);
    assert_eq!(
        after.get("hyper_sync_last_exit_code{stage=\"rebuild\"}"),
        Some(&code)
    );
    assert_eq!(
        after.get("hyper_sync_last_success_timestamp_seconds{stage=\"rebuild\"}"),
        None
    );
    for (name, value) in before {
        assert_eq!(after.get(&name), Some(&value), "{name}");
    }
}

#[test]
fn local_edits_and_a_hold_are_metrics() {
    let world = world();
    let _ = world.sync(&[]).ok();
    world
        .repo
        .write("flake.nix", "{ new = true; }\n")
        .commit("new");
    let _ = world.sync(&[]).ok();
    assert_eq!(value(&world, "hyper_sync_held"), Some(0));
    world.edit("modules/base.nix", "{ mine = true; }\n");
    let _ = world.run(&["rollback"]).ok();
    assert_eq!(value(&world, "hyper_sync_held"), Some(1));
    assert_eq!(value(&world, "hyper_sync_local_edits"), Some(1));
    assert_eq!(value(&world, EXIT), Some(0), "a rollback is not a sync");
}

#[test]
fn a_target_whose_repository_has_another_commit_is_behind() {
    let world = world();
    let behind = || value(&world, "hyper_sync_behind");
    let _ = world.sync(&[]).ok();
    assert_eq!(behind(), Some(0));
    world.edit("flake.nix", "{ mine = true; }\n");
    world.repo.write("flake.nix", "{ }\n").commit("new");
    let _ = world.sync(&["--local-edits", "refuse"]).code(8);
    assert_eq!(behind(), Some(1), "the commit was refused");
    // A run that reaches no repository keeps it.
    let _ = world.run(&["suspend", "--for", "1h"]).ok();
    assert_eq!(behind(), Some(1));
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    assert_eq!(behind(), Some(0));
    let _ = world.run(&["rollback"]).ok();
    assert_eq!(behind(), Some(1));
}

#[test]
fn a_preview_writes_no_metrics() {
    let world = world();
    for args in [
        &["sync", "--check-only"][..],
        &["sync", "--dry-run"],
        &["--check-only"],
        &["status"],
        &["validate"],
    ] {
        let _ = world.run(args);
        assert!(!file(&world).exists(), "{args:?}");
    }
}

#[test]
fn metrics_that_cannot_be_written_are_a_warning() {
    let world = world();
    fs::write(world.root().join("collector"), "a file").unwrap();
    let output = world.sync(&[]).ok();
    insta::assert_snapshot!(output.masked(), @r"
    exit: 0
    --- stdout
    [target]  4afbad437c  main of [repo]
      4afbad437c  start  2025-10-09
      + flake.nix
      + modules/base.nix
      + scripts/run.sh
      +3 new
      not rebuilt yet: `hyper-sync rebuild`
    --- stderr
    warning: the metrics are not up to date: cannot open `[root]/collector`: Not a directory (os error 20)
    ");
    // Nor do they hide the error of the run.
    let _ = world.sync(&["--ref", "gone"]).code(2);
}

#[test]
fn a_run_that_finds_another_run_writes_no_metrics() {
    use hyper_sync::lock::RunLock;
    use hyper_sync::state::StateDir;

    let world = world();
    let state = StateDir::open(&world.state()).unwrap();
    let lock = RunLock::acquire(&state, std::time::Duration::ZERO, &false.into()).unwrap();
    let _ = world.sync(&[]).code(10);
    assert!(!file(&world).exists());
    drop(lock);
}

#[test]
fn a_name_cannot_break_out_of_its_label() {
    let world = world();
    let target = world.root().join("a\"b\\c");
    let _ = world
        .run(&["sync", "--target", target.to_str().unwrap()])
        .ok();
    assert!(text(&world).contains("/a\\\"b\\\\c\",repository="));
    parse(&text(&world));
}

#[test]
fn metrics_are_kept_out_of_the_target() {
    let world = world();
    let inside = world.target().join("x.prom");
    let mut command = world.cmd(&["sync"]);
    command.env("HYPER_SYNC_METRICS_FILE", &inside);
    let output = world.finish(&mut command).code(2);
    assert!(output.stderr.contains("metrics_file"));
}
