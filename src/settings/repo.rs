//! A repository's address: what is understood, and what is refused before it can reach git or ssh.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use reqwest::Url;

use super::paths::{self, PathBase};
use super::value::Value as _;
use super::{Problem, Repo};
use crate::text;

const GITHUB: &str = "github.com";

/// Of a URL with `ssh://`, whose default the parser does not know.
const SSH_PORT: u16 = 22;

/// Why an address is refused. Never holds the address: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// A user name or password in a URL.
    #[error("has credentials in it, which would end up in logs and state")]
    Credentials,
    /// `?…` or `#…`.
    #[error("has a query or a fragment in it (`?…`, `#…`)")]
    Query,
    /// `ext::…`, `fd::…`.
    #[error("names a remote helper (`NAME::…`), which could run any program")]
    Helper,
    /// A part that a program would take for an option.
    #[error("has a part that begins with `-`, which programs take for an option")]
    Option,
    /// A scheme that is not spoken.
    #[error("has the scheme `{}`, which is not supported", text::name(.0))]
    Scheme(String),
    /// No host.
    #[error("is a URL without a usable host")]
    Host,
    /// No path.
    #[error("is a URL without the path of a repository")]
    NoPath,
    /// `%00`, `%0a` and the like: no repository is called so, and no program can be given a NUL.
    #[error("has a control character in its path (as `%00`)")]
    Control,
    /// Not a URL after all.
    #[error("is not a URL: {0}")]
    Url(&'static str),
    /// A page of a git host, or a flake reference, that is about one branch, tag, commit or file.
    #[error("is more than the address of a repository")]
    Page {
        /// The repository, as it is written here.
        repo: String,
        /// What is shown of it, where that is certain.
        reference: Option<String>,
    },
    /// A host and a path.
    #[error("is an address without `https://`")]
    NoScheme(String),
    /// Nothing known.
    #[error("is not the address of a repository")]
    Unknown,
}

impl AddressFault {
    /// What to do about it.
    pub(super) fn help(&self) -> Cow<'static, str> {
        let help = match self {
            Self::Credentials => {
                "remove them and give the token by `token_file` (`--token-file`) or `GITHUB_TOKEN`"
            }
            Self::Query => "remove it; branch, tag or commit are set by `ref`",
            Self::Helper
            | Self::Scheme(_)
            | Self::Host
            | Self::NoPath
            | Self::Control
            | Self::Url(_)
            | Self::Unknown => {
                "write `owner/name` for GitHub, `https://…`, `ssh://…`, `user@host:path`, `file:///…` or a path that begins with `/` or `./`"
            }
            Self::Option => "remove the `-`; for a path, begin it with `./`",
            Self::NoScheme(address) => {
                return format!("write `https://{}`", text::name(address)).into();
            }
            Self::Page { repo, reference } => {
                let repo = text::name(repo);
                return match reference {
                    Some(name) => {
                        let name = text::name(name);
                        format!(
                            "write `--repo {repo} --ref {name}`, in a configuration file `repo = \"{repo}\"` and `ref = \"{name}\"`"
                        )
                    }
                    None => format!("write `{repo}`; a branch, tag or commit is given by `ref` (`--ref`)"),
                }
                .into();
            }
        };
        help.into()
    }
}

impl Repo {
    /// Reads an address that was written by [`Display`](fmt::Display); `None` if it is not one.
    #[must_use]
    pub fn recorded(address: &str) -> Option<Self> {
        Self::from_text(address, PathBase::None).ok()
    }

