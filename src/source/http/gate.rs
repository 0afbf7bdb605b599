//! The rate gate: one for each service of a host, shared by all requests.
//!
//! Going on while limited may get an account banned, so the first limited answer closes the gate for everybody. The
//! order of the signs is the one GitHub documents: `retry-after`, then an exhausted quota with its reset, then the
//! words of a secondary limit. A 403 without any of them is a matter of permission, not of rate.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// How often one request waits for a limit before it gives up, however short the waits are.
pub(super) const WAITS: u32 = 3;
/// The words by which answers without telling headers say that they are about a limit.
const WORDS: [&[u8]; 3] = [
    b"secondary rate limit",
    b"rate limit exceeded",
    b"abuse detection",
];

/// What a host's quota still allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests left until the reset.
    pub remaining: u64,
    /// How long until then, where the host told.
    pub reset: Option<Duration>,
}

/// The parts of an answer that tell about limits.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

#[derive(Default)]
pub(super) struct Gate(Mutex<HashMap<String, Host>>);

#[derive(Default)]
struct Host {
    /// Closed until then.
    open_at: Option<Instant>,
    /// Limits met in a row.
    strikes: u32,
    quota: Option<Seen>,
}

struct Seen {
    remaining: u64,
    /// Seconds since 1970 by the host's clock, and by ours.
    reset: Option<(u64, Instant)>,
}

impl Gate {
    /// How long the host's gate stays closed; `None`: it is open.
    pub(super) fn closed_for(&self, host: &str) -> Option<Duration> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = hosts
            .get(host)?
            .open_at?
            .saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }

    pub(super) fn quota(&self, host: &str) -> Option<Quota> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = hosts.get(host)?.quota.as_ref()?;
        let now = Instant::now();
        Some(Quota {
            remaining: seen.remaining,
            reset: seen
                .reset
                .map(|(_, reset)| reset.saturating_duration_since(now)),
        })
    }

    /// Takes in an answer to a request sent at `asked`; `Some`: it was a limit, and how long it holds.
    pub(super) fn note(
        &self,
        host: &str,
        answer: &Answer<'_>,
        asked: Instant,
        pause: Duration,
    ) -> Option<Duration> {
        let clock = SystemTime::now();
        let now = Instant::now();
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry(host.to_owned()).or_default();
        host.remember_quota(answer.headers, clock, now);
        // Answers that were under way when the gate closed say nothing about what came of it.
        let news = host.open_at.is_none_or(|open_at| asked >= open_at);
        let strikes = host.strikes.saturating_sub(u32::from(!news));
        let Some(wait) = limit(answer, clock, pause, strikes) else {
            if news {
                host.strikes = 0;
            }
            // The next request would be refused; it is not sent.
            if let Some(Seen {
                remaining: 0,
                reset: Some((_, reset)),
            }) = host.quota
            {
                host.open_at = host.open_at.max(Some(reset));
            }
            return None;
        };
        if news {
            host.strikes += 1;
        }
        let open_at = super::later(now, wait);
        host.open_at = host.open_at.max(Some(open_at));
        Some(wait)
    }
}

impl Host {
    fn remember_quota(&mut self, headers: &HeaderMap, clock: SystemTime, now: Instant) {
        let Some(remaining) = number(headers, "x-ratelimit-remaining") else {
            return;
        };
        let reset = number(headers, "x-ratelimit-reset");
        let until = reset.map(|reset| super::later(now, until_reset(reset, headers, clock)));
        let seen = Seen {
            remaining,
            reset: reset.zip(until),
        };
        // Answers of parallel requests overtake each other: within one period the lowest count is the newest.
        let newer = self.quota.as_ref().is_none_or(|known| {
            known.reset.map(|(reset, _)| reset) != reset || seen.remaining < known.remaining
        });
        if newer {
            self.quota = Some(seen);
        }
    }
}

