//! Machines with the timers of the module, on a clock that is only counted.
//!
//! What systemd does is as `systemd.timer(5)` documents it: a calendar timer elapses at the next time of its expression
//! after it was last triggered, or after boot where that time has passed (`Persistent=`); the random delay is uniform,
//! drawn anew each time or once for a machine (`FixedRandomDelay=`); then `AccuracySec=` moves it to a second of the minute
//! that is the machine's own. All clocks are exact, and a run takes no time but for its pauses: nothing else spreads the
//! requests.

use std::time::Duration;

use hyper_sync::source::http::{Options, retry};
use jiff::SignedDuration;

/// Milliseconds.
pub(super) type Millis = u64;

pub(super) const SECOND: Millis = 1000;
pub(super) const MINUTE: Millis = 60 * SECOND;
pub(super) const HOUR: Millis = 60 * MINUTE;
pub(super) const DAY: Millis = 24 * HOUR;

/// `AccuracySec=` where a timer has none.
const ACCURACY: Millis = MINUTE;
/// From the start of systemd until the network is there, at all machines: worse than in any room of real ones.
const BOOT: Millis = 20 * SECOND;

/// The timers of a machine.
#[derive(Clone)]
pub(super) struct Timers {
    /// Between two times of `OnCalendar=`; the first one is at midnight.
    pub(super) period: Millis,
    pub(super) delay: Millis,
    pub(super) fixed: bool,
    pub(super) accuracy: Millis,
    /// Of `hyper-sync-retry.timer`.
    pub(super) retry_after: Millis,
    pub(super) retry_delay: Millis,
}

impl Timers {
    /// As the module makes them.
    pub(super) fn of_module() -> Self {
        let timer = crate::fleet::unit("hyper-sync.timer");
        let retry = crate::fleet::unit("hyper-sync-retry.timer");
        assert_eq!(value(&timer, "OnCalendar"), Some("hourly"));
        assert_eq!(value(&timer, "Persistent"), Some("true"));
        for unit in [&timer, &retry] {
            assert_eq!(value(unit, "AccuracySec"), None);
        }
        Self {
            period: HOUR,
            delay: span(&timer, "RandomizedDelaySec"),
            fixed: value(&timer, "FixedRandomDelay") == Some("true"),
            accuracy: ACCURACY,
            retry_after: span(&retry, "OnActiveSec"),
            retry_delay: span(&retry, "RandomizedDelaySec"),
        }
    }
}

fn value<'a>(unit: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = unit.lines().filter_map(|line| line.split_once('='));
    pairs
        .find(|(found, _)| *found == key)
        .map(|(_, value)| value)
}

fn span(unit: &str, key: &str) -> Millis {
    let text = value(unit, key).unwrap();
    let span: SignedDuration = text.parse().unwrap();
    span.as_millis().try_into().unwrap()
}

/// How the host responds.
#[derive(Clone, Copy)]
pub(super) enum Host {
    Up,
    /// With 503, from the first time until the second.
    Down(Millis, Millis),
    /// All share a quota that is used up in that time, and the host states when it ends.
    Limited(Millis, Millis),
}

/// What one machine or all of them sent.
#[derive(Default)]
pub(super) struct Log {
    /// When each request was sent, in order, and whether it was of use.
    pub(super) requests: Vec<(Millis, bool)>,
}

impl Log {
    /// The requests from the first time until the second.
    pub(super) fn between(&self, from: Millis, to: Millis) -> Self {
        let requests = self.requests.iter().copied();
        Self {
            requests: requests.filter(|(at, _)| (from..to).contains(at)).collect(),
        }
    }

    /// The most requests in any such time.
    pub(super) fn peak(&self, window: Millis) -> usize {
        let mut oldest = 0;
        let mut most = 0;
        for (newest, (at, _)) in self.requests.iter().enumerate() {
            while self.requests[oldest].0 + window <= *at {
                oldest += 1;
            }
            most = most.max(newest + 1 - oldest);
        }
        most
    }

