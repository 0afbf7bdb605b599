//! One fault at one call of an operation, and what must hold after it.
//!
//! Every call that changes a file system asks a hook first, so a fault can be at each of them, and at no other place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper_sync::apply::{self, Error, Late};
use hyper_sync::exit::Exit;
use hyper_sync::fs::{Faults, Outcome};
use hyper_sync::git::CommitId;
use rustix::io::Errno;

use super::shapes::Shape;
use super::world::{LibraryTarget, Node, Run, Tree};

/// What is interrupted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Update,
    /// The recovery of an update that died before this call.
    Recovery(usize),
    /// Back to the old commit, with the local edits that the update had replaced.
    Rollback,
}

/// What happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// From this call on nothing can be changed any more, not even by a cleanup. A `write` has written half.
    Death,
    /// This call fails, the others do not.
    Once(Errno),
    /// From this call on there is no room: what needs some fails, what gives some back does not.
    Full,
}

/// A fault at one call, and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Injected {
    pub(crate) faults: Faults,
    calls: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
}

impl Fault {
    /// The fault at call `at`, counted from zero.
    pub(crate) fn at(self, at: usize) -> Injected {
        let (calls, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, failures) = (Arc::clone(&calls), Arc::clone(&failed));
        let faults = Faults::new(move |call| {
            let now = count.fetch_add(1, Ordering::Relaxed);
            let needs_room = [
                "create", "write", "mkdir", "symlink", "link", "rename", "fsync",
            ];
            let errno = match self {
                Self::Death if now >= at => Errno::IO,
                Self::Once(errno) if now == at => errno,
                Self::Full if now >= at && needs_room.contains(&call.name) => Errno::NOSPC,
                _ => return Outcome::Proceed,
            };
            failures.fetch_add(1, Ordering::Relaxed);
            Outcome::Torn(errno)
        });
        Injected {
            faults,
            calls,
            failed,
        }
    }
}

impl Injected {
    /// Whether there was such a call.
    pub(crate) fn was_reached(&self, at: usize) -> bool {
        self.calls.load(Ordering::Relaxed) > at
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed) > 0
    }
}

