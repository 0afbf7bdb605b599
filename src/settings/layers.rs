//! The layers that a setting's value can come from, and the look-up through them.
//!
//! A setting is defined by one call of [`Layers::value`] or [`Layers::optional`]: it gives name, type and default.
//! The name alone gives the key of the file (`rebuild.action`) and the variable (`HYPER_SYNC_REBUILD_ACTION`), and
//! what no call has asked for is an unknown key. Problems are collected, so that all are reported at once.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::{UnknownKeyHelp, ValueError};
use super::file::KeyTable;
use super::paths::PathBase;
use super::value::{Placed, Value};
use super::{ConfigFile, Env, Error, Problem, redact};

/// Where a value comes from.
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
    /// Nobody has set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => formatter.write_str(flag),
            Self::Environment(name) => formatter.write_str(name),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
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
}

/// A setting as it was resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedSetting {
    /// Its name, with its section.
    pub name: &'static str,
    /// Its value; `None`: not set.
    pub value: Option<toml::Value>,
    /// The layer that decided.
    pub origin: Origin,
}

/// The variable of a setting.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("HYPER_SYNC_{}", name.replace('.', "_").to_uppercase())
}

/// The look-up.
pub(super) struct Layers<'a> {
    flags: &'a Overrides,
    env: &'a Env,
    file: Option<(&'a ConfigFile, KeyTable<'a>)>,
    entries: Vec<ResolvedSetting>,
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
            problems: Vec::new(),
        })
    }

    /// Looks a setting up that always has a value.
    pub(super) fn value<T: Value>(&mut self, name: &'static str, default: T) -> T {
        let (value, origin) = match self.find(name) {
            Some((value, origin)) => (value.unwrap_or(default), origin),
            None => (default, Origin::Default),
        };
        self.record(name, Some(value.show()), origin);
        value
    }

    /// Looks a setting up that may have none; set to empty text, it has none whatever its default is.
    pub(super) fn optional<T: Value>(
        &mut self,
        name: &'static str,
        default: Option<T>,
    ) -> Option<T> {
        let (value, origin) = match self.find::<Unset<T>>(name) {
            Some((value, origin)) => (value.and_then(|value| value.0), origin),
            None => (default, Origin::Default),
        };
        self.record(name, value.as_ref().map(Value::show), origin);
        value
    }

    /// Refuses a value that has been looked up.
    pub(super) fn refuse(&mut self, name: &'static str, problem: Problem) {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        let origin = entry.map_or(Origin::Default, |entry| entry.origin.clone());
        let place = match (&origin, &self.file) {
            (Origin::File { .. }, Some((file, keys))) => {
                keys.get(name).map(|key| (file.source(), key.value.span()))
            }
            _ => None,
        };
        self.add(name, origin, problem, place);
    }

    /// Everything that was looked up, if nothing was wrong and nothing in the file is left over; and the variables
    /// that are left over.
    pub(super) fn finish(mut self) -> Result<(Vec<ResolvedSetting>, Vec<String>), Error> {
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

    /// No error, unlike a key: a variable may be there for another version, or for a script around.
    fn unknown_variables(&self) -> Vec<String> {
        let is_known = |name: &str| {
            name == "HYPER_SYNC_CONFIG"
                || self
                    .entries
                    .iter()
                    .any(|entry| variable(entry.name) == name)
        };
        let names = self.env.iter().filter_map(|(name, _)| name.to_str());
        names
            .filter(|name| name.starts_with("HYPER_SYNC_") && !is_known(name))
            .map(str::to_owned)
            .collect()
    }

    /// What the first layer that has it says. A value that is refused is none.
    fn find<T: Value>(&mut self, name: &'static str) -> Option<(Option<T>, Origin)> {
        if let Some((flag, text)) = self.flags.0.get(name) {
            let base = self
                .env
                .current_dir()
                .map_or(PathBase::None, PathBase::Directory);
            let origin = Origin::Flag(flag);
            return Some(self.read(name, text, base, origin));
        }
        let variable = variable(name);
        if let Some(text) = self.env.get(&variable) {
            let origin = Origin::Environment(variable);
            return Some(self.read(name, text, PathBase::None, origin));
        }
        let (file, keys) = self.file.as_ref()?;
        let key = keys.get(name)?;
        let origin = file.origin(&key.at);
        let value = match T::from_toml(&key.value) {
            Ok(value) => Some(value),
            Err((problem, span)) => {
                let place = Some((file.source(), span));
                self.add(name, origin.clone(), problem, place);
                None
            }
        };
        Some((value, origin))
    }

    fn read<T: Value>(
        &mut self,
        name: &'static str,
        text: &OsStr,
        base: PathBase<'_>,
        origin: Origin,
    ) -> (Option<T>, Origin) {
        let text = text.to_str().ok_or(Problem::NotUtf8);
        match text.and_then(|text| T::from_text(text, base)) {
            Ok(value) => (Some(value), origin),
            Err(problem) => {
                self.add(name, origin.clone(), problem, None);
                (None, origin)
            }
        }
    }

    fn record(&mut self, name: &'static str, value: Option<toml::Value>, origin: Origin) {
        self.entries.push(ResolvedSetting {
            name,
            value,
            origin,
        });
    }

    fn add(
        &mut self,
        name: &'static str,
        origin: Origin,
        problem: Problem,
        place: Option<(Arc<miette::NamedSource<String>>, std::ops::Range<usize>)>,
    ) {
        self.problems.push(Error::Value(Box::new(ValueError {
            name,
            origin,
            problem,
            place,
        })));
    }

    fn unknown_keys(&self) -> Vec<Error> {
        let Some((file, keys)) = &self.file else {
            return Vec::new();
        };
        let is_known = |key: &str| self.entries.iter().any(|entry| entry.name == key);
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

    fn is_section(&self, name: &str) -> bool {
        let mut names = self.entries.iter().map(|entry| entry.name);
        !name.is_empty() && names.any(|known| split(known).0 == name)
    }

    fn help_for(&self, unknown: &str) -> UnknownKeyHelp {
        if redact::is_secret_key(unknown) {
            return UnknownKeyHelp::Secret;
        }
        if self.is_section(unknown) {
            return UnknownKeyHelp::Section(unknown.to_owned());
        }
        let (section, key) = split(unknown);
        // The measure and the bound clap uses for its own suggestions.
        let nearness = |name: &str| match split(name) {
            (same, other) if same == section => strsim::jaro(other, key),
            // In the wrong section, or in none.
            (_, other) if other == key => 1.0,
            _ if section.is_empty() || self.is_section(section) => 0.0,
            _ => strsim::jaro(name, unknown),
        };
        let names = self.entries.iter().map(|entry| entry.name);
        names
            .filter(|name| nearness(name) > 0.7)
            .max_by(|one, other| nearness(one).total_cmp(&nearness(other)))
            .map_or(UnknownKeyHelp::Unlike, UnknownKeyHelp::Similar)
    }
}

/// Section and key of a name.
fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or(("", name))
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
