//! Values that a setting can have: how each is read from text or TOML, and how it is shown.

use std::ops::Range;
use std::path::PathBuf;

use gix_validate::reference::{name::Error as NameError, name_partial};
use toml::Spanned;
use toml::de::DeValue;

use crate::git::RelPath;
use crate::patterns::Patterns;

use super::paths::{self, PathBase};
use super::{Action, Gate, LocalEdits, Problem, Repo, Symlinks, Transport, health, repo};

/// A problem with its place in the file.
pub(super) type Placed = (Problem, Range<usize>);

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// What the setting takes, in words.
    const TAKES: &'static str;

    /// The words it takes, if there are no others.
    const CHOICES: &'static [&'static str] = &[];

    /// Reads text without control characters.
    fn parse(text: &str, base: PathBase<'_>) -> Result<Self, Problem>;

    /// As TOML, so that it reads the same.
    fn show(&self) -> toml::Value;

    /// Reads the text of an option or a variable.
    fn from_text(text: &str, base: PathBase<'_>) -> Result<Self, Problem> {
        if text.chars().any(char::is_control) {
            return Err(Problem::Control);
        }
        Self::parse(text, base)
    }

    /// Reads a value of the file, where paths are absolute.
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Placed> {
        let read = match value.get_ref().as_str() {
            Some(text) => Self::from_text(text, PathBase::None),
            None => Err(wrong_type::<Self>(value)),
        };
        read.map_err(|problem| (problem, value.span()))
    }
}

pub(super) fn wrong_type<T: Value>(value: &Spanned<DeValue<'_>>) -> Problem {
    Problem::WrongType {
        takes: T::TAKES,
        found: type_of(value),
    }
}

/// What stands in the file, in words.
pub(super) fn type_of(value: &Spanned<DeValue<'_>>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

pub(super) fn not_a_value<T: Value>(text: &str) -> Problem {
    Problem::NotAValue {
        given: text.to_owned(),
        takes: T::TAKES,
    }
}

impl Value for String {
    const TAKES: &'static str = "text";

    fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
        if text.is_empty() {
            return Err(Problem::Empty);
        }
        Ok(text.to_owned())
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.clone())
    }
}

impl Value for bool {
    const TAKES: &'static str = "`true` or `false`";

    fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
        text.parse().map_err(|_| not_a_value::<Self>(text))
    }

    fn show(&self) -> toml::Value {
        toml::Value::Boolean(*self)
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Placed> {
        let read = value.get_ref().as_bool();
        read.ok_or_else(|| (wrong_type::<Self>(value), value.span()))
    }
}

/// An absolute path.
impl Value for PathBuf {
    const TAKES: &'static str = "a path";

    fn parse(text: &str, base: PathBase<'_>) -> Result<Self, Problem> {
        paths::absolute(text, base)
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.display().to_string())
    }
}

impl Value for Repo {
    const TAKES: &'static str = "the address of a repository";

