//! The hold: after a rollback, the commits that were left are not applied again until the branch has moved on.
//!
//! Without it, the next run of a timer would undo the rollback. It is a set of commits, because a second rollback must
//! not release the commits of the first.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use crate::git::CommitId;
use crate::state::sealed::{self, SealedFormat};
use crate::state::{self, Index, StateDir, SyncPoint};
use crate::text;

const NAME: &str = "hold";
const FORMAT: SealedFormat = SealedFormat {
    kind: "hold",
    version: 2,
};

/// Commits that a rollback has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The commits; version 1 had one.
    #[serde(alias = "commit", deserialize_with = "one_or_many")]
    pub commits: BTreeSet<CommitId>,
    /// The reference by which they were requested: the hold ends when it moves on. Version 1 does not record it.
    #[serde(default)]
    pub reference: Option<String>,
    /// The commit that the rollback applied: a run without an index stays there. Version 1 does not record it.
    #[serde(default)]
    pub at: Option<CommitId>,
}

impl Hold {
    /// Reads the hold. A damaged one counts as absent: at worst, the commit is applied again.
    pub fn load(state: &StateDir) -> Result<Option<Self>, state::Error> {
        Ok(sealed::read(state.directory(), NAME, FORMAT)?.whole())
    }

    /// The hold after a rollback to `point` from the commits in `left`.
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

    /// Whether a sync of this reference, which resolved to a commit that is not held, ends the hold.
    pub(super) fn ends_with(&self, reference: &str) -> bool {
        self.reference
            .as_ref()
            .is_none_or(|known| known == reference)
    }

    /// The command that takes the commits again, where `configured` is the name that a run takes by itself.
    #[must_use]
    pub fn resume_command(&self, configured: &str) -> String {
        let reference = { self.reference.as_deref() }.filter(|known| *known != configured);
        let reference = reference.map(|name| format!(" --ref {}", text::shell_word(name)));
        format!("hyper-sync sync --resume{}", reference.unwrap_or_default())
    }

    /// Writes the hold durably, or removes it.
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
