//! The globs of `protect`, `exclude` and `executable`.
//!
//! They are read as in a `.gitignore` at the top of the tree. A pattern without a slash matches a name anywhere, one with
//! a slash at its begin or inside is a path from the top, one with a slash at its end is a directory. `*` stays within
//! a name, `**` crosses directories, and what matches a directory takes all below it.
//!
//! What git would read otherwise than this is an error with the right way to write it: a file must not
//! be taken for protected when it is not. So there are no exceptions (`!x`): each list is one set, whatever its order.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::git::RelPath;
use crate::text;

/// A set of compiled patterns.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    names: GlobSet,
    paths: PathGlobs,
    /// Paths of directories.
    directories: PathGlobs,
    written: Vec<String>,
}

/// Globs of whole paths. As a rule they match near the top, so that most paths need not be compared with them.
#[derive(Debug, Clone, Default)]
struct PathGlobs {
    globs: GlobSet,
    /// The most slashes that a path has which one of them matches.
    slashes_max: usize,
}

/// A pattern that is not usable.
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
        let mut directories = GlobSetBuilder::new();
        let mut slashes_max = 0;
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
            if let Some(cause) = read_otherwise_by_git(pattern) {
                return Err(refuse(cause));
            }
            let glob = GlobBuilder::new(trimmed)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| refuse(error.kind().to_string()))?;
            slashes_max = if trimmed.contains("**") {
                usize::MAX
            } else {
                slashes_max.max(slashes(trimmed))
            };
            if pattern.ends_with('/') {
                directories.add(glob);
            } else if pattern.contains('/') {
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
        let build_paths = |set: &GlobSetBuilder, slashes_max| {
            let globs = build(set)?;
            Ok(PathGlobs { globs, slashes_max })
        };
        Ok(Self {
            names: build(&names)?,
            paths: build_paths(&paths, slashes_max)?,
            directories: build_paths(&directories, slashes_max)?,
            written: { patterns.iter() }
                .map(|pattern| pattern.as_ref().to_owned())
                .collect(),
        })
    }

    /// The patterns as they were given.
    #[must_use]
    pub fn as_written(&self) -> &[String] {
        &self.written
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// Whether the path of a file or symlink, or a directory above it, matches.
    #[must_use]
    pub fn matches(&self, path: &RelPath) -> bool {
        self.takes(path.as_str(), false) || self.takes_above(path.as_str())
    }

    /// Whether the path of a directory, or a directory above it, matches.
    #[must_use]
    pub fn matches_directory(&self, path: &RelPath) -> bool {
        self.takes(path.as_str(), true) || self.takes_above(path.as_str())
    }

    /// As [`matches`](Self::matches), for many paths: one after the other, a directory is compared once for all that is
    /// in it.
    pub fn sorted_cursor(&self) -> impl FnMut(&RelPath) -> bool {
        let mut directory = String::new();
        let mut is_taken = false;
        move |path| {
            let path = path.as_str();
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if parent != directory {
                is_taken = self.takes_above(path);
                parent.clone_into(&mut directory);
            }
            is_taken || self.takes(path, false)
        }
    }

    /// Whether a directory above the path matches.
    fn takes_above(&self, path: &str) -> bool {
        path.match_indices('/')
            .any(|(at, _)| self.takes(&path[..at], true))
    }

    /// Whether just this path matches, by its name or as a whole.
    fn takes(&self, path: &str, is_directory: bool) -> bool {
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        (!self.names.is_empty() && self.names.is_match(name))
            || self.paths.match_path(path)
            || (is_directory && self.directories.match_path(path))
    }
}

impl PathGlobs {
    fn match_path(&self, path: &str) -> bool {
        !self.globs.is_empty() && slashes(path) <= self.slashes_max && self.globs.is_match(path)
    }
}

fn slashes(path: &str) -> usize {
    path.bytes().filter(|&byte| byte == b'/').count()
}

/// Why git would read a pattern of a `.gitignore` otherwise, and how it is written instead (gitignore(5)).
fn read_otherwise_by_git(pattern: &str) -> Option<String> {
    if let Some(name) = pattern.strip_suffix('/')
        && !name.contains('/')
    {
        return Some(format!(
            "write `/{name}/` for the directory at the top, or `**/{name}/` for one anywhere, as in a `.gitignore`"
        ));
    }
    if pattern.starts_with('!') {
        return Some(
            "there are no exceptions; write `\\!` for a name that begins with `!`".to_owned(),
        );
    }
    if pattern.starts_with('#') {
        return Some(
            "a comment in a `.gitignore`; write `\\#` for a name that begins with `#`".to_owned(),
        );
    }
    if pattern.ends_with(' ') && !pattern.ends_with("\\ ") {
        return Some("write `\\ ` for a space at the end, as in a `.gitignore`".to_owned());
    }
    let mut characters = pattern.chars();
    let mut is_in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '[' if is_in_class && characters.as_str().starts_with(':') => {
                return Some(
                    "named classes are not supported; write a range such as `[a-z]`".to_owned(),
                );
            }
            '[' => is_in_class = true,
            ']' => is_in_class = false,
            '{' | '}' if !is_in_class => {
                return Some(
                    "write each alternative as a pattern of its own, or `\\{` for the character, as in a `.gitignore`".to_owned(),
                );
            }
            _ => {}
        }
    }
    None
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
        assert!(matches("/target/", "target/x/y"));
        assert!(!matches("/target/", "targets/x"));
        assert!(!matches("/target/", "tools/target/x"));
        assert!(!matches("/target/", "target"), "a file is no directory");
        let target = Patterns::new(&["/target/"]).unwrap();
        assert!(target.matches_directory(&RelPath::new(b"target").unwrap()));
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
    fn refuses_what_git_would_read_otherwise_and_says_how_to_write_it() {
        let cause = |pattern: &str| Patterns::new(&[pattern]).unwrap_err().cause;
        insta::assert_snapshot!(
            ["x/", "!x", "#x", "x ", "*.{sh,py}", "[[:alpha:]]"].map(cause).join("\n"),
            @r"
        write `/x/` for the directory at the top, or `**/x/` for one anywhere, as in a `.gitignore`
        there are no exceptions; write `\!` for a name that begins with `!`
        a comment in a `.gitignore`; write `\#` for a name that begins with `#`
        write `\ ` for a space at the end, as in a `.gitignore`
        write each alternative as a pattern of its own, or `\{` for the character, as in a `.gitignore`
        named classes are not supported; write a range such as `[a-z]`
        "
        );
        for usable in [
            "/x/", "**/x/", "\\!x", "\\#x", "x\\ ", "\\{x\\}", "[{}]", "[a-z]", "[!a]",
        ] {
            assert!(Patterns::new(&[usable]).is_ok(), "{usable}");
        }
    }

    #[test]
    fn a_sequence_of_paths_matches_as_each_path_alone() {
        let patterns =
            Patterns::new(&["/target/", "*.socket", "a/*/c", "**/b/", "result"]).unwrap();
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
            let mut matches = patterns.sorted_cursor();
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
