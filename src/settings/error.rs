//! Errors of the configuration file and of settings, and the problems of a value from any layer.
//!
//! All problems are found before one is reported, so that a file is corrected in one round. Nothing is written in
//! this stage, and no error shows a credential: the text of a file is kept masked (`redact`).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};

use super::{Origin, health, repo};
use crate::exit::Exit;
use crate::git::path;
use crate::patterns::NotAPattern;
use crate::text::{self, shell_word};

/// A setting, or the file they are in.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The requested file does not exist.
    #[error("there is no configuration file `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::settings::file_missing),
        help(
            "`hyper-sync init --config {}` writes one; or correct `{asked_by}`: without it, a missing `/etc/hyper-sync/config.toml` is fine; nothing was written",
            shell_word(&text::path(.path))
        )
    )]
    FileMissing {
        /// As it was given.
        path: PathBuf,
        /// The option or variable that named it.
        asked_by: Origin,
    },
    /// A file that is not replaced unasked.
    #[error("the configuration file `{}` is there already", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::settings::file_exists),
        help(
            "`hyper-sync init --print` prints the new one, `hyper-sync init --force` replaces the file; nothing was written"
        )
    )]
    FileExists {
        /// The file.
        path: PathBuf,
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
    /// The file is not text, or far too long.
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
    /// The file is not TOML, or has a key twice.
    #[error("{origin} is not valid TOML: {message}")]
    #[diagnostic(
        code(hyper_sync::settings::syntax),
        help("correct the marked place; nothing was written")
    )]
    Syntax {
        /// Where.
        origin: Origin,
        /// The parser's message.
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
    /// Nothing says which directory is meant.
    #[error("no target is set, and none is known to this user")]
    #[diagnostic(
        code(hyper_sync::settings::no_target),
        help(
            "give it with `--target`, such as `--target /etc/nixos`, or as `target` in `/etc/hyper-sync/config.toml`, which `hyper-sync init` writes; what root has synced is known to root only (`sudo`); nothing was written"
        )
    )]
    NoTarget,
    /// Nothing says which repository the target follows.
    #[error("no repository is set, and `{}` does not follow one yet", text::path(.target))]
    #[diagnostic(
        code(hyper_sync::settings::no_repository),
        help(
            "give it once with `--repo`, such as `--repo owner/name`, or write `repo = \"owner/name\"` into `/etc/hyper-sync/config.toml`; nothing was written"
        )
    )]
    NoRepository {
        /// The target.
        target: PathBuf,
    },
    /// A rebuild of a target for which there is none.
    #[error("nothing is rebuilt here: `rebuild.action` is \"none\"")]
    #[diagnostic(
        code(hyper_sync::settings::no_rebuild),
        help(
            "`hyper-sync sync` updates the target; for a rebuild, give `--rebuild-action`, or change the setting; nothing was written"
        )
    )]
    NoRebuild,
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
    /// It is a key that stands above all sections, here with the section that it was written in.
    Above(String),
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
        match self {
            Self::FileExists { .. } => Exit::Conflict,
            usage if usage.is_usage() => Exit::Usage,
            _ => Exit::Configuration,
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
            | Self::FileExists { .. }
            | Self::FileUnreadable { .. }
            | Self::FileNotText { .. }
            | Self::Syntax { .. }
            | Self::UnknownKey { .. }
            | Self::NoTarget
            | Self::NoRepository { .. }
            | Self::NoRebuild => false,
        }
    }
}

impl fmt::Display for UnknownKeyHelp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Similar(name) => write!(formatter, "write `{name}` if that was meant"),
            Self::Above(name) => {
                let (section, key) = name.rsplit_once('.').unwrap_or_default();
                write!(formatter, "`{key}` is in no section: move it above `[{section}]` and all other sections")
            }
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
            Origin::Default | Origin::Earlier(_) => write!(formatter, "`{name}` {problem}"),
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

