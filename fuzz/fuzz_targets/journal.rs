//! The journal, and the copies of an update: recovery from a record that anybody may have written.
//!
//! The input is the record, sealed rightly; `@T@` in it stands for the path of the target. Behind a line `---` comes
//! the second copy. Nothing outside the target may change, a record that is refused may change nothing in it either,
//! and a second recovery has nothing to do.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use hyper_sync::apply::{Error, late_edits, recover, undo};
use hyper_sync::fs::Target;
use hyper_sync::objects::Store;
use hyper_sync::state::StateDir;
use hyper_sync_fuzz::{directory, sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let root = directory();
    let path = |name: &str| root.path().join(name);
    for name in ["state/tx", "state/undo/2.part", "target/d", "outside/d"] {
        fs::create_dir_all(path(name)).expect("a disk in memory");
    }
    for (name, content) in [
        ("target/a", "a1\n"),
        ("target/b", "b1\n"),
        ("target/d/c", "c1\n"),
        ("outside/a", "a1\n"),
        ("outside/d/c", "c1\n"),
    ] {
        fs::write(path(name), content).expect("a disk in memory");
    }
    symlink("../outside", path("target/out")).expect("a disk in memory");
    for id in CONTENTS {
        fs::write(path("state/undo/2.part").join(id.0), id.1).expect("a disk in memory");
    }
    private(&path("state"));
    let text = text.replace("@T@", path("target").to_str().expect("a plain path"));
    let (record, copy) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let seal = |body: &str| sealed("transaction", 2, body.as_bytes());
    fs::write(path("state/tx/active"), seal(record)).expect("a disk in memory");
    fs::write(path("state/undo/2.part/record"), seal(copy)).expect("a disk in memory");

    let state = StateDir::open(&path("state")).expect("a directory in memory");
    let target = Target::open(&path("target")).expect("a directory in memory");
    let store = Store::open(&path("store"), 1 << 20).expect("a store in memory");
    let (outside, before) = (read(&path("outside")), read(&path("target")));
    match recover(&target, &state, &store) {
        Ok(_) => {
            let again = recover(&target, &state, &store);
            assert!(matches!(again, Ok(None)), "it was recovered: {again:?}");
        }
        Err(Error::NeedsPerson { .. }) => assert_eq!(read(&path("target")), before),
        Err(error) => drop(error.to_string()),
    }
    assert_eq!(read(&path("outside")), outside);
    let _ = late_edits(&state);
    for id in undo::list(&state).unwrap_or_default() {
        if let Ok(transaction) = undo::load(&state, id) {
            for change in &transaction.changes {
                let _ = undo::content(&state, &transaction, &change.path);
            }
        }
    }
});

/// The contents that the update has replaced or would write, by id.
const CONTENTS: [(&str, &str); 2] = [
    ("da0f8ed91a8f2f0f067b3bdf26265d5ca48cf82c", "a1\n"),
    ("c9c6af7f78bc47490dbf3e822cf2f3c24d4b9061", "b1\n"),
];

/// Only we can enter it.
fn private(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("a disk in memory");
}

/// Everything in a directory by path: its mode, and its content or where it leads.
fn read(directory: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("a name").path();
            let metadata = path.symlink_metadata().expect("what was listed");
            let content = if metadata.is_dir() {
                pending.push(path.clone());
                Vec::new()
            } else if metadata.is_symlink() {
                let leads = fs::read_link(&path).expect("a link");
                leads.into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).expect("a file")
            };
            all.insert(path, (metadata.mode(), content));
        }
    }
    all
}
