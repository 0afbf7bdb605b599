//! What an HTTP client is made of: options, certificates, runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use miette::Diagnostic;
use reqwest::Certificate;
use reqwest::redirect::Policy;
use tokio::runtime::{Builder, Runtime};

use super::Error;
use super::proxy::Proxies;
use crate::exit::Exit;
use crate::settings::{Env, Limits};
use crate::source::Meter;
use crate::text::{self, with_causes};
use crate::vetted::{self, FileRequirements};

/// The largest bundle of certificates that is read; that of Mozilla has 250 kB.
const CA_MAX: u64 = 16 << 20;
/// What hosts see of us, but for requests that speak git.
const USER_AGENT: &str = concat!("hyper-sync/", env!("CARGO_PKG_VERSION"));
/// Time for name lookup, TCP and TLS. With the retries, a machine without network knows within a minute.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// What an HTTP client is made with.
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
    /// Counts what is received.
    pub meter: Arc<Meter>,
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
            meter: Arc::default(),
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

    /// With a time limit for all that is requested, also without a byte.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        Self {
            time,
            stall: time,
            ..self
        }
    }
}

/// The HTTP client, and whether it can check a certificate.
pub(super) fn client(options: &Options) -> Result<(reqwest::Client, bool), Error> {
    let proxies = options.proxies.usable();
    // A second call finds it installed: that is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIME)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy();
        for proxy in &proxies {
            builder = builder.proxy(proxy.clone());
        }
        builder
    };
    let build = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| failed(&error));
    if let Some((path, origin)) = &options.ca_file {
        let refuse = |cause| {
            Error::from(SetupError::CaFile {
                path: path.clone(),
                origin,
                cause,
            })
        };
        let pem = vetted::read(path, &FileRequirements::anyone(CA_MAX))
            .map_err(|refusal| refuse(refusal.to_string()))?;
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|error| refuse(with_causes(&error)))?;
        if certificates.is_empty() {
            return Err(refuse("it holds none".to_owned()));
        }
        let client = builder().tls_certs_only(certificates).build();
        return Ok((client.map_err(|error| refuse(with_causes(&error)))?, true));
    }
    match builder().build() {
        Ok(client) => Ok((client, true)),
        // A system without certificates (a build sandbox) can still reach plain http; https is refused by name.
        Err(_) => Ok((build(builder().tls_certs_only([]))?, false)),
    }
}

/// One worker: the program waits for the network in one place, and so does the runtime.
pub(super) fn runtime() -> Result<Runtime, Error> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("network")
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> Error {
    SetupError::Client {
        cause: with_causes(error),
    }
    .into()
}

/// Why an HTTP request is not sent, for a reason of this machine's own.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SetupError {
    /// A token would travel unencrypted.
    #[error("a token is not sent to {remote} over plain http")]
    #[diagnostic(
        code(hyper_sync::source::plain_http),
        help("use the `https://` address, or run without a token; nothing was sent or written")
    )]
    PlainHttp {
        /// Host or repository.
        remote: String,
    },
    /// The proxy of the environment.
    #[error("the proxy in `{variable}` {problem}")]
    #[diagnostic(
        code(hyper_sync::source::proxy),
        help("correct the variable, or unset it to connect without a proxy; nothing was written")
    )]
    Proxy {
        /// The environment variable.
        variable: String,
        /// What is wrong with its value, which is not shown: it may hold a password.
        problem: &'static str,
    },
    /// The CA certificates cannot be used.
    #[error("the CA certificates of `{}` cannot be used: {}", text::path(.path), text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::source::ca_file),
        help("`{origin}` must name a file of PEM certificates; nothing was written")
    )]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The setting or environment variable that names it.
        origin: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// There is nothing to check a server's certificate with.
    #[error("{remote} cannot be trusted: this system has no CA certificates")]
    #[diagnostic(
        code(hyper_sync::source::no_certificates),
        help(
            "install them, or set `ca_file` or `SSL_CERT_FILE` to a file of PEM certificates; nothing was written"
        )
    )]
    NoCertificates {
        /// Host or repository.
        remote: String,
    },
    /// The HTTP client could not be set up at all.
    #[error("cannot set up the network client: {}", text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::source::client),
        help("correct the cause and run again, and report it if it stays; nothing was written")
    )]
    Client {
        /// The whole chain in one line.
        cause: String,
    },
}

impl SetupError {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::PlainHttp { .. }
            | Self::Proxy { .. }
            | Self::CaFile { .. }
            | Self::NoCertificates { .. } => Exit::Configuration,
            Self::Client { .. } => Exit::Failure,
        }
    }
}
