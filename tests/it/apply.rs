//! Carrying out a plan, without crashes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper_sync::apply::{Content, ContentError, Error, Fate, Late, undo};
use hyper_sync::fs::{Call, Outcome};
use hyper_sync::git::BlobId;
use rustix::io::Errno;

use crate::common::env::Sandbox;
use crate::common::repo::Repo;

use world::{Failed, LibraryTarget, Node, Run, Tree, commit, executable, file, link, path, tree};

pub(crate) mod attacker;
pub(crate) mod crash;
pub(crate) mod cut;
pub(crate) mod disk;
mod new_directories;
pub(crate) mod shapes;
pub(crate) mod update;
pub(crate) mod world;

fn old() -> Tree {
    tree([
        ("README", file("old readme")),
        ("flake.nix", file("old flake")),
        ("modules/a.nix", file("a")),
        ("modules/b.nix", file("b")),
        ("scripts/gone.sh", executable("gone")),
        ("scripts/run.sh", file("run")),
        ("deep/er/x", file("x")),
        ("link", link("README")),
    ])
}

fn new() -> Tree {
    tree([
        ("README", file("new readme")),
        ("flake.nix", file("new flake")),
        ("modules/a.nix", file("a")),
        ("modules/b.nix", link("a.nix")),
        ("modules/c/d/e.nix", file("e")),
        ("scripts/run.sh", executable("run")),
        ("link", file("a file now")),
        ("empty", file("")),
    ])
}

#[test]
fn brings_a_target_to_a_commit_and_from_there_to_another() {
    let world = LibraryTarget::new();
    let applied = world.sync(&old(), &Run::default()).unwrap();
    assert_eq!((applied.written, applied.deleted), (8, 0));
    assert_eq!(world.read(), old());
    world.assert_tidy();

    let applied = world.sync(&new(), &Run::default()).unwrap();
    assert_eq!((applied.written, applied.deleted), (7, 2));
    assert_eq!(applied.late, []);
    assert_eq!(world.read(), new());
    world.assert_tidy();

    let index = world.index().unwrap();
    assert_eq!(index.point.commit, commit(&new()));
    assert_eq!(index.point.reference, "main");
    assert_eq!(index.files.len(), new().len());
}

#[test]
fn a_run_with_nothing_to_do_writes_nothing() {
    let world = LibraryTarget::at(&old(), |_| ());
    let writes_nothing = || {
        let (run, calls) = Run::counting();
        let applied = world.sync(&old(), &run).unwrap();
        assert_eq!(applied.id, None);
        calls.load(Ordering::Relaxed) == 0
    };
    // The index is saved once more when the files are older than a tick of the clock, which a hundred runs take, and then
    // no more.
    assert!((0..100).any(|_| (0..100).all(|_| writes_nothing())));
}

#[test]
fn a_commit_that_changes_no_file_is_only_remembered() {
    let world = LibraryTarget::at(&old(), |_| ());
    let mut same_files = old();
    same_files.insert("README".to_owned(), file("new readme"));
    world.write("README", &file("new readme"));
    let applied = world.sync(&same_files, &Run::default()).unwrap();
    assert_eq!((applied.id, applied.written), (None, 0));
    assert_eq!(world.index().unwrap().point.commit, commit(&same_files));
}

