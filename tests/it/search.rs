//! Which program runs: found by absolute entries of the search path, then in the fixed directories, by every command.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hyper_sync::process::SearchPath;
use hyper_sync::settings::Env;
use rustix::fs::FileType;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::env::Sandbox;
use crate::common::repo::Repo;

/// A `PATH` that leads with a relative entry by which `home` is reached from `/` and from itself.
fn relative(world: &Sandbox) -> String {
    let home = world.home().display().to_string();
    let bin = world.root().join("bin").display().to_string();
    format!(".::{}:{bin}", home.trim_start_matches('/'))
}

#[test]
fn programs_in_the_working_directory_are_never_run() {
    let repo = Repo::small();
    let path = repo.path().display().to_string();
    for (program, address) in [
        ("ssh", format!("ssh://git@host.example{path}")),
        ("git", path),
    ] {
        let world = Sandbox::new();
        let bin = world.root().join("bin");
        // A link: writing to it would change the machine's own.
        fs::remove_file(bin.join("git")).unwrap();
        let trap = format!("echo > {}/ran; exit 1", world.root().display());
        world.tool(program, &trap);
        fs::rename(bin.join(program), world.home().join(program)).unwrap();
        world.fake_ssh().link_tool("git");
        let mut command = world.cmd(&["sync", "--repo", &address]);
        let output = world.finish(command.env("PATH", relative(&world)));
        assert!(!world.root().join("ran").exists(), "ran ./{program}");
        let _ = output.ok();
    }
}

/// With a search path of missing directories, `sync` runs the programs that `validate` found.
#[test]
fn every_command_finds_the_same_programs() {
    let repo = Repo::small();
    let world = Sandbox::new();
    world.follow(&repo, "");
    let run = |args: &[&str]| {
        let mut command = world.cmd(args);
        world.finish(command.env("PATH", "/nonexistent"))
    };
    let nowhere = Env::empty().with("PATH", "/nonexistent");
    let is_there = SearchPath::of(&nowhere).find("git").is_some();
    let validated = run(&["validate", "--verbose"]);
    assert_eq!(validated.stdout.contains("`git` is there"), is_there);
    let synced = run(&["sync"]);
    if is_there {
        let _ = synced.ok();
    } else {
        assert!(synced.code(2).stderr.contains("source::program"));
    }
}

#[test]
fn a_missing_search_path_is_that_of_the_system() {
    let fixed: Vec<_> = SearchPath::of(&Env::empty()).directories().to_vec();
    assert!(fixed.contains(&Path::new("/run/current-system/sw/bin").to_owned()));
    let nowhere = SearchPath::of(&Env::empty().with("PATH", ".:bin:"));
    assert_eq!(nowhere.directories(), fixed);
}

fn fifo(world: &Sandbox, name: &str) -> PathBuf {
    let path = world.root().join(name);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0).unwrap();
    path
}

/// A signal ends the programs of a run with it: here a `git` that never answers, and its child.
#[test]
fn a_signal_ends_what_a_run_has_started() {
    let repo = Repo::small();
    for signal in [Signal::INT, Signal::TERM] {
        let world = Sandbox::new();
        world.link_tool("env");
        let (alive, never) = (fifo(&world, "alive"), fifo(&world, "never"));
        fs::remove_file(world.root().join("bin/git")).unwrap();
        // Both hold `alive` open for writing as long as they live.
        let script = format!(
            "exec 8> {}\n(read line < {never}) &\necho up >&8; read line < {never}",
            alive.display(),
            never = never.display(),
        );
        world.tool("git", &script);
        let run = world
            .process(
                &["env", "--default-signal=HUP,INT,TERM"],
                &["sync", "--repo", &repo.path().display().to_string()],
            )
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(fs::File::open(&alive).unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        kill_process(Pid::from_child(&run), signal).unwrap();
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        // The pipe's end comes when both are gone.
        line.clear();
        lines.read_to_string(&mut line).unwrap();
        assert_eq!(line, "");
    }
}
