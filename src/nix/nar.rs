//! The hash by which Nix names the content of a directory: SHA-256 over its NAR, written as in `flake.lock`.
//!
//! Limits: names must be UTF-8, and only what a NAR can hold may lie there (no FIFO, socket or device). An execute bit
//! counts for anybody, where Nix looks at the owner's: hash what was copied with clean modes.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The NAR hash of a file tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NarHash([u8; 32]);

impl NarHash {
    /// Hashes what lies at `path`; symlinks are not followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut encoder = nix_nar::Encoder::new(path).map_err(io::Error::other)?;
        let mut hasher = Hasher(Sha256::new());
        io::copy(&mut encoder, &mut hasher)?;
        Ok(Self(hasher.0.finalize().into()))
    }

    /// As lower-case hexadecimal digits, which a file name may hold.
    #[must_use]
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}

/// In the form of the Subresource Integrity standard, `sha256-…`, as Nix prints it.
impl fmt::Display for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256-{}", data_encoding::BASE64.encode(&self.0))
    }
}

impl fmt::Debug for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for NarHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test makes the tree that is hashed"
    )]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Nix 2.26: `nix hash path` of the same tree. `tests/nix` compares again, with more odd files.
    #[test]
    fn is_the_hash_that_nix_computes() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        std::fs::write(path("a"), "one\n").unwrap();
        std::fs::create_dir(path("d")).unwrap();
        std::fs::write(path("d/run"), "#!/bin/sh\n").unwrap();
        let executable = std::fs::Permissions::from_mode(0o555);
        std::fs::set_permissions(path("d/run"), executable).unwrap();
        symlink("d/run", path("link")).unwrap();
        assert_eq!(
            NarHash::of(root.path()).unwrap().to_string(),
            "sha256-R2grYg7NlUMRU0Ca76YShrvuqkg1agBoQWIU6WY5DQo="
        );
    }
}
