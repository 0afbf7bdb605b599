//! The globs of `protect`, `exclude` and `executable`.
//!
//! A pattern without a slash matches a name anywhere in the tree. One with a slash, also at its end, is a path from
//! the root. `*` stays within a name, `**` crosses directories, and what matches a directory takes all below it: so
//! `target/` is the top directory `target` and not `targets/x`, and `*.socket` any socket.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::git::RelPath;
use crate::text;

/// A set of compiled patterns.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    names: GlobSet,
    paths: GlobSet,
}

/// A pattern that is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a valid pattern: {cause}", text::name(.pattern))]
pub struct NotAPattern {
    /// As written.
    pub pattern: String,
    /// What is wrong with it.
    pub cause: String,
}

impl Patterns {
    /// Compiles patterns.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, NotAPattern> {
        let mut names = GlobSetBuilder::new();
        let mut paths = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let refuse = |cause: String| NotAPattern {
                pattern: pattern.to_owned(),
                cause,
            };
            let trimmed = pattern.trim_matches('/');
            if trimmed.is_empty() {
                return Err(refuse("it would match everything".to_owned()));
            }
            let glob = GlobBuilder::new(trimmed)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| refuse(error.kind().to_string()))?;
            if pattern.contains('/') {
                paths.add(glob);
            } else {
                names.add(glob);
            }
        }
        let build = |set: &GlobSetBuilder| {
            set.build().map_err(|error| NotAPattern {
                pattern: error.glob().unwrap_or_default().to_owned(),
                cause: error.kind().to_string(),
            })
        };
        Ok(Self {
            names: build(&names)?,
            paths: build(&paths)?,
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.paths.is_empty()
    }

    /// Whether the path, or a directory above it, matches.
    #[must_use]
    pub fn matches(&self, path: &RelPath) -> bool {
        self.takes_any_of(path.as_str())
    }

    /// Asks what [`matches`](Self::matches) tells about many paths: one after the other, a directory is asked about once
    /// for all that is in it.
    pub fn in_order(&self) -> impl FnMut(&RelPath) -> bool {
        let mut directory = String::new();
        let mut is_taken = false;
        move |path| {
            let path = path.as_str();
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if parent != directory {
                is_taken = !parent.is_empty() && self.takes_any_of(parent);
                parent.clone_into(&mut directory);
            }
            is_taken || self.takes(path)
        }
    }

    fn takes_any_of(&self, path: &str) -> bool {
        self.takes(path)
            || path
                .match_indices('/')
                .any(|(at, _)| self.takes(&path[..at]))
    }

    /// Whether just this path matches, by its name or as a whole.
    fn takes(&self, path: &str) -> bool {
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        (!self.names.is_empty() && self.names.is_match(name))
            || (!self.paths.is_empty() && self.paths.is_match(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let path = RelPath::new(path.as_bytes()).unwrap();
        Patterns::new(&[pattern]).unwrap().matches(&path)
    }

    #[test]
    fn matches_whole_components_from_the_root_or_names_anywhere() {
        assert!(matches("target/", "target/x/y"));
        assert!(!matches("target/", "targets/x"));
        assert!(!matches("target/", "tools/target/x"));
        assert!(matches("tools/target/", "tools/target/x"));
        assert!(matches("*.socket", "run/deep/a.socket"));
        assert!(matches("result", "result") && matches("result", "a/result/b"));
        assert!(matches("modules/*-local.nix", "modules/perf-local.nix"));
        assert!(!matches(
            "modules/*-local.nix",
            "modules/sub/perf-local.nix"
        ));
        assert!(
            matches("scripts/**/*.sh", "scripts/a.sh")
                && matches("scripts/**/*.sh", "scripts/a/b/c.sh")
        );
        assert!(!matches("scripts/**/*.sh", "other/scripts/a.sh"));
        assert!(matches("/flake.nix", "flake.nix") && !matches("/flake.nix", "sub/flake.nix"));
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        assert!(Patterns::new(&["[a"]).is_err());
        assert!(Patterns::new(&["/"]).is_err());
        assert!(Patterns::new(&[""]).is_err());
        assert!(!Patterns::default().matches(&RelPath::new(b"a").unwrap()));
    }

    #[test]
    fn one_path_after_the_other_is_told_as_each_by_itself() {
        let patterns = Patterns::new(&["target/", "*.socket", "a/*/c", "result"]).unwrap();
        let names = ["a", "b", "c", "target", "x.socket", "result"];
        let one = names.map(str::to_owned);
        let below = |above: &[String]| -> Vec<String> {
            let pairs = above
                .iter()
                .flat_map(|above| names.map(|name| (above, name)));
            pairs
                .map(|(above, name)| format!("{above}/{name}"))
                .collect()
        };
        let two = below(&one);
        let mut all = [&one[..], &two, &below(&two)].concat();
        for is_sorted in [false, true] {
            let mut matches = patterns.in_order();
            for path in &all {
                let path = RelPath::new(path.as_bytes()).unwrap();
                assert_eq!(
                    matches(&path),
                    patterns.matches(&path),
                    "{path} {is_sorted}"
                );
            }
            all.sort();
        }
    }
}
