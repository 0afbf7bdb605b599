//! Packs as git sends them (gitformat-pack(5)).

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};
use hyper_sync::git::Oid;
use hyper_sync::git::id::ObjectKind;
use sha1::{Digest as _, Sha1};

/// Kinds of entries.
pub const OFS_DELTA: u8 = 6;
/// As above.
pub const REF_DELTA: u8 = 7;

/// The number of a kind of object.
pub fn number(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Commit => 1,
        ObjectKind::Tree => 2,
        ObjectKind::Blob => 3,
        ObjectKind::Tag => 4,
    }
}

/// The beginning of an entry: its kind and the size it claims.
pub fn claim(kind: u8, size: u64) -> Vec<u8> {
    let mut byte = kind << 4 | (size & 0xf) as u8;
    let mut rest = size >> 4;
    let mut bytes = Vec::new();
    while rest > 0 {
        bytes.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    bytes.push(byte);
    bytes
}

/// Compressed bytes.
pub fn zlib(content: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(content).expect("a vector takes everything");
    zlib.finish().expect("a vector takes everything")
}

/// An object that is not a delta.
pub fn whole(kind: ObjectKind, content: &[u8]) -> Vec<u8> {
    [claim(number(kind), content.len() as u64), zlib(content)].concat()
}

/// A pack of these entries, of which it says that there are `count`.
pub fn of(count: u32, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend(count.to_be_bytes());
    pack.extend(entries.concat());
    with_checksum(pack)
}

/// Bytes with the trailer that makes a pack of them.
pub fn with_checksum(mut pack: Vec<u8>) -> Vec<u8> {
    let checksum = Sha1::digest(&pack);
    pack.extend_from_slice(&checksum);
    pack
}

/// The id of an object that is not a collision attack.
pub fn id(kind: ObjectKind, content: &[u8]) -> Oid {
    Oid::of(kind, content).expect("no collision attack")
}
