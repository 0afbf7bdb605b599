//! Text for a terminal, wrapped to its width between words.
//!
//! What is quoted in backticks stays in one piece: a command that is copied from the terminal must not end at a line
//! break. One that is longer than a line is left to the terminal, which knows that it is one line.

use textwrap::core::Word;
pub(super) use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter};

/// A terminal with fewer columns is left to wrap by itself.
const LEAST: usize = 20;

/// A text of lines after a label, continued below its first word. Its other lines keep their indentation.
///
/// `width` in columns; `None`: nothing is wrapped. Each line has its line break.
pub(super) fn labelled(label: &str, text: &str, width: Option<usize>) -> String {
    let mut wrapped = String::new();
    for (number, line) in text.lines().enumerate() {
        let (first, rest) = if number == 0 {
            (format!("{label} "), " ".repeat(display_width(label) + 1))
        } else {
            let indentation = " ".repeat(line.len() - line.trim_start_matches(' ').len());
            let rest = format!("{indentation}  ");
            (indentation, rest)
        };
        let line = line.trim_start_matches(' ');
        let Some(width) = width.filter(|width| *width >= LEAST) else {
            wrapped += format!("{first}{line}").trim_end();
            wrapped.push('\n');
            continue;
        };
        let options = Options::new(width)
            .initial_indent(&first)
            .subsequent_indent(&rest)
            .word_separator(WordSeparator::Custom(words))
            .word_splitter(WordSplitter::NoHyphenation)
            .break_words(false);
        for line in textwrap::wrap(line, options) {
            wrapped += line.trim_end();
            wrapped.push('\n');
        }
    }
    wrapped
}

/// The words of a line, each with the spaces after it.
fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    // An odd one is not a quote.
    let has_quotes = line.matches('`').count().is_multiple_of(2);
    let mut is_quoted = false;
    let mut after_space = false;
    let mut rest = line;
    Box::new(std::iter::from_fn(move || {
        let end = rest.char_indices().find_map(|(at, c)| {
            if after_space && c != ' ' && !is_quoted {
                after_space = false;
                return Some(at);
            }
            after_space = c == ' ';
            is_quoted ^= has_quotes && c == '`';
            None
        });
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        (!word.is_empty()).then(|| Word::from(word))
    }))
}
