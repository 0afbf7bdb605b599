//! A repository's address: what is understood, and what is refused before it can reach git or ssh.

use std::fmt;
use std::path::Path;

use reqwest::Url;

use super::paths::{self, Base};
use super::{Problem, Repo};

/// Why an address is refused. Never holds the address: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
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
    #[error("has the scheme `{}`, which is not supported", .0.escape_debug())]
    Scheme(String),
    /// No host.
    #[error("is a URL without a usable host")]
    Host,
    /// No path.
    #[error("is a URL without the path of a repository")]
    NoPath,
    /// Not a URL after all.
    #[error("is not a URL: {0}")]
    Url(&'static str),
    /// Nothing known.
    #[error("is not the address of a repository")]
    Unknown,
}

impl Fault {
    /// What to do about it.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Credentials => {
                "remove them and give the token by `token_file` (`--token-file`) or `GITHUB_TOKEN`"
            }
            Self::Query => "remove it; branch, tag or commit are set by `ref`",
            Self::Helper
            | Self::Scheme(_)
            | Self::Host
            | Self::NoPath
            | Self::Url(_)
            | Self::Unknown => {
                "write `owner/name` for GitHub, `https://…`, `ssh://…`, `user@host:path`, `file:///…` or a path that begins with `/` or `./`"
            }
            Self::Option => "remove the `-`; for a path, begin it with `./`",
        }
    }
}

impl Repo {
    /// Reads an address as people write it.
    pub(super) fn parse(text: &str, base: Base<'_>) -> Result<Self, Problem> {
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
        let parsed = if text.starts_with('-') {
            Err(Fault::Option)
        } else if let Some((scheme, _)) = text.split_once("://") {
            from_url(scheme, text)
        } else if text.contains("::") {
            Err(Fault::Helper)
        } else if let Some((login, path)) = text.split_once(':') {
            check_scp(login, path).map(|()| Self::Ssh(text.to_owned()))
        } else {
            from_owner_name(text)
        };
        parsed.map_err(Problem::Repository)
    }

    /// What git is to be asked for: a URL, `user@host:path`, or a path.
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

    /// The host that is asked over HTTP, where one is: whom a token would go to.
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
        Some((scheme, _)) => Err(Fault::Scheme(scheme.to_owned())),
        None => Err(Fault::Url("it has no `https://`")),
    };
    url.map(|url| url.as_str().trim_end_matches('/').to_owned())
        .map_err(Problem::Repository)
}

fn from_url(scheme: &str, text: &str) -> Result<Repo, Fault> {
    match scheme {
        "https" | "http" => {
            let url = web(text)?;
            let segments: Vec<&str> = url.path().trim_matches('/').split('/').collect();
            if segments == [""] {
                return Err(Fault::NoPath);
            }
            // The address people copy from the browser has the REST API too.
            if scheme == "https"
                && url.host_str() == Some("github.com")
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
            let host = host.ok_or(Fault::Host)?;
            if url.password().is_some() {
                return Err(Fault::Credentials);
            }
            // git decodes both before it hands them to ssh.
            if [host, url.username()].iter().any(|part| part.contains('%')) {
                return Err(Fault::Host);
            }
            if [host, url.username()]
                .iter()
                .any(|part| part.starts_with('-'))
            {
                return Err(Fault::Option);
            }
            if url.path().trim_matches('/').is_empty() {
                return Err(Fault::NoPath);
            }
            Ok(Repo::Ssh(text.to_owned()))
        }
        "file" => {
            let url = parse_url(text)?;
            let path = url.to_file_path().map_err(|()| Fault::Host)?;
            if path == Path::new("/") {
                return Err(Fault::NoPath);
            }
            Ok(Repo::Local(path))
        }
        _ => Err(Fault::Scheme(scheme.to_owned())),
    }
}

/// A web address that can be shown: no credentials, no query.
fn web(text: &str) -> Result<Url, Fault> {
    let url = parse_url(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Fault::Credentials);
    }
    match url.host_str() {
        None | Some("") => return Err(Fault::Host),
        Some(host) if host.starts_with('-') => return Err(Fault::Option),
        Some(_) => {}
    }
    Ok(url)
}

fn parse_url(text: &str) -> Result<Url, Fault> {
    let url = Url::parse(text).map_err(|_| {
        // The parser's own words could quote the address.
        Fault::Url("host or port is missing or malformed")
    })?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Fault::Query);
    }
    Ok(url)
}

fn check_scp(login: &str, path: &str) -> Result<(), Fault> {
    let (user, host) = login.split_once('@').ok_or(Fault::Unknown)?;
    if [user, host, path].iter().any(|part| part.starts_with('-')) {
        return Err(Fault::Option);
    }
    let is_plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    // A second `@` is a password that has been squeezed in.
    if path.contains('@') {
        return Err(Fault::Credentials);
    }
    if !is_plain(user) || !is_plain(host) {
        return Err(Fault::Host);
    }
    if path.is_empty() {
        return Err(Fault::NoPath);
    }
    Ok(())
}

