//! What can go wrong between a name on a remote and its objects in the store.
//!
//! Nothing in this stage touches the target: every error here leaves it as it was, and says so.

use std::time::Duration;

use miette::Diagnostic;

use super::{SetupError, SshError};
use crate::exit::Exit;
use crate::git::CommitId;
use crate::text::{self, Amount};

mod instead;
mod phrases;
mod verification;

pub use instead::{Head, Instead};
pub(super) use instead::{by_short_id, of_clone};
pub use phrases::RetryAt;
pub(super) use phrases::{NONE, quoted};
use phrases::{
    at_page, destination, new_address, permit, private, renew, unreached, until, wait, with,
};
pub use verification::VerificationError;

/// The remote, or what it sent.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// No connection, or it broke.
    #[error("{}: {}", unreached(.remote, *.received), text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::source::unreachable),
        help("check the network and run again; nothing was written")
    )]
    Unreachable {
        /// Host or repository, without credentials.
        remote: String,
        /// What happened, the whole chain in one line.
        cause: String,
        /// Bytes of responses that had come before it broke; 0: nothing, or unknown.
        received: u64,
    },
    /// Too slow: a stall, or the whole run's time is over.
    #[error("{remote} did not answer in time ({}s)", .after.as_secs())]
    #[diagnostic(
        code(hyper_sync::source::timeout),
        help("run again later, or raise `limits.time`; nothing was written")
    )]
    Timeout {
        /// Host or repository.
        remote: String,
        /// The limit that passed.
        after: Duration,
    },
    /// The server is broken for now (5xx).
    #[error("{remote} answered with status {status}")]
    #[diagnostic(
        code(hyper_sync::source::server_error),
        help("the server has a problem; run again later; nothing was written")
    )]
    ServerError {
        /// Host or repository.
        remote: String,
        /// The HTTP status.
        status: u16,
    },
    /// A response that a forge does not give: a login page, a captive portal, a broken proxy.
    #[error("{remote} does not answer like a git host: {}", text::words(.answer))]
    #[diagnostic(
        code(hyper_sync::source::not_a_forge),
        help(
            "check the repository's address, and for a proxy or a login page in between; nothing was written"
        )
    )]
    NotAForge {
        /// Host or repository.
        remote: String,
        /// The begin of the response, or what is odd about it.
        answer: String,
    },
    /// A redirect that is not followed.
    #[error("{remote} redirects {}, which is not followed", destination(.to.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::redirect),
        help("{}; nothing was written", new_address(.repo.as_deref()))
    )]
    Redirect {
        /// Host or repository.
        remote: String,
        /// The address, without credentials and query; `None` where the response names none.
        to: Option<String>,
        /// The value of `repo` for that address, where it is one of a repository.
        repo: Option<String>,
    },
    /// Something between wants a login: status 511, or a redirect to a page on another host.
    #[error("{remote} cannot be reached: a proxy or portal requires a login{}", at_page(.page.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::login_page),
        help(
            "log in to the network (a captive portal or a proxy) and run again; nothing was written"
        )
    )]
    LoginPage {
        /// Host or repository.
        remote: String,
        /// The page, without credentials and query, where the response names one.
        page: Option<String>,
    },
    /// An address that cannot or must not be asked.
    #[error("the address `{}` {problem}", text::words(.url))]
    #[diagnostic(
        code(hyper_sync::source::address),
        help("correct `repo` or `api_url`; nothing was written")
    )]
    Address {
        /// As it was given, without credentials.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The server's certificate is refused; there is no way around that.
    #[error("the certificate of {remote} is refused: {}", text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::source::certificate),
        help(
            "if the host has a CA of its own, set `ca_file`; otherwise check this machine's clock, then whether something between pretends to be the host; nothing was written"
        )
    )]
    Certificate {
        /// Host or repository.
        remote: String,
        /// The whole chain in one line.
        cause: String,
    },
    /// What answers at an https address is not TLS.
    #[error("{remote} does not speak TLS")]
    #[diagnostic(
        code(hyper_sync::source::no_tls),
        help(
            "check the port and, where a proxy is set, the proxy's address; `http://` asks a server without TLS, for public repositories only: no token goes that way but to this machine itself; nothing was written"
        )
    )]
    NoTls {
        /// Host or repository.
        remote: String,
    },
    /// The credentials are refused.
    #[error("{remote} refuses access {}{}", with(.token), quoted(.words.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::unauthorized),
        help("{}; nothing was written", renew(.token))
    )]
    Unauthorized {
        /// Host or repository.
        remote: String,
        /// Which token was used, by its origin, or "none".
        token: String,
        /// The server's own words, where it gives any.
        words: Option<String>,
    },
    /// The credentials are good, and access is refused all the same: by a policy that only the response's text names.
    #[error("{remote} forbids access {}{}", with(.token), quoted(.words.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::forbidden),
        help("{}; nothing was written", permit(.token, .sso.as_deref()))
    )]
    Forbidden {
        /// Host or repository.
        remote: String,
        /// Which token was used, by its origin, or "none".
        token: String,
        /// The server's own words, where it gives any.
        words: Option<String>,
        /// Where the token is authorised for an organisation with single sign-on, by GitHub's `x-github-sso`.
        sso: Option<String>,
    },
    /// Not found, or not for us: a forge does not say which.
    #[error("{remote} does not exist, or may not be read {}", with(.token))]
    #[diagnostic(
        code(hyper_sync::source::no_permission),
        help(
            "check the name; {}; nothing was written", private(.token)
        )
    )]
    NoPermission {
        /// Host or repository.
        remote: String,
        /// Which token was used, by its origin, or "none".
        token: String,
    },
    /// The host serves downloads without a login only now and then: by a refusal in git's answer, or by 401 for the
    /// download of a repository that it has just described.
    #[error("{remote} limits downloads without a login{}", quoted(.words.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::login_wanted),
        help(
            "run again later, or give a token, also for a public repository (`--token-file`, or `GITHUB_TOKEN` for GitHub); nothing was written"
        )
    )]
    LoginWanted {
        /// Host or repository.
        remote: String,
        /// The server's own words, where it gives any.
        words: Option<String>,
    },
    /// The quota is used up.
    #[error("{remote} limits the rate of requests{}", until(.retry.as_ref()))]
    #[diagnostic(
        code(hyper_sync::source::rate_limited),
        help("{}; nothing was written", wait(.retry.is_some(), .token))
    )]
    RateLimited {
        /// Host or repository.
        remote: String,
        /// When it takes requests again, where the remote reports it.
        retry: Option<RetryAt>,
        /// Which token was used, by its origin, or "none".
        token: String,
    },
    /// The name is neither branch nor tag.
    #[error("`{}` is neither a branch nor a tag of {remote}", text::name(.reference))]
    #[diagnostic(
        code(hyper_sync::source::unknown_ref),
        help("{}; nothing was written", .instead.advice(.reference))
    )]
    UnknownRef {
        /// Host or repository.
        remote: String,
        /// As it was requested.
        reference: String,
        /// What the remote has in its place.
        instead: Box<Instead>,
    },
    /// The commit is not there.
    #[error("{remote} has no commit {commit}")]
    #[diagnostic(
        code(hyper_sync::source::unknown_commit),
        help(
            "check `--ref`; the commit may have been removed from the repository; nothing was written"
        )
    )]
    UnknownCommit {
        /// Host or repository.
        remote: String,
        /// As it was requested.
        commit: CommitId,
    },
    /// No commit at all.
    #[error("the repository {remote} is empty")]
    #[diagnostic(
        code(hyper_sync::source::empty_repository),
        help("push a commit first; nothing was written")
    )]
    EmptyRepository {
        /// Host or repository.
        remote: String,
    },
    /// A repository whose ids are SHA-256.
    #[error("{remote} is a SHA-256 repository, which is not supported")]
    #[diagnostic(
        code(hyper_sync::source::sha256),
        help("use a repository in git's default format; nothing was written")
    )]
    Sha256 {
        /// Host or repository.
        remote: String,
    },
    /// The response has parts that cannot be.
    #[error("{remote} sent something that git's protocol does not allow: {}", text::words(.detail))]
    #[diagnostic(
        code(hyper_sync::source::protocol),
        help("run again, and report it if it stays; nothing was written")
    )]
    Protocol {
        /// Host or repository.
        remote: String,
        /// What was wrong.
        detail: String,
    },
    /// A response of the API in the right form with the wrong content.
    #[error("{remote} sent a {what} that cannot be: {}", text::words(.problem))]
    #[diagnostic(
        code(hyper_sync::source::malformed_answer),
        help(
            "the answer is damaged or was altered; nothing was written; run again, and report it if it stays"
        )
    )]
    Malformed {
        /// Host or repository.
        remote: String,
        /// What was requested: `commit`, `listing`, `blob`.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A pack that contradicts itself, its checksum or its ids.
    #[error("{remote} sent damaged objects: {}", text::words(.detail))]
    #[diagnostic(
        code(hyper_sync::source::pack),
        help(
            "the remote, or something between, sent other bytes than git makes; nothing was written; run again, and report it if it stays"
        )
    )]
    Pack {
        /// Host or repository.
        remote: String,
        /// What was wrong.
        detail: String,
    },
    /// The server gives a reason why it will not.
    #[error("{remote} refuses: {}", text::words(.message))]
    #[diagnostic(
        code(hyper_sync::source::refused),
        help(
            "this is the server's own message: correct its cause and run again; nothing was written"
        )
    )]
    Refused {
        /// Host or repository.
        remote: String,
        /// Its words.
        message: String,
    },
    /// An object of the repository itself is damaged or missing.
    #[error("the repository {remote} is damaged: {}", text::words(.message))]
    #[diagnostic(
        code(hyper_sync::source::damaged_repository),
        help(
            "`git fsck` in it names the objects, and a push from a clone that has them mends it; nothing was written"
        )
    )]
    DamagedRepository {
        /// Host or repository.
        remote: String,
        /// The server's words.
        message: String,
    },
    /// A local path without a repository.
    #[error("`{remote}` is not a git repository")]
    #[diagnostic(
        code(hyper_sync::source::no_repository),
        help("check the path in `repo`; nothing was written")
    )]
    NoRepository {
        /// The path.
        remote: String,
    },
    /// A server that answers in version 0 or 1 only, because it is older than git 2.18, of another make, or does not
    /// get what asks for version 2; and that cannot send a pack beside its messages (`side-band-64k`) either.
    #[error("{remote} has neither version 2 of git's protocol nor `side-band-64k`")]
    #[diagnostic(
        code(hyper_sync::source::old_protocol),
        help("{change}; nothing was written")
    )]
    OldProtocol {
        /// Host or repository.
        remote: String,
        /// What its operator has to change.
        change: &'static str,
    },
    /// Larger than the settings allow.
    #[error("{what} is larger than the limit of {}", .limit)]
    #[diagnostic(
        code(hyper_sync::source::too_large),
        help("raise `{setting}` if this is right; nothing was written")
    )]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: Amount,
        /// The setting that holds the limit.
        setting: &'static str,
    },
    /// A route cannot bring this commit; another one may.
    #[error("{remote} {problem}")]
    #[diagnostic(
        code(hyper_sync::source::unsuited),
        help("use `--transport auto`, which finds another way; nothing was written")
    )]
    Unsuited {
        /// Host or repository.
        remote: String,
        /// What stands in the way.
        problem: &'static str,
    },
    /// The route does not exist for this repository.
    #[error("{remote} cannot be reached by `--transport {transport}`")]
    #[diagnostic(
        code(hyper_sync::source::no_such_route),
        help("use `--transport auto`; nothing was written")
    )]
    NoSuchRoute {
        /// The repository.
        remote: String,
        /// What was requested.
        transport: &'static str,
    },
    /// `git` or `ssh`, which local and ssh repositories need, cannot be started.
    #[error("cannot run `{program}`")]
    #[diagnostic(
        code(hyper_sync::source::program),
        help(
            "local and ssh repositories are read through it: install it, or put it into the search path; nothing was written"
        )
    )]
    Program {
        /// Its name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// Stopped by a signal.
    #[error("interrupted by a signal")]
    #[diagnostic(
        code(hyper_sync::source::interrupted),
        help("nothing was written; the next run begins anew")
    )]
    Interrupted,
    /// The HTTP client.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Setup(#[from] SetupError),
    /// The host's key or the login, over ssh.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ssh(#[from] SshError),
    /// What the commit holds.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Verification(#[from] VerificationError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] crate::objects::Error),
    /// The commit's signature.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Signature(#[from] crate::signature::Error),
    /// The token.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Token(#[from] crate::token::Error),
    /// The scan of the target.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Scan(#[from] crate::scan::Error),
}

