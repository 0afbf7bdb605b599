//! What can be wrong with a value, whichever layer it came from.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::git::path;
use crate::patterns::NotAPattern;
use crate::text;

use super::{health, repo};

/// Why a value is refused. The text continues "`name` …"; the error around it knows the layer.
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
        /// The type that stands there.
        found: &'static str,
    },
    /// Bytes that are no text.
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
            "write the whole path, from `/` (`$HOME/…` or an unquoted `~/…` in a shell); nothing was written"
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