    fn parse(text: &str, base: PathBase<'_>) -> Result<Self, Problem> {
        Self::parse(text, base)
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

impl Value for RelPath {
    const TAKES: &'static str = "a path in the repository";

    fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
        Self::new(text.as_bytes()).map_err(|fault| Problem::TreePath {
            path: text.to_owned(),
            fault,
        })
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

/// A list. As text it has one item a line: globs and arguments hold every other separator.
impl<T: Value> Value for Vec<T> {
    const TAKES: &'static str = "a list of text";

    fn parse(text: &str, base: PathBase<'_>) -> Result<Self, Problem> {
        Self::from_text(text, base)
    }

    fn from_text(text: &str, base: PathBase<'_>) -> Result<Self, Problem> {
        text.lines()
            .filter(|line| !line.is_empty())
            .map(|line| T::from_text(line, base))
            .collect()
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(Value::show).collect())
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Placed> {
        match value.get_ref().as_array() {
            Some(items) => items.iter().map(T::from_toml).collect(),
            None => Err((wrong_type::<Self>(value), value.span())),
        }
    }
}

/// Declares newtypes over `String` whose text is only checked.
macro_rules! checked_text {
    ($($(#[$doc:meta])* $name:ident, $takes:literal, $parse:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(super) struct $name(pub(super) String);

        impl Value for $name {
            const TAKES: &'static str = $takes;

            fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
                let parse: fn(&str) -> Result<String, Problem> = $parse;
                parse(text).map(Self)
            }

            fn show(&self) -> toml::Value {
                toml::Value::String(self.0.clone())
            }
        }
    )*};
}

checked_text! {
    /// Branch, tag or commit.
    Reference, "a branch, a tag or a commit", |text| {
        check_reference(text)?;
        Ok(text.to_owned())
    };
    /// A glob.
    Pattern, "a glob", |text| {
        Patterns::new(&[text]).map_err(Problem::Pattern)?;
        Ok(text.to_owned())
    };
    /// The base of a REST API.
    ApiUrl, "an `https://` address", repo::parse_api_url;
    /// What a health check asks for.
    CheckUrl, "an `http://` or `https://` address", health::parse_url;
    /// A systemd unit.
    UnitName, "the name of a unit, such as `nginx.service`", health::parse_unit;
    /// An argument, which may be empty.
    Argument, "text", |text| Ok(text.to_owned());
}

/// A path that may be relative to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CheckedPath(pub(super) PathBuf);

impl Value for CheckedPath {
    const TAKES: &'static str = "a path";

    fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
        if text.starts_with('/') || text.starts_with('~') {
            return paths::absolute(text, PathBase::None).map(Self);
        }
        RelPath::parse(text, PathBase::None).map(|path| Self(path.as_str().into()))
    }

    fn show(&self) -> toml::Value {
        self.0.show()
    }
}

/// Gives the enums their words.
macro_rules! choices {
    ($($type:ident { $($word:literal => $variant:ident,)* })*) => {$(
        impl $type {
            /// The words it is written by.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word it is written by.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The value of a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl Value for $type {
            const TAKES: &'static str = "text";
            const CHOICES: &'static [&'static str] = Self::WORDS;

            fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
                Self::from_word(text).ok_or_else(|| Problem::Choice {
                    given: text.to_owned(),
                    choices: Self::WORDS.to_vec(),
                })
            }

            fn show(&self) -> toml::Value {
                toml::Value::String(self.as_str().to_owned())
            }
        }
    )*};
}

choices! {
    Transport {
        "auto" => Auto,
        "git" => Git,
        "api" => Api,
    }
    LocalEdits {
        "replace" => Replace,
        "keep" => Keep,
        "merge" => Merge,
        "refuse" => Refuse,
    }
    Action {
        "build" => Build,
        "test" => Test,
        "switch" => Switch,
        "boot" => Boot,
        "dry-activate" => DryActivate,
    }
    Gate {
        "off" => Off,
        "build" => Build,
    }
    Symlinks {
        "any" => Any,
        "within" => Within,
    }
}

/// What a rebuild does with the system, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OptionalAction(pub(super) Option<Action>);

impl Action {
    /// In place of an action: nothing is rebuilt.
    pub const NONE: &'static str = "none";

    /// The words of the actions, and [`NONE`](Self::NONE).
    pub const OPTIONAL_WORDS: &'static [&'static str] = &[
        "build",
        "test",
        "switch",
        "boot",
        "dry-activate",
        Self::NONE,
    ];

    /// The action of a word; `Some(None)` for [`NONE`](Self::NONE).
    #[must_use]
    pub fn optional(word: &str) -> Option<Option<Self>> {
        match word {
            Self::NONE => Some(None),
            word => Self::from_word(word).map(Some),
        }
    }
}

