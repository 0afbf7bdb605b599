//! The rebuild against fake programs: their arguments and environment, and what their results mean.

mod boot_trial;
mod changes;
mod gate;
mod half_state;
mod quarantine;
mod reboot;
mod running;
mod switch_check;
mod trial;
mod trial_orders;
mod viewer;
mod wanted;
pub(crate) mod world;

use std::time::Duration;

use hyper_sync::rebuild::{ErrorKind, RebuildNote, RebuildStatus, Repeat, UnpinnedReason};
use hyper_sync::settings::Action;
use hyper_sync::state::SyncState;

use world::FakeSystem;

#[test]
fn calls_nixos_rebuild_with_the_arguments_of_the_guide() {
    let world = FakeSystem::new();
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    assert_eq!(outcome.host, "vm");
    assert_eq!(
        world.arguments("nixos-rebuild"),
        [
            "switch",
            "--flake",
            &format!("{}#vm", world.flake().display()),
            "--impure"
        ]
    );
    assert_eq!(world.directory("nixos-rebuild"), world.state_dir());
}

#[test]
fn verbose_asks_nix_for_a_trace() {
    let world = FakeSystem::new();
    world.request(Action::Test).verbose().run().unwrap();
    let arguments = world.arguments("nixos-rebuild");
    assert_eq!(arguments.last().unwrap(), "--show-trace");
}

#[test]
fn programs_get_a_fixed_environment() {
    let world = FakeSystem::new();
    world
        .request(Action::Switch)
        .with("GITHUB_TOKEN", "canary")
        .with("GIT_DIR", "canary")
        .with("NIX_CONFIG", "cores = 3")
        .with("https_proxy", "http://proxy:3128")
        .run()
        .unwrap();
    let variables = world.variables("nixos-rebuild");
    assert!(!variables.iter().any(|variable| variable.contains("canary")));
    for variable in [
        "HOME=/root",
        "NIX_CONFIG=cores = 3",
        "https_proxy=http://proxy:3128",
    ] {
        assert!(
            variables.iter().any(|found| found == variable),
            "{variable}"
        );
    }
    let log = world.log("nixos-rebuild");
    assert!(log.contains("extra-experimental-features = nix-command flakes"));
}

#[test]
fn shows_what_the_program_prints_on_both_streams() {
    let world = FakeSystem::new();
    world.script(
        "nixos-rebuild",
        "echo to stdout; echo to stderr >&2; printf 'and no end'",
    );
    let request = world.request(Action::Build);
    request.run().unwrap();
    assert_eq!(request.shown(), "to stdout\nto stderr\nand no end\n");
}

#[test]
fn a_failed_build_says_where_the_tree_and_the_system_are() {
    let world = FakeSystem::new();
    world.switches_to("nixos-rebuild", "old");
    world.request(Action::Switch).run().unwrap();
    world.script(
        "nixos-rebuild",
        "echo \"error: attribute 'x' missing\" >&2; exit 1",
    );
    world.write("flake/src/module.nix", "{ } # other");
    let error = world.request(Action::Switch).at("2").run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Build { .. }));
    assert_eq!(
        world.rendered(&error),
        "the system was not built (exit code 1): attribute 'x' missing\n\
         nothing was activated; correct the configuration in the repository, or take the files back with \
         `hyper-sync rollback`: until then every run fails again; the tree is at 2222222222, \
         the running system is `ROOT/store/old` of 1111111111"
    );
    let record = world.record();
    assert_eq!(record.pending.unwrap().action, "switch");
    assert_eq!(record.last.unwrap().status, RebuildStatus::Failed);
}

#[test]
fn a_build_killed_by_the_kernel_is_explained_by_lack_of_memory() {
    let world = FakeSystem::new();
    world.script("nixos-rebuild", "kill -9 $$");
    let error = world.request(Action::Switch).run().unwrap_err();
    let rendered = world.rendered(&error);
    assert!(
        rendered.contains("not built, probably out of memory (killed by signal 9"),
        "{rendered}"
    );
    assert!(rendered.contains("max-jobs"), "{rendered}");
}

