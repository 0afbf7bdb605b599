//! Answers to a fetch, on every route: only the commit that was asked for is accepted.
//!
//! The first byte says what is known before: 1 the last commit, 2 that there are filters, 4 that there are none, 8 that
//! only the full route is used, 16 that the listing is enough.
#![no_main]

use std::sync::{Arc, LazyLock};

use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::{BlobId, Commit, CommitId, Tree};
use hyper_sync::objects::{IngestBounds, Store};
use hyper_sync::scan;
use hyper_sync::settings::Limits;
use hyper_sync::source::git::{GitSource, Options};
use hyper_sync::source::{Interrupt, Need, Source as _};
use hyper_sync_fuzz::{Honest, Script, answer, directory, forgive_gitoxide, pack, parts};
use libfuzzer_sys::fuzz_target;

/// Everything is small here, so that what is not is refused soon.
const LIMITS: u64 = 1 << 20;

static WORLD: LazyLock<World> = LazyLock::new(World::make);

struct World {
    old: CommitId,
    new: CommitId,
    /// Its parent is in no pack.
    stray: Commit,
    old_pack: Vec<u8>,
    packs: Vec<(&'static [u8], Vec<u8>)>,
}

impl World {
    fn make() -> Self {
        let Honest { old, new } = Honest::make();
        let all = || new.iter().chain(&old[2..]);
        let is_blob = |object: &&(ObjectKind, Vec<u8>)| object.0 == ObjectKind::Blob;
        let stray = format!(
            "tree {}\nparent {}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx\n",
            pack::id(ObjectKind::Tree, b""),
            "1".repeat(40)
        );
        let id = CommitId(pack::id(ObjectKind::Commit, stray.as_bytes()));
        Self {
            old: CommitId(Honest::commit(&old)),
            new: CommitId(Honest::commit(&new)),
            stray: Commit::verify(id, stray.as_bytes()).expect("an honest commit"),
            old_pack: Honest::pack(&old),
            packs: vec![
                (b"full", Honest::pack(all())),
                (b"delta", Honest::pack(&new)),
                (
                    b"trees",
                    Honest::pack(all().filter(|object| !is_blob(object))),
                ),
                (b"blobs", Honest::pack(all().filter(is_blob))),
                (b"commit", Honest::pack(&new[..1])),
                (b"empty", pack::of(0, &[])),
            ],
        }
    }
}

struct All {
    lists_only: bool,
}

impl Need for All {
    fn missing(&self, tree: &Tree) -> Result<Vec<BlobId>, scan::Error> {
        let mut ids: Vec<BlobId> = tree.files().values().map(|file| file.id).collect();
        ids.sort();
        ids.dedup();
        Ok(if self.lists_only { Vec::new() } else { ids })
    }

    fn lists_only(&self) -> bool {
        self.lists_only
    }

    fn content(&self, _: BlobId) -> Option<Vec<u8>> {
        None
    }
}

fuzz_target!(
    init: forgive_gitoxide(),
    |data: &[u8]| {
        if let Some((&known, rest)) = data.split_first() {
            run(known, rest);
        }
    }
);

fn run(known: u8, rest: &[u8]) {
    let world = &*WORLD;
    let state = directory();
    let store = Store::open(state.path(), LIMITS).expect("a store in memory");
    let has = |bit: u8| known & bit != 0;
    let interrupt = Interrupt::default();
    if has(1) {
        let bounds = IngestBounds {
            bytes: LIMITS,
            deadline: None,
        };
        store
            .ingest(
                &mut world.old_pack.as_slice(),
                &|_| None,
                bounds,
                &interrupt,
            )
            .expect("an honest pack");
        store
            .mark_complete(world.old, false)
            .expect("a mark in memory");
    }
    let filters = match (has(2), has(4)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let answers = parts(rest, b"\n---\n").map(|part| answer(part, &world.packs));
    let limits = Limits {
        bytes: LIMITS,
        blob: LIMITS,
        files: 100,
        ..Limits::default()
    };
    let options = Options {
        force_full: has(8),
        ..Options::new(limits, Arc::clone(&interrupt))
    };
    let source = GitSource::new(Box::new(Script::new(answers.collect(), filters)), options);
    let need = All {
        lists_only: has(16),
    };
    let last = has(1).then_some(world.old);
    match source.obtain(world.new, last, &store, &need) {
        Err(error) => drop(error.to_string()),
        Ok(obtained) => {
            let commit = obtained.commit.commit();
            assert_eq!(commit.id, world.new);
            assert_eq!(commit.parents, [world.old]);
            let tree = obtained.tree.expect("walked by this route");
            assert_eq!(tree.root(), commit.tree);
            for id in need.missing(&tree).expect("from memory") {
                let content = store.read(ObjectKind::Blob, id.0);
                assert_eq!(
                    content.map(|content| pack::id(ObjectKind::Blob, &content)),
                    Some(id.0)
                );
            }
        }
    }
    match source.descends(&world.stray, world.new, &store) {
        Ok(descends) => assert!(!descends, "it does not descend"),
        Err(error) => drop(error.to_string()),
    }
    drop(store);
}
