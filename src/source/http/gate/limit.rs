//! What a response states about rate limits.
//!
//! The order of the signs is the one GitHub documents: `retry-after`, then an exhausted quota with its reset, then the
//! words of a secondary limit. A 403 without any of them is a matter of permission, not of rate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The words that mark a response as a limit where its headers do not.
const WORDS: [&[u8]; 3] = [
    b"secondary rate limit",
    b"rate limit exceeded",
    b"abuse detection",
];

/// The parts of a response that describe limits.
pub(in crate::source::http) struct LimitHeaders<'a> {
    pub(in crate::source::http) status: u16,
    pub(in crate::source::http) headers: &'a HeaderMap,
    pub(in crate::source::http) body: &'a [u8],
}

/// How long no requests are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source::http) struct Limit {
    pub(in crate::source::http) wait: Duration,
    /// The host states it; otherwise it is our own pause, which guarantees nothing.
    pub(in crate::source::http) stated: bool,
}

impl Limit {
    fn stated(wait: Duration) -> Self {
        Self { wait, stated: true }
    }
}

/// Whether a response is a limit, and how long to wait after so many in a row.
pub(super) fn limit(
    answer: &LimitHeaders<'_>,
    clock: SystemTime,
    pause: Duration,
    consecutive_limits: u32,
) -> Option<Limit> {
    if !matches!(answer.status, 403 | 429) {
        return None;
    }
    let doubled = Limit {
        wait: pause.saturating_mul(1 << consecutive_limits.min(16)),
        stated: false,
    };
    if let Some(wait) = retry_after(answer.headers, clock) {
        return Some(Limit::stated(wait));
    }
    if number(answer.headers, "x-ratelimit-remaining") == Some(0) {
        let reset = number(answer.headers, "x-ratelimit-reset");
        return Some(reset.map_or(doubled, |reset| {
            Limit::stated(until_reset(reset, answer.headers, clock))
        }));
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
pub(in crate::source::http) fn retry_after(
    headers: &HeaderMap,
    clock: SystemTime,
) -> Option<Duration> {
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

/// One second more than the difference: both clocks count whole seconds.
pub(super) fn until_reset(reset: u64, headers: &HeaderMap, clock: SystemTime) -> Duration {
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

pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
pub(super) fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    /// The clock is at Sun, 06 Nov 1994 08:49:37 GMT.
    fn wait_after(
        status: u16,
        pairs: &[(&'static str, &str)],
        body: &str,
        consecutive_limits: u32,
    ) -> Option<u64> {
        let clock = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let headers = headers(pairs);
        let answer = LimitHeaders {
            status,
            headers: &headers,
            body: body.as_bytes(),
        };
        limit(&answer, clock, PAUSE, consecutive_limits).map(|limit| limit.wait.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for status in [403, 429] {
            assert_eq!(wait_after(status, &[("retry-after", "7")], "", 0), Some(7));
            assert_eq!(wait_after(status, &[("retry-after", "0")], "", 0), Some(0));
            assert_eq!(
                wait_after(
                    status,
                    &[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")],
                    "",
                    0
                ),
                Some(60)
            );
            assert_eq!(
                wait_after(
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
                wait_after(status, &[("retry-after", &ten_years)], "", 0),
                Some(315_360_000)
            );
        }
        assert_eq!(
            wait_after(429, &[("retry-after", "soon")], "", 0),
            Some(60),
            "garbage counts as none"
        );
        assert_eq!(wait_after(403, &[("retry-after", "-1")], "", 0), None);
        assert_eq!(wait_after(200, &[("retry-after", "7")], "", 0), None);
    }

    #[test]
    fn an_empty_quota_holds_until_its_reset_by_the_servers_clock() {
        let empty = ("x-ratelimit-remaining", "0");
        assert_eq!(
            wait_after(403, &[empty, ("x-ratelimit-reset", "784111877")], "", 0),
            Some(101)
        );
        assert_eq!(
            wait_after(
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
            wait_after(403, &[empty, ("x-ratelimit-reset", "1")], "", 0),
            Some(1)
        );
        assert_eq!(wait_after(403, &[empty], "", 0), Some(60));
        assert_eq!(
            wait_after(
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
        assert_eq!(wait_after(403, &[], body, 0), Some(60));
        assert_eq!(wait_after(403, &[], body, 1), Some(120));
        assert_eq!(wait_after(429, &[], "", 2), Some(240));
        assert!(wait_after(429, &[], "", u32::MAX).is_some());
    }

    #[test]
    fn a_plain_403_is_no_limit() {
        let body = r#"{"message":"Resource not accessible by personal access token"}"#;
        assert_eq!(wait_after(403, &[], body, 0), None);
        assert_eq!(
            wait_after(403, &[("x-github-sso", "required")], "", 0),
            None
        );
        assert_eq!(wait_after(404, &[], "rate limit exceeded", 0), None);
    }

    #[test]
    fn only_a_time_of_the_host_counts_as_stated() {
        let stated = |pairs: &[(&'static str, &str)]| {
            let headers = headers(pairs);
            let answer = LimitHeaders {
                status: 429,
                headers: &headers,
                body: b"",
            };
            limit(&answer, UNIX_EPOCH, PAUSE, 0).unwrap().stated
        };
        assert!(stated(&[("retry-after", "7")]));
        assert!(stated(&[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "784111877")
        ]));
        assert!(!stated(&[("x-ratelimit-remaining", "0")]));
        assert!(!stated(&[]));
    }
}
