//! Text in pieces that have a style each, which `Report` paints where the stream is coloured.
//!
//! The escape sequences are added after a piece was made fit to print, so that text of others cannot bring its own.
//! Without colour the text is the same.

use textwrap::core::display_width;

use super::RepeatedOptions;
use crate::text;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// Nothing special.
    #[default]
    Plain,
    /// The thing that the text is about.
    Strong,
    /// What matters less.
    Dim,
    /// The id of a commit.
    Id,
    /// What is new.
    Added,
    /// What is changed.
    Changed,
    /// What is deleted.
    Deleted,
    /// What is as it should be.
    Good,
    /// What needs attention.
    Warning,
    /// What failed.
    Bad,
}

impl Style {
    /// The parameters of the escape sequence (ECMA-48, SGR): ids as git prints them, the rest as `git diff --stat` does.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Dim => "2",
            Self::Id => "33",
            Self::Added | Self::Good => "32",
            Self::Changed => "36",
            Self::Deleted => "31",
            Self::Warning => "1;33",
            Self::Bad => "1;31",
        }
    }

    /// The text in this style.
    #[must_use]
    pub fn paint(self, text: &str, color: bool) -> String {
        let code = self.code();
        if color && !code.is_empty() && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Text in pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Styled(Vec<(Style, String)>);

impl Styled {
    /// One piece.
    #[must_use]
    pub fn new(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    /// With another piece at its end.
    #[must_use]
    pub fn with(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// With another piece without a style at its end.
    #[must_use]
    pub fn plain(self, text: impl Into<String>) -> Self {
        self.with(Style::Plain, text)
    }

    /// Adds another text at its end.
    pub fn push(&mut self, other: impl Into<Self>) {
        self.0.extend(other.into().0);
    }

    /// The text without its styles.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// With these options in its commands.
    #[must_use]
    pub(super) fn with_options(self, repeated: &RepeatedOptions) -> Self {
        let pieces = self.0.into_iter();
        Self(
            pieces
                .map(|(style, text)| (style, repeated.in_text(&text).into_owned()))
                .collect(),
        )
    }

    /// With another text at its end, whose spaces and line breaks are those of `layout`: the same words, wrapped.
    #[must_use]
    pub(super) fn with_layout(mut self, other: Self, layout: &str) -> Self {
        let mut rest = layout;
        for (style, text) in other.0 {
            let mut end = 0;
            for c in text.chars().filter(|c| !c.is_whitespace()) {
                end += rest[end..].find(c).map_or(0, |at| at + c.len_utf8());
            }
            let (piece, after) = rest.split_at(end);
            let (space, word) = piece.split_at(piece.len() - piece.trim_start().len());
            self = self.plain(space).with(style, word);
            rest = after;
        }
        self.plain(rest)
    }

    /// The columns that it takes on a terminal, where it is one line.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.0.iter().map(|(_, text)| display_width(text)).sum()
    }

    /// Fit to print, its commands with the options of the run.
    pub(super) fn render(&self, color: bool, repeated: &RepeatedOptions) -> String {
        self.0
            .iter()
            .map(|(style, text)| style.paint(&text::lines(&repeated.in_text(text)), color))
            .collect()
    }
}

impl From<&str> for Styled {
    fn from(text: &str) -> Self {
        Self::new(Style::Plain, text)
    }
}

impl From<String> for Styled {
    fn from(text: String) -> Self {
        Self::new(Style::Plain, text)
    }
}

impl From<&String> for Styled {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

/// The text in at most so many columns, cut at its end where it is longer.
#[must_use]
pub fn cut(text: &str, columns: usize) -> String {
    if display_width(text) <= columns {
        return text.to_owned();
    }
    let mut cut = String::new();
    for c in text.chars() {
        cut.push(c);
        if display_width(&cut) >= columns {
            cut.pop();
            break;
        }
    }
    cut.truncate(cut.trim_end().len());
    cut + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_made_fit_to_print_before_it_is_painted() {
        let text = Styled::new(Style::Id, "5f80624878").plain("  a\u{1b}[31mb");
        let none = RepeatedOptions::default();
        assert_eq!(text.render(false, &none), "5f80624878  a\\u{1b}[31mb");
        assert_eq!(
            text.render(true, &none),
            "\u{1b}[33m5f80624878\u{1b}[0m  a\\u{1b}[31mb"
        );
    }

    #[test]
    fn a_text_is_cut_by_columns() {
        for (text, columns, shown) in [
            ("updates", 7, "updates"),
            ("updates", 6, "updat…"),
            ("a word", 3, "a…"),
            ("漢字漢字", 5, "漢字…"),
            ("漢字漢字", 4, "漢…"),
            ("ab", 1, "…"),
        ] {
            let cut = cut(text, columns);
            assert_eq!(cut, shown);
            assert!(display_width(&cut) <= columns);
        }
    }
}
