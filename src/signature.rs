//! Whether somebody who is trusted has signed a commit: `trust.signers`.
//!
//! The setting names a file of keys, and everything is decided on this machine with that file alone: an OpenSSH
//! `allowed_signers` file or an OpenPGP keyring (binary, armored or a keybox), distinguished by content. It is read once,
//! before anything is asked of the remote. The signatures themselves are checked by `ssh-keygen` and `gpgv`, as git
//! does; no crate for either format stays without a second copy of half our cryptography.
//!
//! What is checked is the commit that is to be written, no other: its id covers its whole tree and all its ancestors,
//! so its signer answers for them. Who may follow on whom is the policy for rewinds, not this one.
//!
//! Where git is lenient, this is not: one commit has one signature by one key; an OpenPGP signature covers the bytes
//! as they are, with a hash that is not broken; the file of keys cannot be written by others. Where git has a rule,
//! it is the same: an SSH key's time of validity is held against the commit's own time, an OpenPGP key's against the
//! clock. A key is revoked by taking it out of the file, or by the revocation that the keyring carries.

use std::path::Path;
use std::time::Duration;

use crate::git::Commit;
use crate::process::Interrupt;
use crate::settings::Env;

mod armor;
mod error;
mod file;
mod openpgp;
mod program;
mod signed;
mod ssh;

pub use error::Error;

use signed::{SignatureFormat, Signed};

/// Whose signature is good enough.
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

/// Who has signed a commit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Signer {
    /// As the file of keys calls them: the principals of the key's line, or the key's user id.
    pub name: String,
    /// The key's fingerprint.
    pub key: String,
}

impl Signers {
    /// Reads the file of keys.
    ///
    /// It must be a regular file of root's or the running user's that nobody else can write; symlinks to it are
    /// followed, for that is how NixOS lays out `/etc`.
    ///
    /// `interrupt` ends a check that is going on.
    pub fn load(path: &Path, env: &Env, interrupt: &Interrupt) -> Result<Self, Error> {
        let content = file::read(path)?;
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

    /// Whether one of them has signed `commit`, whose proven bytes are `raw`.
    ///
    /// `scratch` is an empty directory that only we can enter; what is left in it is no secret.
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
