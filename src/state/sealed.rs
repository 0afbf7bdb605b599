//! Small files that are either whole and ours, or known not to be.
//!
//! One line of text — what it is, its format, the SHA-256 of the line so far and of all that follows — then a body, as a
//! rule JSON. The line stays readable to every version, so that a newer format is distinguished from a damaged file. Writing goes through a
//! second name: after a crash the old file is there or the new one.

use std::io::{self, BufWriter, Read as _, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::{Error, is_ours};
use crate::fs::{self, Directory, Durability, Failure, NewFile};

/// What a sealed file is for, and the format this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFormat {
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

impl<T> Found<T> {
    /// The record if it is whole, for those whose loss costs no more than their absence.
    pub fn whole(self) -> Option<T> {
        match self {
            Self::Whole(record) => Some(record),
            Self::Absent | Self::Damaged(_) => None,
        }
    }
}

/// No file of ours comes near this: an index of 200,000 paths of 100 bytes has 60 MB.
const SIZE_MAX: u64 = 256 << 20;

/// No first line is longer.
const LINE_MAX: u64 = 256;

/// Bytes of text that are written at once.
const BUFFER: usize = 64 << 10;

/// How the second name ends.
pub(super) const TEMPORARY: &str = ".tmp";

/// Writes `value` as `name`, durable when this returns.
pub(crate) fn write<T: Body>(
    directory: &Directory,
    name: &str,
    format: SealedFormat,
    value: &T,
) -> Result<(), Error> {
    replace(directory, name, Durability::Full, format, value)
}

/// Writes a record durably, or removes the file if there is none any more.
pub(crate) fn write_or_remove<T: Body>(
    directory: &Directory,
    name: &str,
    format: SealedFormat,
    record: Option<&T>,
) -> Result<(), Error> {
    match record {
        Some(record) => write(directory, name, format, record),
        None if directory.stat(name)?.is_some() => Ok(directory.unlink(name)?),
        None => Ok(()),
    }
}

/// Writes `value` as `name`, durable as far as it is asked for.
pub(crate) fn replace<T: Body>(
    directory: &Directory,
    name: &str,
    durability: Durability,
    format: SealedFormat,
    value: &T,
) -> Result<(), Error> {
    let temporary = temporary(name);
    fs::replace(
        directory,
        name,
        &temporary,
        durability,
        |directory, temporary| create(directory, temporary, format, value),
    )
}

/// The second name of a file.
pub(super) fn temporary(name: &str) -> String {
    format!("{name}{TEMPORARY}")
}

/// Writes `value` as `name`, its content durable, its name not.
pub(crate) fn prepare<T: Body>(
    directory: &Directory,
    name: &str,
    format: SealedFormat,
    value: &T,
) -> Result<(), Error> {
    create(directory, name, format, value)?;
    Ok(directory.sync_file(name)?)
}

/// Writes `value` as `name`, not durable.
pub(crate) fn create<T: Body>(
    directory: &Directory,
    name: &str,
    format: SealedFormat,
    value: &T,
) -> Result<(), Error> {
    seal(directory, name, format, value)?.put(directory, name)
}

/// What is to be written as `name`, for a value that is written more than once.
pub(crate) fn seal<'a, T: Body>(
    directory: &Directory,
    name: &str,
    format: SealedFormat,
    value: &'a T,
) -> Result<Sealed<'a, T>, Error> {
    let sealed = Sealed::new(format, value);
    Ok(sealed.map_err(|error| Failure::from_io("write", &directory.path().join(name), error))?)
}

/// What follows the first line of a sealed file.
pub(crate) trait Body {
    /// Writes it; twice, and the same both times.
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// In JSON, as all but the largest.
impl<T: Serialize> Body for T {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        Ok(serde_json::to_writer(out, self)?)
    }
}

/// A value and the line it is sealed with. Its text, which is long for a large tree, is made while it is written, and
/// is in memory at no time.
pub(crate) struct Sealed<'a, T> {
    header: String,
    /// Bytes of the text.
    length: u64,
    value: &'a T,
}