impl Error {
    /// With the commits that are known here, for a name that may be the beginning of the id of one.
    #[must_use]
    pub(crate) fn with_known(mut self, commits: &[CommitId]) -> Self {
        if let Self::UnknownRef {
            reference, instead, ..
        } = &mut self
        {
            instead.known(reference, commits);
        }
        self
    }

    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Address { .. }
            | Self::UnknownRef { .. }
            | Self::UnknownCommit { .. }
            | Self::EmptyRepository { .. }
            | Self::Sha256 { .. }
            | Self::NoSuchRoute { .. }
            | Self::Unsuited { .. }
            | Self::NoRepository { .. }
            | Self::OldProtocol { .. }
            | Self::Program { .. } => Exit::Configuration,
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::ServerError { .. }
            | Self::NotAForge { .. }
            | Self::Redirect { .. }
            | Self::LoginPage { .. }
            | Self::Certificate { .. }
            | Self::NoTls { .. }
            | Self::Protocol { .. }
            | Self::Refused { .. } => Exit::Network,
            Self::Unauthorized { .. } | Self::Forbidden { .. } | Self::NoPermission { .. } => {
                Exit::Authentication
            }
            Self::LoginWanted { .. } | Self::RateLimited { .. } => Exit::RateLimited,
            Self::Malformed { .. } | Self::DamagedRepository { .. } | Self::Pack { .. } => {
                Exit::Verification
            }
            Self::TooLarge { .. } => Exit::UnsafeTree,
            Self::Verification(error) => error.exit(),
            Self::Interrupted => Exit::Interrupted,
            Self::Setup(error) => error.exit(),
            Self::Ssh(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Token(error) => error.exit(),
            Self::Scan(error) => error.exit(),
            Self::Signature(error) => error.exit(),
        }
    }
}