    /// Reads the address of the origin of a clone: without credentials, and as `owner/name` where it is on GitHub,
    /// because root does not have the ssh keys of the user who made the clone. A path starts from the work tree, and has
    /// `..` where the clone was made from a relative one.
    #[must_use]
    pub fn of_clone(address: &str, work_tree: &Path) -> Option<Self> {
        let clean = match Url::parse(address) {
            Ok(mut url) if matches!(url.scheme(), "http" | "https") => {
                url.set_username("").ok()?;
                url.set_password(None).ok()?;
                url.to_string()
            }
            _ => address.to_owned(),
        };
        let repo = Self::from_text(&clean, PathBase::Directory(work_tree)).ok()?;
        let on_github = match &repo {
            Self::Ssh(address) => match Url::parse(address) {
                Ok(url) if url.host_str() == Some(GITHUB) => Some(url.path().to_owned()),
                Ok(_) => None,
                Err(_) => { address.split_once('@') }
                    .and_then(|(_, rest)| rest.split_once(':'))
                    .filter(|(host, _)| *host == GITHUB)
                    .map(|(_, path)| path.to_owned()),
            },
            Self::GitHub { .. } | Self::Http(_) | Self::Local(_) => None,
        };
        let on_github = on_github.and_then(|path| from_owner_name(path.trim_matches('/')).ok());
        Some(on_github.unwrap_or(repo))
    }

    /// Reads an address as people write it.
    pub(super) fn parse(text: &str, base: PathBase<'_>) -> Result<Self, Problem> {
        if text.is_empty() {
            return Err(Problem::Empty);
        }
        if text.starts_with('~') {
            return Err(Problem::Tilde);
        }
        let is_path = text.starts_with('/')
            || matches!(text, "." | "..")
            || text.starts_with("./")
            || text.starts_with("../");
        if is_path {
            return paths::absolute(text, base).map(Self::Local);
        }
        // What Nix calls `git+https:` is `https:` to git.
        let text = text.strip_prefix("git+").unwrap_or(text);
        let parsed = if text.starts_with('-') {
            Err(AddressFault::Option)
        } else if let Some(flake) = text.strip_prefix("github:") {
            from_flake(flake)
        } else if let Some(path) = text.strip_prefix("github.com/") {
            from_url("https", &format!("https://{GITHUB}/{path}"))
        } else if let Some((scheme, _)) = text.split_once("://") {
            from_url(scheme, text)
        } else if text.contains("::") {
            Err(AddressFault::Helper)
        } else if let Some((login, path)) = text.split_once(':') {
            check_scp(login, path).map(|()| Self::Ssh(text.to_owned()))
        } else {
            from_owner_name(text)
        };
        parsed.map_err(Problem::Repository)
    }

    /// The address for git: a URL, `user@host:path`, or a path.
    ///
    /// `api_url` is the setting of that name: `owner/name` lives on its host.
    #[must_use]
    pub fn git_url(&self, api_url: Option<&str>) -> String {
        match self {
            Self::GitHub { owner, name } => {
                let web = api_url.map_or_else(|| "https://github.com".to_owned(), web_url);
                format!("{web}/{owner}/{name}.git")
            }
            Self::Http(address) | Self::Ssh(address) => address.clone(),
            Self::Local(path) => path.display().to_string(),
        }
    }

    /// Host and path, by which two addresses are those of one repository however it is reached: without scheme, user
    /// and `.git`, and without upper case where the host ignores case.
    #[must_use]
    pub fn identity(&self, api_url: Option<&str>) -> String {
        let (host, port, path) = match self {
            Self::Local(path) => return path.display().to_string(),
            Self::Ssh(address) if !address.contains("://") => {
                let (login, path) = address.split_once(':').unwrap_or(("", address));
                let host = login.rsplit('@').next().unwrap_or_default();
                (host.to_owned(), None, path.to_owned())
            }
            Self::GitHub { .. } | Self::Http(_) | Self::Ssh(_) => {
                let address = self.git_url(api_url);
                let Ok(url) = Url::parse(&address) else {
                    return address;
                };
                let host = url.host_str().unwrap_or_default().to_owned();
                let port = url.port().filter(|port| *port != SSH_PORT);
                (host, port, url.path().to_owned())
            }
        };
        let host = host.to_ascii_lowercase();
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let path = if matches!(self, Self::GitHub { .. }) || host == GITHUB {
            path.to_ascii_lowercase()
        } else {
            path.to_owned()
        };
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{host}{port}/{path}")
    }

