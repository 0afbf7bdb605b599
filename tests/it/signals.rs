//! Signals, and an output that nobody reads: the real binary stops where that is safe, or continues to the end.

use std::fs::File;
use std::io::pipe;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use hyper_sync::lock::RunLock;
use hyper_sync::state::StateDir;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::forge::Forge;
use crate::common::forge::fault::{Action, When};
use crate::common::snapshot::TreeSnapshot;
use crate::common::world::World;

/// The tests may have been started with signals ignored, as a shell does for jobs in the background, and the program
/// would rightly go on ignoring them.
const HEEDING: [&str; 2] = ["env", "--default-signal=HUP,INT,TERM"];

/// A target at the first of two commits, with a local edit.
fn with_an_edit() -> World {
    let world = World::small().synced();
    world.link_tool("env").link_tool("strace");
    world
        .repo
        .write("flake.nix", "{ second = true; }\n")
        .write("modules/new.nix", "{ }\n")
        .remove("scripts/run.sh")
        .commit("second");
    world.edit("mine", "mine");
    world.edit("modules/base.nix", "{ mine = true; }\n");
    world
}

/// Whether the target is at a commit, without the edited file.
fn is_at(world: &World, revision: &str) -> bool {
    let edited = |path: &str| path == "mine" || path == "modules/base.nix";
    let wanted = TreeSnapshot::of_commit(&world.repo, revision).without(edited);
    let found = world.target_tree().without(edited);
    wanted.difference(&found).is_empty()
}

/// Asserts that a run that has ended left nothing behind.
fn assert_tidy(world: &World) {
    let target = world.target_tree();
    let state = TreeSnapshot::of(&world.state());
    let paths = target.nodes().keys().chain(state.nodes().keys());
    for path in paths.map(|path| String::from_utf8_lossy(path)) {
        let left = path.contains(".hyper-sync")
            || path.contains(".part")
            || path.contains("incoming-")
            || path.contains("tmp")
            || path.starts_with("tx/");
        assert!(!left, "{path} is left");
    }
    assert_eq!(world.read("mine"), "mine");
    assert_eq!(world.read("modules/base.nix"), "{ mine = true; }\n");
}

/// A sync under `strace`, which delivers a signal at the `when`th of some calls, started by a program that prepares its
/// signals. The children are left alone.
fn signalled(
    world: &World,
    wrapper: &[&str],
    calls: &str,
    (signal, when): (&str, usize),
    args: &[&str],
) -> ExitStatus {
    let inject = format!("inject={calls}:signal={signal}:when={when}");
    let log = world.root().join("log").display().to_string();
    let trace = format!("trace={calls}");
    let strace = ["strace", "-qq", "-o", &log, "-e", &trace, "-e", &inject];
    let wrappers = [&strace, &HEEDING[..], wrapper].concat();
    let mut run = world.process(&wrappers, &[&["sync"], args].concat());
    run.stdout(Stdio::null()).stderr(Stdio::null());
    run.status().unwrap()
}

/// The calls at which [`signalled`] has delivered the signal.
fn trace(world: &World) -> String {
    std::fs::read_to_string(world.root().join("log")).unwrap()
}

#[test]
fn a_signal_while_the_forge_is_silent_ends_the_run_with_nothing_changed() {
    let world = with_an_edit();
    let before = world.target_tree();
    let stalls = [
        ("the first request", When::any(), ""),
        ("the names", When::ls_refs(), "command=ls-refs"),
        ("the pack", When::fetch(), "command=fetch"),
    ];
    for (stage, when, body) in stalls {
        let forge = Forge::serve(&world.repo);
        forge.fault(when, Action::Stall { after_bytes: 10 });
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            forge.reset();
            let run = world
                .process(
                    &HEEDING,
                    &["sync", "--allow-other-repo", "--repo", &forge.git_url()],
                )
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            forge.wait_until(|seen| seen.iter().any(|seen| seen.contains(body)));
            let pid = Pid::from_child(&run);
            kill_process(pid, signal).unwrap();
            // Once more: stopping in the middle is what must not happen. It may have ended already.
            let _ = kill_process(pid, signal);
            let output = run.wait_with_output().unwrap();
            let context = format!("{stage}, {signal:?}: {output:?}");
            assert_eq!(output.status.code(), Some(130), "{context}");
            world.target_tree().assert_same(&before);
            assert_tidy(&world);
        }
    }
    let _ = world.sync(&[]).ok();
    assert!(is_at(&world, "main"));
}

#[test]
fn a_signal_ends_a_run_that_waits_for_another() {
    let world = with_an_edit();
    let before = world.target_tree();
    let state = StateDir::open(&world.state()).unwrap();
    let _held = RunLock::acquire(&state, Duration::ZERO, &false.into()).unwrap();
    for signal in ["SIGINT", "SIGTERM", "SIGHUP"] {
        let status = signalled(&world, &[], "flock", (signal, 2), &["--wait", "600"]);
        assert_eq!(status.code(), Some(130), "{signal}");
        world.target_tree().assert_same(&before);
    }
}

