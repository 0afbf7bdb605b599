//! Directories that an update makes: put in place whole, or file by file where somebody has made them meanwhile.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use hyper_sync::apply::{Fate, Late};
use hyper_sync::fs::Outcome;

use super::world::{LibraryTarget, Run, Tree, executable, file, link, path, tree};
use super::{moves, new, race, removes};

/// The moves of a run to places in the target.
fn moves_of(old: &Tree, new: &Tree) -> Vec<String> {
    let world = LibraryTarget::at(old, |_| ());
    let (moved, target) = (Arc::<Mutex<Vec<String>>>::default(), world.target.clone());
    let seen = Arc::clone(&moved);
    let run = Run::with(move |call| {
        let staging = target.join(".hyper-sync.tmp");
        let place = call.to.filter(|to| !to.starts_with(&staging));
        let place = place.and_then(|to| to.strip_prefix(&target).ok());
        if let Some(place) = place {
            let mut seen = seen.lock().unwrap();
            seen.push(format!("{} {}", call.name, place.display()));
        }
        Outcome::Proceed
    });
    world.sync(new, &run).unwrap();
    assert_eq!(world.read(), *new);
    world.assert_tidy();
    let moved = moved.lock().unwrap();
    moved.clone()
}

#[test]
fn a_new_directory_is_put_in_place_whole_and_before_what_may_refer_to_it() {
    let old = tree([("a/x", file("x")), ("flake.nix", file("old"))]);
    let new = tree([
        ("a/n/f", file("f")),
        ("a/n/o/p", executable("p")),
        ("a/x", file("x")),
        ("a/y", file("y")),
        ("b/c/d/e", link("../x")),
        ("b/r", file("r")),
        ("flake.nix", file("new")),
    ]);
    let expected = [
        "rename_new a/n",
        "rename_new b",
        "rename_new a/y",
        "exchange flake.nix",
    ];
    assert_eq!(moves_of(&old, &new), expected);
    let first = ["rename_new a", "rename_new flake.nix"];
    assert_eq!(moves_of(&Tree::new(), &old), first);
}

#[test]
fn a_directory_that_takes_the_place_of_a_file_is_put_in_place_whole() {
    let old = tree([("a", file("a")), ("l", link("a"))]);
    let new = tree([("a/b/c", file("c")), ("l/d", file("d"))]);
    assert_eq!(moves_of(&old, &new), ["rename_new a", "rename_new l"]);
}

#[test]
fn a_directory_that_somebody_makes_meanwhile_gets_the_files_one_by_one() {
    let (world, result) = race(
        |call| moves(call, "modules/c"),
        |target| {
            let made = target.join("modules/c");
            fs::create_dir_all(made.join("d")).unwrap();
            fs::write(made.join("mine"), "mine").unwrap();
            fs::write(made.join("d/e.nix"), "mine too").unwrap();
        },
    );
    let applied = result.unwrap();
    let kept = world.state.join("conflicts/000002/modules/c/d/e.nix");
    let late = Late {
        path: path("modules/c/d/e.nix"),
        fate: Fate::KeptAside(kept.clone()),
    };
    assert_eq!(applied.late, [late]);
    assert_eq!(fs::read(kept).unwrap(), b"mine too");
    let mut expected = new();
    expected.insert("modules/c/mine".to_owned(), file("mine"));
    assert_eq!(world.read(), expected);
    world.assert_tidy();
}

#[test]
fn what_else_takes_the_place_of_a_new_directory_stays() {
    type Take = fn(&Path);
    let takes: [Take; 3] = [
        |place| fs::write(place, "mine").unwrap(),
        |place| symlink("/", place).unwrap(),
        |place| drop(std::os::unix::net::UnixListener::bind(place).unwrap()),
    ];
    for take in takes {
        let (world, result) = race(
            |call| moves(call, "modules/c"),
            move |target| take(&target.join("modules/c")),
        );
        let late = Late {
            path: path("modules/c/d/e.nix"),
            fate: Fate::Blocked,
        };
        assert_eq!(result.unwrap().late, [late]);
        let mut now = world.read();
        assert!(now.remove("modules/c").is_some());
        let mut expected = new();
        expected.remove("modules/c/d/e.nix");
        assert_eq!(now, expected);
        world.assert_tidy();
    }
}

/// In the tick of the clock in which it was put in place, or later: it is read again, or its times show it.
#[test]
fn an_edit_of_a_file_in_a_new_directory_stays_and_is_reported() {
    let (world, result) = race(
        |call| removes(call, "gone.sh"),
        |target| fs::write(target.join("modules/c/d/e.nix"), "E").unwrap(),
    );
    let late = Late {
        path: path("modules/c/d/e.nix"),
        fate: Fate::InPlace,
    };
    assert_eq!(result.unwrap().late, [late]);
    assert_eq!(world.read()["modules/c/d/e.nix"], file("E"));
    world.sync(&new(), &Run::default()).unwrap();
    assert_eq!(world.read(), new(), "it is a local edit like any other");
}

#[test]
fn a_new_directory_gets_the_group_that_the_target_hands_down() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = LibraryTarget::new();
    std::os::unix::fs::chown(&world.target, None, Some(4321)).unwrap();
    fs::set_permissions(&world.target, fs::Permissions::from_mode(0o2775)).unwrap();
    world.sync(&new(), &Run::default()).unwrap();
    for name in ["README", "modules/c", "modules/c/d", "modules/c/d/e.nix"] {
        let metadata = fs::metadata(world.target.join(name)).unwrap();
        assert_eq!(metadata.gid(), 4321, "{name}");
        let mode = metadata.permissions().mode() & 0o7777;
        let expected = if metadata.is_dir() { 0o755 } else { 0o644 };
        assert_eq!(mode, expected, "{name}");
    }
}
