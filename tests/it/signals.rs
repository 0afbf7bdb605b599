//! Signals, and an output that nobody reads: the real binary stops where that is safe, or continues to the end.

use std::fs::File;
use std::io::pipe;
use std::process::{Command, Stdio};
use std::time::Duration;

use hyper_sync::lock::RunLock;
use hyper_sync::state::StateDir;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::env::Sandbox;
use crate::common::forge::Forge;
use crate::common::forge::fault::{Action, When};
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;

/// The tests may have been started with signals ignored, as a shell does for jobs in the background, and the program
/// would rightly go on ignoring them.
const HEEDING: [&str; 2] = ["env", "--default-signal=HUP,INT,TERM"];

/// A target at the first of two commits, with a local edit.
struct World {
    sandbox: Sandbox,
    repo: Repo,
}

impl World {
    fn new() -> Self {
        let (sandbox, repo) = (Sandbox::new(), Repo::small());
        sandbox.link_tool("env").link_tool("strace");
        let path = repo.path().display().to_string();
        let _ = sandbox.run(&["sync", "--repo", &path]).ok();
        repo.write("flake.nix", "{ second = true; }\n")
            .write("modules/new.nix", "{ }\n")
            .remove("scripts/run.sh")
            .commit("second");
        sandbox.edit("mine", "mine");
        sandbox.edit("modules/base.nix", "{ mine = true; }\n");
        Self { sandbox, repo }
    }

    /// The target at a commit, without the edited file.
    fn at(&self, revision: &str) -> bool {
        let edited = |path: &str| path == "mine" || path == "modules/base.nix";
        let wanted = TreeSnapshot::of_commit(&self.repo, revision).without(edited);
        let found = self.sandbox.target_tree().without(edited);
        wanted.difference(&found).is_empty()
    }

    fn path(&self) -> String {
        self.repo.path().display().to_string()
    }

    /// Asserts that a run that has ended left nothing behind.
    fn assert_tidy(&self) {
        let target = self.sandbox.target_tree();
        let state = TreeSnapshot::of(&self.sandbox.state());
        let paths = target.nodes().keys().chain(state.nodes().keys());
        for path in paths.map(|path| String::from_utf8_lossy(path)) {
            let left = path.contains(".hyper-sync")
                || path.contains(".part")
                || path.contains("incoming-")
                || path.contains("tmp")
                || path.starts_with("tx/");
            assert!(!left, "{path} is left");
        }
        assert_eq!(self.read("mine"), "mine");
        assert_eq!(self.read("modules/base.nix"), "{ mine = true; }\n");
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.sandbox.target().join(path)).unwrap()
    }

    /// The binary under `strace`, which delivers a signal at the `when`th of some calls. The children are left alone.
    fn signalled(&self, calls: &str, signal: &str, when: usize, args: &[&str]) -> Command {
        self.signalled_by(&[], calls, signal, when, args)
    }

    /// The same, started by a program that prepares its signals.
    fn signalled_by(
        &self,
        wrapper: &[&str],
        calls: &str,
        signal: &str,
        when: usize,
        args: &[&str],
    ) -> Command {
        let inject = format!("inject={calls}:signal={signal}:when={when}");
        let log = self.sandbox.root().join("log").display().to_string();
        let trace = format!("trace={calls}");
        let strace = ["strace", "-qq", "-o", &log, "-e", &trace, "-e", &inject];
        let wrappers = [&strace, &HEEDING[..], wrapper].concat();
        let mut run = self.sandbox.process(&wrappers, args);
        run.stdout(Stdio::null()).stderr(Stdio::null());
        run
    }
}

#[test]
fn a_signal_while_the_forge_is_silent_ends_the_run_with_nothing_changed() {
    let world = World::new();
    let before = world.sandbox.target_tree();
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
                .sandbox
                .process(&HEEDING, &["sync", "--repo", &forge.git_url()])
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
            world.sandbox.target_tree().assert_same(&before);
            world.assert_tidy();
        }
    }
    let _ = world.sandbox.run(&["sync", "--repo", &world.path()]).ok();
    assert!(world.at("main"));
}

#[test]
fn a_signal_ends_a_run_that_waits_for_another() {
    let world = World::new();
    let before = world.sandbox.target_tree();
    let state = StateDir::open(&world.sandbox.state()).unwrap();
    let _held = RunLock::acquire(&state, Duration::ZERO, &false.into()).unwrap();
    for signal in ["SIGINT", "SIGTERM", "SIGHUP"] {
        let args = ["sync", "--repo", &world.path(), "--wait", "600"];
        let status = world.signalled("flock", signal, 2, &args).status().unwrap();
        assert_eq!(status.code(), Some(130), "{signal}");
        world.sandbox.target_tree().assert_same(&before);
    }
}

