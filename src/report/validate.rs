//! Renders a validation as text.

use std::fmt::Write as _;

use super::{Report, Verbosity};
use crate::text;
use crate::validate::{CheckStatus, Detail, FilePosition, Outcome, Validation};

/// A longer line of a file is cut.
const LINE_MAX: usize = 120;

/// Tells a person what every check found, on stdout: it is the result.
pub fn human(report: &mut Report, validation: &Validation) {
    for repair in validation.repairs() {
        if let Some(error) = &repair.error {
            report.warning(&format!("could not {}: {error}", repair.text));
        }
    }
    let least = match report.verbosity() {
        Verbosity::Quiet => CheckStatus::Warned,
        Verbosity::Normal | Verbosity::Verbose => CheckStatus::Skipped,
    };
    let mut text = String::new();
    for check in validation
        .checks()
        .iter()
        .filter(|check| check.status >= least)
    {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:<9}{}", word(check.status), check.title);
        match check.details.as_slice() {
            [why] if check.status == CheckStatus::Skipped => {
                let _ = writeln!(text, ": {}", why.text);
            }
            _ => {
                text.push('\n');
                about(&mut text, check, report.verbosity());
            }
        }
    }
    if report.verbosity() >= Verbosity::Normal {
        text.push('\n');
        text.push_str(&summary(validation));
        text.push('\n');
    }
    let text = text::lines(&report.with_options(&text));
    let text = if report.color_out() {
        coloured(&text)
    } else {
        text
    };
    report.data(&text);
}

/// Tells on stderr, in a line for each check, what is not as it should be.
pub fn brief(report: &mut Report, validation: &Validation, least: CheckStatus) {
    for check in validation.checks() {
        let details = check.details.iter();
        let mut details = details.filter(|detail| detail.status >= least);
        let Some(first) = details.next() else {
            continue;
        };
        let more = if details.next().is_some() {
            ", and more that `hyper-sync validate` lists"
        } else {
            ""
        };
        report.warning(&format!("{}: {}{more}", check.title, located(first)));
    }
}

/// Tells on stderr all that is not as it should be in a commit.
pub fn of_commit(report: &mut Report, checks: &[Outcome]) {
    let details = checks.iter().flat_map(|check| &check.details);
    let found = details.filter(|detail| detail.status >= CheckStatus::Warned);
    let (named, more) = text::first(found, text::LISTED);
    for detail in named {
        report.warning(&located(detail));
    }
    if let Some(more) = more {
        report.warning(&format!("{more}; `--json` lists them"));
    }
}

fn about(text: &mut String, check: &Outcome, verbosity: Verbosity) {
    let least = match verbosity {
        Verbosity::Quiet | Verbosity::Normal => CheckStatus::Warned,
        Verbosity::Verbose => CheckStatus::Skipped,
    };
    let details = check.details.iter();
    for detail in details.filter(|detail| detail.status >= least) {
        let _ = writeln!(text, "         {}", located(detail));
        if let Some(place) = &detail.place {
            excerpt(text, place);
        }
    }
    for hint in &check.hints {
        let _ = writeln!(text, "         help: {hint}");
    }
}

fn located(detail: &Detail) -> String {
    match &detail.place {
        Some(place) => format!(
            "{}:{}: {}",
            text::path(&place.path),
            place.position,
            detail.text
        ),
        None => detail.text.clone(),
    }
}

/// The line, and marks below what it is about.
fn excerpt(text: &mut String, place: &FilePosition) {
    let Some(line) = place.source.lines().nth(place.position.line - 1) else {
        return;
    };
    let line = line.replace('\t', " ");
    let before = place.position.column - 1;
    let rest = line.chars().count().saturating_sub(before);
    let marked = place
        .source
        .get(place.span.clone())
        .map_or(1, |span| span.chars().count());
    if before >= LINE_MAX {
        return;
    }
    let line: String = line.chars().take(LINE_MAX).collect();
    let number = place.position.line;
    let marks = "^".repeat(marked.clamp(1, rest.max(1)).min(LINE_MAX - before));
    let _ = writeln!(text, "         {number:>5} | {line}");
    let _ = writeln!(text, "         {:>5} | {}{marks}", "", " ".repeat(before));
}

/// How many checks ended how, in one line; what no check ended with is left out.
#[must_use]
pub fn summary(validation: &Validation) -> String {
    let counts = [
        (CheckStatus::Passed, "passed"),
        (CheckStatus::Warned, "with warnings"),
        (CheckStatus::Failed, "failed"),
        (CheckStatus::Skipped, "skipped"),
    ];
    let counts = counts.map(|(status, words)| (validation.count(status), words));
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    format!(
        "{} checks: {}",
        validation.checks().len(),
        counts.join(", ")
    )
}

fn word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Skipped => "skipped",
        CheckStatus::Passed => "passed",
        CheckStatus::Warned => "warning",
        CheckStatus::Failed => "failed",
    }
}

/// With the word at the beginning of each check's line in its colour.
fn coloured(text: &str) -> String {
    let mut coloured = String::with_capacity(text.len() + 256);
    for line in text.split_inclusive('\n') {
        let paint = [
            (CheckStatus::Skipped, "2"),
            (CheckStatus::Passed, "32"),
            (CheckStatus::Warned, "1;33"),
            (CheckStatus::Failed, "1;31"),
        ];
        let painted = paint.into_iter().find_map(|(status, code)| {
            let rest = line
                .strip_prefix(word(status))
                .filter(|rest| rest.starts_with(' '))?;
            Some(format!("\u{1b}[{code}m{}\u{1b}[0m{rest}", word(status)))
        });
        coloured.push_str(painted.as_deref().unwrap_or(line));
    }
    coloured
}
