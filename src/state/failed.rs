//! How syncs and rebuilds fail, as long as they do: since when, how often in a row, and why the last one did.
//!
//! A success removes its part, so that a run with nothing to do writes nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sealed::{self, SealedFormat};
use super::{Error, StateDir};

const NAME: &str = "failed";
const FORMAT: SealedFormat = SealedFormat {
    kind: "failed",
    version: 1,
};

/// The stages that have not ended well since they failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedRuns {
    /// The sync.
    pub sync: Option<StageFailure>,
    /// The rebuild.
    pub rebuild: Option<StageFailure>,
}

/// Runs in a row in which a stage failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageFailure {
    /// When the first one failed.
    pub since: Timestamp,
    /// When the last one failed.
    pub last: Timestamp,
    /// How many.
    pub count: u32,
    /// The exit code of the last one.
    pub exit: u8,
    /// The code of its error.
    pub code: Option<String>,
    /// Why it failed, in one line.
    pub message: String,
}

impl FailedRuns {
    /// Reads the record. A damaged one counts as absent: the next failure begins another.
    pub fn load(state: &StateDir) -> Result<Self, Error> {
        let found = sealed::read(state.directory(), NAME, FORMAT)?;
        Ok(found.whole().unwrap_or_default())
    }

    /// Whether nothing fails.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Writes the record, durable, or removes it if nothing fails. The caller holds the lock.
    pub fn save(&self, state: &StateDir) -> Result<(), Error> {
        let record = (!self.is_empty()).then_some(self);
        sealed::write_or_remove(state.directory(), NAME, FORMAT, record)
    }
}

impl StageFailure {
    /// As the next one in a row after `before`.
    #[must_use]
    pub fn after(self, before: Option<Self>) -> Self {
        match before {
            None => self,
            Some(before) => Self {
                // A clock that was set back would make it last for longer than it did.
                since: before.since.min(self.last),
                count: before.count.saturating_add(1),
                ..self
            },
        }
    }
}
