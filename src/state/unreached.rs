//! Syncs that did not reach the repository: since when, how many in a row, and why the last one did not.
//!
//! A machine without network is no broken machine. The unit of the NixOS module takes such an end for a good one, and
//! `hyper-sync overdue` fails for it once this has lasted for `failure_grace`. Only a sync that ends well removes the
//! record: one that reached the repository and failed was a failure at once.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sealed::{self, SealedFormat};
use super::{Error, StateDir};

const NAME: &str = "unreached";
const FORMAT: SealedFormat = SealedFormat {
    kind: "unreached",
    version: 1,
};

/// The syncs since the last that ended well, as far as they failed for the network or a rate limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreached {
    /// When the first one failed.
    pub since: Timestamp,
    /// When the last one failed.
    pub last: Timestamp,
    /// How many.
    pub count: u32,
    /// Whether the last one was refused by a rate limit: then another try soon makes it no better.
    pub rate_limited: bool,
    /// Why the last one failed.
    pub cause: String,
}

impl Unreached {
    /// Reads the record. A damaged one counts as none: the next failure begins another.
    pub fn load(state: &StateDir) -> Result<Option<Self>, Error> {
        Ok(sealed::read(state.directory(), NAME, FORMAT)?.whole())
    }

    /// The record with another failure in it, `now` in whole seconds.
    #[must_use]
    pub fn after(before: Option<Self>, now: Timestamp, rate_limited: bool, cause: String) -> Self {
        // A clock that was set back would make it last for longer than it did.
        let since = before.as_ref().map_or(now, |before| before.since.min(now));
        let count = before.map_or(0, |before| before.count);
        Self {
            since,
            last: now,
            count: count.saturating_add(1),
            rate_limited,
            cause,
        }
    }

    /// Whether there has been no success for so long that somebody should know. `resumed`: when a suspension ended by
    /// itself, whose record, like this one, the next run removes: until then nobody was late.
    #[must_use]
    pub fn is_overdue(&self, resumed: Option<Timestamp>, now: Timestamp, grace: Duration) -> bool {
        let since = resumed.map_or(self.since, |resumed| resumed.max(self.since));
        now.duration_since(since).unsigned_abs() >= grace && now >= since
    }

    /// Writes the record, durable, or removes it.
    pub fn replace(state: &StateDir, record: Option<&Self>) -> Result<(), Error> {
        sealed::write_or_remove(state.directory(), NAME, FORMAT, record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 60 * 60).unwrap()
    }

    fn failed(before: Option<Unreached>, hour: i64) -> Unreached {
        Unreached::after(before, at(hour), false, "no route".to_owned())
    }

    #[test]
    fn it_lasts_from_the_first_failure_on() {
        let record = failed(Some(failed(None, 10)), 33);
        assert_eq!((record.since, record.last), (at(10), at(33)));
        assert_eq!(record.count, 2);
        assert!(!record.is_overdue(None, at(33), 24 * HOUR));
        assert!(record.is_overdue(None, at(34), 24 * HOUR));
    }

    #[test]
    fn after_a_suspension_the_grace_begins_anew() {
        let record = failed(None, 10);
        for (resumed, overdue) in [(None, 34), (Some(30), 54), (Some(5), 34)] {
            let resumed = resumed.map(at);
            assert!(!record.is_overdue(resumed, at(overdue - 1), 24 * HOUR));
            assert!(record.is_overdue(resumed, at(overdue), 24 * HOUR));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nobody_alarmed() {
        let record = failed(None, 1000);
        assert!(!record.is_overdue(None, at(10), HOUR));
        let record = failed(Some(record), 10);
        assert_eq!(record.since, at(10));
        assert!(!record.is_overdue(None, at(10), HOUR));
    }
}
