//! A response, and what its status and its type mean.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{StatusCode, Url, Version};
use rustls::InvalidMessage;
use serde::de::DeserializeOwned;

use super::{Body, Cap, Credentials, Error, Inner, authority, redirect};
use crate::text::{first_words, words};

/// How much of a response is shown that is not a forge's.
const SHOWN: usize = 80;
/// How much of a response is read ahead for a parser.
const BUFFER: usize = 64 << 10;

/// The message of a refusal in JSON, by the names that GitHub, GitLab, Gitea and others use.
#[derive(serde::Deserialize)]
struct ErrorBody {
    message: String,
}

/// The head of a response, and its body to be read.
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Where it came from, after redirects.
    pub url: Url,
    /// Its body, decoded.
    pub body: Body,
    /// Whether other requests can be under way on its connection at the same time (HTTP/2).
    pub is_multiplexed: bool,
    credentials: Option<Credentials>,
}

/// A whole response.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Where it came from, after redirects.
    pub url: Url,
    /// Its body, decoded.
    pub body: Vec<u8>,
    credentials: Option<Credentials>,
}

impl Response {
    pub(super) fn new(
        client: Arc<Inner>,
        answer: reqwest::Response,
        url: Url,
        cap: Cap,
        credentials: Option<Credentials>,
    ) -> Result<Self, Error> {
        let status = answer.status();
        let is_multiplexed = answer.version() == Version::HTTP_2;
        let headers = answer.headers().clone();
        let gzip = match headers
            .get(CONTENT_ENCODING)
            .map(|value| value.as_bytes().to_ascii_lowercase())
        {
            None => false,
            Some(coding) => match coding.as_slice() {
                b"" | b"identity" => false,
                b"gzip" | b"x-gzip" => true,
                other => {
                    let coding = words(other);
                    let answer = format!("a body encoded as `{coding}`, which was not asked for");
                    return Err(Error::NotAForge {
                        remote: authority(&url),
                        answer,
                    });
                }
            },
        };
        // A proxy's 304 or 204 may name the coding of the body it does not have.
        let empty = headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length == "0")
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = Body::new(client, answer, &url, cap, gzip && !empty);
        Ok(Self {
            status,
            headers,
            url,
            body,
            is_multiplexed,
            credentials,
        })
    }

    pub(super) fn buffer(&mut self, max: u64) {
        self.body.buffer(max);
    }

    pub(super) fn buffered(&self) -> &[u8] {
        self.body.buffered()
    }

    /// The media type, in lower case, without its parameters.
    #[must_use]
    pub fn media_type(&self) -> String {
        media_type(&self.headers)
    }

    /// Reads a JSON response as it comes; `what` names it in the error.
    pub fn into_json<T: DeserializeOwned>(self, what: &'static str) -> Result<T, Error> {
        let failure = self.body.failure();
        let Self {
            status,
            headers,
            url,
            body,
            is_multiplexed: _,
            credentials,
        } = self;
        let mut body = BufReader::with_capacity(BUFFER, body);
        let begin = body.fill_buf().unwrap_or_default().to_vec();
        if !opens_json(&media_type(&headers), &begin) {
            let reply = Reply {
                status,
                headers,
                url,
                body: begin,
                credentials,
            };
            return Err(failure.take().unwrap_or_else(|| reply.not_a_forge()));
        }
        serde_json::from_reader(body).map_err(|error| {
            failure.take().unwrap_or_else(|| Error::Malformed {
                remote: authority(&url),
                what,
                problem: error.to_string(),
            })
        })
    }

    /// Whether it redirects to another host.
    #[must_use]
    pub fn leaves_host(&self) -> bool {
        self.status.is_redirection() && redirect::leaves_host(&self.url, &self.headers)
    }

    /// The whole response.
    pub fn into_reply(mut self) -> Result<Reply, Error> {
        if !self.status.is_success() {
            self.body.buffer(super::EXPLANATION_MAX);
        }
        let mut body = Vec::with_capacity(self.body.size_hint());
        if let Err(error) = self.body.read_to_end(&mut body) {
            let cause = error.to_string();
            let unreachable = Error::Unreachable {
                remote: authority(&self.url),
                cause,
                received: 0,
            };
            return Err(self.body.failure().take().unwrap_or(unreachable));
        }
        let Self {
            status,
            headers,
            url,
            credentials,
            ..
        } = self;
        Ok(Reply {
            status,
            headers,
            url,
            body,
            credentials,
        })
    }

    /// The error that an unexpected response means.
    #[must_use]
    pub fn refusal(mut self) -> Error {
        self.body.buffer(super::EXPLANATION_MAX);
        let Self {
            status,
            headers,
            url,
            body,
            is_multiplexed: _,
            credentials,
        } = self;
        let body = body.buffered().to_vec();
        Reply {
            status,
            headers,
            url,
            body,
            credentials,
        }
        .refusal()
    }
}

