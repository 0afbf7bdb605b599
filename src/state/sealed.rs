//! Small files that are either whole and ours, or known not to be.
//!
//! One line of text — what it is, its format, the SHA-256 of the line so far and of all that follows — then JSON. The
//! line stays readable to every version, so that a newer format is told from a damaged file. Writing goes through a
//! second name: after a crash the old file is there or the new one.

use std::io::Read as _;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::{Error, is_ours};
use crate::fs::{Directory, Failure};

/// What a sealed file is for, and the format this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The word in its first line.
    pub kind: &'static str,
    /// The format; counted up when an older hyper-sync could not read it any more.
    pub version: u32,
}

/// Why a file is not taken for what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A symlink, directory, FIFO, or a file that others own or can write.
    #[error("it is not a regular file of our own")]
    NotOurs,
    /// More bytes than any such file has.
    #[error("it is larger than any that hyper-sync writes")]
    TooLarge,
    /// Empty, cut off, or with other bytes than were written.
    #[error("its checksum does not match")]
    Checksum,
    /// Whole, but not what this kind of file holds.
    #[error("its content is not what such a file holds")]
    Content,
}

/// A sealed file, as it was found.
#[derive(Debug)]
pub enum Found<T> {
    /// There is none.
    Absent,
    /// It is whole.
    Whole(T),
    /// It is not.
    Damaged(Damage),
}

/// No file of ours comes near this: an index of 50,000 paths of 100 bytes has 15 MB.
const SIZE_MAX: u64 = 256 << 20;

/// How the second name ends.
pub(super) const TEMPORARY: &str = ".tmp";

/// Writes `value` as `name`, durable when this returns.
pub(crate) fn write<T: Serialize>(
    directory: &Directory,
    name: &str,
    format: Format,
    value: &T,
) -> Result<(), Error> {
    let temporary = format!("{name}{TEMPORARY}");
    prepare(directory, &temporary, format, value)?;
    directory
        .rename(&temporary, directory, name)
        .map_err(|errno| directory.failure("replace", name, errno))?;
    Ok(directory.sync()?)
}

/// Writes `value` as `name`, its content durable, its name not.
pub(crate) fn prepare<T: Serialize>(
    directory: &Directory,
    name: &str,
    format: Format,
    value: &T,
) -> Result<(), Error> {
    create(directory, name, format, value)?;
    Ok(directory.sync_file(name)?)
}

/// Writes `value` as `name`, not durable.
pub(crate) fn create<T: Serialize>(
    directory: &Directory,
    name: &str,
    format: Format,
    value: &T,
) -> Result<(), Error> {
    put(directory, name, &seal(directory, name, format, value)?)
}

/// The bytes of a sealed file, for one that is written more than once.
pub(crate) fn seal<T: Serialize>(
    directory: &Directory,
    name: &str,
    format: Format,
    value: &T,
) -> Result<Vec<u8>, Error> {
    let body = serde_json::to_vec(value)
        .map_err(|error| Failure::from_io("write", &directory.path().join(name), error.into()))?;
    let mut sealed = header(format.kind, format.version, &body).into_bytes();
    sealed.extend_from_slice(&body);
    Ok(sealed)
}

/// Writes what was sealed as `name`, not durable.
pub(crate) fn put(directory: &Directory, name: &str, sealed: &[u8]) -> Result<(), Error> {
    // Left by a run that died here; nobody else writes in this directory.
    directory.unlink(name)?;
    let mut file = directory.create(name)?;
    Ok(file.write(sealed)?)
}

/// Reads what [`write`] wrote.
pub(crate) fn read<T: DeserializeOwned>(
    directory: &Directory,
    name: &str,
    format: Format,
) -> Result<Found<T>, Error> {
    let Some(stat) = directory.stat(name)? else {
        return Ok(Found::Absent);
    };
    if !is_ours(&stat) {
        return Ok(Found::Damaged(Damage::NotOurs));
    }
    if stat.size > SIZE_MAX {
        return Ok(Found::Damaged(Damage::TooLarge));
    }
    let Some((file, _)) = directory.open_file(name)? else {
        return Ok(Found::Damaged(Damage::NotOurs));
    };
    let mut bytes = Vec::new();
    file.take(SIZE_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::from_io("read", &directory.path().join(name), error))?;
    let Some((version, body)) = open(&bytes, format.kind) else {
        return Ok(Found::Damaged(Damage::Checksum));
    };
    if version > format.version {
        return Err(Error::Newer {
            path: directory.path().join(name),
            version,
        });
    }
    Ok(serde_json::from_slice(body).map_or(Found::Damaged(Damage::Content), Found::Whole))
}

/// Puts a damaged file aside, so that the next run does not meet it again, and tells where it is now. Not durable: after
/// a power cut it is put aside once more.
pub(crate) fn set_aside(directory: &Directory, name: &str) -> Result<PathBuf, Error> {
    let mut aside = format!("{name}.damaged");
    let mut number = 1;
    while directory.stat(&aside)?.is_some() {
        number += 1;
        aside = format!("{name}.damaged-{number}");
    }
    directory
        .rename(name, directory, &aside)
        .map_err(|errno| directory.failure("set aside", name, errno))?;
    Ok(directory.path().join(aside))
}

fn header(kind: &str, version: u32, body: &[u8]) -> String {
    let what = format!("hyper-sync {kind} {version}");
    let digest = digest(&what, body);
    format!("{what} {digest}\n")
}

fn digest(what: &str, body: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(what);
    hasher.update("\n");
    hasher.update(body);
    data_encoding::HEXLOWER.encode(&hasher.finalize())
}

/// The format and the body, if the bytes are a whole file of this kind.
fn open<'a>(bytes: &'a [u8], kind: &str) -> Option<(u32, &'a [u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (line, body) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
    let (what, sum) = line.rsplit_once(' ')?;
    let version = what
        .strip_prefix("hyper-sync ")?
        .strip_prefix(kind)?
        .strip_prefix(' ')?;
    if sum != digest(what, body) {
        return None;
    }
    Some((version.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seal(version: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = header("index", version, body).into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn opens_what_it_sealed() {
        assert_eq!(open(&seal(7, b"{}\n"), "index"), Some((7, &b"{}\n"[..])));
        assert_eq!(open(&seal(7, b""), "journal"), None);
    }

    #[test]
    fn tells_a_newer_format_from_damage() {
        assert_eq!(
            open(&seal(u32::MAX, b"?"), "index"),
            Some((u32::MAX, &b"?"[..]))
        );
        let mut altered = seal(1, b"{}");
        altered["hyper-sync index ".len()] = b'2';
        assert_eq!(open(&altered, "index"), None);
    }

    #[test]
    fn sees_every_cut_and_every_flipped_bit() {
        let whole = seal(1, br#"{"entries":{}}"#);
        for length in 0..whole.len() {
            assert_eq!(open(&whole[..length], "index"), None, "cut at {length}");
        }
        for bit in 0..whole.len() * 8 {
            let mut altered = whole.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&altered, "index"), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn takes_no_garbage(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(open(&bytes, "index"), None);
        }
    }
}
