//! Packs: those of a remote, and stored ones in which bytes have changed.
//!
//! The first byte of the input says what the rest is: 0 the bytes of a pack, 1 changes of a stored pack and its index;
//! else a list of entries, which are packed as they say. An entry is a byte for its kind, a byte of
//! flags, two for the length of its content, and the content.
#![no_main]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use hyper_sync::git::Oid;
use hyper_sync::git::id::ObjectKind;
use hyper_sync::objects::{IngestBounds, Store};
use hyper_sync::source::Interrupt;
use hyper_sync_fuzz::{Honest, directory, forgive_gitoxide, pack};
use libfuzzer_sys::fuzz_target;

const BLOB_LIMIT: u64 = 1 << 20;
const BOUNDS: IngestBounds = IngestBounds {
    bytes: 1 << 20,
    deadline: None,
};

/// The next byte is added to the size that an entry claims.
const LIES: u8 = 1;
/// The content is put into the pack as it is, not compressed.
const RAW: u8 = 2;
/// A delta begins with the size of its base, which is put before the content.
const SIZED: u8 = 4;

fuzz_target!(
    init: forgive_gitoxide(),
    |data: &[u8]| match data.split_first() {
        Some((0, raw)) => drop(ingest(&pack::with_checksum(raw.to_vec()))),
        Some((1, changes)) => damaged(changes),
        Some((_, entries)) => described(entries),
        None => {}
    }
);

/// Ingests a pack into a new store; returns the store if the pack was accepted.
fn ingest(mut pack: &[u8]) -> Option<(tempfile::TempDir, Store)> {
    let state = directory();
    let store = Store::open(state.path(), BLOB_LIMIT).expect("a store in memory");
    let bases = |_| Some((ObjectKind::Blob, b"{ a = 1; }\n".to_vec()));
    let interrupt = Interrupt::default();
    let taken = store.ingest(&mut pack, &bases, BOUNDS, &interrupt);
    match taken {
        Ok(_) => {
            store.make_durable().expect("a disk in memory");
            Some((state, store))
        }
        Err(error) => {
            let _ = error.to_string();
            None
        }
    }
}

fn described(mut rest: &[u8]) {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut whole: Vec<(ObjectKind, Oid, &[u8])> = Vec::new();
    while let Some((&[kind, flags, low, high], after)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (content, after) = after.split_at(length);
        rest = after;
        let kind = kind & 7;
        let (lie, mut content) = match content.split_first() {
            Some((lie, content)) if flags & LIES != 0 => (u64::from(*lie), content),
            _ => (0, content),
        };
        let mut base = Vec::new();
        let mut sizes = Vec::new();
        if kind == pack::REF_DELTA || kind == pack::OFS_DELTA {
            let (number, after) = content.split_first().unwrap_or((&0, &[]));
            content = after;
            if kind == pack::REF_DELTA {
                // The first base is in the target only.
                let ids = [pack::id(ObjectKind::Blob, b"{ a = 1; }\n")];
                let all: Vec<Oid> = ids
                    .into_iter()
                    .chain(whole.iter().map(|one| one.1))
                    .collect();
                base.extend(all[usize::from(*number) % all.len()].as_bytes());
                if flags & SIZED != 0 {
                    let at = usize::from(*number) % all.len();
                    let size = at.checked_sub(1).map_or(11, |at| whole[at].2.len());
                    sizes = varint(size as u64);
                }
            } else {
                let back = usize::from(*number) % (entries.len() + 1);
                let distance: usize = entries.iter().rev().take(back).map(Vec::len).sum();
                base = offset(distance as u64);
                if flags & SIZED != 0 {
                    sizes = varint(whole.last().map_or(0, |one| one.2.len() as u64));
                }
            }
        }
        let body = [sizes.as_slice(), content].concat();
        let claim = pack::claim(kind, (body.len() as u64).wrapping_add(lie));
        let is_raw = flags & RAW != 0;
        let packed = if is_raw {
            body.clone()
        } else {
            pack::zlib(&body)
        };
        entries.push([claim, base, packed].concat());
        let named = match kind {
            1 => Some(ObjectKind::Commit),
            2 => Some(ObjectKind::Tree),
            3 => Some(ObjectKind::Blob),
            4 => Some(ObjectKind::Tag),
            _ => None,
        };
        if let Some(kind) = named
            && lie == 0
            && !is_raw
        {
            whole.push((kind, pack::id(kind, content), content));
        }
    }
    let count = u32::try_from(entries.len()).expect("a short input");
    let Some((_state, store)) = ingest(&pack::of(count, &entries)) else {
        return;
    };
    for (kind, id, content) in whole {
        assert_eq!(store.read(kind, id).as_deref(), Some(content), "{id}");
    }
}

/// The size of a delta's base or result.
fn varint(mut size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (size & 0x7f) as u8;
        size >>= 7;
        if size == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// How far before an entry its base begins.
fn offset(mut distance: u64) -> Vec<u8> {
    let mut bytes = vec![(distance & 0x7f) as u8];
    distance >>= 7;
    while distance > 0 {
        distance -= 1;
        bytes.push((distance & 0x7f) as u8 | 0x80);
        distance >>= 7;
    }
    bytes.reverse();
    bytes
}

/// Changes bytes of a stored pack, four bytes of the input each: which file, where (two), and what is added. What can
/// still be read under an id is what was stored under it.
fn damaged(changes: &[u8]) {
    let Honest { old, .. } = Honest::make();
    let (state, store) = ingest(&Honest::pack(&old)).expect("an honest pack");
    drop(store);
    let mut files: HashMap<PathBuf, Vec<u8>> = HashMap::new();
    let stored = files_of(&state.path().join("objects.git/objects/pack"));
    for change in changes.as_chunks::<4>().0 {
        let path = &stored[usize::from(change[0]) % stored.len()];
        let bytes = files
            .entry(path.clone())
            .or_insert_with(|| fs::read(path).expect("a file of the store"));
        let at = usize::from(u16::from_le_bytes([change[1], change[2]])) % bytes.len();
        bytes[at] = bytes[at].wrapping_add(change[3]);
    }
    for (path, bytes) in &mut files {
        // With a right checksum, so that the code behind its check is reached.
        if path.extension().is_some_and(|extension| extension == "idx") {
            bytes.truncate(bytes.len() - 20);
            *bytes = pack::with_checksum(std::mem::take(bytes));
        }
        fs::remove_file(path).expect("a file of the store");
        fs::write(path, bytes).expect("a disk in memory");
    }
    let store = Store::open(state.path(), BLOB_LIMIT).expect("a store is repaired or made anew");
    for (kind, content) in &old {
        let id = pack::id(*kind, content);
        let read = store.read(*kind, id);
        assert!(
            read.is_none_or(|read| read == *content),
            "other bytes under {id}"
        );
    }
}

fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory of the store");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a name").path()).collect();
    paths.sort();
    paths
}
