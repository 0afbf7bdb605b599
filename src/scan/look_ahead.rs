//! The scan of an index that is still being read: with many files, reading the index takes as long as half of the scan.

use std::sync::mpsc::{self, Receiver};
use std::thread::Scope;

use jiff::Timestamp;

use super::parallel::{in_one, thread_count};
use super::{FileObservation, Locals, Scanner};
use crate::state::FileBlock;

/// A scan that may not have ended yet.
#[derive(Debug)]
pub struct LookAhead {
    /// Not later than the first `lstat`.
    since: Timestamp,
    found: Receiver<Locals>,
}

impl LookAhead {
    /// Waits for the end of the scan. Where it failed there is no result, and the next scan reports it again.
    pub(super) fn results(self) -> Locals {
        self.found.recv().unwrap_or_default()
    }
}

impl Scanner<'_> {
    /// Inspects files in the background, as they come with what is known of them.
    pub fn look_ahead<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        blocks: Receiver<FileBlock>,
    ) -> LookAhead {
        let (results, found) = mpsc::channel();
        let since = Timestamp::now();
        scope.spawn(move || {
            let inspected = self.on_threads(thread_count(), blocks.into_iter(), |stats, block| {
                let files = block.into_iter();
                self.look_at_each(stats, files.map(|(path, owned)| (path, Some(owned))))
            });
            if let Ok(inspected) = inspected {
                // Nobody waits for it where the index was damaged.
                let _ = results.send(in_one(inspected));
            }
        });
        LookAhead { since, found }
    }

    /// Uses the results of a scan of the same target.
    #[must_use]
    pub fn after(self, ahead: Option<LookAhead>) -> Self {
        if let Some(ahead) = ahead {
            let mut seen = self.seen();
            *seen = FileObservation {
                since: ahead.since,
                ahead: Some(ahead),
                ..FileObservation::nothing()
            };
        }
        self
    }
}
