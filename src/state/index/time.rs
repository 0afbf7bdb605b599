//! Nanoseconds since 1970, in JSON.
//!
//! `serde_json` reads and writes an `i64` several times as fast as an `i128`, and it holds the years 1678 to 2261. A time
//! beyond them is written all the same; it is read as one near to it, so that its file is hashed again.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// To be written.
pub(super) struct Written(pub(super) i128);

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0) {
            Ok(time) => serializer.serialize_i64(time),
            Err(_) => serializer.serialize_i128(self.0),
        }
    }
}

pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    struct Time;

    impl Visitor<'_> for Time {
        type Value = i128;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("nanoseconds since 1970")
        }

        fn visit_i64<E: Error>(self, time: i64) -> Result<i128, E> {
            Ok(time.into())
        }

        fn visit_u64<E: Error>(self, time: u64) -> Result<i128, E> {
            Ok(time.into())
        }

        #[expect(
            clippy::cast_possible_truncation,
            reason = "a time that no file has will do"
        )]
        fn visit_f64<E: Error>(self, time: f64) -> Result<i128, E> {
            Ok(time as i128)
        }
    }

    deserializer.deserialize_i64(Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(time: i128) -> i128 {
        let json = serde_json::to_string(&Written(time)).unwrap();
        assert_eq!(json, time.to_string());
        read(&mut serde_json::Deserializer::from_str(&json)).unwrap()
    }

    #[test]
    fn a_time_comes_back() {
        for time in [
            0,
            1,
            -1,
            1_700_000_000_123_456_789,
            i64::MIN.into(),
            u64::MAX.into(),
        ] {
            assert_eq!(round_trip(time), time);
        }
    }

    #[test]
    fn a_time_beyond_all_years_comes_back_as_some_other_time() {
        let beyond = i128::from(i64::MAX) * 1_000_000_000 + 7;
        for time in [beyond, -beyond, beyond + 1] {
            assert_ne!(round_trip(time), time);
        }
    }
}
