//! The output of a child process, line by line.

use std::mem;

use super::{MESSAGE_MAX, decode, message};

/// The maximum length of a line; the rest of it is dropped.
const LINE_MAX: usize = 4 * MESSAGE_MAX;

/// Collects bytes and returns whole lines in printable form.
#[derive(Debug, Default)]
pub struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// The lines that these bytes complete.
    #[must_use]
    pub fn take(&mut self, bytes: &[u8]) -> String {
        let mut text = String::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let line = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = LINE_MAX.saturating_sub(self.open.len()).min(line.len());
            self.open.extend_from_slice(&line[..room]);
            if piece.len() > line.len() {
                text.push_str(&self.end());
                text.push('\n');
            }
        }
        text
    }

    /// The incomplete last line.
    #[must_use]
    pub fn end(&mut self) -> String {
        let open = mem::take(&mut self.open);
        message(&decode(open.strip_suffix(b"\r").unwrap_or(&open)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_the_bytes_arrive() {
        let bytes = "one\r\ntw\u{1b}[2Jo \u{202e}x\n\nünï".as_bytes();
        for size in 1..bytes.len() {
            let mut lines = Lines::default();
            let shown: String = bytes.chunks(size).map(|piece| lines.take(piece)).collect();
            assert_eq!(shown, "one\ntw\\u{1b}[2Jo \\u{202e}x\n\n", "{size}");
            assert_eq!(lines.end(), "ünï");
        }
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"caf\xe9\n"), "caf\\xE9\n");
    }

    #[test]
    fn an_endless_line_is_bounded() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            assert_eq!(lines.take(&[b'x'; 8192]), "");
        }
        assert!(lines.open.len() <= LINE_MAX);
        assert_eq!(lines.end().chars().count(), MESSAGE_MAX);
    }
}
