//! Every error as a person reads it in a log, and the list of them in `docs/errors.md`.
//!
//! A new variant needs an example in the module of its stage: the codes of the sources are held against the examples,
//! and the examples against the snapshots and the list.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hyper_sync::Error;
use hyper_sync::exit::Exit;
use hyper_sync::report::{Color, OutputFormat, Report, Stdio, Verbosity};
use hyper_sync::settings::{self, Env, Origin};
use miette::Diagnostic as _;

use crate::common::sources::sources;
use crate::common::written::Written;

mod local;
mod remote;
mod update;
mod values;

/// A stage: the middle of its codes, what the list says about it, and its examples.
type Stage = (&'static str, &'static str, fn() -> Vec<Error>);

const STAGES: &[Stage] = &[
    ("cli", "the command line", values::cli),
    (
        "settings",
        "a setting, before anything else",
        values::settings,
    ),
    ("token", "the token for the remote", local::token),
    ("fs", "the target directory", local::fs),
    ("state", "the state directory", local::state),
    ("lock", "one run at a time", local::lock),
    ("source", "the remote, and what it sent", remote::source),
    (
        "signature",
        "the signature of a commit (`trust.signers`)",
        remote::signature,
    ),
    ("objects", "the object store", local::objects),
    ("scan", "the scan of the target", local::scan),
    ("plan", "what an update would do", update::plan),
    ("sync", "a policy about commits", update::sync),
    ("apply", "the change of the target", update::apply),
    ("undo", "what past updates replaced", update::undo),
    ("health", "the health checks", local::health),
    ("rebuild", "the rebuild", update::rebuild),
    ("check", "the check of a commit's hosts", update::check),
    ("validate", "the state of the machine", local::validate),
];

fn denied() -> io::Error {
    io::Error::from_raw_os_error(13)
}

fn missing() -> io::Error {
    io::Error::from_raw_os_error(2)
}

/// An id of one digit, forty times.
fn oid<T: FromStr<Err: std::fmt::Debug>>(digit: char) -> T {
    digit.to_string().repeat(40).parse().unwrap()
}

/// The text on stderr when it is not a terminal.
fn printed(error: &Error) -> String {
    let written = Written::default();
    let stdio = Stdio {
        out: Box::new(io::sink()),
        err: Box::new(written.clone()),
        out_is_terminal: false,
        err_is_terminal: false,
        err_width: None,
        out_width: None,
        err_is_journal: false,
    };
    let (format, color) = (OutputFormat::Human, Color::Auto);
    let mut report = Report::new(stdio, format, Verbosity::Normal, color, &Env::empty());
    report.error(error, Exit::from(error));
    written.text()
}

fn code(error: &Error) -> String {
    error.code().map(|code| code.to_string()).unwrap()
}

/// The codes that stand in the sources, each with the files it stands in.
fn codes_of_the_sources() -> BTreeMap<String, Vec<PathBuf>> {
    /// As an attribute has it, and as a table of words does.
    const MARKS: [(&str, char); 2] = [("code(hyper_sync::", ')'), ("code: \"hyper_sync::", '"')];
    let mut codes: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (path, text) in sources() {
        for (mark, end) in MARKS {
            for (at, _) in text.match_indices(mark) {
                let name = &text[at + mark.len()..];
                let (name, _) = name.split_once(end).unwrap();
                let files = codes.entry(format!("hyper_sync::{name}")).or_default();
                files.push(path.clone());
            }
        }
    }
    codes
}

#[test]
fn every_error_reads_as_its_snapshot() {
    for (stage, _, examples) in STAGES {
        let mut text = String::new();
        for error in examples() {
            let exit = Exit::from(&error).code();
            let _ = write!(text, "--- exit {exit}\n{}", printed(&error));
        }
        insta::assert_snapshot!(*stage, text);
    }
}

#[test]
fn every_code_stands_for_one_error_that_has_an_example() {
    let codes = codes_of_the_sources();
    for (code, files) in &codes {
        assert_eq!(files.len(), 1, "{code} is in {files:?}");
    }
    let examples: BTreeSet<String> = STAGES
        .iter()
        .flat_map(|(_, _, examples)| examples())
        .map(|error| code(&error))
        .collect();
    let without: Vec<_> = codes
        .keys()
        .filter(|code| !examples.contains(*code))
        .collect();
    assert!(without.is_empty(), "no example has {without:?}");
    let elsewhere: Vec<_> = examples
        .iter()
        .filter(|code| !codes.contains_key(*code))
        .collect();
    assert!(elsewhere.is_empty(), "the scan missed {elsewhere:?}");
}

