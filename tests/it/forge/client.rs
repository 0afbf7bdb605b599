//! A bare HTTP client: no redirects followed, nothing decoded.

use std::sync::OnceLock;

use reqwest::{Client, ClientBuilder, Method, header::HeaderMap, redirect::Policy};
use tokio::runtime::{Builder, Runtime};

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

pub(super) fn get(url: &str) -> Answer {
    get_with(url, &[])
}

pub(super) fn get_with(url: &str, headers: &[(&str, &str)]) -> Answer {
    send(Method::GET, url, headers, Vec::new()).unwrap()
}

/// Fails where the connection fails, also in the middle of the body.
pub(super) fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> reqwest::Result<Answer> {
    runtime().block_on(async {
        let mut request = client().request(method, url).body(body);
        if headers.iter().all(|(name, _)| *name != "user-agent") {
            request = request.header("user-agent", "git/test");
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer {
            status,
            headers,
            body: response.bytes().await?.to_vec(),
        })
    })
}

/// The bytes of a body that arrive before it fails or stays silent for ever; the latter ends with the forge.
pub(super) fn partial(url: &str, enough: usize) -> (usize, bool) {
    runtime().block_on(async {
        let mut response = client()
            .get(url)
            .header("user-agent", "git/test")
            .send()
            .await
            .unwrap();
        let mut received = 0;
        while received < enough {
            match response.chunk().await {
                Ok(Some(bytes)) => received += bytes.len(),
                Ok(None) => return (received, true),
                Err(_) => return (received, false),
            }
        }
        (received, true)
    })
}

/// Something else than a plain request, with a client of its own.
pub(super) fn with<T>(
    build: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ask: impl AsyncFnOnce(Client) -> reqwest::Result<T>,
) -> reqwest::Result<T> {
    runtime().block_on(async { ask(build(builder()).build()?).await })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn client() -> Client {
    builder().build().unwrap()
}

fn builder() -> ClientBuilder {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
    // One client a request: none outlives the runtime of its connections.
    Client::builder().redirect(Policy::none()).no_proxy()
}
