//! Why a file is not read, and the error for a file that this machine trusts.

use std::fmt;
use std::io;
use std::path::PathBuf;

use miette::Diagnostic;

use crate::text;

/// Why a file is not read.
#[derive(Debug)]
pub enum UntrustedReason {
    /// There is none.
    Absent,
    /// The system refuses.
    Io(io::Error),
    /// It is something else; in words.
    NotAFile(&'static str),
    /// It has permission bits that it must not have; all of them.
    Mode(u32),
    /// It belongs to this user.
    Owner(u32),
    /// This, which is above it or a symlink on the way to it, can be changed by others.
    Exposed(PathBuf),
    /// It has more bytes than it may have, which is so many.
    TooLarge(u64),
}

impl fmt::Display for UntrustedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("it is missing"),
            Self::Io(error) => error.fmt(f),
            Self::NotAFile(kind) => write!(f, "it is {kind}"),
            Self::Mode(mode) => write!(f, "its mode is {mode:03o}"),
            Self::Owner(uid) => write!(f, "it belongs to the user with id {uid}"),
            Self::Exposed(path) => write!(f, "`{}` can be changed by others", text::path(path)),
            Self::TooLarge(_) => f.write_str("it is too large"),
        }
    }
}

/// A file that is trusted for what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedFile {
    /// It holds the token.
    Token,
    /// It lists who may sign.
    Signers,
}

/// Such a file that is not read.
#[derive(Debug)]
pub struct Untrusted {
    /// What it is for.
    pub file: TrustedFile,
    /// Where it is.
    pub path: PathBuf,
    /// Why it is not read.
    pub refusal: UntrustedReason,
}

/// What is said of it.
struct Words {
    code: &'static str,
    message: String,
    help: String,
}

impl Untrusted {
    fn words(&self) -> Words {
        match self.file {
            TrustedFile::Token => self.of_token(),
            TrustedFile::Signers => self.of_signers(),
        }
    }

    fn of_token(&self) -> Words {
        let path = text::path(&self.path);
        match &self.refusal {
            UntrustedReason::Absent => Words {
                code: "hyper_sync::token::missing",
                message: format!("the token file `{path}` does not exist"),
                help: "create it, or take `token_file` out of the settings; nothing was written"
                    .to_owned(),
            },
            UntrustedReason::Io(_) => Words {
                code: "hyper_sync::token::io",
                message: format!("cannot read `{path}`"),
                help: "give this user the right to read it; nothing was written".to_owned(),
            },
            UntrustedReason::NotAFile(kind) => Words {
                code: "hyper_sync::token::not_a_file",
                message: format!("`{path}` is {kind}, not a regular file"),
                help: "name the file itself (`realpath` prints it); nothing was read or written"
                    .to_owned(),
            },
            UntrustedReason::Mode(mode) => Words {
                code: "hyper_sync::token::mode",
                message: format!("others may read or change `{path}` (mode {mode:04o})"),
                help: format!(
                    "run `chmod 600 {path}`, and renew the token if others may have read it; nothing was written"
                ),
            },
            UntrustedReason::Owner(uid) => Words {
                code: "hyper_sync::token::owner",
                message: format!(
                    "`{path}` belongs to user {uid}, who is neither root nor the user this runs for"
                ),
                help: format!("run `chown root {path}` if the token is right; nothing was written"),
            },
            UntrustedReason::Exposed(above) => Words {
                code: "hyper_sync::token::exposed",
                message: format!(
                    "`{}`, which is above `{path}`, can be changed by others",
                    text::path(above)
                ),
                help: "keep the token where only its owner and root may write, and renew it if others may have read it; nothing was written"
                    .to_owned(),
            },
            UntrustedReason::TooLarge(limit) => Words {
                code: "hyper_sync::token::too_large",
                message: format!("`{path}` is larger than {limit} bytes"),
                help: "it must hold the token and nothing else; nothing was written".to_owned(),
            },
        }
    }

    fn of_signers(&self) -> Words {
        let path = text::path(&self.path);
        match &self.refusal {
            UntrustedReason::Absent => Words {
                code: "hyper_sync::signature::missing",
                message: format!("the file of signers `{path}` does not exist"),
                help: "create it, or take `trust.signers` out of the settings; nothing was written"
                    .to_owned(),
            },
            UntrustedReason::Io(_) => Words {
                code: "hyper_sync::signature::unreadable",
                message: format!("cannot read the file of signers `{path}`"),
                help: "give this user the right to read it; nothing was written".to_owned(),
            },
            UntrustedReason::NotAFile(kind) => Words {
                code: "hyper_sync::signature::not_a_file",
                message: format!("the file of signers `{path}` is {kind}, not a regular file"),
                help: "set `trust.signers` to a file; nothing was written".to_owned(),
            },
            UntrustedReason::Mode(mode) => Words {
                code: "hyper_sync::signature::mode",
                message: format!(
                    "others may write the file of signers `{path}` (mode {mode:04o})"
                ),
                help: format!(
                    "check what it lists, then run `chmod go-w {path}`; nothing was written"
                ),
            },
            UntrustedReason::Owner(uid) => Words {
                code: "hyper_sync::signature::owner",
                message: format!(
                    "the file of signers `{path}` belongs to user {uid}, who is neither root nor the user this runs as"
                ),
                help: format!(
                    "check what it lists, then run `chown root {path}`; nothing was written"
                ),
            },
            UntrustedReason::Exposed(above) => Words {
                code: "hyper_sync::signature::exposed",
                message: format!(
                    "`{}`, which is above the file of signers `{path}`, can be changed by others",
                    text::path(above)
                ),
                help: "check what the file lists, and keep it where only root may write, as in `/etc`; nothing was written"
                    .to_owned(),
            },
            UntrustedReason::TooLarge(limit) => Words {
                code: "hyper_sync::signature::too_large",
                message: format!("the file of signers `{path}` has more than {limit} bytes"),
                help: "keep only the keys that may sign; nothing was written".to_owned(),
            },
        }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().message)
    }
}

impl std::error::Error for Untrusted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.refusal {
            UntrustedReason::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl Diagnostic for Untrusted {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.words().code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.words().help))
    }
}
