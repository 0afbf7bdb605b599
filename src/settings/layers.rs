//! The layers that a setting's value can be from, and the lookup through them.
//!
//! A setting is defined by one call of [`Layers::value`] or [`Layers::optional`]: it gives name, type and default.
//! The name alone gives the key of the file (`rebuild.action`) and the variable (`HYPER_SYNC_REBUILD_ACTION`), and
//! a key that no call has read is unknown. Problems are collected, so that all are reported at once.
//!
//! A table whose keys are tables with names of the user's own ([`Layers::tables`]) is in the file only.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::{UnknownKeyHelp, ValueError};
use super::file::{KeyEntry, KeyTable};
use super::foreign::meant_by;
use super::paths::PathBase;
use super::value::{Placed, Value, type_of};
use super::{ConfigFile, Env, Error, Problem, redact};
use crate::text::Nearest;

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An option of the command line, as written there.
    Flag(&'static str),
    /// A variable of the environment, by its name.
    Environment(String),
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// What earlier runs left, in words.
    Earlier(&'static str),
    /// Nobody has set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => formatter.write_str(flag),
            Self::Environment(name) => formatter.write_str(name),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Earlier(how) => formatter.write_str(how),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// The settings that the command line gives, by their names.
#[derive(Clone, Default)]
pub struct Overrides(BTreeMap<&'static str, (&'static str, OsString)>);

impl Overrides {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// With the setting `name` given by `flag`, where it was.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        flag: &'static str,
        value: Option<impl AsRef<OsStr>>,
    ) -> Self {
        if let Some(value) = value {
            let value = value.as_ref().to_owned();
            self.0.insert(name, (flag, value));
        }
        self
    }

    /// Each setting that is given, with the option and the value.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, &OsStr)> {
        let given = self.0.iter();
        given.map(|(name, (flag, value))| (*name, *flag, value.as_os_str()))
    }
}

/// A setting as it was resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedSetting {
    /// Its name, with its section.
    pub name: Cow<'static, str>,
    /// Its value; `None`: not set.
    pub value: Option<toml::Value>,
    /// The layer that decided.
    pub origin: Origin,
    /// The value that it has if no layer sets it.
    pub default: Option<toml::Value>,
    /// What it takes, in words.
    pub takes: &'static str,
    /// The words it takes, if there are no others.
    pub choices: &'static [&'static str],
}

/// How alike a name must be to be suggested: the measure and the bound that clap uses for its own suggestions.
const NEAR: f64 = 0.7;

/// What the variable of each setting begins with.
const PREFIX: &str = "HYPER_SYNC_";

/// A variable that begins as one of a setting, and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The variable that was meant, as far as that can be guessed.
    pub meant: Option<String>,
}

/// The variable of a setting.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "_").to_uppercase())
}