#[test]
fn a_failed_activation_is_distinguished_from_a_failed_build() {
    let world = FakeSystem::new();
    world.script("nixos-rebuild", "exit 2");
    let error = world.request(Action::Switch).run().unwrap_err();
    assert!(matches!(
        error.kind,
        ErrorKind::Activation {
            action: Action::Switch,
            ..
        }
    ));
}

#[test]
fn a_unit_that_failed_before_is_a_note() {
    let world = FakeSystem::new();
    world.write("failed", "old.service\n");
    world.script("nixos-rebuild", "exit 4");
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    let units = vec!["old.service".to_owned()];
    assert!(outcome.notes.contains(&RebuildNote::StillFailing { units }));
    assert_eq!(world.record().pending, None);
}

#[test]
fn what_had_failed_before_an_activation_is_recorded_with_the_system() {
    let world = FakeSystem::pinned();
    let new = std::fs::canonicalize(world.state_dir().join("../store/new")).unwrap();
    world.write("failed", "old.service\n");
    let _ = world.request(Action::Build).run().unwrap();
    assert_eq!(world.record().failed_before(&new), None);
    let _ = world.request(Action::Switch).run().unwrap();
    let known = Some(&["old.service".to_owned()][..]);
    assert_eq!(world.record().failed_before(&new), known);

    // A build of the same system activates nothing.
    world.write("failed", "old.service\nlater.service\n");
    let again = world.request(Action::Build).repeat(Repeat::Build);
    let _ = again.at("2").run().unwrap();
    assert_eq!(world.record().failed_before(&new), known);
}

#[test]
fn a_unit_that_failed_just_now_is_named() {
    let world = FakeSystem::new();
    world.write("failed", "old.service\n");
    world.script(
        "nixos-rebuild",
        "printf '%s.service\\n' new nixos-rebuild-switch-to-configuration >>\"$world/failed\"; exit 4",
    );
    let error = world.request(Action::Switch).run().unwrap_err();
    match error.kind {
        ErrorKind::Degraded { units, .. } => assert_eq!(units, ["new.service"]),
        other => panic!("{other}"),
    }
    // The new system runs: the next run of the timer has nothing to do.
    assert_eq!(world.record().pending, None);
    let again = world.request(Action::Switch).run().unwrap();
    assert_eq!(again.status, RebuildStatus::Unchanged);
}

/// What `systemctl show` says of one service.
fn service(state: &str, restarts: u64, run: &str) -> String {
    let result = match state {
        "auto-restart" => "exit-code",
        _ => "success",
    };
    format!(
        "Id=web.service\nSubState={state}\nResult={result}\nNRestarts={restarts}\nInvocationID={run}\n\n\
         Id=calm.service\nSubState=running\nResult=success\nNRestarts=0\nInvocationID=c\n"
    )
}

