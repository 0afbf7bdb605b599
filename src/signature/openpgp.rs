//! OpenPGP signatures, checked by `gpgv` against a keyring of our own.
//!
//! `gpgv` uses no network, no agent and no web of trust: what is in the keyring is trusted. Its exit code is 0 for a
//! valid signature even if the key is expired or revoked; so its status lines decide, and exactly one verdict is
//! accepted. It does not read armored keyrings, hence [`Keyring::detect`].

use super::program::Workplace;
use super::signed::Signed;
use super::{Error, Signer, armor};
use crate::git::CommitId;
use crate::text::words;

/// The program that checks these signatures.
pub(super) const PROGRAM: &str = "gpgv";
/// The prefix of each status line (`doc/DETAILS` of `GnuPG`).
const STATUS: &str = "[GNUPG:] ";
/// SHA-256, 384, 512, 224 and SHA3-256, 512 (RFC 9580 §9.5). The others are MD5, SHA-1 and RIPEMD-160.
const HASHES: &[&str] = &["8", "9", "10", "11", "12", "14"];
/// A signature of the exact bytes. One of text (`01`) does not cover how lines end.
const CLASS_BINARY: &str = "00";
/// The cause in `ERRSIG` where the key is unknown.
const CAUSE_NO_KEY: &str = "9";

/// A keyring as `gpgv` reads it: transferable public keys one after the other, or a keybox.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keyring(Vec<u8>);

impl Keyring {
    /// The keyring, if this is one.
    pub(super) fn detect(content: &[u8]) -> Result<Option<Self>, &'static str> {
        const SECRET: &str = "holds private keys: give it only the public ones";
        if content.get(8..12) == Some(b"KBXf") {
            return Ok(Some(Self(content.to_vec())));
        }
        match content.first() {
            // A packet of the old or the new form: a secret key, a public key (RFC 9580 §4.2, §5).
            Some(0x94..=0x97 | 0xc5) => return Err(SECRET),
            Some(0x98..=0x9b | 0xc6) => return Ok(Some(Self(content.to_vec()))),
            _ => {}
        }
        let Ok(text) = std::str::from_utf8(content) else {
            return Ok(None);
        };
        let has = |line| text.lines().any(|found| found.trim() == line);
        if has("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
            return Err(SECRET);
        }
        if !has("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            return Ok(None);
        }
        let keys = armor::decode(text, "PGP PUBLIC KEY BLOCK").unwrap_or_default();
        match keys.first() {
            Some(0x98..=0x9b | 0xc6) => Ok(Some(Self(keys))),
            _ => Err("is a damaged keyring"),
        }
    }

    /// Whether one of its keys has made the signature.
    pub(super) fn check(
        &self,
        commit: CommitId,
        signed: &Signed,
        workplace: &Workplace<'_>,
    ) -> Result<Signer, Error> {
        workplace.write("payload", &signed.payload)?;
        workplace.write("signature", &signed.signature)?;
        workplace.write("keyring", &self.0)?;
        let output = workplace.run(
            PROGRAM,
            &[
                "--homedir",
                ".",
                // With a slash, because `gpgv` searches for a bare name in the home directory.
                "--keyring",
                "./keyring",
                "--status-fd",
                "1",
                "signature",
                "payload",
            ],
            None,
        )?;
        let status = output.text();
        let complaint = || complaint(&output.tail);
        let verdict = read_status(&status, commit, complaint)?;
        if !output.end.is_success() {
            return Err(Error::Bad {
                commit,
                cause: complaint(),
            });
        }
        Ok(verdict)
    }
}

