//! SSH signatures, checked by `ssh-keygen -Y verify`.
//!
//! The `allowed_signers` file is read here too: a line that `ssh-keygen` would skip without a message is an error of
//! configuration, and the key that is in a signature is looked up, so that each error can name it.
//! Only `ssh-keygen` decides whether a signature is valid and whether a line's options allow it. It is not asked for the
//! principals first (`-Y find-principals`), as git does: it succeeds past a broken line, and fails for a key that has
//! expired in the same way as for one that is not listed.
//!
//! As git does: any principal may sign, so all are called by one name; certificates are not supported.

use data_encoding::{BASE64, BASE64_NOPAD};
use sha2::{Digest, Sha256};

use super::program::Workplace;
use super::signed::Signed;
use super::{Error, Signer, armor};
use crate::git::Commit;
use crate::text::words;

/// The program that checks these signatures.
pub(super) const PROGRAM: &str = "ssh-keygen";
/// The namespace of git's signatures, so that a signature made for another purpose is not accepted for a commit.
const NAMESPACE: &str = "git";
/// The name of every signer in the file that `ssh-keygen` gets.
const PRINCIPAL: &str = "signer";

/// The keys of an `allowed_signers` file.
#[derive(Debug)]
pub(super) struct AllowedSigners {
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// Counted from 1.
    number: usize,
    principals: String,
    options: String,
    kind: String,
    /// The key as SSH writes it, its kind first.
    blob: Vec<u8>,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineFault {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) problem: &'static str,
}

impl AllowedSigners {
    pub(super) fn parse(text: &str) -> Result<Self, LineFault> {
        let mut lines = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let number = index + 1;
            lines.push(Line::parse(text, number).map_err(|problem| LineFault {
                line: number,
                problem,
            })?);
        }
        Ok(Self { lines })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether one of them has made the signature.
    pub(super) fn check(
        &self,
        commit: &Commit,
        signed: &Signed,
        workplace: &Workplace<'_>,
    ) -> Result<Signer, Error> {
        let id = commit.id;
        let bad = |cause: &str| Error::Bad {
            commit: id,
            cause: cause.to_owned(),
        };
        let blob = key(&signed.signature).ok_or_else(|| bad("it is damaged"))?;
        let key = fingerprint(&blob);
        let Some(line) = self.lines.iter().find(|line| line.blob == blob) else {
            return Err(Error::Unlisted { commit: id, key });
        };
        let time = verify_time(commit.time)
            .ok_or_else(|| bad("the commit's time is none that a key can be valid at"))?;

        workplace.write("payload", &signed.payload)?;
        workplace.write("signature", &signed.signature)?;
        workplace.write("signers", self.canonical().as_bytes())?;
        let verified = workplace.run(
            PROGRAM,
            &[
                "-Y",
                "verify",
                "-n",
                NAMESPACE,
                "-I",
                PRINCIPAL,
                "-f",
                "signers",
                "-s",
                "signature",
                &time,
            ],
            Some("payload"),
        )?;
        if verified.end.is_success() {
            return Ok(Signer {
                name: line.principals.clone(),
                key,
            });
        }
        // Distinguishes a bad signature from a key that the file does not allow.
        let intact = workplace.run(
            PROGRAM,
            &["-Y", "check-novalidate", "-n", NAMESPACE, "-s", "signature"],
            Some("payload"),
        )?;
        if intact.end.is_success() {
            return Err(Error::KeyRefused {
                commit: id,
                key,
                cause: complaint(&verified.tail),
            });
        }
        Err(bad(&complaint(&intact.tail)))
    }

    /// As `ssh-keygen` gets it: the lines where they were, so that its messages name the right ones.
    fn canonical(&self) -> String {
        let mut text = String::new();
        let mut number = 1;
        for line in &self.lines {
            for _ in number..line.number {
                text.push('\n');
            }
            number = line.number + 1;
            let key = BASE64.encode(&line.blob);
            let fields = [PRINCIPAL, &line.options, &line.kind, &key];
            let fields: Vec<&str> = fields
                .into_iter()
                .filter(|field| !field.is_empty())
                .collect();
            text.push_str(&fields.join(" "));
            text.push('\n');
        }
        text
    }
}

impl Line {
    fn parse(text: &str, number: usize) -> Result<Self, &'static str> {
        const INCOMPLETE: &str = "has no key";
        if text.starts_with("-----BEGIN") {
            return Err("begins a private key or a certificate, where a public key is wanted");
        }
        let (principals, rest) = word(text).ok_or("has a quote that does not end")?;
        if public_key(principals, rest).is_some() {
            return Err("begins with a key, where the signer's name is wanted");
        }
        let (mut field, mut rest) = word(rest).ok_or("has a quote that does not end")?;
        let mut options = "";
        if !is_kind(field) {
            options = field;
            check_options(options)?;
            (field, rest) = word(rest).ok_or("has a quote that does not end")?;
        }
        if !is_kind(field) {
            return Err(INCOMPLETE);
        }
        if rest.trim().is_empty() {
            return Err(INCOMPLETE);
        }
        let blob = public_key(field, rest).ok_or("has a damaged key")?;
        if field.contains("-cert-v") {
            return Err("has a certificate, which is not supported: list the key itself");
        }
        Ok(Self {
            number,
            principals: principals.trim_matches('"').to_owned(),
            options: options.to_owned(),
            kind: field.to_owned(),
            blob,
        })
    }
}

