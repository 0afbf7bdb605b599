//! What the documentation says, held against the program.

mod guarantees;
mod layers;
mod links;
mod state_directory;
mod suite;

use std::path::Path;

use hyper_sync::exit::Exit;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a path leads to something in the repository.
fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// All files below a directory whose names end so, by their paths in the repository.
fn files(directory: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        let path = path.trim_start_matches("./").to_owned();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, extension));
        } else if Path::new(&path)
            .extension()
            .is_some_and(|found| found == extension)
        {
            found.push(path);
        }
    }
    found.sort_unstable();
    found
}

/// The documents for people.
fn documents() -> Vec<String> {
    let top = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
    ];
    let top = top.map(str::to_owned).into_iter();
    top.chain(files("docs", "md")).collect()
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
        &["forget", "--help"],
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
