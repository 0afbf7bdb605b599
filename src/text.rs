//! Makes text from a remote, another program or a file safe to print.
//!
//! Such text may hold a secret that was echoed, escape sequences for a terminal, characters that hide or reorder what
//! is read, bytes that are not text, and any amount of them. The rules, for every output (stderr, stdout, JSON,
//! the journal, metrics):
//!
//! - **Words and names** in a message or a field for people pass [`words`], [`name`] or [`path`] where they enter it:
//!   secrets masked, one line, only printable characters, at most [`WORDS_MAX`] of them. Bytes that are not UTF-8 are
//!   shown as `\xE9`, other characters as `\u{202e}`.
//! - **What a program acts on** stays exact in JSON: paths of a tree, which the path rules have accepted, and
//!   differences between files. JSON's own escapes (`\u202e`) keep them from a terminal ([`json`]).
//! - **Every sink** (`report`, the events on stderr, the output of child processes) masks and escapes once more, so
//!   that a place that was forgotten shows no secret and reaches no terminal raw ([`message`], [`lines`], [`Lines`]).
//!
//! All are idempotent: text that has passed one of them passes it again unchanged. For that a backslash is not escaped,
//! and so somebody may write `\u{1b}` and be shown the same as if they had sent the character.
//!
//! Limits: a secret is known when it was given to [`keep_secret`], or by its form: the beginnings of the tokens of the
//! usual forges, and logins and signatures in addresses. One that comes re-encoded in another way is not recognised.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serializer;
use unicode_normalization::char::is_combining_mark;

mod age;
mod amount;
mod lines;
mod nearest;
mod secrets;
mod unicode;

pub use age::{Length, When};
pub use amount::Amount;
pub use lines::Lines;
pub use nearest::Nearest;
pub use secrets::keep_secret;
pub(crate) use secrets::{SECRETS, TOKENS};
pub use unicode::{code_point, is_blank, is_invisible};

/// The most characters of text from others in a message.
pub const WORDS_MAX: usize = 300;
/// The most characters of a message of our own, with all the words in it.
pub const MESSAGE_MAX: usize = 8000;
/// The most characters of a path, escapes included; `PATH_MAX` of Linux is 4096 bytes.
const PATH_MAX: usize = 4096;
/// The most bytes that are inspected of what is cut: far more than is shown, for a mask is shorter than its secret.
const READ_MAX: usize = 64 << 10;

/// Words of a remote, a program or a file, in one line: for a message, or for a field that people read.
#[must_use]
pub fn words(text: impl AsRef<[u8]>) -> String {
    first_words(text, WORDS_MAX)
}

/// [`words`] for a field of JSON (`serde`'s `serialize_with`).
pub fn as_words<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&words(text))
}

/// As [`words`], at most `max` characters: for content that is not a message and only shows what kind of response came.
#[must_use]
pub fn first_words(text: impl AsRef<[u8]>, max: usize) -> String {
    line(text.as_ref().trim_ascii(), max, &|c| !is_printable(c))
}

/// A name that was refused or is not ours: as [`words`], and with every gap that is not a space escaped.
#[must_use]
pub fn name(name: impl AsRef<[u8]>) -> String {
    line(name.as_ref(), WORDS_MAX, &|c| {
        !is_printable(c) || is_blank(c)
    })
}

/// A path on this machine, to be acted on: as [`name`], and whole.
#[must_use]
pub fn path(path: impl AsRef<Path>) -> String {
    let bytes = path.as_ref().as_os_str().as_encoded_bytes();
    line(bytes, PATH_MAX, &|c| !is_printable(c) || is_blank(c))
}

/// The text of bytes, those that are not UTF-8 written as `\xE9`: to be searched, and shown by one of the others.
#[must_use]
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")));
    }
    text.into()
}

/// A message of this program, with the text of others in it: masked, escaped and cut; its lines and tabs stay.
#[must_use]
pub fn message(text: &str) -> String {
    line(text.as_bytes(), MESSAGE_MAX, &|c| {
        !is_layout(c) && !is_printable(c)
    })
}

/// A text of many lines for people: masked and escaped, not cut; its lines and tabs stay.
#[must_use]
pub fn lines(text: &str) -> String {
    escape(&secrets::mask(text)).into_owned()
}

/// Text with everything that could deceive a terminal or a reader written as an escape; its lines and tabs stay.
///
/// For the content of files: nothing is masked and nothing cut.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    let deceives = |c: char| !is_layout(c) && !is_printable(c);
    if !text.contains(deceives) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if deceives(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped.into()
}

