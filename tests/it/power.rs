//! Power cuts at every point of an update: what was not made durable is gone, and still the next run has the old commit
//! or the new, and no byte is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper_sync::apply::{Content, ContentError, Error};
use hyper_sync::fs::{Call, Outcome};
use hyper_sync::git::{BlobId, CommitId, TreeId};
use hyper_sync::state::{FileCounts, SyncPoint, SyncState};

use crate::apply::cut::{
    Calls, Trace, edit, killed_and_recovered, recording, recover, sync, trace,
};
use crate::apply::disk::{self, Disk, EDIT, Recorded, Survive};
use crate::apply::update::{active, dying, flip, half_way, is_half_way, new, old, second_copy};
use crate::apply::world::{LibraryTarget, Run, Store, file};

fn proceed(_: &Call<'_>) -> Outcome {
    Outcome::Proceed
}

fn update() -> Trace {
    let world = LibraryTarget::at(&old(), |world| {
        world.write("b", &file("my edit"));
        world.write("mine", &file("mine"));
    });
    trace("an update", world, |world, calls| {
        sync(world, recording(calls, proceed));
    })
}

fn first_install() -> Trace {
    let world = LibraryTarget::without_target();
    world.open_state();
    trace("a first install", world, |world, calls| {
        sync(world, recording(calls, proceed));
    })
}

/// A first sync into a target that has files already.
fn adoption() -> Trace {
    let world = LibraryTarget::new();
    world.open_state();
    world.write("a", &file("my own"));
    trace("an adoption", world, |world, calls| {
        sync(world, recording(calls, proceed));
    })
}

fn late_edit() -> Trace {
    let world = LibraryTarget::at(&old(), |_| ());
    let mut trace = trace("a late edit", world, |world, calls| {
        let (edits, path) = (Arc::clone(calls), world.target.join("d/gone"));
        let then = move |call: &Call<'_>| {
            if call.name == "rename" && call.path == path {
                edit(&edits, &path);
            }
            Outcome::Proceed
        };
        sync(world, recording(calls, then));
    });
    trace.has_late_edit();
    trace
}

/// Somebody makes a directory while it is staged, so that its files are put in place one by one.
fn directory_made_meanwhile() -> Trace {
    let world = LibraryTarget::at(&old(), |_| ());
    trace("a directory made meanwhile", world, |world, calls| {
        let (made, path) = (Arc::clone(calls), world.target.join("n"));
        let then = move |call: &Call<'_>| {
            if call.name == "rename_new" && call.to == Some(&path) {
                std::fs::create_dir(&path).unwrap();
                made.lock().unwrap().push(Recorded::made(path.clone()));
            }
            Outcome::Proceed
        };
        sync(world, recording(calls, then));
    })
}

/// Killed half way, and finished by the next run.
fn recovery() -> Trace {
    let world = LibraryTarget::at(&old(), |_| ());
    trace("a recovery", world, |world, calls| {
        sync(world, recording(calls, dying(is_half_way)));
        recover(world, calls);
    })
}

/// Killed when its record had its name, which was not durable yet, and finished by the next run.
fn recovery_of_everything() -> Trace {
    let world = LibraryTarget::at(&old(), |_| ());
    trace("a recovery of everything", world, |world, calls| {
        let is_next = AtomicBool::new(false);
        let then = move |call: &Call<'_>| {
            let commits = call.to.is_some_and(|to| to.ends_with("tx/active"));
            is_next.fetch_or(commits, Ordering::Relaxed)
        };
        sync(world, recording(calls, dying(then)));
        recover(world, calls);
    })
}

/// Killed half way; then somebody has removed what was staged.
fn recovery_from_the_store() -> Trace {
    let world = half_way();
    world.remove(".hyper-sync.tmp");
    let mut trace = trace("a recovery from the store", world, |world, calls| {
        recover(world, calls);
    });
    trace.needs_store = true;
    trace
}