    /// The host that is reached over HTTP, if any: a token would be sent to it.
    #[must_use]
    pub fn web_host(&self, api_url: Option<&str>) -> Option<String> {
        match self {
            Self::GitHub { .. } | Self::Http(_) => {
                let url = Url::parse(&self.git_url(api_url)).ok()?;
                url.host_str().map(str::to_owned)
            }
            Self::Ssh(_) | Self::Local(_) => None,
        }
    }
}

/// As it can be written in the settings again.
impl fmt::Display for Repo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GitHub { owner, name } => write!(formatter, "{owner}/{name}"),
            Self::Http(address) | Self::Ssh(address) => formatter.write_str(address),
            Self::Local(path) => path.display().fmt(formatter),
        }
    }
}

/// Where the pages and the git side of an API's host are: GitHub Enterprise Server has its API below `/api/v3`,
/// GitHub and `ghe.com` on a host of its own.
fn web_url(api_url: &str) -> String {
    let api_url = api_url.trim_end_matches('/');
    if let Some(web) = api_url.strip_suffix("/api/v3") {
        return web.to_owned();
    }
    api_url.replacen("://api.", "://", 1)
}

/// Reads the API's base.
pub(super) fn parse_api_url(text: &str) -> Result<String, Problem> {
    let url = match text.split_once("://") {
        Some(("https" | "http", _)) => web(text),
        Some((scheme, _)) => Err(AddressFault::Scheme(scheme.to_owned())),
        None => Err(AddressFault::Url("it has no `https://`")),
    };
    url.map(|url| url.as_str().trim_end_matches('/').to_owned())
        .map_err(Problem::Repository)
}

/// `github:owner/name`, as the inputs of flakes have it, but without a branch or commit.
fn from_flake(text: &str) -> Result<Repo, AddressFault> {
    if text.contains(['?', '#']) {
        return Err(AddressFault::Query);
    }
    let mut parts = text.splitn(3, '/');
    let repo = [parts.next(), parts.next()]
        .map(Option::unwrap_or_default)
        .join("/");
    let found = from_owner_name(&repo)?;
    match parts.next() {
        Some(reference) => Err(AddressFault::Page {
            repo,
            reference: Some(reference.to_owned()),
        }),
        None => Ok(found),
    }
}

/// Refuses the address of a page, as a browser shows it: of GitHub (`/owner/name/tree/main`), of GitLab (`/-/tree/main`).
fn refuse_page(url: &Url, segments: &[&str]) -> Result<(), AddressFault> {
    const PAGES: &[&str] = &[
        "actions", "blob", "branches", "commit", "commits", "compare", "issues", "pull", "pulls",
        "releases", "tags", "tree", "wiki",
    ];
    let (repo, page) = if url.host_str() == Some(GITHUB)
        && let [owner, name, page @ ..] = segments
    {
        (format!("{owner}/{name}"), page)
    } else if let Some(at) = segments.iter().position(|segment| *segment == "-") {
        let mut repo = url.clone();
        repo.set_path(&segments[..at].join("/"));
        (repo.to_string(), &segments[at + 1..])
    } else {
        return Ok(());
    };
    match page {
        // A name may have slashes, and so may what follows it.
        ["tree" | "commit" | "commits", reference] => Err(AddressFault::Page {
            repo,
            reference: Some((*reference).to_owned()),
        }),
        [page, ..] if PAGES.contains(page) => Err(AddressFault::Page {
            repo,
            reference: None,
        }),
        _ => Ok(()),
    }
}

fn check_decoded(url: &Url) -> Result<(), AddressFault> {
    let mut decoded = percent_encoding::percent_decode_str(url.path());
    if decoded.any(|byte| byte.is_ascii_control()) {
        return Err(AddressFault::Control);
    }
    Ok(())
}

