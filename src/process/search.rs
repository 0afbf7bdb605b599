//! Where programs are: one rule for all that is started or asked for.
//!
//! First the absolute entries of the caller's `PATH`, then directories that are fixed. A relative entry would run
//! whatever lies in some working directory. The fixed ones make a run by a unit, by `sudo` and by a person find the
//! same programs.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::settings::Env;

/// Where programs are on NixOS, and then elsewhere.
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

    /// The path of a program, where `is_program` says which paths are one.
    pub(crate) fn find_by(
        &self,
        program: &str,
        is_program: impl Fn(&Path) -> bool,
    ) -> Option<PathBuf> {
        let mut paths = self.0.iter().map(|directory| directory.join(program));
        paths.find(|path| is_program(path))
    }

    /// The path of a program that must be there.
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
    reason = "asks whether a program is there, by its absolute path, and opens nothing"
)]
fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_directories_are_searched_the_callers_first() {
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
    fn without_a_search_path_the_fixed_directories_are_left() {
        assert_eq!(
            SearchPath::of(&Env::empty()).joined(),
            FIXED.join(":").as_str()
        );
    }
}