/// `owner/name`, by GitHub's rules for both; `.git` at the end is dropped, as GitHub does.
fn from_owner_name(text: &str) -> Result<Repo, Fault> {
    let (owner, name) = text.split_once('/').ok_or(Fault::Unknown)?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    let is_word = |word: &str, also: &[u8]| {
        !word.is_empty()
            && word.len() <= 100
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
    };
    if !is_word(owner, b"-_") || !is_word(name, b"-_.") || matches!(name, "." | "..") {
        return Err(Fault::Unknown);
    }
    Ok(Repo::GitHub {
        owner: owner.to_owned(),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Repo, Problem> {
        Repo::parse(text, Base::Directory(Path::new("/srv")))
    }

    fn refused(text: &str) -> Fault {
        match parse(text) {
            Err(Problem::Repository(fault)) => fault,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn reads_each_form_and_shows_it_so_that_it_reads_the_same() {
        let github = Repo::GitHub {
            owner: "MasterofNull".to_owned(),
            name: "Hyper-NixOS".to_owned(),
        };
        let http = |url: &str| Repo::Http(url.to_owned());
        let ssh = |url: &str| Repo::Ssh(url.to_owned());
        let local = |path: &str| Repo::Local(path.into());
        for (text, repo) in [
            ("MasterofNull/Hyper-NixOS", github.clone()),
            ("MasterofNull/Hyper-NixOS.git", github.clone()),
            (
                "https://github.com/MasterofNull/Hyper-NixOS",
                github.clone(),
            ),
            ("https://github.com/MasterofNull/Hyper-NixOS.git/", github),
            (
                "https://git.example.org/a/b/c.git",
                http("https://git.example.org/a/b/c.git"),
            ),
            ("https://github.com/a/b/c", http("https://github.com/a/b/c")),
            (
                "http://127.0.0.1:8080/o/n.git",
                http("http://127.0.0.1:8080/o/n.git"),
            ),
            (
                "ssh://git@example.org:2222/o/n",
                ssh("ssh://git@example.org:2222/o/n"),
            ),
            ("ssh://example.org/~/n", ssh("ssh://example.org/~/n")),
            ("git@github.com:o/n.git", ssh("git@github.com:o/n.git")),
            ("/srv/git/n.git", local("/srv/git/n.git")),
            ("file:///srv/git/n%20m", local("/srv/git/n m")),
            (".", local("/srv")),
            ("./n", local("/srv/n")),
            ("../n", local("/n")),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed, repo, "{text}");
            assert_eq!(parse(&parsed.to_string()).unwrap(), repo, "{text}");
        }
    }

    #[test]
    fn refuses_credentials_and_does_not_repeat_them() {
        for text in [
            "https://canary@github.com/o/n",
            "https://u:canary@example.org/o/n",
            "ssh://git:canary@example.org/o/n",
            "git@example.org:canary@o/n",
            "https://example.org/o/n?token=canary",
            "https://example.org/o/n#canary",
            "https://canary:canary:canary@:/x",
        ] {
            let problem = parse(text).unwrap_err();
            let shown = format!("{problem} {problem:?}");
            assert!(!shown.contains("canary"), "{text}: {shown}");
        }
        assert_eq!(refused("https://x@example.org/o/n"), Fault::Credentials);
        assert_eq!(refused("ssh://git:x@example.org/o/n"), Fault::Credentials);
    }

    #[test]
    fn refuses_what_git_or_ssh_would_run_or_take_for_an_option() {
        for text in [
            "-oProxyCommand=touch x",
            "--upload-pack=x",
            "ssh://-oProxyCommand=x/o/n",
            "ssh://-x@host/o/n",
            "git@-oProxyCommand=x:n",
            "-x@host:n",
            "git@host:-n",
        ] {
            assert_eq!(refused(text), Fault::Option, "{text}");
        }
        assert_eq!(refused("ext::sh -c touch% x"), Fault::Helper);
        assert_eq!(refused("fd::17"), Fault::Helper);
        assert_eq!(refused("ssh://%2DoProxyCommand=x/o/n"), Fault::Host);
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            "hyper-nixos",
            "o/n/more",
            "o//n",
            "github:o/n",
            "C:\\n",
            "o/..",
            "o/n m",
            "user@ho st:n",
            "git@host:",
            "https://",
            "https://example.org",
            "https://example.org:port/o/n",
            "file:///",
            "file://host/n",
            "git://example.org/o/n",
            "git+ssh://example.org/o/n",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("~/n").unwrap_err(), Problem::Tilde);
        assert_eq!(refused("git://h/n"), Fault::Scheme("git".to_owned()));
    }

    #[test]
    fn a_relative_path_needs_a_place() {
        let relative = Problem::Relative {
            path: "./n".to_owned(),
        };
        assert_eq!(Repo::parse("./n", Base::None).unwrap_err(), relative);
    }

    #[test]
    fn owner_and_name_live_on_the_host_of_the_api() {
        let repo = parse("o/n").unwrap();
        for (api, url) in [
            (None, "https://github.com/o/n.git"),
            (Some("https://api.github.com"), "https://github.com/o/n.git"),
            (
                Some("https://git.example.org/api/v3/"),
                "https://git.example.org/o/n.git",
            ),
            (
                Some("https://api.octo.ghe.com"),
                "https://octo.ghe.com/o/n.git",
            ),
            (
                Some("http://127.0.0.1:1234/api/v3"),
                "http://127.0.0.1:1234/o/n.git",
            ),
        ] {
            assert_eq!(repo.git_url(api), url);
            let host = url.split(['/', ':']).nth(3);
            assert_eq!(repo.web_host(api).as_deref(), host);
        }
        assert_eq!(parse("git@h:n").unwrap().web_host(None), None);
        assert_eq!(
            parse("git@h:n").unwrap().git_url(Some("https://x")),
            "git@h:n"
        );
    }

    #[test]
    fn the_api_is_a_web_address() {
        assert_eq!(
            parse_api_url("https://git.example.org/api/v3/").unwrap(),
            "https://git.example.org/api/v3"
        );
        for text in [
            "git.example.org",
            "ftp://x/",
            "https://u@x/",
            "https://x/?a",
            "https://",
        ] {
            assert!(parse_api_url(text).is_err(), "{text}");
        }
    }
}
