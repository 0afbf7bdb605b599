//! Packs that git would not make (gitformat-pack(5)), most of them with a right checksum.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use flate2::{Compression, write::ZlibEncoder};
use hyper_sync::git::Oid;
use hyper_sync::git::id::ObjectKind;
use hyper_sync::objects::{IngestBounds, Store};
use sha1::{Digest as _, Sha1};

use super::outcomes::Counts;
use crate::common::git;

const BLOB_LIMIT: u64 = 1 << 20;
const BOUNDS: IngestBounds = IngestBounds {
    bytes: 16 << 20,
    deadline: None,
};
const CONTENT: &[u8] = b"an honest file\n";
const BLOB: u8 = 3;
const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(content).unwrap();
    zlib.finish().unwrap()
}

/// The start of an entry: its kind and the size it claims.
fn claim(kind: u8, mut size: u64) -> Vec<u8> {
    let low = |bits: u64| u8::try_from(size_bits(size, bits)).unwrap();
    let mut bytes = vec![kind << 4 | low(4)];
    size >>= 4;
    while size > 0 {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(u8::try_from(size & 0x7f).unwrap());
        size >>= 7;
    }
    bytes
}

fn size_bits(size: u64, bits: u64) -> u64 {
    size & ((1 << bits) - 1)
}

fn entry(kind: u8, content: &[u8]) -> Vec<u8> {
    [claim(kind, content.len() as u64), zlib(content)].concat()
}

fn blob(content: &[u8]) -> Vec<u8> {
    entry(BLOB, content)
}

fn ref_delta(base: Oid, delta: &[u8]) -> Vec<u8> {
    let id = data_encoding::HEXLOWER
        .decode(base.to_string().as_bytes())
        .unwrap();
    [claim(REF_DELTA, delta.len() as u64), id, zlib(delta)].concat()
}

/// A delta against the entry that begins so many bytes before.
fn ofs_delta(offset: &[u8], delta: &[u8]) -> Vec<u8> {
    let claim = claim(OFS_DELTA, delta.len() as u64);
    [claim.as_slice(), offset, &zlib(delta)].concat()
}

fn pack_of(version: u32, count: u32, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut pack = b"PACK".to_vec();
    pack.extend(version.to_be_bytes());
    pack.extend(count.to_be_bytes());
    pack.extend(entries.concat());
    with_checksum(pack)
}

fn with_checksum(mut pack: Vec<u8>) -> Vec<u8> {
    let checksum = Sha1::digest(&pack);
    pack.extend_from_slice(&checksum);
    pack
}

fn pack(entries: &[Vec<u8>]) -> Vec<u8> {
    pack_of(2, u32::try_from(entries.len()).unwrap(), entries)
}

/// Every pack with its name, and whether it is valid after all.
fn cases() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    let mut case = |name: &str, pack: Vec<u8>| cases.push((name.to_owned(), pack));
    let id = Oid::of(ObjectKind::Blob, CONTENT).unwrap();
    let length = u8::try_from(CONTENT.len()).unwrap();
    let honest = pack(&[blob(CONTENT)]);
    headers(&mut case, &honest);
    sizes(&mut case);
    streams(&mut case);
    deltas(&mut case, id, length);
    // Objects that are not valid.
    for (name, kind, content) in [
        ("a commit of garbage", 1, b"garbage".as_slice()),
        ("an empty commit", 1, b""),
        ("a tree of garbage", 2, b"garbage"),
        ("a tree that is cut", 2, b"100644 a\x00123"),
        ("a tag of garbage", 4, b"garbage"),
    ] {
        case(name, pack(&[entry(kind, content)]));
    }
    case("one object twice", pack(&[blob(CONTENT), blob(CONTENT)]));
    let many: Vec<_> = (0..5000).map(|n: u32| blob(&n.to_be_bytes())).collect();
    case("many small objects", pack(&many));
    cases
}

