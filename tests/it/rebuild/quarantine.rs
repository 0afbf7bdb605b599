//! A build that failed is not repeated at every tick: after a doubling pause, or never by itself.

use hyper_sync::rebuild::{
    ErrorKind, FailureClass, Quarantine, QuarantineEntry, RebuildStatus, Repeat,
};
use hyper_sync::settings::Action;

use super::world::{Call, FakeSystem};
use crate::common::world::{World, flake_repo};

fn entries(world: &FakeSystem) -> Vec<QuarantineEntry> {
    Quarantine::load(&world.state()).unwrap().entries
}

/// The error is that the build is not tried.
#[track_caller]
fn assert_waits(call: &Call<'_>) {
    let error = call.run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Quarantined(_)), "{error}");
    assert_eq!(error.exit().code(), 13);
}

/// The build is tried, and fails by itself.
#[track_caller]
fn assert_fails(call: &Call<'_>) {
    let error = call.run().unwrap_err();
    assert!(!matches!(error.kind, ErrorKind::Quarantined(_)), "{error}");
}

/// A machine with a pinned build that fails with this output.
fn failing(output: &str) -> FakeSystem {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.script(
        "nix",
        &format!("case $1 in build) echo \"{output}\" >&2; exit 1;; flake) echo '{{}}';; esac"),
    );
    world
}

fn repair(world: &FakeSystem) {
    world.script(
        "nix",
        "case $1 in build) echo \"$world/store/new\";; flake) echo '{}';; esac",
    );
}

/// How often the build was begun.
fn builds(world: &FakeSystem) -> usize {
    let arguments = world.arguments("nix");
    arguments.iter().filter(|name| *name == "build").count()
}

#[test]
fn a_build_that_fails_is_tried_after_doubling_pauses() {
    let world = failing("error: builder for '/nix/store/x.drv' failed with exit code 1");
    let at = |minutes| world.request(Action::Switch).after_minutes(minutes);
    assert_fails(&at(0));
    for minutes in [0, 1, 14] {
        assert_waits(&at(minutes));
    }
    assert_eq!(builds(&world), 1);
    assert_fails(&at(15));
    assert_waits(&at(44));
    assert_fails(&at(45));
    let [entry] = entries(&world).try_into().unwrap();
    assert_eq!((entry.class, entry.tries), (FailureClass::Build, 3));
    assert_eq!(entry.since.as_second(), 1_800_000_000);
    assert_eq!(
        entry.next.unwrap().as_second(),
        1_800_000_000 + (45 + 60) * 60
    );
    assert_eq!(world.record().pending.unwrap().action, "switch");

    repair(&world);
    assert_waits(&at(46));
    let outcome = at(105).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    assert_eq!(entries(&world), []);
    assert!(!world.path("state/quarantine").exists());
}

#[test]
fn the_error_says_since_when_why_and_what_to_do() {
    let world = failing("error: attribute 'x' missing");
    assert_fails(&world.request(Action::Switch));
    let error = world.request(Action::Switch).run().unwrap_err();
    assert_eq!(
        world.rendered(&error),
        "the evaluation of this tree has failed since 2027-01-15T08:00:00Z (tries: 1) and is not tried again before \
         2027-01-15T08:15:00Z: the system was not built (exit code 1): attribute 'x' missing\n\
         `hyper-sync rebuild --retry` tries it now, and a newer commit is tried at once; the tree is at 1111111111, \
         the running system is `ROOT/store/old`"
    );
}

#[test]
fn a_person_tries_at_once() {
    let world = failing("error: attribute 'x' missing");
    assert_fails(&world.request(Action::Switch));
    assert_fails(&world.request(Action::Switch).retry());
    assert_eq!(entries(&world)[0].tries, 2);
    assert_waits(&world.request(Action::Switch).after_minutes(29));
    repair(&world);
    let by_hand = world.request(Action::Switch).repeat(Repeat::Build).retry();
    by_hand.run().unwrap();
    assert_eq!(entries(&world), []);
}

