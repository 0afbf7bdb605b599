//! What a script relies on: one JSON document on stdout in every case, and a state file at the path it asked for.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::common::env::Sandbox;
use crate::common::repo::Repo;
use crate::common::world::{World, flake_repo};

#[test]
fn with_json_a_wrong_command_line_prints_a_document() {
    let world = Sandbox::new();
    for (args, message) in [
        (
            &["--json", "--bogus"][..],
            "`--bogus` is not an option of `hyper-sync`",
        ),
        (&["bogus", "--json"], "`bogus` is not a command"),
        (&["--json", "config"], "the command is not complete"),
        (&["completions", "--json"], "`<SHELL>` is missing"),
        (
            &["--json", "rollback", "\u{202e}1"],
            "`\\u{202e}1` is not a value of `[N|COMMIT|UPDATE|TIME]`: it is neither a number of commits, nor that of an update, nor the beginning of a commit id, nor a time such as `2026-11-28 18:00` or `2h ago`",
        ),
    ] {
        let output = world.run(args).code(64);
        let error = output.json()["error"].clone();
        assert_eq!(error["code"], "hyper_sync::cli::usage", "{args:?}");
        assert_eq!(
            (&error["exit"], &error["message"]),
            (&64.into(), &message.into())
        );
        assert_eq!(output.stderr, "", "{args:?}");
    }
    let output = world.run(&["diff", "--bogus", "--", "--json"]).code(64);
    assert_eq!(output.stdout, "", "after `--` it is a path");
}

#[test]
fn with_json_no_pending_rebuild_prints_a_document() {
    let output = Sandbox::new()
        .run(&["rebuild", "--if-pending", "--json"])
        .ok();
    assert_eq!(output.json()["rebuild"], serde_json::Value::Null);
}

#[test]
fn a_missing_state_file_is_published_though_nothing_changed() {
    let repo = Repo::small();
    let world = Sandbox::new();
    let published = world.root().join("run/sync-state.json");
    let path = published.display().to_string();
    let sync = || {
        let repo = repo.path().display().to_string();
        let _ = world
            .run(&["sync", "--repo", &repo, "--state-file", &path])
            .ok();
        fs::read_to_string(&published).unwrap()
    };
    let first = sync();
    fs::remove_dir_all(published.parent().unwrap()).unwrap();
    assert_eq!(sync(), first, "as if it had never been away");
    fs::write(&published, first.replace('1', "2")).unwrap();
    assert_eq!(sync(), first);
}

#[test]
fn quiet_prints_what_was_asked_for() {
    let repo = Repo::small();
    let world = Sandbox::new();
    let path = repo.path().display().to_string();
    let _ = world.run(&["sync", "--quiet", "--repo", &path]).ok();
    for command in ["status", "history"] {
        let normal = world.run(&[command]).ok();
        let quiet = world.run(&[command, "--quiet"]).ok();
        assert!(!quiet.stdout.is_empty());
        // Masked: a second may pass in between.
        let [quiet, normal] = [quiet, normal].map(|output| output.out());
        assert_eq!(quiet, normal, "{command}");
    }
}

#[test]
fn a_target_of_another_user_is_reported_by_the_commands_that_read_it() {
    // Only root can give a directory away.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = Sandbox::new();
    fs::create_dir_all(world.target()).unwrap();
    let is_reported = |command: &str| {
        let output = world.run(&[command]).ok();
        output.stderr.contains("belongs to the user with id 12345")
    };
    assert!(!is_reported("status"));
    std::os::unix::fs::chown(world.target(), Some(12345), None).unwrap();
    for command in ["status", "history", "diff"] {
        assert!(is_reported(command), "{command}");
    }
}

#[test]
fn a_failed_rebuild_is_shown_beside_the_pending_one() {
    let repo = flake_repo();
    let world = Sandbox::new();
    world.tool("nix", "exit 1").tool("nixos-rebuild", "exit 1");
    let path = repo.path().display().to_string();
    let _ = world.run(&["sync", "--repo", &path]).ok();
    let status = || world.run(&["status"]).ok().stdout;
    assert!(status().contains("pending: switch, left "), "{}", status());
    assert!(!status().contains("failed"), "{}", status());
    let _ = world.run(&["rebuild"]).code(11);
    assert!(status().contains("; the last one failed "), "{}", status());
}

