//! What is printed on a terminal: no line is longer than that, and no command is broken in the middle.

use std::io::Write;
use std::sync::{Arc, Mutex};

use hyper_sync::cli;
use hyper_sync::report::Stdio;
use hyper_sync::settings::Env;
use hyper_sync::source::Interrupt;

use crate::common::repo::Repo;
use crate::common::world::World;

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a command prints, on both streams, in a terminal of so many columns.
fn shown(world: &World, args: &[&str], columns: usize) -> String {
    let env = Env::empty()
        // The targets of root are those of the machine that tests.
        .as_root(args[0] != "targets")
        .with("HOME", world.home())
        .with("PATH", world.root().join("bin"))
        .with("HYPER_SYNC_CONFIG", world.root().join("config.toml"))
        .with("HYPER_SYNC_STATE_DIR", world.state())
        .with("HYPER_SYNC_TARGET", world.target())
        .with("NO_COLOR", "1");
    let screen = Screen::default();
    let stdio = Stdio {
        out: Box::new(screen.clone()),
        err: Box::new(screen.clone()),
        out_is_terminal: true,
        err_is_terminal: true,
        err_width: Some(columns),
        out_width: Some(columns),
        err_is_journal: false,
    };
    let words = ["hyper-sync"].iter().chain(args).chain(&["--no-progress"]);
    let _ = cli::main(words.map(Into::into), &env, stdio, &Interrupt::default());
    let printed = screen.0.lock().unwrap();
    String::from_utf8(printed.clone()).unwrap()
}

/// A machine on another branch than the configured one, with edits, a failed run and a commit that waits.
fn busy() -> World {
    let repo = Repo::small();
    repo.branch("feature/a-name-that-is-long");
    let world = World::local(&repo).with("ref = 'main'\nlocal_edits = 'refuse'");
    let _ = world.sync(&["feature/a-name-that-is-long"]).ok();
    for name in ["flake.nix", "modules/base.nix"] {
        world.edit(name, "{ mine = true; }\n");
        repo.write(name, "{ theirs = true; }\n");
    }
    repo.commit("nginx: a subject that is longer than what a narrow terminal has");
    let _ = world.sync(&[]).code(8);
    world
}

/// Whether a line has one word, or one command, maybe beside the name of a fact: there is no place to break it.
fn is_one_piece(line: &str) -> bool {
    let value = line.get(10..).filter(|_| line[..10].ends_with(' '));
    let value = value.or(line.strip_prefix("error: "));
    [line, value.unwrap_or(line)].iter().any(|piece| {
        let piece = piece.trim_start();
        let code = piece.strip_prefix('`').and_then(|rest| rest.find('`'));
        !piece.contains(' ') || code.is_some_and(|end| !piece[end..].contains(' '))
    })
}

#[test]
fn no_line_is_longer_than_the_terminal() {
    let world = busy();
    let commands: &[&[&str]] = &[
        &["status"],
        &["status", "--remote"],
        &["history", "--no-pager"],
        &["log", "--no-pager"],
        &["log", "--remote", "--no-pager"],
        &["targets"],
        &["health"],
        &["validate"],
        &["config", "explain"],
        &["sync", "--dry-run", "--local-edits", "replace"],
        &["sync"],
        &["rebuild"],
        &["check", "--eval"],
    ];
    for command in commands {
        for columns in [40, 80, 120] {
            let text = shown(&world, command, columns);
            assert!(!text.is_empty(), "{command:?}");
            for line in text.lines() {
                let fits = line.chars().count() <= columns || is_one_piece(line);
                assert!(fits, "{command:?} at {columns}: {line}\n{text}");
                let marks = line.matches('`').count();
                assert!(
                    marks.is_multiple_of(2),
                    "{command:?} at {columns}: {line}\n{text}"
                );
            }
        }
    }
}

#[test]
fn the_options_of_the_run_are_in_a_command_before_it_is_wrapped() {
    let world = busy();
    let target = world.target().display().to_string();
    let text = shown(&world, &["status", "--target", &target], 80);
    let command = format!("\n`hyper-sync rebuild --target {target}`\n");
    let is_whole = text.contains(&command) || text.contains(&command[1..command.len() - 1]);
    assert!(is_whole, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn a_narrow_terminal_gets_a_line_for_each_fact_of_a_target() {
    let world = World::small().synced();
    let [narrow, wide] = [40, 200].map(|columns| shown(&world, &["targets"], columns));
    assert!(wide.starts_with("TARGET "), "{wide}");
    let names: Vec<&str> = { narrow.lines() }
        .map(|line| line.get(..9).unwrap_or(line))
        .collect();
    let names: Vec<&str> = { names.into_iter() }
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        names,
        ["target", "follows", "commit", "last run"],
        "{narrow}"
    );
    for text in [narrow, wide] {
        assert!(text.contains("ago") || text.contains("just now"), "{text}");
    }
}

#[test]
fn what_only_shows_something_does_not_say_that_it_wrote_nothing() {
    let world = World::small();
    // Where a connection is refused, a run tries again after a pause.
    world.config("repo = '/no/such/repository'\nhealth.units = false\nhealth.remote = true\nhealth.within = '1s'");
    for command in [
        &["status", "--remote"][..],
        &["diff", "--remote"],
        &["log", "--remote"],
        &["check"],
        &["health"],
        &["status", "--no-such-option"],
        &["config", "check", "/no/such/file"],
    ] {
        for format in [&[][..], &["--json"]] {
            let output = world.run(&[command, format].concat());
            assert_ne!(output.code, Some(0));
            let text = output.masked();
            assert!(!text.contains("nothing was written"), "{command:?}: {text}");
        }
    }
    let error = world.sync(&[]).code(2).stderr;
    assert!(error.contains("; nothing was written"), "{error}");
}
