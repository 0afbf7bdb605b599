//! The body of a response as a blocking reader.

use std::io::{self, Cursor, Read};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use reqwest::Url;

use crate::text::Amount;
use crate::threads;

use super::{Cap, Error, Inner, authority, response};

/// The slowest that a response may arrive, in bytes a second over one stall period.
const SLOWEST: u64 = 1024;
/// More than a server sends before the response proper begins, keep-alives for an hour included.
const PREFACE: u64 = 8 << 10;

/// Reads the decoded body. An error that stops it is left with [`BodyFailure`], for readers that hide what they met.
pub struct Body {
    source: Decoding,
    left: u64,
    cap: Cap,
    remote: String,
    failure: BodyFailure,
}

/// What stopped a [`Body`], for the time after a parser in between has given up.
#[derive(Clone, Default)]
pub struct BodyFailure(Arc<Mutex<Option<Error>>>);

impl BodyFailure {
    /// The error, once.
    #[must_use]
    pub fn take(&self) -> Option<Error> {
        threads::lock(&self.0).take()
    }

    /// Keeps the error and returns an `io::Error` in its place.
    fn keep(&self, error: Error) -> io::Error {
        let text = io::Error::other(error.to_string());
        *threads::lock(&self.0) = Some(error);
        text
    }

    fn is_set(&self) -> bool {
        threads::lock(&self.0).is_some()
    }
}

enum Decoding {
    Plain(Box<Wire>),
    Gzip(Box<MultiGzDecoder<Wire>>),
    Buffered(Cursor<Vec<u8>>),
}

/// The bytes as they arrive.
struct Wire {
    client: Arc<Inner>,
    answer: reqwest::Response,
    chunk: Cursor<Vec<u8>>,
    remote: String,
    failure: BodyFailure,
    pace: Pace,
}

/// Whether a chunk of a response, as it arrived, only shows that the server is at work.
pub type AtWork = fn(&[u8]) -> bool;

/// How fast bytes come, over the time spent waiting for them: a slow reader is not the server's fault.
#[derive(Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
    /// All that came.
    total: u64,
    /// Whether a chunk only shows that the server is at work.
    at_work: Option<AtWork>,
}

impl Pace {
    /// Takes in a wait for these bytes; `false`: over one period, too little came.
    fn keeps(&mut self, waited: Duration, chunk: &[u8], period: Duration) -> bool {
        let computes = self.total <= PREFACE && self.at_work.is_some_and(|at_work| at_work(chunk));
        self.total += chunk.len() as u64;
        if computes {
            self.restart();
            return true;
        }
        self.waited += waited;
        self.bytes += chunk.len() as u64;
        if self.waited < period {
            return true;
        }
        let keeps = u128::from(self.bytes) * 1000 >= u128::from(SLOWEST) * self.waited.as_millis();
        self.restart();
        keeps
    }

    fn restart(&mut self) {
        (self.waited, self.bytes) = (Duration::ZERO, 0);
    }
}

impl Body {
    pub(super) fn new(
        client: Arc<Inner>,
        answer: reqwest::Response,
        url: &Url,
        cap: Cap,
        gzip: bool,
    ) -> Self {
        let failure = BodyFailure::default();
        let remote = authority(url);
        let wire = Wire {
            client,
            answer,
            chunk: Cursor::default(),
            remote: remote.clone(),
            failure: failure.clone(),
            pace: Pace::default(),
        };
        let source = if gzip {
            Decoding::Gzip(Box::new(MultiGzDecoder::new(wire)))
        } else {
            Decoding::Plain(Box::new(wire))
        };
        Self {
            source,
            left: cap.bytes,
            cap,
            remote,
            failure,
        }
    }

    /// The expected size in bytes, at most the cap, 0 where it is unknown: the capacity of a buffer to read it into.
    pub(super) fn size_hint(&self) -> usize {
        let expected = match &self.source {
            Decoding::Plain(wire) => wire.answer.content_length().unwrap_or_default(),
            Decoding::Gzip(_) => 0,
            Decoding::Buffered(bytes) => bytes.get_ref().len() as u64,
        };
        usize::try_from(expected.min(self.cap.bytes)).unwrap_or_default()
    }

    /// How keep-alives of the server are recognised: before the response proper begins, it does not count as slow.
    pub fn at_work(&mut self, at_work: AtWork) {
        let pace = match &mut self.source {
            Decoding::Plain(wire) => &mut wire.pace,
            Decoding::Gzip(decoder) => &mut decoder.get_mut().pace,
            Decoding::Buffered(_) => return,
        };
        pace.at_work = Some(at_work);
    }

