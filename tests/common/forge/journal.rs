//! The requests and their answers, as they happen.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use super::{lock, message::Seen};

/// Nothing a test waits for takes this long; without an end a mistake would hang the whole run.
const WAIT_AT_MOST: Duration = Duration::from_secs(60);

/// The requests of a forge, in the order of arrival.
#[derive(Default)]
pub(super) struct Journal {
    entries: Mutex<Entries>,
    changed: Condvar,
}

#[derive(Default)]
struct Entries {
    list: Vec<(u64, Seen)>,
    next: u64,
}

/// A request that is being answered.
#[derive(Clone)]
pub(super) struct Entry {
    journal: Arc<Journal>,
    number: u64,
}

impl Journal {
    pub(super) fn note(self: &Arc<Self>, seen: Seen) -> Entry {
        let mut entries = lock(&self.entries);
        let number = entries.next;
        entries.next += 1;
        entries.list.push((number, seen));
        self.changed.notify_all();
        Entry {
            journal: self.clone(),
            number,
        }
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        let entries = lock(&self.entries);
        entries.list.iter().map(|(_, seen)| seen.clone()).collect()
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.entries).list.len()
    }

    pub(super) fn clear(&self) {
        lock(&self.entries).list.clear();
    }

    /// Blocks until `test` holds for the requests so far.
    pub(super) fn wait_until(&self, test: impl Fn(&[Seen]) -> bool) {
        let seen = |entries: &Entries| -> Vec<Seen> {
            entries.list.iter().map(|(_, seen)| seen.clone()).collect()
        };
        let entries = lock(&self.entries);
        let (entries, result) = self
            .changed
            .wait_timeout_while(entries, WAIT_AT_MOST, |entries| !test(&seen(entries)))
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let lines: Vec<String> = seen(&entries).iter().map(Seen::line).collect();
        assert!(
            !result.timed_out(),
            "the expected request never came; there were {lines:#?}"
        );
    }
}

impl Entry {
    pub(super) fn answered(&self, status: u16) {
        self.change(|seen| seen.status = status);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.change(|seen| seen.response_bytes += bytes as u64);
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        let mut entries = lock(&self.journal.entries);
        // It may be gone: a test forgets what came before, while the answer is still on its way.
        if let Some((_, seen)) = entries.list.iter_mut().rfind(|(n, _)| *n == self.number) {
            change(seen);
            self.journal.changed.notify_all();
        }
    }
}
