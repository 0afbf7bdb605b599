//! A server that answers with the input.

use std::io::{Cursor, Read};

use hyper_sync::source::git::Connection;
use hyper_sync::source::{Error, Traffic};

/// A server that answers with what it was given, whatever the request.
pub struct Script {
    answers: std::vec::IntoIter<Vec<u8>>,
    filters: Option<bool>,
}

impl Script {
    /// Takes one answer for each request; after the last one answers are empty.
    pub fn new(answers: Vec<Vec<u8>>, filters: Option<bool>) -> Self {
        Self {
            answers: answers.into_iter(),
            filters,
        }
    }
}

impl Connection for Script {
    fn describe(&self) -> String {
        "the fuzzer".to_owned()
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    fn filters(&mut self) -> Result<Option<bool>, Error> {
        Ok(self.filters)
    }

    fn command(&mut self, _: &[u8]) -> Result<Box<dyn Read + '_>, Error> {
        let answer = self.answers.next().unwrap_or_default();
        Ok(Box::new(Cursor::new(answer)))
    }

    fn reset(&mut self) -> Option<Error> {
        None
    }
}

/// Turns the lines of an input into the bytes of an answer, so that a mutation does not have to guess the length of a
/// packet.
///
/// By its first letter, a line is `=` a packet with a line feed, `-` one without, `0`, `1` or `2` a flush, a delimiter
/// or the end of the response, `*`, `~` or `!` a packet of side band 1, 2 or 3, `@` the name of one of `packs` in side
/// band 1, `%` the hexadecimal bytes of a packet. Any other line is sent as it is.
pub fn answer(text: &[u8], packs: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    fn packet(answer: &mut Vec<u8>, parts: &[&[u8]]) {
        let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
        answer.extend_from_slice(format!("{:04x}", length & 0xffff).as_bytes());
        answer.extend(parts.concat());
    }
    let mut answer = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        let (first, rest) = line.split_at(line.len().min(1));
        match first {
            b"=" => packet(&mut answer, &[rest, b"\n"]),
            b"-" => packet(&mut answer, &[rest]),
            b"0" | b"1" | b"2" if rest.is_empty() => answer.extend([b"000", first].concat()),
            b"*" => packet(&mut answer, &[b"\x01", rest]),
            b"~" => packet(&mut answer, &[b"\x02", rest]),
            b"!" => packet(&mut answer, &[b"\x03", rest]),
            b"@" => {
                let named = packs.iter().find(|(name, _)| *name == rest);
                for chunk in named.iter().flat_map(|(_, pack)| pack.chunks(999)) {
                    packet(&mut answer, &[b"\x01", chunk]);
                }
            }
            b"%" => {
                let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(rest);
                packet(&mut answer, &[&bytes.unwrap_or_default()]);
            }
            _ => answer.extend_from_slice(line),
        }
    }
    answer
}
