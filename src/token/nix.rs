//! `access-tokens` of Nix's settings: `host=token`, separated by spaces.

use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;

use super::Error;
use super::file::{self, TokenFileTrust};
use crate::text;

/// How many files are read from one on, all in all; they may include themselves, and more than once.
const FILES_MAX: u32 = 64;

/// A host's entry.
pub(super) struct NixToken {
    pub(super) secret: Zeroizing<String>,
    /// The login that the kind of token requires.
    pub(super) login: Option<&'static str>,
}

/// The host's entry in one text, without its includes.
pub(super) fn in_text(text: &[u8], host: &str) -> Option<NixToken> {
    let text = std::str::from_utf8(text).ok()?;
    // The last setting of a name wins, as in Nix.
    settings(text)
        .filter(|(name, _)| matches!(*name, "access-tokens" | "extra-access-tokens"))
        .flat_map(|(_, value)| value.split_ascii_whitespace())
        .filter_map(|entry| entry.split_once('='))
        .filter(|(name, _)| name.eq_ignore_ascii_case(host))
        .last()
        .map(|(_, token)| entry(token))
}

/// The host's entry in the first file that has one, and that file.
pub(super) fn in_files(
    files: &[PathBuf],
    host: &str,
) -> Result<Option<(NixToken, PathBuf)>, Error> {
    for path in files {
        if let Some(found) = in_file(path, host, &mut { FILES_MAX })? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn in_file(path: &Path, host: &str, left: &mut u32) -> Result<Option<(NixToken, PathBuf)>, Error> {
    let Some(fewer) = left.checked_sub(1) else {
        return Ok(None);
    };
    *left = fewer;
    let Some(content) = file::read(path, TokenFileTrust::Anyone)? else {
        return Ok(None);
    };
    if let Some(found) = in_text(&content, host) {
        return Ok(Some((found, path.to_owned())));
    }
    let text = text::decode(&content);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if let (Some("include" | "!include"), Some(name)) = (words.next(), words.next()) {
            let included = path.parent().unwrap_or(path).join(name);
            if let Some(found) = in_file(&included, host, left)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let line = line.split('#').next()?;
        let (name, value) = line.split_once('=')?;
        Some((name.trim(), value.trim()))
    })
}

/// GitLab's tokens carry their kind in front.
fn entry(token: &str) -> NixToken {
    let kind = ["PAT:", "OAuth2:"]
        .iter()
        .find_map(|kind| token.strip_prefix(kind));
    NixToken {
        secret: Zeroizing::new(kind.unwrap_or(token).to_owned()),
        login: kind.map(|_| "oauth2"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, host: &str) -> Option<(String, Option<&'static str>)> {
        in_text(text.as_bytes(), host).map(|entry| (entry.secret.to_string(), entry.login))
    }

    #[test]
    fn finds_the_hosts_own_token() {
        let text = "# access-tokens = github.com=old\nexperimental-features = nix-command flakes\n\
            access-tokens = github.com=one gitlab.com=PAT:two gitlab.example=OAuth2:three # github.com=x\n\
            extra-access-tokens = git.example=four=4\n";
        assert_eq!(find(text, "github.com"), Some(("one".into(), None)));
        assert_eq!(
            find(text, "gitlab.com"),
            Some(("two".into(), Some("oauth2")))
        );
        assert_eq!(
            find(text, "gitlab.example"),
            Some(("three".into(), Some("oauth2")))
        );
        assert_eq!(find(text, "git.example"), Some(("four=4".into(), None)));
        assert_eq!(find(text, "hub.com"), None);
        assert_eq!(
            find("access-tokens = github.com/acme=x", "github.com"),
            None
        );
        assert_eq!(
            find("access-tokens = h=1\naccess-tokens = h=2", "h")
                .unwrap()
                .0,
            "2"
        );
        assert_eq!(find("access-tokens", "github.com"), None);
        assert!(in_text(b"access-tokens = h=\xff", "h").is_none());
    }
}
