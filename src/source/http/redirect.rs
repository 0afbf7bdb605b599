//! Where a redirect may lead.
//!
//! A forge redirects within its own host when a repository was renamed. All else is refused rather than followed
//! without the token: as root, we would fetch from wherever an answer points.

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
    let to = match (location(from, headers), headers.get(LOCATION)) {
        (Some(to), _) => without_credentials(to),
        (None, Some(value)) => words(value.as_bytes()),
        (None, None) => String::new(),
    };
    Error::Redirect {
        remote: authority(from),
        to,
    }
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
fn without_credentials(mut url: Url) -> String {
    // The setters fail only for URLs without a host, which hold no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
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
    fn stays_on_the_host() {
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
    fn refuses_everything_else() {
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
    fn never_shows_what_opens_the_door() {
        let signed = "https://u:canary@objects.example/x?token=canary";
        let Err(Error::Redirect { to, .. }) = follow("https://api.github.com/", signed, 1) else {
            unreachable!()
        };
        assert_eq!(to, "https://objects.example/x");
    }
}
