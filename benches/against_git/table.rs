//! The results as text.

use std::fmt::Write as _;

use super::contestants::Contestant;

/// What one contestant did in one scenario.
pub struct Row {
    pub who: Contestant,
    /// Of each run.
    pub seconds: Vec<f64>,
    pub down: Vec<f64>,
    pub up: Vec<f64>,
    pub requests: Vec<f64>,
    /// In bytes.
    pub memory: u64,
}

impl Row {
    pub fn new(who: Contestant) -> Self {
        Self {
            who,
            seconds: Vec::new(),
            down: Vec::new(),
            up: Vec::new(),
            requests: Vec::new(),
            memory: 0,
        }
    }
}

/// The head of the columns.
pub fn head() -> String {
    format!(
        "{:<22} {:<18} {:>8} {:>17} {:>9} {:>7} {:>8} {:>8} {:>7} {:>7}",
        "", "", "seconds", "of all runs", "down", "up", "requests", "memory", "time", "bytes"
    )
}

/// One line for each; the ratios say what part of the other's time and bytes the first one took.
pub fn lines(scenario: &str, rows: &[Row]) -> String {
    let mut text = String::new();
    for (place, row) in rows.iter().enumerate() {
        let [time, bytes] = if place == 0 {
            [String::new(), String::new()]
        } else {
            [
                format!("× {:.2}", paired(&rows[0].seconds, &row.seconds)),
                format!("× {:.2}", median(&rows[0].down) / median(&row.down)),
            ]
        };
        let least = row.seconds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = row.seconds.iter().copied().fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "{:<22} {:<18} {:>8.3} {:>17} {:>9} {:>7} {:>8} {:>8} {:>7} {:>7}",
            if place == 0 { scenario } else { "" },
            row.who.name(),
            median(&row.seconds),
            format!("{least:.3} … {most:.3}"),
            size(median(&row.down)),
            size(median(&row.up)),
            median(&row.requests),
            memory(row.memory),
            time,
            bytes,
        );
    }
    text
}

/// Empty where it was not measured: a process that has not executed its program yet is a copy of this one.
fn memory(bytes: u64) -> String {
    match bytes >> 20 {
        0 => String::new(),
        megabytes => format!("{megabytes} MB"),
    }
}

/// The median of the ratios within each round: a machine that is slow for a while is slow for both.
fn paired(first: &[f64], other: &[f64]) -> f64 {
    let ratios: Vec<f64> = first.iter().zip(other).map(|(a, b)| a / b).collect();
    median(&ratios)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

fn size(bytes: f64) -> String {
    if bytes < 10_000.0 {
        format!("{:.1} kB", bytes / 1e3)
    } else if bytes < 1e6 {
        format!("{:.0} kB", bytes / 1e3)
    } else {
        format!("{:.1} MB", bytes / 1e6)
    }
}
