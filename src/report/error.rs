//! An error as it is printed: every text of it fit to print, for the terminal and for JSON alike.

use std::error::Error;
use std::fmt;

use miette::{Diagnostic, LabeledSpan, SourceCode};
use serde_json::{Value, json};

use super::RepeatedOptions;
use crate::exit::Exit;
use crate::text::message;

/// What is printed of an error.
pub(super) struct ErrorReport<'a> {
    error: &'a dyn Diagnostic,
    message: String,
    cause: Option<Box<ErrorCause>>,
    help: Option<String>,
    related: Vec<Self>,
}

/// One cause of it, with its own.
#[derive(Debug)]
struct ErrorCause {
    message: String,
    cause: Option<Box<Self>>,
}

impl<'a> ErrorReport<'a> {
    /// With the options of the run in its commands.
    pub(super) fn of(error: &'a dyn Diagnostic, repeated: &RepeatedOptions) -> Self {
        let text = |text: String| message(&repeated.in_text(&text));
        Self {
            message: text(error.to_string()),
            cause: error.source().map(|cause| Box::new(ErrorCause::of(cause))),
            help: error.help().map(|help| text(help.to_string())),
            related: error
                .related()
                .into_iter()
                .flatten()
                .map(|related| Self::of(related, repeated))
                .collect(),
            error,
        }
    }

    pub(super) fn json(&self, exit: Exit) -> Value {
        let first = self.cause.as_deref();
        let causes = std::iter::successors(first, |cause| cause.cause.as_deref());
        json!({
            "code": self.error.code().map(|code| code.to_string()),
            "message": self.message,
            "causes": causes.map(|cause| &cause.message).collect::<Vec<_>>(),
            "help": self.help,
            "related": self.related.iter().map(|related| related.json(exit)).collect::<Vec<_>>(),
            "exit": exit.code(),
        })
    }
}

impl ErrorCause {
    fn of(error: &dyn Error) -> Self {
        Self {
            message: message(&error.to_string()),
            cause: error.source().map(|cause| Box::new(Self::of(cause))),
        }
    }
}

impl fmt::Display for ErrorCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ErrorCause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &dyn Error)
    }
}

impl fmt::Debug for ErrorReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for ErrorReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ErrorReport<'_> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &dyn Error)
    }
}

impl Diagnostic for ErrorReport<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.error.code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_ref();
        help.map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    /// The text of a configuration file, which is masked and escaped where it was read.
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.error.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.error.labels()?;
        Some(Box::new(labels.map(|label| {
            let text = label.label().map(message);
            LabeledSpan::new_with_span(text, *label.inner())
        })))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let related = self.related.iter();
        (!self.related.is_empty()).then(|| {
            let related = related.map(|related| related as &dyn Diagnostic);
            Box::new(related) as Box<dyn Iterator<Item = &dyn Diagnostic>>
        })
    }
}