/// Killed half way; then the record is damaged.
fn recovery_from_the_copy() -> Trace {
    let world = half_way();
    flip(&active(&world));
    let mut trace = trace("a recovery from the copy", world, |world, calls| {
        recover(world, calls);
    });
    let mut calls = trace.calls.iter();
    let replaced =
        calls.position(|call| call.name == "rename" && call.path.ends_with("tx/000002.plan"));
    trace.spare = replaced.unwrap() + 2;
    trace
}

/// Killed half way; then both copies of the record are damaged, and something is in the staging directory alone.
fn salvage() -> Trace {
    let world = half_way();
    flip(&active(&world));
    flip(&second_copy(&world));
    world.write(".hyper-sync.tmp/o7", &file("only here"));
    let mut trace = trace("a lost record", world, |world, calls| {
        recover(world, calls);
    });
    trace.precious.clear();
    for node in old().values().chain([&file("only here")]) {
        trace.precious.push((0, node.bytes().to_vec()));
    }
    trace.is_lost = true;
    trace.needs_store = true;
    trace
}

/// The target is at the commit already.
fn only_the_index() -> Trace {
    let world = LibraryTarget::at(&old(), |world| {
        for (path, node) in new() {
            world.write(&path, &node);
        }
        world.remove("d");
    });
    trace("only the index", world, |world, calls| {
        sync(world, recording(calls, proceed));
    })
}

/// Killed while the late edit was kept, and what was done for it not durable; then finished by the next run.
fn recoveries_of_a_late_edit() -> Vec<Trace> {
    let calls = late_edit().calls;
    let calls = calls.iter().filter(|call| call.name != EDIT).enumerate();
    let keeps = |call: &Recorded| {
        let made = call.name == "mkdir" && call.path.ends_with("conflicts");
        made || (call.name != "fsync" && call.path.to_str().unwrap().contains("/conflicts/"))
    };
    calls
        .filter(|(_, call)| keeps(call))
        .map(|(number, _)| killed_and_recovered(number + 1).unwrap())
        .collect()
}

fn traces() -> Vec<Trace> {
    let mut traces = vec![
        update(),
        first_install(),
        adoption(),
        late_edit(),
        directory_made_meanwhile(),
        recovery(),
        recovery_of_everything(),
        recovery_from_the_store(),
        recovery_from_the_copy(),
        salvage(),
        only_the_index(),
    ];
    traces.extend(recoveries_of_a_late_edit());
    traces
}

#[test]
fn a_power_cut_at_any_point_leaves_the_old_commit_or_the_new() {
    for trace in traces() {
        trace.cut_everywhere(0, None).unwrap();
    }
}

/// What was not durable when a run died is not made so by its death.
#[test]
fn a_power_cut_in_a_recovery_leaves_the_old_commit_or_the_new() {
    for at in (0..).step_by(9) {
        let Some(trace) = killed_and_recovered(at) else {
            break;
        };
        trace.cut_everywhere(at, None).unwrap();
    }
}

