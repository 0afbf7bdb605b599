//! See [`crate::fuzzing`].

use crate::nix::{Lock, NarHash};

/// Changes a host's lock file in every way a rebuild does, with `old` for what it was before. The text that would be
/// written; `None` where it is not a lock file.
pub fn lock_file(text: &str, old: &str, names: &[String], nar: &NarHash) -> Option<String> {
    let mut lock = Lock::parse(text).ok()?;
    let old = Lock::parse(old)
        .ok()
        .or_else(|| Lock::of_metadata(old.as_bytes()));
    for name in names {
        lock.relocate(name, old.as_ref());
        lock.refresh(name, nar, 1);
        lock.has_nested(name, names.iter().map(String::as_str));
        let _ = lock.nar_hash(name);
    }
    lock.has_inputs(names.iter().map(String::as_str));
    if let Some(old) = &old {
        let _ = lock.keeps(old, names);
    }
    assert!(lock.keeps(&lock, &[]), "a lock file keeps what it locks");
    Some(lock.text())
}
