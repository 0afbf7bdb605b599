//! Renders a validation as text.

use std::fmt::Write as _;

use super::styled::{Style, Styled};
use super::{Layout, Report, Verbosity, paragraphs};
use crate::text;
use crate::validate::{CheckStatus, Detail, FilePosition, Outcome, Validation};

/// The columns of the word that each check begins with.
const WORD: usize = 9;
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
    let layout = report.layout();
    let mut text = Styled::default();
    let checks = validation.checks().iter();
    for check in checks.filter(|check| check.status >= least) {
        let word = word(check.status);
        let gap = " ".repeat(WORD - word.len());
        let first = Styled::new(style(check.status), word).plain(gap);
        match check.details.as_slice() {
            [why] if check.status == CheckStatus::Skipped => {
                let line = first.plain(format!("{}: {}", check.title, why.text));
                text.push(paragraphs(line, WORD, &layout));
            }
            _ => {
                text.push(paragraphs(first.plain(check.title), WORD, &layout));
                about(&mut text, check, report.verbosity(), &layout);
            }
        }
    }
    if report.verbosity() >= Verbosity::Normal {
        text.push("\n");
        text.push(paragraphs(summary(validation), 2, &layout));
    }
    report.result(text);
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

fn about(text: &mut Styled, check: &Outcome, verbosity: Verbosity, layout: &Layout) {
    let least = match verbosity {
        Verbosity::Quiet | Verbosity::Normal => CheckStatus::Warned,
        Verbosity::Verbose => CheckStatus::Skipped,
    };
    let details = check.details.iter();
    for detail in details.filter(|detail| detail.status >= least) {
        let line = format!("{:WORD$}{}", "", located(detail));
        text.push(paragraphs(line, 2, layout));
        if let Some(place) = &detail.place {
            text.push(excerpt(place));
        }
    }
    for hint in &check.hints {
        const LABEL: &str = "help: ";
        let line = format!("{:WORD$}{LABEL}{hint}", "");
        text.push(paragraphs(line, LABEL.len(), layout));
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
fn excerpt(place: &FilePosition) -> String {
    let mut text = String::new();
    let Some(line) = place.source.lines().nth(place.position.line - 1) else {
        return text;
    };
    let line = line.replace('\t', " ");
    let before = place.position.column - 1;
    let rest = line.chars().count().saturating_sub(before);
    let marked = place
        .source
        .get(place.span.clone())
        .map_or(1, |span| span.chars().count());
    if before >= LINE_MAX {
        return text;
    }
    let line: String = line.chars().take(LINE_MAX).collect();
    let number = place.position.line;
    let marks = "^".repeat(marked.clamp(1, rest.max(1)).min(LINE_MAX - before));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:WORD$}{number:>5} | {line}", "");
    let _ = writeln!(
        text,
        "{:WORD$}{:>5} | {}{marks}",
        "",
        "",
        " ".repeat(before)
    );
    text
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

fn style(status: CheckStatus) -> Style {
    match status {
        CheckStatus::Skipped => Style::Dim,
        CheckStatus::Passed => Style::Good,
        CheckStatus::Warned => Style::Warning,
        CheckStatus::Failed => Style::Bad,
    }
}
