//! The token: where it is searched, what a place must be like to be trusted, and which host it may be sent to.
//!
//! A token belongs to one host. Nothing here prints its content, not even in an error about it, and no type that holds
//! it has a `Debug` that would.
//!
//! The first place that has one decides:
//!
//! 1. the setting `token_file`,
//! 2. `$CREDENTIALS_DIRECTORY/token` (systemd's `LoadCredential=`),
//! 3. `GITHUB_TOKEN`, `GH_TOKEN`; for a GitHub Enterprise host `GH_ENTERPRISE_TOKEN`, `GITHUB_ENTERPRISE_TOKEN`,
//! 4. `~/.config/github/token`, and under `sudo` that of the user who called it,
//! 5. `access-tokens` of Nix: `NIX_CONFIG`, the user's `nix.conf`, the system's,
//! 6. netrc: `$NETRC`, `~/.netrc`, `/etc/nix/netrc`.
//!
//! A place that has a token in a state that must not be used is an error, not passed over: the next place could hold
//! another identity, and nobody would notice.
//!
//! Limits: an `access-tokens` entry for one owner (`github.com/owner=…`) is not read, and users are searched in
//! `/etc/passwd` only.

use std::fmt;
use std::path::PathBuf;

use miette::Diagnostic;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::exit::Exit;
use crate::text::{self, keep_secret};
use crate::vetted::Untrusted;

mod file;
mod nix;
mod search;

pub use search::TokenSearch;

/// A token, its place and its host.
#[derive(Clone)]
pub struct Token {
    secret: SecretString,
    login: String,
    origin: TokenOrigin,
    host: String,
}

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenOrigin {
    /// A file that holds nothing else.
    File(PathBuf),
    /// An environment variable.
    Variable(&'static str),
    /// Nix's setting `access-tokens`, in `NIX_CONFIG` or a file.
    Nix(PathBuf),
    /// A netrc file.
    Netrc(PathBuf),
}

impl fmt::Display for TokenOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the token in `{}`", text::path(path)),
            Self::Variable(name) => write!(f, "the token in `{name}`"),
            Self::Nix(path) => write!(f, "the `access-tokens` of `{}`", text::path(path)),
            Self::Netrc(path) => write!(f, "the netrc file `{}`", text::path(path)),
        }
    }
}

/// The name that git hosts take for "the password is a token".
const LOGIN: &str = "x-access-token";

impl Token {
    /// The secret. The caller that exposes it must send it only where [`Token::belongs_to`] allows.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// The login for where one is required.
    #[must_use]
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Login and secret as HTTP's basic authentication has them.
    #[must_use]
    pub fn basic(&self) -> SecretString {
        let pair = Zeroizing::new(format!("{}:{}", self.login, self.secret.expose_secret()));
        data_encoding::BASE64.encode(pair.as_bytes()).into()
    }

    /// From now on it is masked wherever it would be printed, in both forms in which it is sent.
    fn keep(&self) {
        keep_secret(self.secret.expose_secret());
        keep_secret(self.basic().expose_secret());
    }

    /// Where it was found.
    #[must_use]
    pub fn origin(&self) -> &TokenOrigin {
        &self.origin
    }

    /// Whether it may be sent to `host`: its own, and for GitHub's own hosts their API.
    #[must_use]
    pub fn belongs_to(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        host == self.host || (is_github(&self.host) && host == format!("api.{}", self.host))
    }
}

/// Never the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("origin", &self.origin)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// GitHub itself and its data residency hosts; a token of one is not valid at the other.
fn is_github(host: &str) -> bool {
    host == "github.com"
        || host
            .strip_suffix(".ghe.com")
            .is_some_and(|tenant| !tenant.contains('.'))
}

/// A token that must not be used as it is.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The file that holds it is not read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] Untrusted),
    /// No token in it, or something that cannot be one.
    #[error("{place} {problem}")]
    #[diagnostic(
        code(hyper_sync::token::content),
        help("write the token alone, on one line; nothing was sent or written")
    )]
    Content {
        /// Where, in words.
        place: String,
        /// What is wrong; never what is there.
        problem: &'static str,
    },
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::File(_) | Self::Content { .. } => Exit::Configuration,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(host: &str) -> Token {
        Token {
            secret: "canary".into(),
            login: LOGIN.to_owned(),
            origin: TokenOrigin::Variable("GH_TOKEN"),
            host: host.to_owned(),
        }
    }

    #[test]
    fn a_token_goes_to_its_host_and_its_api_only() {
        let github = token("github.com");
        for host in ["github.com", "api.github.com", "GitHub.com"] {
            assert!(github.belongs_to(host), "{host}");
        }
        for host in [
            "codeload.github.com",
            "raw.githubusercontent.com",
            "github.com.evil.example",
            "api.evil.example",
            "evilgithub.com",
            "acme.ghe.com",
            "",
        ] {
            assert!(!github.belongs_to(host), "{host}");
        }
        assert!(token("acme.ghe.com").belongs_to("api.acme.ghe.com"));
        assert!(!token("acme.ghe.com").belongs_to("other.ghe.com"));
        assert!(token("git.example.org").belongs_to("git.example.org"));
        assert!(!token("git.example.org").belongs_to("api.git.example.org"));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", token("github.com")).contains("canary"));
    }
}
