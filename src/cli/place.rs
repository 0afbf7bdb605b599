//! Paths in the target as command-line arguments: relative to it, absolute, or `.` for all of it.

use std::path::{Path, PathBuf};

use crate::SyncError;
use crate::git::RelPath;

/// A place in the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TargetPath {
    /// The target itself.
    Everything,
    /// A path relative to it.
    Below(RelPath),
    /// An absolute path; whether it is in the target is checked when the target is known.
    Absolute(PathBuf),
}

/// Reads a place; the error text is printed by clap.
pub(super) fn parse(text: &str) -> Result<TargetPath, String> {
    if text.starts_with('/') {
        return Ok(TargetPath::Absolute(PathBuf::from(text)));
    }
    let text = text.trim_end_matches('/');
    if text == "." {
        return Ok(TargetPath::Everything);
    }
    RelPath::new(text.strip_prefix("./").unwrap_or(text).as_bytes())
        .map(TargetPath::Below)
        .map_err(|fault| format!("the path {fault}; it is relative to the target"))
}

/// The requested paths; without any, all of them.
pub(super) fn resolve(places: &[TargetPath], target: &Path) -> Result<Vec<RelPath>, SyncError> {
    let mut paths = Vec::new();
    for place in places {
        match place {
            TargetPath::Below(path) => paths.push(path.clone()),
            TargetPath::Everything => return Ok(Vec::new()),
            TargetPath::Absolute(path) => {
                let outside = || SyncError::Outside {
                    path: path.clone(),
                    target: target.to_owned(),
                };
                let below = path.strip_prefix(target).map_err(|_| outside())?;
                // Normalized: without redundant parts such as a trailing slash.
                let below: PathBuf = below.components().collect();
                if below.as_os_str().is_empty() {
                    return Ok(Vec::new());
                }
                let below = RelPath::new(below.as_os_str().as_encoded_bytes());
                paths.push(below.map_err(|_| outside())?);
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(words: &[&str]) -> Option<Vec<String>> {
        let places = words.iter().map(|word| parse(word).ok());
        let places: Vec<TargetPath> = places.collect::<Option<_>>()?;
        let paths = resolve(&places, Path::new("/etc/nixos")).ok()?;
        Some(paths.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_path_may_be_relative_to_the_target_or_absolute() {
        for word in [
            "a/b",
            "./a/b",
            "a/b/",
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
            "a/../b",
            "/etc/nixos/../x",
        ] {
            assert_eq!(paths(&[word]), None, "{word}");
        }
    }
}
