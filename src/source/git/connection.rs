//! The connection to a server, as the routes use it.

use std::io::Read;

use crate::source::error::NONE;
use crate::source::{Error, Traffic};

/// The most of a response that is kept for later.
pub(super) const KEPT_MAX: u64 = 8 << 20;

/// A connection to a repository's `upload-pack`.
pub trait Connection: Send {
    /// The repository in words for the user, without credentials.
    fn describe(&self) -> String;

    /// What was moved so far.
    fn traffic(&self) -> Traffic;

    /// Whether the server supports filters; `None` where its capabilities are not known, which would cost a request.
    fn filters(&mut self) -> Result<Option<bool>, Error>;

    /// Sends one request of protocol version 2 (packet lines, the flush at the end included) and returns as soon as
    /// the response begins; the response comes as it is read.
    ///
    /// An error while reading is an `io::Error`, which parsers can carry; its cause is returned by
    /// [`Connection::reset`].
    fn command(&mut self, request: &[u8]) -> Result<Box<dyn Read + '_>, Error>;

    /// Sends one request whose response is kept, so that the next command does not wait for it; `false` where it would
    /// have to wait, and nothing was sent.
    fn command_beside(&mut self, _request: &[u8]) -> bool {
        false
    }

    /// The whole response to what was sent beside, once. `None` where there is none: what went wrong shows when it is
    /// requested again.
    fn take_beside(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Ends the conversation, so that the next command opens a new one, and returns why the last answer ended or broke,
    /// where that is known. To be called whenever a response was not read to its end.
    fn reset(&mut self) -> Option<Error>;

    /// Where the repository is, if that is another address than the one that was given.
    fn moved_to(&self) -> Option<String> {
        None
    }

    /// Which token is sent, by its origin, in the words of an error.
    fn token(&self) -> String {
        NONE.to_owned()
    }

    /// Forgets what earlier runs learned about the host.
    fn forget(&mut self) {}
}

/// What a server advertises about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Capabilities {
    /// Objects can be left out.
    pub(super) filters: bool,
    /// Its ids are SHA-256.
    pub(super) sha256: bool,
}

impl Capabilities {
    /// From the lines that follow `version 2`.
    pub(super) fn of(lines: &[String]) -> Self {
        let has_filter = |line: &String| {
            let features = line.strip_prefix("fetch=").unwrap_or_default();
            features.split(' ').any(|feature| feature == "filter")
        };
        Self {
            filters: lines.iter().any(has_filter),
            sha256: lines.iter().any(|line| line == "object-format=sha256"),
        }
    }
}
