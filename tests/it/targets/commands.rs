//! Every command that a message names, run as it is printed: it is understood, and it is about the target of the run.
//!
//! The commands are collected from the sources, so that a new message is tested too.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;

use hyper_sync::report::RepeatedOptions;
use hyper_sync::settings::{Env, Overrides};

use crate::common::repo::Repo;
use crate::common::sources::sources;
use crate::common::world::World;

/// How a command begins in a message.
const BEGIN: &str = "`hyper-sync ";

/// The commands in the messages of the sources, with samples in place of what varies.
fn commands() -> BTreeSet<String> {
    let mut commands = BTreeSet::new();
    for (path, text) in sources() {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let messages = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in messages {
            let mut rest = line;
            while let Some(at) = rest.find(BEGIN) {
                let command = &rest[at + 1..];
                let end = command.find('`').unwrap_or_else(|| {
                    panic!(
                        "{}: a command goes on in the next line: {line}",
                        path.display()
                    )
                });
                commands.insert(sample(&command[..end]));
                rest = &command[end..];
            }
        }
    }
    commands
}

/// A command whose parts that vary are those of the world of this test.
fn sample(command: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in command.split(' ') {
        let is_ref = words.last() == Some(&"--ref");
        words.push(match word {
            "COMMAND" => "sync",
            word if word.starts_with('{') && is_ref => "main",
            word if word.starts_with('{') => "flake.nix",
            word => word,
        });
    }
    words.join(" ")
}

#[test]
fn a_command_of_a_message_is_about_the_target_of_its_run() {
    let commands = commands();
    assert!(commands.len() > 15, "{commands:?}");
    let world = World::small();
    // Without a check that is tried again for minutes.
    world.config("[health]\nunits = false\n");
    let binary = world.root().join("bin/hyper-sync");
    symlink(env!("CARGO_BIN_EXE_hyper-sync"), binary).unwrap();
    let at = |name: &str| world.root().join(name).display().to_string();
    let (target, state) = (at("my site"), at("its state"));
    let repo = world.repo.path().display().to_string();
    let given = ["--target", &target, "--state-dir", &state];
    let first = [&["sync", "--repo", &repo], &given[..]].concat();
    let _ = world.run(&first).ok();

    let overrides = Overrides::none()
        .with("repo", "--repo", Some(&repo))
        .with("target", "--target", Some(&target))
        .with("state_dir", "--state-dir", Some(&state));
    let options = RepeatedOptions::new(None, &overrides, &Env::empty());
    for command in commands {
        let quoted = format!("`{command}`");
        let printed = options.in_text(&quoted);
        let line = printed.trim_matches('`');
        let needs_no_target = [
            "hyper-sync help",
            "hyper-sync --help",
            "hyper-sync targets",
            "hyper-sync config",
            "hyper-sync init",
        ];
        let needs_no_target = needs_no_target
            .iter()
            .any(|begin| command.starts_with(begin));
        // Then a run names its target.
        let is_quiet = !needs_no_target && !command.contains("--verbose");
        let verbose = if is_quiet { " --verbose" } else { "" };
        let mut shell = world.process(&["/bin/sh", "-c", &format!("{line}{verbose}")], &[]);
        // The target and the state of another run.
        shell
            .env("HYPER_SYNC_TARGET", world.root().join("other"))
            .env("HYPER_SYNC_STATE_DIR", world.root().join("other-state"));
        let output = shell.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(64), "{line}: {stderr}");
        if !needs_no_target {
            let found = format!("the target is `{target}` (--target)\n");
            assert!(stderr.contains(&found), "{line}: {stderr}");
        }
    }
    assert!(!world.root().join("other").exists());
}

#[test]
fn a_report_and_an_error_print_commands_that_work() {
    let world = World::small();
    world.config("");
    let (repo, target) = (Repo::small(), world.root().join("mine"));
    let (path, target) = (
        repo.path().display().to_string(),
        target.display().to_string(),
    );
    let config = world.root().join("config.toml").display().to_string();
    world.mask(&path, "[repo]").mask(&target, "[mine]");
    let options = ["--config", &config, "--target", &target];
    let sync = |more: &[&str]| {
        let words = ["sync", "--repo", &path, "--local-edits", "replace"];
        world.run(&[&words, &options[..], more].concat())
    };
    let _ = sync(&[]).ok();
    std::fs::write(Path::new(&target).join("flake.nix"), "{ mine = true; }\n").unwrap();
    let replaced = sync(&[]).ok();
    assert_eq!(
        replaced.err(),
        "warning: the local edit of `flake.nix` was replaced; it is kept as transaction 000002, `hyper-sync restore flake.nix --config [config.toml] --target [mine]` puts it back\n"
    );
    let refused = world
        .run(&[&["rollback", "--json"], &options[..]].concat())
        .code(1);
    assert_eq!(
        refused.json()["error"]["help"]
            .as_str()
            .unwrap()
            .replace(&target, "[mine]")
            .replace(&config, "[config]"),
        "`hyper-sync history --config [config] --target [mine]` lists what is kept; nothing was written"
    );
}
