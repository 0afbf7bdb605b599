//! Death and failing calls at every point of an update: after the next run the target is the old commit or the new,
//! and no byte is lost.
//!
//! Every call that changes a file system asks a hook first. "Killed before call n" fails call n and all after it, so
//! that nothing can be changed any more, not even by a cleanup. A killed `write` has written half.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper_sync::apply::Error;
use hyper_sync::fs::{Call, Faults, Outcome};
use proptest::prelude::*;
use rustix::io::Errno;

use crate::apply::world::{self, Node, Run, Tree, World, executable, file, link, tree};

/// An update: the commits, what somebody changed in between, and which of that may be replaced.
struct Shape {
    name: &'static str,
    old: Tree,
    new: Tree,
    edit: fn(&World),
}

fn shapes() -> Vec<Shape> {
    fn none(_: &World) {}
    let small = || {
        tree([
            ("a", file("old a")),
            ("b", file("b")),
            ("flake.nix", file("old")),
        ])
    };
    vec![
        Shape {
            name: "a first install",
            old: Tree::new(),
            new: tree([
                ("a", file("a")),
                ("d/e/f", executable("f")),
                ("d/l", link("e/f")),
                ("flake.nix", file("{ }")),
            ]),
            edit: none,
        },
        Shape {
            name: "replace, create and delete",
            old: small(),
            new: tree([
                ("a", file("new a")),
                ("c/d", file("d")),
                ("flake.nix", file("new")),
            ]),
            edit: none,
        },
        Shape {
            name: "everything goes",
            old: tree([("x/y/z", file("z")), ("x/w", file("w")), ("v", link("x"))]),
            new: tree([("one", file("one"))]),
            edit: none,
        },
        Shape {
            name: "files become directories and directories files",
            old: tree([
                ("a", file("a")),
                ("b/c/d", file("d")),
                ("b/e", file("e")),
                ("l", link("b")),
            ]),
            new: tree([("a/b/c", file("c")), ("b", file("b")), ("l/x", file("x"))]),
            edit: |world| world.write("b/empty", &Node::Empty),
        },
        Shape {
            name: "kinds and modes change",
            old: tree([
                ("x", file("x")),
                ("f", file("f")),
                ("l", link("f")),
                ("y", executable("y")),
            ]),
            new: tree([
                ("x", executable("x")),
                ("f", link("x")),
                ("l", file("f")),
                ("y", file("y")),
            ]),
            edit: none,
        },
        Shape {
            name: "local edits are replaced",
            old: small(),
            new: tree([
                ("a", file("new a")),
                ("n", file("n")),
                ("flake.nix", file("new")),
            ]),
            edit: |world| {
                world.write("a", &file("edited a"));
                world.write("b", &link("edited b"));
                world.write("n", &file("not ours"));
                world.write("mine/too", &file("mine"));
                world.remove("flake.nix");
            },
        },
        Shape {
            name: "only the index changes",
            old: tree([("a", file("a")), ("b", file("b"))]),
            new: tree([("a", file("a"))]),
            edit: |world| world.remove("b"),
        },
        Shape {
            name: "same content in many places",
            old: tree([("a", file("s")), ("b", file("s")), ("c", file("t"))]),
            new: tree([
                ("a", file("t")),
                ("b", file("t")),
                ("c", file("s")),
                ("d/e", file("s")),
            ]),
            edit: none,
        },
    ]
}

impl Shape {
    fn world(&self) -> World {
        let world = World::at(&self.old, self.edit);
        world.store.add(&self.new);
        world
    }

    /// What the target is after the update, from what it was before.
    fn expected(&self, before: &Tree) -> Tree {
        let mut after = self.new.clone();
        for (path, node) in before {
            let ours = self.old.contains_key(path) || self.new.contains_key(path);
            if !ours && *node != Node::Empty {
                after.insert(path.clone(), node.clone());
            }
        }
        after
    }
}

/// Dies before call `at`, counted from zero.
fn death(at: usize) -> (Faults, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&count);
    let hook = move |_: &Call<'_>| {
        if calls.fetch_add(1, Ordering::Relaxed) >= at {
            Outcome::Torn(Errno::IO)
        } else {
            Outcome::Proceed
        }
    };
    (Faults::new(hook), count)
}

/// What must hold after whatever happened and the recovery that followed.
fn check_recovered(shape: &Shape, world: &World, before: &Tree, context: &str) {
    let now = world.read();
    let done = now == shape.expected(before);
    assert!(
        done || now == *before,
        "{context}: neither old nor new: {now:#?}"
    );
    world.assert_tidy();
    check_nothing_lost(world, before, context);
    if done
        && world
            .index()
            .is_some_and(|index| index.commit == world::commit(&shape.new))
    {
        let (run, calls) = Run::counting();
        world.sync(&shape.new, &run).unwrap();
        assert_eq!(
            calls.load(Ordering::Relaxed),
            0,
            "{context}: nothing was left to do"
        );
    } else {
        world.sync(&shape.new, &Run::default()).unwrap();
        assert_eq!(world.read(), shape.expected(before), "{context}");
        check_nothing_lost(world, before, context);
    }
}

fn check_nothing_lost(world: &World, before: &Tree, context: &str) {
    let kept = world.contents();
    for (path, node) in before.iter().filter(|(_, node)| **node != Node::Empty) {
        assert!(kept.contains(node.bytes()), "{context}: {path} is lost");
    }
}