#[test]
fn makes_a_target_that_does_not_exist() {
    let world = LibraryTarget::without_target();
    world.sync(&old(), &Run::default()).unwrap();
    assert_eq!(world.read(), old());
    let mode = fs::metadata(&world.target).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn a_first_run_that_fails_leaves_no_target_behind() {
    let world = LibraryTarget::without_target();
    let run = Run::with(|call| {
        if call.name == "symlink" {
            Outcome::Fail(Errno::NOSPC)
        } else {
            Outcome::Proceed
        }
    });
    world.sync(&old(), &run).unwrap_err();
    assert!(!world.target.exists());
    world.assert_tidy();
    world.sync(&old(), &Run::default()).unwrap();
    assert_eq!(world.read(), old());
}

#[test]
fn files_become_directories_and_directories_files() {
    let before = tree([
        ("a", file("file a")),
        ("b/c/d", file("d")),
        ("b/e", file("e")),
        ("l", link("b")),
    ]);
    let after = tree([
        ("a/b/c", file("c")),
        ("a/d", link("b")),
        ("b", file("file b")),
        ("l/x", file("x")),
    ]);
    let world = LibraryTarget::at(&before, |world| world.write("b/empty/dir", &Node::Empty));
    world.sync(&after, &Run::default()).unwrap();
    assert_eq!(world.read(), after);
    world.sync(&before, &Run::default()).unwrap();
    assert_eq!(world.read(), before);
    world.assert_tidy();
}

#[test]
fn a_directory_that_cannot_give_way_to_a_file_leaves_a_run_that_can_be_finished() {
    let before = tree([("b/c/d", file("d")), ("b/e", file("e"))]);
    let after = tree([("b", file("file b"))]);
    for errno in [Errno::ACCESS, Errno::PERM] {
        for name in ["b", "b/c"] {
            let world = LibraryTarget::at(&before, |_| ());
            let refused = world.target.join(name);
            let failed = AtomicBool::new(false);
            let run = Run::with(move |call| {
                let here = call.name == "rmdir" && call.path == refused;
                if here && !failed.swap(true, Ordering::Relaxed) {
                    Outcome::Fail(errno)
                } else {
                    Outcome::Proceed
                }
            });
            let error = world.sync(&after, &run).unwrap_err();
            assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
            let recovered = world.recover().unwrap().unwrap();
            assert_eq!(recovered.applied.late, []);
            assert_eq!(world.read(), after, "{name}: {errno:?}");
            world.assert_tidy();
        }
    }
}

#[test]
fn a_directory_that_stays_in_the_place_of_a_file_is_not_removed_behind_the_report() {
    let before = tree([("b/c", file("c")), ("z", file("z"))]);
    let after = tree([("b", file("file b")), ("y", file("y"))]);
    let world = LibraryTarget::at(&before, |_| ());
    let (put, z) = (world.target.join("b/mine"), world.target.join("z"));
    let busy = AtomicBool::new(false);
    let run = Run::with(move |call| {
        let removes = call.name == "rmdir" && call.path.ends_with("target/b");
        if removes && !busy.swap(true, Ordering::Relaxed) {
            fs::write(&put, "mine").unwrap();
        } else if call.path == z {
            fs::remove_file(&put).unwrap();
        }
        Outcome::Proceed
    });
    let applied = world.sync(&after, &run).unwrap();
    let late = Late {
        path: path("b"),
        fate: Fate::InPlace,
    };
    assert_eq!(applied.late, [late]);
    let expected = tree([("b", Node::Empty), ("y", file("y"))]);
    assert_eq!(
        world.read(),
        expected,
        "a directory that is reported as in place is there"
    );
    world.sync(&after, &Run::default()).unwrap();
    assert_eq!(world.read(), after);
}

#[test]
fn directories_with_foreign_files_stay_and_empty_ones_of_ours_go() {
    let before = tree([("d/e/f", file("f")), ("g/h/i", file("i")), ("k", file("k"))]);
    let after = tree([("k", file("k"))]);
    let world = LibraryTarget::at(&before, |world| {
        world.write("d/mine", &file("mine"));
        world.write("untouched", &Node::Empty);
    });
    world.sync(&after, &Run::default()).unwrap();
    let expected = tree([
        ("d/mine", file("mine")),
        ("k", file("k")),
        ("untouched", Node::Empty),
    ]);
    assert_eq!(world.read(), expected);
}

#[test]
fn modes_are_those_of_the_commit_over_any_earlier_mode() {
    let world = LibraryTarget::at(&old(), |world| {
        for (name, mode) in [("README", 0o600), ("modules/a.nix", 0o666)] {
            fs::set_permissions(world.target.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    });
    world.sync(&new(), &Run::default()).unwrap();
    let mode = |name: &str| {
        let metadata = fs::symlink_metadata(world.target.join(name)).unwrap();
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(mode("README"), 0o644);
    assert_eq!(mode("scripts/run.sh"), 0o755);
    assert_eq!(mode("modules/c"), 0o755);
    assert_eq!(mode("modules/c/d"), 0o755);
    assert_eq!(
        mode("modules/a.nix"),
        0o666,
        "what does not change is left alone"
    );
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    let repo = Repo::small();
    let trees = ["0000", "0022", "0077"].map(|umask| {
        let sandbox = Sandbox::new();
        let path = repo.path().display().to_string();
        let ours = sandbox.cmd(&["sync", "--repo", &path]);
        // The umask belongs to the process, so it is set in one of its own.
        let mut command = std::process::Command::new("/bin/sh");
        command
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
            .arg(ours.get_program())
            .args(ours.get_args())
            .env_clear()
            .envs(
                ours.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mode =
            |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&sandbox.target()), 0o755);
        assert_eq!(mode(&sandbox.state()), 0o700);
        world::read(&sandbox.target())
    });
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
    assert!(trees[0].values().all(|node| !matches!(node, Node::Odd(..))));
}

#[test]
fn a_directory_that_hands_its_group_down_is_a_target_like_any_other() {
    let world = LibraryTarget::at(&old(), |world| {
        fs::set_permissions(&world.target, fs::Permissions::from_mode(0o2775)).unwrap();
    });
    // The staging directory gets the bit too, and must be known again by a run that finds it.
    let run = Run::with(|call| {
        if call.name == "rmdir" {
            Outcome::Fail(Errno::IO)
        } else {
            Outcome::Proceed
        }
    });
    let _ = world.sync(&new(), &run);
    world.sync(&new(), &Run::default()).unwrap();
    assert_eq!(world.read(), new());
    world.assert_tidy();
}

#[test]
fn an_immutable_file_or_directory_is_found_before_anything_is_written() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let world = LibraryTarget::at(&old(), |_| ());
    for name in ["README", "modules"] {
        let file = fs::File::open(world.target.join(name)).unwrap();
        let before = ioctl_getflags(&file).unwrap_or(IFlags::empty());
        // Only root can, and not on every file system.
        if ioctl_setflags(&file, before | IFlags::IMMUTABLE).is_err() {
            return;
        }
        let (run, calls) = Run::counting();
        let result = world.sync(&new(), &run);
        ioctl_setflags(&file, before).unwrap();
        assert!(matches!(result, Err(Error::Immutable { .. })), "{result:?}");
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }
    world.sync(&new(), &Run::default()).unwrap();
}

#[test]
fn a_directory_that_may_not_be_written_is_found_before_anything_is_written() {
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere.
        return;
    }
    let world = LibraryTarget::at(&old(), |_| ());
    let modules = world.target.join("modules");
    fs::set_permissions(&modules, fs::Permissions::from_mode(0o555)).unwrap();
    let (run, calls) = Run::counting();
    let result = world.sync(&new(), &run);
    fs::set_permissions(&modules, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(result, Err(Error::Denied { .. })), "{result:?}");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[test]
fn replaces_a_hard_linked_file_and_leaves_its_other_name() {
    let world = LibraryTarget::at(&old(), |world| {
        fs::hard_link(world.target.join("README"), world.target.join("other")).unwrap();
    });
    world.sync(&new(), &Run::default()).unwrap();
    assert_eq!(world.read()["README"], file("new readme"));
    assert_eq!(world.read()["other"], file("old readme"));
}

#[test]
fn an_unchanged_file_keeps_its_inode() {
    let world = LibraryTarget::at(&old(), |_| ());
    let inode = |name: &str| fs::metadata(world.target.join(name)).unwrap().ino();
    let before = inode("modules/a.nix");
    world.sync(&new(), &Run::default()).unwrap();
    assert_eq!(inode("modules/a.nix"), before);
}

#[test]
fn a_replaced_edit_is_kept_to_be_put_back() {
    let world = LibraryTarget::at(&old(), |world| world.write("README", &file("my edit")));
    let applied = world.sync(&new(), &Run::default()).unwrap();
    assert_eq!(world.read(), new());
    let state = world.open_state();
    let record = undo::load(&state, applied.id.unwrap()).unwrap();
    let kept = undo::content(&state, &record, &path("README"));
    assert_eq!(kept.unwrap(), b"my edit");
}

// What comes while a run is applying.

fn is_commit(call: &Call<'_>) -> bool {
    call.name == "rename"
        && call
            .path
            .extension()
            .is_some_and(|extension| extension == "plan")
}

/// The call that moves the new file of `name` to its place.
fn moves(call: &Call<'_>, name: &str) -> bool {
    let moves = matches!(call.name, "exchange" | "rename_new");
    moves && call.to.is_some_and(|to| to.ends_with(name))
}

fn removes(call: &Call<'_>, name: &str) -> bool {
    call.name == "rename" && call.path.ends_with(name)
}

/// Edits `name` right before the call for which `when` holds, while a run goes from old to new.
fn race(
    when: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static,
    act: impl Fn(&std::path::Path) + Send + Sync + 'static,
) -> (LibraryTarget, Result<hyper_sync::apply::Applied, Error>) {
    let world = LibraryTarget::at(&old(), |_| ());
    let target = world.target.clone();
    let run = Run::meanwhile(when, move || act(&target));
    let result = world.sync(&new(), &run);
    (world, result)
}

#[test]
fn an_edit_before_the_commit_point_makes_the_plan_stale() {
    let (world, result) = race(
        |call| call.name == "create" && call.path.ends_with("000002.plan"),
        |target| fs::write(target.join("README"), "edit").unwrap(),
    );
    match result.unwrap_err() {
        Error::Stale { paths } => assert_eq!(paths, [path("README")]),
        error => panic!("{error:?}"),
    }
    let mut expected = old();
    expected.insert("README".to_owned(), file("edit"));
    assert_eq!(world.read(), expected);
    world.assert_tidy();
}

#[test]
fn an_edit_after_the_commit_point_is_kept_aside() {
    let (world, result) = race(
        |call| moves(call, "README"),
        |target| fs::write(target.join("README"), "late edit").unwrap(),
    );
    let applied = result.unwrap();
    assert_eq!(world.read(), new());
    let kept = world.state.join("conflicts/000002/README");
    assert_eq!(applied.late.len(), 1);
    assert_eq!(applied.late[0].path, path("README"));
    assert_eq!(applied.late[0].fate, Fate::KeptAside(kept.clone()));
    assert_eq!(fs::read(kept).unwrap(), b"late edit");
    world.assert_tidy();
}

#[test]
fn an_edit_of_a_file_that_is_removed_is_kept_aside() {
    let (world, result) = race(
        |call| removes(call, "gone.sh"),
        |target| fs::write(target.join("scripts/gone.sh"), "late edit").unwrap(),
    );
    let applied = result.unwrap();
    assert_eq!(world.read(), new());
    assert_eq!(applied.late.len(), 1);
    let kept = world.state.join("conflicts/000002/scripts/gone.sh");
    assert_eq!(fs::read(kept).unwrap(), b"late edit");
}

#[test]
fn a_file_that_appears_where_one_is_created_is_kept_aside() {
    let (world, result) = race(
        |call| moves(call, "empty"),
        |target| symlink("somewhere", target.join("empty")).unwrap(),
    );
    assert_eq!(result.unwrap().late.len(), 1);
    assert_eq!(world.read(), new());
    let kept = world.state.join("conflicts/000002/empty");
    assert_eq!(fs::read_link(kept).unwrap().to_str(), Some("somewhere"));
}

#[test]
fn a_file_that_vanishes_is_written_again() {
    let (world, result) = race(
        |call| moves(call, "README"),
        |target| fs::remove_file(target.join("README")).unwrap(),
    );
    assert_eq!(result.unwrap().late, []);
    assert_eq!(world.read(), new());
}

#[test]
fn a_write_through_an_open_handle_after_the_exchange_is_kept_aside() {
    let world = LibraryTarget::at(&old(), |_| ());
    let handle = fs::OpenOptions::new()
        .append(true)
        .open(world.target.join("README"))
        .unwrap();
    // The last file is in place when the first one is written to.
    let run = Run::meanwhile(
        |call| removes(call, "gone.sh"),
        move || std::io::Write::write_all(&mut &handle, b", appended").unwrap(),
    );
    let applied = world.sync(&new(), &run).unwrap();
    assert_eq!(applied.late.len(), 1);
    let kept = world.state.join("conflicts/000002/README");
    assert_eq!(fs::read(kept).unwrap(), b"old readme, appended");
    assert_eq!(world.read(), new());
}

#[test]
fn an_edit_of_a_file_that_was_just_written_stays_and_is_reported() {
    let (world, result) = race(
        |call| removes(call, "gone.sh"),
        |target| fs::write(target.join("README"), "edit of the new one").unwrap(),
    );
    let applied = result.unwrap();
    assert_eq!(applied.late.len(), 1);
    assert_eq!(applied.late[0].fate, Fate::InPlace);
    assert_eq!(world.read()["README"], file("edit of the new one"));
    let again = world.sync(&new(), &Run::default()).unwrap();
    assert_eq!(again.written, 1, "it is a local edit like any other");
    assert!(world.contents().contains(&b"edit of the new one"[..]));
}

#[test]
fn a_directory_or_socket_that_appears_in_the_way_stays() {
    for (name, when) in [("README", "README"), ("empty", "empty")] {
        let (world, result) = race(
            move |call| moves(call, when),
            move |target| {
                let _ = fs::remove_file(target.join(name));
                fs::create_dir_all(target.join(name).join("mine")).unwrap();
                fs::write(target.join(name).join("mine/too"), "mine").unwrap();
            },
        );
        let applied = result.unwrap();
        assert_eq!(applied.late.len(), 1, "{name}");
        assert_eq!(applied.late[0].fate, Fate::InPlace);
        let mut expected = new();
        expected.remove(name);
        expected.insert(format!("{name}/mine/too"), file("mine"));
        assert_eq!(world.read(), expected);
        world.assert_tidy();
    }
    let (world, result) = race(
        |call| moves(call, "empty"),
        |target| {
            std::os::unix::net::UnixListener::bind(target.join("empty")).unwrap();
        },
    );
    assert_eq!(result.unwrap().late[0].fate, Fate::InPlace);
    assert!(matches!(world.read()["empty"], Node::Odd(..)));
}

#[test]
fn a_directory_that_is_replaced_by_a_symlink_is_not_followed() {
    let world = LibraryTarget::at(&old(), |_| ());
    let outside = world.state.with_file_name("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("b.nix"), "outside").unwrap();
    let (target, elsewhere) = (world.target.clone(), outside.clone());
    let run = Run::meanwhile(is_commit, move || {
        fs::rename(target.join("modules"), target.join("aside")).unwrap();
        symlink(&elsewhere, target.join("modules")).unwrap();
    });
    let applied = world.sync(&new(), &run).unwrap();
    let blocked: Vec<_> = applied.late.iter().map(|late| late.path.as_str()).collect();
    assert_eq!(blocked, ["modules/c/d/e.nix", "modules/b.nix"]);
    assert!(applied.late.iter().all(|late| late.fate == Fate::Blocked));
    assert_eq!(fs::read(outside.join("b.nix")).unwrap(), b"outside");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(
        world.read()["README"],
        file("new readme"),
        "the rest is applied"
    );
}

#[test]
fn a_target_that_is_moved_away_is_not_written_into() {
    let (world, result) = race(
        |call| call.name == "create" && call.path.ends_with("000002.plan"),
        |target| {
            fs::rename(target, target.with_file_name("moved")).unwrap();
            fs::create_dir(target).unwrap();
        },
    );
    assert!(matches!(result, Err(Error::TargetReplaced { .. })));
    assert_eq!(world.read(), Tree::new());
    assert_eq!(world::read(&world.target.with_file_name("moved")), old());
}

#[test]
fn a_signal_before_the_commit_point_changes_nothing_and_after_it_is_too_late() {
    for (after, name) in [(false, "create"), (true, "exchange")] {
        let world = LibraryTarget::at(&old(), |_| ());
        let interrupt = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupt);
        let mut run = Run::meanwhile(
            move |call| call.name == name && call.path.ends_with("3"),
            move || flag.store(true, Ordering::Relaxed),
        );
        run.interrupt = interrupt;
        let result = world.sync(&new(), &run);
        assert!(run.interrupt.load(Ordering::Relaxed), "the signal came");
        if after {
            result.unwrap();
            assert_eq!(world.read(), new());
        } else {
            assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
            assert_eq!(world.read(), old());
        }
        world.assert_tidy();
    }
}

#[test]
fn nothing_is_written_where_something_foreign_has_the_staging_name() {
    let world = LibraryTarget::at(&old(), |world| {
        fs::write(world.target.join(".hyper-sync.tmp"), "mine").unwrap();
    });
    let result = world.sync(&new(), &Run::default());
    assert!(
        matches!(result, Err(Error::StagingBlocked { .. })),
        "{result:?}"
    );
    assert_eq!(
        fs::read(world.target.join(".hyper-sync.tmp")).unwrap(),
        b"mine"
    );
}

/// Returns one byte more than there is.
struct Liar<'a>(&'a world::Store);

impl Content for Liar<'_> {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
        let mut bytes = self.0.blob(id)?;
        bytes.push(b'!');
        Ok(bytes)
    }
}

