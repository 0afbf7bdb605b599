//! Numbers, sizes and times, as people write them.

use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::{SpanParser, SpanPrinter};
use toml::Spanned;
use toml::de::DeValue;

use super::Problem;
use super::paths::PathBase;
use super::value::{Placed, Value, not_a_value, wrong_type};

/// A number of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

impl Value for Count {
    const TAKES: &'static str = "a whole number, such as `50000`";

    fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
        text.parse()
            .map(Self)
            .map_err(|_| not_a_value::<Self>(text))
    }

    fn show(&self) -> toml::Value {
        whole(self.0)
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Placed> {
        let read = integer(value).map(Self);
        read.ok_or_else(|| (wrong_or_negative::<Self>(value), value.span()))
    }
}

/// A number of bytes: plain, or with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// Units by their lower-case names; decimal and binary ones as in IEC 80000-13.
const UNITS: &[(&str, u64)] = &[
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
    ("", 1),
];

impl Value for Size {
    const TAKES: &'static str = "a size, such as `128 MiB`";

    fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let factor = UNITS.iter().find(|(name, _)| *name == unit);
        let bytes = number
            .parse::<u64>()
            .ok()
            .zip(factor)
            .and_then(|(number, (_, factor))| number.checked_mul(*factor));
        bytes.map(Self).ok_or_else(|| not_a_value::<Self>(text))
    }

    fn show(&self) -> toml::Value {
        let binary = [
            ("TiB", 1_u64 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
        ];
        let whole_unit = binary
            .iter()
            .find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        match whole_unit {
            Some((unit, factor)) => toml::Value::String(format!("{} {unit}", self.0 / factor)),
            None => whole(self.0),
        }
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Placed> {
        let read = match (value.get_ref().as_str(), integer(value)) {
            (Some(text), _) => Self::from_text(text, PathBase::None),
            (None, Some(bytes)) => Ok(Self(bytes)),
            (None, None) => Err(wrong_or_negative::<Self>(value)),
        };
        read.map_err(|problem| (problem, value.span()))
    }
}

/// How long something may take. Never zero: no work fits into it.
impl Value for Duration {
    const TAKES: &'static str = "a time, such as `15min` or `1h 30min`";

    fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
        let seconds = text.parse().map(Self::from_secs).ok();
        let parsed = seconds
            .or_else(|| SpanParser::new().parse_unsigned_duration(text).ok())
            .or_else(|| days(text));
        parsed
            .filter(|duration| !duration.is_zero())
            .ok_or_else(|| not_a_value::<Self>(text))
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(SpanPrinter::new().unsigned_duration_to_string(self))
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Placed> {
        let read = match (value.get_ref().as_str(), integer(value)) {
            (Some(text), _) => Self::from_text(text, PathBase::None),
            (None, Some(seconds)) => Self::from_text(&seconds.to_string(), PathBase::None),
            (None, None) => Err(wrong_or_negative::<Self>(value)),
        };
        read.map_err(|problem| (problem, value.span()))
    }
}

/// Reads how long something may take, as the settings have it.
pub fn duration(text: &str) -> Result<Duration, Problem> {
    Duration::from_text(text, PathBase::None)
}

/// A time with days or weeks in it. A day has 24 hours.
fn days(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text).ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    duration.try_into().ok()
}

/// TOML's integers end at `i64`; a larger one could not have been read from a file either.
fn whole(number: u64) -> toml::Value {
    i64::try_from(number).map_or_else(
        |_| toml::Value::String(number.to_string()),
        toml::Value::Integer,
    )
}

fn wrong_or_negative<T: Value>(value: &Spanned<DeValue<'_>>) -> Problem {
    match value.get_ref().as_integer() {
        Some(integer) => not_a_value::<T>(integer.as_str()),
        None => wrong_type::<T>(value),
    }
}

fn integer(value: &Spanned<DeValue<'_>>) -> Option<u64> {
    let integer = value.get_ref().as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: Value>(text: &str) -> Result<T, Problem> {
        T::from_text(text, PathBase::None)
    }

    #[test]
    fn sizes_have_units() {
        for (given, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("128 MiB", 128 << 20),
            ("1GiB", 1 << 30),
            ("5 gb", 5_000_000_000),
            ("12 B", 12),
        ] {
            assert_eq!(text::<Size>(given).unwrap().0, bytes, "{given}");
        }
        for given in [
            "",
            "MiB",
            "-1",
            "1.5 GiB",
            "1 XB",
            "1 MiB x",
            "99999999 TiB",
        ] {
            assert!(text::<Size>(given).is_err(), "{given}");
        }
    }

    #[test]
    fn times_have_units_and_are_never_zero() {
        for (given, seconds) in [
            ("90", 90),
            ("15min", 900),
            ("1h 30min", 5400),
            ("2 hours", 7200),
            ("45s", 45),
            ("3 days", 3 * 24 * 3600),
            ("1w 1d 1h", (8 * 24 + 1) * 3600),
        ] {
            let duration: Duration = text(given).unwrap();
            assert_eq!(duration.as_secs(), seconds, "{given}");
        }
        for given in [
            "", "0", "0s", "-5s", "5s ago", "-1d", "1d ago", "1 month", "soon", "1 parsec",
        ] {
            assert!(text::<Duration>(given).is_err(), "{given}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_shown_value_reads_the_same(bytes: u64, seconds in 1_u64..1 << 50) {
            let size = Size(bytes).show();
            let shown = size.as_str().map_or_else(|| size.to_string(), str::to_owned);
            assert_eq!(text::<Size>(&shown).unwrap().0, bytes);
            let duration = Duration::from_secs(seconds);
            assert_eq!(text::<Duration>(duration.show().as_str().unwrap()).unwrap(), duration);
        }
    }
}
