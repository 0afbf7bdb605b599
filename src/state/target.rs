//! Whose state a directory holds.
//!
//! The default gives each target a directory of its own; `state_dir` may give two of them the same one, and then each
//! would take what was written into the other for what it wrote itself. So the first update that is applied leaves the
//! target's path, and from then on the directory is of no use to another one. A file of its own rather than a field of
//! the index: it is inspected before anything is recovered, and whoever has moved a target removes it and keeps the
//! rest. A directory without it, from before there was one, is whoever's comes first.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sealed::{self, Found, SealedFormat};
use super::{Error, StateDir};

const NAME: &str = "target";
const FORMAT: SealedFormat = SealedFormat {
    kind: "target",
    version: 1,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetRecord {
    target: PathBuf,
}

impl StateDir {
    /// Refuses a directory that holds the state of another target.
    pub fn refuse_other(&self, target: &Path) -> Result<(), Error> {
        self.is_known_for(target).map(|_| ())
    }

    /// Makes it this target's. The caller holds the lock.
    pub fn keep_for(&self, target: &Path) -> Result<(), Error> {
        if self.is_known_for(target)? {
            return Ok(());
        }
        let record = TargetRecord {
            target: target.to_owned(),
        };
        sealed::write(self.directory(), NAME, FORMAT, &record)
    }

    /// Whether it is known to be this target's; false where nobody's is known.
    fn is_known_for(&self, target: &Path) -> Result<bool, Error> {
        match sealed::read::<TargetRecord>(self.directory(), NAME, FORMAT)? {
            Found::Whole(known) if known.target == target => Ok(true),
            Found::Whole(known) => Err(Error::OtherTarget {
                record: self.path().join(NAME),
                path: self.path().to_owned(),
                target: known.target,
            }),
            Found::Absent | Found::Damaged(_) => Ok(false),
        }
    }
}
