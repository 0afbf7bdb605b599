//! Paths of the settings: absolute and without detours, and away from what they could damage.
//!
//! Purely lexical, so that `config check` needs no file system. Where a symlink is on the way, opening the target
//! refuses it later.

use std::path::{Component, Path, PathBuf};

use super::Problem;

/// What a relative path starts from.
#[derive(Debug, Clone, Copy)]
pub(super) enum PathBase<'a> {
    /// Nothing: a file or a variable means the same wherever it is read from.
    None,
    /// The working directory, for options of the command line.
    Directory(&'a Path),
}

/// An absolute path without `.`, `..` and doubled slashes.
pub(super) fn absolute(text: &str, base: PathBase<'_>) -> Result<PathBuf, Problem> {
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    if text == "~" || text.starts_with("~/") {
        return Err(Problem::Tilde);
    }
    let path = Path::new(text);
    let relative = || Problem::Relative {
        path: text.to_owned(),
    };
    let start = match base {
        PathBase::Directory(directory) => directory,
        PathBase::None if path.is_relative() => return Err(relative()),
        // In a file, `..` is more often a slip than meant.
        PathBase::None if path.components().any(|part| part == Component::ParentDir) => {
            return Err(relative());
        }
        PathBase::None => Path::new("/"),
    };
    let mut absolute = PathBuf::new();
    for component in start.join(path).components() {
        match component {
            Component::ParentDir => {
                absolute.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Normal(_) | Component::Prefix(_) => {
                absolute.push(component);
            }
        }
    }
    Ok(absolute)
}

/// Directories that are shared by much more than one configuration: themselves refused, not what is in them.
const SHARED: &[&str] = &[
    "/bin",
    "/etc",
    "/etc/profiles",
    "/etc/ssh",
    "/etc/ssl",
    "/etc/static",
    "/etc/systemd",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/tmp",
    "/usr",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/tmp",
];

/// Directories where nothing is ours at any depth.
const FOREIGN: &[&str] = &["/boot", "/dev", "/nix", "/proc", "/sys"];

/// Refuses a directory that is not one configuration's own, for a sync manages all of it.
pub(super) fn refuse_protected(path: &Path, home: Option<&Path>) -> Result<(), Problem> {
    let protected = |why| {
        Err(Problem::Protected {
            path: path.to_owned(),
            why,
        })
    };
    if path == Path::new("/") {
        return protected("the whole system");
    }
    if FOREIGN.iter().any(|foreign| path.starts_with(foreign)) {
        return protected("which belongs to the system");
    }
    if SHARED.iter().any(|shared| path == Path::new(shared)) {
        return protected("which holds much more than one configuration");
    }
    if Some(path) == home || path.parent() == Some(Path::new("/home")) {
        return protected("a home directory");
    }
    Ok(())
}

/// How two paths lie where they are not apart, in words: the first "… the" second.
pub(super) fn relation(path: &Path, other: &Path) -> Option<&'static str> {
    if path == other {
        Some("is also")
    } else if path.starts_with(other) {
        Some("lies in")
    } else if other.starts_with(path) {
        Some("contains")
    } else {
        None
    }
}

/// Whether a file is in the Nix store.
pub(super) fn is_in_store(path: &Path) -> bool {
    path.starts_with("/nix/store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_may_be_relative() {
        let base = PathBase::Directory(Path::new("/srv/here"));
        for (text, path) in [
            ("demo", "/srv/here/demo"),
            ("./demo/", "/srv/here/demo"),
            ("../demo", "/srv/demo"),
            ("../../../../x", "/x"),
            ("/a//b/./c/../d", "/a/b/d"),
        ] {
            assert_eq!(absolute(text, base).unwrap(), Path::new(path));
        }
        assert_eq!(absolute("", base), Err(Problem::Empty));
        assert_eq!(absolute("~/x", base), Err(Problem::Tilde));
    }

    #[test]
    fn files_and_variables_may_not() {
        for text in ["demo", "./demo", "/etc/../nixos"] {
            assert!(
                matches!(
                    absolute(text, PathBase::None),
                    Err(Problem::Relative { .. })
                ),
                "{text}"
            );
        }
        assert_eq!(
            absolute("/etc//nixos/", PathBase::None).unwrap(),
            Path::new("/etc/nixos")
        );
    }

    #[test]
    fn a_target_is_a_directory_of_its_own() {
        let home = Some(Path::new("/var/empty"));
        for path in [
            "/",
            "/etc",
            "/nix",
            "/nix/store/x",
            "/home",
            "/home/a",
            "/root",
            "/usr",
            "/boot/x",
            "/var",
            "/var/lib",
            "/tmp",
            "/proc/self",
            "/var/empty",
        ] {
            assert!(refuse_protected(Path::new(path), home).is_err(), "{path}");
        }
        for path in [
            "/etc/nixos",
            "/etc/hypervisor/src",
            "/home/a/config",
            "/root/config",
            "/tmp/x/demo",
            "/nixos",
            "/etcetera",
        ] {
            assert_eq!(refuse_protected(Path::new(path), home), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_relate_by_component() {
        let relation = |a, b| relation(Path::new(a), Path::new(b));
        assert_eq!(relation("/a", "/a"), Some("is also"));
        assert_eq!(relation("/a/b", "/a"), Some("lies in"));
        assert_eq!(relation("/a", "/a/b"), Some("contains"));
        assert_eq!(relation("/a", "/ab"), None);
    }
}
