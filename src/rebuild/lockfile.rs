//! The host's `flake.lock`: made where there is none, completed where an input is missing, and for our own input kept
//! equal to the tree.
//!
//! Where the target is an input, Nix builds the copy whose hash stands in the lock file, whatever lies in the target
//! now: a lock file that is older than the tree builds the old tree and reports success. Only that hash is ours to
//! write, and it is put into the file directly, since `nix flake update` would also move what the target itself
//! depends on, nixpkgs with it. Nix writes its lock files sorted and indented by two, and so do we.

use serde_json::Value;

use crate::nix::NarHash;

/// A lock file's text, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LockFile(Value);

impl LockFile {
    /// Reads the text; `None` where it is not a lock file of a version that is known (5 to 7).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let version = value.get("version")?.as_u64()?;
        (5..=7).contains(&version).then_some(Self(value))
    }

    /// Reads what `nix flake metadata --json` answers.
    pub(super) fn of_metadata(answer: &[u8]) -> Option<Self> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        Self::parse(&answer.get("locks")?.to_string())
    }

    /// The text, as Nix would write it.
    pub(super) fn text(&self) -> String {
        format!("{:#}\n", self.0)
    }

    /// Whether it has an entry for each of these inputs of the flake itself.
    pub(super) fn has_inputs<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        names.all(|name| self.root_input(name).is_some())
    }

    /// The node of one of the flake's own inputs.
    pub(super) fn node(&self, name: &str) -> Option<&Value> {
        let key = self.root_input(name)?.as_str()?;
        self.0.get("nodes")?.get(key)
    }

    /// Whether an input that is a flake has an entry for each of the inputs it asks for.
    pub(super) fn has_nested<'a>(
        &self,
        name: &str,
        mut names: impl Iterator<Item = &'a str>,
    ) -> bool {
        let Some(node) = self.node(name) else {
            return true;
        };
        let is_flake = node.get("flake").and_then(Value::as_bool) != Some(false);
        let inputs = node.get("inputs");
        !is_flake || names.all(|name| inputs.is_some_and(|inputs| inputs.get(name).is_some()))
    }

    /// Gives an input that is locked to a snapshot the path that it is asked for by.
    ///
    /// One that is asked for otherwise than by a path (`git+file:`) is locked as in `old`.
    pub(super) fn relocate(&mut self, name: &str, old: Option<&Self>) {
        let former = old.and_then(|old| old.node(name)?.get("locked").cloned());
        let Some(node) = self.node_mut(name) else {
            return;
        };
        let asked = |key| {
            let asked = node.get("original")?.get(key)?.as_str()?;
            Some(asked.to_owned())
        };
        match (asked("type").as_deref(), asked("path")) {
            (Some("path"), Some(path)) => {
                if let Some(locked) = node.get_mut("locked") {
                    locked["path"] = path.into();
                }
            }
            _ => {
                if let Some(former) = former {
                    node["locked"] = former;
                }
            }
        }
    }

    /// Whether everything that `other` locks, but for `ours`, is locked to the same here.
    pub(super) fn keeps(&self, other: &Self, ours: &[String]) -> bool {
        let ours: Vec<&str> = ours
            .iter()
            .filter_map(|name| other.root_input(name)?.as_str())
            .collect();
        let locked = |lock: &Self, key: &str| {
            let node = lock.0.get("nodes")?.get(key)?;
            Some((node.get("locked").cloned(), node.get("original").cloned()))
        };
        let nodes = other.0.get("nodes").and_then(Value::as_object);
        nodes.is_none_or(|nodes| {
            nodes
                .keys()
                .filter(|key| !ours.contains(&key.as_str()))
                .all(|key| locked(self, key) == locked(other, key))
        })
    }

    /// The hash an input is locked to.
    pub(super) fn nar_hash(&self, name: &str) -> Option<&str> {
        self.node(name)?.get("locked")?.get("narHash")?.as_str()
    }

    /// Locks an input to content and its newest time; whether that changed anything. One that is not locked by its hash is left alone.
    pub(super) fn refresh(&mut self, name: &str, nar: &NarHash, last_modified: i64) -> bool {
        let locked = self
            .node_mut(name)
            .and_then(|node| node.get_mut("locked"))
            .and_then(Value::as_object_mut);
        let Some(locked) = locked else {
            return false;
        };
        let hash = Value::from(nar.to_string());
        match locked.get("narHash") {
            None => return false,
            Some(known) if *known == hash => return false,
            Some(_) => {}
        }
        locked.insert("narHash".to_owned(), hash);
        locked.insert("lastModified".to_owned(), last_modified.into());
        true
    }

    fn node_mut(&mut self, name: &str) -> Option<&mut Value> {
        let key = self.root_input(name)?.as_str()?.to_owned();
        self.0.get_mut("nodes")?.get_mut(&key)
    }

    fn root_input(&self, name: &str) -> Option<&Value> {
        let root = self.0.get("root")?.as_str()?;
        self.0.get("nodes")?.get(root)?.get("inputs")?.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(LockFile::parse(TEXT).unwrap().text(), TEXT);
    }

    #[test]
    fn only_our_own_hash_and_time_are_refreshed() {
        let mut lock = LockFile::parse(TEXT).unwrap();
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
        let lock = LockFile::parse(TEXT).unwrap();
        assert!(lock.has_inputs(["hypervisor", "followed"].into_iter()));
        assert!(!lock.has_inputs(["hypervisor", "nixpkgs"].into_iter()));
        assert!(lock.has_nested("hypervisor", ["dep"].into_iter()));
        assert!(!lock.has_nested("hypervisor", ["dep", "nixpkgs"].into_iter()));
    }

    #[test]
    fn an_input_that_moved_is_seen_and_one_that_was_added_is_none() {
        let lock = LockFile::parse(TEXT).unwrap();
        let added = TEXT.replace(r#""dep": "dep""#, r#""dep": "dep", "new": "dep""#);
        assert!(LockFile::parse(&added).unwrap().keeps(&lock, &[]));
        let moved = TEXT.replace("/dep", "/dep2");
        assert!(!LockFile::parse(&moved).unwrap().keeps(&lock, &[]));
    }

    #[test]
    fn another_format_is_not_read() {
        assert_eq!(LockFile::parse("{}"), None);
        assert_eq!(LockFile::parse(r#"{"version":8}"#), None);
        assert_eq!(LockFile::parse("nonsense"), None);
    }
}