/// The look-up.
pub(super) struct Layers<'a> {
    flags: &'a Overrides,
    env: &'a Env,
    file: Option<(&'a ConfigFile, KeyTable<'a>)>,
    entries: Vec<ResolvedSetting>,
    /// Tables whose keys are tables with names of the user's own.
    tables: Vec<&'static str>,
    /// The keys that such a table may have.
    keys: BTreeSet<String>,
    problems: Vec<Error>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(
        flags: &'a Overrides,
        env: &'a Env,
        file: Option<&'a ConfigFile>,
    ) -> Result<Self, Error> {
        let file = match file {
            Some(file) => Some((file, file.keys()?)),
            None => None,
        };
        Ok(Self {
            flags,
            env,
            file,
            entries: Vec::new(),
            tables: Vec::new(),
            keys: BTreeSet::new(),
            problems: Vec::new(),
        })
    }

    /// Reads a setting that always has a value.
    pub(super) fn value<T: Value>(&mut self, name: &'static str, default: T) -> T {
        self.value_or(name, default, Origin::Default)
    }

    /// Reads a setting whose value is from somewhere else if no layer gives it.
    pub(super) fn value_or<T: Value>(
        &mut self,
        name: &'static str,
        other: T,
        other_origin: Origin,
    ) -> T {
        let unset = (other_origin == Origin::Default).then(|| other.show());
        let (value, origin) = match self.find(name) {
            Some((value, origin)) => (value.unwrap_or(other), origin),
            None => (other, other_origin),
        };
        self.record::<T>(name, Some(value.show()), unset, origin);
        value
    }

    /// Reads a setting that may have no value, and cannot be unset.
    pub(super) fn value_if<T: Value>(
        &mut self,
        name: &'static str,
        other: Option<(T, Origin)>,
    ) -> Option<T> {
        let unset = shown_default(other.as_ref());
        let (value, origin) = match self.find(name) {
            Some(found) => found,
            None => other.map_or((None, Origin::Default), |(value, origin)| {
                (Some(value), origin)
            }),
        };
        self.record::<T>(name, value.as_ref().map(Value::show), unset, origin);
        value
    }

    /// The value that a layer gives, for what has to be known before the setting's turn. Nothing is reported.
    pub(super) fn peek<T: Value>(&self, name: &'static str) -> Option<T> {
        let (value, _) = self.look_up(name)?;
        value.ok()
    }

    /// Reads an optional setting; empty text unsets it, even if it has a default.
    pub(super) fn optional<T: Value>(
        &mut self,
        name: &'static str,
        default: Option<T>,
    ) -> Option<T> {
        self.optional_or(name, default.map(|value| (value, Origin::Default)))
    }

    /// Reads an optional setting whose value is from somewhere else if no layer gives it.
    pub(super) fn optional_or<T: Value>(
        &mut self,
        name: &'static str,
        other: Option<(T, Origin)>,
    ) -> Option<T> {
        let unset = shown_default(other.as_ref());
        let (value, origin) = match self.find::<Unset<T>>(name) {
            Some((value, origin)) => (value.and_then(|value| value.0), origin),
            None => other.map_or((None, Origin::Default), |(value, origin)| {
                (Some(value), origin)
            }),
        };
        self.record::<T>(name, value.as_ref().map(Value::show), unset, origin);
        value
    }

    /// The names of the tables in a table, such as `web` of `[health.checks.web]`.
    pub(super) fn tables(&mut self, table: &'static str) -> BTreeSet<String> {
        self.tables.push(table);
        let Some((file, keys)) = &self.file else {
            return BTreeSet::new();
        };
        let above: Vec<&str> = table.split('.').collect();
        let mut names = BTreeSet::new();
        let mut values = Vec::new();
        for (name, key) in keys {
            let (Some((first, rest)), true) = (
                key.path.get(above.len()..).and_then(<[_]>::split_first),
                key.path
                    .iter()
                    .zip(&above)
                    .all(|(part, above)| part == above),
            ) else {
                continue;
            };
            if rest.is_empty() && !key.value.get_ref().is_table() {
                let problem = Problem::WrongType {
                    takes: "a section",
                    found: type_of(&key.value),
                };
                let place = Some((file.source(), key.value.span()));
                values.push((name.clone(), file.origin(&key.at), problem, place));
            } else {
                names.insert(first.clone());
            }
        }
        for (name, origin, problem, place) in values {
            self.keys.insert(name.clone());
            self.add(name, origin, problem, place);
        }
        names
    }

    /// Looks up a key of such a table.
    pub(super) fn key<T: Value>(&mut self, name: String) -> Option<T> {
        self.keys.insert(name.clone());
        let (value, origin) = self.find_in_file::<T>(&name)?;
        if let Some(value) = &value {
            self.record::<T>(name, Some(value.show()), None, origin);
        }
        value
    }

    /// Looks up a key of such a table that always has a value.
    pub(super) fn key_or<T: Value>(&mut self, name: String, default: T) -> T {
        self.key(name.clone()).unwrap_or_else(|| {
            let unset = Some(default.show());
            self.record::<T>(name, unset.clone(), unset, Origin::Default);
            default
        })
    }

    /// Whether the file has this key, right or wrong.
    pub(super) fn is_given(&self, name: &str) -> bool {
        let keys = self.file.as_ref().map(|(_, keys)| keys);
        keys.is_some_and(|keys| keys.contains_key(name))
    }

    /// Refuses a value that has been looked up, or a table.
    pub(super) fn refuse(&mut self, name: &str, problem: Problem) {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        let mut origin = entry.map_or(Origin::Default, |entry| entry.origin.clone());
        let mut place = None;
        if let Some((file, keys)) = &self.file {
            if let Some(key) = keys.get(name) {
                if origin == Origin::Default || matches!(origin, Origin::File { .. }) {
                    let is_table = key.value.get_ref().is_table();
                    let at = if is_table {
                        key.at.clone()
                    } else {
                        key.value.span()
                    };
                    origin = file.origin(&key.at);
                    place = Some((file.source(), at));
                }
            } else if let Some(key) = first_below(keys, name) {
                origin = file.origin(&key.at);
                place = Some((file.source(), key.at.clone()));
            }
        }
        self.add(name.to_owned(), origin, problem, place);
    }

    /// Everything that was read, if nothing was wrong and nothing in the file is left over; and the variables
    /// that are left over.
    pub(super) fn finish(mut self) -> Result<(Vec<ResolvedSetting>, Vec<UnknownVariable>), Error> {
        let mut problems = self.unknown_keys();
        problems.append(&mut self.problems);
        match Error::from_all(problems) {
            None => {
                let variables = self.unknown_variables();
                Ok((self.entries, variables))
            }
            Some(error) => Err(error),
        }
    }

    /// Not an error, unlike a key: a variable may be there for another version, or for a script around.
    fn unknown_variables(&self) -> Vec<UnknownVariable> {
        let is_known = |name: &str| {
            matches!(name, "HYPER_SYNC_CONFIG" | "HYPER_SYNC_PAGER")
                || self
                    .entries
                    .iter()
                    .filter(|entry| !self.keys.contains(entry.name.as_ref()))
                    .any(|entry| variable(&entry.name) == name)
        };
        let names = self.env.iter().filter_map(|(name, _)| name.to_str());
        names
            .filter(|name| name.starts_with(PREFIX) && !is_known(name))
            .map(|name| UnknownVariable {
                meant: self.meant_variable(name),
                name: name.to_owned(),
            })
            .collect()
    }

    /// The variable that was meant by one that is not known.
    fn meant_variable(&self, unknown: &str) -> Option<String> {
        let key = unknown.strip_prefix(PREFIX)?.to_ascii_lowercase();
        if let Some(setting) = meant_by(&key) {
            return Some(variable(setting));
        }
        let mut near = Nearest::to(&key);
        for entry in &self.entries {
            if !self.keys.contains(entry.name.as_ref()) {
                near.offer(&entry.name.replace('.', "_"));
            }
        }
        near.name().map(|name| variable(&name))
    }

    /// The value of the first layer that sets it; `None` in place of a value that is refused.
    fn find<T: Value>(&mut self, name: &'static str) -> Option<(Option<T>, Origin)> {
        let (value, origin) = self.look_up(name)?;
        Some((self.accept(name, &origin, value), origin))
    }

    /// What the file says.
    fn find_in_file<T: Value>(&mut self, name: &str) -> Option<(Option<T>, Origin)> {
        let (value, origin) = self.look_up_in_file(name)?;
        Some((self.accept(name, &origin, value), origin))
    }

    /// The value; a refused one becomes a problem.
    fn accept<T>(&mut self, name: &str, origin: &Origin, value: Read<T>) -> Option<T> {
        value
            .map_err(|(problem, place)| self.add(name.to_owned(), origin.clone(), problem, place))
            .ok()
    }

    fn look_up<T: Value>(&self, name: &'static str) -> Option<(Read<T>, Origin)> {
        if let Some((flag, text)) = self.flags.0.get(name) {
            let base = self
                .env
                .current_dir()
                .map_or(PathBase::None, PathBase::Directory);
            return Some((read(text, base), Origin::Flag(flag)));
        }
        let variable = variable(name);
        if let Some(text) = self.env.get(&variable) {
            return Some((read(text, PathBase::None), Origin::Environment(variable)));
        }
        self.look_up_in_file(name)
    }

    fn look_up_in_file<T: Value>(&self, name: &str) -> Option<(Read<T>, Origin)> {
        let (file, keys) = self.file.as_ref()?;
        let key = keys.get(name)?;
        let value = T::from_toml(&key.value);
        let value = value.map_err(|(problem, span)| (problem, Some((file.source(), span))));
        Some((value, file.origin(&key.at)))
    }

    fn record<T: Value>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: Option<toml::Value>,
        default: Option<toml::Value>,
        origin: Origin,
    ) {
        self.entries.push(ResolvedSetting {
            name: name.into(),
            value,
            origin,
            default,
            takes: T::TAKES,
            choices: T::CHOICES,
        });
    }

    fn add(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        origin: Origin,
        problem: Problem,
        place: Option<FilePlace>,
    ) {
        self.problems.push(Error::Value(Box::new(ValueError {
            name: name.into(),
            origin,
            problem,
            place,
        })));
    }

    fn unknown_keys(&self) -> Vec<Error> {
        let Some((file, keys)) = &self.file else {
            return Vec::new();
        };
        let is_known = |key: &str| self.names().any(|name| name == key);
        let mut unknown: Vec<_> = keys.iter().filter(|(key, _)| !is_known(key)).collect();
        unknown.sort_by_key(|(_, key)| key.at.start);
        unknown
            .into_iter()
            .filter(|(name, key)| !(key.value.get_ref().is_table() && self.is_section(name)))
            .map(|(name, key)| Error::UnknownKey {
                origin: file.origin(&key.at),
                key: name.clone(),
                help: self.help_for(name),
                text: file.source(),
                at: key.at.clone().into(),
            })
            .collect()
    }

    /// The names that a file may have.
    fn names(&self) -> impl Iterator<Item = &str> {
        let entries = self.entries.iter().map(|entry| entry.name.as_ref());
        entries.chain(self.keys.iter().map(String::as_str))
    }

    fn is_section(&self, name: &str) -> bool {
        let is_below = |known: &str| {
            let rest = known.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        !name.is_empty() && (self.tables.contains(&name) || self.names().any(is_below))
    }

    /// A name in a table of the user's own whose name is misspelt.
    fn in_table(&self, unknown: &str) -> Option<String> {
        self.tables.iter().find_map(|table| {
            let depth = table.split('.').count();
            let parts: Vec<&str> = unknown.splitn(depth + 1, '.').collect();
            let [above @ .., rest] = parts.as_slice() else {
                return None;
            };
            let given = above.join(".");
            let is_meant =
                above.len() == depth && given != *table && split(&given).0 == split(table).0;
            let is_near = strsim::jaro(split(&given).1, split(table).1) > NEAR;
            (is_meant && is_near).then(|| format!("{table}.{rest}"))
        })
    }

    fn help_for(&self, unknown: &str) -> UnknownKeyHelp {
        if redact::is_secret_key(unknown) {
            return UnknownKeyHelp::Secret;
        }
        if self.is_section(unknown) {
            return UnknownKeyHelp::Section(unknown.to_owned());
        }
        if let Some(meant) = self.in_table(unknown) {
            return UnknownKeyHelp::Similar(meant);
        }
        if let Some(meant) = meant_by(unknown) {
            return UnknownKeyHelp::Similar(meant.to_owned());
        }
        let (section, key) = split(unknown);
        let nearness = |name: &str| match split(name) {
            (same, other) if same == section => strsim::jaro(other, key),
            // In the wrong section, or in none.
            (_, other) if other == key => 1.0,
            _ if section.is_empty() || self.is_section(section) => 0.0,
            _ => strsim::jaro(name, unknown),
        };
        let near = self.names().filter(|name| nearness(name) > NEAR);
        let nearest = near.max_by(|one, other| nearness(one).total_cmp(&nearness(other)));
        if nearest == Some(key) && !section.is_empty() {
            return UnknownKeyHelp::Above(unknown.to_owned());
        }
        if let Some(name) = nearest {
            return UnknownKeyHelp::Similar(name.to_owned());
        }
        let keys = self.keys.iter().filter(|name| split(name).0 == section);
        let keys: Vec<String> = keys.map(|name| split(name).1.to_owned()).collect();
        if keys.is_empty() {
            UnknownKeyHelp::Unlike
        } else {
            UnknownKeyHelp::Among(keys)
        }
    }
}

