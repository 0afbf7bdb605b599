//! What the documentation says, held against the program.

mod commands;
mod guarantees;
mod layers;
mod links;
mod recording;
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
fn every_option_of_a_console_line_exists() {
    let world = crate::common::env::Sandbox::new();
    let mut help = String::new();
    for command in [
        &["--help"][..],
        &["sync", "--help"],
        &["validate", "--help"],
        &["diff", "--help"],
        &["rebuild", "--help"],
        &["check", "--help"],
        &["forget", "--help"],
        &["init", "--help"],
        &["rollback", "--help"],
        &["restore", "--help"],
        &["suspend", "--help"],
    ] {
        help += &world.run(command).ok().stdout;
    }
    let mut named = Vec::new();
    for document in documents() {
        let text = read(&document);
        let lines = text.lines().filter_map(|line| line.strip_prefix("$ "));
        for line in lines.filter_map(|line| Some(line.split_once("hyper-sync ")?.1)) {
            let line = line.split(" | ").next().unwrap();
            let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
            let options = words.filter(|word| word.starts_with("--") && word.len() > 2);
            named.extend(options.map(|option| (document.clone(), option.to_owned())));
        }
    }
    assert!(named.len() > 20);
    for (document, option) in named {
        assert!(
            help.contains(&option),
            "{document} names {option}, which no command has"
        );
    }
}