/// The signer, or the error, that the status lines report.
fn read_status(
    status: &str,
    commit: CommitId,
    complaint: impl Fn() -> String,
) -> Result<Signer, Error> {
    let mut signatures = 0;
    let mut verdicts = Vec::new();
    let mut valid = None;
    for line in status.lines().filter_map(|line| line.strip_prefix(STATUS)) {
        let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
        match keyword {
            "NEWSIG" => signatures += 1,
            "GOODSIG" | "BADSIG" | "ERRSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" => {
                verdicts.push((keyword, rest));
            }
            "VALIDSIG" => valid = Some(rest.split(' ').collect::<Vec<_>>()),
            _ => {}
        }
    }
    if signatures > 1 || verdicts.len() > 1 {
        return Err(Error::Several { commit });
    }
    let bad = |cause: String| Error::Bad { commit, cause };
    let Some((verdict, rest)) = verdicts.pop() else {
        return Err(bad(complaint()));
    };
    let (id, name) = rest.split_once(' ').unwrap_or((rest, ""));
    let field = |number: usize| {
        valid
            .as_ref()
            .and_then(|fields| fields.get(number).copied())
    };
    // The primary key's where a subkey has signed: it is the one that people publish.
    let key = field(9).or(field(0)).unwrap_or(id).to_owned();
    let refused = |cause: &str| Error::KeyRefused {
        commit,
        key: key.clone(),
        cause: cause.to_owned(),
    };
    match verdict {
        "GOODSIG" => {}
        "BADSIG" => return Err(bad("the commit is not what was signed".to_owned())),
        "EXPSIG" => return Err(bad("it has expired".to_owned())),
        "EXPKEYSIG" => return Err(refused("the key has expired")),
        "REVKEYSIG" => return Err(refused("the key is revoked")),
        _ => {
            let fields: Vec<&str> = rest.split(' ').collect();
            if fields.get(5) != Some(&CAUSE_NO_KEY) {
                return Err(bad(complaint()));
            }
            // Old versions of `gpgv` leave the fingerprint out.
            let key = fields.get(6).filter(|key| key.len() > 1).unwrap_or(&id);
            let key = (*key).to_owned();
            return Err(Error::Unlisted { commit, key });
        }
    }
    if field(8) != Some(CLASS_BINARY) {
        return Err(bad("it does not sign the exact bytes".to_owned()));
    }
    if !field(7).is_some_and(|hash| HASHES.contains(&hash)) {
        return Err(bad("its hash algorithm is broken".to_owned()));
    }
    Ok(Signer {
        name: words(name),
        key,
    })
}

/// The last line that `gpgv` prints is the cause of its failure.
fn complaint(said: &str) -> String {
    let line = said.lines().last().unwrap_or("no reason was given").trim();
    words(line.strip_prefix("gpgv: ").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(status: &str) -> String {
        let commit = "0123456789012345678901234567890123456789".parse().unwrap();
        match read_status(status, commit, || "words".to_owned()) {
            Ok(signer) => format!("{} {}", signer.name, signer.key),
            Err(error) => miette::Diagnostic::code(&error).unwrap().to_string(),
        }
    }

    #[test]
    fn only_one_good_verdict_passes() {
        let good = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG AB Ada <a@b>\n[GNUPG:] VALIDSIG CDAB 2024-01-01 1 0 4 0 22 8 00 EFEF\n";
        assert_eq!(code(good), "Ada <a@b> EFEF");
        for (status, expected) in [
            ("", "hyper_sync::signature::bad"),
            ("GOODSIG AB x\nVALIDSIG", "hyper_sync::signature::bad"),
            ("[GNUPG:] GOODSIG AB x\n", "hyper_sync::signature::bad"),
            (&good.repeat(2), "hyper_sync::signature::several"),
            (
                &format!("{good}[GNUPG:] BADSIG AB x\n"),
                "hyper_sync::signature::several",
            ),
            (&good.replace("8 00", "2 00"), "hyper_sync::signature::bad"),
            (&good.replace("8 00", "8 01"), "hyper_sync::signature::bad"),
            (
                &good.replace("GOODSIG", "EXPKEYSIG"),
                "hyper_sync::signature::key_refused",
            ),
            (
                &good.replace("GOODSIG", "REVKEYSIG"),
                "hyper_sync::signature::key_refused",
            ),
            (
                &good.replace("GOODSIG", "EXPSIG"),
                "hyper_sync::signature::bad",
            ),
            (
                &good.replace("GOODSIG", "BADSIG"),
                "hyper_sync::signature::bad",
            ),
            (
                "[GNUPG:] ERRSIG AB 22 8 00 1 9 CD",
                "hyper_sync::signature::unlisted",
            ),
            (
                "[GNUPG:] ERRSIG AB 22 8 00 1 4 CD",
                "hyper_sync::signature::bad",
            ),
        ] {
            assert_eq!(code(status), expected, "{status}");
        }
    }

    #[test]
    fn keyrings_are_recognised_by_their_first_bytes() {
        let is_keyring = |content: &[u8]| Keyring::detect(content).map(|found| found.is_some());
        assert_eq!(is_keyring(b"\x99\x01"), Ok(true));
        assert_eq!(is_keyring(b"\xc6\x01"), Ok(true));
        assert_eq!(is_keyring(b"\0\0\0\x20\x01\x01\0\x02KBXf"), Ok(true));
        assert_eq!(is_keyring(b"ada ssh-ed25519 AAAA"), Ok(false));
        assert_eq!(is_keyring(b"\xff\xfe"), Ok(false));
        assert_eq!(is_keyring(b""), Ok(false));
        assert!(is_keyring(b"\x95\x01").is_err());
        assert!(is_keyring(b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n").is_err());
        assert!(is_keyring(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nAAAA\n").is_err());
        let armored =
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQE=\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(
            Keyring::detect(armored),
            Ok(Some(Keyring(vec![0x99, 0x01])))
        );
    }
}
