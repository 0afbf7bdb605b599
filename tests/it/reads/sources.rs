//! Every call in the source that reads the file system by a path, outside `fs` and `vetted`, with the reason why it is
//! safe. A new one belongs into `fs` (by directory handle) or `vetted` (by path, checked), or here with its reason.

use std::collections::BTreeSet;

use crate::common::sources::sources;

/// Calls that stat, list, or open by a path.
const CALLS: &[&str] = &[
    "File::create_new(",
    "File::open",
    "OpenOptions::new(",
    "fs::canonicalize(",
    "fs::copy(",
    "fs::metadata(",
    "fs::read(",
    "fs::read_dir(",
    "fs::read_link(",
    "fs::read_to_string(",
    "fs::symlink_metadata(",
    "openat(",
    "openat2(",
    "rustix::fs::open(",
    "sys::open(",
    ".canonicalize()",
    ".exists()",
    ".is_dir()",
    ".is_file()",
    ".is_symlink()",
    ".read_dir()",
    ".read_link()",
    ".symlink_metadata()",
    ".try_exists()",
];

const STORE: &str =
    "in `objects.git`, which is ours, 0700, opened once and reached through its handle";
const LINKS: &str = "follows links of the administrator or of NixOS, and opens nothing";
const NAMES: &str = "asks whether something is there, and opens nothing";
const SNAPSHOT: &str = "in a snapshot, which is in our own directory";
const HANDLE: &str = "below a directory handle, not blocking, no link followed";

/// The calls that exist, and why they are safe.
const KNOWN: &[(&str, &str, &str)] = &[
    ("cli/revert.rs", "fs::canonicalize(", LINKS),
    ("lock.rs", "openat(", HANDLE),
    ("objects.rs", "fs::read_dir(", STORE),
    ("objects.rs", "fs::read_to_string(", STORE),
    ("objects.rs", "fs::symlink_metadata(", STORE),
    ("objects.rs", ".exists()", STORE),
    ("objects.rs", ".is_dir()", STORE),
    ("objects/durable.rs", "File::open", STORE),
    ("objects/complete.rs", "fs::read_dir(", STORE),
    ("objects/complete.rs", "fs::read_to_string(", STORE),
    ("objects/pack.rs", "File::open", STORE),
    ("objects/pack.rs", "fs::metadata(", STORE),
    ("objects/pack.rs", "fs::read_dir(", STORE),
    ("objects/pack.rs", ".exists()", STORE),
    (
        "objects/store_directory.rs",
        "fs::read_link(",
        "asks the kernel where a handle of ours leads",
    ),
    ("objects/writer.rs", "File::create_new(", STORE),
    ("process/environment.rs", "fs::metadata(", NAMES),
    ("process/environment.rs", ".is_file()", NAMES),
    (
        "rebuild/key.rs",
        "fs::read_dir(",
        "lists the names beside a file that the host's flake names",
    ),
    ("rebuild/key.rs", ".is_file()", NAMES),
    ("rebuild/machine.rs", "fs::canonicalize(", LINKS),
    (
        "rebuild/machine.rs",
        "fs::read_dir(",
        "lists the specialisations of a system",
    ),
    ("rebuild/machine.rs", "fs::read_link(", LINKS),
    ("rebuild/machine.rs", ".exists()", NAMES),
    ("rebuild/machine.rs", ".is_dir()", NAMES),
    ("rebuild/pinned/lock.rs", "fs::canonicalize(", LINKS),
    ("rebuild/flake.rs", "fs::canonicalize(", LINKS),
    ("rebuild/gate.rs", ".is_dir()", SNAPSHOT),
    ("rebuild/gate.rs", "OpenOptions::new(", SNAPSHOT),
    ("rebuild/gate.rs", "fs::symlink_metadata(", SNAPSHOT),
    ("rebuild/revision.rs", ".is_dir()", SNAPSHOT),
    ("rebuild/revision.rs", "fs::read_dir(", SNAPSHOT),
    ("rebuild/flake.rs", ".exists()", NAMES),
    (
        "rebuild/snapshot.rs",
        "OpenOptions::new(",
        "makes a file of the snapshot, in our own directory",
    ),
    ("rebuild/snapshot.rs", "fs::canonicalize(", LINKS),
    (
        "rebuild/snapshot.rs",
        "fs::read_dir(",
        "lists our own snapshots",
    ),
    (
        "signals.rs",
        "fs::read_to_string(",
        "`/proc/self/status`, which is the kernel's",
    ),
    (
        "signature/program.rs",
        "File::open",
        "a file that was just laid down in a directory of ours",
    ),
    (
        "source/git/http.rs",
        "fs::read_to_string(",
        "a small file of the state directory, which is ours, 0700",
    ),
    (
        "validate/probe.rs",
        "openat2(",
        "stats it first, then opens it without blocking and stats it again",
    ),
    (
        "validate/probe.rs",
        "sys::open(",
        "the directory that is used as `/`",
    ),
];

/// The lines of a source file without its tests and comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]\nmod tests {");
    let lines = text[..end.unwrap_or(text.len())].lines();
    lines.filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn every_call_that_reads_by_a_path_is_listed_with_its_reason() {
    let files = sources();
    assert!(files.len() > 100);
    let mut found = BTreeSet::new();
    for (file, text) in &files {
        let name = file.to_str().unwrap();
        let is_exempt = name == "fs.rs"
            || name == "vetted.rs"
            || name.starts_with("fs/")
            || name.ends_with("/tests.rs")
            || name.contains("/tests/");
        if is_exempt {
            continue;
        }
        for line in code(text) {
            let calls = CALLS.iter().filter(|call| line.contains(*call));
            found.extend(calls.map(|call| (name.to_owned(), *call)));
        }
    }
    let known: BTreeSet<_> = KNOWN
        .iter()
        .map(|(file, call, _)| ((*file).to_owned(), *call))
        .collect();
    let unknown: Vec<_> = found.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "not listed in {}: {unknown:#?}",
        file!()
    );
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(
        gone.is_empty(),
        "listed in {}, and not there: {gone:#?}",
        file!()
    );
}