/// An operation and everything there is to know of it when nothing fails.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    shape: &'a Shape,
    operation: Operation,
    /// What somebody had changed at the paths of the commits before the update.
    edits: Tree,
    /// What the target is before the operation, and the index with it.
    start: (Tree, Option<CommitId>),
    /// After it.
    wanted: (Tree, Option<CommitId>),
    /// After the next run.
    last: Tree,
    /// What must never be lost.
    precious: BTreeSet<Vec<u8>>,
    calls: usize,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(shape: &'a Shape, operation: Operation) -> Self {
        let untouched = shape.world().read();
        let mut edits = untouched.clone();
        edits.retain(|path, node| {
            let ours = shape.old.contains_key(path) || shape.new.contains_key(path);
            ours && *node != Node::Empty && shape.old.get(path) != Some(node)
        });
        let mut trial = Self {
            shape,
            operation,
            edits,
            start: Default::default(),
            wanted: Default::default(),
            last: Tree::new(),
            precious: BTreeSet::new(),
            calls: 0,
        };
        let world = trial.world();
        let at = |world: &LibraryTarget| world.index().map(|index| index.point.commit);
        trial.start = (world.read_without_staging(), at(&world));
        let before = match operation {
            // What the update has made of the tree so far is not an edit.
            Operation::Recovery(_) => vec![&untouched],
            Operation::Update | Operation::Rollback => vec![&untouched, &trial.start.0],
        };
        trial.precious = before
            .into_iter()
            .flat_map(Tree::values)
            .filter(|node| **node != Node::Empty)
            .map(|node| node.bytes().to_vec())
            .collect();
        let (run, calls) = Run::counting();
        let late = trial.run(&world, run.faults).unwrap();
        assert_eq!(late, [], "{trial:?}");
        trial.calls = calls.load(Ordering::Relaxed);
        trial.wanted = (world.read(), at(&world));
        assert_eq!(trial.next_run(&world, Faults::default()).unwrap(), []);
        trial.last = world.read();
        if !matches!(operation, Operation::Rollback) {
            assert_eq!(trial.last, shape.expected(&untouched), "{}", shape.name);
        }
        trial
    }

    /// How many calls the operation makes.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// Tries the fault at every `step`th call; returns how often it happened.
    pub(crate) fn everywhere(&self, fault: Fault, step: usize) -> usize {
        let mut happened = 0;
        for at in (0..).step_by(step) {
            let injected = self.fail(fault, at);
            happened += usize::from(injected.has_failed());
            if !injected.was_reached(at) {
                break;
            }
        }
        happened
    }

    /// Has the fault at one call, and checks what is left of it, by the next recovery and by the next run.
    fn fail(&self, fault: Fault, at: usize) -> Injected {
        let context = format!(
            "{}: {:?}, {fault:?} at {at}",
            self.shape.name, self.operation
        );
        let world = self.world();
        let injected = fault.at(at);
        let result = self.run(&world, injected.faults.clone());
        let shown = format!("{result:?}");
        let must_finish = self.check_result(&world, fault, &injected, result, &context);

        let recovered = world
            .recover()
            .unwrap_or_else(|error| panic!("{context}: {error:?}"));
        let late = recovered.map_or_else(Vec::new, |recovered| recovered.applied.late);
        assert_eq!(late, [], "{context}");
        let now = world.read();
        let known = world.index().map(|index| index.point.commit);
        let is_done = Self::is(fault, &now, &self.wanted.0) && known == self.wanted.1;
        let is_undone = Self::is(fault, &now, &self.start.0) && known == self.start.1;
        assert!(
            is_done || (is_undone && !must_finish),
            "{context}: {shown} left {now:#?} and the index at {known:?}"
        );
        self.check_tidy(&world, &context);

        let late = self.next_run(&world, Faults::default());
        assert_eq!(late.unwrap(), [], "{context}");
        let now = world.read();
        assert!(Self::is(fault, &now, &self.last), "{context}: {now:#?}");
        self.check_tidy(&world, &context);
        // The index may still be saved, with metadata of files that are older than a tick of the clock by now.
        let does_nothing = || {
            let (run, calls) = Run::counting();
            self.next_run(&world, run.faults).unwrap();
            calls.load(Ordering::Relaxed) == 0
        };
        assert!(
            (0..100).any(|_| does_nothing()),
            "{context}: something is left to do"
        );
        injected
    }

    /// What must hold at once, and whether the operation can only be finished from here.
    fn check_result(
        &self,
        world: &LibraryTarget,
        fault: Fault,
        injected: &Injected,
        result: Result<Vec<Late>, Error>,
        context: &str,
    ) -> bool {
        let now = world.read_without_staging();
        let recovers = matches!(self.operation, Operation::Recovery(_));
        match (result, fault) {
            // No result is printed. A recovery ends where it would have ended.
            (_, Fault::Death) => recovers || !injected.has_failed(),
            (Ok(late), _) => {
                // Tidying up may fail without harm.
                assert!(Self::is(fault, &now, &self.wanted.0), "{context}: {now:#?}");
                assert_eq!(late, [], "{context}");
                true
            }
            (Err(error), _) => {
                assert!(injected.has_failed(), "{context}: {error:?}");
                let unfinished = matches!(error, Error::Unfinished { .. });
                if !recovers && !unfinished {
                    assert_eq!(world.read(), self.start.0, "{context}: {error:?}");
                }
                let error = hyper_sync::Error::Apply(error);
                assert_eq!(Exit::from(&error), Exit::FileSystem, "{context}: {error:?}");
                recovers || unfinished
            }
        }
    }

    fn check_tidy(&self, world: &LibraryTarget, context: &str) {
        world.assert_tidy();
        let kept = world.contents();
        for bytes in &self.precious {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
            assert!(kept.contains(bytes), "{context}: {text:?} is lost");
        }
    }

    /// Whether the target is as it should be. Without permission an empty directory stays, and that is not a failure.
    fn is(fault: Fault, now: &Tree, wanted: &Tree) -> bool {
        let mut now = now.clone();
        if matches!(fault, Fault::Once(Errno::ACCESS)) {
            now.retain(|path, node| *node != Node::Empty || wanted.contains_key(path));
        }
        now == *wanted
    }

    /// The target before the operation.
    fn world(&self) -> LibraryTarget {
        let world = self.shape.world();
        world.store.add(&self.edits);
        match self.operation {
            Operation::Update => {}
            Operation::Recovery(at) => {
                let faults = Fault::Death.at(at).faults;
                let _ = self.update(&world, faults);
            }
            Operation::Rollback => {
                self.update(&world, Faults::default()).unwrap();
            }
        }
        world
    }

    fn run(&self, world: &LibraryTarget, faults: Faults) -> Result<Vec<Late>, Error> {
        match self.operation {
            Operation::Update => self.update(world, faults),
            Operation::Recovery(_) => {
                let target = world.open_target().with_faults(faults.clone());
                let state = world.open_state().with_faults(faults)?;
                let recovered = apply::recover(&target, &state, &world.store)?;
                Ok(recovered.map_or_else(Vec::new, |recovered| recovered.applied.late))
            }
            Operation::Rollback => {
                let run = Run {
                    faults,
                    put_back: self.edits.clone(),
                    ..Run::default()
                };
                Ok(world.sync(&self.shape.old, &run)?.late)
            }
        }
    }

    fn next_run(&self, world: &LibraryTarget, faults: Faults) -> Result<Vec<Late>, Error> {
        match self.operation {
            Operation::Update | Operation::Recovery(_) => self.update(world, faults),
            Operation::Rollback => self.run(world, faults),
        }
    }

    fn update(&self, world: &LibraryTarget, faults: Faults) -> Result<Vec<Late>, Error> {
        let run = Run {
            faults,
            ..Run::default()
        };
        Ok(world.sync(&self.shape.new, &run)?.late)
    }
}
