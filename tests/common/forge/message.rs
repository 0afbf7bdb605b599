//! Requests and answers as plain values, and the body that is sent: whole, cut, or never ending.

use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
};
use http_body::{Frame, SizeHint};

use super::{fault::Action, journal::Entry, wire::Peer};

/// One recorded request with what became of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path as it was sent, percent-encoded.
    pub path: String,
    /// The query as it was sent, without `?`; empty when there is none.
    pub query: String,
    /// Headers in the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it was sent.
    pub body: Vec<u8>,
    /// The status that was answered; 0 while there is no answer.
    pub status: u16,
    /// Bytes of the answer's body that were sent, as encoded.
    pub response_bytes: u64,
}

impl Seen {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Bytes of the request's body, as sent.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// The request's body as text, decompressed.
    pub fn text(&self) -> String {
        let mut plain = Vec::new();
        let gzip = self.header("content-encoding") == Some("gzip");
        if gzip
            && flate2::read::GzDecoder::new(self.body.as_slice())
                .read_to_end(&mut plain)
                .is_ok()
        {
            return String::from_utf8_lossy(&plain).into_owned();
        }
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `METHOD /path?query`.
    pub fn line(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{} {}{mark}{}", self.method, self.path, self.query)
    }

    /// Whether `secret`, plain or inside Basic authentication, is anywhere in the request.
    pub fn contains(&self, secret: &str) -> bool {
        let plain = |text: &str| text.contains(secret);
        let basic = |value: &str| {
            basic_parts(value).is_some_and(|(user, password)| plain(&user) || plain(&password))
        };
        plain(&self.path)
            || plain(&self.query)
            || plain(&self.text())
            || self
                .headers
                .iter()
                .any(|(_, value)| plain(value) || basic(value))
    }
}

/// User and password of a `Basic` authorization header.
pub(super) fn basic_parts(value: &str) -> Option<(String, String)> {
    let coded = value.strip_prefix("Basic ")?;
    let plain =
        String::from_utf8(data_encoding::BASE64.decode(coded.trim().as_bytes()).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// A request, read to the end.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// The path's parts, decoded: `%2F` in a ref stays inside its part.
    pub(super) segments: Vec<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// `http://host:port`, for links in answers.
    pub(super) origin: String,
}

impl Request {
    pub(super) async fn read(
        request: axum::http::Request<Body>,
        origin: &str,
    ) -> Result<Self, axum::Error> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await?.to_vec();
        let path = parts.uri.path().to_owned();
        let segments = path
            .trim_start_matches('/')
            .split('/')
            .map(percent_decode)
            .collect();
        Ok(Self {
            method: parts.method.to_string(),
            segments,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            path,
            headers: parts.headers,
            body,
            origin: origin.to_owned(),
        })
    }

    pub(super) fn seen(&self) -> Seen {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Seen {
            method: self.method.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            body: self.body.clone(),
            status: 0,
            response_bytes: 0,
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The value of a query parameter, decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| percent_decode(value))
        })
    }

    pub(super) fn accepts_gzip(&self) -> bool {
        self.header("accept-encoding")
            .is_some_and(|value| value.contains("gzip"))
    }

    /// Path and query, for a redirect that keeps them.
    pub(super) fn target(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }
}

/// Percent-decoding; what is not UTF-8 afterwards becomes U+FFFD and so matches nothing.
pub(super) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let code = bytes.get(i + 1..i + 3).filter(|_| bytes[i] == b'%');
        let byte = code.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(bytes[i]));
        i += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// May be sent as gzip.
    pub(super) compress: bool,
    /// Sent without a length, as a server does that does not know it yet.
    pub(super) chunked: bool,
}

impl Reply {
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self {
            status,
            headers,
            body: body.into(),
            compress: false,
            chunked: false,
        }
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.headers
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// As gzip, where this answer may be: the validator becomes a weak one, as at GitHub.
    pub(super) fn compressed(mut self) -> Self {
        if !self.compress || self.body.is_empty() || self.get("content-encoding").is_some() {
            return self;
        }
        self.body = gzip(&self.body);
        self.set("content-encoding", "gzip");
        let weak = self
            .get("etag")
            .filter(|tag| !tag.starts_with("W/"))
            .map(|tag| format!("W/{tag}"));
        if let Some(weak) = weak {
            self.set("etag", weak);
        }
        self
    }
}

/// A body on its way.
pub(super) struct Outgoing {
    left: Bytes,
    end: End,
    /// Told to the client in `Content-Length`.
    length: Option<u64>,
    peer: Peer,
    entry: Option<Entry>,
}

enum End {
    Whole,
    /// The connection closes once everything so far is on the wire.
    Cut(Option<u64>),
    /// Nothing more ever comes.
    Stall,
}

impl Outgoing {
    pub(super) fn response(
        mut reply: Reply,
        action: Option<&Action>,
        peer: &Peer,
        entry: Option<Entry>,
    ) -> Response<Self> {
        let whole = reply.body.len();
        let mut length = (!reply.chunked).then_some(whole as u64);
        let mut end = End::Whole;
        match action {
            Some(Action::Cut { after_bytes }) => {
                reply.body.truncate(*after_bytes);
                end = End::Cut(None);
            }
            Some(Action::Stall { after_bytes }) => {
                reply.body.truncate(*after_bytes);
                end = End::Stall;
            }
            Some(Action::Truncate { keep, honest }) => {
                reply.body.truncate(*keep);
                if *honest {
                    length = length.map(|_| reply.body.len() as u64);
                } else {
                    end = End::Cut(None);
                }
            }
            Some(Action::Raw(bytes)) => peer.say_instead(bytes.clone()),
            Some(Action::Reset) => peer.say_instead(Vec::new()),
            _ => {}
        }
        // A false length is set here: left to hyper, the length would be that of what follows.
        let said = length.filter(|_| !matches!(end, End::Whole));
        let hint = length.filter(|_| matches!(end, End::Whole));
        let body = Self {
            left: Bytes::from(reply.body),
            end,
            length: hint,
            peer: peer.clone(),
            entry,
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(reply.status).expect("a status code");
        for (name, value) in reply.headers {
            let name: HeaderName = name.parse().expect("a header name");
            response.headers_mut().append(
                name,
                HeaderValue::from_bytes(value.as_bytes()).expect("a header value"),
            );
        }
        if let Some(said) = said {
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from(said));
        }
        response
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = &mut *self;
        if !body.left.is_empty() {
            let size = body.left.len().min(16 * 1024);
            if let Some(entry) = &body.entry {
                entry.sent(size);
            }
            return Poll::Ready(Some(Ok(Frame::data(body.left.split_to(size)))));
        }
        match &mut body.end {
            End::Whole => Poll::Ready(None),
            End::Stall => Poll::Pending,
            End::Cut(since) => {
                // hyper drops what it has not written yet when a body fails: wait until all of it is out.
                let since = *since.get_or_insert_with(|| body.peer.flushes());
                ready!(body.peer.poll_flushed(since, context));
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, |_| {
            SizeHint::with_exact(self.left.len() as u64)
        })
    }
}

/// Compresses; here because requests and faults need it too.
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}
