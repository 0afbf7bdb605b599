//! An error as it is printed: every text of it fit to print, for the terminal and for JSON alike.
//!
//! ```text
//! error: what is wrong
//!   caused by: the cause
//!   2 | ref = main
//!     |       ^^^^ here
//! help: what to do, and what state things are in
//! [settings::syntax]
//! ```
//!
//! On a terminal the text is wrapped to its width ([`super::wrap`]).

use std::iter::successors;

use miette::{Diagnostic, LabeledSpan, SourceCode};
use serde_json::{Value, json};

use super::RepeatedOptions;
use super::wrap::{self, display_width};
use crate::exit::Exit;
use crate::text::message;

/// What all codes begin with; on the terminal it is left out.
const CODES: &str = "hyper_sync::";

/// What is printed of an error.
pub(super) struct ErrorReport {
    message: String,
    causes: Vec<String>,
    snippet: Option<Snippet>,
    help: Option<String>,
    code: Option<String>,
    related: Vec<Self>,
}

/// How it is printed for a person.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) color: bool,
    /// Columns of the terminal; `None`: nothing is wrapped.
    pub(super) width: Option<usize>,
}

impl ErrorReport {
    /// With the options of the run in its commands.
    pub(super) fn of(error: &dyn Diagnostic, repeated: &RepeatedOptions) -> Self {
        let text = |text: String| message(&repeated.in_text(&text));
        Self {
            message: text(error.to_string()),
            causes: successors(error.source(), |cause| cause.source())
                .map(|cause| message(&cause.to_string()))
                .collect(),
            snippet: Snippet::of(error),
            help: error.help().map(|help| text(help.to_string())),
            code: error.code().map(|code| code.to_string()),
            related: error
                .related()
                .into_iter()
                .flatten()
                .map(|related| Self::of(related, repeated))
                .collect(),
        }
    }

    /// Without the words that nothing was written.
    pub(super) fn leave_out_writing(&mut self) {
        const WORDS: &str = "nothing was written";
        let help = self.help.take().map(|help| {
            let parts = help.split("; ").filter(|part| *part != WORDS);
            parts.collect::<Vec<_>>().join("; ")
        });
        self.help = help.filter(|help| !help.is_empty());
        for related in &mut self.related {
            related.leave_out_writing();
        }
    }

    pub(super) fn json(&self, exit: Exit) -> Value {
        json!({
            "code": self.code,
            "message": self.message,
            "causes": self.causes,
            "help": self.help,
            "related": self.related.iter().map(|related| related.json(exit)).collect::<Vec<_>>(),
            "exit": exit.code(),
        })
    }

    /// For a person: lines, each with its line break.
    pub(super) fn text(&self, style: Style) -> String {
        let mut text = wrap::labelled(&style.bold(RED, "error:"), &self.message, style.width);
        for cause in &self.causes {
            text += &wrap::labelled("  caused by:", cause, style.width);
        }
        if let Some(snippet) = &self.snippet {
            text += &snippet.text(style);
        }
        if let Some(help) = &self.help {
            text += &wrap::labelled(&style.bold(CYAN, "help:"), help, style.width);
        }
        if let Some(code) = &self.code {
            let code = code.strip_prefix(CODES).unwrap_or(code);
            text += &style.painted("2", &format!("[{code}]"));
            text.push('\n');
        }
        for related in &self.related {
            text.push('\n');
            text += &related.text(style);
        }
        text
    }
}

/// Colours of the terminal (ECMA-48, SGR).
const RED: &str = "31";
const CYAN: &str = "36";

impl Style {
    fn bold(self, color: &str, text: &str) -> String {
        self.painted(&format!("1;{color}"), text)
    }

