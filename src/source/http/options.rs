//! What a client goes by.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::proxy::Proxies;
use crate::settings::{Env, Limits};

/// What a client goes by.
#[derive(Debug, Clone)]
pub struct Options {
    /// A PEM bundle in place of the system's certificates, and the setting or variable that names it.
    pub ca_file: Option<(PathBuf, &'static str)>,
    /// Proxy variables, taken from the environment.
    pub proxies: Proxies,
    /// The time all requests together may take, from the making of the client.
    pub time: Duration,
    /// The time without a byte, or with fewer than 1 KiB a second, after which a request is given up.
    pub stall: Duration,
    /// The first pause before a retry; each later one is twice as long.
    pub backoff: Duration,
    /// How often one request is sent again after a broken connection or a 5xx.
    pub retries: u32,
    /// The longest that a rate limit is waited out; a longer one is an error at once.
    pub max_wait: Duration,
    /// The first pause after a rate limit that gives no time; each later one is twice as long.
    pub pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ca_file: None,
            proxies: Proxies::default(),
            time: Limits::default().time,
            stall: Duration::from_secs(30),
            backoff: Duration::from_millis(500),
            retries: 3,
            max_wait: Duration::from_secs(90),
            // What GitHub asks for: "wait for at least one minute".
            pause: Duration::from_secs(60),
        }
    }
}

impl Options {
    /// By the settings, and for what they leave open by the environment.
    #[must_use]
    pub fn new(ca_file: Option<&Path>, limits: Limits, env: &Env) -> Self {
        let named = |name| env.get(name).map(|path| (PathBuf::from(path), name));
        Self {
            ca_file: ca_file
                .map(|path| (path.to_owned(), "ca_file"))
                .or_else(|| named("SSL_CERT_FILE"))
                .or_else(|| named("NIX_SSL_CERT_FILE")),
            proxies: Proxies::from_env(env),
            time: limits.time,
            ..Self::default()
        }
    }
}
