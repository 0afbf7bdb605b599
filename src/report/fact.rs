//! Text in the lines of a terminal: facts, with their names beside them, and paragraphs.

use super::styled::{Style, Styled};
use super::{RepeatedOptions, wrap};

/// How text is laid out.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// The columns of the terminal; `None`: nothing is wrapped.
    pub columns: Option<usize>,
    /// What commands in the text get before it is wrapped, since they are longer then.
    pub repeated: RepeatedOptions,
}

/// The columns of a name.
const NAME: usize = 9;

/// A fact: its name in a column of its own, and its value beside it.
///
/// Where the columns of a terminal are known, a longer value is wrapped between words and continued in its own column.
/// An empty name continues the fact before it.
#[must_use]
pub fn fact(name: &str, style: Style, value: impl Into<Styled>, layout: &Layout) -> Styled {
    let value = value.into().with_options(&layout.repeated);
    let mut wrapped = String::new();
    for (number, line) in value.text().lines().enumerate() {
        let name = if number == 0 { name } else { "" };
        wrapped += &wrap::labelled(&format!("{name:<NAME$}"), line, layout.columns);
    }
    Styled::new(style, name).with_layout(value, &wrapped[name.len().min(wrapped.len())..])
}

/// A text of lines; one that is longer than the terminal is continued `further` columns to the right of where it begins.
#[must_use]
pub fn paragraphs(text: impl Into<Styled>, further: usize, layout: &Layout) -> Styled {
    let text = text.into().with_options(&layout.repeated);
    let wrapped = wrap::hanging(&text.text(), further, layout.columns);
    Styled::default().with_layout(text, &wrapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(columns: Option<usize>) -> Styled {
        let commit =
            Styled::new(Style::Id, "1111111111").plain(" nginx: a site with a long subject");
        fact("running", Style::Dim, commit, &layout(columns))
    }

    fn layout(columns: Option<usize>) -> Layout {
        Layout {
            columns,
            ..Layout::default()
        }
    }

    #[test]
    fn a_long_value_is_continued_in_its_column() {
        assert_eq!(
            running(None).text(),
            "running   1111111111 nginx: a site with a long subject\n"
        );
        assert_eq!(
            running(Some(32)).text(),
            "running   1111111111 nginx: a\n          site with a long\n          subject\n"
        );
        assert_eq!(
            fact("FAILING", Style::Bad, "one\ntwo", &layout(None)).text(),
            "FAILING   one\n          two\n"
        );
    }

    #[test]
    fn the_pieces_of_a_value_keep_their_styles() {
        let line = "\u{1b}[2mrunning\u{1b}[0m   \u{1b}[33m1111111111\u{1b}[0m nginx: a\n";
        let painted = running(Some(32)).render(true, &RepeatedOptions::default());
        assert!(painted.starts_with(line), "{painted:?}");
        assert_eq!(painted.matches('\u{1b}').count(), 4, "{painted:?}");
    }

    #[test]
    fn a_paragraph_is_wrapped_with_its_styles() {
        let text = Styled::new(Style::Strong, "/etc/nixos").plain("  a of\n  b c d e f g h i j k");
        assert_eq!(
            paragraphs(text.clone(), 2, &layout(Some(20))).text(),
            "/etc/nixos  a of\n  b c d e f g h i j\n    k\n"
        );
        let painted = paragraphs(text, 2, &layout(Some(20)));
        let painted = painted.render(true, &RepeatedOptions::default());
        assert!(
            painted.starts_with("\u{1b}[1m/etc/nixos\u{1b}[0m  a of\n"),
            "{painted:?}"
        );
    }
}
