//! Where a redirect may lead.
//!
//! A forge redirects within its own host when a repository was renamed. All else is refused rather than followed
//! without the token: as root, we would fetch from wherever a response points. What is refused is either the new
//! address of a repository, which a person may take over, or a login page, on a host of its own.

use reqwest::Url;
use reqwest::header::{HeaderMap, LOCATION};

use super::{Error, authority};
use crate::text::words;

/// The most redirects of one request.
pub(super) const HOPS: u32 = 5;

/// The address to go on with, or [`Error::Redirect`].
pub(super) fn next(from: &Url, headers: &HeaderMap, hops: u32) -> Result<Url, Error> {
    match location(from, headers) {
        Some(to) if hops <= HOPS && is_allowed(from, &to) => Ok(to),
        _ => Err(refused(from, headers)),
    }
}

/// The error for a redirect that is not followed.
pub(super) fn refused(from: &Url, headers: &HeaderMap) -> Error {
    let remote = authority(from);
    let Some(to) = location(from, headers) else {
        // Nothing that could be asked, shown as it came.
        let location = headers.get(LOCATION).map(|value| words(value.as_bytes()));
        return Error::Redirect {
            remote,
            to: location.filter(|location| !location.is_empty()),
            repo: None,
        };
    };
    let to = without_credentials(to);
    let repo = repository(from, &to);
    let same_page = to.host() == from.host() || to.path() == from.path();
    if repo.is_none() && !same_page && matches!(to.scheme(), "http" | "https") {
        return Error::LoginPage {
            remote,
            page: Some(to.into()),
        };
    }
    Error::Redirect {
        remote,
        to: Some(to.into()),
        repo,
    }
}

/// Whether the response redirects to another host, which no other request to this one will change.
pub(super) fn leaves_host(from: &Url, headers: &HeaderMap) -> bool {
    location(from, headers).is_some_and(|to| to.host() != from.host())
}

/// The value of `repo` for the address that a git request is redirected to: a host that moves a repository keeps
/// what follows the repository's address.
fn repository(from: &Url, to: &Url) -> Option<String> {
    let tail = ["/info/refs", "/git-upload-pack"]
        .into_iter()
        .find(|tail| from.path().ends_with(tail))?;
    let path = to.path().strip_suffix(tail)?.to_owned();
    let mut repo = to.clone();
    repo.set_path(&path);
    Some(repo.into())
}

fn location(from: &Url, headers: &HeaderMap) -> Option<Url> {
    let value = headers.get(LOCATION)?.to_str().ok()?;
    from.join(value).ok().filter(|_| !value.is_empty())
}

fn is_allowed(from: &Url, to: &Url) -> bool {
    let scheme = to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http");
    if !scheme || !to.username().is_empty() || to.password().is_some() {
        return false;
    }
    // From http to https the port changes with the scheme.
    let upgraded = from.scheme() != to.scheme() && from.port().is_none() && to.port().is_none();
    to.host() == from.host()
        && (upgraded || to.port_or_known_default() == from.port_or_known_default())
}

/// A pre-authorised address is a secret: nothing but its place is shown.
fn without_credentials(mut url: Url) -> Url {
    // The setters fail only for URLs without a host, which hold no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(from: &str, location: &str, hops: u32) -> Result<String, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().unwrap());
        next(&from.parse().unwrap(), &headers, hops).map(|url| url.to_string())
    }

    #[test]
    fn redirects_on_the_same_host_are_followed() {
        let api = "https://api.github.com/repos/a/b/commits/main";
        for (location, expected) in [
            ("/repositories/1", "https://api.github.com/repositories/1"),
            ("https://api.github.com:443/x", "https://api.github.com/x"),
            (
                "?page=2",
                "https://api.github.com/repos/a/b/commits/main?page=2",
            ),
        ] {
            assert_eq!(follow(api, location, HOPS).unwrap(), expected);
        }
        let secure = "https://git.example.org/a";
        assert_eq!(
            follow("http://git.example.org/a", secure, 1).unwrap(),
            secure
        );
    }

    #[test]
    fn other_redirects_are_refused() {
        let api = "https://api.github.com/repos/a/b";
        for location in [
            "http://api.github.com/repos/a/b",
            "https://api.github.com:8443/",
            "https://evil.example/",
            "https://api.github.com.evil.example/",
            "https://codeload.github.com/",
            "https://x:y@api.github.com/",
            "https://x@api.github.com/",
            "https://169.254.169.254/latest",
            "https://127.0.0.1/",
            "file:///etc/passwd",
            "gopher://api.github.com/",
            "//evil.example/x",
            "https://",
            "",
        ] {
            assert!(follow(api, location, 1).is_err(), "{location}");
        }
        assert!(follow(api, "/again", HOPS + 1).is_err());
        assert!(next(&api.parse().unwrap(), &HeaderMap::new(), 1).is_err());
        assert!(follow("http://a.example/", "http://a.example:81/", 1).is_err());
        assert!(follow("http://a.example:81/", "https://a.example/", 1).is_err());
    }

    #[test]
    fn credentials_of_a_login_page_are_not_shown() {
        let signed = "https://u:canary@objects.example/x?token=canary";
        let Err(Error::LoginPage { page, .. }) = follow("https://api.github.com/", signed, 1)
        else {
            unreachable!()
        };
        assert_eq!(page.as_deref(), Some("https://objects.example/x"));
    }

    #[test]
    fn a_moved_repository_is_distinguished_from_a_login_page() {
        let from = "https://git.example.org/acme/old.git/info/refs?service=git-upload-pack";
        let refused = |location: &str| follow(from, location, HOPS + 1).unwrap_err();
        for (location, expected) in [
            (
                "https://git.example.org/new/name.git/info/refs?service=git-upload-pack",
                "https://git.example.org/new/name.git",
            ),
            (
                "https://other.example.org/new/name/info/refs",
                "https://other.example.org/new/name",
            ),
            (
                "/new/name.git/info/refs",
                "https://git.example.org/new/name.git",
            ),
        ] {
            let Error::Redirect { repo, .. } = refused(location) else {
                unreachable!("{location}")
            };
            assert_eq!(repo.as_deref(), Some(expected), "{location}");
        }
        for location in ["https://login.example/", "http://10.0.0.1/portal?to=x"] {
            assert!(
                matches!(refused(location), Error::LoginPage { .. }),
                "{location}"
            );
        }
        for location in ["/login", "file:///etc/passwd", "https://["] {
            let error = refused(location);
            assert!(
                matches!(error, Error::Redirect { repo: None, .. }),
                "{error:?}"
            );
        }
        let nowhere = next(&from.parse().unwrap(), &HeaderMap::new(), 1).unwrap_err();
        assert!(
            matches!(nowhere, Error::Redirect { to: None, .. }),
            "{nowhere:?}"
        );
    }
}
