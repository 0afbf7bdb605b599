//! The rows of a listing, in as little memory as they need.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::git::Oid;

/// The most entries that GitHub puts into one answer; a listing of more is cut off there, and says so.
const MAX: usize = 100_000;

/// All rows of one answer.
#[derive(Debug)]
pub(in crate::source::github) struct Rows(pub(in crate::source::github) Vec<ListingRow>);

/// One entry.
#[derive(Debug, Deserialize)]
pub(in crate::source::github) struct ListingRow {
    pub(super) path: String,
    pub(super) mode: OctalMode,
    #[serde(rename = "type")]
    pub(super) kind: Type,
    pub(super) sha: Oid,
    pub(super) size: Option<u64>,
}

/// What the API calls the kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    Blob,
    Tree,
    Commit,
}

/// A mode, which the API writes in six octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OctalMode(pub(super) u32);

impl ListingRow {
    /// Whether mode and type say the same.
    pub(super) fn is_consistent(&self) -> bool {
        self.kind
            == match self.mode.0 & 0o170_000 {
                0o040_000 => Type::Tree,
                0o160_000 => Type::Commit,
                _ => Type::Blob,
            }
    }
}

impl<'de> Deserialize<'de> for OctalMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = OctalMode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mode of six octal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<OctalMode, E> {
                let is_mode = text.len() == 6 && text.bytes().all(|digit| digit.is_ascii_digit());
                let mode = is_mode.then(|| u32::from_str_radix(text, 8).ok()).flatten();
                mode.map(OctalMode)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoundedRows;
        impl<'de> Visitor<'de> for BoundedRows {
            type Value = Rows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Rows, A::Error> {
                let mut all = Vec::new();
                while let Some(row) = rows.next_element()? {
                    if all.len() == MAX {
                        return Err(A::Error::invalid_length(MAX + 1, &self));
                    }
                    all.push(row);
                }
                Ok(Rows(all))
            }
        }
        deserializer.deserialize_seq(BoundedRows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"path":"a","mode":"100644","type":"blob","sha":"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391","url":null}"#;

    #[test]
    fn a_row_has_a_mode_of_six_digits_and_a_known_type() {
        let row: ListingRow = serde_json::from_str(ROW).unwrap();
        assert_eq!((row.mode, row.size), (OctalMode(0o100_644), None));
        for (from, to) in [
            ("100644", "0100644"),
            ("100644", "100648"),
            ("100644", "+10064"),
            ("100644", "40000"),
            ("100644", ""),
            ("blob", "symlink"),
        ] {
            assert!(
                serde_json::from_str::<ListingRow>(&ROW.replace(from, to)).is_err(),
                "{to}"
            );
        }
    }

    #[test]
    fn more_rows_than_an_answer_has_are_not_kept() {
        let listing = |rows: usize| format!("[{}]", vec![ROW; rows].join(","));
        let rows: Rows = serde_json::from_str(&listing(MAX)).unwrap();
        assert_eq!(rows.0.len(), MAX);
        assert!(serde_json::from_str::<Rows>(&listing(MAX + 1)).is_err());
    }
}
