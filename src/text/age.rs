//! Times as people read them.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A time as seen from another: `3 min ago`, `in 12 min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// The time.
    pub time: Timestamp,
    /// The time from which it is seen.
    pub now: Timestamp,
    /// Whether the time itself is shown too, in the zone of this machine.
    pub exact: bool,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.now.duration_since(self.time);
        let length = Length(before.abs());
        let relative = match (before.abs().as_secs(), before.is_negative()) {
            (..1, false) => "just now".to_owned(),
            (..1, true) => "now".to_owned(),
            (_, false) => format!("{length} ago"),
            (_, true) => format!("in {length}"),
        };
        if !self.exact {
            return f.write_str(&relative);
        }
        let local = self.time.to_zoned(TimeZone::system());
        write!(
            f,
            "{} ({relative})",
            local.strftime("%Y-%m-%d %H:%M:%S %:z")
        )
    }
}

/// A length of time in its largest unit: `12 s`, `3 min`, `2 days`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(pub SignedDuration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (count, unit) = match seconds {
            ..60 => (seconds, "s"),
            60..3_600 => (seconds / 60, "min"),
            // Up to two of a unit, the smaller one says more.
            3_600..172_800 => (seconds / 3_600, "h"),
            172_800..5_184_000 => (seconds / 86_400, "days"),
            5_184_000..63_072_000 => (seconds / 2_592_000, "months"),
            _ => (seconds / 31_536_000, "years"),
        };
        write!(f, "{count} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_its_largest_unit() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        for (seconds, shown) in [
            (0, "just now"),
            (1, "1 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (3_599, "59 min ago"),
            (3_600, "1 h ago"),
            (172_799, "47 h ago"),
            (172_800, "2 days ago"),
            (5_184_000, "2 months ago"),
            (63_072_000, "2 years ago"),
            (-1, "in 1 s"),
            (-720, "in 12 min"),
        ] {
            let time = now - SignedDuration::from_secs(seconds);
            let exact = false;
            assert_eq!(When { time, now, exact }.to_string(), shown);
        }
    }

    #[test]
    fn the_time_itself_is_that_of_this_machine() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let time = now - SignedDuration::from_mins(3);
        let exact = true;
        let shown = When { time, now, exact }.to_string();
        let local = time.to_zoned(TimeZone::system());
        let local = local.strftime("%Y-%m-%d %H:%M:%S %:z");
        assert_eq!(shown, format!("{local} (3 min ago)"));
    }
}
