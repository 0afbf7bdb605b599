//! Records of the state directory: the index, the state that is published, the last rebuild, and what is counted.
//!
//! The first byte of the input says which file it is: plain, or, from 16 on, with a seal that is right.
#![no_main]

use std::fs;
use std::path::Path;
use std::time::Duration;

use hyper_sync::exit::Exit;
use hyper_sync::lock::RunLock;
use hyper_sync::metrics::{self, Progress, RunMetrics, Stage};
use hyper_sync::rebuild::RebuildRecord;
use hyper_sync::source::{Interrupt, Traffic};
use hyper_sync::state::{Found, Index, StateDir, Suspended, SyncState};
use hyper_sync_fuzz::{directory, sealed};
use libfuzzer_sys::fuzz_target;

/// Names, kinds and formats.
const FILES: [(&str, &str, u32); 12] = [
    ("index", "index", 2),
    ("sync-state.json", "", 0),
    ("rebuild.json", "rebuild", 1),
    ("target", "target", 1),
    ("metrics", "metrics", 1),
    ("hold", "hold", 2),
    ("unreached", "unreached", 1),
    ("suspended", "suspended", 1),
    ("followed", "followed", 1),
    ("lock", "", 0),
    // The last version in JSON is the first of the list.
    ("index", "index", 3),
    ("index", "index", 4),
];

fuzz_target!(|data: &[u8]| {
    let Some((&which, body)) = data.split_first() else {
        return;
    };
    let (name, kind, version) = FILES[usize::from(which & 15) % FILES.len()];
    let root = directory();
    let path = root.path().join("state");
    let state = StateDir::open(&path).expect("a directory in memory");
    let bytes = if which < 16 || kind.is_empty() {
        body.to_vec()
    } else {
        sealed(kind, version, body)
    };
    fs::write(path.join(name), bytes).expect("a disk in memory");
    let index = index(&state);
    if let Ok(Some(last)) = SyncState::load(&state) {
        last.save(&state, None).expect("a disk in memory");
        assert_eq!(SyncState::load(&state).ok().flatten(), Some(last));
    }
    if let Ok(record) = RebuildRecord::load(&state) {
        let _ = record.commit_of(Path::new("/run/current-system"));
    }
    let _ = state.refuse_other(Path::new("/etc/nixos"));
    let _ = Suspended::load(&state);
    counted(&state, index.as_ref(), &root.path().join("metrics.prom"));
    let _ = RunLock::last(&state);
    let _ = RunLock::acquire(&state, Duration::ZERO, &Interrupt::default());
});

/// An index that was read is the same after it was written and read again.
fn index(state: &StateDir) -> Option<Index> {
    let Ok(Found::Whole(index)) = Index::load(state) else {
        return None;
    };
    let _ = index.known_tree();
    index.save(state).expect("a disk in memory");
    match Index::load(state) {
        Ok(Found::Whole(again)) => assert_eq!(again, index),
        other => panic!("it was just written: {other:?}"),
    }
    Some(index)
}

fn counted(state: &StateDir, index: Option<&Index>, path: &Path) {
    let mut progress = Progress::default();
    progress.begin(Stage::Sync);
    progress.moved(Traffic {
        requests: u64::MAX,
        received: u64::MAX,
        sent: u64::MAX,
    });
    let run = RunMetrics {
        target: Path::new("/etc/nixos"),
        progress: &progress,
        exit: Exit::Network,
        index,
        local_edits: Some(u64::MAX),
        rebuilds: true,
        largest: u64::MAX,
    };
    for _ in 0..2 {
        let _ = metrics::write(path, state, &run);
    }
}
