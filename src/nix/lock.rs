//! `flake.lock`: what each input of a flake is locked to.
//!
//! Read as Nix reads it and checked for what Nix would stop at, so that a file that lost a merge or was cut off is
//! reported before a build, with its place.
//!
//! Where the target is an input, Nix builds the copy whose hash is in the lock file, whatever lies in the target
//! now: a lock file that is older than the tree builds the old tree and reports success. Only that hash is
//! written, directly into the file, since `nix flake update` would also move what the target itself
//! depends on, nixpkgs with it. Nix writes its lock files sorted and indented by two, and so do we.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NarHash;
use super::syntax::Position;
use crate::text;

/// The formats Nix reads (`src/libflake/lockfile.cc`); it writes the last one.
const VERSIONS: std::ops::RangeInclusive<u32> = 5..=7;
/// How many `follows` lead from an input to its node, all in all, before they count as circular. Each may name several
/// inputs that follow others, so that a limit of their depth alone would not limit the time.
const FOLLOWS_MAX: u32 = 1000;

/// A lock file. What is not read here is kept, so that it is written back whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlakeLock {
    nodes: BTreeMap<String, FlakeInput>,
    root: String,
    version: u32,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A flake in it: the root, or an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlakeInput {
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<BTreeMap<String, Reference>>,
    /// What it is locked to; the root is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<Locked>,
    /// The reference as the flake declares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<Value>,
    /// Absent means true.
    #[serde(skip_serializing_if = "Option::is_none")]
    flake: Option<bool>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What an input is locked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Locked {
    /// The kind of source: `path`, `git`, `github`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The hash of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nar_hash: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The node an input is: by its name, or by the path of inputs it follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Reference {
    Node(String),
    Follows(Vec<String>),
}

/// Why Nix would refuse a lock file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockFault {
    /// It is not JSON, or not that of a lock file.
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
    /// An input refers to a node that is missing.
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
    /// A value that is not a hash.
    #[error("the `narHash` of `{}` is not a SHA-256 hash", text::name(.0))]
    NarHash(String),
}

impl FlakeLock {
    /// Reads the text of `flake.lock`.
    pub fn parse(text: &str) -> Result<Self, LockFault> {
        let lock: Self = serde_json::from_str(text).map_err(|error| LockFault::Json {
            position: Position {
                line: error.line(),
                // serde counts from zero at the start of the text.
                column: error.column().max(1),
            },
            cause: cause(&error),
        })?;
        lock.check()?;
        Ok(lock)
    }

