//! Completions, in the shells themselves: what clap knows, and what the state of a target adds to it.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::common::env::Sandbox;
use crate::common::world::World;

/// A target with two updates, the second of which has replaced edits, and the program in `PATH`.
fn world() -> World {
    let world = World::small().with("local_edits = 'replace'").synced();
    world.edit("README.md", "mine\n");
    world.edit("docs/a file.md", "mine\n");
    world
        .repo
        .write("README.md", "two\n")
        .write("docs/a file.md", "two\n")
        .commit("update");
    let _ = world.sync(&[]).ok();
    symlink(
        env!("CARGO_BIN_EXE_hyper-sync"),
        world.root().join("bin/hyper-sync"),
    )
    .unwrap();
    world
}

/// Runs a script in a shell of this machine; `None` where it has none. CI installs all of them (`.ci/run`).
fn run(world: &World, shell: &str, script: &str) -> Option<Vec<String>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(shell))
        .find(|file| file.is_file());
    let is_expected = shell == "bash" || std::env::var_os("CI").is_some();
    assert!(
        found.is_some() || !is_expected,
        "`{shell}` is not installed"
    );
    let found = found?;
    let found = found.display().to_string();
    let mut command: Command = world.process(&[&found, "-c", script], &[]);
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "", "{shell}: {script}");
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

/// What each line is completed to, by its last word.
fn cases(world: &World) -> Vec<(&'static str, Vec<String>)> {
    let main = world.repo.id("main");
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    vec![
        ("hyper-sync sync --ref ", texts(&["main"])),
        ("hyper-sync sync ma", texts(&["main"])),
        ("hyper-sync restore READ", texts(&["README.md"])),
        ("hyper-sync rollback 00000", texts(&["000001", "000002"])),
        ("hyper-sync rollback ", vec![main[..10].to_owned()]),
        (
            "hyper-sync forget /",
            vec![world.target().display().to_string()],
        ),
        ("hyper-sync roll", texts(&["rollback"])),
    ]
}

/// Completes a line in a shell, in which `complete` does that and prints the words, one a line.
fn complete(world: &World, shell: &str, setup: &str, line: &str) -> Option<Vec<String>> {
    let words = run(world, shell, &format!("{setup}\ncomplete_line '{line}'"))?;
    // fish adds a description.
    let first = |line: &String| line.split('\t').next().unwrap().to_owned();
    Some(words.iter().map(first).collect())
}

const BASH: &str = r#"
source <(hyper-sync completions bash)
complete_line() {
    read -ra COMP_WORDS <<<"$1"
    [[ $1 != *' ' ]] || COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _hyper-sync_values hyper-sync "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s\n' "${COMPREPLY[@]}"
}"#;

/// The builtins of its line editor are not there in a script.
const ZSH: &str = r#"
compdef() { }
compadd() { print -l -- "${(@P)2}" }
_arguments() { print -l -- rollback; return 1 }
eval "$(hyper-sync completions zsh)"
complete_line() {
    words=("${(@s: :)1}")
    CURRENT=$#words
    _hyper-sync
}"#;

const FISH: &str = "
hyper-sync completions fish | source
function complete_line
    complete -C $argv[1]
end";

#[test]
fn a_shell_offers_what_the_state_of_the_target_has() {
    let world = world();
    for (shell, setup) in [("bash", BASH), ("zsh", ZSH), ("fish", FISH)] {
        for (line, expected) in cases(&world) {
            let Some(offered) = complete(&world, shell, setup, line) else {
                continue;
            };
            for word in expected {
                assert!(offered.contains(&word), "{shell}, {line}: {offered:?}");
            }
        }
    }
    assert_eq!(
        complete(&world, "bash", BASH, "hyper-sync restore docs").unwrap(),
        [r"docs/a\ file.md"]
    );
    assert_eq!(
        complete(&world, "bash", BASH, "hyper-sync --ref ma").unwrap(),
        ["main"]
    );
}

#[test]
fn nothing_is_offered_and_nothing_is_written_where_nothing_is_known() {
    let world = World::small();
    for words in [
        &["sync", "--ref", ""][..],
        &["restore", ""],
        &["rollback", ""],
        &["--bogus", ""],
        &[],
    ] {
        let output = world.run(&[&["complete", "--"], words].concat()).ok();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("", ""),
            "{words:?}"
        );
    }
    assert!(!world.state().exists());
}

fn script(shell: &str) -> String {
    Sandbox::new().run(&["completions", shell]).ok().stdout
}

#[test]
fn a_script_knows_commands_and_options() {
    for shell in ["bash", "zsh", "fish"] {
        let script = script(shell);
        for word in ["validate", "rebuild-action", "dry-activate", "local-edits"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // A command whose name the script finds is one whose options it knows.
    let bash = script("bash");
    let names: Vec<&str> = bash
        .lines()
        .filter_map(|line| line.trim().strip_prefix("cmd=\"")?.strip_suffix('"'))
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let branch = format!("\n        {name})\n");
        assert!(bash.contains(&branch), "{name}");
    }
}

#[test]
fn a_script_offers_no_hidden_option_and_no_file_where_none_is_meant() {
    let script = script("bash");
    for hidden in ["--sandboxed", "--boot-first", "--expired"] {
        assert!(!script.contains(&format!("{hidden} ")), "{hidden}");
    }
    let after = |option: &str| {
        let (_, rest) = script
            .split_once(&format!("            {option})\n"))
            .unwrap();
        rest.split_once(";;").unwrap().0.to_owned()
    };
    for option in ["--ref", "--repo", "--wait"] {
        assert!(
            !after(option).contains("compgen -f"),
            "{option}: {}",
            after(option)
        );
    }
    assert!(after("--token-file").contains("compgen -f"));
}
