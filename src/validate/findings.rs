//! What a check finds while it runs.

use super::{Check, CheckStatus, Detail, FilePosition, Outcome, Severity};
use crate::text::{LISTED, first, message};

/// Collects lines and hints.
#[derive(Debug)]
pub(super) struct Findings {
    severity: Severity,
    details: Vec<Detail>,
    hints: Vec<String>,
}

impl Findings {
    pub(super) fn new(severity: Severity) -> Self {
        Self {
            severity,
            details: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// There is nothing to check, or no way to.
    pub(super) fn skip(&mut self, why: impl Into<String>) {
        self.add(CheckStatus::Skipped, &why.into());
    }

    /// As it should be.
    pub(super) fn pass(&mut self, text: impl Into<String>) {
        self.add(CheckStatus::Passed, &text.into());
    }

    /// Something to know, whatever the check's severity.
    pub(super) fn warn(&mut self, text: impl Into<String>, hint: impl Into<String>) {
        self.add(CheckStatus::Warned, &text.into());
        self.hint(&hint.into());
    }

    /// What the check is there to find, as bad as its severity says.
    pub(super) fn fault(&mut self, text: impl Into<String>, hint: impl Into<String>) {
        self.add(self.worst(), &text.into());
        self.hint(&hint.into());
    }

    /// A fault, or a warning, with its place in a file.
    pub(super) fn place(
        &mut self,
        is_fault: bool,
        text: impl Into<String>,
        place: FilePosition,
        hint: impl Into<String>,
    ) {
        let status = if is_fault {
            self.worst()
        } else {
            CheckStatus::Warned
        };
        self.details.push(Detail {
            status,
            text: message(&text.into()),
            place: Some(place),
        });
        self.hint(&hint.into());
    }

    /// A warning, or a fault, about each of several things; of very many, only some are listed.
    pub(super) fn each<T>(
        &mut self,
        is_fault: bool,
        things: &[T],
        text: impl Fn(&T) -> String,
        hint: &str,
    ) {
        let status = if is_fault {
            self.worst()
        } else {
            CheckStatus::Warned
        };
        let (named, more) = first(things, LISTED);
        for line in named.into_iter().map(text).chain(more) {
            self.add(status, &line);
        }
        if !things.is_empty() {
            self.hint(hint);
        }
    }

    /// Whether anything was found that is not as it should be.
    pub(super) fn is_clean(&self) -> bool {
        self.details
            .iter()
            .all(|detail| detail.status <= CheckStatus::Passed)
    }

    pub(super) fn into_outcome(self, check: &Check) -> Outcome {
        let status = self.details.iter().map(|detail| detail.status).max();
        Outcome {
            id: check.id,
            title: check.title,
            severity: check.severity,
            status: status.unwrap_or(CheckStatus::Passed),
            details: self.details,
            hints: self.hints,
        }
    }

    fn worst(&self) -> CheckStatus {
        match self.severity {
            Severity::Warning => CheckStatus::Warned,
            Severity::Critical => CheckStatus::Failed,
        }
    }

    fn add(&mut self, status: CheckStatus, text: &str) {
        self.details.push(Detail {
            status,
            text: message(text),
            place: None,
        });
    }

    fn hint(&mut self, hint: &str) {
        let hint = message(hint);
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
    }
}
