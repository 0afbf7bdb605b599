//! Wrong command lines: how they end, and what is suggested.

use crate::common::env::Sandbox;

#[test]
fn a_wrong_command_line_exits_with_a_code_of_its_own() {
    for args in [
        &["--typo"][..],
        &["validate", "--typo"],
        &["typo"],
        &["sync", "--transport", "pigeon"],
        &["--rebuild-action", "explode"],
        &["sync", "--exit-code"],
        &["--quiet", "--verbose"],
        &["--ref", "x", "sync"],
        &["--skip-rebuild", "rebuild"],
        &["sync", "--ref", "-x"],
        &["config"],
    ] {
        let output = Sandbox::new().run(args).code(64);
        assert_eq!(output.stdout, "", "{args:?}");
        assert!(output.stderr.contains("--help"), "{args:?}");
    }
}

#[test]
fn an_option_before_its_command_is_explained() {
    let output = Sandbox::new().run(&["--ref", "x", "sync"]).code(64);
    insta::assert_snapshot!(output.stderr, @"
    error: `--ref` before `sync` belongs to the update, not to `sync`: write it after `sync`, where it is known there
    help: `hyper-sync sync --help` lists its options; nothing was written
    [cli::usage]
    ");
}

#[test]
fn what_was_meant_is_answered_with_what_to_write() {
    let world = Sandbox::new();
    for (given, advice) in [
        ("rolback", "write `hyper-sync rollback` if that was meant; "),
        (
            "help rolback",
            "write `hyper-sync rollback` if that was meant; ",
        ),
        (
            "config shwo",
            "write `hyper-sync config show` if that was meant; ",
        ),
        (
            "pull",
            "`hyper-sync sync` brings the target to the commit, ",
        ),
        ("update", "`hyper-sync` without a command updates"),
        (
            "fetch",
            "`hyper-sync sync --check-only` says whether changes wait",
        ),
        ("sync --branch main", "write `--ref main`; "),
        ("sync --branch=main", "write `--ref main`; "),
        ("--branch main", "write `--ref main`; "),
        ("sync --refs main", "write `--ref main`; "),
        ("status --url you/config", "write `--repo you/config`; "),
        ("sync --token s3cret", "write `--token-file`; "),
        (
            "--quick",
            "`--quick` is an option of `hyper-sync validate`; ",
        ),
        (
            "validate --skip-rebuild",
            "`--skip-rebuild` is an option of `hyper-sync` without a command; ",
        ),
        (
            "sync --transport pigeon",
            "write one of `auto`, `git`, `api`; `hyper-sync sync --help` ",
        ),
        (
            "config explain local_edit",
            "write `local_edits` if that was meant; ",
        ),
        ("config explain branch", "write `ref` if that was meant; "),
        (
            "config explain zzz",
            "`hyper-sync config explain` prints all settings; ",
        ),
        ("restore", "usage: hyper-sync restore [OPTIONS] <PATH>...; "),
        (
            "rollback --list",
            "help: `hyper-sync rollback --help` lists its options; nothing was written",
        ),
        (
            "sync --force",
            "an update that is refused names the option that allows it",
        ),
    ] {
        let words: Vec<&str> = given.split(' ').collect();
        let refused = world.run(&words).code(64);
        assert!(
            refused.stderr.contains(advice),
            "{given}: {}",
            refused.stderr
        );
        assert!(refused.stderr.starts_with("error: "), "{given}");
        let only_shows = ["config", "status", "validate"].contains(&words[0]);
        let end = if only_shows {
            "\n[cli::usage]\n"
        } else {
            "; nothing was written\n[cli::usage]\n"
        };
        assert!(refused.stderr.ends_with(end), "{given}");
        assert!(!refused.stderr.contains("s3cret"), "{given}");
        let refused = world.run(&[&words[..], &["--json"]].concat()).code(64);
        let document: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
        assert_eq!(
            document["error"]["code"], "hyper_sync::cli::usage",
            "{given}"
        );
        let help = document["error"]["help"].as_str().unwrap();
        assert!(
            help.contains(advice.trim_start_matches("help: ")),
            "{given}: {help}"
        );
    }
}

#[test]
fn a_time_to_wait_is_written_as_every_other_time() {
    let world = Sandbox::new();
    for time in ["0", "10", "10s", "15m"] {
        let refused = world.run(&["sync", "--wait", time]).code(2);
        assert!(refused.stderr.contains("no_repository"), "{time}");
    }
    let _ = world.run(&["sync", "--wait", "soon"]).code(64);
}
