//! Death and failing calls at every point of an update: after the next run the target is the old commit or the new,
//! and no byte is lost.
//!
//! Here every second call of some kinds of update, in seconds; `tests/matrix` tries every call of all kinds, operations and
//! errors.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper_sync::fs::Outcome;
use proptest::prelude::*;
use rustix::io::Errno;

use crate::apply::attacker;
use crate::apply::crash::{Fault, Operation, Trial};
use crate::apply::shapes::shapes;
use crate::apply::world::{LibraryTarget, Node, Run, Tree, executable, file, link, tree};

/// As many kinds of update as take seconds.
const SHAPES: usize = 9;

#[test]
fn killed_at_any_call_the_next_run_has_the_old_commit_or_the_new() {
    let mut points = 0;
    for shape in &shapes()[..SHAPES] {
        for operation in [Operation::Update, Operation::Rollback] {
            points += Trial::new(shape, operation).everywhere(Fault::Death, 2);
        }
    }
    assert!(points > 400, "only {points} calls were found");
}

/// Its files are put in place one by one then, and each is in one of two places when the run dies.
#[test]
fn killed_while_somebody_makes_a_new_directory_the_next_run_finishes() {
    let old = tree([("a", file("a"))]);
    let new = tree([
        ("d/e/f", file("f")),
        ("d/g", executable("g")),
        ("d/l", link("g")),
    ]);
    let mut points = 0;
    for at in 0.. {
        let world = LibraryTarget::at(&old, |_| ());
        world.store.add(&new);
        let count = Arc::new(AtomicUsize::new(0));
        let (calls, path) = (Arc::clone(&count), world.target.join("d"));
        let made = Arc::new(AtomicBool::new(false));
        let is_made = Arc::clone(&made);
        let run = Run::with(move |call| {
            if calls.fetch_add(1, Ordering::Relaxed) >= at {
                return Outcome::Torn(Errno::IO);
            }
            let moves = call.name == "rename_new" && call.to == Some(&path);
            if moves && !is_made.swap(true, Ordering::Relaxed) {
                std::fs::create_dir(&path).unwrap();
                std::fs::write(path.join("mine"), "mine").unwrap();
            }
            Outcome::Proceed
        });
        let _ = world.sync(&new, &run);
        let (is_made, calls) = (made.load(Ordering::Relaxed), count.load(Ordering::Relaxed));
        if is_made {
            // What was staged is enough.
            world.store.0.lock().unwrap().clear();
            world.recover().unwrap();
            let mut expected = new.clone();
            expected.insert("d/mine".to_owned(), file("mine"));
            assert_eq!(world.read(), expected, "killed at {at}");
            world.assert_tidy();
            points += 1;
        }
        if calls <= at {
            break;
        }
    }
    assert!(points > 15, "only {points} calls were found");
}

#[test]
fn killed_in_recovery_at_any_call_the_next_run_finishes() {
    let mut points = 0;
    for shape in &shapes()[..SHAPES] {
        let calls = Trial::new(shape, Operation::Update).calls();
        for at in (0..calls).step_by(11) {
            points += Trial::new(shape, Operation::Recovery(at)).everywhere(Fault::Death, 2);
        }
    }
    assert!(points > 250, "only {points} calls were found");
}

#[test]
fn a_call_that_fails_once_leaves_the_old_commit_or_a_run_that_can_be_finished() {
    // Which error it is matters to few calls, so they take turns.
    let errors = [
        Errno::NOSPC,
        Errno::IO,
        Errno::ACCESS,
        Errno::DQUOT,
        Errno::MFILE,
    ];
    let mut points = 0;
    for (turn, shape) in shapes()[..SHAPES].iter().enumerate() {
        let fault = Fault::Once(errors[turn % errors.len()]);
        points += Trial::new(shape, Operation::Update).everywhere(fault, 2);
    }
    assert!(points > 200, "only {points} calls were found");
}

#[test]
fn a_disk_that_is_full_from_any_call_on_leaves_the_old_commit_or_a_run_that_can_be_finished() {
    let mut points = 0;
    for shape in &shapes()[..SHAPES] {
        points += Trial::new(shape, Operation::Update).everywhere(Fault::Full, 3);
    }
    assert!(points > 100, "only {points} calls were found");
}

#[test]
fn directories_and_files_that_are_swapped_for_symlinks_lead_nothing_outside() {
    assert!(attacker::attack(|rounds, _| rounds < 100) > 100);
}

fn node() -> impl Strategy<Value = Node> {
    let content = prop::sample::select(vec!["", "one", "two", "three"]);
    (content, 0..3_u8).prop_map(|(content, kind)| match kind {
        0 => file(content),
        1 => executable(content),
        _ => link(if content.is_empty() { "zero" } else { content }),
    })
}

/// Trees over few names, so that files and directories come in each other's way.
fn some_tree() -> impl Strategy<Value = Tree> {
    let name = prop::sample::select(vec![
        "a",
        "b",
        "a/a",
        "a/b",
        "b/a",
        "b/a/a",
        "c.nix",
        "flake.nix",
    ]);
    prop::collection::vec((name, node()), 0..6).prop_map(|nodes| {
        let mut tree = Tree::new();
        for (name, node) in nodes {
            let blocked = tree.keys().any(|other: &String| {
                Path::new(other).starts_with(name) || Path::new(name).starts_with(other)
            });
            if !blocked || tree.contains_key(name) {
                tree.insert(name.to_owned(), node);
            }
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any commits, any edits in between, death at any point, an edit before recovery: every byte sequence that was
    /// there before is somewhere after it.
    #[test]
    fn every_byte_sequence_survives(
        old in some_tree(),
        edits in some_tree(),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        new in some_tree(),
        at in 0..120_usize,
        late in prop::option::of(some_tree()),
    ) {
        let world = LibraryTarget::at(&old, |world| {
            for (path, node) in &edits {
                world.put(path, node);
            }
            for index in &removed {
                if let Some(path) = world.read().keys().nth(index.index(8)) {
                    world.remove(path);
                }
            }
        });
        world.store.add(&new);
        let mut before: BTreeSet<Vec<u8>> = contents(&world.read());
        let faults = Fault::Death.at(at).faults;
        let _ = world.try_sync(&new, &Run { faults, ..Run::default() });
        if let Some(late) = &late {
            // What somebody overwrites in the target is theirs to lose; what was displaced before that is not.
            let there = contents(&world.read_without_staging());
            before.retain(|bytes| !there.contains(bytes));
            for (path, node) in late {
                world.put(path, node);
            }
            before.extend(contents(&world.read_without_staging()));
        }
        world.recover().unwrap();
        world.assert_tidy();
        let kept = world.contents();
        for bytes in &before {
            prop_assert!(kept.contains(bytes), "{:?} is lost", String::from_utf8_lossy(bytes));
        }
        // And the next run, where its plan does not refuse, ends at the commit.
        if let Some(result) = world.try_sync(&new, &Run::default()) {
            result.unwrap();
            let now = world.read();
            for (path, node) in &new {
                prop_assert_eq!(now.get(path), Some(node));
            }
            let kept = world.contents();
            for bytes in &before {
                prop_assert!(kept.contains(bytes), "{:?} is lost", String::from_utf8_lossy(bytes));
            }
        }
    }
}

fn contents(tree: &Tree) -> BTreeSet<Vec<u8>> {
    tree.values()
        .filter(|node| **node != Node::Empty)
        .map(|node| node.bytes().to_vec())
        .collect()
}
