//! The target to which a state directory belongs.
//!
//! By default each target has its own state directory. With `state_dir`, two targets could share one, and each would
//! take the index of the other for its own. So the first update that is applied records the target's path, and another
//! target is refused from then on. This is a separate file because it is checked before anything is recovered, and
//! because it can be removed by hand after a target was moved. A directory of an older version does not have it, and
//! becomes that of the first target that uses it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sealed::{self, Found, SealedFormat};
use super::{Error, StateDir};

pub(super) const NAME: &str = "target";
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

    /// The target whose state this is; `None` before the first update, and where the record is damaged.
    pub fn target(&self) -> Result<Option<PathBuf>, Error> {
        let record = sealed::read::<TargetRecord>(self.directory(), NAME, FORMAT)?;
        Ok(record.whole().map(|known| known.target))
    }

    /// Records the target. The caller holds the lock.
    pub fn keep_for(&self, target: &Path) -> Result<(), Error> {
        if self.is_known_for(target)? {
            return Ok(());
        }
        let record = TargetRecord {
            target: target.to_owned(),
        };
        sealed::write(self.directory(), NAME, FORMAT, &record)
    }

    /// Whether this target is recorded; false if none is.
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
