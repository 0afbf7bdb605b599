//! What can be wrong with the place of a token. No message holds any of its content.

use miette::Diagnostic;

use crate::exit::Exit;
use crate::vetted::Untrusted;

/// A token that must not be used as it is.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The file that holds it is not read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] Untrusted),
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
            Self::File(_) | Self::Content { .. } => Exit::Configuration,
        }
    }
}
