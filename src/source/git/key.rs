//! A private key for ssh, before ssh is given it: what ssh ignores without a word that anybody would see.

use std::fmt;
use std::path::Path;

use data_encoding::BASE64;

use crate::text;
use crate::vetted::{self, FileRequirements, Owner, UntrustedReason};

/// The largest key that is read; one of RSA with 16384 bits has 13 kB.
const SIZE_MAX: u64 = 64 << 10;

/// What is wrong with a key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFault {
    /// There is none.
    Missing,
    /// Not a file that can be read; in words.
    NotReadable(String),
    /// Others may read it; its permission bits.
    Mode(u32),
    /// Without the newline at its end.
    NoNewline,
    /// With the line ends of another system.
    CarriageReturns,
    /// Protected by a passphrase.
    Passphrase,
    /// A public key, or something else.
    NotAKey,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::NotReadable(cause) => write!(f, "cannot be read: {cause}"),
            Self::Mode(mode) => write!(f, "may be read by others (mode {mode:04o})"),
            Self::NoNewline => f.write_str("lacks the newline at its end"),
            Self::CarriageReturns => f.write_str("has line ends with carriage returns"),
            Self::Passphrase => f.write_str(
                "is protected by a passphrase, and hyper-sync does not ask for passphrases",
            ),
            Self::NotAKey => f.write_str("is not a private key"),
        }
    }
}

impl KeyFault {
    /// What to do about it.
    pub(in crate::source) fn remedy(&self, path: &Path) -> String {
        let path = text::path(path);
        match self {
            Self::Missing | Self::NotReadable(_) => {
                "set `ssh_key_file` to a private key that this user may read".to_owned()
            }
            Self::Mode(_) => format!("`chmod 600 {path}`, for ssh ignores it"),
            Self::NoNewline => format!("`echo >> {path}` adds it, for ssh ignores the key without"),
            Self::CarriageReturns => {
                format!(
                    "`sed -i 's/\\r$//' {path}` removes them, for ssh ignores the key with them"
                )
            }
            Self::Passphrase => format!(
                "`ssh-keygen -p -f {path}` removes it; or leave `ssh_key_file` unset and use an agent"
            ),
            Self::NotAKey => {
                "set `ssh_key_file` to the private half, which begins with `-----BEGIN`".to_owned()
            }
        }
    }
}

/// Whether ssh can use the key without asking anybody.
pub(super) fn check(path: &Path) -> Result<(), KeyFault> {
    let terms = |closed| FileRequirements {
        symlink: true,
        closed,
        owner: Owner::Any,
        above: false,
        limit: SIZE_MAX,
    };
    let content = match vetted::read(path, &terms(0o077)) {
        // ssh minds it only for a key of the one who runs it.
        Err(UntrustedReason::Mode(_)) if !is_own(path) => vetted::read(path, &terms(0)),
        result => result,
    };
    let content = content.map_err(|refusal| match refusal {
        UntrustedReason::Absent => KeyFault::Missing,
        UntrustedReason::Mode(mode) => KeyFault::Mode(mode),
        UntrustedReason::Io(error) => KeyFault::NotReadable(error.to_string()),
        UntrustedReason::NotAFile(kind) => KeyFault::NotReadable(format!("it is {kind}")),
        UntrustedReason::TooLarge(_) => KeyFault::NotAKey,
        UntrustedReason::Owner(_) | UntrustedReason::Exposed(_) => {
            KeyFault::NotReadable("it is exposed".to_owned())
        }
    })?;
    check_format(&content)
}

fn is_own(path: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    rustix::fs::stat(path).is_ok_and(|stat| stat.st_uid == user)
}

fn check_format(content: &[u8]) -> Result<(), KeyFault> {
    if !content.starts_with(b"-----BEGIN ") {
        return Err(KeyFault::NotAKey);
    }
    if content.contains(&b'\r') {
        return Err(KeyFault::CarriageReturns);
    }
    if content.last() != Some(&b'\n') {
        return Err(KeyFault::NoNewline);
    }
    if is_encrypted(content) {
        return Err(KeyFault::Passphrase);
    }
    Ok(())
}

/// By the header of PEM and PKCS 8, or the cipher's name in OpenSSH's own format (`PROTOCOL.key`).
fn is_encrypted(content: &[u8]) -> bool {
    const MAGIC: &[u8] = b"openssh-key-v1\0\0\0\0\x04none";
    let lines = || content.split(|byte| *byte == b'\n');
    let first = lines().next().unwrap_or_default();
    if first == b"-----BEGIN OPENSSH PRIVATE KEY-----" {
        let body: Vec<u8> = lines().skip(1).take(1).flatten().copied().collect();
        // The begin suffices, of which four letters are three bytes.
        let begin = &body[..body.len() / 4 * 4];
        return BASE64
            .decode(begin)
            .is_ok_and(|decoded| !decoded.starts_with(MAGIC));
    }
    first.ends_with(b"ENCRYPTED PRIVATE KEY-----")
        || lines().any(|line| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"))
}