    /// The node an input of the flake itself is locked to; `None` where the file does not have the input.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&FlakeInput> {
        let reference = self.nodes.get(&self.root)?.input(name)?;
        self.nodes.get(self.follow(reference)?)
    }

    /// Reads what `nix flake metadata --json` answers.
    #[must_use]
    pub fn of_metadata(answer: &[u8]) -> Option<Self> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        Self::parse(&answer.get("locks")?.to_string()).ok()
    }

    /// The text, as Nix would write it.
    #[must_use]
    pub fn text(&self) -> String {
        // A value has its keys sorted, a struct has them as they are declared.
        let value = serde_json::to_value(self).unwrap_or_default();
        format!("{value:#}\n")
    }

    /// Whether it has an entry for each of these inputs of the flake itself.
    pub fn has_inputs<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        let root = self.nodes.get(&self.root);
        names.all(|name| root.is_some_and(|root| root.input(name).is_some()))
    }

    /// Whether an input that is a flake has an entry for each of the inputs it asks for.
    pub fn has_nested<'a>(&self, name: &str, mut names: impl Iterator<Item = &'a str>) -> bool {
        self.own(name).is_none_or(|node| {
            node.flake == Some(false) || names.all(|name| node.input(name).is_some())
        })
    }

    /// Gives an input that is locked to a snapshot the path that it is asked for by, and the newest time of that in seconds
    /// since 1970.
    ///
    /// One that is asked for otherwise than by a path (`git+file:`) is locked as in `old`.
    pub fn relocate(&mut self, name: &str, old: Option<&Self>, last_modified: i64) {
        let former = old.and_then(|old| old.own(name)?.locked.clone());
        let Some(node) = self.own_mut(name) else {
            return;
        };
        let asked = |key| node.original.as_ref()?.get(key)?.as_str();
        match (asked("type"), asked("path"), &mut node.locked) {
            (Some("path"), Some(path), Some(locked)) => {
                locked.rest.insert("path".to_owned(), path.into());
                locked
                    .rest
                    .insert("lastModified".to_owned(), last_modified.into());
                locked.rest.remove("rev");
            }
            (Some("path"), Some(_), None) => {}
            (_, _, locked) => {
                if former.is_some() {
                    *locked = former;
                }
            }
        }
    }

    /// Whether everything that `other` locks, except `ours`, is locked to the same here.
    #[must_use]
    pub fn keeps(&self, other: &Self, ours: &[String]) -> bool {
        let ours: Vec<&str> = ours.iter().filter_map(|name| other.key(name)).collect();
        let locked = |lock: &Self, key: &str| {
            let node = lock.nodes.get(key)?;
            Some((node.locked.clone(), node.original.clone()))
        };
        { other.nodes.keys() }
            .filter(|key| !ours.contains(&key.as_str()))
            .all(|key| locked(self, key) == locked(other, key))
    }

    /// The hash an input of the flake itself is locked to.
    #[must_use]
    pub fn nar_hash(&self, name: &str) -> Option<&str> {
        self.own(name)?.locked.as_ref()?.nar_hash.as_deref()
    }

    /// Locks an input to content and its newest time, in seconds since 1970; whether that changed anything. One that is
    /// not locked by its hash is left alone.
    pub fn refresh(&mut self, name: &str, nar: &NarHash, last_modified: i64) -> bool {
        let Some(locked) = self.own_mut(name).and_then(|node| node.locked.as_mut()) else {
            return false;
        };
        let hash = nar.to_string();
        if locked.nar_hash.as_ref().is_none_or(|known| *known == hash) {
            return false;
        }
        locked.nar_hash = Some(hash);
        let time = "lastModified".to_owned();
        locked.rest.insert(time, last_modified.into());
        true
    }

    /// The key of the node that an input of the flake itself is, not by following another.
    fn key(&self, name: &str) -> Option<&str> {
        match self.nodes.get(&self.root)?.input(name)? {
            Reference::Node(key) => Some(key),
            Reference::Follows(_) => None,
        }
    }

    fn own(&self, name: &str) -> Option<&FlakeInput> {
        self.nodes.get(self.key(name)?)
    }

    fn own_mut(&mut self, name: &str) -> Option<&mut FlakeInput> {
        let key = self.key(name)?.to_owned();
        self.nodes.get_mut(&key)
    }

    fn check(&self) -> Result<(), LockFault> {
        if !VERSIONS.contains(&self.version) {
            return Err(LockFault::Version(self.version));
        }
        if !self.nodes.contains_key(&self.root) {
            return Err(LockFault::NoRoot(self.root.clone()));
        }
        for (name, node) in &self.nodes {
            for (input, reference) in node.inputs.iter().flatten() {
                let end = self.follow(reference);
                if end.is_none_or(|end| !self.nodes.contains_key(end)) {
                    return Err(LockFault::Dangling {
                        node: name.clone(),
                        input: input.clone(),
                    });
                }
            }
            match &node.locked {
                None if *name != self.root => return Err(LockFault::Unlocked(name.clone())),
                Some(locked) if !locked.nar_hash.as_deref().is_none_or(is_sha256) => {
                    return Err(LockFault::NarHash(name.clone()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The name of the node a reference ends at.
    fn follow<'a>(&'a self, reference: &'a Reference) -> Option<&'a str> {
        self.follow_within(reference, &mut { FOLLOWS_MAX })
    }

    fn follow_within<'a>(&'a self, reference: &'a Reference, left: &mut u32) -> Option<&'a str> {
        match reference {
            Reference::Node(name) => Some(name),
            Reference::Follows(path) => {
                *left = left.checked_sub(1)?;
                path.iter().try_fold(self.root.as_str(), |node, input| {
                    self.follow_within(self.nodes.get(node)?.input(input)?, left)
                })
            }
        }
    }
}

impl FlakeInput {
    fn input(&self, name: &str) -> Option<&Reference> {
        self.inputs.as_ref()?.get(name)
    }
}

/// Without the position, which is printed separately.
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

    fn lock(nodes: &str) -> Result<FlakeLock, LockFault> {
        FlakeLock::parse(&format!(
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

    /// Each of the inputs leads twice over the next one: a path of 2^60 steps.
    #[test]
    fn follows_that_multiply_count_as_circular() {
        let follows = |n: u32| format!(r#""{n}": ["{0}", "{0}"], "#, n + 1);
        let inputs: String = (0..60).map(follows).collect();
        let nodes = format!(r#"{{ "root": {{ "inputs": {{ {inputs} "60": "root" }} }} }}"#);
        let error = lock(&nodes).unwrap_err().to_string();
        assert_eq!(error, "the input `0` of `root` leads nowhere");
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
                FlakeLock::parse(text).unwrap_err().to_string(),
                expected,
                "{text}"
            );
        }
    }

    /// As Nix 2.26 writes it.
    const TEXT: &str = r#"{
  "nodes": {
    "dep": {
      "locked": {
        "lastModified": 1,
        "narHash": "sha256-MR/C6QrnxrdTS1AQq0/e9U9FRWUoDtTegGZdrxntqJQ=",
        "path": "/dep",
        "type": "path"
      },
      "original": {
        "path": "/dep",
        "type": "path"
      }
    },
    "hypervisor": {
      "inputs": {
        "dep": "dep"
      },
      "locked": {
        "lastModified": 1,
        "narHash": "sha256-Y+6UbmvzsDnxbliVmKYTCrj8qBIFGCS16JORW1Iv2Ls=",
        "path": "/etc/hypervisor/src",
        "type": "path"
      },
      "original": {
        "path": "/etc/hypervisor/src",
        "type": "path"
      }
    },
    "root": {
      "inputs": {
        "followed": [
          "hypervisor",
          "dep"
        ],
        "hypervisor": "hypervisor"
      }
    }
  },
  "root": "root",
  "version": 7
}
"#;

    #[test]
    fn a_file_that_is_not_changed_is_written_to_the_byte() {
        assert_eq!(FlakeLock::parse(TEXT).unwrap().text(), TEXT);
    }

    #[test]
    fn only_our_own_hash_and_time_are_refreshed() {
        let mut lock = FlakeLock::parse(TEXT).unwrap();
        let root = tempfile::tempdir().unwrap();
        let nar = NarHash::of(root.path()).unwrap();
        assert!(lock.refresh("hypervisor", &nar, 2));
        let (others, ours) = TEXT.split_once(r#""hypervisor": {"#).unwrap();
        let ours = ours
            .replace(
                "sha256-Y+6UbmvzsDnxbliVmKYTCrj8qBIFGCS16JORW1Iv2Ls=",
                &nar.to_string(),
            )
            .replace(r#""lastModified": 1"#, r#""lastModified": 2"#);
        let expected = format!(r#"{others}"hypervisor": {{{ours}"#);
        assert_eq!(lock.text(), expected);
        assert!(!lock.refresh("hypervisor", &nar, 2));
        assert!(!lock.refresh("followed", &nar, 2));
        assert!(!lock.refresh("nosuch", &nar, 2));
    }

    #[test]
    fn what_is_missing_is_seen_at_both_levels() {
        let lock = FlakeLock::parse(TEXT).unwrap();
        assert!(lock.has_inputs(["hypervisor", "followed"].into_iter()));
        assert!(!lock.has_inputs(["hypervisor", "nixpkgs"].into_iter()));
        assert!(lock.has_nested("hypervisor", ["dep"].into_iter()));
        assert!(!lock.has_nested("hypervisor", ["dep", "nixpkgs"].into_iter()));
    }

    #[test]
    fn an_input_that_moved_is_seen_and_one_that_was_added_is_none() {
        let lock = FlakeLock::parse(TEXT).unwrap();
        let added = TEXT.replace(r#""dep": "dep""#, r#""dep": "dep", "new": "dep""#);
        assert!(FlakeLock::parse(&added).unwrap().keeps(&lock, &[]));
        let moved = TEXT.replace("/dep", "/dep2");
        assert!(!FlakeLock::parse(&moved).unwrap().keeps(&lock, &[]));
    }
}
