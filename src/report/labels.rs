//! The label at the beginning of a line on stderr, and its priority in the journal.

use super::styled::Style;
use super::{Verbosity, wrap};

/// The kinds of lines on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// What ended the run.
    Error,
    /// Something is not as it should be.
    Warning,
    /// Something that a reader should know.
    Note,
    /// An answer, or what goes on.
    Message,
    /// What helps to find a mistake.
    Detail,
}

impl Label {
    /// What the line begins with, and its style. An error brings its own.
    fn text(self) -> Option<(&'static str, Style)> {
        match self {
            Self::Warning => Some(("warning:", Style::Warning)),
            Self::Note => Some(("note:", Style::Strong)),
            Self::Error | Self::Message | Self::Detail => None,
        }
    }

    /// From which verbosity on it is printed.
    pub(super) fn least_verbosity(self) -> Verbosity {
        match self {
            Self::Error | Self::Warning => Verbosity::Quiet,
            Self::Note | Self::Message => Verbosity::Normal,
            Self::Detail => Verbosity::Verbose,
        }
    }

    /// Its number of syslog (`sd-daemon(3)`).
    fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Note => 5,
            Self::Message => 6,
            Self::Detail => 7,
        }
    }
}

/// How lines are labelled on this stderr.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Labels {
    /// Whether labels are coloured.
    pub color: bool,
    /// Whether stderr is the journal, which takes the priority from the beginning of each line.
    pub journal: bool,
    /// The columns of the terminal that stderr is, to which texts with a label are wrapped.
    pub width: Option<usize>,
}

impl Labels {
    /// A text as it is written, with its line break.
    #[must_use]
    pub fn line(self, label: Label, text: &str) -> String {
        let text = match label.text() {
            Some((word, style)) => wrap::labelled(&style.paint(word, self.color), text, self.width),
            // It was wrapped with the words that its lines begin with.
            None if label == Label::Error => format!("{text}\n"),
            None => wrap::hanging(text, 2, self.width),
        };
        if !self.journal {
            return text;
        }
        let priority = label.priority();
        // Each line is an entry of its own.
        let lines = text.lines().map(|line| format!("<{priority}>{line}\n"));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_journal_has_the_priority_of_its_label() {
        let journal = Labels {
            journal: true,
            ..Labels::default()
        };
        assert_eq!(
            journal.line(Label::Warning, "a\nb"),
            "<4>warning: a\n<4>b\n"
        );
        assert_eq!(journal.line(Label::Error, "x"), "<3>x\n");
        let plain = Labels::default();
        assert_eq!(plain.line(Label::Warning, "a\nb"), "warning: a\nb\n");
        assert_eq!(plain.line(Label::Detail, "x"), "x\n");
        let color = Labels {
            color: true,
            ..Labels::default()
        };
        assert_eq!(color.line(Label::Note, "x"), "\u{1b}[1mnote:\u{1b}[0m x\n");
    }
}
