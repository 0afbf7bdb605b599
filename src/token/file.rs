//! Reading a file that holds a secret.

use std::io;
use std::path::Path;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::{Error, TokenOrigin};
use crate::vetted::{self, FileRequirements, Owner, TrustedFile, Untrusted, UntrustedReason};

/// Real tokens stay below 300 bytes; a JWT of an app may have 2000.
const TOKEN_MAX: u64 = 4096;
/// The largest file of another program that is searched for a token.
const SETTINGS_MAX: u64 = 1 << 20;

/// What a file must be like.
#[derive(Debug, Clone, Copy)]
pub(super) enum TokenFileTrust {
    /// No symlink, owned by root, by us or by this user too, closed to all others.
    Private { also: Option<u32> },
    /// As systemd lays it down: for another service user the access list shows as the group's right to read.
    Credential,
    /// Another program's settings, whose permissions are not checked here.
    Anyone,
}

impl TokenFileTrust {
    fn terms(self) -> FileRequirements {
        match self {
            Self::Private { also } => FileRequirements {
                symlink: false,
                closed: 0o077,
                owner: Owner::Known { also },
                above: true,
                limit: TOKEN_MAX,
            },
            Self::Credential => FileRequirements {
                symlink: false,
                closed: 0o037,
                owner: Owner::Known { also: None },
                above: true,
                limit: TOKEN_MAX,
            },
            Self::Anyone => FileRequirements::anyone(SETTINGS_MAX),
        }
    }
}

/// The content; `None` where there is no such file.
pub(super) fn read(
    path: &Path,
    trust: TokenFileTrust,
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let terms = trust.terms();
    let refusal = match vetted::read(path, &terms) {
        Ok(content) => return Ok(Some(content)),
        Err(refusal) => refusal,
    };
    match refusal {
        UntrustedReason::Absent => Ok(None),
        // Another program's settings that we may not see hold no token for us.
        UntrustedReason::Io(error)
            if matches!(trust, TokenFileTrust::Anyone)
                && error.kind() == io::ErrorKind::PermissionDenied =>
        {
            Ok(None)
        }
        refusal => Err(Untrusted {
            file: TrustedFile::Token,
            path: path.to_owned(),
            refusal,
        }
        .into()),
    }
}

/// The token in some content: one word of visible ASCII, so that it cannot break out of a header.
pub(super) fn token(content: &[u8], place: &TokenOrigin) -> Result<SecretString, Error> {
    let refuse = |problem| Error::Content {
        place: place.to_string(),
        problem,
    };
    let content = content.trim_ascii();
    if content.is_empty() {
        return Err(refuse("is empty"));
    }
    if content.contains(&b'\n') || content.contains(&b'\r') {
        return Err(refuse("has more than one line"));
    }
    if content.len() as u64 > TOKEN_MAX {
        return Err(refuse("is too long"));
    }
    if !content.iter().all(u8::is_ascii_graphic) {
        return Err(refuse(
            "has a space, a control character or something else that no token has",
        ));
    }
    let text = std::str::from_utf8(content).map_err(|_| refuse("is not text"))?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vetted::judgement;
    use secrecy::ExposeSecret;

    #[test]
    fn only_its_owner_may_have_a_token_file() {
        let private = |also| TokenFileTrust::Private { also }.terms();
        for (mode, uid) in [(0o100_600, 0), (0o100_400, 1000), (0o100_700, 1000)] {
            assert!(judgement(mode, uid, &private(None)).is_ok());
        }
        for mode in [
            0o100_644, 0o100_640, 0o100_604, 0o100_660, 0o100_602, 0o100_601,
        ] {
            assert!(
                matches!(
                    judgement(mode, 1000, &private(None)),
                    Err(UntrustedReason::Mode(_))
                ),
                "{mode:o}"
            );
        }
        assert!(matches!(
            judgement(0o100_600, 1001, &private(None)),
            Err(UntrustedReason::Owner(1001))
        ));
        assert!(judgement(0o100_600, 1001, &private(Some(1001))).is_ok());
    }

    #[test]
    fn a_credential_may_show_its_access_list_as_the_groups_right() {
        let terms = TokenFileTrust::Credential.terms();
        assert!(judgement(0o100_440, 0, &terms).is_ok());
        assert!(judgement(0o100_444, 0, &terms).is_err());
        assert!(judgement(0o100_460, 0, &terms).is_err());
    }

    #[test]
    fn a_token_is_one_visible_word() {
        let place = TokenOrigin::Variable("GH_TOKEN");
        for content in ["ghp_x", " ghp_x\n", "ghp_x\r\n", "\tghp_x  "] {
            assert_eq!(
                token(content.as_bytes(), &place).unwrap().expose_secret(),
                "ghp_x"
            );
        }
        for content in [
            &b""[..],
            b" \r\n",
            b"canary\nX-Evil: 1",
            b"canary\rx",
            b"canary two",
            b"canary\0",
            b"canary\x7f",
            b"canary\xff\xfe",
            "canary\u{202e}".as_bytes(),
            &[b'a'; 5000],
        ] {
            let error = token(content, &place).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("canary"),
                "{error:?}"
            );
        }
    }
}
