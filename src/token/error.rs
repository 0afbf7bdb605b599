//! What can be wrong with the place of a token. No message holds any of its content.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::exit::Exit;
use crate::text;

/// A token that must not be used as it is.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The set file is not there.
    #[error("the token file `{}` does not exist", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::token::missing),
        help("create it, or take `token_file` out of the settings; nothing was written")
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::token::io),
        help("give this user the right to read it; nothing was written")
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A symlink, directory, pipe, socket or device.
    #[error("`{}` is {kind}, not a regular file", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::token::not_a_file),
        help("name the file itself (`realpath` prints it); nothing was read or written")
    )]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Others may read or change it.
    #[error("others may read or change `{}` (mode {mode:04o})", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::token::mode),
        help("run `chmod 600 {}`, and renew the token if others may have read it; nothing was written", text::path(.path))
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody who should not choose the token.
    #[error("`{}` belongs to user {uid}, who is neither root nor the user this runs for", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::token::owner),
        help("run `chown root {}` if the token is right; nothing was written", text::path(.path))
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Others can put another file in its place.
    #[error("`{}`, which is above `{}`, can be changed by others", text::path(.above), text::path(.path))]
    #[diagnostic(
        code(hyper_sync::token::exposed),
        help(
            "keep the token where only its owner and root may write, and renew it if others may have read it; nothing was written"
        )
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// The directory above it, or a symlink on the way.
        above: PathBuf,
    },
    /// Far larger than a token.
    #[error("`{}` is larger than {limit} bytes", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::token::too_large),
        help("it must hold the token and nothing else; nothing was written")
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// No token in it, or something that cannot be one.
    #[error("{place} {problem}")]
    #[diagnostic(
        code(hyper_sync::token::content),
        help("write the token alone, on one line; nothing was sent or written")
    )]
    Content {
        /// Where, in words.
        place: String,
        /// What is wrong; never what is there.
        problem: &'static str,
    },
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Missing { .. }
            | Self::Io { .. }
            | Self::NotAFile { .. }
            | Self::Mode { .. }
            | Self::Owner { .. }
            | Self::Exposed { .. }
            | Self::TooLarge { .. }
            | Self::Content { .. } => Exit::Configuration,
        }
    }
}
