//! A token in the form a request carries it, bound to one origin.

use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;

use crate::source::error::NONE;
use crate::token::Token;

/// The `Authorization` of one origin (scheme, host and port). It prints nothing of the secret.
#[derive(Clone)]
pub struct Credentials {
    header: HeaderValue,
    origin: String,
    name: String,
}

impl Credentials {
    /// As the REST API takes it; `None` where the token does not belong to the address's host.
    ///
    /// The scheme is `token`, not `Bearer`: GitHub takes both, but not everywhere for fine-grained tokens.
    #[must_use]
    pub fn token(token: &Token, url: &Url) -> Option<Self> {
        let secret = token.secret().expose_secret();
        Self::new(token, url, &format!("token {secret}"))
    }

    /// As git over HTTP takes it; `None` where the token does not belong to the address's host.
    #[must_use]
    pub fn basic(token: &Token, url: &Url) -> Option<Self> {
        Self::new(
            token,
            url,
            &format!("Basic {}", token.basic().expose_secret()),
        )
    }

    fn new(token: &Token, url: &Url, header: &str) -> Option<Self> {
        if !token.belongs_to(url.host_str()?) {
            return None;
        }
        let mut header = HeaderValue::from_str(header).ok()?;
        // Neither our log nor hyper's shows it then, and HTTP/2 does not keep it in its compression table.
        header.set_sensitive(true);
        Some(Self {
            header,
            origin: url.origin().ascii_serialization(),
            name: token.origin().to_string(),
        })
    }

    /// Whether they may go with a request to this address.
    #[must_use]
    pub fn belong_to(&self, url: &Url) -> bool {
        self.origin == url.origin().ascii_serialization()
    }

    /// Where the token came from, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the token came from that a request to this address is sent with, in the words of an error.
    #[must_use]
    pub fn name_at(credentials: Option<&Self>, url: &Url) -> String {
        let used = credentials.filter(|credentials| credentials.belong_to(url));
        used.map_or(NONE, Self::name).to_owned()
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.name)
    }
}
