//! A request before it is sent, and which addresses are accepted at all.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::{Credentials, Error};

/// The cap of a response's decoded size, with the words for its error.
#[derive(Debug, Clone)]
pub struct Cap {
    /// The most bytes.
    pub bytes: u64,
    /// What is too large if there are more.
    pub what: String,
    /// The setting that holds the limit; `None`: no honest response is as long.
    pub setting: Option<&'static str>,
}

impl Cap {
    /// For a response whose length is bounded by its kind.
    #[must_use]
    pub fn fixed(bytes: u64, what: impl Into<String>) -> Self {
        Self {
            bytes,
            what: what.into(),
            setting: None,
        }
    }

    /// For responses of a few words.
    #[must_use]
    pub fn small() -> Self {
        Self::fixed(1 << 20, "the answer")
    }
}

/// One request; nothing is sent until a [`Client`] is given it.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) credentials: Option<Credentials>,
    pub(super) cap: Cap,
    pub(super) service: &'static str,
}

impl Request {
    /// A `GET`.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Vec::new(),
            credentials: None,
            cap: Cap::small(),
            service: "",
        }
    }

    /// A `POST`.
    #[must_use]
    pub fn post(url: Url, content_type: &'static str, body: Vec<u8>) -> Self {
        let mut request = Self::get(url);
        request.method = Method::POST;
        request.body = body;
        request.header(CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With an `Accept` header.
    #[must_use]
    pub fn accept(self, media_type: &'static str) -> Self {
        self.header(ACCEPT, HeaderValue::from_static(media_type))
    }

    /// With credentials; they go to their own origin only.
    #[must_use]
    pub fn credentials(mut self, credentials: Option<&Credentials>) -> Self {
        self.credentials = credentials.cloned();
        self
    }

    /// With a query in the address, encoded already.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        self.url.set_query(Some(query));
        self
    }

    /// With another cap of the response's size.
    #[must_use]
    pub fn cap(mut self, cap: Cap) -> Self {
        self.cap = cap;
        self
    }

    /// Of a service of the host that has rate limits of its own: git is not limited because the API is.
    #[must_use]
    pub fn service(mut self, service: &'static str) -> Self {
        self.service = service;
        self
    }

    /// Whose requests are counted together.
    pub(super) fn gate(&self, url: &Url) -> String {
        let host = authority(url);
        match self.service {
            "" => host,
            service => format!("{service} at {host}"),
        }
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Parses an address and refuses what must not be requested: other schemes, credentials, fragments.
pub fn url(text: &str) -> Result<Url, Error> {
    let mut url = Url::parse(text).map_err(|_| Error::Address {
        url: text.to_owned(),
        problem: "is not a URL",
    })?;
    let problem = if !matches!(url.scheme(), "http" | "https") {
        "is neither http nor https"
    } else if !url.username().is_empty() || url.password().is_some() {
        // Both setters fail only for URLs that cannot have a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        "holds credentials, which belong into a token file"
    } else if url.fragment().is_some() {
        "has a fragment"
    } else {
        return Ok(url);
    };
    Err(Error::Address {
        url: url.to_string(),
        problem,
    })
}

/// Host and port for people.
pub(in crate::source) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(super) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || bare
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    })
}
