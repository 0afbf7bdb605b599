//! What kind of host the forge is.

use super::tls::Certificate;

/// Everything that can be chosen; the default is a public repository on a host like GitHub.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, and named where it is set"
)]
pub struct Config {
    /// `owner/name` of the repository.
    pub owner_name: String,
    /// Names the repository had before: the API answers 301 to its number, git 301 to the present name.
    pub former_names: Vec<String>,
    /// The only token that is accepted; another one is answered 401. `None`: whatever is sent is ignored.
    pub token: Option<String>,
    /// Without the token the repository does not exist (API 404) or asks for one (git 401).
    pub private: bool,
    /// Whether there is a REST API (and raw and archive hosts) at all.
    pub api: bool,
    /// Whether answers are compressed for who accepts it.
    pub gzip: bool,
    /// The API's quota.
    pub rate: Rate,
    /// Entries of a recursive tree listing beyond which it is truncated (GitHub: 100,000).
    pub tree_entries: usize,
    /// Bytes of a blob beyond which the API refuses it (GitHub: 100 MB).
    pub blob_bytes: u64,
    /// Where archives are served; the forge's own origin unless another is set.
    pub archive_origin: Option<String>,
    /// `uploadpack.allowFilter`.
    pub filter: bool,
    /// `uploadpack.allowAnySHA1InWant`; protocol v2 of stock git does not ask it.
    pub any_want: bool,
    /// Whether protocol v2 is spoken; otherwise the `Git-Protocol` header is dropped, as an old proxy does.
    pub protocol_v2: bool,
    /// How a POST is answered that no `info/refs` came before.
    pub bare_post: BarePost,
    /// Whether git is served without `.git` in the URL.
    pub suffix: Suffix,
    /// Further configuration of the serving git.
    pub serving_git: Vec<(String, String)>,
    /// TLS with this certificate; fixed from the start.
    pub certificate: Option<Certificate>,
}

/// The API's hourly quota; every request but `rate_limit` and a 304 takes one.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// `x-ratelimit-limit`.
    pub limit: u64,
    /// `x-ratelimit-remaining`; at 0 every request is answered 403.
    pub remaining: u64,
    /// `x-ratelimit-reset`, seconds since 1970.
    pub reset: u64,
}

/// How a POST to `git-upload-pack` is answered that no `info/refs` came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarePost {
    /// As any other.
    Served,
    /// With this status, until somebody asked for `info/refs`.
    Refused(u16),
}

/// What a git URL without `.git` gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suffix {
    /// The same as with it.
    Optional,
    /// 404.
    Required,
    /// 301 to the URL with it; for a POST too.
    Redirected,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            owner_name: super::OWNER_NAME.to_owned(),
            former_names: Vec::new(),
            token: None,
            private: false,
            api: true,
            gzip: true,
            rate: Rate {
                limit: 5000,
                remaining: 5000,
                reset: 1_900_000_000,
            },
            tree_entries: 100_000,
            blob_bytes: 100 * 1000 * 1000,
            archive_origin: None,
            filter: true,
            any_want: true,
            protocol_v2: true,
            bare_post: BarePost::Served,
            suffix: Suffix::Optional,
            serving_git: Vec::new(),
            certificate: None,
        }
    }
}
