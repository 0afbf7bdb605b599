//! A suspension: until when the runs that the units start do nothing, since when, and why.
//!
//! It is set and ended by a person, also while a run is active, so it does not wait for the lock of the runs. Those that
//! write it exclude each other by `flock` on the state directory, for the moment of the write; and its second name is
//! none that [`StateDir::sweep`](super::StateDir) removes.
//!
//! The end is a time of the clock. A clock that is set back makes a suspension last longer. A damaged record counts as a
//! suspension without an end: somebody wanted nothing to change.

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::sealed::{self, Damage, Found, SealedFormat};
use super::{Error, StateDir, Unreached};
use crate::fs::{self, Directory, Durability};

const NAME: &str = "suspended";
/// The second name, through which it is written.
const UNFINISHED: &str = "suspended.new";
const FORMAT: SealedFormat = SealedFormat {
    kind: "suspended",
    version: 1,
};

/// A suspension, as it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// When it began.
    pub since: Timestamp,
    /// When it ends by itself; `None`: a person ends it.
    pub until: Option<Timestamp>,
    /// Why, in the words of who set it.
    pub reason: Option<String>,
    /// The branch, tag or commit that a person has brought the target to, if it is for that. A person's run with the
    /// configured one ends it.
    #[serde(default)]
    pub reference: Option<String>,
}

/// The record of a suspension, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspended {
    /// It is whole. It may be over.
    Known(Suspension),
    /// It is damaged, and lasts until a person ends it.
    Damaged(Damage),
}

impl Suspended {
    /// Reads the record; also one that is over, which is there until a run removes it.
    pub fn load(state: &StateDir) -> Result<Option<Self>, Error> {
        let found = sealed::read(state.directory(), NAME, FORMAT)?;
        Ok(match found {
            Found::Absent => None,
            Found::Whole(suspension) => Some(Self::Known(suspension)),
            Found::Damaged(damage) => Some(Self::Damaged(damage)),
        })
    }

    /// The record, if it is not over.
    pub fn active(state: &StateDir, now: Timestamp) -> Result<Option<Self>, Error> {
        Ok(Self::load(state)?.filter(|found| found.ended(now).is_none()))
    }

    /// When it ended by itself, if that is past.
    #[must_use]
    pub fn ended(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Known(suspension) => suspension.until.filter(|until| *until <= now),
            Self::Damaged(_) => None,
        }
    }

    /// When it will end by itself.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Known(suspension) => suspension.until,
            Self::Damaged(_) => None,
        }
    }

    /// Sets a suspension, durable, in place of one that there may be; returns that one. The new one begins where an
    /// active one before it began.
    pub fn set(state: &StateDir, mut new: Suspension) -> Result<Option<Self>, Error> {
        exclusively(state, || {
            let before = Self::active(state, new.since)?;
            if let Some(Self::Known(before)) = &before {
                new.since = new.since.min(before.since);
            }
            new.write(state)?;
            Ok(before)
        })
    }

    /// Brings back what was there before [`set`](Self::set): what it was set for has not happened.
    pub fn put_back(state: &StateDir, before: Option<&Suspension>) -> Result<(), Error> {
        exclusively(state, || {
            if let Some(before) = before {
                return before.write(state);
            }
            state.directory().unlink(NAME)?;
            Ok(state.directory().sync()?)
        })
    }

    /// Ends a suspension; returns the one that there was, also one that was over. Syncs that did not reach the
    /// repository before that are forgotten: from now on lateness counts anew. A damaged record is set aside.
    pub fn end(state: &StateDir) -> Result<Option<Self>, Error> {
        exclusively(state, || {
            let before = Self::load(state)?;
            if let Some(before) = &before {
                before.remove(state)?;
            }
            Ok(before)
        })
    }

    /// Removes a suspension that is over, as [`Self::end`]; returns one that is not.
    pub fn remove_ended(state: &StateDir, now: Timestamp) -> Result<Option<Self>, Error> {
        let is_over = |found: &Option<Self>| {
            let found = found.as_ref();
            found.is_some_and(|found| found.ended(now).is_some())
        };
        let found = Self::load(state)?;
        if !is_over(&found) {
            return Ok(found);
        }
        exclusively(state, || {
            // Somebody may have set another one meanwhile.
            let found = Self::load(state)?;
            match &found {
                Some(ended) if is_over(&found) => ended.remove(state).map(|()| None),
                _ => Ok(found),
            }
        })
    }

    fn remove(&self, state: &StateDir) -> Result<(), Error> {
        // First, so that a run that is killed in between is followed by one that does both.
        Unreached::replace(state, None)?;
        let directory = state.directory();
        match self {
            Self::Known(_) => directory.unlink(NAME)?,
            Self::Damaged(_) => {
                let _ = sealed::set_aside(directory, NAME)?;
            }
        }
        directory.unlink(UNFINISHED)?;
        Ok(directory.sync()?)
    }
}

impl Suspension {
    fn write(&self, state: &StateDir) -> Result<(), Error> {
        let create =
            |directory: &Directory, name: &str| sealed::create(directory, name, FORMAT, self);
        fs::replace(
            state.directory(),
            NAME,
            UNFINISHED,
            Durability::Full,
            create,
        )
    }
}

