//! Servers that have only versions 0 and 1 of git's protocol (gitprotocol-pack(5)), as Azure DevOps, JGit 4 and dulwich
//! do, and git itself behind a front end that drops the request for version 2.
//!
//! Such a server begins with a list of all its refs, which serves every `ls-refs`, and accepts one fetch after it. The
//! commands of version 2 are translated to that and the responses back, so the routes do not depend on the version.
//!
//! Limits: `side-band-64k` (git 1.6.6, of 2009) is required. Only commits that a ref points to can be fetched, unless
//! the server offers more.

use std::io::{self, Cursor, Read};

use gix_packetline::PacketLineRef;
use gix_packetline::blocking_io::{StreamingPeekableIter, encode};

use crate::source::Error;
use crate::text;

use super::answer::{PacketLines, Ref, ResponseError};
use super::connection::Capabilities;

/// Without it a pack could not be distinguished from an error.
const SIDEBAND: &str = "side-band-64k";
/// What is sent along with a fetch where the server offers it. dulwich insists on `thin-pack`; without a commit of ours a
/// pack has nothing to leave out.
const FEATURES: &[&str] = &[SIDEBAND, "thin-pack", "ofs-delta", "no-progress"];
const FLUSH: &[PacketLineRef<'static>] = &[PacketLineRef::Flush];

/// What a server sends before any command.
#[derive(Debug, Default, Clone)]
pub(super) struct Advertisement {
    refs: Vec<Ref>,
    features: Vec<String>,
}

/// What becomes of a command of version 2.
#[derive(Debug)]
pub(super) enum Translation {
    /// This is its response.
    Answered(Vec<u8>),
    /// This is to be sent, and the response goes through [`Preamble::translate`].
    Fetch(Vec<u8>, Preamble),
}

/// What comes before the pack of a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preamble {
    /// Where the server has cut the history.
    shallow: bool,
    /// Whether a server that lacks our commit is to report that, instead of sending everything.
    needs_base: bool,
}

impl Advertisement {
    /// Reads the lines from `first`, which is the first after `version 1`, if that was sent.
    pub(super) fn read<R: Read>(
        first: Option<Vec<u8>>,
        lines: &mut PacketLines<R>,
    ) -> Result<Self, ResponseError> {
        let mut advertised = Self::default();
        let Some(first) = first else {
            return Ok(advertised);
        };
        let (line, features) = first
            .iter()
            .position(|byte| *byte == 0)
            .map_or((&first[..], &[][..]), |end| {
                (&first[..end], &first[end + 1..])
            });
        let features = text::decode(features);
        advertised.features = features.split(' ').map(str::to_owned).collect();
        advertised.add(line)?;
        while let Some(line) = lines.next()? {
            advertised.add(line)?;
        }
        let symrefs = advertised.features.iter().filter_map(|feature| {
            let (name, target) = feature.strip_prefix("symref=")?.split_once(':')?;
            Some((name.to_owned(), target.to_owned()))
        });
        for (name, target) in symrefs.collect::<Vec<_>>() {
            let named = advertised.refs.iter_mut().find(|found| found.name == name);
            if let Some(found) = named {
                found.symref = Some(target);
            }
        }
        Ok(advertised)
    }

    fn add(&mut self, line: &[u8]) -> Result<(), ResponseError> {
        let line = text::decode(line);
        let (id, name) = line.split_once(' ').unwrap_or((&line, ""));
        let is_id = id.len() >= 40 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        if let Some(tag) = name.strip_suffix("^{}") {
            // An empty repository has one such line, for what it can do.
            if let Some(last) = self.refs.last_mut().filter(|last| last.name == tag) {
                last.peeled = Some(id.to_owned());
            }
        } else if is_id && !name.is_empty() {
            self.refs.push(Ref {
                name: name.to_owned(),
                id: id.to_owned(),
                peeled: None,
                symref: None,
            });
        } else if id != "shallow" {
            let line = text::words(&*line);
            return Err(ResponseError::Protocol(format!("`{line}` is not a ref")));
        }
        Ok(())
    }

    fn offers(&self, feature: &str) -> bool {
        self.features.iter().any(|offered| offered == feature)
    }

