//! Files of keys, and the signatures of commits up to the program that would check them, which is missing.
//!
//! The file of keys comes first, then the commit behind a line `---`. Without a program no signature is good.
#![no_main]

use std::fs;

use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::{Commit, CommitId};
use hyper_sync::settings::Env;
use hyper_sync::signature::Signers;
use hyper_sync::source::Interrupt;
use hyper_sync_fuzz::{directory, pack, parts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = parts(data, b"\n---\n");
    let (keys, raw) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let root = directory();
    let path = root.path().join("signers");
    fs::write(&path, keys).expect("a disk in memory");
    let env = Env::empty().with("PATH", root.path());
    let signers = match Signers::load(&path, &env, &Interrupt::default()) {
        Ok(signers) => signers,
        Err(error) => return drop(error.to_string()),
    };
    let id = CommitId(pack::id(ObjectKind::Commit, raw));
    let Ok(commit) = Commit::verify(id, raw) else {
        return;
    };
    let signer = signers.check(&commit, raw, root.path());
    let error = signer.expect_err("nothing has checked it");
    let _ = error.to_string();
});
