//! The whole update of one file, from the commit to the activated system, against the same by hand: `git pull`, and what
//! `nixos-rebuild` calls at least.
//!
//! ```text
//! .ci/with-nix cargo bench --bench rebuild -- [--rounds N] [--program PATH]
//! ```
//!
//! Real Nix, in the three ways a flake reaches the target, with 200 and with 2000 files; the systems are those of
//! `tests/nix`. Each round commits, then runs both, in turns. The first build of each and the first round are not counted.
//! The table has the medians, and the medians of difference and ratio within a round; below it the stages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement that cannot set up its world has failed"
)]

#[path = "../../tests/nix/world.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod world;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::Parser;

use world::{NixHost, WAYS, Way, commit, git};

#[derive(Parser)]
struct Options {
    /// Rounds that are counted.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The hyper-sync to measure.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_hyper-sync"))]
    program: PathBuf,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A stage and its time in milliseconds.
type Stage = (String, f64);

/// A machine of its own repository whose system is made from so many files.
fn machine(way: Way, files: usize, name: &str) -> NixHost {
    let world = NixHost::new(way);
    let all = "map (name: import (./modules + \"/${name}\")) (builtins.attrNames (builtins.readDir ./modules))";
    let text = format!("import ./text.nix + builtins.substring 0 0 (toString ({all}))");
    world.write("target/module.nix", &format!("{{ text = {text}; }}"));
    let filling = "# A line of a configuration.\n".repeat(40);
    for number in 0..files {
        let path = format!("target/modules/{number:04}.nix");
        world.write(&path, &format!("{filling}\"{name} {number}\"\n"));
    }
    for directory in ["repo", "run", "profiles"] {
        std::fs::create_dir(world.path(directory)).unwrap();
    }
    std::os::unix::fs::symlink(world.path("current"), world.path("run/current-system")).unwrap();
    git(&world, &["init", "--quiet", "--initial-branch=main"]);
    commit(&world);
    world
}

/// A program that finds the world's systems where a machine has its own, which stay as they are.
fn on_machine(world: &NixHost, program: &OsStr) -> Command {
    let script = "mkdir -p /nix/var/nix/profiles; mount --bind \"$1\" /run; \
                  mount --bind \"$2\" /nix/var/nix/profiles; shift 2; exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-euc", script, "sh"])
        .args([world.path("run"), world.path("profiles")])
        .arg(program)
        .env("HOME", world.path("home"))
        .env(
            "NIX_CONFIG",
            "sandbox = false\nsubstituters =\nflake-registry =\n\
             extra-experimental-features = nix-command flakes",
        );
    command
}

/// Runs a program that must go well; its standard output, its errors and its time.
fn timed(command: &mut Command) -> (String, String, f64) {
    let begun = Instant::now();
    let output = command.output().unwrap();
    let time = begun.elapsed().as_secs_f64() * 1000.0;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{command:?}: {errors}");
    (String::from_utf8(output.stdout).unwrap(), errors, time)
}

/// The update by hyper-sync: its stages as `--verbose` prints them, and the time of the process.
fn by_program(world: &NixHost, program: &Path) -> (Vec<Stage>, f64) {
    let nixos_rebuild = world.program("bin/nixos-rebuild", "#!/bin/sh\nexit 1\n");
    let mut path = nixos_rebuild.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = on_machine(world, program.as_os_str());
    command
        .env("PATH", path)
        .env("HYPER_SYNC_REBUILD_FLAKE", world.flake())
        .env("HYPER_SYNC_REBUILD_ACTION", "switch")
        .arg("--verbose")
        .arg("--repo")
        .arg(world.path("repo"))
        .arg("--target")
        .arg(world.target())
        .arg("--state-dir")
        .arg(world.path("state"));
    let (_, errors, time) = timed(&mut command);
    let line = errors.lines().find_map(|line| line.strip_prefix("time: "));
    let line = line.unwrap_or_else(|| panic!("no times in {errors}"));
    let (stages, _) = line.split_once("; ").unwrap();
    let stages = stages.split(", ").map(|stage| {
        let (name, time) = stage.split_once(' ').unwrap();
        let (number, unit) = time.split_once(' ').unwrap();
        let factor = if unit == "s" { 1000.0 } else { 1.0 };
        (name.to_owned(), number.parse::<f64>().unwrap() * factor)
    });
    (stages.collect(), time)
}

