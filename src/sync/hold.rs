//! The hold: after a rollback, the commits that were left are not taken again until the branch has moved on.
//!
//! Without it, the next run of a timer would undo the rollback. It is a set: going back once more, or further, must
//! not free the commit that was left first.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use crate::git::CommitId;
use crate::state::sealed::{self, SealedFormat};
use crate::state::{self, Index, StateDir, SyncPoint};

const NAME: &str = "hold";
const FORMAT: SealedFormat = SealedFormat {
    kind: "hold",
    version: 2,
};

/// Commits that somebody rolled back from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The commits; version 1 had one.
    #[serde(alias = "commit", deserialize_with = "one_or_many")]
    pub commits: BTreeSet<CommitId>,
    /// The name they were asked for by: that it moves on ends the hold. Not known from version 1.
    #[serde(default)]
    pub reference: Option<String>,
    /// Where the rollback led: a run whose index was lost stays there. Not known from version 1.
    #[serde(default)]
    pub at: Option<CommitId>,
}

impl Hold {
    /// Reads the mark. A damaged one counts as none: it protects from a repetition, not from harm.
    pub fn load(state: &StateDir) -> Result<Option<Self>, state::Error> {
        Ok(sealed::read(state.directory(), NAME, FORMAT)?.whole())
    }

    /// What is held once the target has gone from all commits that were `left` back to a `point`.
    pub(super) fn after(
        before: Option<Self>,
        left: impl Iterator<Item = CommitId>,
        point: &SyncPoint,
        index: Option<&Index>,
    ) -> Option<Self> {
        let mut commits = before.map(|hold| hold.commits).unwrap_or_default();
        commits.extend(left);
        commits.remove(&point.commit);
        let reference = index.map_or(&point.reference, |index| &index.point.reference);
        (!commits.is_empty()).then(|| Self {
            commits,
            reference: Some(reference.clone()),
            at: Some(point.commit),
        })
    }

    /// Whether a sync by that name, which found a commit that is not held, ends the hold.
    pub(super) fn ends_with(&self, reference: &str) -> bool {
        self.reference
            .as_ref()
            .is_none_or(|known| known == reference)
    }

    /// Sets the mark, durable, or removes it.
    pub fn replace(state: &StateDir, hold: Option<&Self>) -> Result<(), state::Error> {
        sealed::write_or_remove(state.directory(), NAME, FORMAT, hold)
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeSet<CommitId>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(CommitId),
        Many(BTreeSet<CommitId>),
    }
    Ok(match Either::deserialize(input)? {
        Either::One(commit) => BTreeSet::from([commit]),
        Either::Many(commits) => commits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_of_version_one_still_holds() {
        let id = "1".repeat(40);
        let old: Hold = serde_json::from_str(&format!(r#"{{"commit":"{id}"}}"#)).unwrap();
        assert_eq!(old.commits, BTreeSet::from([id.parse().unwrap()]));
        assert!(old.ends_with("main"), "as it did");
        let new = Hold {
            reference: Some("main".to_owned()),
            ..old
        };
        let read: Hold = serde_json::from_str(&serde_json::to_string(&new).unwrap()).unwrap();
        assert_eq!(read, new);
        assert!(!new.ends_with("feature"));
    }
}
