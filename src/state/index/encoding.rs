//! The index as it is written: the sync point in JSON on a line, then the files in bytes.
//!
//! It is read and written in each run, before anything else can begin, and JSON took most of that time: for 53,000 files
//! four times what comparing them with the target takes. As in git's index of version 4, a path has only what differs from
//! the one before.
//!
//! ```text
//! file    = shared rest-length rest mode id seen
//! shared  = number: bytes of the path before that this one begins with
//! mode    = 0 regular | 1 executable | 2 symlink
//! id      = 20 bytes
//! seen    = 0 | 1 size mtime ctime ino: what is known of the metadata
//! mtime   = ctime = 8 bytes, little-endian: nanoseconds since 1970
//! number  = size = ino = rest-length = LEB128
//! ```

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Index, Owned, StatData, SyncPoint};
use crate::git::{BlobId, FileMode, Oid, RelPath};
use crate::state::sealed::Body;

impl Body for Index {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &self.point)?;
        out.write_all(b"\n")?;
        let mut before = "";
        let mut file = Vec::new();
        for (path, owned) in &self.entries {
            file.clear();
            write_file(&mut file, before, path.as_str(), owned);
            out.write_all(&file)?;
            before = path.as_str();
        }
        Ok(())
    }
}

/// Reads what was written; `None` where it is nothing that was.
pub(super) fn read(body: &[u8]) -> Option<Index> {
    let end = body.iter().position(|&byte| byte == b'\n')?;
    let point: SyncPoint = serde_json::from_slice(&body[..end]).ok()?;
    let mut rest = Bytes(&body[end + 1..]);
    let mut files = Vec::new();
    let mut path = Vec::new();
    while !rest.0.is_empty() {
        let shared = usize::try_from(rest.number()?).ok()?;
        let length = usize::try_from(rest.number()?).ok()?;
        if shared > path.len() {
            return None;
        }
        path.truncate(shared);
        path.extend_from_slice(rest.take(length)?);
        let path = RelPath::new(&path).ok()?;
        let is_ascending = files.last().is_none_or(|(before, _)| *before < path);
        if !is_ascending {
            return None;
        }
        files.push((path, read_file(&mut rest)?));
    }
    let entries: BTreeMap<RelPath, Owned> = files.into_iter().collect();
    Some(Index { point, entries })
}

fn write_file(out: &mut Vec<u8>, before: &str, path: &str, owned: &Owned) {
    let same = before.bytes().zip(path.bytes());
    let shared = same.take_while(|(before, here)| before == here).count();
    let rest = &path.as_bytes()[shared..];
    write_number(out, shared as u64);
    write_number(out, rest.len() as u64);
    out.extend_from_slice(rest);
    out.push(match owned.mode {
        FileMode::Regular => 0,
        FileMode::Executable => 1,
        FileMode::Symlink => 2,
    });
    out.extend_from_slice(owned.id.0.as_bytes());
    let Some(seen) = owned.seen else {
        out.push(0);
        return;
    };
    out.push(1);
    write_number(out, seen.size);
    for time in [seen.mtime, seen.ctime] {
        out.extend_from_slice(&time.to_le_bytes());
    }
    write_number(out, seen.ino);
}

fn read_file(bytes: &mut Bytes<'_>) -> Option<Owned> {
    let mode = match bytes.byte()? {
        0 => FileMode::Regular,
        1 => FileMode::Executable,
        2 => FileMode::Symlink,
        _ => return None,
    };
    let id = BlobId(Oid::from_bytes(bytes.array()?));
    let seen = match bytes.byte()? {
        0 => None,
        1 => Some(StatData {
            size: bytes.number()?,
            mtime: i64::from_le_bytes(bytes.array()?),
            ctime: i64::from_le_bytes(bytes.array()?),
            ino: bytes.number()?,
        }),
        _ => return None,
    };
    Some(Owned { mode, id, seen })
}

/// LEB128: seven bits a byte, the lowest first.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            number |= bits.checked_shl(shift).filter(|set| set >> shift == bits)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::git::{CommitId, TreeId};

    fn owned() -> impl Strategy<Value = Owned> {
        let mode = prop_oneof![
            Just(FileMode::Regular),
            Just(FileMode::Executable),
            Just(FileMode::Symlink)
        ];
        let seen = (any::<u64>(), any::<i64>(), any::<i64>(), any::<u64>());
        let seen = seen.prop_map(|(size, mtime, ctime, ino)| StatData {
            size,
            mtime,
            ctime,
            ino,
        });
        (mode, any::<[u8; 20]>(), proptest::option::of(seen)).prop_map(|(mode, id, seen)| Owned {
            mode,
            id: BlobId(Oid::from_bytes(id)),
            seen,
        })
    }

    fn index() -> impl Strategy<Value = Index> {
        let path = "([a-c]{1,2}/){0,2}[a-cä]{1,120}";
        let path = path.prop_map(|path| RelPath::new(path.as_bytes()).unwrap());
        let entries = proptest::collection::btree_map(path, owned(), 0..20);
        (entries, any::<[u8; 20]>(), ".{0,9}").prop_map(|(entries, id, reference)| Index {
            point: SyncPoint {
                commit: CommitId(Oid::from_bytes(id)),
                tree: TreeId(Oid::from_bytes(id)),
                reference,
                repository: None,
            },
            entries,
        })
    }

    fn written(index: &Index) -> Vec<u8> {
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn an_index_comes_back_as_it_was(index in index()) {
            prop_assert_eq!(read(&written(&index)), Some(index));
        }

        #[test]
        fn a_number_comes_back(number in any::<u64>()) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut rest = Bytes(&bytes);
            prop_assert_eq!(rest.number(), Some(number));
            prop_assert!(rest.0.is_empty());
        }

        #[test]
        fn any_bytes_are_an_index_or_none(index in index(), cut in any::<proptest::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = written(&index);
            let at = cut.index(bytes.len());
            bytes[at] = byte;
            if let Some(index) = read(&bytes) {
                prop_assert_eq!(read(&written(&index)), Some(index));
            }
            let _ = read(&bytes[..at]);
        }
    }

    #[test]
    fn a_path_twice_or_out_of_order_is_no_index() {
        let file = |path: &str| {
            let mut bytes = Vec::new();
            let id = BlobId(Oid::from_bytes([7; 20]));
            let mode = FileMode::Regular;
            write_file(
                &mut bytes,
                "",
                path,
                &Owned {
                    mode,
                    id,
                    seen: None,
                },
            );
            bytes
        };
        let zeros = "0".repeat(40);
        let point = format!(r#"{{"commit":"{zeros}","tree":"{zeros}","reference":"main"}}"#);
        let of = |paths: [&str; 2]| {
            let files = paths.map(file).concat();
            read(&[point.as_bytes(), b"\n", &files].concat())
        };
        assert_eq!(of(["a", "b"]).unwrap().entries.len(), 2);
        assert_eq!(of(["a", "a"]), None);
        assert_eq!(of(["b", "a"]), None);
        assert_eq!(of(["a", "../b"]), None);
    }
}
