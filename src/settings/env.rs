//! The process's surroundings as a value: variables, working directory, user.
//!
//! The library never reads the process's own, so that two runs can differ in one process and a test needs no lock.
//! `main` takes [`Env::from_process`], everybody else is handed an `Env`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// Environment variables, working directory and user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env {
    variables: BTreeMap<OsString, OsString>,
    current_dir: Option<PathBuf>,
    root: bool,
}

impl Env {
    /// No variables, no working directory, not root.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// What this process was started with. For `main` only.
    #[must_use]
    pub fn from_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            // A working directory that was removed is none; only relative paths need one.
            current_dir: std::env::current_dir().ok(),
            root: rustix::process::geteuid().is_root(),
        }
    }

    /// With a variable set.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// With a working directory.
    #[must_use]
    pub fn in_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(path.into());
        self
    }

    /// As root, or not.
    #[must_use]
    pub fn as_root(mut self, root: bool) -> Self {
        self.root = root;
        self
    }

    /// A variable; one that is set to nothing counts as not set, as systemd and shells make it easy to write.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// All variables, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// An absolute path from a variable; a relative one is ignored, as the XDG base directory specification requires.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.get(name)
            .map(Path::new)
            .filter(|path| path.is_absolute())
    }

    /// The user's home directory, by `HOME`.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.path("HOME")
    }

    /// The working directory, where there is one.
    #[must_use]
    pub fn current_dir(&self) -> Option<&Path> {
        self.current_dir.as_deref()
    }

    /// Whether the process acts as root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// The id of the user who called `sudo`, where root runs this for somebody.
    #[must_use]
    pub fn caller(&self) -> Option<u32> {
        let uid = self.get("SUDO_UID").filter(|_| self.root)?;
        uid.to_str()?.parse().ok()
    }
}

/// Names only: the values hold tokens.
impl fmt::Debug for Env {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Env")
            .field("variables", &self.variables.keys())
            .field("current_dir", &self.current_dir)
            .field("root", &self.root)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let env = Env::empty().with("A", "").with("B", "b");
        assert_eq!(env.get("A"), None);
        assert_eq!(env.get("B"), Some(OsStr::new("b")));
        assert_eq!(env.get("C"), None);
    }

    #[test]
    fn a_relative_home_is_ignored() {
        assert_eq!(Env::empty().with("HOME", "somewhere").home(), None);
        assert_eq!(
            Env::empty().with("HOME", "/root").home(),
            Some(Path::new("/root"))
        );
    }

    #[test]
    fn debug_shows_no_value() {
        let shown = format!("{:?}", Env::empty().with("GITHUB_TOKEN", "canary"));
        assert!(shown.contains("GITHUB_TOKEN") && !shown.contains("canary"));
    }
}
