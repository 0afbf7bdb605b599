//! Paths in the target as command-line arguments: absolute, or relative to the working directory if it is in the target,
//! else to the target.

use std::path::{Component, Path, PathBuf};

use crate::SyncError;
use crate::git::RelPath;
use crate::settings::Env;

/// A path as it is written. Where it leads is known with the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetPath(PathBuf);

/// Reads a path; the error text is printed by clap.
pub(super) fn parse(text: &str) -> Result<TargetPath, String> {
    if text.is_empty() {
        return Err("the path is empty; `.` is all of the directory".to_owned());
    }
    Ok(TargetPath(text.into()))
}

/// The requested paths; none if one of them is the target itself, or if there are none.
pub(super) fn resolve(
    places: &[TargetPath],
    target: &Path,
    env: &Env,
) -> Result<Vec<RelPath>, SyncError> {
    let here = env.current_dir().filter(|here| here.starts_with(target));
    let here = here.unwrap_or(target);
    let mut paths = Vec::new();
    for TargetPath(path) in places {
        let whole = normal(&here.join(path));
        let outside = || SyncError::Outside {
            path: whole.clone(),
            target: target.to_owned(),
        };
        let below = whole.strip_prefix(target).map_err(|_| outside())?;
        if below.as_os_str().is_empty() {
            return Ok(Vec::new());
        }
        let below = RelPath::new(below.as_os_str().as_encoded_bytes());
        paths.push(below.map_err(|_| outside())?);
    }
    Ok(paths)
}

/// Without `.` and `..`. No symlink is followed: a managed path leads through none.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths_from(here: &str, words: &[&str]) -> Option<Vec<String>> {
        let places = words.iter().map(|word| parse(word).ok());
        let places: Vec<TargetPath> = places.collect::<Option<_>>()?;
        let env = Env::empty().in_dir(here);
        let paths = resolve(&places, Path::new("/etc/nixos"), &env).ok()?;
        Some(paths.iter().map(ToString::to_string).collect())
    }

    fn paths(words: &[&str]) -> Option<Vec<String>> {
        let found = paths_from("/root", words);
        assert_eq!(found, paths_from("/etc/nixos", words), "{words:?}");
        found
    }

    #[test]
    fn a_path_may_be_relative_to_the_target_or_absolute() {
        for word in [
            "a/b",
            "./a/b",
            "a/b/",
            "a/../a/b",
            "/etc/nixos/a/b",
            "/etc/nixos//a/./b/",
        ] {
            assert_eq!(paths(&[word]).unwrap(), ["a/b"], "{word}");
        }
        assert_eq!(paths(&["a", "/etc/nixos/b"]).unwrap(), ["a", "b"]);
        for word in [".", "./", "/etc/nixos", "/etc/nixos/"] {
            assert_eq!(paths(&["a", word]).unwrap(), [""; 0], "{word}");
        }
        for word in [
            "",
            "/",
            "/etc/nixos2/a",
            "/etc/passwd",
            "../a",
            "/etc/nixos/../x",
        ] {
            assert_eq!(paths(&[word]), None, "{word}");
        }
    }

    #[test]
    fn in_a_directory_of_the_target_a_path_is_relative_to_it() {
        let from = |word| paths_from("/etc/nixos/docs", &[word]);
        assert_eq!(from("README.md").unwrap(), ["docs/README.md"]);
        assert_eq!(from("../README.md").unwrap(), ["README.md"]);
        assert_eq!(from(".").unwrap(), ["docs"]);
        assert_eq!(from("..").unwrap(), [""; 0]);
        assert_eq!(from("../.."), None);
        assert_eq!(from("/etc/nixos/a").unwrap(), ["a"]);
    }
}