#[test]
fn a_newer_commit_or_another_host_flake_is_tried_at_once() {
    let world = failing("error: attribute 'x' missing");
    assert_fails(&world.request(Action::Switch));
    world.write("flake/src/module.nix", "{ } # repaired");
    repair(&world);
    world.request(Action::Switch).at("2").run().unwrap();
    assert_eq!(entries(&world)[0].commit, "1".repeat(40).parse().ok());

    let world = failing("error: attribute 'x' missing");
    assert_fails(&world.request(Action::Switch));
    world.write("flake/src/flake.lock", r#"{"nodes":{},"root":"root"}"#);
    assert_fails(&world.request(Action::Switch));
    assert_eq!(entries(&world).len(), 2);
}

#[test]
fn an_activation_that_fails_is_not_tried_again_by_itself() {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.script("store/new/bin/switch-to-configuration", "exit 2");
    let year = 365 * 24 * 60;
    assert_fails(&world.request(Action::Switch));
    assert_waits(&world.request(Action::Switch).after_minutes(year));
    let [entry] = entries(&world).try_into().unwrap();
    assert_eq!((entry.class, entry.next), (FailureClass::Activation, None));

    // Its build is not in question, and proves nothing about the activation.
    let built = world.request(Action::Build).wanted(Action::Switch);
    assert_eq!(built.run().unwrap().status, RebuildStatus::Unchanged);
    assert_waits(&world.request(Action::Switch).after_minutes(year));

    world.script("store/new/bin/switch-to-configuration", "exit 0");
    world.request(Action::Switch).retry().run().unwrap();
    assert_eq!(entries(&world), []);
}

#[test]
fn a_boot_default_by_hand_does_not_end_the_failure_of_the_switch() {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    let fails = "case $1 in check) echo \"Pre-switch check 'disk' failed\" >&2; exit 1;; esac";
    world.script("store/new/bin/switch-to-configuration", fails);
    assert_fails(&world.request(Action::Switch));
    let boot = world.request(Action::Boot).wanted(Action::Switch);
    boot.repeat(Repeat::Build).retry().run().unwrap();
    assert_eq!(world.system("profile"), "new");
    assert_waits(&world.request(Action::Switch));

    // Where no more is wanted, it does.
    let boot = world.request(Action::Boot);
    boot.repeat(Repeat::Build).retry().run().unwrap();
    assert_eq!(entries(&world), []);
}

#[test]
fn a_dry_run_of_the_activation_that_fails_prevents_nothing() {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.script("store/new/bin/switch-to-configuration", "exit 2");
    assert_fails(&world.request(Action::DryActivate));
    assert_eq!(entries(&world), []);
}

#[test]
fn a_system_that_is_refused_is_not_built_again() {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.write("store/old/etc/systemd/system/hyper-sync.timer", "");
    let by_timer = || world.request(Action::Switch).timer("hyper-sync.timer");
    assert_fails(&by_timer());
    assert_waits(&by_timer().after_minutes(60));
    assert_eq!(entries(&world)[0].class, FailureClass::Activation);
}

#[test]
fn what_passes_by_itself_is_tried_by_every_run() {
    for output in [
        "error: unable to download 'https://x/a': Could not resolve host: x (6)",
        "error: writing to file: No space left on device",
        "error: builder for '/nix/store/x.drv' failed due to signal 9 (Killed)",
        "error: interrupted by the user",
    ] {
        let world = failing(output);
        assert_fails(&world.request(Action::Switch));
        assert_eq!(entries(&world), [], "{output}");
        assert_fails(&world.request(Action::Switch));
        assert_eq!(builds(&world), 2, "{output}");
    }
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    let full = "echo 'cp: /boot: No space left on device' >&2; exit 1";
    world.script("store/new/bin/switch-to-configuration", full);
    assert_fails(&world.request(Action::Switch));
    assert_eq!(entries(&world), []);
}

#[test]
fn the_kernels_count_of_kills_proves_a_lack_of_memory() {
    let world = failing("error: builder for '/nix/store/x.drv' failed with exit code 1");
    let script = world.read("nix.sh");
    let kill = "case $1 in build) echo 'oom_kill 5' >\"$world/memory.events\";; esac";
    world.script("nix", &format!("{kill}\n{script}"));
    world.write("memory.events", "oom 1\noom_kill 3\n");
    let error = world.request(Action::Switch).run().unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::OutOfMemory { kills: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("probably out of memory"));
    assert_eq!(entries(&world), []);
    // Those of before this run prove nothing.
    let error = world.request(Action::Switch).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Build { .. }), "{error}");
}

