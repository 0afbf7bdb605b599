//! What keeps a request from being sent: the parts of the HTTP client, and what must not travel.

use miette::Diagnostic;

use crate::exit::Exit;
use crate::text;

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
        path: std::path::PathBuf,
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
