//! Settings by the names that other programs and the options of the NixOS module have for them.

/// Names in place of ours. `host` and `flake` without their section are found as they are.
const NAMES: &[(&[&str], &str)] = &[
    (&["branch", "tag", "commit", "rev", "revision"], "ref"),
    (&["repository", "url", "origin", "remote"], "repo"),
    (&["directory", "dir", "path"], "target"),
];

/// The setting that has this name elsewhere: `ref` for `branch`.
#[must_use]
pub fn meant_by(name: &str) -> Option<&'static str> {
    let known = NAMES.iter().find(|(names, _)| names.contains(&name));
    known.map(|(_, setting)| *setting)
}
