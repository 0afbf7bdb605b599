//! What the documentation says, held against the program.

mod state_directory;

use std::path::Path;

use hyper_sync::exit::Exit;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the table that begins with this line, without the marks of code.
fn rows(text: &str, header: &str) -> Vec<Vec<String>> {
    let table = text.lines().skip_while(|line| *line != header).skip(2);
    let rows = table.map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows: Vec<Vec<String>> = rows
        .map(|row| row.split(" | ").map(|cell| cell.replace('`', "")).collect())
        .collect();
    assert!(!rows.is_empty(), "no table begins with {header}");
    rows
}

#[test]
fn the_readme_has_the_table_of_exit_codes() {
    let rows = Exit::TABLE
        .iter()
        .map(|(exit, words)| format!("| {} | {words} |\n", exit.code()));
    let table: String = ["| code | meaning |\n|---|---|\n".to_owned()]
        .into_iter()
        .chain(rows)
        .collect();
    assert!(
        read("README.md").contains(&table),
        "README.md should have:\n{table}"
    );
}

#[test]
fn every_option_the_readme_names_exists() {
    let world = crate::common::env::Sandbox::new();
    let mut help = String::new();
    for command in [
        &["--help"][..],
        &["sync", "--help"],
        &["validate", "--help"],
        &["diff", "--help"],
        &["rebuild", "--help"],
    ] {
        help += &world.run(command).ok().stdout;
    }
    let readme = read("README.md");
    let ours = readme
        .lines()
        .filter(|line| line.contains("hyper-sync") || line.contains("`--"));
    let options =
        ours.flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')));
    let mut named: Vec<&str> = options
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .filter(|word| !matches!(*word, "--release" | "--git-dir"))
        .collect();
    named.sort_unstable();
    named.dedup();
    assert!(named.len() > 10);
    for option in named {
        assert!(
            help.contains(option),
            "README.md names {option}, which no command has"
        );
    }
}
