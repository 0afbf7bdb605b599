//! Masks what could be a secret in the text of a configuration file, byte for byte, so that places stay where they
//! are.
//!
//! No secret belongs in that file; if there is one, the error about it must not print it.

use crate::text::{SECRETS, TOKENS, is_printable};

/// Whether a key's value would be a secret.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRETS.iter().any(|word| key.contains(word)) && !key.ends_with("_file")
}

/// The text with stars in place of secrets, and question marks in place of what a terminal would act on.
pub(super) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let line = mask_line(line);
        let body = line.trim_end_matches(['\r', '\n']);
        for c in body.chars() {
            if c == '\t' || is_printable(c) {
                masked.push(c);
            } else {
                masked.extend(std::iter::repeat_n('?', c.len_utf8()));
            }
        }
        masked.push_str(&line[body.len()..]);
    }
    masked
}

fn mask_line(line: &str) -> String {
    if let Some((key, value)) = line.split_once('=')
        && is_secret_key(key.trim().trim_matches(['"', '\'']))
    {
        return format!("{key}={}", stars(value));
    }
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(end) = rest.find([' ', '\t', '"', '\'', ',', '\n']) {
        let (word, after) = rest.split_at(end);
        masked.push_str(&mask_word(word));
        let (separator, after) = after.split_at(1);
        masked.push_str(separator);
        rest = after;
    }
    masked.push_str(&mask_word(rest));
    masked
}

fn mask_word(word: &str) -> String {
    if let Some(start) = TOKENS.iter().filter_map(|token| word.find(token)).min() {
        let (before, token) = word.split_at(start);
        return format!("{before}{}", stars(token));
    }
    // `scheme://user:password@host/…?query`, and `user:password@host`.
    let after_scheme = word.find("://").map_or(0, |at| at + 3);
    let (scheme, address) = word.split_at(after_scheme);
    let (address, query) = match address.find('?') {
        Some(at) if after_scheme > 0 => address.split_at(at),
        _ => (address, ""),
    };
    match address.rfind('@') {
        Some(at) if after_scheme > 0 || address[..at].contains(':') => {
            let (login, host) = address.split_at(at);
            format!("{scheme}{}{host}{}", stars(login), stars(query))
        }
        _ => format!("{scheme}{address}{}", stars(query)),
    }
}

/// As many stars as bytes, line ends kept.
fn stars(text: &str) -> String {
    let star = |byte| {
        if matches!(byte, b'\r' | b'\n') {
            char::from(byte)
        } else {
            '*'
        }
    };
    text.bytes().map(star).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_secrets_and_keeps_every_place() {
        for (text, masked) in [
            ("repo = \"o/n\"\n", "repo = \"o/n\"\n"),
            ("token = \"canary\"\n", "token =*********\n"),
            ("token_file = \"/run/t\"\n", "token_file = \"/run/t\"\n"),
            ("\"api-Token\" = 'é'\r\n", "\"api-Token\" =*****\r\n"),
            (
                "r = \"https://canary@h/o/n\"",
                "r = \"https://******@h/o/n\"",
            ),
            (
                "r = \"https://u:c@n@h/o?t=canary\"",
                "r = \"https://*****@h/o*********\"",
            ),
            ("r = 'git@h:o/n'", "r = 'git@h:o/n'"),
            ("r = 'git@h:canary@o/n'", "r = '************@o/n'"),
            (
                "ref = \"ghp_canary\" # glpat-canary",
                "ref = \"**********\" # ************",
            ),
            (
                "a = 'x\u{202e}y' # \u{1b}[2J\rz\r\n",
                "a = 'x???y' # ?[2J?z\r\n",
            ),
        ] {
            assert_eq!(mask(text), masked);
        }
    }

    proptest::proptest! {
        #[test]
        fn the_length_stays(text: String) {
            let masked = mask(&text);
            assert_eq!(masked.len(), text.len());
            assert_eq!(masked.lines().count(), text.lines().count());
        }
    }
}