#[test]
fn content_that_does_not_hash_to_its_id_is_never_written() {
    let world = LibraryTarget::at(&old(), |_| ());
    world.store.add(&new());
    let result = world.sync_from(&new(), &Run::default(), &Liar(&world.store));
    assert!(
        matches!(result, Err(Failed::Apply(Error::Content { .. }))),
        "{result:?}"
    );
    assert_eq!(world.read(), old());
    world.assert_tidy();
}

// What the file system does not have.

#[test]
fn without_exchange_hard_links_keep_displaced_files() {
    for missing in [
        &["exchange"][..],
        &["rename_new"],
        &["exchange", "rename_new"],
    ] {
        let lacking = |call: &Call<'_>| {
            if missing.contains(&call.name) {
                Outcome::Fail(Errno::INVAL)
            } else {
                Outcome::Proceed
            }
        };
        let world = LibraryTarget::new();
        world.sync(&old(), &Run::with(lacking)).unwrap();
        assert_eq!(world.read(), old());
        world.write("README", &file("edit"));
        world.sync(&new(), &Run::with(lacking)).unwrap();
        assert_eq!(world.read(), new());
        assert!(world.contents().contains(&b"edit"[..]));
        world.assert_tidy();

        // A late edit is kept here too.
        let target = world.target.clone();
        let done = AtomicBool::new(false);
        let run = Run::with(move |call| {
            let replaces = matches!(call.name, "link" | "exchange")
                && (call.path.ends_with("README")
                    || call.to.is_some_and(|to| to.ends_with("README")));
            if replaces && !done.swap(true, Ordering::Relaxed) {
                fs::write(target.join("README"), "late").unwrap();
            }
            lacking(call)
        });
        let applied = world.sync(&old(), &run).unwrap();
        assert_eq!(applied.late.len(), 1, "{missing:?}");
        assert_eq!(world.read(), old());
        assert!(world.contents().contains(&b"late"[..]));
    }
}