/// The words by which a help names the state of the target.
const STANDINGS: &[&str] = &[
    "nothing was written",
    "nothing was sent or written",
    "nothing was read or written",
    "nothing was touched",
    "the target is as it was",
    "the target is synced",
    "no file is lost",
    "the tree is at ",
    "nothing has been synced yet",
    "shows which commit the target is at",
];

#[test]
fn every_help_names_the_state_of_the_target() {
    for error in STAGES.iter().flat_map(|(_, _, examples)| examples()) {
        let help = error.help().map(|help| help.to_string()).unwrap();
        assert!(
            STANDINGS.iter().any(|standing| help.contains(standing)),
            "{}: {help}",
            code(&error)
        );
        let sees_a_cause =
            !help.contains("see the cause") || std::error::Error::source(&error).is_some();
        assert!(sees_a_cause, "{} has no cause to see", code(&error));
    }
}

/// A setting that an option gives ends a run otherwise than one in the file; one that nobody gives has one end.
fn exits(error: &Error) -> BTreeSet<Exit> {
    let mut exits = BTreeSet::from([Exit::from(error)]);
    if let Error::Settings(settings::Error::Value(value)) = error
        && value.origin != Origin::Default
    {
        let environment = Origin::Environment("HYPER_SYNC_X".to_owned());
        for origin in [Origin::Flag("--x"), environment] {
            let value = settings::ValueError {
                name: value.name.clone(),
                origin,
                problem: value.problem.clone(),
                place: None,
            };
            let error = settings::Error::Value(Box::new(value)).into();
            exits.insert(Exit::from(&error));
        }
    }
    exits
}

fn list() -> String {
    let mut text = "# Errors

Every error has a code that never changes its meaning, an exit code, and a help that says what to do and what state
things are in. With `--json` they are `code`, `exit` and `help` of `error`; `conflicts` has the `path` and the `problem`
of each local file that conflicts with an update. On a terminal the code is printed last, without `hyper_sync::`. The
messages here are examples; of a code with several, the first.

- A wrong setting ends a run with 64 where it is one of the command line, and with 2 elsewhere.
- `hyper_sync::source::tree_refused` is 6 where what came is not a tree of git, and 7 where the tree is one that
  must not be written.
- `hyper-sync validate` ends with 1 where 2 stands here: its own 2 means warnings only.

This file is made by `UPDATE_DOCS=1 cargo test --test it -- errors`.
"
    .to_owned();
    for (stage, about, examples) in STAGES {
        let mut rows: BTreeMap<String, (BTreeSet<Exit>, String)> = BTreeMap::new();
        for error in examples() {
            let code = code(&error);
            // What another stage reports is in its own section.
            if !code.starts_with(&format!("hyper_sync::{stage}::")) {
                continue;
            }
            let message = error.to_string();
            let message = message.lines().next().unwrap();
            let message = message.replace('|', "\\|").replace('<', "&lt;");
            let row = rows
                .entry(code)
                .or_insert_with(|| (BTreeSet::new(), message));
            row.0.extend(exits(&error));
        }
        let _ = write!(
            text,
            "\n## `{stage}`: {about}\n\n| code | exit | message |\n|---|---|---|\n"
        );
        for (code, (exits, message)) in rows {
            let exits: Vec<String> = exits.iter().map(|exit| exit.code().to_string()).collect();
            let _ = writeln!(text, "| `{code}` | {} | {message} |", exits.join(", "));
        }
    }
    text
}

#[test]
fn the_documentation_lists_every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let list = list();
    for code in codes_of_the_sources().keys() {
        let row = format!("| `{code}` |");
        assert_eq!(list.matches(&row).count(), 1, "{code}");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &list).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == list,
        "docs/errors.md is not what the errors say: run `UPDATE_DOCS=1 cargo test --test it -- errors`"
    );
}
