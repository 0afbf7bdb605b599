//! The modes a tree entry may have.

use serde::{Deserialize, Serialize};

/// What an entry of a tree object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryMode {
    /// A file or a symlink.
    File(FileMode),
    /// A directory.
    Tree,
    /// A commit of another repository (a submodule). Never written: docs/architecture.md, Verification.
    Gitlink,
}

/// What a blob becomes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FileMode {
    /// `100644`: mode 0644.
    #[serde(rename = "100644")]
    Regular,
    /// `100755`: mode 0755.
    #[serde(rename = "100755")]
    Executable,
    /// `120000`: a symlink whose target is the content.
    #[serde(rename = "120000")]
    Symlink,
}

impl EntryMode {
    /// Parses the mode as written in a raw tree object, and only in the spellings git writes.
    ///
    /// `100664` is accepted as a regular file: old versions of git wrote it, `git fsck` tolerates it, and the id of
    /// the tree is taken over the raw bytes all the same.
    #[must_use]
    pub fn parse(octal: &[u8]) -> Option<Self> {
        Some(match octal {
            b"100644" | b"100664" => Self::File(FileMode::Regular),
            b"100755" => Self::File(FileMode::Executable),
            b"120000" => Self::File(FileMode::Symlink),
            b"40000" => Self::Tree,
            b"160000" => Self::Gitlink,
            _ => return None,
        })
    }

    /// The mode as git writes it into a tree object.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File(mode) => mode.as_str(),
            Self::Tree => "40000",
            Self::Gitlink => "160000",
        }
    }
}

impl FileMode {
    /// Of a regular file.
    #[must_use]
    pub fn of_file(executable: bool) -> Self {
        if executable {
            Self::Executable
        } else {
            Self::Regular
        }
    }

    /// The mode as git writes it into a tree object.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }

    /// The permission bits on disk; a symlink has none of its own.
    #[must_use]
    pub fn permissions(self) -> Option<u32> {
        match self {
            Self::Regular => Some(0o644),
            Self::Executable => Some(0o755),
            Self::Symlink => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_modes_git_writes_and_no_other() {
        for text in ["100644", "100755", "120000", "40000", "160000"] {
            assert_eq!(EntryMode::parse(text.as_bytes()).unwrap().as_str(), text);
        }
        assert_eq!(
            EntryMode::parse(b"100664"),
            Some(EntryMode::File(FileMode::Regular))
        );
        for text in [
            "", "0", "abc", "100600", "104755", "102755", "101777", "0100644", "040000", "40755",
            "100644 ",
        ] {
            assert_eq!(EntryMode::parse(text.as_bytes()), None, "{text}");
        }
    }
}
