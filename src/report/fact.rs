//! A fact in a line: its name, and its value beside it.

use super::styled::{Style, Styled};
use super::wrap;

/// The columns of a name.
const NAME: usize = 9;

/// A fact: its name in a column of its own, and its value beside it.
///
/// Where the `columns` of a terminal are known, a longer value is wrapped between words and continued in its own column.
/// An empty name continues the fact before it.
#[must_use]
pub fn fact(name: &str, style: Style, value: impl Into<Styled>, columns: Option<usize>) -> Styled {
    let value = value.into();
    let mut wrapped = String::new();
    for (number, line) in value.text().lines().enumerate() {
        let name = if number == 0 { name } else { "" };
        wrapped += &wrap::labelled(&format!("{name:<NAME$}"), line, columns);
    }
    Styled::new(style, name).with_layout(value, &wrapped[name.len().min(wrapped.len())..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(columns: Option<usize>) -> Styled {
        let commit =
            Styled::new(Style::Id, "1111111111").plain(" nginx: a site with a long subject");
        fact("running", Style::Dim, commit, columns)
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
            fact("FAILING", Style::Bad, "one\ntwo", None).text(),
            "FAILING   one\n          two\n"
        );
    }

    #[test]
    fn the_pieces_of_a_value_keep_their_styles() {
        let line = "\u{1b}[2mrunning\u{1b}[0m   \u{1b}[33m1111111111\u{1b}[0m nginx: a\n";
        let painted = running(Some(32)).render(true, &super::super::RepeatedOptions::default());
        assert!(painted.starts_with(line), "{painted:?}");
        assert_eq!(painted.matches('\u{1b}').count(), 4, "{painted:?}");
    }
}
