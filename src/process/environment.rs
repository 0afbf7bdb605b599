//! The environment of a child: what its list lets through, and what is fixed; nothing else.
//!
//! Whoever calls may have set anything (`sudo -E`, a token, `GIT_DIR`, `LD_PRELOAD`).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::SearchPath;
use crate::settings::Env;

/// Variables for a child process; a child gets these and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    search: SearchPath,
}

impl Environment {
    /// The caller's variables of these names, and the search path. One that is set to nothing does not pass.
    #[must_use]
    pub fn new(env: &Env, passed: &[&str]) -> Self {
        let search = SearchPath::of(env);
        let passed = passed
            .iter()
            .filter_map(|name| Some(((*name).into(), env.get(name)?.to_owned())));
        let mut variables: BTreeMap<OsString, OsString> = passed.collect();
        variables.insert("PATH".into(), search.joined());
        Self { variables, search }
    }

    /// With a variable set.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// With variables set.
    #[must_use]
    pub fn with_all(mut self, fixed: &[(&str, &str)]) -> Self {
        let fixed = fixed
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        self.variables.extend(fixed);
        self
    }

    /// The variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// A variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
    }

    /// Where programs are searched.
    #[must_use]
    pub fn search(&self) -> &SearchPath {
        &self.search
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_passes() {
        let env = Env::empty()
            .with("HOME", "/home/ada")
            .with("LANG", "")
            .with("LD_PRELOAD", "canary");
        let environment = Environment::new(&env, &["HOME", "LANG"]).with_all(&[("LC_ALL", "C")]);
        let names: Vec<_> = environment.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["HOME", "LC_ALL", "PATH"]);
    }
}