fn headers(case: &mut impl FnMut(&str, Vec<u8>), honest: &[u8]) {
    case("the honest one", honest.to_vec());
    for version in [0, 1, 3, 4, 0x0200_0000, u32::MAX] {
        let name = format!("version {version}");
        case(&name, pack_of(version, 1, &[blob(CONTENT)]));
    }
    for count in [0, 2, 3, 1 << 20, 1 << 27, 1 << 31, u32::MAX] {
        let name = format!("a count of {count}");
        case(&name, pack_of(2, count, &[blob(CONTENT)]));
    }
    for signature in [b"PACk", b"KCAP", b"\0\0\0\0", b"<htm"] {
        let mut pack = honest.to_vec();
        pack[..4].copy_from_slice(signature);
        case("another signature", pack);
    }
    for cut in [
        0,
        1,
        4,
        11,
        12,
        13,
        14,
        honest.len() - 21,
        honest.len() - 20,
        honest.len() - 1,
    ] {
        case(&format!("cut at {cut}"), honest[..cut].to_vec());
    }
    let mut flipped = honest.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    case("another checksum", flipped);
    case("something behind it", [honest, b"x"].concat());
    case("itself behind it", [honest, honest].concat());
    case(
        "an empty one with an object",
        pack_of(2, 0, &[blob(CONTENT)]),
    );
}

fn sizes(case: &mut impl FnMut(&str, Vec<u8>)) {
    for claimed in [
        0,
        1,
        14,
        16,
        1 << 10,
        BLOB_LIMIT - 1,
        BLOB_LIMIT + 1,
        1 << 32,
        1 << 59,
    ] {
        let entry = [claim(BLOB, claimed), zlib(CONTENT)].concat();
        case(&format!("a size of {claimed}"), pack(&[entry]));
    }
    let endless = [vec![0xff; 40], zlib(CONTENT)].concat();
    case("a size without an end", pack(&[endless]));
    let large = vec![b'x'; usize::try_from(BLOB_LIMIT).unwrap() + 1];
    case("a file over the limit", pack(&[blob(&large)]));
    let bomb = [claim(BLOB, 15), zlib(&vec![0; 64 << 20])].concat();
    case("a bomb behind a small size", pack(&[bomb]));
}

fn streams(case: &mut impl FnMut(&str, Vec<u8>)) {
    let size = claim(BLOB, CONTENT.len() as u64);
    let stream = zlib(CONTENT);
    for kind in [0, 5] {
        case(&format!("kind {kind}"), pack(&[entry(kind, CONTENT)]));
    }
    case("no zlib", pack(&[[size.as_slice(), CONTENT].concat()]));
    case("an empty stream", pack(std::slice::from_ref(&size)));
    case(
        "half a stream",
        pack(&[[size.as_slice(), &stream[..stream.len() / 2]].concat()]),
    );
    let mut checksum = stream.clone();
    *checksum.last_mut().unwrap() ^= 1;
    case(
        "another sum in the stream",
        pack(&[[size.as_slice(), &checksum].concat()]),
    );
    let padded = [size.as_slice(), &stream, b"padding"].concat();
    case(
        "something between two objects",
        pack(&[padded, blob(b"other")]),
    );
    let dictionary = [size.as_slice(), &[0x78, 0xbb], &stream[2..]].concat();
    case("a stream with a dictionary", pack(&[dictionary]));
}

