//! The index as it is written: the sync point in JSON on a line, then the files and the directories in bytes.
//!
//! It is read and written in each run, before anything else can begin, and JSON took most of that time: for 53,000 files
//! four times what comparing them with the target takes. As in git's index of version 4, a path has only what differs from
//! the one before.
//!
//! ```text
//! files       = number file*; in version 3 file* to the end, and nothing else
//! directories = directory* to the end
//! file        = path mode id seen
//! directory   = path id
//! path        = shared rest-length rest
//! shared      = number: bytes of the path before that this one begins with
//! mode        = 0 regular | 1 executable | 2 symlink
//! id          = 20 bytes
//! seen        = 0 | 1 size mtime ctime ino: what is known of the metadata
//! mtime       = ctime = 8 bytes, little-endian: nanoseconds since 1970
//! number      = size = ino = rest-length = LEB128
//! ```

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use litemap::LiteMap;

use super::{FILES_A_BLOCK, FileBlock, Index, Owned, StatData, SyncPoint};
use crate::git::{BlobId, File, FileMode, Oid, RelPath, TreeId};
use crate::lookup::AscendingLookup;
use crate::state::sealed::Body;

/// The bytes of a file whose metadata is not known and whose path is one byte longer than the one before.
const FILE_BYTES_MIN: usize = 25;

impl Body for Index {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &self.point)?;
        out.write_all(b"\n")?;
        let mut bytes = Vec::new();
        write_number(&mut bytes, self.files.len() as u64);
        let mut before = "";
        let mut seen = AscendingLookup::new(&self.seen);
        for (path, file) in &*self.files {
            write_path(&mut bytes, before, path.as_str());
            write_file(&mut bytes, *file, seen.get(path));
            out.write_all(&bytes)?;
            bytes.clear();
            before = path.as_str();
        }
        let mut before = "";
        for (path, id) in &*self.directories {
            write_path(&mut bytes, before, path.as_str());
            bytes.extend_from_slice(id.0.as_bytes());
            out.write_all(&bytes)?;
            bytes.clear();
            before = path.as_str();
        }
        out.write_all(&bytes)
    }
}

/// Reads what was written, and sends the files as they are read; `None` where it is nothing that was.
pub(super) fn read(version: u32, body: &[u8], sent: Option<&Sender<FileBlock>>) -> Option<Index> {
    let end = body.iter().position(|&byte| byte == b'\n')?;
    let point: SyncPoint = serde_json::from_slice(&body[..end]).ok()?;
    let mut rest = Bytes(&body[end + 1..]);
    let count = match version {
        3 => u64::MAX,
        _ => rest.number()?,
    };
    // None takes less.
    let most = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(rest.0.len() / FILE_BYTES_MIN);
    let (mut files, mut seen) = (Vec::with_capacity(most), Vec::with_capacity(most));
    let mut directories = Vec::new();
    let (mut paths, mut block) = (Paths::default(), FileBlock::new());
    while (files.len() as u64) < count && !(version == 3 && rest.0.is_empty()) {
        let path = paths.read(&mut rest)?;
        let owned = read_file(&mut rest)?;
        seen.extend(owned.seen.map(|stat| (path.clone(), stat)));
        if let Some(sent) = sent {
            block.push((path.clone(), owned));
            if block.len() == FILES_A_BLOCK {
                // Who does not receive it any more has no use for it.
                let _ = sent.send(std::mem::take(&mut block));
            }
        }
        files.push((path, owned.file()));
    }
    if let Some(sent) = sent {
        let _ = sent.send(block);
    }
    let mut paths = Paths::default();
    while !rest.0.is_empty() {
        let path = paths.read(&mut rest)?;
        directories.push((path, TreeId(Oid::from_bytes(rest.array()?))));
    }
    Some(Index {
        point,
        files: Arc::new(files.into_iter().collect()),
        seen: LiteMap::from_sorted_store_unchecked(seen),
        directories: Arc::new(directories.into_iter().collect()),
    })
}

