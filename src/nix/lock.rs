//! `flake.lock`: what each input of a flake is locked to.
//!
//! Read as Nix reads it and checked for what Nix would stop at, so that a file that lost a merge or was cut off is
//! told before a build, with its place.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::Deserialize;

use super::syntax::Position;
use crate::text;

/// The formats Nix reads (`src/libflake/lockfile.cc`); it writes the last one.
const VERSIONS: std::ops::RangeInclusive<u32> = 5..=7;
/// How far a chain of `follows` goes before it counts as circular.
const FOLLOWS_MAX: u32 = 64;

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Lock {
    nodes: BTreeMap<String, Node>,
    root: String,
    version: u32,
}

/// A flake in it: the root, or an input.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Node {
    #[serde(default)]
    inputs: BTreeMap<String, Reference>,
    /// What it is locked to; the root is not.
    pub locked: Option<Locked>,
}

/// What an input is locked to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Locked {
    /// The kind of source: `path`, `git`, `github`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The hash of its content.
    pub nar_hash: Option<String>,
}

/// The node an input is: by its name, or by the path of inputs it follows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Reference {
    Node(String),
    Follows(Vec<String>),
}

/// Why Nix would not take a lock file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no JSON, or not that of a lock file.
    #[error("{position}: {}", text::words(.cause))]
    Json {
        /// Where.
        position: Position,
        /// What is wrong.
        cause: String,
    },
    /// A format that Nix does not know.
    #[error("its format {0} is none that Nix reads")]
    Version(u32),
    /// The node it begins with is missing.
    #[error("its root `{}` is missing", text::name(.0))]
    NoRoot(String),
    /// An input stands for a node that is missing.
    #[error("the input `{}` of `{}` leads nowhere", text::name(.input), text::name(.node))]
    Dangling {
        /// Whose input.
        node: String,
        /// The input.
        input: String,
    },
    /// An input that is locked to nothing.
    #[error("`{}` is not locked", text::name(.0))]
    Unlocked(String),
    /// A hash that is none.
    #[error("the `narHash` of `{}` is not a SHA-256 hash", text::name(.0))]
    NarHash(String),
}

impl Lock {
    /// Reads the text of `flake.lock`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let lock: Self = serde_json::from_str(text).map_err(|error| Fault::Json {
            position: Position {
                line: error.line(),
                // At the very begin of the text serde counts from zero.
                column: error.column().max(1),
            },
            cause: cause(&error),
        })?;
        lock.check()?;
        Ok(lock)
    }

    /// The node an input of the flake itself is locked to; `None` where the file does not have the input.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Node> {
        let reference = self.nodes.get(&self.root)?.inputs.get(name)?;
        self.nodes.get(self.follow(reference, FOLLOWS_MAX)?)
    }

    fn check(&self) -> Result<(), Fault> {
        if !VERSIONS.contains(&self.version) {
            return Err(Fault::Version(self.version));
        }
        if !self.nodes.contains_key(&self.root) {
            return Err(Fault::NoRoot(self.root.clone()));
        }
        for (name, node) in &self.nodes {
            for (input, reference) in &node.inputs {
                let end = self.follow(reference, FOLLOWS_MAX);
                if end.is_none_or(|end| !self.nodes.contains_key(end)) {
                    return Err(Fault::Dangling {
                        node: name.clone(),
                        input: input.clone(),
                    });
                }
            }
            match &node.locked {
                None if *name != self.root => return Err(Fault::Unlocked(name.clone())),
                Some(locked) if !locked.nar_hash.as_deref().is_none_or(is_sha256) => {
                    return Err(Fault::NarHash(name.clone()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The name of the node a reference ends at.
    fn follow<'a>(&'a self, reference: &'a Reference, steps: u32) -> Option<&'a str> {
        match reference {
            Reference::Node(name) => Some(name),
            Reference::Follows(path) => {
                let steps = steps.checked_sub(1)?;
                path.iter().try_fold(self.root.as_str(), |node, input| {
                    self.follow(self.nodes.get(node)?.inputs.get(input)?, steps)
                })
            }
        }
    }
}

/// Without the place, which is told apart.
fn cause(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn is_sha256(hash: &str) -> bool {
    hash.strip_prefix("sha256-")
        .and_then(|digest| BASE64.decode(digest.as_bytes()).ok())
        .is_some_and(|digest| digest.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn lock(nodes: &str) -> Result<Lock, Fault> {
        Lock::parse(&format!(
            r#"{{ "nodes": {nodes}, "root": "root", "version": 7 }}"#
        ))
    }

    #[test]
    fn finds_what_an_input_is_locked_to() {
        let lock = lock(&format!(
            r#"{{
              "root": {{ "inputs": {{ "nixpkgs": "nixpkgs_2", "hypervisor": "hypervisor", "mine": ["hypervisor", "nixpkgs"] }} }},
              "nixpkgs_2": {{ "locked": {{ "type": "github", "rev": "x", "narHash": "{HASH}" }}, "original": {{ "type": "github" }} }},
              "hypervisor": {{ "inputs": {{ "nixpkgs": ["nixpkgs"] }}, "locked": {{ "type": "path", "path": "/src" }}, "flake": false }}
            }}"#
        ))
        .unwrap();
        let kind = |name| Some(lock.input(name)?.locked.as_ref()?.kind.as_str());
        assert_eq!(kind("hypervisor"), Some("path"));
        assert_eq!(kind("nixpkgs"), Some("github"));
        assert_eq!(kind("mine"), Some("github"));
        assert_eq!(kind("other"), None);
    }

    #[test]
    fn refuses_what_nix_would_stop_at() {
        let cases = [
            (r#"{ "other": {} }"#, "its root `root` is missing"),
            (
                r#"{ "root": { "inputs": { "a": "b" } } }"#,
                "the input `a` of `root` leads nowhere",
            ),
            (
                r#"{ "root": { "inputs": { "a": ["a"] } } }"#,
                "the input `a` of `root` leads nowhere",
            ),
            (r#"{ "root": {}, "a": {} }"#, "`a` is not locked"),
            (
                r#"{ "root": {}, "a": { "locked": { "type": "path", "narHash": "sha256-x" } } }"#,
                "the `narHash` of `a` is not a SHA-256 hash",
            ),
            (
                r#"{ "root": {}, "a": { "locked": {} } }"#,
                "1:44: missing field `type`",
            ),
        ];
        for (nodes, expected) in cases {
            assert_eq!(lock(nodes).unwrap_err().to_string(), expected, "{nodes}");
        }
        for (text, expected) in [
            ("", "1:1: EOF while parsing a value"),
            ("{\n<<<<<<< HEAD\n", "2:1: key must be a string"),
            (
                "{ \"nodes\": {}, \"root\": \"root\" }",
                "1:31: missing field `version`",
            ),
            (
                "{ \"nodes\": { \"root\": {} }, \"root\": \"root\", \"version\": 8 }",
                "its format 8 is none that Nix reads",
            ),
        ] {
            assert_eq!(
                Lock::parse(text).unwrap_err().to_string(),
                expected,
                "{text}"
            );
        }
    }
}
