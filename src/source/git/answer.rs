//! Responses of protocol version 2, read as they come and up to a bound: what a server sends beside the pack (progress,
//! keep-alives, sections) counts too.

use std::cell::RefCell;
use std::io::{self, BufRead, ErrorKind, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use gix_packetline::PacketLineRef;
use gix_packetline::blocking_io::StreamingPeekableIter;

use crate::objects::IngestError;
use crate::source::Error;
use crate::text;

use super::connection::Capabilities;
use super::version_0::Advertisement;

/// More lines than this are not a valid response. A mirror of a large forge has some hundred thousand refs, and
/// a server may list them all, regardless of the request.
const LINES_MAX: usize = 4_000_000;

const ENDS: &[PacketLineRef<'static>] = &[PacketLineRef::Flush, PacketLineRef::Delimiter];

/// Why a response could not be read.
#[derive(Debug)]
pub(super) enum ResponseError {
    /// The stream ended or broke.
    Stream(io::Error),
    /// The server refuses with a reason.
    Refused(String),
    /// The response does not follow the protocol.
    Protocol(String),
    /// The pack was not taken.
    Pack(IngestError),
}

/// What a fetch was answered with.
#[derive(Debug)]
pub(super) enum Fetched<T> {
    /// A pack, and what was made of it.
    Pack(T),
    /// The server has some of what we have, and sends nothing yet.
    Common,
    /// The server has nothing of what we have.
    Nothing,
}

/// One line of `ls-refs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ref {
    pub(super) name: String,
    /// Hexadecimal, of any length.
    pub(super) id: String,
    /// Where an annotated tag leads in the end.
    pub(super) peeled: Option<String>,
    /// The target of a symbolic ref, where that was requested.
    pub(super) symref: Option<String>,
}

pub(super) struct PacketLines<R: Read> {
    inner: StreamingPeekableIter<R>,
    seen: usize,
}

impl<R: Read> PacketLines<R> {
    pub(super) fn new(read: R) -> Self {
        let mut inner = StreamingPeekableIter::new(read, ENDS, false);
        inner.fail_on_err_lines(true);
        Self { inner, seen: 0 }
    }

    /// The next line without its line feed; `None` at the end of a section.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, ResponseError> {
        self.seen += 1;
        if self.seen > LINES_MAX {
            return Err(ResponseError::Protocol("the answer has no end".to_owned()));
        }
        match self.inner.read_line() {
            None => Ok(None),
            Some(line) => text(line).map(Some),
        }
    }

    fn skip_service(&mut self) -> Result<(), ResponseError> {
        let Some(line) = self.inner.peek_line() else {
            return Ok(());
        };
        let named = text(line)?.starts_with(b"# service=");
        if named {
            while self.next()?.is_some() {}
            self.inner.reset();
        }
        Ok(())
    }

    /// Whether another section follows the one that has ended.
    pub(super) fn has_next_section(&mut self) -> bool {
        let has_next_section = self.inner.stopped_at() == Some(PacketLineRef::Delimiter);
        if has_next_section {
            self.inner.reset();
        }
        has_next_section
    }
}

/// A line without its line feed.
fn text(
    line: io::Result<Result<PacketLineRef<'_>, gix_error::Error>>,
) -> Result<&[u8], ResponseError> {
    let line = line
        .map_err(|error| {
            refused(&error).map_or(ResponseError::Stream(error), ResponseError::Refused)
        })?
        .map_err(|error| ResponseError::Protocol(error.to_string()))?;
    let text = line.as_text().map(|text| text.as_slice());
    text.ok_or_else(|| ResponseError::Protocol("a line that belongs elsewhere".to_owned()))
}

/// The server's words of an `ERR` line.
fn refused(error: &io::Error) -> Option<String> {
    error
        .get_ref()?
        .downcast_ref::<gix_packetline::read::Error>()
        .map(|refused| text::decode(&refused.message).trim().to_owned())
}

/// What a server sends before any command.
#[derive(Debug)]
pub(super) enum Greeting {
    /// The capabilities of version 2.
    Version2(Vec<String>),
    /// The refs of version 0 or 1.
    Older(Advertisement),
}

impl Greeting {
    /// What the server can do, and what it has advertised if it does not have version 2. An error for a repository
    /// whose ids are SHA-256.
    pub(super) fn check(
        self,
        remote: &str,
        change_for_version_2: &'static str,
    ) -> Result<(Capabilities, Option<Arc<Advertisement>>), Error> {
        let (capabilities, older) = match self {
            Self::Version2(lines) => (Capabilities::of(&lines), None),
            Self::Older(older) => (older.capabilities(), Some(Arc::new(older))),
        };
        if capabilities.sha256 {
            let remote = remote.to_owned();
            return Err(Error::Sha256 { remote });
        }
        if older.is_some() {
            let change = change_for_version_2;
            tracing::info!(%remote, change, "the server does not have version 2 of git's protocol");
        }
        Ok((capabilities, older))
    }
}

