//! Amounts as people read them.

use std::fmt;

/// How much there is of something, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Bytes in memory or on a disk: binary units.
    Bytes(u64),
    /// Bytes on a network: decimal units.
    Traffic(u64),
    /// Files, or room for them.
    Files(u64),
    /// Entries of a tree.
    Entries(u64),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bytes(bytes) => scaled(f, bytes, 1024.0, &["KiB", "MiB", "GiB", "TiB"], 2),
            Self::Traffic(bytes) => scaled(f, bytes, 1000.0, &["kB", "MB", "GB"], 1),
            Self::Files(count) => write!(f, "{count} files"),
            Self::Entries(count) => write!(f, "{count} entries"),
        }
    }
}

/// In the largest unit that leaves a number of at least 1, as it is printed.
fn scaled(
    f: &mut fmt::Formatter<'_>,
    bytes: u64,
    base: f64,
    units: &[&str],
    decimals: u8,
) -> fmt::Result {
    #[expect(clippy::cast_precision_loss, reason = "few digits are shown")]
    let mut value = bytes as f64;
    // What rounds to the next unit is shown in it.
    let half = 0.5 * 0.1_f64.powi(decimals.into());
    let mut unit = None;
    for larger in units {
        if value + unit.map_or(0.0, |_| half) < base {
            break;
        }
        value /= base;
        unit = Some(larger);
    }
    match unit {
        None => write!(f, "{bytes} B"),
        Some(unit) => write!(f, "{value:.*} {unit}", usize::from(decimals)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_of_their_size() {
        for (amount, shown) in [
            (Amount::Bytes(0), "0 B"),
            (Amount::Bytes(1023), "1023 B"),
            (Amount::Bytes(1024), "1.00 KiB"),
            (Amount::Bytes(1_000_000), "976.56 KiB"),
            (Amount::Bytes(128 << 20), "128.00 MiB"),
            (Amount::Bytes(5 << 30), "5.00 GiB"),
            (Amount::Bytes(3 << 40), "3.00 TiB"),
            (Amount::Bytes(1 << 50), "1024.00 TiB"),
            (Amount::Traffic(0), "0 B"),
            (Amount::Traffic(999), "999 B"),
            (Amount::Traffic(1000), "1.0 kB"),
            (Amount::Traffic(999_949), "999.9 kB"),
            (Amount::Traffic(999_950), "1.0 MB"),
            (Amount::Traffic(1_500_000), "1.5 MB"),
            (Amount::Traffic(2_000_000_000_000), "2000.0 GB"),
            (Amount::Files(3), "3 files"),
            (Amount::Entries(150_000), "150000 entries"),
        ] {
            assert_eq!(amount.to_string(), shown);
        }
    }
}
