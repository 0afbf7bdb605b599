//! One update in which everything happens, and the ways to leave it unfinished.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use hyper_sync::fs::{Call, Outcome};
use rustix::io::Errno;

use super::world::{LibraryTarget, Run, Tree, executable, file, link, tree};

pub(crate) fn old() -> Tree {
    tree([
        ("a", file("old a")),
        ("b", file("old b")),
        ("d/gone", file("gone")),
        ("flake.nix", file("old flake")),
        ("x", file("old x")),
    ])
}

pub(crate) fn new() -> Tree {
    tree([
        ("a", file("new a")),
        ("b", file("new b")),
        ("n/l", link("../a")),
        ("n/m/o", file("o")),
        ("flake.nix", file("new flake")),
        ("x", executable("new x")),
    ])
}

/// What a hook says that lets nothing be changed any more from the first call on for which `when` holds.
pub(crate) fn dying(
    when: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static,
) -> impl Fn(&Call<'_>) -> Outcome + Send + Sync + 'static {
    let dead = AtomicBool::new(false);
    move |call| {
        if dead.load(Ordering::Relaxed) || when(call) {
            dead.store(true, Ordering::Relaxed);
            Outcome::Torn(Errno::IO)
        } else {
            Outcome::Proceed
        }
    }
}

/// Dies before the first call for which `when` holds, on the way from old to new.
pub(crate) fn killed(when: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static) -> LibraryTarget {
    let world = LibraryTarget::at(&old(), |_| ());
    world.sync(&new(), &Run::with(dying(when))).unwrap_err();
    world
}

/// Whether `b` is about to be replaced; `a` has been.
pub(crate) fn is_half_way(call: &Call<'_>) -> bool {
    call.name == "exchange" && call.to.is_some_and(|to| to.ends_with("target/b"))
}

/// Dies when `a` is replaced and `b` is not.
pub(crate) fn half_way() -> LibraryTarget {
    killed(is_half_way)
}

/// The record of the update that is not finished.
pub(crate) fn active(world: &LibraryTarget) -> PathBuf {
    world.state.join("tx/active")
}

/// Its second copy.
pub(crate) fn second_copy(world: &LibraryTarget) -> PathBuf {
    world.state.join("undo/000002.part/transaction")
}

/// Damages a file by one bit.
pub(crate) fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}