#[test]
fn a_service_that_keeps_failing_fails_a_rebuild_whose_activation_succeeded() {
    // Between two tries systemd shows it as running for a moment, then as waiting for a restart, or as failed.
    let running = |restarts, run| service("running", restarts, run);
    let waiting = |restarts, run| service("auto-restart", restarts, run);
    for (first, second, failed) in [
        (running(1, "b"), running(4, "c"), ""),
        (running(1, "b"), waiting(4, "c"), ""),
        (waiting(0, "b"), waiting(0, "b"), ""),
        (running(4, "b"), service("failed", 5, "c"), "web.service\n"),
    ] {
        let world = FakeSystem::new();
        world.write("services.2", &first);
        world.write("services.3", &second);
        world.write("failed.3", failed);
        world.script("nixos-rebuild", "exit 0");
        match world.request(Action::Switch).run().unwrap_err().kind {
            ErrorKind::Degraded { units, .. } => assert_eq!(units, ["web.service"]),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_service_that_systemd_restarted_successfully_is_not_reported() {
    for first in [service("running", 1, "b"), service("auto-restart", 0, "a")] {
        let world = FakeSystem::new();
        world.write("services.2", &first);
        world.write("services.3", &service("running", 1, "b"));
        world.script("nixos-rebuild", "exit 0");
        let outcome = world.request(Action::Switch).run().unwrap();
        assert_eq!(outcome.status, RebuildStatus::Switched);
        assert_eq!(world.log("systemctl").matches("services: ").count(), 3);
    }
}

#[test]
fn restarts_before_the_switch_do_not_count() {
    for (before, after) in [
        // Restarted once, weeks ago.
        (service("running", 3, "a"), service("running", 3, "a")),
        // The switch has started it, which resets the count.
        (service("running", 3, "a"), service("running", 0, "b")),
        // It keeps failing, and is restarted again and again.
        (
            service("auto-restart", 3, "a"),
            service("auto-restart", 4, "b"),
        ),
    ] {
        let world = FakeSystem::new();
        world.write("services.1", &before);
        world.write("services", &after);
        world.script("nixos-rebuild", "exit 0");
        let outcome = world.request(Action::Switch).run().unwrap();
        assert_eq!(outcome.status, RebuildStatus::Switched);
        // And nothing is pending.
        assert_eq!(world.log("systemctl").matches("services: ").count(), 2);
    }
}

#[test]
fn a_timer_does_not_activate_a_system_without_itself() {
    let world = FakeSystem::new();
    world.switches_to("nixos-rebuild", "new");
    world.write("store/old/etc/systemd/system/hyper-sync.timer", "");
    let call = || {
        world
            .request(Action::Switch)
            .timer("hyper-sync.timer")
            .retry()
            .run()
    };
    match call().unwrap_err().kind {
        ErrorKind::SelfRemoval { timer, .. } => assert_eq!(timer, "hyper-sync.timer"),
        other => panic!("{other}"),
    }
    assert_eq!(world.arguments("nixos-rebuild")[0], "build");
    assert_eq!(world.calls("nixos-rebuild"), 1);
    world.write("store/new/etc/systemd/system/hyper-sync.timer", "");
    assert_eq!(call().unwrap().status, RebuildStatus::Switched);
}

#[test]
fn an_interrupted_activation_is_repeated_though_the_links_are_right() {
    let world = FakeSystem::new();
    world.switches_to("nixos-rebuild", "new");
    let status = || world.request(Action::Switch).run().unwrap().status;
    assert_eq!(status(), RebuildStatus::Switched);
    world.write("flake/src/module.nix", "{ } # other");
    let links = world.read("nixos-rebuild.sh");
    world.script("nixos-rebuild", &format!("{links}\nkill -KILL $$"));
    world.request(Action::Switch).run().unwrap_err();
    world.script("nixos-rebuild", &links);
    assert_eq!(status(), RebuildStatus::Switched);
    assert_eq!(status(), RebuildStatus::Unchanged);
}

#[test]
fn the_result_of_a_rebuild_is_in_the_sync_state() {
    let ended = |world: &FakeSystem| {
        let state = SyncState::load(&world.state()).unwrap().unwrap();
        (state.rebuild, state.nar_hash)
    };
    let text = |text: &str| Some(text.to_owned());
    let world = FakeSystem::pinned();
    world.switches_to("nixos-rebuild", "new");
    world.synced(&"1".repeat(40));
    assert_eq!(ended(&world), (None, None));
    let outcome = world.request(Action::Switch).run().unwrap();
    let hash = outcome.nar_hash.unwrap().to_string();
    assert_eq!(ended(&world), (text("switched"), Some(hash.clone())));
    let _ = world.request(Action::Switch).run().unwrap();
    assert_eq!(ended(&world), (text("unchanged"), Some(hash)));
    world.write("flake/src/module.nix", "{ } # other");
    world.script("nix", "case $1 in build) exit 1;; flake) echo '{}';; esac");
    let _ = world.request(Action::Switch).run().unwrap_err();
    let (status, other) = ended(&world);
    assert_eq!(status, text("failed"));
    assert!(other.is_some());

    // Which tree was built is not known where the build read the live tree.
    let world = FakeSystem::new();
    world.synced(&"1".repeat(40));
    let _ = world.request(Action::Switch).run().unwrap();
    assert_eq!(ended(&world), (text("switched"), None));

    // A sync to another commit has written it since.
    let world = FakeSystem::pinned();
    world.switches_to("nixos-rebuild", "new");
    world.synced(&"2".repeat(40));
    let _ = world.request(Action::Switch).run().unwrap();
    assert_eq!(ended(&world), (None, None));
}

#[test]
fn reports_that_the_build_was_not_pinned_and_why() {
    let world = FakeSystem::new();
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.nar_hash, None);
    let reason = UnpinnedReason::NoNamespace;
    assert!(outcome.notes.contains(&RebuildNote::NotPinned { reason }));
}

#[test]
fn another_init_needs_a_reboot_and_fails_a_test() {
    let world = FakeSystem::new();
    world.script("nixos-rebuild", "exit 100");
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::RebootNeeded);
    assert!(
        outcome
            .notes
            .contains(&RebuildNote::RebootNeeded { inhibitors: vec![] })
    );
    world.write("flake/src/module.nix", "{ } # other");
    let error = world.request(Action::Test).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::RebootNeeded { .. }));
}

