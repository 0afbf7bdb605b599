//! Whose state a directory holds.
//!
//! The default gives each target a directory of its own; `state_dir` may give two of them the same one, and then each
//! would take what was written into the other for what it wrote itself. So the first update that is applied leaves the
//! target's path, and from then on the directory is of no use to another one. A file of its own rather than a field of
//! the index: it is looked at before anything is recovered, and whoever has moved a target removes it and keeps the
//! rest. A directory without it, from before there was one, is whoever's comes first.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sealed::{self, Format, Found};
use super::{Error, StateDir};

const NAME: &str = "target";
const FORMAT: Format = Format {
    kind: "target",
    version: 1,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    target: PathBuf,
}

impl StateDir {
    /// Refuses a directory that holds the state of another target.
    pub fn refuse_other(&self, target: &Path) -> Result<(), Error> {
        match self.belongs_to()? {
            Some(known) if known != target => Err(Error::OtherTarget {
                record: self.path().join(NAME),
                path: self.path().to_owned(),
                target: known,
            }),
            _ => Ok(()),
        }
    }

    /// Makes it this target's. The caller holds the lock.
    pub fn keep_for(&self, target: &Path) -> Result<(), Error> {
        self.refuse_other(target)?;
        if self.belongs_to()?.is_some() {
            return Ok(());
        }
        let record = Record {
            target: target.to_owned(),
        };
        sealed::write(self.directory(), NAME, FORMAT, &record)
    }

    /// The target, where that is known.
    fn belongs_to(&self) -> Result<Option<PathBuf>, Error> {
        Ok(match sealed::read(self.directory(), NAME, FORMAT)? {
            Found::Whole(Record { target }) => Some(target),
            Found::Absent | Found::Damaged(_) => None,
        })
    }
}