#[test]
fn a_build_of_nixos_rebuild_is_recorded_too() {
    let world = FakeSystem::new();
    world.switches_to("nixos-rebuild", "new");
    let switches = world.read("nixos-rebuild.sh");
    let fails = "echo \"error: attribute 'x' missing\" >&2; exit 1";
    world.script("nixos-rebuild", fails);
    assert_fails(&world.request(Action::Switch));
    assert_waits(&world.request(Action::Switch).after_minutes(14));
    assert_fails(&world.request(Action::Switch).after_minutes(15));
    world.script("nixos-rebuild", &switches);
    world.request(Action::Switch).retry().run().unwrap();
    assert_eq!(entries(&world), []);
}

#[test]
fn a_damaged_file_costs_one_try() {
    let world = failing("error: attribute 'x' missing");
    assert_fails(&world.request(Action::Switch));
    world.write("state/quarantine", "damaged");
    assert_fails(&world.request(Action::Switch));
    assert_waits(&world.request(Action::Switch));
    assert_eq!(entries(&world)[0].tries, 1);
}

/// A machine whose flake is its target, which is only built, by a Nix that fails.
fn machine() -> World {
    let repo = flake_repo();
    let lock = "{\"nodes\":{\"root\":{}},\"root\":\"root\",\"version\":7}\n";
    repo.write("flake.lock", lock).commit("a lock file");
    let world = World::local(&repo);
    let metrics = world.root().join("metrics/m.prom");
    let settings = format!("metrics_file = '{}'", metrics.display());
    world.set_flake(&settings, "action = 'build'");
    world
        .tool(
            "nix",
            "case $1 in build) echo \"error: attribute 'x' missing\" >&2; exit 1;; *) echo '{}';; esac",
        )
        .tool("nixos-rebuild", "exit 1");
    world
}

/// The classes of the failures in `status`, and their tries.
fn status(world: &World) -> Vec<(String, u64)> {
    let status = world.run(&["status", "--json"]).ok().json();
    let entries = status["quarantined"].as_array().unwrap();
    let entry = |entry: &serde_json::Value| {
        let class = entry["class"].as_str().unwrap().to_owned();
        (class, entry["tries"].as_u64().unwrap())
    };
    entries.iter().map(entry).collect()
}

fn is_in_the_metrics(world: &World, class: &str, count: u32) -> bool {
    let metrics = std::fs::read_to_string(world.root().join("metrics/m.prom")).unwrap();
    metrics.lines().any(|line| {
        line.starts_with("hyper_sync_quarantined{")
            && line.ends_with(&format!("class=\"{class}\"}} {count}"))
    })
}

#[test]
fn a_unit_ends_with_its_own_exit_code_and_status_and_metrics_keep_the_failure() {
    let world = machine();
    let _ = world.sync(&[]).ok();
    assert_eq!(status(&world), []);
    let _ = world.run(&["rebuild", "--if-pending"]).code(11);
    for args in [&["rebuild", "--if-pending", "--json"][..], &["--json"]] {
        let error = world.run(args).code(13).json()["error"].clone();
        assert_eq!(
            error["code"], "hyper_sync::rebuild::quarantined",
            "{args:?}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("attribute 'x' missing"), "{message}");
    }
    assert_eq!(status(&world), [("evaluation".to_owned(), 1)]);
    let human = world.run(&["status"]).ok().stdout;
    assert!(
        human.contains(": the evaluation of this tree has failed since"),
        "{human}"
    );
    assert!(is_in_the_metrics(&world, "evaluation", 1));
    assert!(is_in_the_metrics(&world, "build", 0));

    // A person tries at once.
    for args in [
        &["rebuild", "--if-pending", "--retry"][..],
        &["rebuild"],
        &["--retry"],
    ] {
        let _ = world.run(args).code(11);
    }
    assert_eq!(status(&world), [("evaluation".to_owned(), 4)]);

    world.tool(
        "nix",
        "case $1 in build) echo /nix/store/system;; *) echo '{}';; esac",
    );
    let _ = world.run(&["rebuild", "--if-pending"]).code(13);
    world.repo.write(
        "flake.nix",
        "{ outputs = _: { nixosConfigurations.host = { a = 1; }; }; }\n",
    );
    world.repo.commit("repaired");
    let _ = world.sync(&[]).ok();
    assert_eq!(status(&world), [], "it is of another commit");
    let _ = world.run(&["rebuild", "--if-pending"]).ok();
    assert!(is_in_the_metrics(&world, "evaluation", 0));
}