/// The calls by which an apply changes anything.
const CHANGING: &str = "renameat2,renameat,unlinkat,linkat,mkdirat,symlinkat,fsync";

#[test]
fn a_signal_before_the_commit_point_changes_nothing_and_after_it_the_update_is_finished() {
    let (mut stopped, mut finished) = (0, 0);
    for (turn, when) in (1..200).step_by(4).enumerate() {
        let world = World::new();
        let signal = ["SIGINT", "SIGTERM", "SIGHUP"][turn % 3];
        let path = world.path();
        let args = ["sync", "--repo", &path];
        let status = world
            .signalled(CHANGING, signal, when, &args)
            .status()
            .unwrap();
        let context = format!("{signal} at {when}");
        world.assert_tidy();
        match status.code() {
            Some(130) => {
                stopped += 1;
                assert_eq!(finished, 0, "{context} stopped it again");
                assert!(world.at("main~1"), "{context}");
            }
            Some(0) => {
                finished += 1;
                assert!(world.at("main"), "{context}");
            }
            _ => panic!("{context}: {status:?}"),
        }
        let trace = std::fs::read_to_string(world.sandbox.root().join("log")).unwrap();
        if !trace.contains(&format!("--- {signal}")) {
            break;
        }
    }
    assert!(stopped > 1 && finished > 2, "{stopped} and {finished}");
}

#[test]
fn what_is_ignored_at_the_start_stays_ignored() {
    for (ignored, name) in [("HUP", "SIGHUP"), ("INT", "SIGINT"), ("TERM", "SIGTERM")] {
        let world = World::new();
        world.sandbox.link_tool("sh");
        let trap = format!(r#"trap '' {ignored}; exec "$@""#);
        let wrapper = ["sh", "-c", &trap, "sh"];
        let path = world.path();
        let args = ["sync", "--repo", &path];
        let status = world
            .signalled_by(&wrapper, "mkdirat", name, 1, &args)
            .status()
            .unwrap();
        let trace = std::fs::read_to_string(world.sandbox.root().join("log")).unwrap();
        assert!(trace.contains(&format!("--- {name}")), "{trace}");
        assert_eq!(status.code(), Some(0), "{name}");
        assert!(world.at("main"), "{name}");
        world.assert_tidy();
    }
}

#[test]
fn a_run_under_nohup_survives_the_hang_up() {
    let world = World::new();
    world.sandbox.link_tool("nohup");
    let path = world.path();
    let args = ["sync", "--repo", &path];
    let status = world
        .signalled_by(&["nohup"], "mkdirat", "SIGHUP", 1, &args)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(world.at("main"));
}

/// A process that really dies: what the kernel keeps of it is what the next run finds.
#[test]
fn after_a_real_kill_the_next_run_finishes() {
    let mut points = 0;
    for when in (1..200).step_by(3) {
        let world = World::new();
        let path = world.path();
        let args = ["sync", "--repo", &path];
        let _ = world
            .signalled(CHANGING, "SIGKILL", when, &args)
            .status()
            .unwrap();
        let trace = std::fs::read_to_string(world.sandbox.root().join("log")).unwrap();
        if !trace.contains("killed by SIGKILL") {
            break;
        }
        points += 1;
        let _ = world.sandbox.run(&args).ok();
        assert!(world.at("main"), "killed at {when}");
        world.assert_tidy();
    }
    assert!(points > 5, "only {points}");
}

#[test]
fn an_output_that_nobody_reads_does_not_stop_an_update() {
    let closed = ["sh", "-c", r#"exec "$@" >&- 2>&-"#, "sh"];
    for both in [true, false] {
        for output in ["closed", "broken", "full"] {
            let world = World::new();
            world.sandbox.link_tool("sh");
            let path = world.path();
            let args = ["sync", "--verbose", "--repo", &path];
            let wrapper = if output == "closed" { &closed[..] } else { &[] };
            let mut run = world.sandbox.process(wrapper, &args);
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
            assert!(world.at("main"), "{context}");
            world.assert_tidy();
            let again = world.sandbox.run(&["sync", "--repo", &path]).ok();
            assert!(again.stdout.contains("nothing to do"), "{context}");
        }
    }
}