fn from_url(scheme: &str, text: &str) -> Result<Repo, AddressFault> {
    match scheme {
        "https" | "http" => {
            let url = web(text)?;
            let segments: Vec<&str> = url.path().trim_matches('/').split('/').collect();
            if segments == [""] {
                return Err(AddressFault::NoPath);
            }
            refuse_page(&url, &segments)?;
            // The address people copy from the browser has the REST API too.
            if scheme == "https"
                && url.host_str() == Some(GITHUB)
                && url.port().is_none()
                && let Ok(repo) = from_owner_name(&segments.join("/"))
            {
                return Ok(repo);
            }
            Ok(Repo::Http(url.as_str().trim_end_matches('/').to_owned()))
        }
        "ssh" => {
            let url = parse_url(text)?;
            let host = url.host_str().filter(|host| !host.is_empty());
            let host = host.ok_or(AddressFault::Host)?;
            if url.password().is_some() {
                return Err(AddressFault::Credentials);
            }
            // git decodes both before it hands them to ssh.
            if [host, url.username()].iter().any(|part| part.contains('%')) {
                return Err(AddressFault::Host);
            }
            if [host, url.username()]
                .iter()
                .any(|part| part.starts_with('-'))
            {
                return Err(AddressFault::Option);
            }
            if url.path().trim_matches('/').is_empty() {
                return Err(AddressFault::NoPath);
            }
            check_decoded(&url)?;
            Ok(Repo::Ssh(text.to_owned()))
        }
        "file" => {
            let url = parse_url(text)?;
            check_decoded(&url)?;
            let path = url.to_file_path().map_err(|()| AddressFault::Host)?;
            if path == Path::new("/") {
                return Err(AddressFault::NoPath);
            }
            Ok(Repo::Local(path))
        }
        _ => Err(AddressFault::Scheme(scheme.to_owned())),
    }
}

/// A web address that can be shown: no credentials, no query.
fn web(text: &str) -> Result<Url, AddressFault> {
    let url = parse_url(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressFault::Credentials);
    }
    match url.host_str() {
        None | Some("") => return Err(AddressFault::Host),
        Some(host) if host.starts_with('-') => return Err(AddressFault::Option),
        Some(_) => {}
    }
    Ok(url)
}

fn parse_url(text: &str) -> Result<Url, AddressFault> {
    let url = Url::parse(text).map_err(|_| {
        // The parser's own words could quote the address.
        AddressFault::Url("host or port is missing or malformed")
    })?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(AddressFault::Query);
    }
    Ok(url)
}

fn check_scp(login: &str, path: &str) -> Result<(), AddressFault> {
    let (user, host) = login.split_once('@').ok_or(AddressFault::Unknown)?;
    if [user, host, path].iter().any(|part| part.starts_with('-')) {
        return Err(AddressFault::Option);
    }
    let is_plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    // A second `@` is a password that has been squeezed in.
    if path.contains('@') {
        return Err(AddressFault::Credentials);
    }
    if !is_plain(user) || !is_plain(host) {
        return Err(AddressFault::Host);
    }
    if path.is_empty() {
        return Err(AddressFault::NoPath);
    }
    Ok(())
}

/// `owner/name`, by GitHub's rules for both; `.git` at the end is dropped, as GitHub does.
fn from_owner_name(text: &str) -> Result<Repo, AddressFault> {
    let (owner, name) = text.split_once('/').ok_or(AddressFault::Unknown)?;
    if owner.contains('.') && name.contains('/') {
        return Err(AddressFault::NoScheme(text.to_owned()));
    }
    let name = name.strip_suffix(".git").unwrap_or(name);
    let is_word = |word: &str, also: &[u8]| {
        !word.is_empty()
            && word.len() <= 100
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
    };
    if !is_word(owner, b"-_") || !is_word(name, b"-_.") || matches!(name, "." | "..") {
        return Err(AddressFault::Unknown);
    }
    Ok(Repo::GitHub {
        owner: owner.to_owned(),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests;
