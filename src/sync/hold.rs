//! The hold: after a rollback, the commit that was left is not taken again until the branch has moved on.
//!
//! Without it, the next run of a timer would undo the rollback.

use serde::{Deserialize, Serialize};

use crate::git::CommitId;
use crate::state::sealed::{self, Format, Found};
use crate::state::{self, StateDir};

const NAME: &str = "hold";
const FORMAT: Format = Format {
    kind: "hold",
    version: 1,
};

/// A commit that somebody rolled back from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The commit.
    pub commit: CommitId,
}

impl Hold {
    /// Reads the mark. A damaged one counts as none: it protects from a repetition, not from harm.
    pub fn load(state: &StateDir) -> Result<Option<Self>, state::Error> {
        Ok(match sealed::read(state.directory(), NAME, FORMAT)? {
            Found::Whole(hold) => Some(hold),
            Found::Absent | Found::Damaged(_) => None,
        })
    }

    /// Sets the mark, durable.
    pub fn set(self, state: &StateDir) -> Result<(), state::Error> {
        sealed::write(state.directory(), NAME, FORMAT, &self)
    }

    /// Removes the mark, if there is one.
    pub fn clear(state: &StateDir) -> Result<(), state::Error> {
        if state.directory().stat(NAME)?.is_some() {
            state.directory().unlink(NAME)?;
        }
        Ok(())
    }
}