    /// What it can do, in the terms of version 2: leaving files out is of use where they can be asked for by their ids.
    pub(super) fn capabilities(&self) -> Capabilities {
        let by_id = ["allow-any-sha1-in-want", "allow-reachable-sha1-in-want"];
        Capabilities {
            filters: self.offers("filter") && by_id.iter().any(|feature| self.offers(feature)),
            sha256: self.offers("object-format=sha256"),
        }
    }

    /// Carries out a request of version 2 with the server that sent this. A fetch is translated and sent by `send`,
    /// which returns the response.
    pub(super) fn command<'a, R: Read + 'a>(
        &self,
        request: &[u8],
        remote: String,
        change_for_version_2: &'static str,
        send: impl FnOnce(&[u8]) -> Result<R, Error>,
    ) -> Result<Box<dyn Read + 'a>, Error> {
        match self.translate(request) {
            Ok(Some(Translation::Answered(answer))) => Ok(Box::new(Cursor::new(answer))),
            Ok(Some(Translation::Fetch(request, preamble))) => {
                Ok(Box::new(preamble.translate(send(&request)?)))
            }
            Ok(None) => Err(Error::OldProtocol {
                remote,
                change: change_for_version_2,
            }),
            Err(error) => {
                let detail = format!("{error:?}");
                Err(Error::Protocol { remote, detail })
            }
        }
    }

    /// Translates a request of version 2; `None` where the server cannot send a pack beside its messages.
    pub(super) fn translate(&self, request: &[u8]) -> Result<Option<Translation>, ResponseError> {
        let mut lines = PacketLines::new(request);
        let is_fetch = lines.next()? == Some(b"command=fetch");
        while lines.next()?.is_some() {}
        let mut words = Vec::new();
        if lines.has_next_section() {
            while let Some(line) = lines.next()? {
                words.push(text::decode(line).into_owned());
            }
        }
        let command = if !is_fetch {
            self.listing().map(Translation::Answered)
        } else if self.offers(SIDEBAND) {
            self.fetch(&words)
        } else {
            return Ok(None);
        };
        command.map(Some).map_err(ResponseError::Stream)
    }

    /// As the response to `ls-refs`.
    fn listing(&self) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        for Ref {
            name,
            id,
            peeled,
            symref,
        } in &self.refs
        {
            let mut line = format!("{id} {name}");
            for (attribute, value) in [("symref-target", symref), ("peeled", peeled)] {
                if let Some(value) = value {
                    line.extend([" ", attribute, ":", value]);
                }
            }
            encode::text_to_write(line.as_bytes(), &mut answer)?;
        }
        encode::flush_to_write(&mut answer)?;
        Ok(answer)
    }

    fn fetch(&self, words: &[String]) -> io::Result<Translation> {
        let of = |name: &str| -> Vec<&String> {
            words.iter().filter(|line| line.starts_with(name)).collect()
        };
        let has = |word: &str| words.iter().any(|line| line == word);
        let filter = of("filter ");
        let filter = if self.offers("filter") {
            filter
        } else {
            Vec::new()
        };
        let mut features: Vec<&str> = FEATURES.to_vec();
        features.retain(|feature| self.offers(feature));
        if !filter.is_empty() {
            features.push("filter");
        }
        let features = features.join(" ");
        let mut request = Vec::new();
        for (at, want) in of("want ").into_iter().enumerate() {
            // The first names what is understood.
            let line = if at == 0 {
                format!("{want} {features}")
            } else {
                want.clone()
            };
            encode::text_to_write(line.as_bytes(), &mut request)?;
        }
        let deepen = if self.offers("shallow") {
            of("deepen ")
        } else {
            Vec::new()
        };
        let shallow = if self.offers("shallow") {
            of("shallow ")
        } else {
            Vec::new()
        };
        for line in shallow.iter().chain(&deepen).chain(&filter) {
            encode::text_to_write(line.as_bytes(), &mut request)?;
        }
        encode::flush_to_write(&mut request)?;
        let have = of("have ");
        for line in &have {
            encode::text_to_write(line.as_bytes(), &mut request)?;
        }
        // One round: a server that lacks our commit is recognised by its `NAK`.
        encode::text_to_write(b"done", &mut request)?;
        let preamble = Preamble {
            shallow: !deepen.is_empty(),
            needs_base: !have.is_empty() && !has("done"),
        };
        Ok(Translation::Fetch(request, preamble))
    }
}

