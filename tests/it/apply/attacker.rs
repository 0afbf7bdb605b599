//! Somebody who swaps directories and files of the target for symlinks that lead outside, all the time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::crash::Fault;
use super::world::{self, LibraryTarget, Run, file, link, tree};

/// One thing that is swapped, and where its other half is meanwhile.
struct Place {
    inside: PathBuf,
    aside: PathBuf,
}

impl Place {
    fn swap(&self) -> bool {
        renameat_with(CWD, &self.inside, CWD, &self.aside, RenameFlags::EXCHANGE).is_ok()
    }

    /// All but the symlinks of the attacker is in the target again.
    fn restore(&self) {
        if self.inside.is_symlink() && !self.aside.is_symlink() {
            assert!(self.swap());
        }
        if self.inside.is_symlink() {
            fs::remove_file(&self.inside).unwrap();
        }
    }
}

/// Updates, rolls back, dies and recovers, while `go_on` says so of the rounds and swaps so far, while a thread swaps
/// as fast as it can: nothing outside is changed, and nothing is lost. Tells how many swaps there were.
pub(crate) fn attack(go_on: impl Fn(usize, usize) -> bool) -> usize {
    let old = tree([
        ("d/a", file("a")),
        ("d/e/b", file("b")),
        ("c", file("c")),
        ("g/h/i", file("i")),
        ("g/h/j", file("j")),
    ]);
    let new = tree([
        ("d/a", file("new a")),
        ("d/e/n", file("n")),
        ("d/m", link("a")),
        ("c", file("new c")),
        ("g/h/i", file("new i")),
        ("g/h/k/l", file("l")),
    ]);
    let world = LibraryTarget::at(&old, |world| world.write("d/mine", &file("mine")));
    world.store.add(&new);
    let outside = world.root().join("outside");
    for name in ["a", "e/b", "m", "i", "j", "0", "o0", "1"] {
        let path = outside.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "outside").unwrap();
    }
    let untouched = world::read(&outside);
    let place = |inside: &str, name: &str, to: &Path| {
        let aside = world.root().join(name);
        symlink(to, &aside).unwrap();
        Place {
            inside: world.target.join(inside),
            aside,
        }
    };
    let places = [
        place("d", "aside-d", &outside),
        place("g/h", "aside-h", &outside),
        place("c", "aside-c", &outside.join("a")),
        place(".hyper-sync.tmp", "aside-staging", &outside),
    ];

    let stop = AtomicBool::new(false);
    let swaps = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for place in places.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                swaps.fetch_add(usize::from(place.swap()), Ordering::Relaxed);
            }
        });
        let _stop = Stop(&stop);
        for round in 0.. {
            if !go_on(round, swaps.load(Ordering::Relaxed)) {
                break;
            }
            // Stale plans and blocked paths are fine; what counts is where the bytes went.
            let _ = match round % 4 {
                0 => world.try_sync(&new, &Run::default()),
                1 => {
                    let run = Run {
                        put_back: tree([("d/a", file("a")), ("g/h/j", file("j"))]),
                        ..Run::default()
                    };
                    world.try_sync(&old, &run)
                }
                2 => {
                    let run = Run {
                        faults: Fault::Death.at(round % 97).faults,
                        ..Run::default()
                    };
                    world.try_sync(&new, &run)
                }
                _ => {
                    let _ = world.recover();
                    world.try_sync(&old, &Run::default())
                }
            };
        }
    });
    assert_eq!(world::read(&outside), untouched);
    for place in &places {
        place.restore();
    }
    world.recover().unwrap();
    world.sync(&new, &Run::default()).unwrap();
    let mut now = world.read();
    assert_eq!(now.remove("d/mine"), Some(file("mine")));
    now.retain(|path, node| {
        // A file that the commit had dropped while it was moved away belongs to no commit afterwards, and stays.
        let left_behind = !new.contains_key(path) && old.get(path) == Some(node);
        !left_behind
    });
    assert_eq!(now, new);
    world.assert_tidy();
    swaps.into_inner()
}

/// Ends a thread even if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