#[test]
fn a_held_lock_is_waited_for() {
    let world = FakeSystem::new();
    world.script(
        "nixos-rebuild.1",
        "echo 'Could not acquire lock' >&2; exit 11",
    );
    world.script(
        "nixos-rebuild.2",
        "echo 'Could not acquire lock' >&2; exit 11",
    );
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    assert_eq!(world.calls("nixos-rebuild"), 3);
}

#[test]
fn a_lock_that_stays_held_is_reported() {
    let world = FakeSystem::new();
    world.script(
        "nixos-rebuild",
        "echo 'Could not acquire lock' >&2; exit 11",
    );
    let error = world.request(Action::Switch).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Busy { unit: None, .. }));
}

#[test]
fn a_running_activation_is_named_and_not_interrupted() {
    let world = FakeSystem::new();
    // Some versions append a number to the name.
    world.write(
        "active",
        "nixos-rebuild-switch-to-configuration-9767bc07.service\n",
    );
    let error = world.request(Action::Switch).run().unwrap_err();
    match error.kind {
        ErrorKind::Busy { unit, .. } => assert_eq!(
            unit.unwrap(),
            "nixos-rebuild-switch-to-configuration-9767bc07.service"
        ),
        other => panic!("{other}"),
    }
    assert_eq!(world.calls("nixos-rebuild"), 0);
}

#[test]
fn the_unit_of_an_earlier_failed_activation_is_reset() {
    let world = FakeSystem::new();
    world.script(
        "nixos-rebuild.1",
        "echo 'Unit nixos-rebuild-switch-to-configuration.service was already loaded' >&2; exit 1",
    );
    world.request(Action::Switch).run().unwrap();
    assert!(
        world
            .log("systemctl")
            .contains("reset-failed nixos-rebuild-switch")
    );
}

