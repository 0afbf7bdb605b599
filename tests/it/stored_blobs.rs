//! Whether the store has the blobs that a commit needs.

use std::fs;
use std::sync::atomic::AtomicBool;

use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::{BlobId, Oid};
use hyper_sync::objects::{IngestBounds, Store};
use hyper_sync::settings::Limits;
use hyper_sync::source::StoredBlobs;

use crate::common::git;
use crate::common::machine::Machine;
use crate::common::repo::Repo;
use crate::objects::pack_files;

fn id(content: &[u8]) -> BlobId {
    BlobId(Oid::of(ObjectKind::Blob, content).unwrap())
}

fn machine_with(contents: &[Vec<u8>]) -> Machine {
    let machine = Machine::new();
    let mut writer = machine.store.writer().unwrap();
    for content in contents {
        writer
            .add(ObjectKind::Blob, id(content).0, content)
            .unwrap();
    }
    writer.finish().unwrap();
    machine.store.make_durable().unwrap();
    machine
}

/// Takes a pack of two objects, as if it came in this run.
fn ingest_two(machine: &Machine, pack: &[u8]) {
    let bounds = IngestBounds {
        bytes: 1 << 20,
        deadline: None,
    };
    let interrupt = AtomicBool::new(false);
    let ingested = machine
        .store
        .ingest(&mut &*pack, &|_| None, bounds, &interrupt);
    assert_eq!(ingested.unwrap().objects, 2);
}

#[test]
fn blobs_that_are_missing_are_reported_in_order_and_the_others_counted() {
    let numbered = |from: u32| (from..from + 50).map(|n| n.to_be_bytes().repeat(300));
    let here: Vec<Vec<u8>> = numbered(0).collect();
    let elsewhere: Vec<Vec<u8>> = numbered(1000).collect();
    let machine = machine_with(&here);
    let pairs = here.iter().zip(&elsewhere);
    let ids: Vec<BlobId> = pairs.flat_map(|(a, b)| [id(a), id(b)]).collect();

    let stored = StoredBlobs::of(&machine.store, &ids);
    let lacking: Vec<BlobId> = elsewhere.iter().map(|content| id(content)).collect();
    assert_eq!(stored.missing(), lacking);
    assert_eq!(stored.bytes(), 50 * 1200);

    let nothing = StoredBlobs::of(&machine.store, &[]);
    assert_eq!((nothing.missing().len(), nothing.bytes()), (0, 0));
}

#[test]
fn a_blob_of_an_earlier_run_that_is_damaged_is_missing() {
    let content = b"0123456789".repeat(100);
    let machine = machine_with(std::slice::from_ref(&content));
    let pack = pack_files(machine.store.path(), "pack").remove(0);
    let mut bytes = fs::read(&pack).unwrap();
    // In the compressed content: before it are 12 bytes of the pack's header and 2 of the object's.
    bytes[20] ^= 1;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    let store = Store::open(machine.directory.path(), Limits::default().blob).unwrap();
    let stored = StoredBlobs::of(&store, &[id(&content)]);
    assert_eq!(stored.missing(), [id(&content)]);
}

#[test]
fn what_came_in_this_run_counts_if_it_is_a_blob() {
    let repo = Repo::small();
    let [blob, tree] = ["HEAD:flake.nix", "HEAD:modules"].map(|revision| repo.id(revision));
    let machine = Machine::new();
    let pack = repo.pack(&[&blob, &tree]);
    ingest_two(&machine, &pack);
    let [blob, tree] = [blob, tree].map(|id| BlobId(id.parse().unwrap()));
    let stored = StoredBlobs::of(&machine.store, &[blob, tree]);
    assert_eq!(stored.missing(), [tree]);
    let size = git::line(repo.git().args(["cat-file", "-s", "HEAD:flake.nix"]));
    assert_eq!(stored.bytes(), size.parse::<u64>().unwrap());
}

/// As dulwich sends it, and git where nobody has asked for `ofs-delta`.
#[test]
fn the_size_of_a_delta_that_names_its_base_by_id_is_known() {
    let lines = |last: &str| format!("{}{last}", "a line that many files have\n".repeat(200));
    let repo = Repo::small();
    repo.write("one", lines("one\n"))
        .write("another", lines("the other\n"))
        .commit("two that are similar");
    let ids = ["HEAD:one", "HEAD:another"].map(|revision| repo.id(revision));
    let pack = repo.pack(&[&ids[0], &ids[1]]);
    assert!(pack.len() < 1000, "neither is a delta");
    let machine = Machine::new();
    ingest_two(&machine, &pack);
    let sizes = ids.map(|id| machine.store.size(id.parse().unwrap()));
    let expected = ["one\n", "the other\n"].map(|last| Some(lines(last).len() as u64));
    assert_eq!(sizes, expected);
}