fn deltas(case: &mut impl FnMut(&str, Vec<u8>), id: Oid, length: u8) {
    let copy = [length, length, 0x90, length];
    let absent: Oid = "1".repeat(40).parse().unwrap();
    for (name, delta) in [
        ("a delta that copies all", copy.to_vec()),
        ("an empty delta", Vec::new()),
        ("a delta of sizes only", vec![length, length]),
        ("a delta with the reserved command", vec![length, length, 0]),
        (
            "a delta for a longer base",
            vec![length + 1, length, 0x90, length],
        ),
        (
            "a delta for a shorter base",
            vec![length - 1, length, 0x90, length],
        ),
        (
            "a delta that makes less than it says",
            vec![length, length + 9, 0x90, length],
        ),
        (
            "a delta that makes more than it says",
            vec![length, 1, 0x90, length],
        ),
        (
            "a copy behind the end",
            vec![length, length, 0x91, length, length],
        ),
        (
            "a copy from far away",
            vec![length, length, 0x9f, 255, 255, 255, 255, length],
        ),
        ("a copy of 64 kB", vec![length, length, 0x80]),
        ("an insertion that is cut", vec![length, 10, 10, b'x']),
        ("sizes without an end", vec![0xff; 30]),
        (
            "a size of 2^60",
            [&[length], [0x80; 8].as_slice(), &[0x10], &[0x90, length]].concat(),
        ),
    ] {
        let base = blob(CONTENT);
        let distance = u8::try_from(base.len()).unwrap();
        case(
            &format!("{name}, by offset"),
            pack(&[base.clone(), ofs_delta(&[distance], &delta)]),
        );
        case(
            &format!("{name}, by id"),
            pack(&[base, ref_delta(id, &delta)]),
        );
    }
    for (name, offset) in [
        ("itself", vec![0]),
        ("the header", vec![40]),
        ("before the pack", vec![0xff, 0x7f]),
        ("2^63", vec![0xff; 9]),
    ] {
        case(
            &format!("a delta against {name}"),
            pack(&[ofs_delta(&offset, &copy)]),
        );
    }
    case(
        "a delta into the middle of an object",
        pack(&[blob(CONTENT), ofs_delta(&[3], &copy)]),
    );
    case(
        "a delta without its base",
        pack(&[ref_delta(absent, &copy)]),
    );
    // By id a ring would need an object that contains its own hash, which nobody can make.
    case(
        "two deltas that want each other",
        pack(&[ref_delta(absent, &copy), ref_delta(id, &copy)]),
    );
    let mut chain = vec![blob(CONTENT)];
    for _ in 0..2000 {
        let before = chain.last().unwrap().len();
        let offset = vec![u8::try_from(before).unwrap()];
        chain.push(ofs_delta(&offset, &[length, length, 0x90, length]));
    }
    case("a chain of two thousand deltas", pack(&chain));
    // Each doubles the one before it, far beyond the limit of a file.
    let mut doubling = vec![blob(&[b'x'; 64])];
    let mut size = 64_u64;
    for _ in 0..30 {
        let before = doubling.last().unwrap().len();
        let offset = vec![u8::try_from(before).unwrap()];
        let delta = [varint(size), varint(size * 2), copy_of(size), copy_of(size)].concat();
        doubling.push(ofs_delta(&offset, &delta));
        size *= 2;
    }
    case("deltas that double", pack(&doubling));
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Delta commands that copy so many bytes from the start of the base.
fn copy_of(size: u64) -> Vec<u8> {
    const MOST: u64 = 0x00ff_ffff;
    let mut commands = Vec::new();
    let mut left = size;
    while left > 0 {
        let part = left.min(MOST).to_le_bytes();
        commands.extend([0x80 | 0x70, part[0], part[1], part[2]]);
        left -= left.min(MOST);
    }
    commands
}

/// Ingests each pack into a store of its own.
pub(crate) fn all() -> Counts {
    let mut counts = Counts::default();
    for (name, pack) in cases() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), BLOB_LIMIT).unwrap();
        let mut stream = pack.as_slice();
        let ingest = || store.ingest(&mut stream, &|_| None, BOUNDS, &AtomicBool::new(false));
        let result = catch_unwind(AssertUnwindSafe(ingest));
        let result = result.unwrap_or_else(|_| panic!("{name}: it panicked"));
        let packs = directory.path().join("objects.git/objects/pack");
        let left = std::fs::read_dir(&packs).unwrap().count();
        match result {
            Err(error) => {
                let text = error.to_string();
                assert!(text.len() < 1000, "{name}: {text}");
                assert_eq!(left, 0, "{name}: something stays of it");
                counts.note("refused");
            }
            Ok(ingested) => {
                assert!(ingested.bytes <= pack.len() as u64, "{name}");
                let content = store.read(
                    ObjectKind::Blob,
                    Oid::of(ObjectKind::Blob, CONTENT).unwrap(),
                );
                assert!(content.is_none_or(|content| content == CONTENT), "{name}");
                verify(&packs, &name);
                counts.note("taken");
            }
        }
    }
    counts
}

/// Git hashes every object of the store's packs, and finds it under its id.
fn verify(packs: &Path, name: &str) {
    let indexes = std::fs::read_dir(packs).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        (path.extension()? == "idx").then_some(path)
    });
    for index in indexes {
        let mut command = git::git(packs);
        let output = command.arg("verify-pack").arg(index).output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
    }
}