/// The calls by which an apply changes anything.
const CHANGING: &str = "renameat2,renameat,unlinkat,linkat,mkdirat,symlinkat,fsync";

#[test]
fn a_signal_before_the_commit_point_changes_nothing_and_after_it_the_update_is_finished() {
    let (mut stopped, mut finished) = (0, 0);
    for (turn, when) in (1..200).step_by(4).enumerate() {
        let world = with_an_edit();
        let pending = || world.json(&["status"])["pending_rebuild"].clone();
        let before = pending();
        let signal = ["SIGINT", "SIGTERM", "SIGHUP"][turn % 3];
        let status = signalled(&world, &[], CHANGING, (signal, when), &[]);
        let context = format!("{signal} at {when}");
        assert_tidy(&world);
        match status.code() {
            Some(130) => {
                stopped += 1;
                assert_eq!(finished, 0, "{context} stopped it again");
                assert!(is_at(&world, "main~1"), "{context}");
                assert_eq!(pending(), before, "{context}");
            }
            Some(0) => {
                finished += 1;
                assert!(is_at(&world, "main"), "{context}");
            }
            _ => panic!("{context}: {status:?}"),
        }
        let trace = trace(&world);
        if !trace.contains(&format!("--- {signal}")) {
            break;
        }
    }
    assert!(stopped > 1 && finished > 2, "{stopped} and {finished}");
}

#[test]
fn what_is_ignored_at_the_start_stays_ignored() {
    for (ignored, name) in [("HUP", "SIGHUP"), ("INT", "SIGINT"), ("TERM", "SIGTERM")] {
        let world = with_an_edit();
        world.link_tool("sh");
        let trap = format!(r#"trap '' {ignored}; exec "$@""#);
        let wrapper = ["sh", "-c", &trap, "sh"];
        let status = signalled(&world, &wrapper, "mkdirat", (name, 1), &[]);
        let trace = trace(&world);
        assert!(trace.contains(&format!("--- {name}")), "{trace}");
        assert_eq!(status.code(), Some(0), "{name}");
        assert!(is_at(&world, "main"), "{name}");
        assert_tidy(&world);
    }
}

#[test]
fn a_run_under_nohup_survives_the_hang_up() {
    let world = with_an_edit();
    world.link_tool("nohup");
    let status = signalled(&world, &["nohup"], "mkdirat", ("SIGHUP", 1), &[]);
    assert_eq!(status.code(), Some(0));
    assert!(is_at(&world, "main"));
}

/// A process that really dies: what the kernel keeps of it is what the next run finds.
#[test]
fn after_a_real_kill_the_next_run_finishes() {
    let mut points = 0;
    for when in (1..200).step_by(3) {
        let world = with_an_edit();
        let _ = signalled(&world, &[], CHANGING, ("SIGKILL", when), &[]);
        let trace = trace(&world);
        if !trace.contains("killed by SIGKILL") {
            break;
        }
        points += 1;
        let _ = world.sync(&[]).ok();
        assert!(is_at(&world, "main"), "killed at {when}");
        assert_tidy(&world);
    }
    assert!(points > 5, "only {points}");
}

#[test]
fn an_output_that_nobody_reads_does_not_stop_an_update() {
    let closed = ["sh", "-c", r#"exec "$@" >&- 2>&-"#, "sh"];
    for both in [true, false] {
        for output in ["closed", "broken", "full"] {
            let world = with_an_edit();
            world.link_tool("sh");
            let args = ["sync", "--verbose"];
            let wrapper = if output == "closed" { &closed[..] } else { &[] };
            let mut run = world.process(wrapper, &args);
            let unread = || match output {
                "full" => Stdio::from(File::options().write(true).open("/dev/full").unwrap()),
                "broken" => pipe().unwrap().1.into(),
                _ => Stdio::null(),
            };
            run.stdout(unread());
            if both {
                run.stderr(unread());
            } else {
                run.stderr(Stdio::null());
            }
            let status = run.status().unwrap();
            let context = format!("{output}, stderr too: {both}");
            // Only a full disk loses what somebody wanted to read.
            assert_eq!(status.success(), output != "full", "{context}: {status:?}");
            assert!(is_at(&world, "main"), "{context}");
            assert_tidy(&world);
            let again = world.sync(&[]).ok();
            assert!(again.stdout.contains(" is up to date ("), "{context}");
        }
    }
}

#[test]
fn an_output_that_is_not_written_is_named() {
    let world = with_an_edit();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let run = world
        .process(&[], &["status"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn();
    let output = run.unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("warning: the output is not complete: "),
        "{stderr}"
    );
}
