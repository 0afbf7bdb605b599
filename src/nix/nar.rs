//! The hash by which Nix names the content of a directory: SHA-256 over its NAR, written as in `flake.lock`.
//!
//! A NAR is the directory as one stream (Dolstra's thesis, figure 5.2): every name and content with its length before it,
//! padded to eight bytes, names in the order of their bytes. It is written here because what is hashed may be a
//! directory that others write in: each entry is opened below the directory it was found in, no symlink is followed,
//! no call blocks, and the amount is limited.
//!
//! Limits: only what a NAR can hold may lie there (no FIFO, socket or device).

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::fs::{Directory, Faults, FileKind};
use crate::text;

/// The most that is hashed: a directory that Nix copies to its store at every build is far smaller.
const BYTES_MAX: u64 = 4 << 30;
const ENTRIES_MAX: u64 = 1_000_000;
/// Deeper than a path with names of usual length can be (`PATH_MAX`).
const DEPTH_MAX: u32 = 256;

/// The NAR hash of a file tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NarHash([u8; 32]);

impl NarHash {
    /// Hashes what lies in the directory at `path`; symlinks in it are not followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        Self::with_time_of(path).map(|(hash, _)| hash)
    }

    /// Also returns the newest time of what lies there, which is Nix's `lastModified`: seconds since 1970.
    pub(crate) fn with_time_of(path: &Path) -> io::Result<(Self, i64)> {
        let directory = Directory::open(path, Faults::default()).map_err(io::Error::other)?;
        let mut archive = Archive {
            hasher: Sha256::new(),
            bytes: 0,
            entries: 0,
            newest: i64::MIN,
        };
        archive.text(b"nix-archive-1");
        archive.directory(&directory, 0)?;
        let newest = archive.newest.div_euclid(1_000_000_000);
        let hash = Self(archive.hasher.finalize().into());
        Ok((hash, newest))
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

/// Writes a NAR into the hash.
struct Archive {
    hasher: Sha256,
    bytes: u64,
    entries: u64,
    newest: i64,
}

impl Archive {
    fn directory(&mut self, directory: &Directory, depth: u32) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other("it is deeper than any configuration"));
        }
        let stat = directory.own_stat().map_err(io::Error::other)?;
        self.newest = self.newest.max(stat.mtime);
        self.texts(&[b"(", b"type", b"directory"]);
        for name in directory.list().map_err(io::Error::other)? {
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(io::Error::other(
                    "it holds more files than any configuration",
                ));
            }
            self.texts(&[b"entry", b"(", b"name", name.as_bytes(), b"node"]);
            self.entry(directory, &name, depth)?;
            self.text(b")");
        }
        self.text(b")");
        Ok(())
    }

    fn entry(&mut self, directory: &Directory, name: &OsStr, depth: u32) -> io::Result<()> {
        let shown = || text::path(directory.path().join(name));
        let changing = || io::Error::other(format!("`{}` is being changed", shown()));
        let stat = directory.stat(name).map_err(io::Error::other)?;
        let stat = stat.ok_or_else(changing)?;
        match stat.kind {
            FileKind::Directory => {
                let child = directory.child(name).map_err(io::Error::other)?;
                return self.directory(&child.ok_or_else(changing)?, depth + 1);
            }
            FileKind::Symlink => {
                let text = directory.read_link(name).map_err(io::Error::other)?;
                let text = text.ok_or_else(changing)?;
                self.texts(&[b"(", b"type", b"symlink", b"target", &text]);
            }
            FileKind::File => {
                let opened = directory.open_file(name).map_err(io::Error::other)?;
                let (file, stat) = opened.ok_or_else(changing)?;
                self.bytes = self.bytes.saturating_add(stat.size);
                if self.bytes > BYTES_MAX {
                    let words = format!("it holds more than {} GiB", BYTES_MAX >> 30);
                    return Err(io::Error::other(words));
                }
                self.texts(&[b"(", b"type", b"regular"]);
                if stat.mode & 0o100 != 0 {
                    self.texts(&[b"executable", b""]);
                }
                self.text(b"contents");
                self.hasher.update(stat.size.to_le_bytes());
                let read = io::copy(&mut file.take(stat.size), &mut Hasher(&mut self.hasher))?;
                if read != stat.size {
                    return Err(changing());
                }
                self.pad(stat.size);
            }
            FileKind::Special => {
                let words = format!("`{}` is a socket, a FIFO or a device", shown());
                return Err(io::Error::other(words));
            }
        }
        self.newest = self.newest.max(stat.mtime);
        self.text(b")");
        Ok(())
    }

    fn texts(&mut self, texts: &[&[u8]]) {
        for text in texts {
            self.text(text);
        }
    }

    fn text(&mut self, text: &[u8]) {
        let length = text.len() as u64;
        self.hasher.update(length.to_le_bytes());
        self.hasher.update(text);
        self.pad(length);
    }

    fn pad(&mut self, length: u64) {
        let over = usize::try_from(length % 8).unwrap_or_default();
        if over > 0 {
            self.hasher.update(&[0; 8][over..]);
        }
    }
}

struct Hasher<'a>(&'a mut Sha256);

impl io::Write for Hasher<'_> {
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

    #[test]
    fn an_execute_bit_is_the_owners_and_what_cannot_be_hashed_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        std::fs::write(path("a"), "").unwrap();
        let plain = NarHash::of(root.path()).unwrap();
        std::fs::set_permissions(path("a"), std::fs::Permissions::from_mode(0o655)).unwrap();
        assert_eq!(NarHash::of(root.path()).unwrap(), plain, "as Nix has it");
        let file = std::fs::File::create(path("sparse")).unwrap();
        file.set_len(BYTES_MAX + 1).unwrap();
        let error = |()| NarHash::of(root.path()).unwrap_err().to_string();
        assert_eq!(error(()), "it holds more than 4 GiB");
        std::fs::remove_file(path("sparse")).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), mode).unwrap();
        assert!(error(()).ends_with("pipe` is a socket, a FIFO or a device"));
    }
}
