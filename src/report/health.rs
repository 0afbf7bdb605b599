//! Renders the results of the health checks as text.

use std::fmt::Write as _;

use super::{Report, Verbosity};
use crate::health::{CheckResult, HealthReport};
use crate::text;

/// Tells a person how every check went, on stdout: it is the result. With `--quiet`, only what failed.
pub fn human(report: &mut Report, health: &HealthReport) {
    let is_quiet = report.verbosity() == Verbosity::Quiet;
    let checks = &health.checks;
    let width = checks.iter().map(|check| check.name.len()).max();
    let mut text = String::new();
    for check in checks.iter().filter(|check| !(check.passed && is_quiet)) {
        about(&mut text, check, width.unwrap_or_default());
    }
    if !is_quiet {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&summary(health));
        text.push('\n');
    }
    report.result(&text);
}

fn about(text: &mut String, check: &CheckResult, width: usize) {
    let CheckResult {
        name,
        kind,
        passed,
        tries,
        seconds,
        cause,
        lines,
    } = check;
    let word = if *passed { "passed" } else { "failed" };
    // Writing to a string cannot fail.
    let _ = write!(text, "{word}   {name:width$}  {:7}", kind.to_string());
    if *tries > 1 {
        let _ = write!(text, "  {tries} tries in {seconds} s");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    if let Some(cause) = cause {
        let _ = writeln!(text, "         {}", text::words(cause));
    }
    for line in lines {
        let _ = writeln!(text, "         | {}", text::words(line));
    }
}

fn summary(health: &HealthReport) -> String {
    let all = health.checks.len();
    let passed = health.checks.iter().filter(|check| check.passed).count();
    match all {
        0 => "no health check is set".to_owned(),
        _ => format!("checks: {passed} passed, {} failed", all - passed),
    }
}
