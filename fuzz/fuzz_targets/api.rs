//! JSON of GitHub's API: listings and commits.
//!
//! What is rebuilt from an answer hashes to the id that the answer has it under.
#![no_main]

use hyper_sync::fuzzing;
use hyper_sync::git::id::ObjectKind;
use hyper_sync_fuzz::pack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    for (at, deep) in [(None, true), (None, false), (Some("a/b"), true)] {
        for (id, raw) in fuzzing::listing(json, at, deep) {
            assert_eq!(pack::id(ObjectKind::Tree, &raw), id.0);
        }
    }
    for (id, commit, raw) in fuzzing::commits(json) {
        assert_eq!(commit.id, id);
        assert_eq!(pack::id(ObjectKind::Commit, &raw), id.0);
    }
});