/// The key of this kind that a text begins with; what follows is a comment.
fn public_key(kind: &str, text: &str) -> Option<Vec<u8>> {
    let encoded = text.split_ascii_whitespace().next()?;
    let blob = BASE64.decode(encoded.as_bytes()).ok()?;
    let (actual, _) = string(&blob)?;
    (actual == kind.as_bytes()).then_some(blob)
}

/// Whether a word is the kind of a key; no option is named so.
fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|begin| word.starts_with(begin))
}

/// Refuses what `ssh-keygen` does not know, or what is not supported here.
fn check_options(options: &str) -> Result<(), &'static str> {
    let mut quoted = false;
    let parts = options.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    for option in parts {
        let name = option.split('=').next().unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "namespaces" | "valid-after" | "valid-before" => {}
            "cert-authority" => {
                return Err(
                    "has `cert-authority`, which is not supported: list the keys themselves",
                );
            }
            _ => return Err("has neither a key nor a known option after the name"),
        }
    }
    Ok(())
}

/// The first word and what follows it; blanks within double quotes belong to the word.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        quoted ^= c == '"';
        if !quoted && (c == ' ' || c == '\t') {
            return Some(text.split_at(at));
        }
    }
    (!quoted).then_some((text, ""))
}

/// The first of SSH's strings and what follows it (RFC 4251 §5).
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.split_at_checked(length)
}

/// The key that a signature says it is by: after magic and version (OpenSSH's `PROTOCOL.sshsig`).
fn key(signature: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(signature).ok()?;
    let content = armor::decode(text, "SSH SIGNATURE")?;
    let rest = content.strip_prefix(b"SSHSIG\0\0\0\x01")?;
    string(rest).map(|(key, _)| key.to_vec())
}

/// As every tool of OpenSSH prints it.
fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(blob)))
}

/// The option that holds a key's validity against the commit's time, in UTC; OpenSSH takes four digits of a year, and
/// 0 for "now".
fn verify_time(seconds: i64) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds).ok()?;
    let text = time.strftime("%Y%m%d%H%M%SZ").to_string();
    (seconds > 0).then(|| format!("-Overify-time={text}"))
}

/// The first line that `ssh-keygen` prints names the cause.
fn complaint(said: &str) -> String {
    let line = said.lines().next().unwrap_or("no reason was given").trim();
    match line.strip_prefix("signers:") {
        Some(rest) => words(format!("line {rest}")),
        None => words(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 32 zero bytes are not a key that anybody has.
    fn public() -> String {
        let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        blob.extend([0; 32]);
        BASE64.encode(&blob)
    }

    fn problem(text: &str) -> &'static str {
        AllowedSigners::parse(text).unwrap_err().problem
    }

    #[test]
    fn lines_keep_their_places_and_options() {
        let key = public();
        let text = format!(
            "# who may\r\n\r\nada@example.org,b ssh-ed25519 {key} a comment\r\n\t\"c d\"  valid-before=\"20300101Z\",NAMESPACES=\"git, x\"\tssh-ed25519 {key}\n"
        );
        let signers = AllowedSigners::parse(&text).unwrap();
        assert_eq!(signers.lines[0].principals, "ada@example.org,b");
        assert_eq!(signers.lines[1].principals, "c d");
        assert_eq!(
            signers.canonical(),
            format!(
                "\n\nsigner ssh-ed25519 {key}\nsigner valid-before=\"20300101Z\",NAMESPACES=\"git, x\" ssh-ed25519 {key}\n"
            )
        );
    }

    #[test]
    fn a_line_that_would_be_passed_over_is_an_error() {
        let key = public();
        let fault = AllowedSigners::parse(&format!("a ssh-ed25519 {key}\n\noops\n")).unwrap_err();
        assert_eq!(
            fault,
            LineFault {
                line: 3,
                problem: "has neither a key nor a known option after the name"
            }
        );
        for (line, expected) in [
            (
                format!("a cert-authority ssh-ed25519 {key}"),
                "has `cert-authority`, which is not supported: list the keys themselves",
            ),
            (
                format!("a namespaces=\"git\",cert-authority ssh-ed25519 {key}"),
                "has `cert-authority`, which is not supported: list the keys themselves",
            ),
            (
                format!("ssh-ed25519 {key} ada@example.org"),
                "begins with a key, where the signer's name is wanted",
            ),
            (
                format!("a valid-befor=\"2030\" ssh-ed25519 {key}"),
                "has neither a key nor a known option after the name",
            ),
            (format!("a ssh-rsa {key}"), "has a damaged key"),
            ("a ssh-ed25519 AAAA!".to_owned(), "has a damaged key"),
            ("a ssh-ed25519 AAAA".to_owned(), "has a damaged key"),
            ("a ssh-ed25519".to_owned(), "has no key"),
            ("a namespaces=\"git\" x".to_owned(), "has no key"),
            (
                "a namespaces=\"git x".to_owned(),
                "has a quote that does not end",
            ),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
                "begins a private key or a certificate, where a public key is wanted",
            ),
        ] {
            assert_eq!(problem(&line), expected, "{line}");
        }
    }

    #[test]
    fn a_commits_time_becomes_ssh_keygens() {
        assert_eq!(
            verify_time(1_700_000_100).unwrap(),
            "-Overify-time=20231114221500Z"
        );
        for never in [0, -1, i64::MAX] {
            assert_eq!(verify_time(never), None);
        }
    }
}