#[test]
fn a_file_system_without_exchange_and_links_is_refused() {
    let world = LibraryTarget::new();
    let run = Run::with(|call| {
        if matches!(call.name, "exchange" | "link") {
            Outcome::Fail(Errno::OPNOTSUPP)
        } else {
            Outcome::Proceed
        }
    });
    let result = world.sync(&old(), &run);
    assert!(
        matches!(result, Err(Error::UnsupportedFileSystem { .. })),
        "{result:?}"
    );
    assert_eq!(world.read(), Tree::new());
    world.assert_tidy();
}

// The target's surroundings.

#[test]
fn a_target_that_root_could_be_led_away_from_is_refused() {
    use hyper_sync::fs::{Error, Target};
    let world = LibraryTarget::new();
    let link = world.target.with_file_name("link");
    symlink(&world.target, &link).unwrap();
    assert!(matches!(
        Target::open(&link),
        Err(Error::TargetSymlink { .. })
    ));
    let through = link.join("sub");
    fs::create_dir(world.target.join("sub")).unwrap();
    assert!(matches!(
        Target::open(&through),
        Err(Error::TargetSymlink { .. })
    ));
    let nowhere = world.target.join("no/where");
    assert!(matches!(
        Target::open_or_absent(&nowhere),
        Err(Error::TargetParentMissing { .. })
    ));
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let above = world.target.with_file_name("above");
    fs::create_dir_all(above.join("target")).unwrap();
    let open = || Target::open(&above.join("target"));
    let mode = |mode| fs::set_permissions(&above, fs::Permissions::from_mode(mode)).unwrap();
    let own =
        |path: &std::path::Path, uid| std::os::unix::fs::chown(path, Some(uid), Some(0)).unwrap();
    open().unwrap();
    mode(0o777);
    assert!(matches!(open(), Err(Error::TargetExposed { .. })));
    mode(0o1777);
    open().unwrap();
    mode(0o755);
    own(&above, 12345);
    assert!(matches!(open(), Err(Error::TargetExposed { .. })));
    own(&above.join("target"), 12345);
    open().unwrap();
}