/// JSON with nothing in it that a terminal acts on: the same values, such characters as escapes of JSON itself. Known
/// secrets are masked.
#[must_use]
pub fn json(document: &str) -> String {
    let document = secrets::mask_known(document);
    let mut text = String::with_capacity(document.len());
    for c in document.chars() {
        // Beyond ASCII and DEL, nothing stands outside of strings.
        if is_layout(c) || is_printable(c) || c == '\u{fffd}' {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

/// An error and what caused it, in one line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        // Wrappers repeat what they wrap.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    text
}

/// A message of several lines in one: after a colon its list, else the next sentence.
#[must_use]
pub fn one_line(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for line in message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        if !text.is_empty() {
            text.push_str(if text.ends_with([':', ';', ',']) {
                " "
            } else {
                "; "
            });
        }
        text.push_str(line);
    }
    text
}

/// Text as one word of a shell's command line.
#[must_use]
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "._/-+:@%=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''")).into()
}

/// Two names that are alike, in quotes, each with the characters that make the difference by their code points.
#[must_use]
pub fn twins(one: &str, other: &str) -> String {
    let common = |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    let before = common(&mut one.chars(), &mut other.chars());
    let after = common(&mut one.chars().rev(), &mut other.chars().rev());
    let shown = |text: &str| {
        let length = text.chars().count();
        let differs = before..length.saturating_sub(after).max(before);
        let mut shown = String::new();
        for (at, c) in text.chars().enumerate() {
            // A combining mark without a base would be drawn on the character before it.
            if !c.is_ascii() && (differs.contains(&at) || is_combining_mark(c)) {
                shown.extend(c.escape_unicode());
            } else {
                shown.push(c);
            }
        }
        name(shown)
    };
    format!("`{}` and `{}`", shown(one), shown(other))
}

/// Whether a character may be printed as it is, within a line.
#[must_use]
pub fn is_printable(c: char) -> bool {
    !c.is_control() && !is_invisible(c) && c != '\u{fffd}'
}

fn is_layout(c: char) -> bool {
    matches!(c, '\n' | '\t')
}

/// Masked, escaped where `deceives` says so, and cut to `max` characters.
fn line(text: &[u8], max: usize, deceives: &dyn Fn(char) -> bool) -> String {
    let text = &text[..text.len().min(READ_MAX)];
    let mut cut = Cut::new(max);
    for chunk in text.utf8_chunks() {
        for c in secrets::mask(chunk.valid()).chars() {
            // It would be drawn on the quote before it.
            let combines = cut.text.is_empty() && is_combining_mark(c);
            let fits = if combines || deceives(c) {
                cut.push(&c.escape_default().to_string())
            } else {
                cut.push(c.encode_utf8(&mut [0; 4]))
            };
            if !fits {
                return cut.text;
            }
        }
        for byte in chunk.invalid() {
            if !cut.push(&format!("\\x{byte:02X}")) {
                return cut.text;
            }
        }
    }
    cut.text
}

/// Text of a bounded number of characters, ending with `…` where there would be more.
struct Cut {
    text: String,
    characters: usize,
    max: usize,
    /// Bytes after which the ellipsis has a place.
    room: usize,
}

impl Cut {
    fn new(max: usize) -> Self {
        Self {
            text: String::new(),
            characters: 0,
            max,
            room: 0,
        }
    }

    /// Adds a character or an escape, which is not torn apart. Whether it had a place.
    fn push(&mut self, unit: &str) -> bool {
        let characters = self.characters + unit.chars().count();
        if characters > self.max {
            self.text.truncate(self.room);
            self.text.push('…');
            return false;
        }
        self.text.push_str(unit);
        self.characters = characters;
        if characters < self.max {
            self.room = self.text.len();
        }
        true
    }
}

/// How many items are listed before the rest is counted.
pub const LISTED: usize = 20;

/// The first items, and the count of the others in words: `and 3 more`.
///
/// A single item more than `listed` is listed, because the words would take as much space.
#[must_use]
pub fn first<T>(things: impl IntoIterator<Item = T>, listed: usize) -> (Vec<T>, Option<String>) {
    let mut things: Vec<T> = things.into_iter().collect();
    if things.len() <= listed.saturating_add(1) {
        return (things, None);
    }
    let more = things.len() - listed;
    things.truncate(listed);
    (things, Some(format!("and {more} more")))
}

/// A list on one line.
#[must_use]
pub fn list<T: AsRef<str>>(shown: impl IntoIterator<Item = T>) -> String {
    let (shown, more) = first(shown, LISTED);
    let names: Vec<&str> = shown.iter().map(AsRef::as_ref).collect();
    let text = names.join(", ");
    match more {
        None => text,
        Some(more) => format!("{text} {more}"),
    }
}

#[cfg(test)]
mod tests;