#[test]
fn a_lost_index_is_not_shown_as_nothing_synced() {
    let repo = Repo::small();
    let world = Sandbox::new();
    let path = repo.path().display().to_string();
    let status = || world.run(&["status"]).ok().stdout;
    assert!(status().contains("none yet: nothing was synced here"));
    let _ = world.run(&["sync", "--repo", &path]).ok();
    let index = world.state().join("index");
    for garbage in [None, Some("garbage")] {
        fs::remove_file(&index).unwrap();
        if let Some(garbage) = garbage {
            fs::write(&index, garbage).unwrap();
        }
        let shown = status();
        let brought = format!("the last one brought {} (main of", &repo.id("main")[..10]);
        assert!(shown.contains(&brought), "{shown}");
        let _ = world.run(&["sync", "--repo", &path]).ok();
        assert!(!status().contains("unknown: the index"));
    }
}

#[test]
fn the_commit_is_shown_where_the_files_cannot_be_read() {
    let repo = Repo::small();
    let world = Sandbox::new();
    let path = repo.path().display().to_string();
    let _ = world.run(&["sync", "--repo", &path]).ok();
    let target = world.target();
    let away = target.with_file_name("away");
    fs::rename(&target, &away).unwrap();
    std::os::unix::fs::symlink(&away, &target).unwrap();
    let output = world.run(&["status"]).ok();
    let shown = &output.stdout;
    assert!(shown.contains(&repo.id("main")[..10]), "{shown}");
    assert!(shown.contains("edits     unknown"), "{shown}");
    assert!(output.stderr.contains("goes through a symlink"));
    let document = world.run(&["status", "--json"]).ok().json();
    assert_eq!(document["commit"], repo.id("main"));
    assert_eq!(document["local_edits"], serde_json::Value::Null);
}

/// What a run prints on this stderr, of which the variable says that it is the journal.
fn on_stderr(world: &World, args: &[&str], stderr: impl Into<Stdio>, journal: Option<String>) {
    let mut command = world.process(&[], args);
    if let Some(journal) = journal {
        command.env("JOURNAL_STREAM", journal);
    }
    let run = command.stdin(Stdio::null()).stdout(Stdio::null());
    run.stderr(stderr).status().unwrap();
}

/// Each line by the priority that it has (`sd-daemon(3)`), without it.
fn priorities(text: &str) -> Vec<(Option<&str>, &str)> {
    let split = |line| match str::strip_prefix(line, "<") {
        Some(rest) => rest
            .split_once('>')
            .map_or((None, line), |(n, text)| (Some(n), text)),
        None => (None, line),
    };
    text.lines().map(split).collect()
}

/// systemd names the stream that it has connected by device and inode; the variable alone is inherited by all below.
#[test]
fn lines_have_priorities_where_stderr_is_the_journal_and_nowhere_else() {
    let repo = Repo::small();
    let world = World::local(&repo).with("local_edits = 'keep'").synced();
    world.edit("flake.nix", "mine\n");
    repo.write("flake.nix", "theirs\n").commit("next");
    let path = world.root().join("stderr");
    let id = |stat: &fs::Metadata| format!("{}:{}", stat.dev(), stat.ino());
    let mut seen = BTreeSet::new();
    for args in [
        &["sync", "--for", "2h"][..],
        &["sync", "--ref", "no-such-branch"],
        &["sync", "--verbose", "--check-only"],
        &["status", "--bogus"],
        &["config", "check"],
    ] {
        let file = fs::File::create(&path).unwrap();
        let journal = id(&file.metadata().unwrap());
        on_stderr(&world, args, file, Some(journal.clone()));
        let text = fs::read_to_string(&path).unwrap();
        for (priority, line) in priorities(&text) {
            let priority = priority.unwrap_or_else(|| panic!("{args:?}: {text}"));
            let expected = match line.split(' ').next().unwrap() {
                "error:" | "help:" => "3",
                "warning:" => "4",
                "note:" => "5",
                _ => priority,
            };
            assert_eq!(priority, expected, "{args:?}: {text}");
            seen.insert(priority.to_owned());
        }

        // Neither another stream, nor none.
        for other in [Some("1:1".to_owned()), Some(String::new()), None] {
            let file = fs::File::create(&path).unwrap();
            on_stderr(&world, args, file, other);
            let text = fs::read_to_string(&path).unwrap();
            assert!(
                priorities(&text)
                    .iter()
                    .all(|(priority, _)| priority.is_none()),
                "{text}"
            );
        }
    }
    assert!(
        ["3", "4", "6"]
            .iter()
            .all(|priority| seen.contains(*priority)),
        "{seen:?}"
    );

    // As systemd does it: the stream is a socket.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let stat = rustix::fs::fstat(&theirs).unwrap();
    let journal = format!("{}:{}", stat.st_dev, stat.st_ino);
    on_stderr(
        &world,
        &["sync", "--ref", "no-such-branch"],
        OwnedFd::from(theirs),
        Some(journal),
    );
    let text = io::read_to_string(ours).unwrap();
    assert!(
        text.starts_with("<3>error: `no-such-branch` is neither"),
        "{text}"
    );
}