    pub(super) fn count(&self, useful: bool) -> usize {
        self.requests.iter().filter(|(_, of)| *of == useful).count()
    }
}

/// A day of that many machines, which are switched on at `boot` and had run before.
pub(super) fn day(machines: u64, timers: &Timers, host: Host, boot: Millis) -> Log {
    let mut log = Log::default();
    for number in 0..machines {
        Machine::new(number, timers, host).live(boot, &mut log);
    }
    log.requests.sort_unstable();
    log
}

struct Machine<'a> {
    timers: &'a Timers,
    host: Host,
    random: Random,
    /// The time of the minute to which systemd moves what may be moved.
    own: Millis,
    /// `FixedRandomDelay=`.
    delay: Millis,
    options: Options,
}

impl<'a> Machine<'a> {
    fn new(number: u64, timers: &'a Timers, host: Host) -> Self {
        let mut random = Random(number << 32);
        Self {
            own: random.below(MINUTE),
            delay: random.below(timers.delay),
            timers,
            host,
            random,
            options: Options::default(),
        }
    }

    fn live(mut self, boot: Millis, log: &mut Log) {
        let online = if boot == 0 { 0 } else { boot + BOOT };
        // What was missed while the machine was off counts from the start of systemd.
        let mut timer = self.elapses(boot);
        let mut retry = None;
        loop {
            let is_retry = retry.is_some_and(|retry| retry < timer);
            let now = retry.take_if(|_| is_retry).unwrap_or(timer);
            if now >= DAY {
                return;
            }
            let (ended, reached) = self.run(now.max(online), log);
            if !is_retry {
                let next = (now / self.timers.period + 1) * self.timers.period;
                timer = self.elapses(next);
            }
            if !reached {
                let delay = self.random.below(self.timers.retry_delay);
                retry = Some(self.moved(ended + self.timers.retry_after + delay));
            }
        }
    }

    /// When a timer elapses whose calendar says `at`.
    fn elapses(&mut self, at: Millis) -> Millis {
        let delay = if self.timers.fixed {
            self.delay
        } else {
            self.random.below(self.timers.delay)
        };
        self.moved(at + delay)
    }

    /// `AccuracySec=`: the machine's own time in the minute that follows.
    fn moved(&self, at: Millis) -> Millis {
        if self.timers.accuracy < MINUTE {
            return at;
        }
        at + (MINUTE + self.own - at % MINUTE) % MINUTE
    }

    /// One run that begins at `at`: when it ends, and whether another one is to follow soon, which a rate limit forbids.
    fn run(&mut self, mut at: Millis, log: &mut Log) -> (Millis, bool) {
        let mut retries = self.options.retries;
        let mut pause = self.options.backoff;
        loop {
            let sent = at;
            match self.host {
                Host::Down(from, to) if (from..to).contains(&sent) => {
                    log.requests.push((sent, false));
                    let Some(left) = retries.checked_sub(1) else {
                        return (at, false);
                    };
                    retries = left;
                    at += millis(retry::jittered(pause, self.random.next()));
                    pause *= 2;
                }
                Host::Limited(from, to) if (from..to).contains(&sent) => {
                    log.requests.push((sent, false));
                    // Times are stated in whole seconds, and the client adds one.
                    let wait = Duration::from_millis(to.next_multiple_of(SECOND) + SECOND - sent);
                    if wait > self.options.max_wait {
                        return (at, true);
                    }
                    at += millis(retry::spread(wait, self.random.next()));
                }
                _ => {
                    log.requests.push((sent, true));
                    return (at, true);
                }
            }
        }
    }
}

fn millis(time: Duration) -> Millis {
    time.as_millis().try_into().unwrap()
}

/// `SplitMix64`: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform, from 0; 0 where there is no range.
    fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or_default()
    }
}