    /// A handle on the error that may stop this body.
    #[must_use]
    pub fn failure(&self) -> BodyFailure {
        self.failure.clone()
    }

    /// Reads up to `max` bytes into memory; the rest is dropped.
    pub(super) fn buffer(&mut self, max: u64) {
        let mut bytes = Vec::new();
        // A refusal that breaks off is explained well enough.
        let _ = self.by_ref().take(max).read_to_end(&mut bytes);
        let _ = self.failure.take();
        self.left = bytes.len() as u64;
        self.source = Decoding::Buffered(Cursor::new(bytes));
    }

    /// The error for more bytes than the cap allows.
    fn too_long(&self) -> Error {
        let Cap {
            bytes,
            what,
            setting,
        } = self.cap.clone();
        match setting {
            Some(setting) => Error::TooLarge {
                what,
                limit: Amount::Limit(bytes),
                setting,
            },
            None => Error::NotAForge {
                remote: self.remote.clone(),
                answer: format!("{what} is longer than {}", Amount::Limit(bytes)),
            },
        }
    }

    pub(super) fn buffered(&self) -> &[u8] {
        match &self.source {
            Decoding::Buffered(bytes) => bytes.get_ref(),
            Decoding::Plain(_) | Decoding::Gzip(_) => &[],
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One byte more than the cap shows whether there is more.
        let room = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let buffer = &mut buffer[..room];
        let read = match &mut self.source {
            Decoding::Plain(wire) => wire.read(buffer),
            Decoding::Buffered(bytes) => bytes.read(buffer),
            Decoding::Gzip(decoder) => decoder.read(buffer).map_err(|error| {
                if self.failure.is_set() {
                    return error;
                }
                let cause = format!("its gzip encoding is damaged: {error}");
                self.failure.keep(Error::Unreachable {
                    remote: self.remote.clone(),
                    cause,
                    received: 0,
                })
            }),
        }?;
        match self.left.checked_sub(read as u64) {
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => Err(self.failure.keep(self.too_long())),
        }
    }
}

impl Wire {
    fn refill(&mut self) -> Result<bool, Error> {
        let asked = Instant::now();
        let chunk = self
            .client
            .drive(self.answer.chunk(), &self.remote)?
            .map_err(|error| {
                let received = self.client.received.load(Ordering::Relaxed);
                response::broken(&self.remote, received, error)
            })?;
        let Some(chunk) = chunk else { return Ok(false) };
        let length = chunk.len() as u64;
        self.client.received.fetch_add(length, Ordering::Relaxed);
        self.client.options.meter.count(length);
        let stall = self.client.options.stall;
        // A server that drips keeps the connection alive and the update away.
        if !self.pace.keeps(asked.elapsed(), &chunk, stall) {
            return Err(Error::Timeout {
                remote: self.remote.clone(),
                after: stall,
            });
        }
        self.chunk = Cursor::new(chunk.into());
        Ok(true)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.chunk.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => return Err(self.failure.keep(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_drips_is_distinguished_from_a_slow_one() {
        let second = Duration::from_secs(1);
        let drip = |bytes| {
            let mut pace = Pace::default();
            (0..60).all(|_| pace.keeps(second, &vec![b'x'; bytes], 30 * second))
        };
        assert!(drip(1024));
        assert!(!drip(1023));
        assert!(!drip(1));
        assert!(
            Pace::default().keeps(29 * second, b"x", 30 * second),
            "one short wait"
        );
        assert!(Pace::default().keeps(Duration::ZERO, b"", 30 * second));
    }

    #[test]
    fn keep_alives_count_until_the_response_begins() {
        let second = Duration::from_secs(1);
        let mut pace = Pace {
            at_work: Some(|chunk| chunk.starts_with(b"0005")),
            ..Pace::default()
        };
        // A server that computes for five minutes.
        assert!(pace.keeps(second, b"0012acknowledgments", 30 * second));
        for _ in 0..30 {
            assert!(pace.keeps(5 * second, b"0005\x01", 30 * second));
            assert!(pace.keeps(5 * second, b"0005\x010005\x01", 30 * second));
        }
        assert!(pace.keeps(second, &vec![0; 40_000], 30 * second));
        // One that has begun, and goes on with nothing else.
        let goes_on = (0..60).all(|_| pace.keeps(5 * second, b"0005\x01", 30 * second));
        assert!(!goes_on);
        let mut nothing_known = Pace::default();
        let goes_on = (0..60).all(|_| nothing_known.keeps(5 * second, b"0005\x01", 30 * second));
        assert!(!goes_on);
    }
}
