//! What comes over the network while it comes, for whoever shows it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::threads;

/// Counts what is received, and knows for how long nothing has come. One for all connections of a run.
#[derive(Debug, Default)]
pub struct Meter {
    received: AtomicU64,
    /// How many requests wait for bytes.
    waiting: AtomicUsize,
    /// When the last bytes came, or the first of the requests that wait began to.
    last: Mutex<Option<Instant>>,
    /// The number of the current try, and of all that there may be; 0: none has failed.
    tried: AtomicU32,
    tries: AtomicU32,
}

impl Meter {
    /// The bytes that were received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// For how long no byte has come, while one is waited for.
    #[must_use]
    pub fn silent_for(&self) -> Option<Duration> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let last = *threads::lock(&self.last);
        last.map(|last| last.elapsed())
    }

    /// Which try this is, and how many there may be; `None` where tries are not counted.
    #[must_use]
    pub fn tries(&self) -> Option<(u32, u32)> {
        let tries = self.tries.load(Ordering::Relaxed);
        (tries > 0).then(|| (self.tried.load(Ordering::Relaxed), tries))
    }

    /// These bytes came.
    pub(crate) fn count(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
        self.touch();
    }

    /// This is a try of a request.
    pub(super) fn set_try(&self, number: u32, of: u32) {
        self.tried.store(number, Ordering::Relaxed);
        self.tries.store(of, Ordering::Relaxed);
    }

    /// Bytes are waited for until the guard is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.touch();
        }
        Waiting(self)
    }

    fn touch(&self) {
        *threads::lock(&self.last) = Some(Instant::now());
    }
}

/// A wait for bytes.
pub(super) struct Waiting<'a>(&'a Meter);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_one_only_while_bytes_are_waited_for() {
        let meter = Meter::default();
        assert_eq!(meter.silent_for(), None);
        let first = meter.wait();
        let begun = meter.silent_for().unwrap();
        let second = meter.wait();
        assert!(
            meter.silent_for().unwrap() >= begun,
            "the first one waits still"
        );
        meter.count(3);
        assert!(meter.silent_for().is_some());
        drop((first, second));
        assert_eq!(meter.silent_for(), None);
        assert_eq!(meter.received(), 3);
    }

    #[test]
    fn tries_are_known_once_one_is_counted() {
        let meter = Meter::default();
        assert_eq!(meter.tries(), None);
        meter.set_try(2, 4);
        assert_eq!(meter.tries(), Some((2, 4)));
    }
}