/// Why a value is refused. The text continues "`name` …"; the error around it has the layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Problem {
    /// TOML of another type.
    #[error("must be {takes}, not {found}")]
    #[diagnostic(
        code(hyper_sync::settings::wrong_type),
        help("correct the value; nothing was written")
    )]
    WrongType {
        /// What the setting takes.
        takes: &'static str,
        /// The type that was found.
        found: &'static str,
    },
    /// Bytes that are not UTF-8.
    #[error("is not valid UTF-8")]
    #[diagnostic(
        code(hyper_sync::settings::not_utf8),
        help("give it as UTF-8 text; nothing was written")
    )]
    NotUtf8,
    /// Newline, escape, NUL.
    #[error("has a control character in it")]
    #[diagnostic(
        code(hyper_sync::settings::control_character),
        help("remove it; often it is a line break at the end; nothing was written")
    )]
    Control,
    /// Nothing.
    #[error("is empty")]
    #[diagnostic(
        code(hyper_sync::settings::empty),
        help("give a value, or remove the setting to have its default; nothing was written")
    )]
    Empty,
    /// None of the words it may be.
    #[error("is `{}`, which is none of {}", text::name(.given), quoted(.choices))]
    #[diagnostic(
        code(hyper_sync::settings::unknown_choice),
        help("use one of them; nothing was written")
    )]
    Choice {
        /// As written.
        given: String,
        /// What it may be.
        choices: Vec<&'static str>,
    },
    /// No number.
    #[error("is `{}`, which is not {takes}", text::name(.given))]
    #[diagnostic(
        code(hyper_sync::settings::not_a_value),
        help("correct the value; nothing was written")
    )]
    NotAValue {
        /// As written.
        given: String,
        /// What the setting takes, with an example.
        takes: &'static str,
    },
    /// No glob.
    #[error("is not usable: {0}")]
    #[diagnostic(
        code(hyper_sync::settings::pattern),
        help(
            "`*` matches within a name, `**` across directories, `[…]` and `{{a,b}}` alternatives; nothing was written"
        )
    )]
    Pattern(NotAPattern),
    /// No path inside a tree.
    #[error("has the path `{}`, which {fault}", text::name(.path))]
    #[diagnostic(
        code(hyper_sync::settings::tree_path),
        help(
            "give a path from the root of the repository, such as `flake.nix`; nothing was written"
        )
    )]
    TreePath {
        /// As written.
        path: String,
        /// What is wrong with it.
        fault: path::PathFault,
    },
    /// A relative path where none can be understood.
    #[error("is the relative path `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::settings::relative_path),
        help(
            "write the whole path, from `/` and without `..`; only options of the command line may be relative; nothing was written"
        )
    )]
    Relative {
        /// As written.
        path: String,
    },
    /// `~`, which only a shell expands.
    #[error("begins with `~`, which is not expanded here")]
    #[diagnostic(
        code(hyper_sync::settings::tilde),
        help(
            "write the whole path, from `/`; a shell makes it of `$HOME/…`, and of an unquoted `~/…` where a word begins with it (`--target ~/x`, not `--target=~/x`); nothing was written"
        )
    )]
    Tilde,
    /// A repository that cannot be meant, or is not safe to be used.
    #[error("{0}")]
    #[diagnostic(code(hyper_sync::settings::repository), help("{}; nothing was written", .0.help()))]
    Repository(repo::AddressFault),
    /// No branch, tag or commit can have this name.
    #[error("is `{}`, which is not a name git allows: {cause}", text::name(.given))]
    #[diagnostic(
        code(hyper_sync::settings::reference),
        help("give a branch, a tag or a commit id, such as `main`; nothing was written")
    )]
    Reference {
        /// As written.
        given: String,
        /// The rule it breaks.
        cause: &'static str,
    },
    /// A directory that is much more than one configuration.
    #[error("is `{}`, {why}", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::settings::protected_directory),
        help("choose a directory of its own, such as `/etc/nixos`; nothing was written")
    )]
    Protected {
        /// The directory.
        path: PathBuf,
        /// What it is.
        why: &'static str,
    },
    /// Two settings whose places must be apart.
    #[error("is `{}`, which {relation} the {other} `{}`", text::path(.path), text::path(.other_path))]
    #[diagnostic(
        code(hyper_sync::settings::overlap),
        help(
            "Nix copies the whole target into the store, which everyone can read, and a sync manages all of it: keep the two apart; nothing was written"
        )
    )]
    Overlap {
        /// The path of the setting.
        path: PathBuf,
        /// How they lie.
        relation: &'static str,
        /// The other setting, in words.
        other: &'static str,
        /// Its path.
        other_path: PathBuf,
    },
    /// A secret in the Nix store.
    #[error("is `{}`, in the Nix store, which every user can read", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::settings::secret_in_store),
        help(
            "keep the secret outside, for example in `/run/secrets` or `/var/lib`, and give its path as a string; nothing was written"
        )
    )]
    SecretInStore {
        /// The path.
        path: PathBuf,
    },
    /// A health check that cannot be done.
    #[error("{0}")]
    #[diagnostic(code(hyper_sync::settings::health_check), help("{}; nothing was written", .0.help()))]
    Check(health::CheckFault),
    /// Several targets are known, and nothing says which one is meant.
    #[error("is not set, and several targets are known: {}", text::list(.known.iter().map(|target| format!("`{}`", text::path(target)))))]
    #[diagnostic(
        code(hyper_sync::settings::which_target),
        help("name one with `--target`, or run the command inside of one; nothing was written")
    )]
    WhichTarget {
        /// The targets.
        known: Vec<PathBuf>,
    },
    /// Nowhere to keep state.
    #[error("has no default here: neither `XDG_STATE_HOME` nor `HOME` is set to an absolute path")]
    #[diagnostic(
        code(hyper_sync::settings::no_state_dir),
        help("give `--state-dir`, or set one of them; nothing was written")
    )]
    NoStateDir,
}

fn quoted(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
    quoted.join(", ")
}
