//! Secrets in text: those that this process knows, and what looks like one.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

/// How the tokens of the usual forges begin (GitHub's documentation of token formats, GitLab's token prefixes).
pub(crate) const TOKENS: &[&str] = &[
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
];
/// Words in the name of something that holds a secret.
pub(crate) const SECRETS: &[&str] = &["token", "secret", "password", "passwd", "credential"];

/// What stands in place of a secret.
const MASK: &str = "***";
/// A shorter secret is not searched for: it would be found in ordinary words, and its absence would give it away.
const SECRET_MIN: usize = 6;
/// As much of a secret's beginning is taken for it where the text is cut off.
const BEGINNING_MIN: usize = 8;
/// A prefix of [`TOKENS`] with fewer characters after it is not a token.
const TOKEN_MIN: usize = 6;
/// What an address in a text ends with, besides white space: none of it is part of one, but for quotes that stand around.
const ENDS: &[char] = &['"', '`', '<', '>', '\\', '…'];
/// What a server leaves as it is when it encodes an address.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// In every form in which another program could repeat them.
static KEPT: RwLock<Vec<SecretString>> = RwLock::new(Vec::new());

/// From now on this secret is masked wherever the process prints.
pub fn keep_secret(secret: &str) {
    if secret.len() < SECRET_MIN {
        return;
    }
    let encoded = utf8_percent_encode(secret, ENCODED).to_string();
    let json = secret.replace('\\', "\\\\").replace('"', "\\\"");
    let slashes = json.replace('/', "\\/");
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    for form in [secret.to_owned(), encoded, json, slashes] {
        if !kept.iter().any(|known| known.expose_secret() == form) {
            kept.push(form.into());
        }
    }
}

/// The text without what is or may be a secret.
pub(super) fn mask(text: &str) -> Cow<'_, str> {
    let mut found = known(text);
    found.extend(tokens(text));
    found.extend(addresses(text));
    replace(text, found)
}

/// The text without the secrets that are known; what only looks like one stays.
pub(super) fn mask_known(text: &str) -> Cow<'_, str> {
    replace(text, known(text))
}

fn known(text: &str) -> Vec<Range<usize>> {
    let kept = KEPT.read().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::new();
    for secret in kept.iter().map(ExposeSecret::expose_secret) {
        let whole = text.match_indices(secret);
        found.extend(whole.map(|(at, _)| at..at + secret.len()));
        // All forms of a secret are ASCII, so each of their bytes is a character.
        let beginnings = (BEGINNING_MIN..secret.len()).rev();
        let cut = beginnings
            .filter_map(|length| secret.get(..length))
            .find(|beginning| text.ends_with(beginning));
        found.extend(cut.map(|beginning| text.len() - beginning.len()..text.len()));
    }
    found
}

/// What begins as a token does.
fn tokens(text: &str) -> Vec<Range<usize>> {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut found = Vec::new();
    for prefix in TOKENS {
        for (at, _) in text.match_indices(prefix) {
            let rest = &text[at + prefix.len()..];
            let length = rest.find(|c| !is_of_token(c)).unwrap_or(rest.len());
            if length >= TOKEN_MIN {
                found.push(at..at + prefix.len() + length);
            }
        }
    }
    found
}

/// User and password of an address, and the values of its query that give access.
fn addresses(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (colon, separator) in text.match_indices("://") {
        let start = colon + separator.len();
        let rest = &text[start..];
        let is_end = |c: char| c.is_whitespace() || c.is_control() || ENDS.contains(&c);
        let address = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        let authority = &address[..address.find(['/', '?', '#']).unwrap_or(address.len())];
        if let Some(at) = authority.rfind('@') {
            // `ssh://git@…` names an account, `https://…@…` gives a token.
            let is_web = text[..colon].ends_with("http") || text[..colon].ends_with("https");
            if is_web || authority[..at].contains(':') {
                found.push(start..start + at);
            }
        }
        let Some(query) = address.find('?') else {
            continue;
        };
        let mut at = start + query + 1;
        for pair in address[query + 1..].split('&') {
            let end = at + pair.len();
            if let Some((name, value)) = pair.split_once('=')
                && opens_a_door(name)
                && !value.chars().all(|c| c == '*')
            {
                found.push(end - value.len()..end);
            }
            at = end + 1;
        }
    }
    found
}

/// Whether a parameter of this name holds a secret: `access_token`, `X-Amz-Signature`, Azure's `sig`.
fn opens_a_door(parameter: &str) -> bool {
    let parameter = parameter.to_ascii_lowercase();
    parameter == "sig"
        || parameter.contains("signature")
        || SECRETS.iter().any(|word| parameter.contains(word))
}

fn replace(text: &str, mut found: Vec<Range<usize>>) -> Cow<'_, str> {
    if found.is_empty() {
        return text.into();
    }
    found.sort_by_key(|range| range.start);
    let mut masked = String::with_capacity(text.len());
    let mut end = 0;
    for range in found {
        if range.start >= end {
            masked.push_str(&text[end..range.start]);
            masked.push_str(MASK);
        }
        end = end.max(range.end);
    }
    masked.push_str(&text[end..]);
    masked.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_secret_is_masked_in_every_form() {
        keep_secret("of-this/test+0123456789=");
        for (text, masked) in [
            ("a of-this/test+0123456789= b", "a *** b"),
            ("url=of-this%2Ftest%2B0123456789%3D&x", "url=***&x"),
            (r#""of-this\/test+0123456789=""#, r#""***""#),
            ("of-this/test+0123456789=of-this/test+0123456789=", "******"),
            ("cut off: of-this/tes", "cut off: ***"),
            ("of-this", "of-this"),
        ] {
            assert_eq!(mask(text), masked);
            assert_eq!(mask_known(text), masked);
        }
    }

    #[test]
    fn a_short_word_is_not_searched_for() {
        keep_secret("main");
        assert_eq!(mask("the main branch"), "the main branch");
    }

    #[test]
    fn what_looks_like_a_secret_is_masked() {
        for (text, masked) in [
            ("bad ghp_0123456789abcdef!", "bad ***!"),
            ("glpat-0123456789-x", "***"),
            ("tokens begin with `ghp_`", "tokens begin with `ghp_`"),
            ("https://user:pass@host/x@y", "https://***@host/x@y"),
            ("'https://0123456789@host'", "'https://***@host'"),
            ("ssh://git@host/x refuses", "ssh://git@host/x refuses"),
            ("ssh://git:pw@host/x", "ssh://***@host/x"),
            (
                "see https://h/x?a=b&X-Amz-Signature=f00&access_token=letmein#top.",
                "see https://h/x?a=b&X-Amz-Signature=***&access_token=***",
            ),
            ("git@host:owner/name", "git@host:owner/name"),
            ("://", "://"),
            ("a://?b", "a://?b"),
        ] {
            assert_eq!(mask(text), masked);
            assert_eq!(mask(masked), masked);
            assert_eq!(mask_known(text), text);
        }
    }
}