impl<'a, T: Body> Sealed<'a, T> {
    fn new(format: SealedFormat, value: &'a T) -> io::Result<Self> {
        let what = format!("hyper-sync {} {}", format.kind, format.version);
        let mut sum = BufWriter::with_capacity(BUFFER, Sum::of(&what));
        value.write(&mut sum)?;
        let Sum { hasher, length } = sum.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self {
            header: line(&what, hasher),
            length,
            value,
        })
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.header.len() as u64 + self.length
    }

    /// Writes it as `name`, not durable.
    pub(crate) fn put(&self, directory: &Directory, name: &str) -> Result<(), Error> {
        // Left by a run that died here; nobody else writes in this directory.
        directory.unlink(name)?;
        let mut file = directory.create(name)?;
        let mut failure = None;
        let written = self.write(Attempt {
            file: &mut file,
            failure: &mut failure,
        });
        match (failure, written) {
            (Some(failure), _) => Err(failure.into()),
            (None, Err(error)) => {
                Err(Failure::from_io("write", &directory.path().join(name), error).into())
            }
            (None, Ok(())) => Ok(()),
        }
    }

    fn write(&self, file: impl Write) -> io::Result<()> {
        let mut file = BufWriter::with_capacity(BUFFER, file);
        file.write_all(self.header.as_bytes())?;
        self.value.write(&mut file)?;
        file.flush()
    }
}

/// The checksum of a text, and its length.
struct Sum {
    hasher: Sha256,
    length: u64,
}

impl Sum {
    fn of(what: &str) -> Self {
        let hasher = Sha256::new().chain_update(what).chain_update("\n");
        Self { hasher, length: 0 }
    }
}

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file being written, and what stopped that.
struct Attempt<'a> {
    file: &'a mut NewFile,
    failure: &'a mut Option<Failure>,
}

impl Write for Attempt<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => {
                let error = io::Error::other(failure.to_string());
                *self.failure = Some(failure);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what [`write`] wrote.
pub(crate) fn read<T: DeserializeOwned>(
    directory: &Directory,
    name: &str,
    format: SealedFormat,
) -> Result<Found<T>, Error> {
    read_as(directory, name, format, |_, body| {
        serde_json::from_slice(body).ok()
    })
}

/// Reads what [`write`] wrote; `parse` gets the version that it was written in, and what follows the first line.
pub(crate) fn read_as<T>(
    directory: &Directory,
    name: &str,
    format: SealedFormat,
    parse: impl FnOnce(u32, &[u8]) -> Option<T>,
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
    let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or_default() + 1);
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
    Ok(parse(version, body).map_or(Found::Damaged(Damage::Content), Found::Whole))
}

/// The checksum that a file was sealed with; `None` if it has none. Whether it matches is for [`read`] to say.
pub(crate) fn checksum(directory: &Directory, name: &str) -> Result<Option<String>, Error> {
    let Some((file, _)) = directory.open_file(name)? else {
        return Ok(None);
    };
    let mut line = Vec::new();
    file.take(LINE_MAX)
        .read_to_end(&mut line)
        .map_err(|error| Failure::from_io("read", &directory.path().join(name), error))?;
    let line = line.split(|&byte| byte == b'\n').next();
    let sum = line.and_then(|line| std::str::from_utf8(line).ok()?.rsplit_once(' '));
    Ok(sum.map(|(_, sum)| sum.to_owned()))
}

/// Puts a damaged file aside, so that the next run does not meet it again; returns where it is now. Not durable: after
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

/// The first line of the file.
fn line(what: &str, sum: Sha256) -> String {
    format!("{what} {}\n", digest(sum))
}

fn digest(sum: Sha256) -> String {
    data_encoding::HEXLOWER.encode(&sum.finalize())
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
    if sum != digest(Sum::of(what).hasher.chain_update(body)) {
        return None;
    }
    Some((version.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seal(version: u32, body: &[u8]) -> Vec<u8> {
        let what = format!("hyper-sync index {version}");
        let mut bytes = line(&what, Sum::of(&what).hasher.chain_update(body)).into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn opens_what_it_sealed() {
        assert_eq!(open(&seal(7, b"{}\n"), "index"), Some((7, &b"{}\n"[..])));
        assert_eq!(open(&seal(7, b""), "journal"), None);
    }

    #[test]
    fn writes_what_it_sealed_in_as_many_bytes_as_it_said() {
        let format = SealedFormat {
            kind: "index",
            version: 7,
        };
        for length in [0, 1, BUFFER - 60, BUFFER, 3 * BUFFER] {
            let value = "x".repeat(length);
            let sealed = Sealed::new(format, &value).unwrap();
            let mut bytes = Vec::new();
            sealed.write(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, sealed.size());
            let body = format!("\"{value}\"").into_bytes();
            assert_eq!(open(&bytes, "index"), Some((7, body.as_slice())));
        }
    }

    #[test]
    fn a_newer_format_is_not_damage() {
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