#[test]
fn a_rebuild_is_skipped_only_while_its_effect_holds() {
    let world = FakeSystem::new();
    world.switches_to("nixos-rebuild", "new");
    let status = |action| world.request(action).run().unwrap().status;
    assert_eq!(status(Action::Build), RebuildStatus::Built);
    assert_eq!(status(Action::Build), RebuildStatus::Unchanged);
    assert_eq!(status(Action::Test), RebuildStatus::Activated);
    assert_eq!(status(Action::Test), RebuildStatus::Unchanged);
    assert_eq!(status(Action::Switch), RebuildStatus::Switched);
    assert_eq!(status(Action::Switch), RebuildStatus::Unchanged);
    assert_eq!(status(Action::Test), RebuildStatus::Unchanged);
    assert_eq!(status(Action::Boot), RebuildStatus::Unchanged);
    assert_eq!(status(Action::Build), RebuildStatus::Unchanged);
    assert_eq!(status(Action::DryActivate), RebuildStatus::Previewed);
    assert_eq!(status(Action::DryActivate), RebuildStatus::Previewed);
}

#[test]
fn a_rebuild_is_not_skipped_after_a_change_of_its_inputs() {
    let world = FakeSystem::new();
    world.switches_to("nixos-rebuild", "new");
    let status = || world.request(Action::Switch).run().unwrap().status;
    assert_eq!(status(), RebuildStatus::Switched);
    assert_eq!(status(), RebuildStatus::Unchanged);
    for file in ["flake.nix", "flake.lock", "beside.nix", "src/module.nix"] {
        let text = "{ outputs = { self }: import ./hosts.nix; } # other";
        std::fs::write(world.flake().join(file), text).unwrap();
        assert_eq!(status(), RebuildStatus::Switched, "{file}");
        assert_eq!(status(), RebuildStatus::Unchanged, "{file}");
    }
    let request = world.request(Action::Switch).repeat(Repeat::Build);
    assert_eq!(request.run().unwrap().status, RebuildStatus::Switched);
}

#[test]
fn a_reboot_undoes_a_test_and_a_person_may_undo_a_switch() {
    let world = FakeSystem::new();
    world.switches_to("nixos-rebuild", "new");
    let status = |action| world.request(action).run().unwrap().status;
    assert_eq!(status(Action::Test), RebuildStatus::Activated);
    world.link("current", "old");
    assert_eq!(status(Action::Test), RebuildStatus::Activated);
    assert_eq!(status(Action::Switch), RebuildStatus::Switched);
    world.link("profile", "old");
    assert_eq!(status(Action::Switch), RebuildStatus::Switched);
}

#[test]
fn a_system_that_waits_for_a_reboot_is_not_built_at_every_run() {
    let world = FakeSystem::new();
    world.link("current", "old");
    world.link("booted", "old");
    world.script(
        "nixos-rebuild",
        "ln -sfn \"$world/store/new\" \"$world/profile\"; exit 100",
    );
    let status = || world.request(Action::Switch).run().unwrap().status;
    assert_eq!(status(), RebuildStatus::RebootNeeded);
    let again = world.request(Action::Switch).run().unwrap();
    assert_eq!(again.status, RebuildStatus::Unchanged);
    assert_eq!(
        again.notes,
        [RebuildNote::RebootNeeded { inhibitors: vec![] }]
    );
    // After the reboot the old system may run again (a person chose it): now a switch is due.
    world.link("booted", "other");
    assert_eq!(status(), RebuildStatus::RebootNeeded);
}

#[test]
fn the_mark_of_a_pending_rebuild_outlives_a_crash() {
    let world = FakeSystem::new();
    let _ = hyper_sync::rebuild::mark_pending(&world.state(), None, Action::Test).unwrap();
    assert_eq!(world.record().pending.unwrap().action, "test");
    // The program ends in the middle, as in a crash: by a signal.
    world.script("nixos-rebuild", "kill -KILL $$");
    world.request(Action::Switch).run().unwrap_err();
    assert_eq!(world.record().pending.unwrap().action, "switch");
    world.script("nixos-rebuild", "exit 0");
    world.request(Action::Switch).run().unwrap();
    assert_eq!(world.record().pending, None);
}

#[test]
fn a_rebuild_that_takes_too_long_is_stopped() {
    let world = FakeSystem::new();
    world.script("nixos-rebuild", "exec sleep 1000");
    let request = world
        .request(Action::Build)
        .timeout(Duration::from_millis(200));
    let error = request.run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::TimedOut { .. }), "{error}");
    assert!(world.record().pending.is_some());
}