/// Whether an answer is a limit, and how long to wait.
fn limit(
    answer: &Answer<'_>,
    clock: SystemTime,
    pause: Duration,
    strikes: u32,
) -> Option<Duration> {
    if !matches!(answer.status, 403 | 429) {
        return None;
    }
    let doubled = pause.saturating_mul(1 << strikes.min(16));
    if let Some(wait) = retry_after(answer.headers, clock) {
        return Some(wait);
    }
    if number(answer.headers, "x-ratelimit-remaining") == Some(0) {
        let reset = number(answer.headers, "x-ratelimit-reset");
        return Some(reset.map_or(doubled, |reset| until_reset(reset, answer.headers, clock)));
    }
    let says_so = || {
        let body = answer.body.to_ascii_lowercase();
        WORDS
            .iter()
            .any(|words| body.windows(words.len()).any(|window| window == *words))
    };
    (answer.status == 429 || says_so()).then_some(doubled)
}

/// The time a `retry-after` header asks for: seconds, or a date by the server's own clock.
pub(super) fn retry_after(headers: &HeaderMap, clock: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = date(value)?;
    Some(
        then.duration_since(server_clock(headers, clock))
            .unwrap_or_default(),
    )
}

/// One second more than the difference: both clocks tell whole seconds.
fn until_reset(reset: u64, headers: &HeaderMap, clock: SystemTime) -> Duration {
    let clock = server_clock(headers, clock)
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Duration::from_secs(reset)
        .saturating_sub(clock)
        .saturating_add(Duration::from_secs(1))
}

/// The server's clock, which its times go by; ours may be wrong.
fn server_clock(headers: &HeaderMap, clock: SystemTime) -> SystemTime {
    headers
        .get(DATE)
        .and_then(|value| date(value.to_str().ok()?))
        .unwrap_or(clock)
}