impl Preamble {
    #[cfg(feature = "fuzzing")]
    pub(super) const ALL: [Self; 3] = [
        Self {
            shallow: false,
            needs_base: false,
        },
        Self {
            shallow: true,
            needs_base: false,
        },
        Self {
            shallow: true,
            needs_base: true,
        },
    ];

    /// The response as one of version 2.
    pub(super) fn translate<R: Read>(self, read: R) -> TranslatedAnswer<R> {
        TranslatedAnswer {
            read: Some(read),
            preamble: Some(self),
            begin: Cursor::default(),
        }
    }

    /// Reads up to the pack; the equivalent bytes of version 2, and whether the pack is to follow.
    fn read<R: Read>(self, lines: &mut StreamingPeekableIter<R>) -> io::Result<(Vec<u8>, bool)> {
        let mut begin = Vec::new();
        if self.shallow {
            while let Some(line) = next(lines)? {
                if line.starts_with(b"ERR ") {
                    encode::data_to_write(&line, &mut begin)?;
                    return Ok((begin, false));
                }
            }
            lines.reset();
        }
        let line = next(lines)?.unwrap_or_default();
        let is_pack = line.starts_with(b"ACK ") || (line == b"NAK" && !self.needs_base);
        if is_pack {
            encode::text_to_write(b"packfile", &mut begin)?;
        } else if line == b"NAK" {
            encode::text_to_write(b"acknowledgments", &mut begin)?;
            encode::text_to_write(b"NAK", &mut begin)?;
            encode::flush_to_write(&mut begin)?;
        } else {
            // An error, or not a response at all: passed on unchanged.
            encode::data_to_write(&line, &mut begin)?;
        }
        Ok((begin, is_pack))
    }
}

/// The next line without its line feed; `None` at a flush.
fn next<R: Read>(lines: &mut StreamingPeekableIter<R>) -> io::Result<Option<Vec<u8>>> {
    let Some(line) = lines.read_line() else {
        return Ok(None);
    };
    let line =
        line?.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    Ok(line.as_text().map(|text| text.as_slice().to_vec()))
}

/// The response to a fetch, translated as it is read.
pub(super) struct TranslatedAnswer<R> {
    /// What is still to come.
    read: Option<R>,
    /// What was not read yet.
    preamble: Option<Preamble>,
    begin: Cursor<Vec<u8>>,
}

