//! Renders the results of the health checks as text.

use super::styled::{Style, Styled};
use super::{Layout, Report, Verbosity, paragraphs};
use crate::health::{CheckResult, HealthReport};
use crate::text;

/// Tells a person how every check went, on stdout: it is the result. With `--quiet`, only what failed.
pub fn human(report: &mut Report, health: &HealthReport) {
    let is_quiet = report.verbosity() == Verbosity::Quiet;
    let checks = &health.checks;
    let width = checks.iter().map(|check| check.name.len()).max();
    let layout = report.layout();
    let mut text = Styled::default();
    for check in checks.iter().filter(|check| !(check.passed && is_quiet)) {
        about(&mut text, check, width.unwrap_or_default(), &layout);
    }
    if !is_quiet {
        if !checks.is_empty() {
            text.push("\n");
        }
        text.push(paragraphs(summary(health), 2, &layout));
    }
    report.result(text);
}

/// The columns of the word that each check begins with.
const WORD: usize = 9;

fn about(text: &mut Styled, check: &CheckResult, width: usize, layout: &Layout) {
    let (word, style) = if check.passed {
        ("passed", Style::Good)
    } else {
        ("failed", Style::Bad)
    };
    let gap = " ".repeat(WORD - word.len());
    let kind = check.kind.to_string();
    let tries = match check.tries {
        0 | 1 => String::new(),
        tries => format!("  {tries} tries in {} s", check.seconds),
    };
    let line = format!("{gap}{:width$}  {kind:7}{tries}", check.name);
    let line = Styled::new(style, word).plain(line.trim_end());
    text.push(paragraphs(line, WORD, layout));
    if let Some(cause) = &check.cause {
        let line = format!("{:WORD$}{}", "", text::words(cause));
        text.push(paragraphs(line, 2, layout));
    }
    for line in &check.lines {
        text.push(format!("{:WORD$}| {}\n", "", text::words(line)));
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
