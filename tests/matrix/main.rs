//! Death and failure at every call of every kind of update: `cargo test --test matrix`, some minutes.
//!
//! What `tests/it/kill.rs` does for some kinds of update is done for all: every shape of `tests/it/apply/shapes.rs`,
//! three operations (an update, the recovery of one that died, a rollback), and at every call that changes a file
//! system death, one of five errors, or a disk that is full from there on. Afterwards the target and its index are as
//! before or as wanted, every byte that was displaced is there, nothing of ours is left over, an error has exit code 9,
//! and the next run ends at the commit and leaves nothing to do. The number of points is printed.
//!
//! The power cuts of `tests/it/power.rs` again, each in more ways, and longer orders of `tests/it/rebuild/trial_orders.rs`.
//!
//! The same for a power cut in the recovery of a run that died anywhere, and an attacker who swaps what is in the
//! target a hundred thousand times. And the real binary: see [`process`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot set up its world has failed"
)]

#[path = "../it/apply"]
#[allow(dead_code, reason = "the other tests of apply use the rest")]
mod apply {
    pub(crate) mod attacker;
    pub(crate) mod crash;
    pub(crate) mod cut;
    pub(crate) mod disk;
    pub(crate) mod shapes;
    pub(crate) mod update;
    pub(crate) mod world;
}

#[path = "../common/mod.rs"]
mod common;
#[path = "../it/power.rs"]
mod power;
mod process;
#[path = "../it/rebuild"]
mod rebuild {
    mod trial_orders;
}

use std::io::{Write as _, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use apply::attacker;
use apply::crash::{Fault, Operation, Trial};
use apply::cut::killed_and_recovered;
use apply::shapes::shapes;

/// Seeds of what a power cut leaves of that which was not made durable.
const COINS: std::ops::RangeInclusive<u64> = 1..=4;

/// After every how manyth call the power is cut.
const CUT_STEP: usize = 1;

/// How many events follow each other in a switch on trial.
const EVENTS: usize = 4;

const FAULTS: [(&str, Fault); 7] = [
    ("killed", Fault::Death),
    ("ENOSPC", Fault::Once(Errno::NOSPC)),
    ("EIO", Fault::Once(Errno::IO)),
    ("EACCES", Fault::Once(Errno::ACCESS)),
    ("EMFILE", Fault::Once(Errno::MFILE)),
    ("EDQUOT", Fault::Once(Errno::DQUOT)),
    ("full from there on", Fault::Full),
];

/// An update is killed at every so many of its calls; each makes one recovery to test.
const RECOVERIES: usize = 5;

#[test]
fn after_any_failure_at_any_call_the_next_run_has_the_old_commit_or_the_new() {
    let shapes = shapes();
    assert!(shapes.len() >= 12);
    let mut trials = Vec::new();
    for shape in &shapes {
        let update = Trial::new(shape, Operation::Update);
        let deaths = (0..update.calls()).step_by(RECOVERIES);
        let recoveries = deaths.map(|at| Trial::new(shape, Operation::Recovery(at)));
        trials.extend(recoveries);
        trials.extend([update, Trial::new(shape, Operation::Rollback)]);
    }
    let next = AtomicUsize::new(0);
    let by_fault = Mutex::new([0; FAULTS.len()]);
    let work = || {
        while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
            for (number, (_, fault)) in FAULTS.into_iter().enumerate() {
                let happened = trial.everywhere(fault, 1);
                by_fault.lock().unwrap()[number] += happened;
            }
        }
    };
    std::thread::scope(|scope| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // A trial waits for the disk half of its time.
        for _ in 0..2 * processors {
            scope.spawn(work);
        }
    });
    let by_fault = by_fault.into_inner().unwrap();
    for ((fault, _), count) in FAULTS.iter().zip(by_fault) {
        writeln!(stderr(), "{count:>7} {fault}").unwrap();
    }
    let points: usize = by_fault.iter().sum();
    let (shapes, trials) = (shapes.len(), trials.len());
    writeln!(
        stderr(),
        "{points:>7} points, {trials} operations on {shapes} shapes"
    )
    .unwrap();
    assert!(points > 5000, "only {points}");
}

#[test]
fn a_hundred_thousand_swaps_change_nothing_outside_the_target() {
    let swaps = attacker::attack(|rounds, swaps| rounds < 200 || swaps < 100_000);
    writeln!(stderr(), "{swaps:>7} swaps").unwrap();
}

/// What was not durable when a run died is not made so by its death.
#[test]
fn a_power_cut_in_the_recovery_of_a_run_that_died_anywhere_leaves_the_old_commit_or_the_new() {
    let mut cuts = 0;
    for at in 0.. {
        let Some(trace) = killed_and_recovered(at) else {
            break;
        };
        trace.cut_everywhere(at, None).unwrap();
        cuts += trace.calls.len() - at;
    }
    writeln!(
        stderr(),
        "{cuts:>7} power cuts in recoveries, each in many ways"
    )
    .unwrap();
    assert!(cuts > 2000, "only {cuts}");
}