impl Value for OptionalAction {
    const TAKES: &'static str = "text";
    const CHOICES: &'static [&'static str] = Action::OPTIONAL_WORDS;

    fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
        let action = Action::optional(text).ok_or_else(|| Problem::Choice {
            given: text.to_owned(),
            choices: Self::CHOICES.to_vec(),
        });
        action.map(Self)
    }

    fn show(&self) -> toml::Value {
        let word = self.0.map_or(Action::NONE, Action::as_str);
        toml::Value::String(word.to_owned())
    }
}

/// Whether git could have a branch or tag of this name, by the rules of `git check-ref-format`.
///
/// Stricter in one way: a name that begins with `-` is refused, as `git branch` does.
fn check_reference(name: &str) -> Result<(), Problem> {
    let refuse = |cause| {
        Err(Problem::Reference {
            given: name.to_owned(),
            cause,
        })
    };
    if name.is_empty() {
        return Err(Problem::Empty);
    }
    if name.starts_with('-') {
        return refuse("it begins with `-`");
    }
    if name == "@" {
        return refuse("it is `@` alone");
    }
    let Err(error) = name_partial(name.into()) else {
        return Ok(());
    };
    refuse(match error {
        NameError::ReflogPortion => "it has `@{` in it",
        NameError::RepeatedDot => "it has `..` in it",
        NameError::RepeatedSlash | NameError::StartsWithSlash | NameError::EndsWithSlash => {
            "it has a slash at an end, or two in a row"
        }
        NameError::LockFileSuffix => "a part of it ends with `.lock`",
        NameError::Asterisk => "it has `*` in it",
        NameError::StartsWithDot => "a part of it begins with `.`",
        NameError::EndsWithDot => "it ends with `.`",
        NameError::Empty => "it is empty",
        NameError::SomeLowercase | NameError::Reserved { .. } => "git keeps it for itself",
        NameError::InvalidByte { .. } => "it has a space, or one of `~^:?[\\`, in it",
        // The enum is open: what a later version finds is refused all the same.
        _ => "git does not allow it",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: Value>(text: &str) -> Result<T, Problem> {
        T::from_text(text, PathBase::None)
    }

    #[test]
    fn lists_have_an_item_a_line() {
        assert_eq!(
            text::<Vec<Argument>>("--option\na:b c\n").unwrap(),
            [
                Argument("--option".to_owned()),
                Argument("a:b c".to_owned())
            ]
        );
        assert_eq!(
            text::<Vec<Pattern>>("a\n[").unwrap_err().to_string(),
            "is not usable: `[` is not a valid pattern: unclosed character class; missing ']'"
        );
    }

    #[test]
    fn control_characters_are_in_no_value() {
        assert_eq!(text::<String>("a\u{1b}[31m"), Err(Problem::Control));
        assert_eq!(text::<PathBuf>("/a\0b"), Err(Problem::Control));
        assert_eq!(text::<PathBuf>("/a\n"), Err(Problem::Control));
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        for word in Action::WORDS {
            assert_eq!(text::<Action>(word).unwrap().as_str(), *word);
        }
        assert_eq!(
            text::<Action>("Switch").unwrap_err().to_string(),
            "is `Switch`, which is none of `build`, `test`, `switch`, `boot`, `dry-activate`"
        );
    }

    #[test]
    fn references_may_be_branches_tags_and_commits() {
        for name in [
            "main",
            "feature/x",
            "v2.1",
            "refs/heads/main",
            "HEAD",
            "abc1234",
            "b8c761200000000000000000000000000000dead",
            "über",
            "a@b",
        ] {
            assert_eq!(check_reference(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn references_that_git_refuses_are_refused() {
        for name in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "@{u}",
            "main@{1}",
            "@",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a[b",
            "a*",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a.lock",
            "a.lock/b",
            "a\nb",
            "a\u{1b}b",
        ] {
            assert!(check_reference(name).is_err(), "{name:?}");
        }
    }
}