/// The same by hand: git, and what `nixos-rebuild` calls at least.
fn by_hand(world: &NixHost) -> (Vec<Stage>, f64) {
    let mut stages = Vec::new();
    let mut stage = |name: &str, command: &mut Command| {
        let (output, _, time) = timed(command);
        stages.push((name.to_owned(), time));
        output
    };
    let mut pull = Command::new("git");
    pull.arg("--git-dir").arg(world.path("git"));
    pull.arg("--work-tree").arg(world.target());
    pull.args(["pull", "--quiet", "--ff-only"]);
    pull.current_dir(world.target());
    stage("git pull", &mut pull);
    let flake = format!("path:{}", world.flake().display());
    if world.way == Way::Input {
        let mut lock = on_machine(world, "nix".as_ref());
        lock.args(["flake", "update", "hv", "--flake", &flake]);
        stage("nix flake update", &mut lock);
    }
    let mut build = on_machine(world, "nix".as_ref());
    let system = format!("{flake}#nixosConfigurations.vm.config.system.build.toplevel");
    build.args(["build", "--impure", "--print-out-paths", "--out-link"]);
    build.arg(world.path("result")).arg(system);
    let system = stage("nix build", &mut build).trim().to_owned();
    let activate = "nix-env --profile /nix/var/nix/profiles/system --set \"$0\" && \
                    exec \"$0/bin/switch-to-configuration\" switch";
    let mut activation = on_machine(world, "sh".as_ref());
    activation.args(["-c", activate, &system]);
    stage("activation", &mut activation);
    let time = stages.iter().map(|(_, time)| time).sum();
    (stages, time)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The median of each stage, in the order of the last round.
fn medians(rounds: &[(Vec<Stage>, f64)]) -> String {
    let Some((last, _)) = rounds.last() else {
        return String::new();
    };
    let stages = last.iter().map(|(name, _)| {
        let times = rounds.iter().flat_map(|(stages, _)| stages);
        let times = times.filter(|(other, _)| other == name);
        let time = median(times.map(|(_, time)| *time).collect());
        format!("{name} {time:.0}")
    });
    stages.collect::<Vec<_>>().join(", ")
}

fn main() {
    let Options {
        rounds, program, ..
    } = Options::parse();
    println!(
        "| layout, files | by hand | hyper-sync | difference | ratio |\n|---|---|---|---|---|"
    );
    let mut stages = String::new();
    for way in WAYS {
        for files in [200, 2000] {
            let ours = machine(way, files, "ours");
            let theirs = machine(way, files, "theirs");
            std::fs::remove_dir_all(theirs.target()).unwrap();
            let cloned = Command::new("git")
                .args(["clone", "--quiet", "--separate-git-dir"])
                .args([theirs.path("git"), theirs.path("repo"), theirs.target()])
                .status();
            assert!(cloned.unwrap().success());
            std::fs::remove_file(theirs.target().join(".git")).unwrap();
            // The first build of each, and the first round, are not counted.
            let _ = (by_program(&ours, &program), by_hand(&theirs));
            let (mut updates, mut hand) = (Vec::new(), Vec::new());
            for round in 0..=rounds {
                for world in [&ours, &theirs] {
                    world.write("repo/text.nix", &format!("\"round {round}\"\n"));
                    git(world, &["commit", "--quiet", "--all", "--message", "next"]);
                }
                for turn in 0..2 {
                    if (round + turn) % 2 == 0 {
                        updates.push(by_program(&ours, &program));
                    } else {
                        hand.push(by_hand(&theirs));
                    }
                }
                for world in [&ours, &theirs] {
                    let text = format!("switch round {round} dep-1");
                    assert_eq!(world.activations().last(), Some(&text), "{way:?}");
                }
            }
            let (updates, hand) = (&updates[1..], &hand[1..]);
            let time = |rounds: &[(Vec<Stage>, f64)]| {
                median(rounds.iter().map(|(_, time)| *time).collect())
            };
            let pairs = updates.iter().zip(hand);
            let ratio = median(
                pairs
                    .clone()
                    .map(|(ours, theirs)| ours.1 / theirs.1)
                    .collect(),
            );
            let more = median(pairs.map(|(ours, theirs)| ours.1 - theirs.1).collect());
            println!(
                "| {way:?}, {files} | {:.0} ms | {:.0} ms | {more:+.0} ms | {ratio:.2} |",
                time(hand),
                time(updates)
            );
            let (updates, hand) = (medians(updates), medians(hand));
            let _ = writeln!(stages, "{way:?}, {files}: {hand}; hyper-sync: {updates}");
        }
    }
    println!(
        "\n{stages}\nload: {}",
        std::fs::read_to_string("/proc/loadavg").unwrap()
    );
}
