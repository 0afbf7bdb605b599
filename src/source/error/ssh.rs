//! What ssh reports: the host's key, and the login.

use miette::Diagnostic;

use super::super::git::KeyFault;
use super::phrases::quoted;
use crate::exit::Exit;
use crate::text;

/// Why ssh does not get through to a host that answers.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SshError {
    /// ssh does not know the host yet.
    #[error("the host key of {remote} is not known{}", quoted(.words.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::host_key_unknown),
        help(
            "`ssh-keyscan HOST` prints its keys: compare them with the fingerprints that the host publishes (`ssh-keygen -lf`), and put one into `known_hosts_file`, or into `~/.ssh/known_hosts` of the user this runs as; nothing was written"
        )
    )]
    HostKeyUnknown {
        /// Host or repository.
        remote: String,
        /// What ssh says: the type of the key that it looked for.
        words: Option<String>,
    },
    /// ssh knows the host by another key.
    #[error("the host key of {remote} has changed{}", quoted(.words.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::host_key),
        help(
            "somebody may be in between; if the host has announced a new key, put it in the place of the old one; nothing was written"
        )
    )]
    HostKey {
        /// Host or repository.
        remote: String,
        /// What ssh says: the type of the key and where the known one stands.
        words: Option<String>,
    },
    /// The private key for ssh cannot be used.
    #[error("the ssh key `{}` {}", text::path(.path), .fault)]
    #[diagnostic(
        code(hyper_sync::source::ssh_key),
        help("{}; nothing was written", .fault.remedy(.path))
    )]
    Key {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// The server takes none of the keys.
    #[error("{remote} refuses the login with {key}{}", quoted(.words.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::ssh_login),
        help(
            "add the public half of the key as a deploy key of the repository, or set `ssh_key_file` to the private key that it knows; nothing was written"
        )
    )]
    Login {
        /// Host or repository.
        remote: String,
        /// Which keys were tried.
        key: String,
        /// Why ssh could not use a key, where it says so.
        words: Option<String>,
    },
}

impl SshError {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Key { .. } => Exit::Configuration,
            Self::HostKeyUnknown { .. } | Self::HostKey { .. } | Self::Login { .. } => {
                Exit::Authentication
            }
        }
    }
}
