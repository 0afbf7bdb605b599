//! Links and paths in the documents lead to something.

use std::path::{Component, Path, PathBuf};

use super::{documents, exists, read};

/// A path from the top of the repository, without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(normal.pop(), "{} leads out", path.display()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

/// The anchor that a heading has on GitHub: in small letters, blanks as hyphens, without other marks.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn relative_links_lead_to_a_file_and_a_heading() {
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        for (at, _) in text.match_indices("](") {
            let link = text[at + 2..].split(')').next().unwrap();
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = match link.split_once('#') {
                Some((path, anchor)) => (path, Some(anchor)),
                None => (link, None),
            };
            let directory = Path::new(&document).parent().unwrap();
            let file = if path.is_empty() {
                PathBuf::from(&document)
            } else {
                normal(&directory.join(path))
            };
            assert!(
                exists(file.to_str().unwrap()),
                "{document}: {link} leads to nothing"
            );
            if let Some(anchor) = anchor {
                let headings = anchors(&read(file.to_str().unwrap()));
                let is_there = headings.iter().any(|heading| heading == anchor);
                assert!(
                    is_there,
                    "{document}: {link} is not a heading: {headings:?}"
                );
            }
            count += 1;
        }
    }
    assert!(count > 10, "only {count} links were found");
}

/// What a document names as code and is a path of the repository.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    const TOP: [&str; 9] = [
        "src/", "tests/", "docs/", "modules/", "checks/", "benches/", "fuzz/", ".ci/", ".github/",
    ];
    let words = text.split(|c: char| c.is_whitespace() || "`()[],;".contains(c));
    words
        .map(|word| word.split('#').next().unwrap())
        .map(|word| word.trim_end_matches(['.', ':']))
        .filter(|word| TOP.iter().any(|top| word.starts_with(top)))
        // What has a placeholder is the form of a path.
        .filter(|word| !word.contains(['<', '*', '{', '…']))
}

#[test]
fn paths_that_documents_name_exist() {
    let mut count = 0;
    // The others have paths of a user's repository as examples.
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/architecture.md",
    ] {
        let text = read(document);
        // The build of the package has a part of the repository.
        let is_here = |path: &&str| exists(path.split('/').next().unwrap());
        for path in paths(&text).filter(is_here) {
            assert!(exists(path), "{document} names {path}");
            count += 1;
        }
    }
    assert!(count > 50, "only {count} paths were found");
}

#[test]
fn paths_are_found_in_text_and_in_code() {
    let found: Vec<&str> =
        paths("see `src/a.rs`, (tests/it/b.rs): docs/<x>.md and modules/c.nix.").collect();
    assert_eq!(found, ["src/a.rs", "tests/it/b.rs", "modules/c.nix"]);
    assert_eq!(anchors("## In CI, and `x`\n"), ["in-ci-and-x"]);
}
