//! The rate gate: one for each service of a host, shared by all requests.
//!
//! Further requests while limited may get an account banned, so the first limited response closes the gate for all.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::HeaderMap;

mod limit;

pub(super) use limit::{Limit, LimitHeaders, retry_after};

use crate::threads;
use limit::{limit, number, until_reset};

/// How often one request waits for a limit before it gives up, however short the waits are.
pub(super) const WAITS: u32 = 3;

/// What a host's quota still allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests left until the reset.
    pub remaining: u64,
    /// How long until then, where the host reported it.
    pub reset: Option<Duration>,
}

#[derive(Default)]
pub(super) struct Gate(Mutex<HashMap<String, Host>>);

#[derive(Default)]
struct Host {
    /// Closed until then.
    open_at: Option<Instant>,
    /// The host itself has given the time.
    stated: bool,
    /// Limits met in a row.
    consecutive_limits: u32,
    quota: Option<QuotaReading>,
}

struct QuotaReading {
    remaining: u64,
    /// Seconds since 1970 by the host's clock, and by ours.
    reset: Option<(u64, Instant)>,
}

impl Gate {
    /// How long the host's gate stays closed; `None`: it is open.
    pub(super) fn closed_for(&self, host: &str) -> Option<Limit> {
        let hosts = threads::lock(&self.0);
        let host = hosts.get(host)?;
        let wait = host.open_at?.saturating_duration_since(Instant::now());
        let stated = host.stated;
        (!wait.is_zero()).then_some(Limit { wait, stated })
    }

    pub(super) fn quota(&self, host: &str) -> Option<Quota> {
        let hosts = threads::lock(&self.0);
        let seen = hosts.get(host)?.quota.as_ref()?;
        let now = Instant::now();
        Some(Quota {
            remaining: seen.remaining,
            reset: seen
                .reset
                .map(|(_, reset)| reset.saturating_duration_since(now)),
        })
    }

    /// Takes in a response to a request sent at `asked`; `Some`: it was a limit, and how long it holds.
    pub(super) fn note(
        &self,
        host: &str,
        answer: &LimitHeaders<'_>,
        asked: Instant,
        pause: Duration,
    ) -> Option<Limit> {
        let clock = SystemTime::now();
        let now = Instant::now();
        let mut hosts = threads::lock(&self.0);
        let host = hosts.entry(host.to_owned()).or_default();
        host.remember_quota(answer.headers, clock, now);
        // Responses that were under way when the gate closed do not show its effect.
        let sent_after_limit = host.open_at.is_none_or(|open_at| asked >= open_at);
        let consecutive_limits = host
            .consecutive_limits
            .saturating_sub(u32::from(!sent_after_limit));
        let Some(limit) = limit(answer, clock, pause, consecutive_limits) else {
            if sent_after_limit {
                host.consecutive_limits = 0;
            }
            // The next request would be refused; it is not sent.
            if let Some(QuotaReading {
                remaining: 0,
                reset: Some((_, reset)),
            }) = host.quota
            {
                host.close(reset, true);
            }
            return None;
        };
        if sent_after_limit {
            host.consecutive_limits += 1;
        }
        host.close(super::later(now, limit.wait), limit.stated);
        Some(limit)
    }
}

impl Host {
    /// Closes the gate until then, unless it is closed for longer already.
    fn close(&mut self, open_at: Instant, stated: bool) {
        if self.open_at.is_none_or(|known| known < open_at) {
            self.open_at = Some(open_at);
            self.stated = stated;
        }
    }

    fn remember_quota(&mut self, headers: &HeaderMap, clock: SystemTime, now: Instant) {
        let Some(remaining) = number(headers, "x-ratelimit-remaining") else {
            return;
        };
        let reset = number(headers, "x-ratelimit-reset");
        let until = reset.map(|reset| super::later(now, until_reset(reset, headers, clock)));
        let seen = QuotaReading {
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

#[cfg(test)]
mod tests {
    use super::limit::headers;
    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    #[test]
    fn a_limit_closes_the_gate_of_its_host_only() {
        let gate = Gate::default();
        let map = headers(&[("retry-after", "1000")]);
        let answer = LimitHeaders {
            status: 429,
            headers: &map,
            body: b"",
        };
        assert_eq!(
            gate.note("api.github.com", &answer, Instant::now(), PAUSE),
            Some(Limit {
                wait: Duration::from_secs(1000),
                stated: true
            })
        );
        let limit = gate.closed_for("api.github.com").unwrap();
        assert!(limit.stated && limit.wait > Duration::from_secs(900));
        assert_eq!(gate.closed_for("github.com"), None);
    }

    #[test]
    fn the_last_request_of_a_quota_closes_the_gate() {
        let gate = Gate::default();
        let map = headers(&[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "99999999999"),
        ]);
        let answer = LimitHeaders {
            status: 200,
            headers: &map,
            body: b"",
        };
        assert_eq!(gate.note("h", &answer, Instant::now(), PAUSE), None);
        assert!(gate.closed_for("h").is_some());
        assert_eq!(gate.quota("h").unwrap().remaining, 0);
    }

    #[test]
    fn responses_out_of_order_do_not_raise_the_quota() {
        let gate = Gate::default();
        let note = |remaining: &str, reset: &str| {
            let map = headers(&[
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset", reset),
            ]);
            gate.note(
                "h",
                &LimitHeaders {
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
    fn pauses_double_for_limits_after_a_wait_only() {
        let gate = Gate::default();
        let map = HeaderMap::new();
        let limited = LimitHeaders {
            status: 429,
            headers: &map,
            body: b"",
        };
        let fine = LimitHeaders {
            status: 200,
            headers: &map,
            body: b"",
        };
        let asked = Instant::now();
        let wait = |asked| {
            let limit = gate.note("h", &limited, asked, PAUSE).unwrap();
            limit.wait.as_secs()
        };
        assert_eq!(wait(asked), 60);
        assert_eq!(wait(asked), 60, "asked before the gate closed");
        gate.note("h", &fine, asked, PAUSE);
        let after = asked + Duration::from_secs(1000);
        assert_eq!(wait(after), 120, "a late success has opened nothing");
        gate.note("h", &fine, after, PAUSE);
        assert_eq!(wait(after), 60, "a success after the wait has");
    }
}