/// The paths of a list, each of which is after the one before.
#[derive(Default)]
struct Paths {
    bytes: Vec<u8>,
    last: Option<RelPath>,
}

impl Paths {
    fn read(&mut self, rest: &mut Bytes<'_>) -> Option<RelPath> {
        let shared = usize::try_from(rest.number()?).ok()?;
        let length = usize::try_from(rest.number()?).ok()?;
        if shared > self.bytes.len() {
            return None;
        }
        self.bytes.truncate(shared);
        self.bytes.extend_from_slice(rest.take(length)?);
        let path = RelPath::beginning_with(shared, &self.bytes).ok()?;
        let is_after = self.last.as_ref().is_none_or(|last| *last < path);
        self.last = Some(path.clone());
        is_after.then_some(path)
    }
}

fn write_path(out: &mut Vec<u8>, before: &str, path: &str) {
    let same = before.bytes().zip(path.bytes());
    let shared = same.take_while(|(before, here)| before == here).count();
    let rest = &path.as_bytes()[shared..];
    write_number(out, shared as u64);
    write_number(out, rest.len() as u64);
    out.extend_from_slice(rest);
}

fn write_file(out: &mut Vec<u8>, file: File, seen: Option<&StatData>) {
    out.push(match file.mode {
        FileMode::Regular => 0,
        FileMode::Executable => 1,
        FileMode::Symlink => 2,
    });
    out.extend_from_slice(file.id.0.as_bytes());
    let Some(seen) = seen else {
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
    use crate::git::CommitId;

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
        let entries = proptest::collection::btree_map(path.clone(), owned(), 0..20);
        let id = any::<[u8; 20]>().prop_map(Oid::from_bytes);
        let directories = proptest::collection::btree_map(path, id.clone().prop_map(TreeId), 0..5);
        (entries, directories, id, ".{0,9}").prop_map(|(entries, directories, id, reference)| {
            let point = SyncPoint {
                commit: CommitId(id),
                tree: TreeId(id),
                reference,
                repository: None,
            };
            Index {
                directories: Arc::new(directories),
                ..Index::of(point, entries)
            }
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
            prop_assert_eq!(read(4, &written(&index), None), Some(index));
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
            for version in [3, 4] {
                if let Some(index) = read(version, &bytes, None) {
                    prop_assert_eq!(read(4, &written(&index), None), Some(index));
                }
                let _ = read(version, &bytes[..at], None);
            }
        }
    }

    #[test]
    fn a_path_twice_or_out_of_order_is_no_index() {
        let id = Oid::from_bytes([7; 20]);
        let directory = |path: &str| {
            let mut bytes = Vec::new();
            write_path(&mut bytes, "", path);
            bytes.extend_from_slice(id.as_bytes());
            bytes
        };
        let file = |path: &str| {
            let mut bytes = Vec::new();
            let (mode, id) = (FileMode::Regular, BlobId(id));
            write_path(&mut bytes, "", path);
            write_file(&mut bytes, File { mode, id }, None);
            bytes
        };
        let zeros = "0".repeat(40);
        let point = format!(r#"{{"commit":"{zeros}","tree":"{zeros}","reference":"main"}}"#);
        let of = |paths: [&str; 2]| {
            let files = [vec![2], paths.map(file).concat()].concat();
            let directories = [vec![0], paths.map(directory).concat()].concat();
            let [files, directories] = [files, directories]
                .map(|lists| read(4, &[point.as_bytes(), b"\n", &lists].concat(), None));
            files.map(|index| (index.files.len(), directories.unwrap().directories.len()))
        };
        assert_eq!(of(["a", "b"]), Some((2, 2)));
        assert_eq!(of(["a", "a"]), None);
        assert_eq!(of(["b", "a"]), None);
        assert_eq!(of(["a", "../b"]), None);
    }
}
