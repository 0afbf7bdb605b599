//! Lies and failures: which requests, and what is done to their answers.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

pub use super::message::gzip;
use super::{
    api::answers,
    message::{Reply, Request, Seen},
    pack,
};

/// Which requests a fault applies to. Built from [`When::get`], [`When::post`] or [`When::any`].
#[must_use]
pub struct When {
    tests: Vec<Test>,
    turn: Turn,
}

type Test = Box<dyn Fn(&Seen) -> bool + Send>;

#[derive(Clone, Copy)]
enum Turn {
    Always,
    Nth(usize),
    First(usize),
    From(usize),
}

impl When {
    /// Every request.
    pub fn any() -> Self {
        Self {
            tests: Vec::new(),
            turn: Turn::Always,
        }
    }

    /// GET requests whose path contains `part`.
    pub fn get(part: &str) -> Self {
        Self::any().method("GET").path(part)
    }

    /// POST requests whose path contains `part`.
    pub fn post(part: &str) -> Self {
        Self::any().method("POST").path(part)
    }

    /// The `ls-refs` command of protocol v2.
    pub fn ls_refs() -> Self {
        Self::post("git-upload-pack").body("command=ls-refs")
    }

    /// The `fetch` command of protocol v2.
    pub fn fetch() -> Self {
        Self::post("git-upload-pack").body("command=fetch")
    }

    /// Only this method.
    pub fn method(self, method: &str) -> Self {
        let method = method.to_owned();
        self.test(move |seen| seen.method == method)
    }

    /// Only where the path contains `part`.
    pub fn path(self, part: &str) -> Self {
        let part = part.to_owned();
        self.test(move |seen| seen.path.contains(&part))
    }

    /// Only where the request's (decompressed) body contains `part`.
    pub fn body(self, part: &str) -> Self {
        let part = part.to_owned();
        self.test(move |seen| seen.text().contains(&part))
    }

    /// Only where `test` holds.
    pub fn test(mut self, test: impl Fn(&Seen) -> bool + Send + 'static) -> Self {
        self.tests.push(Box::new(test));
        self
    }

    /// Only the `n`th match, counted from 1.
    pub fn nth(mut self, n: usize) -> Self {
        self.turn = Turn::Nth(n);
        self
    }

    /// Only the first `n` matches.
    pub fn first(mut self, n: usize) -> Self {
        self.turn = Turn::First(n);
        self
    }

    /// The `n`th match, counted from 1, and all after it.
    pub fn from(mut self, n: usize) -> Self {
        self.turn = Turn::From(n);
        self
    }
}

/// What is done to an answer.
pub enum Action {
    /// Answered by this, the repository is not asked.
    Status {
        /// The status code.
        code: u16,
        /// Header names and values; a content type is added where there is none.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// 200 and a login page.
    Html,
    /// The honest status and headers with this body.
    ReplaceBody(Vec<u8>),
    /// The honest body, decoded, changed by a function. Lengths follow.
    Mutate(Box<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>),
    /// A redirect to this URL.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        code: u16,
        /// `Location`, verbatim.
        to: String,
    },
    /// A redirect to the same path and query at another origin.
    RedirectOrigin {
        /// 301, 302, 303, 307 or 308.
        code: u16,
        /// `http://host:port`.
        origin: String,
    },
    /// The connection closes after so many bytes of the body; the announced length is that of the whole.
    Cut {
        /// Bytes of the body, as encoded, that are sent.
        after_bytes: usize,
    },
    /// Only the first bytes of the body.
    Truncate {
        /// How many, as encoded.
        keep: usize,
        /// Whether `Content-Length` is that of what is sent (a short but well-formed answer) or of the whole.
        honest: bool,
    },
    /// After so many bytes of the body nothing more comes; the connection stays open until the forge is dropped.
    Stall {
        /// Bytes of the body, as encoded, that are sent.
        after_bytes: usize,
    },
    /// No answer at all; the connection stays open until the forge is dropped.
    Silence,
    /// These bytes in place of an HTTP response, then the connection is closed.
    Raw(Vec<u8>),
    /// The connection is reset without a word.
    Reset,
}

impl Action {
    /// A status with a plain body.
    pub fn status(code: u16, body: impl AsRef<[u8]>) -> Self {
        Self::Status {
            code,
            headers: Vec::new(),
            body: body.as_ref().to_vec(),
        }
    }

    /// A status with one header, for example `retry-after`.
    pub fn status_with(code: u16, name: &str, value: &str, body: impl AsRef<[u8]>) -> Self {
        Self::Status {
            code,
            headers: vec![(name.to_owned(), value.to_owned())],
            body: body.as_ref().to_vec(),
        }
    }

    /// The primary rate limit as GitHub reports it.
    pub fn rate_limited(reset: u64) -> Self {
        let reply = answers::rate_limited(5000, reset);
        Self::Status {
            code: reply.status,
            headers: reply.headers,
            body: reply.body,
        }
    }

