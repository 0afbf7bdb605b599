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
        let pause = jittered(self.pause, RandomState::new().hash_one(self.left));
        self.pause = self.pause.saturating_mul(2);
        Some(pause)
    }
}

/// Between half of the pause and all of it, so that many machines of one timer do not come back together.
fn jittered(pause: Duration, random: u64) -> Duration {
    let half = pause / 2;
    half + half * u32::from(random.to_le_bytes()[0]) / u32::from(u8::MAX)
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
    fn jitter_spans_the_second_half() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 0), second / 2);
        assert_eq!(jittered(second, u64::MAX), second);
    }
}