impl Reply {
    /// The media type, in lower case, without its parameters.
    #[must_use]
    pub fn media_type(&self) -> String {
        media_type(&self.headers)
    }

    /// Reads a JSON response; `what` names it in the error.
    pub fn json<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, Error> {
        if !opens_json(&self.media_type(), &self.body) {
            return Err(self.not_a_forge());
        }
        serde_json::from_slice(&self.body).map_err(|error| Error::Malformed {
            remote: authority(&self.url),
            what,
            problem: error.to_string(),
        })
    }

    /// The error that an unexpected response means.
    #[must_use]
    pub fn refusal(&self) -> Error {
        let remote = authority(&self.url);
        let token = || Credentials::name_at(self.credentials.as_ref(), &self.url);
        match self.status.as_u16() {
            401 => Error::Unauthorized {
                remote,
                token: token(),
                words: self.explanation(),
            },
            403 | 451 => Error::Forbidden {
                remote,
                token: token(),
                words: self.explanation(),
                sso: self.single_sign_on(),
            },
            404 => Error::NoPermission {
                remote,
                token: token(),
            },
            429 => Error::RateLimited {
                remote,
                retry: None,
                token: token(),
            },
            // The request was not conditional.
            304 => self.not_a_forge(),
            300..=399 => redirect::refused(&self.url, &self.headers),
            511 => Error::LoginPage { remote, page: None },
            status @ 500.. => Error::ServerError { remote, status },
            _ => self.not_a_forge(),
        }
    }

    /// Why the server refuses, in its own words: the message of a JSON response, or the first line of a text.
    fn explanation(&self) -> Option<String> {
        let media_type = self.media_type();
        let text = if media_type == "application/json" || media_type.ends_with("+json") {
            let answer: ErrorBody = serde_json::from_slice(&self.body).ok()?;
            words(answer.message)
        } else if media_type == "text/plain" {
            let mut lines = self.body.split(|byte| *byte == b'\n');
            words(lines.find(|line| !line.trim_ascii().is_empty())?)
        } else {
            return None;
        };
        (!text.is_empty()).then_some(text)
    }

    /// Where GitHub lets a token be authorised for an organisation with single sign-on, without the part that names
    /// this request.
    /// <https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api#saml-sso>
    fn single_sign_on(&self) -> Option<String> {
        let header = self.headers.get("x-github-sso")?.to_str().ok()?;
        let url = header
            .split(';')
            .find_map(|part| part.trim().strip_prefix("url="))?;
        let mut url = Url::parse(url).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        let is_web = url.scheme() == "https" && url.username().is_empty();
        is_web.then(|| words(url.as_str()))
    }

    /// The error for a response of an unexpected type, with its first words.
    #[must_use]
    pub fn not_a_forge(&self) -> Error {
        let words = first_words(&self.body, SHOWN);
        let status = self.status.as_u16();
        let answer = if words.is_empty() {
            format!("status {status}, nothing else")
        } else {
            format!("status {status}, {words}")
        };
        Error::NotAForge {
            remote: authority(&self.url),
            answer,
        }
    }
}

/// Whether a response is declared as JSON and begins with an object or an array.
fn opens_json(media_type: &str, begin: &[u8]) -> bool {
    let is_json = media_type == "application/json" || media_type.ends_with("+json");
    let opens = begin.iter().find(|byte| !byte.is_ascii_whitespace());
    is_json && matches!(opens, Some(b'{' | b'['))
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// A connection that was not made or broke, in one line; the address is left out, it may be pre-authorised. `received`:
/// bytes of responses that had come.
pub(super) fn broken(remote: &str, received: u64, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let remote = remote.to_owned();
    match tls_fault(&error) {
        Some(rustls::Error::InvalidCertificate(_)) => Error::Certificate {
            cause: root(&error).to_string(),
            remote,
        },
        // Once a connection is established, the same is damage in transit.
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType))
            if error.is_connect() =>
        {
            Error::NoTls { remote }
        }
        _ => Error::Unreachable {
            cause: root(&error).to_string(),
            remote,
            received,
        },
    }
}

/// The first cause, because the messages that the layers of the client wrap around it add nothing.
fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    error.source().map_or(error, root)
}

/// The error of TLS, if it was TLS that failed.
fn tls_fault<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    // The source of an `io::Error` is that of what it holds, so the inner error is checked itself.
    let held = || error.downcast_ref().and_then(std::io::Error::get_ref);
    error
        .downcast_ref()
        .or_else(|| held().and_then(|held| tls_fault(held)))
        .or_else(|| error.source().and_then(tls_fault))
}
