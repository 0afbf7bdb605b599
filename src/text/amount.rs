//! Amounts as people read them.

use std::fmt;

/// How much there is of something, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Bytes, on a network or on a disk.
    Bytes(u64),
    /// A limit for bytes, as the settings have it.
    Limit(u64),
    /// Files, or room for them.
    Files(u64),
    /// Entries of a tree.
    Entries(u64),
}

/// Units of what is counted.
const UNITS: &[&str] = &["kB", "MB", "GB", "TB"];
/// Units in which limits are usually set.
const BINARY_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bytes(bytes) => scaled(f, bytes),
            Self::Limit(bytes) => {
                let mut units = BINARY_UNITS.iter();
                match units.find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size)) {
                    Some((unit, size)) => write!(f, "{} {unit}", bytes / size),
                    None => scaled(f, bytes),
                }
            }
            Self::Files(count) => write!(f, "{count} files"),
            Self::Entries(count) => write!(f, "{count} entries"),
        }
    }
}

/// In the largest unit that leaves a number of at least 1, as it is printed.
fn scaled(f: &mut fmt::Formatter<'_>, bytes: u64) -> fmt::Result {
    #[expect(clippy::cast_precision_loss, reason = "few digits are shown")]
    let mut value = bytes as f64;
    let mut unit = None;
    for larger in UNITS {
        // What rounds to the next unit is shown in it.
        let rounding = if unit.is_some() { 0.05 } else { 0.0 };
        if value + rounding < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = Some(larger);
    }
    match unit {
        None => write!(f, "{bytes} B"),
        Some(unit) => write!(f, "{value:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_of_their_size() {
        for (amount, shown) in [
            (Amount::Bytes(0), "0 B"),
            (Amount::Bytes(999), "999 B"),
            (Amount::Bytes(1000), "1.0 kB"),
            (Amount::Bytes(999_949), "999.9 kB"),
            (Amount::Bytes(999_950), "1.0 MB"),
            (Amount::Bytes(1_500_000), "1.5 MB"),
            (Amount::Bytes(2_000_000_000_000), "2.0 TB"),
            (Amount::Bytes(1 << 50), "1125.9 TB"),
            (Amount::Limit(0), "0 B"),
            (Amount::Limit(1023), "1.0 kB"),
            (Amount::Limit(1024), "1 KiB"),
            (Amount::Limit(1_000_000), "1.0 MB"),
            (Amount::Limit(128 << 20), "128 MiB"),
            (Amount::Limit(3 << 40), "3 TiB"),
            (Amount::Files(3), "3 files"),
            (Amount::Entries(150_000), "150000 entries"),
        ] {
            assert_eq!(amount.to_string(), shown);
        }
    }
}