/// Reads what a server sends before any command.
pub(super) fn greeting(read: impl Read) -> Result<Greeting, ResponseError> {
    let mut lines = PacketLines::new(read);
    // Over HTTP some name the service first.
    lines.skip_service()?;
    let mut first = lines.next()?.map(<[u8]>::to_vec);
    if first.as_deref() == Some(b"version 1") {
        first = lines.next()?.map(<[u8]>::to_vec);
    }
    if first.as_deref() != Some(b"version 2") {
        return Advertisement::read(first, &mut lines).map(Greeting::Older);
    }
    let mut capabilities = Vec::new();
    while let Some(line) = lines.next()? {
        capabilities.push(text::decode(line).into_owned());
    }
    Ok(Greeting::Version2(capabilities))
}

/// Reads a listing, of which only the refs are kept whose name and id are wanted. The number is how many there were.
pub(super) fn refs(
    read: impl Read,
    mut wanted: impl FnMut(&str, &str) -> bool,
) -> Result<(Vec<Ref>, usize), ResponseError> {
    let mut lines = PacketLines::new(read);
    let mut refs = Vec::new();
    let mut listed = 0;
    while let Some(line) = lines.next()? {
        let line = text::decode(line);
        let mut words = line.split(' ');
        let (Some(id), Some(name)) = (words.next(), words.next()) else {
            let line = text::words(&*line);
            return Err(ResponseError::Protocol(format!("`{line}` is not a ref")));
        };
        listed += 1;
        if wanted(name, id) {
            let attributes: Vec<&str> = words.collect();
            let attribute = |name| {
                let mut values = attributes.iter().filter_map(|word| word.strip_prefix(name));
                values.next().map(str::to_owned)
            };
            refs.push(Ref {
                name: name.to_owned(),
                id: id.to_owned(),
                peeled: attribute("peeled:"),
                symref: attribute("symref-target:"),
            });
        }
    }
    Ok((refs, listed))
}

/// Reads the response to a fetch and hands its pack, if there is one, to `take`.
pub(super) fn fetch<T>(
    read: impl Read,
    mut take: impl FnMut(&mut dyn BufRead) -> Result<T, IngestError>,
) -> Result<Fetched<T>, ResponseError> {
    let mut lines = PacketLines::new(read);
    let mut common = None;
    while let Some(section) = lines.next()?.map(<[u8]>::to_vec) {
        match section.as_slice() {
            b"acknowledgments" => common = Some(acknowledgments(&mut lines)?),
            b"packfile" => return pack(&mut lines, &mut take).map(Fetched::Pack),
            // What the server cut off is known by what is not here.
            b"shallow-info" => while lines.next()?.is_some() {},
            other => {
                let name = text::words(other);
                return Err(ResponseError::Protocol(format!("a section `{name}`")));
            }
        }
        if !lines.has_next_section() {
            break;
        }
    }
    match common {
        Some(true) => Ok(Fetched::Common),
        Some(false) => Ok(Fetched::Nothing),
        None => Err(ResponseError::Protocol("no pack".to_owned())),
    }
}

/// Reads a whole response and returns its bytes, up to a bound.
pub(super) fn whole(mut read: impl Read, bytes: u64) -> Result<Vec<u8>, ResponseError> {
    const HEAD: usize = 4;
    let mut response = Vec::new();
    loop {
        let at = response.len();
        response.resize(at + HEAD, 0);
        read.read_exact(&mut response[at..])
            .map_err(ResponseError::Stream)?;
        let length = std::str::from_utf8(&response[at..]).ok();
        let length = length.and_then(|length| usize::from_str_radix(length, 16).ok());
        match length {
            Some(0) => return Ok(response),
            Some(length) if (response.len() + length) as u64 <= bytes => {
                response.resize(at + length.max(HEAD), 0);
                read.read_exact(&mut response[at + HEAD..])
                    .map_err(ResponseError::Stream)?;
            }
            _ => return Err(ResponseError::Protocol("a packet without end".to_owned())),
        }
    }
}

