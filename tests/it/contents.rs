//! What a commit needs, read out of the store once.

use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::{BlobId, Oid};
use hyper_sync::source::Contents;

use crate::common::machine::Machine;

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
    machine
}

#[test]
fn stored_blobs_are_kept_and_missing_ones_reported_in_order() {
    let numbered = |from: u32| (from..from + 50).map(|n| n.to_be_bytes().repeat(300));
    let here: Vec<Vec<u8>> = numbered(0).collect();
    let elsewhere: Vec<Vec<u8>> = numbered(1000).collect();
    let machine = machine_with(&here);
    let pairs = here.iter().zip(&elsewhere);
    let ids: Vec<BlobId> = pairs.flat_map(|(a, b)| [id(a), id(b)]).collect();

    let contents = Contents::read(&machine.store, &ids);
    let lacking: Vec<BlobId> = elsewhere.iter().map(|content| id(content)).collect();
    assert_eq!(contents.missing(), lacking);
    assert_eq!(contents.bytes(), 50 * 1200);
    for content in &here {
        assert_eq!(contents.get(id(content)), Some(&content[..]));
    }
    assert_eq!(contents.get(lacking[0]), None);

    let nothing = Contents::read(&machine.store, &[]);
    assert_eq!((nothing.missing().len(), nothing.bytes()), (0, 0));
}

#[test]
fn blobs_over_the_memory_limit_are_counted_too() {
    let large = vec![8; 9 << 20];
    let mut all: Vec<Vec<u8>> = (0..7).map(|byte| vec![byte; 5 << 20]).collect();
    all.push(large.clone());
    let machine = machine_with(&all);
    let ids: Vec<BlobId> = all.iter().map(|content| id(content)).collect();

    let contents = Contents::read(&machine.store, &ids);
    assert_eq!(contents.missing(), []);
    assert_eq!(contents.bytes(), 44 << 20);
    let kept = ids.iter().filter(|id| contents.get(**id).is_some());
    assert_eq!(kept.count(), 3, "16 MiB hold three of 5 MiB");
    assert_eq!(contents.get(id(&large)), None, "it comes alone, and goes");
}
