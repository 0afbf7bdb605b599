//! The findings of a running check.

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

    /// Adds that the check was skipped, and why.
    pub(super) fn skip(&mut self, why: impl Into<String>) {
        self.add(CheckStatus::Skipped, &why.into());
    }

    /// Adds a passed line.
    pub(super) fn pass(&mut self, text: impl Into<String>) {
        self.add(CheckStatus::Passed, &text.into());
    }

    /// Adds a warning, whatever the check's severity.
    pub(super) fn warn(&mut self, text: impl Into<String>, hint: impl Into<String>) {
        self.add(CheckStatus::Warned, &text.into());
        self.hint(&hint.into());
    }

    /// Adds a failure with the check's severity.
    pub(super) fn fault(&mut self, text: impl Into<String>, hint: impl Into<String>) {
        self.add(self.worst(), &text.into());
        self.hint(&hint.into());
    }

    /// Adds an error with its help.
    pub(super) fn error(&mut self, error: &(impl miette::Diagnostic + ?Sized)) {
        let help = error.help().map(|help| help.to_string());
        self.fault(error.to_string(), help.unwrap_or_default());
    }

    /// Adds a fault or a warning with its position in a file.
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

    /// Adds a fault or a warning for each thing; of very many, only the first are listed.
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

    /// Whether there are no warnings and no failures.
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