/// Whether the server has something in common with us.
fn acknowledgments<R: Read>(lines: &mut PacketLines<R>) -> Result<bool, ResponseError> {
    let mut common = false;
    while let Some(line) = lines.next()? {
        match line {
            b"NAK" => {}
            b"ready" => common = true,
            line if line.starts_with(b"ACK ") => common = true,
            other => {
                let line = text::words(other);
                return Err(ResponseError::Protocol(format!(
                    "`{line}` among acknowledgments"
                )));
            }
        }
    }
    Ok(common)
}

fn pack<R: Read, T>(
    lines: &mut PacketLines<R>,
    take: &mut impl FnMut(&mut dyn BufRead) -> Result<T, IngestError>,
) -> Result<T, ResponseError> {
    let fatal = RefCell::new(None);
    let mut stream = lines.inner.as_read_with_sidebands(|is_error, text| {
        if is_error {
            *fatal.borrow_mut() = Some(text::decode(text).trim().to_owned());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let taken = take(&mut stream);
    // The connection is only usable again when the answer was read to its end, and the server may report an error there.
    let drained = taken.is_err() || drain(&mut stream).is_ok();
    drop(stream);
    if let Some(message) = fatal.into_inner() {
        return Err(ResponseError::Refused(message));
    }
    let taken = taken.map_err(ResponseError::Pack)?;
    if !drained {
        return Err(ResponseError::Protocol(
            "something follows the pack".to_owned(),
        ));
    }
    Ok(taken)
}

/// Whether these bytes are nothing but packets by which a server shows that it is at work: an empty one of the pack's
/// sideband, every five seconds (`uploadpack.keepAlive`), or progress. The last one may be cut.
pub(super) fn is_at_work(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let length = bytes
            .get(..4)
            .and_then(|length| std::str::from_utf8(length).ok());
        let Some(length) = length.and_then(|length| usize::from_str_radix(length, 16).ok()) else {
            return false;
        };
        let is_empty = length == 5;
        match bytes.get(4) {
            Some(1) if is_empty => {}
            Some(2) => {}
            _ => return false,
        }
        bytes = bytes.get(length.max(5)..).unwrap_or_default();
    }
    true
}

/// Reads what follows a pack: nothing, or words for the user.
fn drain(stream: &mut dyn BufRead) -> io::Result<()> {
    if stream.fill_buf()?.is_empty() {
        return Ok(());
    }
    Err(ErrorKind::InvalidData.into())
}

/// The kind of error that ends a response at its bound.
pub(super) const EXCEEDED: ErrorKind = ErrorKind::FileTooLarge;

/// Room for what is not the pack: the packets around it, and words.
const BESIDE: u64 = 64 << 20;

/// Reads a response up to its bound.
pub(super) struct BoundedReader<R> {
    answer: R,
    left: u64,
}

impl<R> BoundedReader<R> {
    /// For a pack of so many bytes at most.
    pub(super) fn new(answer: R, pack: u64) -> Self {
        Self {
            answer,
            left: with_packets(pack),
        }
    }
}

/// The bytes of a response with a pack of so many bytes at most.
pub(super) fn with_packets(pack: u64) -> u64 {
    pack.saturating_add(pack / 100).saturating_add(BESIDE)
}

impl<R: Read> Read for BoundedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.answer.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or(EXCEEDED)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(lines: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            match *line {
                b"0000" | b"0001" => bytes.extend_from_slice(line),
                _ => {
                    bytes.extend_from_slice(format!("{:04x}", line.len() + 4).as_bytes());
                    bytes.extend_from_slice(line);
                }
            }
        }
        bytes
    }

    fn read_all(pack: &mut dyn BufRead) -> Result<Vec<u8>, IngestError> {
        let mut bytes = Vec::new();
        pack.read_to_end(&mut bytes).map_err(IngestError::Stream)?;
        Ok(bytes)
    }

    fn fetched(lines: &[&[u8]]) -> Result<Fetched<Vec<u8>>, ResponseError> {
        fetch(packets(lines).as_slice(), read_all)
    }

    #[test]
    fn every_kind_of_response_is_distinguished() {
        let pack = fetched(&[
            b"acknowledgments\n",
            b"ACK 1111111111111111111111111111111111111111\n",
            b"ready\n",
            b"0001",
            b"shallow-info\n",
            b"shallow 1111111111111111111111111111111111111111\n",
            b"0001",
            b"packfile\n",
            b"\x02counting\n",
            b"\x01PA",
            b"\x01",
            b"\x01CK",
            b"\x02bye\n",
            b"0000",
        ]);
        assert!(matches!(pack, Ok(Fetched::Pack(bytes)) if bytes == b"PACK"));
        let common = fetched(&[b"acknowledgments\n", b"ACK 11\n", b"0000"]);
        assert!(matches!(common, Ok(Fetched::Common)));
        let nothing = fetched(&[b"acknowledgments\n", b"NAK\n", b"0000"]);
        assert!(matches!(nothing, Ok(Fetched::Nothing)));
        let refused = fetched(&[b"ERR upload-pack: not our ref 11"]);
        assert!(
            matches!(refused, Err(ResponseError::Refused(text)) if text == "upload-pack: not our ref 11")
        );
        let died = fetched(&[
            b"packfile\n",
            b"\x01PA",
            b"\x03fatal: out of memory\n",
            b"0000",
        ]);
        assert!(
            matches!(died, Err(ResponseError::Refused(text)) if text == "fatal: out of memory")
        );
        let late = fetched(&[b"packfile\n", b"\x01PA", b"\x03late\n"]);
        assert!(matches!(late, Err(ResponseError::Refused(text)) if text == "late"));
    }

    #[test]
    fn an_invalid_response_is_refused() {
        for lines in [
            &[b"0000".as_slice()] as &[&[u8]],
            &[b"wanted-refs\n", b"0000"],
            &[b"packfile\n", b"\x07PACK", b"0000"],
            &[b"packfile\n", b"0001"],
            &[b"acknowledgments\n", b"ready\n", b"0001", b"0000"],
            &[b"acknowledgments\n", b"yes\n", b"0000"],
        ] {
            assert!(
                !matches!(fetched(lines), Ok(Fetched::Pack(bytes)) if !bytes.is_empty()),
                "{lines:?}"
            );
        }
        for cut in [b"".as_slice(), b"00", b"0014ackn", b"<!DOCTYPE html>"] {
            assert!(fetch(cut, read_all).is_err(), "{cut:?}");
        }
        let trailing = fetch(
            packets(&[b"packfile\n", b"\x01PACK", b"\x01more", b"0000"]).as_slice(),
            |pack| {
                pack.consume(4);
                Ok(())
            },
        );
        assert!(trailing.is_err());
    }

    #[test]
    fn keep_alives_are_recognised() {
        for at_work in [
            &b"0005\x01"[..],
            b"0005\x010005\x01",
            b"0005\x02",
            b"0014\x02Counting objs\r\n",
            b"0014\x02Counting objs\r\n0005\x01",
            b"0014\x02Count",
        ] {
            assert!(is_at_work(at_work), "{at_work:?}");
        }
        for answer in [
            &b"0009\x01PACK"[..],
            b"0005\x010009\x01PACK",
            b"000dpackfile\n",
            b"0000",
            b"0001",
            b"x",
            b"00",
            b"\xff\xff\xff\xff\x02",
        ] {
            assert!(!is_at_work(answer), "{answer:?}");
        }
    }

    #[test]
    fn a_listing_keeps_exact_names_only() {
        let listing = packets(&[
            b"1111111111111111111111111111111111111111 HEAD symref-target:refs/heads/main\n",
            b"1111111111111111111111111111111111111111 refs/heads/main\n",
            b"2222222222222222222222222222222222222222 refs/heads/main-2\n",
            b"3333333333333333333333333333333333333333 refs/tags/main peeled:4444444444444444444444444444444444444444\n",
            b"0000",
        ]);
        let (refs, listed) = refs(listing.as_slice(), |name, _| {
            ["refs/heads/main", "refs/tags/main"].contains(&name)
        })
        .unwrap();
        assert_eq!(listed, 4);
        assert_eq!(refs.len(), 2);
        assert_eq!(
            refs[1].peeled.as_deref(),
            Some("4444444444444444444444444444444444444444")
        );
        assert!(super::refs(&b"0000"[..], |_, _| true).unwrap().0.is_empty());
        assert!(super::refs(packets(&[b"nonsense", b"0000"]).as_slice(), |_, _| true).is_err());
    }

    #[test]
    fn a_greeting_is_of_version_0_1_or_2() {
        let version_2 = packets(&[b"version 2\n", b"fetch=shallow filter\n", b"0000"]);
        assert!(matches!(
            greeting(version_2.as_slice()).unwrap(),
            Greeting::Version2(lines) if lines == ["fetch=shallow filter"]
        ));
        let ref_line = b"1111111111111111111111111111111111111111 HEAD\0multi_ack\n".as_slice();
        for lines in [
            &[ref_line, b"0000"][..],
            &[b"version 1\n", ref_line, b"0000"],
        ] {
            let older = greeting(packets(lines).as_slice()).unwrap();
            assert!(matches!(older, Greeting::Older(_)), "{older:?}");
        }
        assert!(greeting(packets(&[b"hello\n", b"0000"]).as_slice()).is_err());
    }
}
