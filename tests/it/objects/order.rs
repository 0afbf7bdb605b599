//! Packs whose deltas come before their bases, as servers with many packs send them.

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};
use sha1::Sha1;

use super::*;

const BASE: &[u8] = b"what both of them begin with, and more than a few bytes of it\n";
const ADDED: &[u8] = b"and an end\n";

/// The delta that copies all of [`BASE`] and adds [`ADDED`] (gitformat-pack(5)).
fn delta() -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let target = length(BASE) + length(ADDED);
    assert!(target < 0x80, "one byte each");
    let mut delta = vec![
        length(BASE),
        target,
        0b1001_0000,
        length(BASE),
        length(ADDED),
    ];
    delta.extend_from_slice(ADDED);
    delta
}

/// An entry of a pack: its kind (3 a blob, 7 a delta against an id), its size, its compressed bytes.
fn entry(kind: u8, base: Option<Oid>, content: &[u8]) -> Vec<u8> {
    let size = u8::try_from(content.len()).unwrap();
    let mut entry = vec![0x80 | kind << 4 | size & 0x0f, size >> 4];
    if let Some(base) = base {
        let id = data_encoding::HEXLOWER.decode(base.to_string().as_bytes());
        entry.extend_from_slice(&id.unwrap());
    }
    let mut zlib = ZlibEncoder::new(&mut entry, Compression::fast());
    zlib.write_all(content).unwrap();
    zlib.finish().unwrap();
    entry
}

fn pack(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02\0\0\0".to_vec();
    pack.push(u8::try_from(entries.len()).unwrap());
    pack.extend(entries.concat());
    let checksum = Sha1::digest(&pack);
    pack.extend_from_slice(&checksum);
    pack
}

#[test]
fn a_delta_may_come_before_its_base() {
    let base = Oid::of(ObjectKind::Blob, BASE).unwrap();
    let whole = [BASE, ADDED].concat();
    let made = Oid::of(ObjectKind::Blob, &whole).unwrap();
    let entries = [entry(7, Some(base), &delta()), entry(3, None, BASE)];
    let world = Origin::new();
    let store = world.store();
    // The second time the store has the base, too.
    for _ in 0..2 {
        ingest(&store, &pack(&entries)).unwrap();
        assert_eq!(store.read(ObjectKind::Blob, made), Some(whole.clone()));
        assert_eq!(store.read(ObjectKind::Blob, base), Some(BASE.to_vec()));
    }
    world.fsck();

    let alone = pack(&entries[..1]);
    ingest(&store, &alone).unwrap();
    let elsewhere = Origin::new();
    let missing = ingest(&elsewhere.store(), &alone).unwrap_err();
    assert!(
        matches!(missing, IngestError::BaseMissing { id } if id == base),
        "{missing:?}"
    );
}

#[test]
fn a_delta_that_makes_its_own_base_is_refused() {
    // A copy of all that it builds on: one object, which the index may name by either entry.
    let base = Oid::of(ObjectKind::Blob, BASE).unwrap();
    let length = u8::try_from(BASE.len()).unwrap();
    let copy = [length, length, 0b1001_0000, length];
    let world = Origin::new();
    let store = world.store();
    for order in [[0, 1], [1, 0]] {
        let entries = [entry(3, None, BASE), entry(7, Some(base), &copy)];
        let entries = order.map(|at: usize| entries[at].clone());
        match ingest(&store, &pack(&entries)) {
            // The index names the whole one.
            Ok(_) => assert_eq!(store.read(ObjectKind::Blob, base), Some(BASE.to_vec())),
            Err(error) => assert!(
                matches!(error, IngestError::Corrupt { .. }),
                "{order:?}: {error:?}"
            ),
        }
    }
}

#[test]
fn bytes_after_a_pack_are_an_error_or_stay_in_the_stream() {
    let world = Origin::new();
    let store = world.store();
    let mut packs = vec![pack(&[entry(3, None, BASE)]), pack(&[])];
    for pack in &mut packs {
        let mut stream = pack.as_slice();
        store
            .ingest(&mut stream, &|_| None, BOUNDS, &AtomicBool::new(false))
            .unwrap();
        assert_eq!(stream, b"", "read to its end");
        pack.push(0);
        let mut stream = pack.as_slice();
        let taken = store.ingest(&mut stream, &|_| None, BOUNDS, &AtomicBool::new(false));
        assert!(taken.is_err() || stream == [0], "{taken:?}");
    }
}

#[test]
fn the_checksum_of_an_empty_pack_is_checked() {
    let world = Origin::new();
    let store = world.store();
    let mut empty = pack(&[]);
    assert_eq!(ingest(&store, &empty).unwrap().objects, 0);
    for cut in 0..empty.len() {
        let error = ingest(&store, &empty[..cut]).unwrap_err();
        assert!(
            matches!(error, IngestError::Corrupt { .. }),
            "{cut}: {error:?}"
        );
    }
    *empty.last_mut().unwrap() ^= 1;
    let error = ingest(&store, &empty).unwrap_err();
    assert!(matches!(error, IngestError::Corrupt { .. }), "{error:?}");
}
