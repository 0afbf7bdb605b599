//! The patterns of the settings, compared with git and the same lines in a `.gitignore`.

use std::collections::BTreeSet;

use hyper_sync::git::RelPath;
use hyper_sync::patterns::Patterns;

use crate::common::git;

const PATTERNS: [&str; 28] = [
    "x", "/x", "/x/", "**/x/", "**/x", "x/y", "x/y/", "x/**", "x/**/y", "/**/y", "x/*", "x/*/y",
    "*.nix", "/*.nix", "x*", "x**", "x/y**", "?", "[xy]", "[!x]", "[^x]*", "[a-x]/y", "\\!x",
    "\\#x", "x\\ ", "\\{x\\}", "\\x", "*",
];
const NAMES: [&str; 12] = [
    "x", "y", "xy", "z", "x.nix", ".nix", "!x", "#x", "x ", "{x}", "[x]", "\u{fc}",
];

#[test]
fn a_pattern_matches_what_git_ignores_by_it() {
    let mut paths: Vec<String> = NAMES.map(str::to_owned).to_vec();
    for _ in 0..2 {
        let above = paths.clone();
        let below = |above: &String| NAMES.map(|name| format!("{above}/{name}"));
        paths.extend(above.iter().flat_map(below));
    }
    paths.sort();
    paths.dedup();
    let work = tempfile::tempdir().unwrap();
    git::succeeds(git::git(work.path()).args(["init", "--quiet"]));
    for pattern in PATTERNS {
        std::fs::write(work.path().join(".gitignore"), format!("{pattern}\n")).unwrap();
        let mut check = git::git(work.path());
        check.args(["check-ignore", "--no-index", "-z", "--stdin"]);
        let ignored = git::feed_any(&mut check, paths.join("\0").as_bytes()).stdout;
        let ignored = String::from_utf8(ignored).unwrap();
        let ignored: BTreeSet<&str> = ignored.split_terminator('\0').collect();
        let patterns = Patterns::new(&[pattern]).unwrap();
        let is_match = |path: &&str| patterns.matches(&RelPath::new(path.as_bytes()).unwrap());
        let taken: BTreeSet<&str> = paths.iter().map(String::as_str).filter(is_match).collect();
        let differing: Vec<_> = taken.symmetric_difference(&ignored).take(5).collect();
        assert!(!ignored.is_empty(), "{pattern}: nothing is ignored by it");
        assert!(differing.is_empty(), "{pattern}: {differing:?}");
    }
}
