//! Endless answers: each is cut off at its bound, which is counted in bytes that were read.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper_sync::settings::Limits;
use hyper_sync::source::git::{Connection, GitSource, Options};
use hyper_sync::source::github::GitHub;
use hyper_sync::source::http::{Client, Options as HttpOptions};
use hyper_sync::source::{Error, Interrupt, RefKind, ResolvedRef, Source, Traffic};

use super::outcomes::{Counts, class};
use crate::common::forge::Forge;
use crate::common::forge::fault::{Action, When};
use crate::common::machine::Machine;
use crate::common::repo::Repo;

/// More than any bound of these tests: a client that reads so much has no bound.
const ENDLESS: u64 = 1 << 30;
const LIMIT: u64 = 16 << 20;

/// A beginning, then the same bytes endlessly; the bytes that are read are counted.
struct Flood {
    begin: Vec<u8>,
    again: Vec<u8>,
    at: u64,
    read: Arc<AtomicU64>,
}

impl Read for Flood {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(
            self.at < ENDLESS,
            "{:?} is read without an end",
            String::from_utf8_lossy(&self.again[..self.again.len().min(30)])
        );
        let begin = self.begin.len() as u64;
        for byte in buffer.iter_mut() {
            *byte = if self.at < begin {
                self.begin[usize::try_from(self.at).unwrap()]
            } else {
                let at = (self.at - begin) % self.again.len() as u64;
                self.again[usize::try_from(at).unwrap()]
            };
            self.at += 1;
        }
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        Ok(buffer.len())
    }
}

/// A server that answers everything with one flood.
struct Flooding {
    begin: Vec<u8>,
    again: Vec<u8>,
    read: Arc<AtomicU64>,
}

impl Connection for Flooding {
    fn describe(&self) -> String {
        "the flooding server".to_owned()
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    fn filters(&mut self) -> Result<Option<bool>, Error> {
        Ok(None)
    }

    fn command(&mut self, _: &[u8]) -> Result<Box<dyn Read + '_>, Error> {
        Ok(Box::new(Flood {
            begin: self.begin.clone(),
            again: self.again.clone(),
            at: 0,
            read: self.read.clone(),
        }))
    }

    fn reset(&mut self) -> Option<Error> {
        None
    }
}

fn line(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [format!("{:04x}", content.len() + 4).as_bytes(), content].concat()
}

/// How a sync ends that gets a flood by the git protocol.
fn git(name: &str, begin: Vec<u8>, again: Vec<u8>, resolve: bool) -> String {
    let read = Arc::new(AtomicU64::new(0));
    let connection = Flooding {
        begin,
        again,
        read: read.clone(),
    };
    let limits = Limits {
        bytes: LIMIT,
        ..Limits::default()
    };
    let source = GitSource::new(
        Box::new(connection),
        Options::new(limits, Interrupt::default()),
    );
    let machine = Machine::new();
    let error = if resolve {
        source.resolve("main").unwrap_err()
    } else {
        let resolved = ResolvedRef {
            commit: "1".repeat(40).parse().unwrap(),
            kind: RefKind::Commit,
            is_tag_too: false,
        };
        machine.stage(&source, &resolved).map(drop).unwrap_err()
    };
    let class = class(error, name);
    assert!(machine.store.commits().is_empty());
    class
}

/// How a sync ends that gets a flood in one kind of answer of the API.
fn api(name: &str, part: &str, flood: Action) -> String {
    let name = format!("{name}, {part}");
    let forge = Forge::serve(&Repo::small());
    let hits = forge.fault(When::get(part), flood);
    let options = HttpOptions {
        backoff: Duration::ZERO,
        retries: 0,
        ..HttpOptions::default()
    };
    let client = Client::new(options, Interrupt::default()).unwrap();
    let api = forge.api_url();
    let names = ("acme", "machines");
    let limits = Limits::default();
    let source = GitHub::new(client, names, Some(&api), None, limits, None).unwrap();
    let machine = Machine::new();
    let result = source
        .resolve("main")
        .and_then(|resolved| machine.stage(&source, &resolved).map(drop));
    assert!(hits.count() > 0, "{name}");
    class(result.expect_err(&name), &name)
}

pub(crate) fn all() -> Counts {
    let mut counts = Counts::default();
    let a_ref = line(format!("{} refs/heads/x\n", "1".repeat(40)));
    let packfile = line("packfile\n");
    let mut pack = b"\x01PACK\0\0\0\x02\0\0\0\x01\xbf\xff\xff\x7f".to_vec();
    pack.extend([0x78, 0x01]);
    for (name, begin, again, resolve) in [
        ("refs", Vec::new(), a_ref, true),
        (
            "empty lines of a listing",
            Vec::new(),
            b"0004".to_vec(),
            true,
        ),
        (
            "sections",
            Vec::new(),
            [line("shallow-info\n"), b"0001".to_vec()].concat(),
            false,
        ),
        (
            "shallow lines",
            line("shallow-info\n"),
            line(format!("shallow {}", "1".repeat(40))),
            false,
        ),
        (
            "acknowledgments",
            line("acknowledgments\n"),
            line("NAK\n"),
            false,
        ),
        (
            "progress",
            packfile.clone(),
            line("\x02still computing\r"),
            false,
        ),
        ("keep-alives", packfile.clone(), line("\x01"), false),
        (
            "an object",
            [packfile.clone(), line(pack)].concat(),
            line([&[1], [0; 1000].as_slice()].concat()),
            false,
        ),
        ("a page", b"<html>".to_vec(), b" ".to_vec(), false),
        ("zeros", Vec::new(), vec![0], true),
    ] {
        counts.note(git(name, begin, again, resolve));
    }
    let json = |body: String| Action::status_with(200, "content-type", "application/json", body);
    for part in [
        "/commits/heads",
        "/git/commits/",
        "/git/trees/",
        "/git/blobs/",
    ] {
        let headers = "x-flood: x\r\n".repeat(50_000);
        let head = format!("HTTP/1.1 200 OK\r\n{headers}");
        for (name, flood) in [
            ("spaces", json(format!("{{{}", " ".repeat(3 << 20)))),
            ("brackets", json("[".repeat(1 << 20))),
            ("keys", json(format!("{{{}", "\"a\":1,".repeat(1 << 18)))),
            ("a bomb", Action::gzip_bomb(256 << 20)),
            ("headers", Action::Raw(head.into_bytes())),
        ] {
            counts.note(api(name, part, flood));
        }
    }
    counts
}
