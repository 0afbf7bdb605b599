//! The environment of a child, and the search path by which every program is found.
//!
//! A child gets only listed and fixed variables, because the caller may have set anything (`sudo -E`, a token, `GIT_DIR`,
//! `LD_PRELOAD`).
//!
//! Programs are searched in the absolute entries of the caller's `PATH`, then in fixed directories. A relative entry
//! would run a file of some working directory. With the fixed ones, a run by a unit, by `sudo` and by a person finds the
//! same programs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::settings::Env;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Variables for a child process; a child gets these and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    search: SearchPath,
}

impl Environment {
    /// The caller's variables of these names, unless they are empty, and the search path.
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

    /// With the caller's home, and for root its own: `sudo -E` keeps the user's, where root would create files that the
    /// user cannot remove, and what a program does should not depend on who typed `sudo`.
    #[must_use]
    pub fn with_home(self, env: &Env) -> Self {
        let home = match env.get("HOME") {
            Some(home) if !env.is_root() => home,
            _ => OsStr::new("/root"),
        };
        self.with("HOME", home)
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

/// The directories of programs on NixOS, and then on other systems.
const FIXED: &[&str] = &[
    "/run/wrappers/bin",
    "/run/current-system/sw/bin",
    "/nix/var/nix/profiles/default/bin",
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
];

/// The directories in which programs are searched, in order; all are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// By the caller's `PATH` and the fixed directories.
    #[must_use]
    pub fn of(env: &Env) -> Self {
        let given = env.get("PATH").unwrap_or_default();
        let mut directories: Vec<PathBuf> = Vec::new();
        for directory in std::env::split_paths(given).chain(FIXED.iter().map(PathBuf::from)) {
            if directory.is_absolute() && !directories.contains(&directory) {
                directories.push(directory);
            }
        }
        Self(directories)
    }

    /// The directories, in order.
    #[must_use]
    pub fn directories(&self) -> &[PathBuf] {
        &self.0
    }

    /// The path of a program.
    #[must_use]
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        self.find_by(program, is_program)
    }

    /// The path of the first program that `is_program` accepts.
    pub(crate) fn find_by(
        &self,
        program: &str,
        is_program: impl Fn(&Path) -> bool,
    ) -> Option<PathBuf> {
        let mut paths = self.0.iter().map(|directory| directory.join(program));
        paths.find(|path| is_program(path))
    }

    /// The path of a program, or an error.
    pub(crate) fn require(&self, program: &str) -> io::Result<PathBuf> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "it is not in the search path");
        self.find(program).ok_or_else(missing)
    }

    /// As `PATH` for a child.
    pub(super) fn joined(&self) -> OsString {
        let directories: Vec<&[u8]> = self
            .0
            .iter()
            .map(|directory| directory.as_os_str().as_bytes())
            .collect();
        OsString::from_vec(directories.join(&b':'))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "checks whether a program exists, by its absolute path, and opens no file"
)]
fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_variables_pass() {
        let env = Env::empty()
            .with("HOME", "/home/ada")
            .with("LANG", "")
            .with("LD_PRELOAD", "canary");
        let environment = Environment::new(&env, &["HOME", "LANG"]).with_all(&[("LC_ALL", "C")]);
        let names: Vec<_> = environment.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["HOME", "LC_ALL", "PATH"]);
    }

    #[test]
    fn absolute_directories_are_searched_the_callers_first() {
        let env = Env::empty().with("PATH", "/a/bin:.::bin:/usr/bin:../x:/a/bin");
        let path = SearchPath::of(&env).joined().into_string().unwrap();
        assert!(
            path.starts_with("/a/bin:/usr/bin:/run/wrappers/bin:"),
            "{path}"
        );
        for once in ["/usr/bin", "/a/bin"] {
            assert_eq!(path.split(':').filter(|entry| *entry == once).count(), 1);
        }
        assert!(path.split(':').all(|entry| entry.starts_with('/')));
    }

    #[test]
    fn without_a_search_path_the_fixed_directories_remain() {
        assert_eq!(
            SearchPath::of(&Env::empty()).joined(),
            FIXED.join(":").as_str()
        );
    }
}