/// A place in the file's text.
type FilePlace = (Arc<miette::NamedSource<String>>, std::ops::Range<usize>);

/// A value, or why it is refused and where it stands.
type Read<T> = Result<T, (Problem, Option<FilePlace>)>;

fn read<T: Value>(text: &OsStr, base: PathBase<'_>) -> Read<T> {
    let text = text.to_str().ok_or(Problem::NotUtf8);
    text.and_then(|text| T::from_text(text, base))
        .map_err(|problem| (problem, None))
}

/// The value of a setting that is a default, and not from somewhere else.
fn shown_default<T: Value>(other: Option<&(T, Origin)>) -> Option<toml::Value> {
    let (value, origin) = other?;
    (*origin == Origin::Default).then(|| value.show())
}

/// Section and key of a name.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// The first key of a table, as it stands in the file.
fn first_below<'a, 'file>(keys: &'a KeyTable<'file>, table: &str) -> Option<&'a KeyEntry<'file>> {
    let below = keys.iter().filter(|(name, _)| {
        let rest = name.strip_prefix(table);
        rest.is_some_and(|rest| rest.starts_with('.'))
    });
    below.map(|(_, key)| key).min_by_key(|key| key.at.start)
}

/// Reads the empty text as no value.
struct Unset<T>(Option<T>);

impl<T: Value> Value for Unset<T> {
    const TAKES: &'static str = T::TAKES;

    fn parse(text: &str, base: PathBase<'_>) -> Result<Self, Problem> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        T::parse(text, base).map(Some).map(Self)
    }

    fn show(&self) -> toml::Value {
        self.0
            .as_ref()
            .map_or_else(|| toml::Value::String(String::new()), Value::show)
    }

    fn from_toml(value: &toml::Spanned<toml::de::DeValue<'_>>) -> Result<Self, Placed> {
        match value.get_ref().as_str() {
            Some("") => Ok(Self(None)),
            _ => T::from_toml(value).map(Some).map(Self),
        }
    }
}
