//! How often, and after which pause, a request is sent again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::Options;
use crate::source::Meter;

/// The retries that one request has left.
pub(super) struct Tries {
    /// The retries that there were, and that are left.
    all: u32,
    left: u32,
    pause: Duration,
}

impl Tries {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            all: options.retries,
            left: options.retries,
            pause: options.backoff,
        }
    }

    /// The first response counts.
    pub(super) fn none() -> Self {
        Self {
            all: 0,
            left: 0,
            pause: Duration::ZERO,
        }
    }

    /// Shows which try comes now.
    pub(super) fn show(&self, meter: &Meter) {
        meter.set_try(self.all - self.left + 1, self.all + 1);
    }

    /// The pause before the next try, if there is one.
    pub(super) fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = jittered(self.pause, random());
        self.pause = self.pause.saturating_mul(2);
        Some(pause)
    }
}

/// Another number at each call.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// Between half of the pause and all of it, so that many machines of one timer do not come back together.
#[must_use]
pub fn jittered(pause: Duration, random: u64) -> Duration {
    let half = pause / 2;
    half + half * u32::from(random.to_le_bytes()[0]) / u32::from(u8::MAX)
}

/// A wait that the host has stated, and up to as long again: it may end for all who share a quota at one time, and those
/// who wait for it must not come back together.
#[must_use]
pub fn spread(wait: Duration, random: u64) -> Duration {
    // In steps of a few milliseconds, for the waits that are waited out.
    let [low, high, ..] = random.to_le_bytes();
    let part = u32::from(u16::from_le_bytes([low, high]));
    wait.saturating_add(wait.saturating_mul(part) / u32::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let options = Options {
            backoff: Duration::from_secs(1),
            retries: 3,
            ..Options::default()
        };
        let mut tries = Tries::new(&options);
        for longest in [1, 2, 4] {
            let pause = tries.next().unwrap();
            let longest = Duration::from_secs(longest);
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
        }
        assert_eq!(tries.next(), None);
        assert_eq!(tries.next(), None);
    }

    #[test]
    fn a_stated_wait_is_never_shortened_and_at_most_doubled() {
        let wait = Duration::from_secs(90);
        assert_eq!(spread(wait, 0), wait);
        assert_eq!(spread(wait, u64::MAX), 2 * wait);
        assert_eq!(spread(Duration::ZERO, u64::MAX), Duration::ZERO);
        assert_eq!(spread(Duration::MAX, u64::MAX), Duration::MAX);
    }

    #[test]
    fn jitter_spans_the_second_half() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 0), second / 2);
        assert_eq!(jittered(second, u64::MAX), second);
    }
}