    /// The secondary rate limit as GitHub reports it, with `retry-after` or without.
    pub fn secondary_limit(code: u16, retry_after: Option<&str>) -> Self {
        let reply = answers::secondary_limit(code, retry_after);
        Self::Status {
            code: reply.status,
            headers: reply.headers,
            body: reply.body,
        }
    }

    /// A change of the honest body.
    pub fn mutate(change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Mutate(Box::new(change))
    }

    /// A change of the honest JSON body.
    pub fn mutate_json(change: impl Fn(&mut serde_json::Value) + Send + Sync + 'static) -> Self {
        Self::mutate(move |body| {
            let mut value = serde_json::from_slice(&body).expect("a JSON answer");
            change(&mut value);
            serde_json::to_vec(&value).expect("JSON is serialisable")
        })
    }

    /// A change of the pack in the answer to a `fetch`; the trailer is made to fit again.
    pub fn mutate_pack(change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::mutate(move |body| pack::change_pack(&body, |pack| pack::with_trailer(change(pack))))
    }

    /// Another pack in the answer to a `fetch`, as it is: see `Repo::pack`.
    pub fn replace_pack(pack: Vec<u8>) -> Self {
        Self::mutate(move |body| pack::change_pack(&body, |_| pack.clone()))
    }

    /// A gzip body that unpacks to this many zero bytes.
    pub fn gzip_bomb(bytes: u64) -> Self {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ];
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        Self::Status {
            code: 200,
            headers,
            body: gzip_zeros(bytes),
        }
    }

    /// Whether the honest answer is not needed at all.
    pub(super) fn replaces(&self) -> bool {
        matches!(
            self,
            Self::Status { .. }
                | Self::Html
                | Self::Redirect { .. }
                | Self::RedirectOrigin { .. }
                | Self::Silence
                | Self::Raw(_)
                | Self::Reset
        )
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status { .. } => "Status",
            Self::Html => "Html",
            Self::ReplaceBody(_) => "ReplaceBody",
            Self::Mutate(_) => "Mutate",
            Self::Redirect { .. } => "Redirect",
            Self::RedirectOrigin { .. } => "RedirectOrigin",
            Self::Cut { .. } => "Cut",
            Self::Truncate { .. } => "Truncate",
            Self::Stall { .. } => "Stall",
            Self::Silence => "Silence",
            Self::Raw(_) => "Raw",
            Self::Reset => "Reset",
        })
    }
}

/// How often a fault was really applied: a test that plans a fault asserts that it happened.
#[derive(Clone, Debug)]
pub struct Hits(Arc<AtomicUsize>);

impl Hits {
    /// The number of answers it changed.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) struct Rule {
    when: When,
    action: Arc<Action>,
    matched: usize,
    hits: Arc<AtomicUsize>,
}

impl Rule {
    pub(super) fn new(when: When, action: Action) -> Self {
        Self {
            when,
            action: Arc::new(action),
            matched: 0,
            hits: Arc::default(),
        }
    }

    pub(super) fn hits(&self) -> Hits {
        Hits(self.hits.clone())
    }
}

/// The action for a request: of the first rule that matches and whose turn it is. Every rule counts its own matches.
pub(super) fn choose(rules: &mut [Rule], seen: &Seen) -> Option<Arc<Action>> {
    let mut chosen = None;
    for rule in rules {
        if !rule.when.tests.iter().all(|test| test(seen)) {
            continue;
        }
        rule.matched += 1;
        let turn = match rule.when.turn {
            Turn::Always => true,
            Turn::Nth(n) => rule.matched == n,
            Turn::First(n) => rule.matched <= n,
            Turn::From(n) => rule.matched >= n,
        };
        if turn && chosen.is_none() {
            rule.hits.fetch_add(1, Ordering::SeqCst);
            chosen = Some(rule.action.clone());
        }
    }
    chosen
}

/// The part of an action that concerns the answer's status, headers and decoded body.
pub(super) fn alter(mut reply: Reply, action: Option<&Action>, request: &Request) -> Reply {
    match action {
        Some(Action::Status {
            code,
            headers,
            body,
        }) => {
            let mut reply = Reply::new(*code, "text/plain; charset=utf-8", body.clone());
            for (name, value) in headers {
                reply.set(name, value);
            }
            reply
        }
        Some(Action::Html) => Reply::new(
            200,
            "text/html; charset=utf-8",
            "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action=\"/login\"></form></body></html>\n",
        ),
        Some(Action::ReplaceBody(body)) => {
            reply.body.clone_from(body);
            reply
        }
        Some(Action::Mutate(change)) => {
            reply.body = change(reply.body);
            reply
        }
        Some(Action::Redirect { code, to }) => Reply::text(*code, "").with("location", to),
        Some(Action::RedirectOrigin { code, origin }) => {
            Reply::text(*code, "").with("location", format!("{origin}{}", request.target()))
        }
        _ => reply,
    }
}

/// A gzip stream of zeros, made without holding them.
fn gzip_zeros(bytes: u64) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(
        &mut std::io::Read::take(std::io::repeat(0), bytes),
        &mut encoder,
    )
    .expect("writing to memory");
    encoder.finish().expect("writing to memory")
}