#[test]
fn a_signal_stops_the_whole_process_group() {
    let world = FakeSystem::new();
    // The child would hold the pipe open for ever.
    world.script("nixos-rebuild", "sleep 1000 & echo started; wait");
    let request = world.request(Action::Build).interrupted_at("started");
    let error = request.run().unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::Interrupted { .. }),
        "{error}"
    );
}

#[test]
fn an_activation_that_continues_after_a_signal_is_named() {
    let world = FakeSystem::new();
    let unit = "nixos-rebuild-switch-to-configuration.service";
    world.script(
        "nixos-rebuild",
        &format!("echo {unit} >\"$world/active\"; echo started; exec sleep 1000"),
    );
    let request = world.request(Action::Switch).interrupted_at("started");
    match request.run().unwrap_err().kind {
        ErrorKind::Interrupted { activating, .. } => assert_eq!(activating, [unit]),
        other => panic!("{other}"),
    }
    assert!(world.record().pending.unwrap().begun);
}

#[test]
fn a_program_that_does_not_stop_is_killed_unless_it_activates_a_system() {
    let world = FakeSystem::new();
    let stubborn = "trap '' TERM; echo $$ >\"$world/pid\"; while :; do sleep 1; done";
    world.script("nixos-rebuild", stubborn);
    let stopped = |world: &FakeSystem, timeout| {
        let request = world.request(Action::Switch);
        let error = request.timeout(timeout).retry().run().unwrap_err();
        match error.kind {
            ErrorKind::TimedOut { activating, .. } => activating,
            other => panic!("{other}"),
        }
    };
    // On a busy machine too the run must reach the activation in this time.
    let time = Duration::from_secs(3);
    assert!(stopped(&world, time).is_empty());
    assert!(!world.lives("pid"));

    let unit = "nixos-rebuild-switch-to-configuration.service";
    world.script(
        "nixos-rebuild",
        &format!("echo {unit} >\"$world/active\"; {stubborn}"),
    );
    assert_eq!(stopped(&world, time), [unit]);
    assert!(world.lives("pid"));
    world.end("pid");
}

#[test]
fn a_daemon_that_keeps_the_pipe_open_does_not_block_the_run() {
    let world = FakeSystem::new();
    world.script("nixos-rebuild", "sleep 1000 & echo $! >\"$world/daemon\"");
    let outcome = world.request(Action::Build).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Built);
    world.end("daemon");
}

#[test]
fn a_missing_program_is_found_before_anything_is_done() {
    let world = FakeSystem::new();
    let request = world.request(Action::Switch);
    let error = request
        .without("nix")
        .without("nixos-rebuild")
        .preflight()
        .unwrap_err();
    assert_eq!(
        world.rendered(&error),
        "`nixos-rebuild` is not in the search path\n\
         run it on NixOS, or put the program into `PATH`; where nothing is to be rebuilt, \
         `rebuild.action = \"none\"` in the configuration file says so for good, and \
         `--rebuild-action none` for one run; the tree is at 1111111111"
    );
    assert_eq!(world.record().pending, None);
}

#[test]
fn a_missing_flake_is_found_before_anything_is_done() {
    let world = FakeSystem::new();
    world.request(Action::Switch).preflight().unwrap();
    std::fs::remove_file(world.flake().join("flake.nix")).unwrap();
    let error = world.request(Action::Switch).preflight().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::FlakeMissing { .. }));
}