/// Does what no other process may do at the same time. It takes a moment, so others wait.
fn exclusively<T>(state: &StateDir, change: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let directory = state.directory();
    let lock = |operation| {
        rustix::io::retry_on_intr(|| flock(directory.fd(), operation))
            .map_err(|errno| directory.failure("lock", NAME, errno))
    };
    lock(FlockOperation::LockExclusive)?;
    let changed = change();
    lock(FlockOperation::Unlock)?;
    changed
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::fs::{Faults, Outcome};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn suspension(since: i64, until: Option<i64>) -> Suspension {
        Suspension {
            since: at(since),
            until: until.map(at),
            reason: Some("a migration".to_owned()),
            reference: None,
        }
    }

    fn open(directory: &Path) -> StateDir {
        StateDir::open(&directory.join("state")).unwrap()
    }

    #[test]
    fn it_lasts_until_its_end_or_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let state = open(directory.path());
        assert_eq!(Suspended::active(&state, at(0)).unwrap(), None);
        let first = suspension(100, Some(200));
        assert_eq!(Suspended::set(&state, first.clone()).unwrap(), None);
        let found = Suspended::Known(first);
        for now in [0, 100, 199] {
            let active = Suspended::remove_ended(&state, at(now)).unwrap();
            assert_eq!(active.as_ref(), Some(&found), "{now}");
        }
        assert_eq!(Suspended::active(&state, at(200)).unwrap(), None);
        assert_eq!(Suspended::load(&state).unwrap(), Some(found), "not removed");
        assert_eq!(Suspended::remove_ended(&state, at(200)).unwrap(), None);
        assert_eq!(Suspended::load(&state).unwrap(), None);

        let endless = suspension(100, None);
        let _ = Suspended::set(&state, endless.clone()).unwrap();
        let active = Suspended::remove_ended(&state, Timestamp::MAX).unwrap();
        assert_eq!(active, Some(Suspended::Known(endless)));
    }

    #[test]
    fn another_one_begins_where_the_active_one_began() {
        let directory = tempfile::tempdir().unwrap();
        let state = open(directory.path());
        let _ = Suspended::set(&state, suspension(100, Some(200))).unwrap();
        let before = Suspended::set(&state, suspension(150, None)).unwrap();
        assert_eq!(before, Some(Suspended::Known(suspension(100, Some(200)))));
        let found = Suspended::end(&state).unwrap();
        assert_eq!(found, Some(Suspended::Known(suspension(100, None))));
        // Not of one that is over.
        let _ = Suspended::set(&state, suspension(100, Some(200))).unwrap();
        assert_eq!(Suspended::set(&state, suspension(300, None)).unwrap(), None);
        let found = Suspended::load(&state).unwrap();
        assert_eq!(found, Some(Suspended::Known(suspension(300, None))));
    }

    #[test]
    fn lateness_counts_anew_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let state = open(directory.path());
        let late = Unreached::after(None, at(50), false, "no route".to_owned());
        for is_ended_by_itself in [false, true] {
            Unreached::replace(&state, Some(&late)).unwrap();
            let _ = Suspended::set(&state, suspension(100, Some(200))).unwrap();
            assert_eq!(Unreached::load(&state).unwrap().as_ref(), Some(&late));
            if is_ended_by_itself {
                let _ = Suspended::remove_ended(&state, at(200)).unwrap();
            } else {
                let _ = Suspended::end(&state).unwrap();
            }
            assert_eq!(Unreached::load(&state).unwrap(), None);
        }
    }

    #[test]
    fn a_damaged_record_suspends_until_it_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let state = open(directory.path());
        state.directory().create(NAME).unwrap().write(b"?").unwrap();
        let damaged = Some(Suspended::Damaged(Damage::Checksum));
        let now = Timestamp::MAX;
        assert_eq!(Suspended::remove_ended(&state, now).unwrap(), damaged);
        assert_eq!(Suspended::end(&state).unwrap(), damaged);
        assert_eq!(Suspended::load(&state).unwrap(), None);
        let aside = state.directory().read("suspended.damaged").unwrap();
        assert_eq!(aside.unwrap(), b"?");
    }

    /// A run that is active removes the unfinished files of earlier runs; here before each call of the write.
    #[test]
    fn a_run_that_sweeps_meanwhile_does_not_break_the_write() {
        let directory = tempfile::tempdir().unwrap();
        let other = open(directory.path());
        let calls = Arc::<Mutex<Vec<&'static str>>>::default();
        let seen = Arc::clone(&calls);
        let faults = Faults::new(move |call| {
            other.sweep().unwrap();
            seen.lock().unwrap().push(call.name);
            Outcome::Proceed
        });
        let state = open(directory.path()).with_faults(faults).unwrap();
        let _ = Suspended::set(&state, suspension(100, None)).unwrap();
        assert!(calls.lock().unwrap().contains(&"rename"));
        let found = Suspended::load(&state).unwrap();
        assert_eq!(found, Some(Suspended::Known(suspension(100, None))));
    }

    #[test]
    fn two_that_write_wait_for_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let (state, other) = (open(directory.path()), open(directory.path()));
        let locked = |state: &StateDir| {
            let operation = FlockOperation::NonBlockingLockExclusive;
            flock(state.directory().fd(), operation).is_err()
        };
        exclusively(&state, || {
            assert!(locked(&other));
            Ok(())
        })
        .unwrap();
        assert!(!locked(&other));
    }
}