impl<R: Read> Read for TranslatedAnswer<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(preamble) = self.preamble.take()
            && let Some(read) = self.read.take()
        {
            let mut lines = StreamingPeekableIter::new(read, FLUSH, false);
            let (begin, is_pack) = preamble.read(&mut lines)?;
            self.begin = Cursor::new(begin);
            self.read = is_pack.then(|| lines.into_inner());
        }
        match self.begin.read(buffer)? {
            0 => self.read.as_mut().map_or(Ok(0), |read| read.read(buffer)),
            read => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{CommitId, Oid};
    use crate::source::git::request::{self, Fetch};

    const ID: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    const ALL: &str = "multi_ack side-band-64k thin-pack ofs-delta shallow no-progress filter \
        symref=HEAD:refs/heads/main object-format=sha1";

    fn packets(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            match *line {
                "0000" => bytes.extend_from_slice(b"0000"),
                line => bytes.extend_from_slice(format!("{:04x}{line}", line.len() + 4).as_bytes()),
            }
        }
        bytes
    }

    fn advertised(features: &str) -> Advertisement {
        let first = format!("{ID} HEAD\0{features}");
        let rest = packets(&[
            &format!("{ID} refs/heads/main\n"),
            &format!("1{} refs/tags/v1\n", &ID[1..]),
            &format!("{ID} refs/tags/v1^{{}}\n"),
            &format!("shallow {ID}\n"),
            "0000",
        ]);
        let mut lines = PacketLines::new(rest.as_slice());
        Advertisement::read(Some(first.into_bytes()), &mut lines).unwrap()
    }

    fn translated(features: &str, fetch: &Fetch<'_>) -> Option<(String, Preamble)> {
        match advertised(features).translate(&fetch.encode()).unwrap() {
            Some(Translation::Fetch(request, preamble)) => {
                Some((String::from_utf8(request).unwrap(), preamble))
            }
            Some(Translation::Answered(_)) => panic!("a fetch is sent"),
            None => None,
        }
    }

    fn answer(preamble: Preamble, lines: &[&str]) -> String {
        let mut text = String::new();
        let answer = packets(lines);
        let mut answer = preamble.translate(answer.as_slice());
        answer.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn refs_are_listed_as_version_2_lists_them() {
        let request = request::ls_refs(&["refs/heads/main"]);
        let Some(Translation::Answered(listing)) = advertised(ALL).translate(&request).unwrap()
        else {
            panic!("a listing is answered")
        };
        insta::assert_snapshot!(String::from_utf8(listing).unwrap(), @r"
    0050e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 HEAD symref-target:refs/heads/main
    003de69de29bb2d1d6434b8b29ae775ad8c2e48c5391 refs/heads/main
    006a169de29bb2d1d6434b8b29ae775ad8c2e48c5391 refs/tags/v1 peeled:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391
    0000
    ");
    }

    #[test]
    fn a_fetch_is_one_request_with_what_the_server_offers() {
        let id: Oid = ID.parse().unwrap();
        let want = [id];
        let fetch = Fetch {
            want: &want,
            have: Some(CommitId(id)),
            shallow: Some(CommitId(id)),
            deepen: Some(1),
            filter: Some("tree:0"),
            ..Fetch::default()
        };
        insta::assert_snapshot!(translated(ALL, &fetch).unwrap().0, @r"
    0067want e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 side-band-64k thin-pack ofs-delta no-progress filter
    0035shallow e69de29bb2d1d6434b8b29ae775ad8c2e48c5391
    000ddeepen 1
    0012filter tree:0
    00000032have e69de29bb2d1d6434b8b29ae775ad8c2e48c5391
    0009done
    ");
        insta::assert_snapshot!(translated(SIDEBAND, &fetch).unwrap().0, @r"
    0040want e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 side-band-64k
    00000032have e69de29bb2d1d6434b8b29ae775ad8c2e48c5391
    0009done
    ");
        assert!(translated("multi_ack", &fetch).is_none());
    }

    #[test]
    fn answers_become_those_of_version_2() {
        let pack = Preamble {
            shallow: false,
            needs_base: false,
        };
        let deepened = Preamble {
            shallow: true,
            ..pack
        };
        let thin = Preamble {
            needs_base: true,
            ..deepened
        };
        let shallow = format!("shallow {ID}\n");
        let ack = format!("ACK {ID}\n");
        for (preamble, lines, expected) in [
            (
                pack,
                &["NAK\n", "\u{1}PACK", "0000"][..],
                "000dpackfile\n0009\u{1}PACK0000",
            ),
            (
                deepened,
                &[&shallow, "0000", "NAK\n", "\u{1}PACK"],
                "000dpackfile\n0009\u{1}PACK",
            ),
            (
                thin,
                &["0000", &ack, "\u{1}PACK"],
                "000dpackfile\n0009\u{1}PACK",
            ),
            (
                thin,
                &["0000", "NAK\n", "\u{1}PACK"],
                "0014acknowledgments\n0008NAK\n0000",
            ),
            (thin, &["ERR no"], "000aERR no"),
            (pack, &["ERR no"], "000aERR no"),
            (pack, &["hello"], "0009hello"),
        ] {
            assert_eq!(answer(preamble, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_invalid_list_of_refs_is_refused() {
        let read = |first: &str| {
            let mut lines = PacketLines::new(&b"0000"[..]);
            Advertisement::read(Some(first.as_bytes().to_vec()), &mut lines)
        };
        assert!(read("hello").is_err());
        assert!(read("zzzz HEAD").is_err());
        // An empty repository.
        let none = format!("{} capabilities^{{}}\0{SIDEBAND}", "0".repeat(40));
        assert!(read(&none).unwrap().refs.is_empty());
    }
}