/// A test of the first test: leaves out every kind of `fsync`, before the commit point and after it, and shows which
/// run finds the damage.
#[test]
fn every_fsync_is_needed() {
    // `None`: no damage without it so far. A kind may be needless in this run and needed in another.
    let mut harms: BTreeMap<String, Option<String>> = BTreeMap::new();
    for trace in traces() {
        for number in 0..trace.calls.len() {
            if trace.calls[number].name != "fsync" {
                continue;
            }
            let harm = harms.entry(trace.label(number)).or_default();
            if harm.is_none()
                && let Err(found) = trace.cut_everywhere(number + 1, Some(number))
            {
                *harm = found.rsplit_once(" | ").map(|(harm, _)| harm.to_owned());
            }
        }
    }
    let rows = harms.iter().map(|(label, harm)| {
        let harm = harm.as_ref();
        let harm = harm.unwrap_or_else(|| panic!("{label}: it does nothing"));
        format!("{label} | {harm}\n")
    });
    insta::assert_snapshot!(rows.collect::<String>(), @r#"
    first: ., after chmod | an unfinished update cannot be finished | a first install
    first: state, after mkdir | neither old nor new | a first install
    first: state, after rename | the index is not that of the tree | only the index
    first: state/index.tmp, after write | the index is not that of the tree | only the index
    first: state/tx/<n>.plan, after write | neither old nor new | an update
    first: state/undo, after write | `old a` is lost | an update
    first: state/undo/<n>.part, after write | `old a` is lost | an update
    first: state/undo/<n>.part/<id>, after write | `old x` is lost | an update
    first: state/undo/<n>.part/transaction, after write | neither old nor new | an update
    first: target, after write | an unfinished update cannot be finished | an update
    first: target/.hyper-sync.tmp, after write | an unfinished update cannot be finished | an update
    first: target/.hyper-sync.tmp/<n>, after write | an unfinished update cannot be finished | an update
    first: target/.hyper-sync.tmp/new, after write | an unfinished update cannot be finished | an update
    first: target/.hyper-sync.tmp/new/n, after write | an unfinished update cannot be finished | an update
    first: target/.hyper-sync.tmp/new/n/m, after write | an unfinished update cannot be finished | an update
    first: target/.hyper-sync.tmp/new/n/m/o, after write | an unfinished update cannot be finished | an update
    later: state, after exchange | the index is not that of the tree | an update
    later: state, after mkdir | `only here` is lost | a lost record
    later: state, after rename | the index is not that of the tree | a first install
    later: state/conflicts, after mkdir | `late` is lost | a late edit
    later: state/conflicts, after unlink | `late` is lost | killed and recovered
    later: state/conflicts/<n>, after mkdir | `late` is lost | a late edit
    later: state/conflicts/<n>, after rename | `only here` is lost | a lost record
    later: state/conflicts/<n>, after unlink | `late` is lost | killed and recovered
    later: state/conflicts/<n>/.hyper-sync.tmp, after write | `only here` is lost | a lost record
    later: state/conflicts/<n>/d, after rename | `late` is lost | a late edit
    later: state/conflicts/<n>/d, after unlink | `late` is lost | killed and recovered
    later: state/conflicts/<n>/d/.hyper-sync.tmp, after write | `late` is lost | a late edit
    later: state/index, after exchange | the index is not that of the tree | an update
    later: state/index, after rename | the index is not that of the tree | a first install
    later: state/tx, after a recovery began | neither old nor new | a recovery of everything
    later: state/tx, after rename | neither old nor new | an update
    later: state/tx, after unlink | a later edit is replaced | an update
    later: state/tx/<n>.plan, after write | neither old nor new | a recovery from the copy
    later: state/undo, after exchange | `old a` is lost | an update
    later: state/undo, after rename | `my own` is lost | an adoption
    later: target, after exchange | not new in the end | an update
    later: target, after rename | the index is not that of the tree | a first install
    later: target/.hyper-sync.tmp/<n>, after write | neither old nor new | a recovery from the store
    later: target/n, after exchange | neither old nor new | a directory made meanwhile
    later: target/n/m, after exchange | neither old nor new | a directory made meanwhile
    "#);
}

fn summary(commit: &str) -> SyncState {
    let id = commit.repeat(40).parse::<hyper_sync::git::Oid>().unwrap();
    let point = SyncPoint {
        commit: CommitId(id),
        tree: TreeId(id),
        reference: "main".to_owned(),
        repository: Some("r".to_owned()),
    };
    let (time, route) = (jiff::Timestamp::UNIX_EPOCH, "delta".to_owned());
    SyncState::new(point, time, FileCounts::default(), route)
}

/// The sync state and its published copy are never torn, and both are there when the run has ended.
#[test]
fn the_sync_state_and_its_copy_are_whole_after_a_power_cut_and_every_fsync_is_needed() {
    let world = LibraryTarget::new();
    summary("1").save(&world.open_state(), None).unwrap();
    let copy = world.root().join("published/here/sync-state.json");
    let disk = Disk::of(world.root());
    let calls = Calls::default();
    let state = world.open_state();
    let state = state.with_faults(recording(&calls, proceed)).unwrap();
    summary("2").save(&state, Some(&copy)).unwrap();
    let calls = calls.lock().unwrap().clone();
    let own = world.state.join("sync-state.json");

    let harm = |lazy: Option<usize>| {
        for cut in 0..=calls.len() {
            for survive in [Survive::Durable, Survive::All, Survive::Mixed(1)] {
                let mut disk = disk.clone();
                for (number, call) in calls[..cut].iter().enumerate() {
                    disk.make(call, lazy != Some(number));
                }
                disk::restore(&disk.image(survive), world.root());
                for path in [&own, &copy] {
                    let whole = std::fs::read(path).ok().map(|bytes| {
                        let state = serde_json::from_slice::<SyncState>(&bytes).ok()?;
                        Some(state.last_sync.commit_sha == summary("2").last_sync.commit_sha)
                    });
                    let ended = cut == calls.len();
                    let fine = match whole {
                        None => path == &copy && !ended,
                        Some(is_new) => is_new.is_some_and(|is_new| is_new || !ended),
                    };
                    if !fine {
                        return true;
                    }
                }
            }
        }
        false
    };
    assert!(!harm(None));
    let syncs = (0..calls.len()).filter(|&number| calls[number].name == "fsync");
    let harms: Vec<_> = syncs.map(|number| harm(Some(number))).collect();
    assert_eq!(harms, [true; 6]);
}

/// An fsync costs the latency of the disk, however little was written.
#[test]
fn an_update_waits_for_the_disk_four_times() {
    let trace = update();
    let waits = trace
        .calls
        .chunk_by(|one, next| one.name == "fsync" && next.name == "fsync")
        .filter(|calls| calls[0].name == "fsync");
    let name = |call: &Recorded| {
        let path = call.path.strip_prefix(trace.world.root()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let waits: Vec<Vec<String>> = waits
        .map(|calls| calls.iter().map(name).collect())
        .collect();
    // Copies and record, then staged files and names: everything that the commit point relies on.
    assert_eq!(waits[0].len(), 19, "{waits:?}");
    assert_eq!(waits[1], ["state/tx"]);
    // The new directories were made durable as they were staged.
    assert_eq!(waits[2], ["target", "state/index", "state", "state/undo"]);
    assert_eq!(waits[3], ["state/tx"]);
    assert_eq!(waits.len(), 4, "{waits:?}");
}

/// What is flushed in the background is durable before the commit point too.
#[test]
fn everything_is_durable_before_the_commit_point() {
    struct BackgroundFlush<'a> {
        store: &'a Store,
        settled: AtomicBool,
    }
    impl Content for BackgroundFlush<'_> {
        fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
            self.store.blob(id)
        }
        fn make_durable(&self) -> Result<(), Error> {
            self.settled.store(true, Ordering::SeqCst);
            Err(Error::Interrupted)
        }
    }
    let world = LibraryTarget::at(&old(), |_| ());
    world.store.add(&new());
    let before = world.read();
    let content = BackgroundFlush {
        store: &world.store,
        settled: AtomicBool::new(false),
    };
    let activated = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&activated);
    let run = Run::with(move |call| {
        if call.to.is_some_and(|to| to.ends_with("tx/active")) {
            seen.store(true, Ordering::SeqCst);
        }
        Outcome::Proceed
    });
    world.sync_from(&new(), &run, &content).unwrap_err();
    assert!(content.settled.load(Ordering::SeqCst));
    assert!(
        !activated.load(Ordering::SeqCst),
        "what could not be settled was recorded"
    );
    assert_eq!(world.read(), before);
    world.assert_tidy();
}
