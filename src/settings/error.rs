//! What can go wrong before a run knows what it is to do.
//!
//! All problems are found before one is reported, so that a file is corrected in one round. Nothing is written in
//! this stage, and no error shows a credential: the text of a file is kept masked (`redact`).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};

use super::{Origin, Problem};
use crate::exit::Exit;
use crate::text;

/// A setting, or the file they are in.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The file that was asked for is not there.
    #[error("there is no configuration file `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::settings::file_missing),
        help(
            "correct `{asked_by}`; without it, a missing `/etc/hyper-sync/config.toml` is fine; nothing was written"
        )
    )]
    FileMissing {
        /// As it was asked for.
        path: PathBuf,
        /// What asked for it.
        asked_by: Origin,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration file `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::settings::file_unreadable),
        help(
            "give this user the right to read it, or name another file with `--config`; nothing was written"
        )
    )]
    FileUnreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no text, or far too long for one.
    #[error("`{}` is not a configuration file: {why}", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::settings::file_not_text),
        help("give the path of a TOML file; nothing was written")
    )]
    FileNotText {
        /// Its path.
        path: PathBuf,
        /// What is odd about it.
        why: &'static str,
    },
    /// The file is no TOML, a key that stands there twice included.
    #[error("{origin} is not valid TOML: {message}")]
    #[diagnostic(
        code(hyper_sync::settings::syntax),
        help("correct the marked place; nothing was written")
    )]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser says.
        message: String,
        /// The file.
        #[source_code]
        text: Arc<NamedSource<String>>,
        /// The place.
        #[label("here")]
        at: SourceSpan,
    },
    /// A key that no setting has.
    #[error("{origin} has the unknown key `{}`", text::name(.key))]
    #[diagnostic(
        code(hyper_sync::settings::unknown_key),
        help("{help}; nothing was written")
    )]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// With its section.
        key: String,
        /// What was meant, as far as that can be guessed.
        help: UnknownKeyHelp,
        /// The file.
        #[source_code]
        text: Arc<NamedSource<String>>,
        /// The place.
        #[label("unknown key")]
        at: SourceSpan,
    },
    /// A value that is refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Value(Box<ValueError>),
    /// More than one of them.
    #[error("{} settings are wrong", .problems.len())]
    #[diagnostic(
        code(hyper_sync::settings::several),
        help("correct each; nothing was written")
    )]
    Several {
        /// Each of them.
        #[related]
        problems: Vec<Error>,
    },
}

/// What to do about an unknown key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownKeyHelp {
    /// It is nearly one that exists.
    Similar(String),
    /// It looks like a secret.
    Secret,
    /// It is a section, written as a value.
    Section(String),
    /// Nothing is near; it stands in a table whose keys are these.
    Among(Vec<String>),
    /// Nothing is near.
    Unlike,
}

/// A value that is refused, with its setting and its layer.
#[derive(Debug)]
pub struct ValueError {
    /// The setting's name.
    pub name: Cow<'static, str>,
    /// The layer.
    pub origin: Origin,
    /// What is wrong.
    pub problem: Problem,
    /// For a file: its masked text and the value's place.
    pub place: Option<(Arc<NamedSource<String>>, Range<usize>)>,
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.is_usage() {
            Exit::Usage
        } else {
            Exit::Configuration
        }
    }

    /// One error from all that were found; `None` where there is none.
    pub(super) fn from_all(mut problems: Vec<Self>) -> Option<Self> {
        match problems.len() {
            0 | 1 => problems.pop(),
            _ => Some(Self::Several { problems }),
        }
    }

    /// Whether the command line alone is at fault.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Value(error) => matches!(error.origin, Origin::Flag(_)),
            Self::Several { problems } => problems.iter().all(Self::is_usage),
            Self::FileMissing { .. }
            | Self::FileUnreadable { .. }
            | Self::FileNotText { .. }
            | Self::Syntax { .. }
            | Self::UnknownKey { .. } => false,
        }
    }
}

impl fmt::Display for UnknownKeyHelp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Similar(name) => write!(formatter, "write `{name}` if that was meant"),
            Self::Secret => formatter.write_str(
                "a secret does not belong in this file: put it into a file of its own and give its path as `token_file`",
            ),
            Self::Section(name) => write!(formatter, "`{name}` is a section: write `[{name}]` and its keys below"),
            Self::Among(keys) => write!(formatter, "write one of `{}`", keys.join("`, `")),
            Self::Unlike => formatter.write_str("`hyper-sync config show` lists all there are"),
        }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            origin,
            problem,
            ..
        } = self;
        match origin {
            Origin::Default => write!(formatter, "`{name}` {problem}"),
            Origin::Flag(_) | Origin::Environment(_) | Origin::File { .. } => {
                write!(formatter, "`{name}` ({origin}) {problem}")
            }
        }
    }
}

impl std::error::Error for ValueError {}

/// Code and help are the problem's, the place is the layer's.
impl Diagnostic for ValueError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place.as_ref().map(|(text, _)| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (_, span) = self.place.as_ref()?;
        let label = LabeledSpan::new_with_span(Some("this value".to_owned()), span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}
