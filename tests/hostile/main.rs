//! What a hostile repository, a hostile server or a broken line may send: `cargo test --test hostile`, a few minutes.
//!
//! - [`trees`]: commits that git would store and that must not be written, by three sources, through the real binary.
//! - [`packs`]: packs that git would not make, ingested into the store.
//! - [`mutations`]: recorded answers with bytes flipped, cut, doubled, moved and put in.
//! - [`floods`]: endless answers.
//!
//! After each, either nothing was accepted and the error has the exit code of its class, or the commit that was asked
//! for was accepted. Nothing panics, and what is printed is short and printable. The outcomes are counted and printed.
//! A smaller choice of the packs and the mutations runs with `cargo test` (`tests/it/hostile.rs`).
//!
//! Bounds are counts of bytes read and of bytes allocated, not times.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot set up its world has failed"
)]

#[path = "../common/mod.rs"]
mod common;
mod floods;
mod mutations;
mod outcomes;
mod packs;
mod trees;

use std::io::{Write as _, stderr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The peak of allocations is that of the process: one test runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The peak of allocated bytes while `work` runs, less what was allocated before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = work();
    (result, MEMORY.peak_usage().saturating_sub(before))
}

fn print(text: &str) {
    let mut stderr = stderr().lock();
    writeln!(stderr, "{text}").unwrap();
}

#[test]
fn hostile_trees_are_refused_by_every_source_and_harmless_ones_written() {
    let _alone = alone();
    let counts = trees::all();
    print(&format!("trees: {counts}"));
    assert!(counts.total() >= 900, "{counts}");
}

#[test]
fn hostile_packs_leave_nothing_that_does_not_hash() {
    let _alone = alone();
    let counts = packs::all();
    print(&format!("packs: {counts}"));
    assert!(counts.total() >= 60 && counts.taken() > 0, "{counts}");
}

#[test]
fn a_mutated_session_ends_in_an_error_or_at_the_honest_commit() {
    let _alone = alone();
    let (counts, peak) = peak(|| {
        let mut counts = mutations::of_git(4200);
        counts.add(mutations::of_the_api(1000));
        counts
    });
    print(&format!(
        "mutations: {counts}; {peak} bytes in memory at most"
    ));
    assert!(counts.total() >= 5000, "{counts}");
    assert!(peak < 256 << 20, "{peak}");
}

#[test]
fn a_flood_is_ended_by_its_bound() {
    let _alone = alone();
    let (counts, peak) = peak(floods::all);
    print(&format!("floods: {counts}; {peak} bytes in memory at most"));
    assert!(peak < 256 << 20, "{peak}");
}