    fn painted(self, attributes: &str, text: &str) -> String {
        if self.color {
            format!("\u{1b}[{attributes}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Lines of a configuration file, with a mark. The file's text is masked and escaped where it is read.
struct Snippet {
    /// Each with its number.
    lines: Vec<(usize, String)>,
    /// The number of the line that is marked.
    marked: usize,
    /// What is marked in it, in columns.
    mark: std::ops::Range<usize>,
    label: String,
}

impl Snippet {
    /// `None` where the error is not about a place in a file.
    fn of(error: &dyn Diagnostic) -> Option<Self> {
        let label: LabeledSpan = error.labels()?.next()?;
        let source: &dyn SourceCode = error.source_code()?;
        let contents = source.read_span(label.inner(), 1, 1).ok()?;
        let data = std::str::from_utf8(contents.data()).ok()?;
        let from = label.offset().checked_sub(contents.span().offset())?;
        let mut snippet = Self {
            lines: Vec::new(),
            marked: 0,
            mark: 0..0,
            label: message(label.label().unwrap_or_default()),
        };
        let mut begin = 0;
        for (number, line) in (contents.line() + 1..).zip(data.split_inclusive('\n')) {
            let end = begin + line.len();
            let shown = |text: &str| text.trim_end_matches(['\n', '\r']).replace('\t', "    ");
            if (begin..end).contains(&from) || (from == end && end == data.len()) {
                let columns = |to: usize| display_width(&shown(line.get(..to).unwrap_or(line)));
                let start = columns(from - begin);
                let to = columns((from + label.len() - begin).min(line.len()));
                (snippet.marked, snippet.mark) = (number, start..to.max(start + 1));
            }
            snippet.lines.push((number, shown(line)));
            begin = end;
        }
        (snippet.marked > 0).then_some(snippet)
    }

    fn text(&self, style: Style) -> String {
        let last = self.lines.last().map_or(0, |(number, _)| *number);
        let digits = last.to_string().len();
        let mut text = String::new();
        for (number, line) in &self.lines {
            text += &style.painted("2", &format!("  {number:digits$} |"));
            text += format!(" {line}").trim_end();
            text.push('\n');
            if *number == self.marked {
                let mark = "^".repeat(self.mark.len());
                text += &style.painted("2", &format!("  {:digits$} |", ""));
                text += &" ".repeat(self.mark.start + 1);
                text += &style.bold(RED, format!("{mark} {}", self.label).trim_end());
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use miette::{NamedSource, SourceSpan};

    use super::*;

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("{message}")]
    #[diagnostic(code(test::sample), help("{help}"))]
    struct Sample {
        message: &'static str,
        help: &'static str,
        source: Option<std::fmt::Error>,
    }

    fn text(error: &dyn Diagnostic, width: usize) -> String {
        let style = Style {
            color: false,
            width: Some(width),
        };
        ErrorReport::of(error, &RepeatedOptions::default()).text(style)
    }

    #[test]
    fn it_is_wrapped_to_the_terminal_at_spaces_only() {
        let error = Sample {
            message: "2 files were edited here and are changed by the commit:\n  modules/services/web.nix: edited since the last sync\n  flake.nix: edited",
            help: "put your changes into the repository, or see them: `hyper-sync diff flake.nix` shows one; nothing was written",
            source: Some(std::fmt::Error),
        };
        insta::assert_snapshot!(text(&error, 80), @"
    error: 2 files were edited here and are changed by the commit:
      modules/services/web.nix: edited since the last sync
      flake.nix: edited
      caused by: an error occurred when formatting an argument
    help: put your changes into the repository, or see them:
          `hyper-sync diff flake.nix` shows one; nothing was written
    [test::sample]
    ");
        insta::assert_snapshot!(text(&error, 40), @"
    error: 2 files were edited here and are
           changed by the commit:
      modules/services/web.nix: edited since
        the last sync
      flake.nix: edited
      caused by: an error occurred when
                 formatting an argument
    help: put your changes into the
          repository, or see them:
          `hyper-sync diff flake.nix` shows
          one; nothing was written
    [test::sample]
    ");
        // No word of it is longer.
        for width in 30..140 {
            for line in text(&error, width).lines() {
                // A command is one piece: it can be copied.
                let fits = display_width(line) <= width || line.contains('`');
                assert!(fits, "{width}: {line}");
            }
        }
    }

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("a place")]
    struct Place {
        #[source_code]
        file: NamedSource<String>,
        #[label("here")]
        at: SourceSpan,
    }

    #[test]
    fn a_place_in_a_file_is_marked_below_what_it_is() {
        let file = "one = 1\n\tä = '\u{65e5}' # two\r\nlast = 3";
        for (what, expected) in [
            (
                "one",
                "  1 | one = 1\n    | ^^^ here\n  2 |     ä = '日' # two\n",
            ),
            (
                "'\u{65e5}'",
                "  1 | one = 1\n  2 |     ä = '日' # two\n    |         ^^^^ here\n  3 | last = 3\n",
            ),
            (
                "3",
                "  2 |     ä = '日' # two\n  3 | last = 3\n    |        ^ here\n",
            ),
        ] {
            let at = SourceSpan::from((file.rfind(what).unwrap(), what.len()));
            let file = NamedSource::new("config.toml", file.to_owned());
            let printed = text(&Place { file, at }, 80);
            assert_eq!(printed, format!("error: a place\n{expected}"));
        }
        let at = SourceSpan::from((file.len(), 0));
        let file = NamedSource::new("config.toml", file.to_owned());
        let printed = text(&Place { file, at }, 80);
        assert!(
            printed.ends_with("  3 | last = 3\n    |         ^ here\n"),
            "{printed}"
        );
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let file = NamedSource::new("config.toml", "a = 1".to_owned());
        let at = SourceSpan::from((0, 1));
        let error = Place { file, at };
        let report = ErrorReport::of(&error, &RepeatedOptions::default());
        let printed = |color| report.text(Style { color, width: None });
        let mut colored = printed(true);
        assert!(colored.starts_with("\u{1b}[1;31merror:\u{1b}[0m a place\n"));
        for code in ["\u{1b}[1;31m", "\u{1b}[1;36m", "\u{1b}[2m", "\u{1b}[0m"] {
            colored = colored.replace(code, "");
        }
        assert_eq!(colored, printed(false));
    }
}
