//! Power cuts at every point of an update: what was not made durable is gone, and still the next run has the old commit
//! or the new, and no byte is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hyper_sync::apply::{Content, ContentError, Error};
use hyper_sync::fs::Outcome;
use hyper_sync::git::BlobId;

use crate::apply::disk::{Disk, Recorded, Survive};
use crate::apply::world::{Run, Store, Tree, World, commit, executable, file, link, tree};

fn old() -> Tree {
    tree([
        ("a", file("old a")),
        ("b", file("old b")),
        ("d/gone", file("gone")),
        ("flake.nix", file("old flake")),
        ("x", file("old x")),
    ])
}

fn new() -> Tree {
    tree([
        ("a", file("new a")),
        ("b", file("new b")),
        ("n/m/l", link("../../a")),
        ("n/m/o", file("o")),
        ("flake.nix", file("new flake")),
        ("x", executable("new x")),
    ])
}

/// An update, call by call, and the disk before it.
struct Trace {
    world: World,
    disk: Disk,
    calls: Vec<Recorded>,
    before: Tree,
    after: Tree,
}

fn trace() -> Trace {
    let world = World::at(&old(), |world| {
        world.write("b", &file("my edit"));
        world.write("mine", &file("mine"));
    });
    let disk = Disk::of(world.root());
    let before = world.read();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&calls);
    let run = Run::with(move |call| {
        record.lock().unwrap().push(Recorded::of(call));
        Outcome::Proceed
    });
    world.sync(&new(), &run).unwrap();
    let after = world.read();
    let calls = calls.lock().unwrap().clone();
    Trace {
        world,
        disk,
        calls,
        before,
        after,
    }
}

impl Trace {
    /// Cuts the power after `calls`, where call `lazy` was an `fsync` that did nothing, and tells what harm is left after
    /// the next run.
    fn cut(&self, calls: usize, survive: Survive, lazy: Option<usize>) -> Result<(), String> {
        let mut disk = self.disk.clone();
        for (number, call) in self.calls[..calls].iter().enumerate() {
            disk.make(call, lazy != Some(number));
        }
        disk.restore(self.world.root(), survive);
        // Where renames are whole, what was staged must do without the store.
        let empty = Store::default();
        let store = match survive {
            Survive::Durable | Survive::All => &empty,
            Survive::Mixed(_) => &self.world.store,
        };
        self.world
            .recover_from(store)
            .map_err(|error| format!("{error:?}"))?;
        let now = self.world.read();
        if now != self.after && now != self.before {
            return Err(format!("neither old nor new: {now:?}"));
        }
        // Or a later commit would take what this one wrote for somebody's edit.
        let known = self.world.load_index().ok().flatten();
        let wanted = if now == self.after { new() } else { old() };
        if known.map(|index| index.commit) != Some(commit(&wanted)) {
            return Err("the index is not that of the tree".to_owned());
        }
        self.check_nothing_lost()?;
        self.world
            .sync(&new(), &Run::default())
            .map_err(|error| format!("{error:?}"))?;
        if self.world.read() != self.after {
            return Err(format!("not new in the end: {:?}", self.world.read()));
        }
        self.check_nothing_lost()
    }

    fn check_nothing_lost(&self) -> Result<(), String> {
        let kept = self.world.contents();
        let lost = self
            .before
            .iter()
            .find(|(_, node)| !kept.contains(node.bytes()));
        lost.map_or(Ok(()), |(path, _)| Err(format!("{path} is lost")))
    }

    /// Cuts the power everywhere from call `first` on, in every way.
    fn cut_everywhere(&self, first: usize, lazy: Option<usize>) -> Result<(), String> {
        for calls in first..=self.calls.len() {
            for survive in [
                Survive::Durable,
                Survive::All,
                Survive::Mixed(1),
                Survive::Mixed(2),
            ] {
                self.cut(calls, survive, lazy)
                    .map_err(|harm| format!("{survive:?} after {calls} calls: {harm}"))?;
            }
        }
        Ok(())
    }
}

#[test]
fn a_power_cut_at_any_point_leaves_the_old_commit_or_the_new() {
    let trace = trace();
    assert!(trace.calls.len() > 80, "{} calls", trace.calls.len());
    trace.cut_everywhere(0, None).unwrap();
}

/// A test of the test above: it would see a missing `fsync`.
#[test]
fn no_sync_can_be_left_out() {
    let trace = trace();
    let mut needed = 0;
    for (number, call) in trace.calls.iter().enumerate() {
        let path = call.path.strip_prefix(trace.world.root()).unwrap();
        let path = path.to_str().unwrap();
        // The record has two copies, of which one is enough; and it may come back after all is done.
        let spare = ["state/undo/000002.part/transaction", "state/tx/000002.plan"];
        let retired = path == "state/tx" && number + 20 > trace.calls.len();
        if call.name == "fsync" && !spare.contains(&path) && !retired {
            let harm = trace.cut_everywhere(number + 1, Some(number));
            assert!(
                harm.is_err(),
                "call {number}, fsync of {path}, does nothing"
            );
            needed += 1;
        }
    }
    assert!(needed >= 20, "only {needed} were found");
}

/// Every wait for the disk takes as long as the disk takes, however little was written.
#[test]
fn an_update_waits_for_the_disk_four_times() {
    let trace = trace();
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
    // Copies and record; staged files and names: everything the commit point stands on.
    assert_eq!(waits[0].len(), 16, "{waits:?}");
    assert_eq!(waits[1], ["state/tx"]);
    let names = ["target", "target/n", "target/n/m"];
    assert_eq!(
        waits[2],
        [&names[..], &["state/index", "state", "state/undo"]].concat()
    );
    assert_eq!(waits[3], ["state/tx"]);
    assert_eq!(waits.len(), 4, "{waits:?}");
}

/// What `settle` waits for is as much a part of the old state as the copies are.
#[test]
fn everything_is_settled_before_the_commit_point() {
    struct Settling<'a> {
        store: &'a Store,
        settled: AtomicBool,
    }
    impl Content for Settling<'_> {
        fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
            self.store.blob(id)
        }
        fn settle(&self) -> Result<(), Error> {
            self.settled.store(true, Ordering::SeqCst);
            Err(Error::Interrupted)
        }
    }
    let world = World::at(&old(), |_| ());
    world.store.add(&new());
    let before = world.read();
    let content = Settling {
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
