//! What the targets have in common: a directory in memory, sealed state files, packs and packet lines.
//!
//! A target fails by a panic. Besides the panics of the program it has assertions of its own, where there is something
//! to compare with: git, the id of an object, or what was read before.

use sha2::{Digest as _, Sha256};

mod honest;
pub mod pack;
mod server;

pub use honest::Honest;
pub use server::{Script, answer};

/// A new directory, in memory where `TMPDIR` is (`.ci/fuzz`).
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory for the target's files")
}

/// A state file with a seal that is right (`state::sealed`), so that what is mutated is what the seal protects.
pub fn sealed(kind: &str, version: u32, body: &[u8]) -> Vec<u8> {
    let what = format!("hyper-sync {kind} {version}");
    let sum = Sha256::new().chain_update(&what).chain_update("\n");
    let sum = data_encoding::HEXLOWER.encode(&sum.chain_update(body).finalize());
    [format!("{what} {sum}\n").as_bytes(), body].concat()
}

/// Lets the panics of gitoxide unwind, which `Store::ingest` catches and reports; every other one ends the process.
pub fn forgive_gitoxide() {
    let fatal = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_theirs = panic
            .location()
            .is_some_and(|location| location.file().contains("/gix-"));
        if !is_theirs {
            fatal(panic);
        }
    }));
}

/// The parts of an input that `separator` divides.
pub fn parts<'a>(data: &'a [u8], separator: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest?;
        let at = data
            .windows(separator.len())
            .position(|window| window == separator);
        let (part, after) = match at {
            Some(at) => (&data[..at], Some(&data[at + separator.len()..])),
            None => (data, None),
        };
        rest = after;
        Some(part)
    })
}
