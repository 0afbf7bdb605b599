//! The table of layers in `docs/architecture.md`, held against the imports of the code.

use std::collections::{BTreeMap, BTreeSet};

use super::{files, read, rows};

/// The number of each module's layer.
fn layers(architecture: &str) -> BTreeMap<String, usize> {
    rows(architecture, "| layer | modules | what they know |")
        .iter()
        .flat_map(|row| {
            let layer = row[0].parse().unwrap();
            row[1].split(", ").map(move |name| (name.to_owned(), layer))
        })
        .collect()
}

/// The modules at the top of the crate, with the files of each.
fn modules() -> BTreeMap<String, Vec<String>> {
    let mut modules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files("src", "rs") {
        let inside = file.strip_prefix("src/").unwrap();
        let top = inside.split('/').next().unwrap().trim_end_matches(".rs");
        let is_test = file.ends_with("tests.rs") || file.contains("/tests/");
        let is_root = ["lib", "main", "fuzzing"].contains(&top);
        if !is_test && !is_root {
            modules.entry(top.to_owned()).or_default().push(file);
        }
    }
    modules
}

/// The modules that a file names by `crate::…`, tests and comments left out.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap());
    let code: String = code
        .take_while(|line| *line != "mod tests {")
        .collect::<Vec<_>>()
        .join("\n");
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            named.insert(word(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (place, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if c.is_alphabetic() && begins => {
                    named.insert(word(&group[place..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    for error in ["Error", "SyncError", "UsageError"] {
        if named.remove(error) {
            named.insert("error".to_owned());
        }
    }
    named
}

fn word(text: &str) -> String {
    let is_in = |c: &char| c.is_alphanumeric() || *c == '_';
    text.chars().take_while(is_in).collect()
}

#[test]
fn a_module_uses_only_modules_of_lower_layers() {
    let architecture = read("docs/architecture.md");
    let layers = layers(&architecture);
    let modules = modules();
    assert_eq!(
        layers.keys().collect::<Vec<_>>(),
        modules.keys().collect::<Vec<_>>(),
        "docs/architecture.md lists every module in a layer"
    );
    for (module, files) in &modules {
        for file in files {
            for used in named(&read(file)) {
                if used != *module
                    && let Some(layer) = layers.get(&used)
                {
                    assert!(
                        *layer < layers[module],
                        "{file} uses `{used}` of layer {layer}, and is of layer {}",
                        layers[module]
                    );
                }
            }
        }
    }
}

#[test]
fn imports_are_read() {
    let text = "use crate::a::B;\nuse crate::{Error, b::{C, D}, c};\n// crate::no\nfn f() { crate::d::g() }\n\
                #[cfg(test)]\nmod tests {\nuse crate::e;\n";
    let named = named(text);
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    assert_eq!(named, ["a", "b", "c", "d", "error"]);
}