fn date(text: &str) -> Option<SystemTime> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(zoned.timestamp().into())
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    /// The clock stands at Sun, 06 Nov 1994 08:49:37 GMT.
    fn judge(status: u16, pairs: &[(&'static str, &str)], body: &str, strikes: u32) -> Option<u64> {
        let clock = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let headers = headers(pairs);
        let answer = Answer {
            status,
            headers: &headers,
            body: body.as_bytes(),
        };
        limit(&answer, clock, PAUSE, strikes).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for status in [403, 429] {
            assert_eq!(judge(status, &[("retry-after", "7")], "", 0), Some(7));
            assert_eq!(judge(status, &[("retry-after", "0")], "", 0), Some(0));
            assert_eq!(
                judge(
                    status,
                    &[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")],
                    "",
                    0
                ),
                Some(60)
            );
            assert_eq!(
                judge(
                    status,
                    &[("retry-after", "Sat, 05 Nov 1994 08:50:37 GMT")],
                    "",
                    0
                ),
                Some(0),
                "a date in the past is now"
            );
            let ten_years = (10 * 365 * 86_400).to_string();
            assert_eq!(
                judge(status, &[("retry-after", &ten_years)], "", 0),
                Some(315_360_000)
            );
        }
        assert_eq!(
            judge(429, &[("retry-after", "soon")], "", 0),
            Some(60),
            "garbage counts as none"
        );
        assert_eq!(judge(403, &[("retry-after", "-1")], "", 0), None);
        assert_eq!(judge(200, &[("retry-after", "7")], "", 0), None);
    }

    #[test]
    fn an_empty_quota_holds_until_its_reset_by_the_servers_clock() {
        let empty = ("x-ratelimit-remaining", "0");
        assert_eq!(
            judge(403, &[empty, ("x-ratelimit-reset", "784111877")], "", 0),
            Some(101)
        );
        assert_eq!(
            judge(
                403,
                &[
                    empty,
                    ("x-ratelimit-reset", "784111877"),
                    ("date", "Sun, 06 Nov 1994 08:51:07 GMT")
                ],
                "",
                0
            ),
            Some(11),
            "our clock is 90 seconds slow"
        );
        assert_eq!(
            judge(403, &[empty, ("x-ratelimit-reset", "1")], "", 0),
            Some(1)
        );
        assert_eq!(judge(403, &[empty], "", 0), Some(60));
        assert_eq!(
            judge(
                403,
                &[
                    ("x-ratelimit-remaining", "12"),
                    ("x-ratelimit-reset", "784111877")
                ],
                "",
                0
            ),
            None
        );
    }

    #[test]
    fn a_secondary_limit_pauses_a_minute_and_doubles() {
        let body = r#"{"message":"You have exceeded a secondary rate limit. Please wait."}"#;
        assert_eq!(judge(403, &[], body, 0), Some(60));
        assert_eq!(judge(403, &[], body, 1), Some(120));
        assert_eq!(judge(429, &[], "", 2), Some(240));
        assert!(judge(429, &[], "", u32::MAX).is_some());
    }

    #[test]
    fn a_plain_403_is_no_limit() {
        let body = r#"{"message":"Resource not accessible by personal access token"}"#;
        assert_eq!(judge(403, &[], body, 0), None);
        assert_eq!(judge(403, &[("x-github-sso", "required")], "", 0), None);
        assert_eq!(judge(404, &[], "rate limit exceeded", 0), None);
    }

    #[test]
    fn a_closed_gate_is_closed_for_its_host_only() {
        let gate = Gate::default();
        let map = headers(&[("retry-after", "1000")]);
        let answer = Answer {
            status: 429,
            headers: &map,
            body: b"",
        };
        assert_eq!(
            gate.note("api.github.com", &answer, Instant::now(), PAUSE),
            Some(Duration::from_secs(1000))
        );
        assert!(gate.closed_for("api.github.com").unwrap() > Duration::from_secs(900));
        assert_eq!(gate.closed_for("github.com"), None);
    }

    #[test]
    fn the_last_request_of_a_quota_closes_the_gate_behind_it() {
        let gate = Gate::default();
        let map = headers(&[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "99999999999"),
        ]);
        let answer = Answer {
            status: 200,
            headers: &map,
            body: b"",
        };
        assert_eq!(gate.note("h", &answer, Instant::now(), PAUSE), None);
        assert!(gate.closed_for("h").is_some());
        assert_eq!(gate.quota("h").unwrap().remaining, 0);
    }

    #[test]
    fn answers_that_overtake_each_other_do_not_raise_the_quota() {
        let gate = Gate::default();
        let note = |remaining: &str, reset: &str| {
            let map = headers(&[
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset", reset),
            ]);
            gate.note(
                "h",
                &Answer {
                    status: 200,
                    headers: &map,
                    body: b"",
                },
                Instant::now(),
                PAUSE,
            );
            gate.quota("h").unwrap().remaining
        };
        assert_eq!(note("41", "99999999990"), 41);
        assert_eq!(note("42", "99999999990"), 41);
        assert_eq!(note("40", "99999999990"), 40);
        assert_eq!(note("60", "99999999999"), 60, "a new period");
        assert_eq!(gate.quota("other"), None);
    }

    #[test]
    fn doubling_counts_limits_that_follow_a_wait_and_not_parallel_ones() {
        let gate = Gate::default();
        let map = HeaderMap::new();
        let limited = Answer {
            status: 429,
            headers: &map,
            body: b"",
        };
        let fine = Answer {
            status: 200,
            headers: &map,
            body: b"",
        };
        let asked = Instant::now();
        let wait = |asked| gate.note("h", &limited, asked, PAUSE).unwrap().as_secs();
        assert_eq!(wait(asked), 60);
        assert_eq!(wait(asked), 60, "asked before the gate closed");
        gate.note("h", &fine, asked, PAUSE);
        let after = asked + Duration::from_secs(1000);
        assert_eq!(wait(after), 120, "a late success has opened nothing");
        gate.note("h", &fine, after, PAUSE);
        assert_eq!(wait(after), 60, "a success after the wait has");
    }
}