#[test]
fn of_several_hosts_the_configured_one_or_the_one_with_the_host_name_is_built() {
    let world = FakeSystem::new();
    world.script("nix", r#"echo '["a","machine","b c"]'"#);
    let host = |set: Option<&str>| {
        world
            .request(Action::Build)
            .host(set)
            .run()
            .map(|outcome| outcome.host)
    };
    assert_eq!(host(None).unwrap(), "machine");
    assert_eq!(host(Some("b c")).unwrap(), "b c");
    match host(Some("c")).unwrap_err().kind {
        ErrorKind::HostUnknown { host, names, .. } => {
            assert_eq!(host, "c");
            assert_eq!(names, ["a", "machine", "b c"]);
        }
        other => panic!("{other}"),
    }
    world.script("nix", r#"echo '["a","b"]'"#);
    let error = host(None).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::HostUnclear { .. }));
    assert_eq!(
        error
            .to_string()
            .replace(&world.flake().display().to_string(), "FLAKE"),
        "`FLAKE` has several hosts and none is called `machine` like this machine: `a`, `b`"
    );
    // Where evaluating fails the name of the machine is used; the error of the build says why.
    world.script("nix", "exit 1");
    assert_eq!(host(None).unwrap(), "machine");
}

#[test]
fn a_pinned_build_is_activated_by_its_path_where_nixos_rebuild_can() {
    let world = FakeSystem::pinned();
    world.switches_to("nixos-rebuild", "new");
    let outcome = world.request(Action::Switch).run().unwrap();
    assert_eq!(outcome.status, RebuildStatus::Switched);
    assert_eq!(outcome.notes, []);
    assert!(outcome.nar_hash.is_some());
    let new = outcome.system.unwrap().display().to_string();
    assert_eq!(
        world.arguments("nixos-rebuild"),
        // Whether it knows the option is asked first.
        [
            "--store-path",
            "/nix/store",
            "--no-reexec",
            "--help",
            "switch",
            "--store-path",
            &new,
            "--no-reexec"
        ]
    );
    assert_eq!(world.calls("nix-env"), 0);
}

#[test]
fn a_system_is_activated_without_a_nixos_rebuild_that_takes_store_paths() {
    let world = FakeSystem::pinned().with_systemd();
    world.script("nixos-rebuild", "echo \"unknown option $1\" >&2; exit 1");
    let request = world.request(Action::Switch);
    assert_eq!(request.run().unwrap().status, RebuildStatus::Switched);
    assert!(!request.shown().contains("unknown option"));
    assert_eq!(world.calls("nixos-rebuild"), 1);
    assert_eq!(world.arguments("nix-env")[0], "--profile");
    let unit = "--unit=nixos-rebuild-switch-to-configuration";
    assert!(world.arguments("systemd-run").iter().any(|arg| arg == unit));
    assert_eq!(
        world.arguments("store/new/bin/switch-to-configuration"),
        ["check", "dry-activate", "switch"]
    );
    assert_eq!(
        (world.system("current"), world.system("profile")),
        ("new".into(), "new".into())
    );
}

#[test]
fn a_test_leaves_the_profile_alone() {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.request(Action::Test).run().unwrap();
    assert_eq!(world.calls("nix-env") + world.calls("systemd-run"), 0);
    assert_eq!(
        (world.system("current"), world.system("profile")),
        ("new".into(), "old".into())
    );
}

#[test]
fn a_build_that_read_another_tree_is_not_activated() {
    let world = FakeSystem::pinned();
    world.script(
        "nix",
        r#"echo '{"locked":{"narHash":"sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}'"#,
    );
    let error = world.request(Action::Switch).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::OtherTree { .. }), "{error}");
    assert_eq!(world.calls("nixos-rebuild"), 0);
}

#[test]
fn a_build_of_a_modified_snapshot_is_not_activated() {
    let world = FakeSystem::pinned();
    world.script(
        "nix",
        "case $1 in build) for file in state/snapshots/tree-*; do echo >$file/late; done; \
         echo \"$world/store/new\";; flake) echo '{}';; esac"
            .replace("state/", "\"$world\"/state/")
            .as_str(),
    );
    let error = world.request(Action::Switch).run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::OtherTree { .. }), "{error}");
    assert_eq!(world.calls("nixos-rebuild"), 0);
}