#[test]
fn killed_at_any_call_the_next_run_has_the_old_commit_or_the_new() {
    let mut points = 0;
    for shape in shapes() {
        for at in 0.. {
            let world = shape.world();
            let before = world.read();
            let (faults, count) = death(at);
            let run = Run {
                faults,
                ..Run::default()
            };
            let result = world.sync(&shape.new, &run);
            let context = format!("{}, killed at {at}", shape.name);
            world
                .recover()
                .unwrap_or_else(|error| panic!("{context}: {error:?}"));
            check_recovered(&shape, &world, &before, &context);
            if count.load(Ordering::Relaxed) <= at {
                result.unwrap();
                break;
            }
            points += 1;
        }
    }
    assert!(points > 400, "only {points} calls were found");
}

#[test]
fn killed_in_recovery_at_any_call_the_next_run_finishes() {
    for shape in shapes() {
        for at in (0..).step_by(7) {
            let killed = |world: &World| {
                let (faults, count) = death(at);
                let run = Run {
                    faults,
                    ..Run::default()
                };
                let _ = world.sync(&shape.new, &run);
                count.load(Ordering::Relaxed) > at
            };
            let mut more = false;
            for again in 0.. {
                let world = shape.world();
                let before = world.read();
                more = killed(&world);
                let (faults, count) = death(again);
                let target = world.open_target().with_faults(faults.clone());
                let state = world.open_state().with_faults(faults).unwrap();
                let result = hyper_sync::apply::recover(&target, &state, &world.store);
                let context = format!("{}, killed at {at}, then at {again}", shape.name);
                let finished = count.load(Ordering::Relaxed) <= again;
                if finished {
                    result.unwrap_or_else(|error| panic!("{context}: {error:?}"));
                }
                world
                    .recover()
                    .unwrap_or_else(|error| panic!("{context}: {error:?}"));
                check_recovered(&shape, &world, &before, &context);
                if finished {
                    break;
                }
            }
            if !more {
                break;
            }
        }
    }
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
    for (turn, shape) in shapes().into_iter().enumerate() {
        for at in 0.. {
            let errno = errors[(turn + at) % errors.len()];
            let world = shape.world();
            let before = world.read();
            let count = Arc::new(AtomicUsize::new(0));
            let calls = Arc::clone(&count);
            let run = Run::with(move |call| {
                // Without permission an empty directory stays, and that is no failure.
                let tolerated = call.name == "rmdir" && errno == Errno::ACCESS;
                if calls.fetch_add(1, Ordering::Relaxed) == at && !tolerated {
                    Outcome::Torn(errno)
                } else {
                    Outcome::Proceed
                }
            });
            let result = world.sync(&shape.new, &run);
            let context = format!("{}, {errno:?} at {at}", shape.name);
            match &result {
                // Tidying up may fail without harm.
                Ok(_) => assert_eq!(
                    world.read_without_staging(),
                    shape.expected(&before),
                    "{context}"
                ),
                Err(Error::Unfinished { .. }) => {
                    world.recover().unwrap();
                    assert_eq!(world.read(), shape.expected(&before), "{context}");
                }
                Err(_) => {
                    assert_eq!(
                        world.read_without_staging(),
                        before,
                        "{context}: {result:?}"
                    );
                    world.recover().unwrap();
                }
            }
            world.recover().unwrap();
            check_recovered(&shape, &world, &before, &context);
            if count.load(Ordering::Relaxed) <= at {
                break;
            }
        }
    }
}

/// Nobody outside is harmed by a thread that swaps a directory for a symlink all the time, and nothing is lost.
#[test]
fn a_directory_that_is_swapped_for_a_symlink_leads_nothing_outside() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    let old = tree([("d/a", file("a")), ("d/e/b", file("b")), ("c", file("c"))]);
    let new = tree([
        ("d/a", file("new a")),
        ("d/e/n", file("n")),
        ("d/m", link("a")),
        ("c", file("new c")),
    ]);
    let world = World::at(&old, |_| ());
    world.store.add(&new);
    let outside = world.state.with_file_name("outside");
    fs::create_dir_all(outside.join("e")).unwrap();
    for name in ["a", "e/b", "m"] {
        fs::write(outside.join(name), "outside").unwrap();
    }
    let untouched = world::read(&outside);
    let (directory, link) = (world.target.join("d"), world.target.with_file_name("link"));
    symlink(&outside, &link).unwrap();

    let stop = AtomicBool::new(false);
    let swaps = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if renameat_with(CWD, &directory, CWD, &link, RenameFlags::EXCHANGE).is_ok() {
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let _stop = Stop(&stop);
        for round in 0..100 {
            let to = if round % 2 == 0 { &new } else { &old };
            // Stale plans and blocked paths are fine; what counts is where the bytes went.
            let _ = world.try_sync(to, &Run::default());
        }
    });
    if directory.is_symlink() {
        renameat_with(CWD, &directory, CWD, &link, RenameFlags::EXCHANGE).unwrap();
    }
    assert!(swaps.load(Ordering::Relaxed) > 100);
    assert_eq!(world::read(&outside), untouched);
    world.recover().unwrap();
    world.sync(&new, &Run::default()).unwrap();
    let mut now = world.read();
    now.retain(|path, node| {
        // A file that the commit had dropped while it was out of sight is nobody's afterwards, and stays.
        let left_behind = !new.contains_key(path) && old.get(path) == Some(node);
        !left_behind
    });
    assert_eq!(now, new);
    world.assert_tidy();
}

/// Ends a thread even if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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
        let world = World::at(&old, |world| {
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
        let (faults, _) = death(at);
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
