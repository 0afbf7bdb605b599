//! Verifies that a trusted key has signed a commit: `trust.signers`.
//!
//! The setting names a file of keys, and everything is decided on this machine with that file alone: an OpenSSH
//! `allowed_signers` file or an OpenPGP keyring (binary, armored or a keybox), distinguished by content. It is read once,
//! before the first request. The signatures themselves are checked by `ssh-keygen` and `gpgv`, as git
//! does, because the crates for these formats would duplicate half of our cryptography.
//!
//! Only the commit that is to be written is checked: its id covers its whole tree and all its ancestors, so its signature
//! covers them too. The order of commits is checked by the policy for rewinds.
//!
//! Where git is lenient, this is not: one commit has one signature by one key; an OpenPGP signature covers the bytes
//! exactly, with a hash that is not broken; the file of keys must not be writable by others. Otherwise git's rules apply:
//! the validity of an SSH key is compared with the time of the commit, that of an OpenPGP key with the clock. A key is
//! revoked by its removal from the file, or by a revocation in the keyring.

use std::path::Path;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;

use crate::git::Commit;
use crate::process::Interrupt;
use crate::settings::Env;
use crate::vetted::{self, FileRequirements, Owner, TrustedFile, Untrusted};

mod armor;
mod error;
mod openpgp;
mod program;
mod signed;
mod ssh;

pub use error::Error;

use signed::{SignatureFormat, Signed};

/// The trusted keys.
#[derive(Debug)]
pub struct Signers {
    keys: TrustedKeys,
    programs: program::Programs,
}

#[derive(Debug)]
enum TrustedKeys {
    Ssh(ssh::AllowedSigners),
    OpenPgp(openpgp::Keyring),
}

/// The signer of a commit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Signer {
    /// The name in the file of keys: the principals of the key's line, or the key's user id.
    pub name: String,
    /// The key's fingerprint.
    pub key: String,
}

impl Signers {
    /// Reads the file of keys.
    ///
    /// It must be a regular file of root's or the running user's that nobody else can write; symlinks to it are
    /// followed, because NixOS makes them in `/etc`.
    ///
    /// `interrupt` stops a running check.
    pub fn load(path: &Path, env: &Env, interrupt: &Interrupt) -> Result<Self, Error> {
        let content = read_keys(path)?;
        let refuse = |problem| Error::Content {
            path: path.to_owned(),
            problem,
        };
        let keys = if let Some(keyring) = openpgp::Keyring::detect(&content).map_err(refuse)? {
            TrustedKeys::OpenPgp(keyring)
        } else {
            let text = std::str::from_utf8(&content)
                .map_err(|_| refuse("is neither an `allowed_signers` file nor a keyring"))?;
            let signers = ssh::AllowedSigners::parse(text).map_err(|fault| Error::Line {
                path: path.to_owned(),
                line: fault.line,
                problem: fault.problem,
            })?;
            if signers.is_empty() {
                return Err(refuse("lists no key"));
            }
            TrustedKeys::Ssh(signers)
        };
        Ok(Self {
            keys,
            programs: program::Programs::new(env, interrupt),
        })
    }

    /// With another limit for the time that one program takes.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.programs.time_limit = limit;
        self
    }

    /// The program that checks signatures by these keys.
    #[must_use]
    pub fn program(&self) -> &'static str {
        match self.keys {
            TrustedKeys::Ssh(_) => ssh::PROGRAM,
            TrustedKeys::OpenPgp(_) => openpgp::PROGRAM,
        }
    }

    /// Checks that one of the keys has signed `commit`, whose proven bytes are `raw`.
    ///
    /// `scratch` is an empty private directory; the files left in it are not secret.
    pub fn check(&self, commit: &Commit, raw: &[u8], scratch: &Path) -> Result<Signer, Error> {
        let id = commit.id;
        let signed = Signed::parse(raw).ok_or(Error::Unsigned { commit: id })?;
        if signed.is_ambiguous() {
            return Err(Error::Several { commit: id });
        }
        let workplace = program::Workplace {
            directory: scratch,
            programs: &self.programs,
        };
        match (&self.keys, signed.format()) {
            (TrustedKeys::Ssh(signers), SignatureFormat::Ssh) => {
                signers.check(commit, &signed, &workplace)
            }
            (TrustedKeys::OpenPgp(keyring), SignatureFormat::OpenPgp) => {
                keyring.check(id, &signed, &workplace)
            }
            (keys, format) => Err(Error::OtherFormat {
                commit: id,
                signed: format.words(),
                listed: match keys {
                    TrustedKeys::Ssh(_) => "SSH keys",
                    TrustedKeys::OpenPgp(_) => "OpenPGP keys",
                },
            }),
        }
    }
}

/// Symlinks are followed, because NixOS makes them in `/etc`.
const REQUIREMENTS: FileRequirements = FileRequirements {
    symlink: true,
    closed: 0o022,
    owner: Owner::Known { also: None },
    above: true,
    // The keyring of a large distribution's developers has 10 MiB.
    limit: 16 << 20,
};

/// The content of the file of keys.
fn read_keys(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let content = vetted::read(path, &REQUIREMENTS).map_err(|refusal| Untrusted {
        file: TrustedFile::Signers,
        path: path.to_owned(),
        refusal,
    });
    Ok(content?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vetted::judgement;

    #[test]
    fn only_root_and_this_user_may_choose_the_keys() {
        for (mode, uid) in [(0o100_644, 0), (0o100_444, 0), (0o100_600, 1000)] {
            assert!(
                judgement(mode, uid, &REQUIREMENTS).is_ok(),
                "{mode:o} {uid}"
            );
        }
        for (mode, uid) in [(0o100_664, 0), (0o100_646, 0), (0o100_644, 1001)] {
            assert!(
                judgement(mode, uid, &REQUIREMENTS).is_err(),
                "{mode:o} {uid}"
            );
        }
    }
}
