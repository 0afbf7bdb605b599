//! Each failure in docs/safe-updates.md names a test that exists.

use std::collections::BTreeSet;

use super::{files, read, rows};

/// The tests of the suite, the scenarios of the machine tests and the VM tests, by name.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files("tests/it", "rs") {
        let text = read(&file);
        let functions = text.split("#[test]\n").skip(1);
        let names = functions.filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
        found.extend(names.map(|(name, _)| name.to_owned()));
    }
    for (directory, extension) in [("tests/machine/scenarios", "py"), ("checks/vm", "nix")] {
        let names = files(directory, extension).into_iter().filter_map(|file| {
            let name = file.strip_prefix(directory)?.strip_prefix('/')?;
            Some(name.strip_suffix(extension)?.strip_suffix('.')?.to_owned())
        });
        found.extend(names);
    }
    found
}

#[test]
fn each_failure_names_a_test() {
    let text = read("docs/safe-updates.md");
    let tests = tests();
    let rows = rows(&text, "| what fails | what happens | shown by |");
    assert!(rows.len() >= 20, "only {}", rows.len());
    for row in rows {
        let [_, _, shown_by] = &row[..] else {
            panic!("{row:?}")
        };
        assert!(tests.contains(shown_by), "no test is called {shown_by}");
    }
}
