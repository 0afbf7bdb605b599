//! Objects of a repository that others write, such as the clone in a target: read, and never changed.
//!
//! Loose objects, packs and alternates are read. An object counts only if its bytes hash to its id. What cannot be read is
//! absent, so a damaged repository is one without some objects.
//!
//! Limits: alternates are followed as deep as git does; directories that are symlinks, or that [`TrustedOwners`] do not trust,
//! are left out. Packs are mapped into memory: if their owner cuts one while it is read, the process dies, so their
//! directory must be trusted.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;

use crate::fs::{Directory, FileKind, TrustedOwners, content};
use crate::git::Oid;
use crate::git::id::ObjectKind;
use crate::text;

use super::pack::{Pack, Reading};
use super::store_directory::handle;

/// Bytes of the largest object, header included: a tree of a million entries, far above any commit.
const OBJECT_MAX: u64 = 64 << 20;
/// How deep alternates are followed, as in git.
const DEPTH_MAX: usize = 5;
/// Directories of objects in all, alternates included.
const DIRECTORIES_MAX: usize = 16;
/// Packs of one directory; `git gc` leaves fewer than fifty.
const PACKS_MAX: usize = 1000;
/// Bytes of the list of alternates.
const ALTERNATES_MAX: u64 = 64 << 10;

/// The object directories of a repository.
#[derive(Debug)]
pub(crate) struct ForeignObjects {
    directories: Vec<ObjectDirectory>,
}

#[derive(Debug)]
struct ObjectDirectory {
    directory: Directory,
    packs: Vec<Pack>,
    /// The packs are reached through it.
    _pack_directory: Option<Directory>,
}

impl ForeignObjects {
    /// Opens `objects` and its alternates.
    pub(crate) fn open(objects: Directory, owners: TrustedOwners) -> Self {
        let mut directories = Vec::new();
        let mut pending = vec![(objects, 0)];
        while let Some((objects, depth)) = pending.pop() {
            if directories.len() == DIRECTORIES_MAX || !is_trusted(&objects, owners) {
                continue;
            }
            if depth < DEPTH_MAX {
                let paths = alternates(&objects).into_iter();
                let found = paths.filter_map(|path| {
                    Directory::open_following(&path, objects.faults().clone()).ok()
                });
                pending.extend(found.map(|found| (found, depth + 1)));
            }
            directories.push(ObjectDirectory::open(objects, owners));
        }
        Self { directories }
    }

    /// The content of an object of this kind, which hashes to its id.
    pub(crate) fn read(&self, kind: ObjectKind, id: Oid) -> Option<Vec<u8>> {
        let found = { self.directories.iter() }
            .find_map(|directory| directory.loose(id).or_else(|| directory.packed(id)));
        let (actual, content) = found?;
        (actual == kind).then_some(content)
    }
}

impl ObjectDirectory {
    fn open(directory: Directory, owners: TrustedOwners) -> Self {
        let pack_directory = directory.child("pack").ok().flatten();
        let pack_directory = pack_directory.filter(|packs| is_trusted(packs, owners));
        let packs = pack_directory.as_ref().map(packs).unwrap_or_default();
        Self {
            directory,
            packs,
            _pack_directory: pack_directory,
        }
    }

    fn loose(&self, id: Oid) -> Option<(ObjectKind, Vec<u8>)> {
        let name = id.to_string();
        let (first, rest) = name.split_at(2);
        let (file, _) = self.directory.child(first).ok()??.open_file(rest).ok()??;
        let (kind, content) = inflate(file)?;
        (Oid::of(kind, &content) == Ok(id)).then_some((kind, content))
    }

    fn packed(&self, id: Oid) -> Option<(ObjectKind, Vec<u8>)> {
        self.packs.iter().find_map(|pack| match pack.read(id) {
            Reading::Found(object) => Some((object.kind, object.content)),
            Reading::Absent | Reading::Damaged(_) => None,
        })
    }
}

fn is_trusted(directory: &Directory, owners: TrustedOwners) -> bool {
    { directory.own_stat() }.is_ok_and(|stat| owners.trust(&stat))
}

/// The packs whose pairs of files are regular ones: opening a FIFO would wait.
fn packs(directory: &Directory) -> Vec<Pack> {
    let names = directory.list().unwrap_or_default();
    let is_file = |name: &str| {
        let stat = directory.stat(name).ok().flatten();
        stat.is_some_and(|stat| stat.kind == FileKind::File)
    };
    let stems = names
        .iter()
        .filter_map(|name| name.to_str()?.strip_suffix(".idx"));
    let whole =
        stems.filter(|stem| is_file(&format!("{stem}.idx")) && is_file(&format!("{stem}.pack")));
    let paths = whole.map(|stem| handle(directory.fd()).join(format!("{stem}.pack")));
    paths
        .take(PACKS_MAX)
        .filter_map(|path| Pack::open(&path, OBJECT_MAX).ok())
        .collect()
}

/// The other directories that `info/alternates` names, one a line, absolute or relative to this one
/// (gitrepository-layout(5)).
fn alternates(objects: &Directory) -> Vec<PathBuf> {
    let list = || {
        let (file, _) = objects
            .child("info")
            .ok()??
            .open_file("alternates")
            .ok()??;
        content::read(&file, ALTERNATES_MAX).ok()
    };
    let list = list().unwrap_or_default();
    let lines = text::decode(&list).into_owned();
    { lines.lines() }
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .take(DIRECTORIES_MAX)
        .map(|line| objects.path().join(Path::new(line)))
        .collect()
}

/// A loose object: `KIND SIZE`, a zero byte and the content, deflated.
fn inflate(file: impl Read) -> Option<(ObjectKind, Vec<u8>)> {
    let mut raw = Vec::new();
    let bounded = ZlibDecoder::new(file.take(OBJECT_MAX)).take(OBJECT_MAX + 1);
    { bounded }.read_to_end(&mut raw).ok()?;
    if raw.len() as u64 > OBJECT_MAX {
        return None;
    }
    let end = raw.iter().position(|byte| *byte == 0)?;
    let (kind, size) = std::str::from_utf8(&raw[..end]).ok()?.split_once(' ')?;
    let kinds = [
        ObjectKind::Blob,
        ObjectKind::Tree,
        ObjectKind::Commit,
        ObjectKind::Tag,
    ];
    let kind = kinds.into_iter().find(|known| known.as_str() == kind)?;
    let size: usize = size.parse().ok()?;
    let content = raw.split_off(end + 1);
    (size == content.len()).then_some((kind, content))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn deflated(raw: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(raw).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_loose_object_has_its_kind_and_exactly_its_size() {
        let whole = deflated(b"blob 3\0abc");
        assert_eq!(
            inflate(&whole[..]),
            Some((ObjectKind::Blob, b"abc".to_vec()))
        );
        for raw in [
            &b"blob 4\0abc"[..],
            b"blob 2\0abc",
            b"blub 3\0abc",
            b"blob3\0abc",
            b"blob 3abc",
            b"",
        ] {
            assert_eq!(inflate(&deflated(raw)[..]), None, "{raw:?}");
        }
        assert_eq!(inflate(&whole[..whole.len() - 6]), None);
        assert_eq!(inflate(&b"blob 3\0abc"[..]), None);
    }

    #[test]
    fn an_object_that_grows_without_end_is_left() {
        let mut raw = b"blob 99999999\0".to_vec();
        raw.resize(raw.len() + 65 * (1 << 20), 0);
        assert_eq!(inflate(&deflated(&raw)[..]), None);
    }
}
