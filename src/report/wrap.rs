//! Text for a terminal, wrapped to its width between words.
//!
//! What is quoted in backticks stays in one piece: a command that is copied from the terminal must not end at a line
//! break. One that is longer than a line stands on a line of its own, from the first column on, where it has the most
//! room; one that is longer than the terminal is left to that, which knows that it is one line.

pub(super) use textwrap::core::display_width;

/// A terminal with fewer columns is left to wrap by itself.
const LEAST: usize = 20;

/// A text of lines after a label, continued below its first word. Its other lines keep their indentation.
///
/// `width` in columns; `None`: nothing is wrapped. Each line has its line break.
pub(super) fn labelled(label: &str, text: &str, width: Option<usize>) -> String {
    let mut wrapped = String::new();
    for (number, line) in text.lines().enumerate() {
        if number == 0 {
            let rest = " ".repeat(display_width(label) + 1);
            wrapped += &fill(
                &format!("{label} "),
                &rest,
                line.trim_start_matches(' '),
                width,
            );
        } else {
            wrapped += &hanging(line, 2, width);
        }
    }
    wrapped
}

/// A text of lines that keep their indentation; each is continued so many columns further to the right.
pub(super) fn hanging(text: &str, further: usize, width: Option<usize>) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        let words = line.trim_start_matches(' ');
        let first = " ".repeat(line.len() - words.len());
        let rest = " ".repeat(first.len() + further);
        wrapped += &fill(&first, &rest, words, width);
    }
    wrapped
}

/// A line that begins with `first`, and its continuations, which begin with `rest`.
fn fill(first: &str, rest: &str, line: &str, width: Option<usize>) -> String {
    let width = width.filter(|width| *width >= LEAST);
    let mut filled = String::new();
    let mut current = first.to_owned();
    let mut is_begun = false;
    let end = |line: &mut String, filled: &mut String| {
        filled.push_str(line.trim_end());
        filled.push('\n');
        line.clear();
    };
    for word in words(line) {
        let taken = display_width(word.trim_end());
        let fits = |before: &str| width.is_none_or(|width| display_width(before) + taken <= width);
        if is_begun && !fits(&current) {
            end(&mut current, &mut filled);
            current.push_str(rest);
            is_begun = false;
        }
        let is_quoted = word.contains('`') && word.trim_end().contains(' ');
        if !is_begun && is_quoted && !fits(&current) {
            if !current.trim().is_empty() {
                end(&mut current, &mut filled);
            }
            word.trim_end().clone_into(&mut current);
            end(&mut current, &mut filled);
            current.push_str(rest);
            continue;
        }
        current.push_str(word);
        is_begun = true;
    }
    if is_begun || filled.is_empty() {
        end(&mut current, &mut filled);
    }
    filled
}

/// The words of a line, each with the spaces after it. A number and what it counts are one word.
fn words(line: &str) -> impl Iterator<Item = &str> {
    // An odd one is not a quote.
    let has_quotes = line.matches('`').count().is_multiple_of(2);
    let mut is_quoted = false;
    let mut after_space = false;
    let mut rest = line;
    std::iter::from_fn(move || {
        let is_number = |word: &str| word.trim_end().bytes().all(|byte| byte.is_ascii_digit());
        let end = rest.char_indices().find_map(|(at, c)| {
            if after_space && c != ' ' && !is_quoted && !is_number(&rest[..at]) {
                after_space = false;
                return Some(at);
            }
            after_space = c == ' ';
            is_quoted ^= has_quotes && c == '`';
            None
        });
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_longer_than_its_column_has_a_line_of_its_own() {
        let text = "it waits: `hyper-sync rebuild --target /srv/site` does it";
        assert_eq!(
            labelled("rebuild  ", text, Some(40)),
            "rebuild   it waits:\n`hyper-sync rebuild --target /srv/site`\n          does it\n"
        );
        assert_eq!(
            labelled("rebuild  ", text, Some(50)),
            "rebuild   it waits:\n          `hyper-sync rebuild --target /srv/site`\n          does it\n"
        );
        let text = "`hyper-sync rebuild --target /srv/site` does it";
        assert_eq!(
            labelled("help:", text, Some(40)),
            "help:\n`hyper-sync rebuild --target /srv/site`\n      does it\n"
        );
        // The terminal itself breaks a longer one, and knows that it is one line.
        assert_eq!(
            hanging(text, 2, Some(30)),
            "`hyper-sync rebuild --target /srv/site`\n  does it\n"
        );
    }

    #[test]
    fn a_line_that_fits_is_not_changed() {
        assert_eq!(
            hanging("it was changed 12 min ago", 2, Some(20)),
            "it was changed\n  12 min ago\n"
        );
        for line in ["  a  b", "    + a/long/path.nix", "an odd ` quote"] {
            assert_eq!(hanging(line, 2, Some(80)), format!("{line}\n"));
            assert_eq!(hanging(line, 2, None), format!("{line}\n"));
        }
        assert_eq!(
            hanging("  one two three four", 2, Some(20)),
            "  one two three four\n"
        );
        assert_eq!(
            hanging("  one two three fourth", 2, Some(20)),
            "  one two three\n    fourth\n"
        );
    }
}
