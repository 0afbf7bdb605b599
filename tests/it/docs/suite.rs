//! Every file of the integration tests is compiled, and `main.rs` says of each area what belongs there.

use std::collections::BTreeSet;

use super::{exists, files, read};

/// The modules that a file declares at its top, each with what follows on its line.
fn declared(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let modules = text.lines().filter_map(|line| {
        let (before, module) = line.split_once("mod ")?;
        if !matches!(before, "" | "pub " | "pub(crate) ") {
            return None;
        }
        module.split_once(';')
    });
    modules.filter(|(name, _)| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
}

#[test]
fn every_file_of_the_suite_is_a_module() {
    let mut known = BTreeSet::from(["tests/it/main.rs".to_owned()]);
    let mut open = vec![("tests/it/main.rs".to_owned(), "tests/it".to_owned())];
    while let Some((file, directory)) = open.pop() {
        for (name, _) in declared(&read(&file)) {
            let file = format!("{directory}/{name}.rs");
            // What lies elsewhere has a `#[path]`.
            if exists(&file) {
                known.insert(file.clone());
                open.push((file, format!("{directory}/{name}")));
            }
        }
    }
    let found: BTreeSet<String> = files("tests/it", "rs").into_iter().collect();
    assert_eq!(
        known, found,
        "each file under tests/it is declared by `mod`"
    );
}

#[test]
fn every_area_has_a_sentence_on_what_belongs_there() {
    let text = read("tests/it/main.rs");
    let is_area = |name: &str| exists(&format!("tests/it/{name}.rs"));
    let areas: Vec<(&str, &str)> = declared(&text).filter(|(name, _)| is_area(name)).collect();
    assert!(areas.len() > 30);
    for (name, after) in areas {
        let says = after.strip_prefix(" // ").unwrap_or_default();
        assert!(
            says.len() > 10,
            "tests/it/main.rs: what belongs in `{name}`?"
        );
    }
}
