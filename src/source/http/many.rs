//! Many requests at once, their results one by one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::Client;

/// The most requests under way at once. GitHub's secondary limit is a hundred; it asks for few.
pub(super) const PARALLEL: usize = 8;

impl Client {
    /// Runs `work` for every item, at most eight at once, and hands each result to `take` in the caller's
    /// thread, in the order they come. After the first error nothing new is begun; what was under way is still taken.
    pub fn each<T: Sync, R: Send, E: Send>(
        &self,
        items: &[T],
        work: impl Fn(&Self, &T) -> Result<R, E> + Sync,
        mut take: impl FnMut(&T, R) -> Result<(), E>,
    ) -> Result<(), E> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        // Without a buffer a finished worker waits for `take`: what is in memory stays bounded.
        let (sender, results) = mpsc::sync_channel(0);
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL.min(items.len()) {
                let (sender, next, stop, work) = (sender.clone(), &next, &stop, &work);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else {
                            break;
                        };
                        if sender.send((item, work(self, item))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut outcome = Ok(());
            for (item, result) in results {
                if let Err(error) = result.and_then(|result| take(item, result)) {
                    stop.store(true, Ordering::Relaxed);
                    outcome = outcome.and(Err(error));
                }
            }
            outcome
        })
    }
}
