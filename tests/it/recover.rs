//! Recovery when more than a crash has happened: edits since, damaged or foreign records, lost content; and undo.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hyper_sync::apply::undo;
use hyper_sync::apply::{Error, Fate, Image, Late, RecoveryProblem, TxId};
use hyper_sync::fs::Outcome;
use hyper_sync::scan::Locals;
use hyper_sync::settings::LocalEdits;
use rustix::io::Errno;

use crate::apply::update::{
    active, dying, flip, half_way, is_half_way, killed, new, old, second_copy,
};
use crate::apply::world::{self, LibraryTarget, Node, Run, Tree, commit, file, path, tree};

fn everything(world: &LibraryTarget) -> (Tree, Tree) {
    (world.read(), world::read(&world.state))
}

#[test]
fn a_run_that_died_half_way_is_finished_by_the_recovery() {
    let world = half_way();
    assert_eq!(world.read()["a"], file("new a"));
    assert_eq!(world.read()["b"], file("old b"));
    let recovered = world.recover().unwrap().unwrap();
    assert_eq!(world.read(), new());
    world.assert_tidy();
    assert_eq!(recovered.point.unwrap().commit, commit(&new()));
    assert_eq!(
        (recovered.applied.written, recovered.applied.deleted),
        (6, 1)
    );
    assert_eq!(recovered.applied.late, []);
    assert_eq!(recovered.damaged_record, None);
    assert_eq!(world.index().unwrap().point.commit, commit(&new()));
    assert!(world.recover().unwrap().is_none());
}

#[test]
fn a_recovery_makes_the_index_that_the_run_would_have_made() {
    let [old, mut newer] = [old(), new()];
    newer.insert("found".to_owned(), file("there already"));
    let sync = |run: &Run| {
        let world = LibraryTarget::at(&old, |_| ());
        world.write("found", &file("there already"));
        world.write("x", &file("my x"));
        let _ = world.sync(&newer, run);
        world
    };
    let keep = |run: Run| Run {
        local_edits: LocalEdits::Keep,
        ..run
    };
    let done = sync(&keep(Run::default()));
    let died = sync(&keep(Run::with(dying(is_half_way))));
    died.recover().unwrap().unwrap();
    let [done, died] = [done, died].map(|world| world.index().unwrap());
    assert_eq!(done.files, died.files);
    assert_eq!(done.point, died.point);
    assert!(died.files.contains_key(&path("found")));
}

#[test]
fn an_update_is_finished_although_the_index_is_lost() {
    let damages: [fn(&Path); 2] = [|index| fs::remove_file(index).unwrap(), flip];
    for damage in damages {
        let world = half_way();
        damage(&world.state.join("index"));
        let recovered = world.recover().unwrap().unwrap();
        assert_eq!(recovered.point.unwrap().commit, commit(&new()));
        assert_eq!(world.read(), new());
        // A part of an index would hide that the rest is lost.
        assert!(!matches!(world.load_index(), Ok(Some(_))));
        world.sync(&new(), &Run::default()).unwrap();
        assert_eq!(world.index().unwrap().files.len(), new().len());
        assert_eq!(world.read(), new());
    }
}

#[test]
fn a_former_index_is_used_where_a_power_cut_has_torn_the_one_in_its_place() {
    let world = killed(|call| call.name == "unlink" && call.path.ends_with("tx/active"));
    let index = world.state.join("index");
    assert!(world.state.join("index.tmp").exists());
    fs::write(&index, b"hyper-sync index 3").unwrap();
    world.recover().unwrap().unwrap();
    assert_eq!(world.index().unwrap().point.commit, commit(&new()));
    assert_eq!(world.index().unwrap().files.len(), new().len());
    world.assert_tidy();
}

#[test]
fn what_was_staged_is_used_even_when_the_store_is_lost() {
    let world = half_way();
    world.store.0.lock().unwrap().clear();
    world.recover().unwrap();
    assert_eq!(world.read(), new());
}

#[test]
fn an_update_is_not_applied_over_an_unfinished_one() {
    let world = half_way();
    let before = everything(&world);
    let (target, state) = (world.open_target(), world.open_state());
    let plan = hyper_sync::plan::Plan::default();
    let update = hyper_sync::apply::Update {
        plan: &plan,
        local: &Locals::new(),
        looked_at: Some(0),
        before: None,
        after: world::point(&new()),
        directories: std::sync::Arc::default(),
        rolls_back: false,
    };
    let interrupt = std::sync::atomic::AtomicBool::new(false);
    let result = hyper_sync::apply::apply(
        &target,
        &state,
        &update,
        &world.store,
        &interrupt,
        &|_, _| (),
    );
    assert!(matches!(result, Err(Error::RecoveryFirst)), "{result:?}");
    assert_eq!(everything(&world), before);
}

#[test]
fn an_edit_made_after_the_crash_stays_and_is_reported() {
    let world = half_way();
    world.write("a", &file("edited the new one"));
    world.write("b", &file("edited the old one"));
    world.remove("n");
    world.write("n", &file("in the way"));
    let recovered = world.recover().unwrap().unwrap();
    let mut late = recovered.applied.late;
    late.sort_by(|a, b| a.path.cmp(&b.path));
    let reported: Vec<_> = late
        .iter()
        .map(|late| (late.path.as_str(), &late.fate))
        .collect();
    assert_eq!(
        reported,
        [
            ("a", &Fate::InPlace),
            ("b", &Fate::InPlace),
            ("n/l", &Fate::Blocked),
            ("n/m/o", &Fate::Blocked)
        ]
    );
    let now = world.read();
    assert_eq!(now["a"], file("edited the new one"));
    assert_eq!(now["b"], file("edited the old one"));
    assert_eq!(now["n"], file("in the way"));
    assert_eq!(
        now["flake.nix"],
        file("new flake"),
        "the rest is carried out"
    );
    world.assert_tidy();
}

/// Dies when nothing is in place yet.
fn before_the_first_move() -> LibraryTarget {
    killed(|call| call.name == "rename_new" && call.to.is_some_and(|to| to.ends_with("target/n")))
}

#[test]
fn a_directory_that_is_made_after_the_crash_gets_the_files_one_by_one() {
    let world = before_the_first_move();
    // What was staged is enough.
    world.store.0.lock().unwrap().clear();
    world.write("n/mine", &file("mine"));
    world.write("n/m/o", &file("my own"));
    let recovered = world.recover().unwrap().unwrap();
    let late: Vec<_> = { recovered.applied.late.iter() }
        .map(|late| (late.path.as_str(), &late.fate))
        .collect();
    assert_eq!(late, [("n/m/o", &Fate::InPlace)]);
    let mut expected = new();
    expected.insert("n/mine".to_owned(), file("mine"));
    expected.insert("n/m/o".to_owned(), file("my own"));
    assert_eq!(world.read(), expected);
    world.assert_tidy();
}

#[test]
fn a_corrupted_file_of_a_staged_directory_is_never_put_in_place() {
    let spoil: [fn(&Path); 4] = [
        |staged| fs::write(staged, "corrupt").unwrap(),
        |staged| fs::remove_file(staged).unwrap(),
        |staged| fs::set_permissions(staged, fs::Permissions::from_mode(0o666)).unwrap(),
        |staged| {
            fs::remove_file(staged).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", staged).unwrap();
        },
    ];
    for spoil in spoil {
        let world = before_the_first_move();
        spoil(&world.target.join(".hyper-sync.tmp/new/n/m/o"));
        world.recover().unwrap();
        assert_eq!(world.read(), new());
        world.assert_tidy();
    }
}

#[test]
fn a_late_edit_that_was_displaced_but_not_yet_kept_is_kept() {
    let world = LibraryTarget::at(&old(), |_| ());
    let target = world.target.clone();
    let dead = std::sync::atomic::AtomicBool::new(false);
    let run = Run::with(move |call| {
        use std::sync::atomic::Ordering::Relaxed;
        let replaces_a =
            call.name == "exchange" && call.to.is_some_and(|to| to.ends_with("target/a"));
        if replaces_a {
            fs::write(target.join("a"), "late").unwrap();
        }
        // The next call would make the directory where the edit is to be kept.
        if dead.load(Relaxed) || call.path.ends_with("conflicts") {
            dead.store(true, Relaxed);
            return Outcome::Torn(Errno::IO);
        }
        Outcome::Proceed
    });
    world.sync(&new(), &run).unwrap_err();
    let recovered = world.recover().unwrap().unwrap();
    let kept = world.state.join("conflicts/000002/a");
    assert_eq!(fs::read(&kept).unwrap(), b"late");
    assert_eq!(recovered.applied.late[0].fate, Fate::KeptAside(kept));
    assert_eq!(world.read(), new());
}

#[test]
fn half_written_small_files_are_removed() {
    let world = LibraryTarget::at(&old(), |_| ());
    let unfinished = ["index.tmp", "hold.tmp", ".sync-state.json.hyper-sync"];
    for name in unfinished {
        fs::write(world.state.join(name), "half").unwrap();
    }
    fs::create_dir(world.state.join("mine.tmp")).unwrap();
    fs::write(world.state.join("mine.txt"), "mine").unwrap();
    assert!(world.recover().unwrap().is_none());
    for name in unfinished {
        assert!(!world.state.join(name).exists(), "{name}");
    }
    assert!(world.state.join("mine.tmp").exists());
    assert!(world.state.join("mine.txt").exists());
}

#[test]
fn a_lost_staging_directory_is_made_again_from_the_store() {
    let world = half_way();
    world.remove(".hyper-sync.tmp");
    world.recover().unwrap();
    assert_eq!(world.read(), new());
    world.assert_tidy();
}

#[test]
fn a_removed_target_is_made_again() {
    let world = half_way();
    fs::remove_dir_all(&world.target).unwrap();
    world.recover().unwrap();
    assert_eq!(world.read(), new());
}

#[test]
fn content_that_is_nowhere_needs_a_person_and_nothing_is_touched() {
    let world = half_way();
    world.remove(".hyper-sync.tmp");
    world.store.0.lock().unwrap().remove(&world::id(b"new b"));
    let before = everything(&world);
    match world.recover().unwrap_err() {
        Error::NeedsPerson {
            problem: RecoveryProblem::Content(paths),
        } => assert_eq!(paths, [path("b")]),
        error => panic!("{error:?}"),
    }
    assert_eq!(everything(&world), before);
}

#[test]
fn a_corrupted_staged_file_is_never_put_in_place() {
    for entry in ["0", "1", "4"] {
        let world = half_way();
        let staged = world.target.join(".hyper-sync.tmp").join(entry);
        if staged.is_file() {
            fs::write(&staged, "corrupt").unwrap();
        }
        world.recover().unwrap();
        assert_eq!(world.read(), new(), "{entry}");
    }
}

#[test]
fn a_damaged_record_is_replaced_by_its_second_copy() {
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |path| fs::write(path, "").unwrap(),
        |path| flip(path),
        |path| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("elsewhere", path).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ];
    for damage in damages {
        let world = half_way();
        damage(&active(&world));
        let recovered = world.recover().unwrap().unwrap();
        assert_eq!(
            recovered.damaged_record,
            Some(world.state.join("tx/active.damaged"))
        );
        assert_eq!(recovered.applied.late, []);
        assert_eq!(world.read(), new());
    }
}

/// By the real binary: the first command that reads the record moves it away.
#[test]
fn the_command_that_finds_a_damaged_record_reports_where_it_was_moved() {
    for command in [
        &["sync"][..],
        &["restore", "modules/base.nix"],
        &["rollback"],
    ] {
        let world = crate::older_state::older_world("interrupted");
        flip(&world.state().join("tx/active"));
        let output = world.run(command).ok();
        assert!(
            output.masked().contains(
                "the record of an interrupted update was damaged and is now `[state]/tx/active.damaged`"
            ),
            "{command:?}: {}",
            output.masked()
        );
        let world = crate::older_state::older_world("interrupted");
        flip(&world.state().join("tx/active"));
        let notices = world.run(&[command, &["--json"]].concat()).ok().json()["notices"].clone();
        assert!(
            notices.to_string().contains("tx/active.damaged"),
            "{command:?}: {notices}"
        );
    }
}

#[test]
fn with_both_records_damaged_no_byte_is_lost_and_the_next_sync_heals() {
    let world = half_way();
    // A late edit that only the staging directory holds.
    fs::write(world.target.join(".hyper-sync.tmp/o7"), "only here").unwrap();
    flip(&active(&world));
    flip(&second_copy(&world));
    let recovered = world.recover().unwrap().unwrap();
    assert_eq!(recovered.point, None);
    assert_eq!(recovered.applied.late.len(), 1);
    for node in old().values() {
        assert!(world.contents().contains(node.bytes()), "{node:?}");
    }
    assert!(world.contents().contains(&b"only here"[..]));
    assert!(world.recover().unwrap().is_none());
    world.sync(&new(), &Run::default()).unwrap();
    assert_eq!(world.read(), new());
}

#[test]
fn with_both_records_damaged_what_only_a_staged_directory_has_is_kept() {
    let world = before_the_first_move();
    let staged = world.target.join(".hyper-sync.tmp/new/n/m/o");
    fs::write(staged, "only here").unwrap();
    flip(&active(&world));
    flip(&second_copy(&world));
    let late = world.recover().unwrap().unwrap().applied.late;
    let kept = world.state.join("conflicts/000002/new/n/m/o");
    assert_eq!(fs::read(&kept).unwrap(), b"only here");
    let expected = Late {
        path: path("new/n/m/o"),
        fate: Fate::KeptAside(kept),
    };
    assert_eq!(late, [expected]);
    world.sync(&new(), &Run::default()).unwrap();
    assert_eq!(world.read(), new());
}

#[test]
fn a_record_of_a_newer_format_stops_the_run_and_nothing_is_touched() {
    let world = half_way();
    fs::copy(
        "tests/data/state/transaction-from-the-future",
        active(&world),
    )
    .unwrap();
    let before = everything(&world);
    let error = world.recover().unwrap_err();
    let newer = matches!(
        error,
        Error::State(hyper_sync::state::Error::Newer { version: 4711, .. })
    );
    assert!(newer, "{error:?}");
    assert_eq!(everything(&world), before);
}

/// Writes a file of the state directory with a right seal.
pub(crate) fn seal(path: &Path, what: &str, body: &[u8]) {
    use sha2::Digest as _;
    let line = format!("{what}\n");
    let sum = sha2::Sha256::new().chain_update(line).chain_update(body);
    let sum = data_encoding::HEXLOWER.encode(&sum.finalize());
    fs::write(path, [format!("{what} {sum}\n").as_bytes(), body].concat()).unwrap();
}

#[test]
fn a_record_that_no_run_writes_needs_a_person_and_nothing_is_touched() {
    let spoil: [(&str, &str); 9] = [
        ("\"path\":\"a\"", "\"path\":\"../a\""),
        ("\"path\":\"a\"", "\"path\":\"/etc/passwd\""),
        ("\"path\":\"a\"", "\"path\":\".git/config\""),
        ("\"path\":\"a\"", "\"path\":\".hyper-sync.tmp/x\""),
        ("\"path\":\"a\"", "\"path\":\"b\""),
        ("\"path\":\"a\"", "\"path\":\"c\""),
        ("\"path\":\"n/l\"", "\"path\":\"b/l\""),
        ("\"mode\":\"100644\"", "\"mode\":\"104755\""),
        ("\"id\":2", "\"surprise\":1,\"id\":2"),
    ];
    for (from, to) in spoil {
        let world = half_way();
        let sealed = fs::read_to_string(active(&world)).unwrap();
        let (_, body) = sealed.split_once('\n').unwrap();
        assert!(body.contains(from), "{from} is not in {body}");
        seal(
            &active(&world),
            "hyper-sync transaction 1",
            body.replacen(from, to, 1).as_bytes(),
        );
        let before = everything(&world);
        let error = world.recover().unwrap_err();
        let refused = matches!(
            error,
            Error::NeedsPerson {
                problem: RecoveryProblem::Record
            }
        );
        assert!(refused, "{to}: {error:?}");
        assert_eq!(everything(&world), before, "{to}");
    }
    let world = half_way();
    let target = world.target.to_str().unwrap();
    let own = fs::read_to_string(active(&world)).unwrap();
    let (_, body) = own.split_once('\n').unwrap();
    seal(
        &active(&world),
        "hyper-sync transaction 1",
        body.replace(target, "/etc/nixos").as_bytes(),
    );
    let before = everything(&world);
    match world.recover().unwrap_err() {
        Error::NeedsPerson {
            problem: RecoveryProblem::OtherTarget(other),
        } => assert_eq!(other, "/etc/nixos"),
        error => panic!("{error:?}"),
    }
    assert_eq!(everything(&world), before);
}

#[test]
fn a_record_that_others_could_have_written_is_not_trusted() {
    let world = half_way();
    let body = fs::read(active(&world)).unwrap();
    fs::set_permissions(active(&world), fs::Permissions::from_mode(0o666)).unwrap();
    let recovered = world.recover().unwrap().unwrap();
    let aside = recovered.damaged_record.unwrap();
    assert_eq!(fs::read(aside).unwrap(), body);
    assert_eq!(world.read(), new(), "the second copy is used");
}

/// With any single file damaged, in the middle of an update or after one, the next runs end at the commit, or report
/// that a person is needed and change nothing; and nothing that was not in the damaged file is lost.
#[test]
fn any_single_damaged_file_is_survived() {
    type Damage = fn(&Path);
    let damages: [Damage; 3] = [
        |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        |path| {
            if fs::metadata(path).unwrap().len() > 0 {
                flip(path);
            }
        },
        |path| fs::remove_file(path).unwrap(),
    ];
    let finished = || {
        let world = LibraryTarget::at(&old(), |world| world.write("a", &file("edit")));
        world.sync(&new(), &Run::default()).unwrap();
        world
    };
    let moments: [&dyn Fn() -> LibraryTarget; 4] = [
        &half_way,
        &|| killed(|call| call.name == "rename" && call.path.ends_with("000002.plan")),
        &|| killed(|call| call.name == "unlink" && call.path.ends_with("tx/active")),
        &finished,
    ];
    let mut cases = 0;
    for make in moments {
        for (which, damage) in damages.iter().enumerate() {
            for number in 0.. {
                let world = make();
                let state = world::read(&world.state)
                    .into_iter()
                    .map(|(name, node)| (world.state.join(name), node));
                let target = world
                    .read()
                    .into_iter()
                    .map(|(name, node)| (world.target.join(name), node));
                let files: Vec<(PathBuf, Node)> = state
                    .chain(target)
                    .filter(|(path, node)| {
                        let plain =
                            matches!(node, Node::File(_) | Node::Executable(_) | Node::Odd(..));
                        plain && !path.ends_with("lock")
                    })
                    .collect();
                let Some((victim, node)) = files.get(number) else {
                    break;
                };
                let kept = world.contents();
                damage(victim);
                cases += 1;
                let context = format!("{} damaged by {which}", victim.display());
                world
                    .recover()
                    .unwrap_or_else(|error| panic!("{context}: {error:?}"));
                world
                    .sync(&new(), &Run::default())
                    .unwrap_or_else(|error| panic!("{context}: {error:?}"));
                for (name, node) in new() {
                    assert_eq!(world.read().get(&name), Some(&node), "{context}");
                }
                let now = world.contents();
                for bytes in old().values().map(|node| node.bytes().to_vec()) {
                    let there = kept.contains(&bytes) && bytes != node.bytes();
                    assert!(
                        !there || now.contains(&bytes),
                        "{context}: {bytes:?} is lost"
                    );
                }
            }
        }
    }
    assert!(cases >= 100, "only {cases} cases");
}

// Undo.

fn edited_then_synced() -> (LibraryTarget, TxId) {
    let world = LibraryTarget::at(&old(), |world| {
        world.write("a", &file("my edit"));
        world.write("n/l", &file("not ours"));
    });
    let id = world.sync(&new(), &Run::default()).unwrap().id.unwrap();
    (world, id)
}

#[test]
fn undo_lists_what_an_update_replaced_and_has_the_bytes() {
    let (world, id) = edited_then_synced();
    let state = world.open_state();
    assert_eq!(undo::list(&state).unwrap(), [id, TxId(1)]);
    let record = undo::load(&state, id).unwrap();
    assert_eq!(record.before.as_ref().unwrap().commit, commit(&old()));
    assert_eq!(record.after.commit, commit(&new()));
    let listed: Vec<_> = record
        .changes
        .iter()
        .map(|change| (change.path.as_str(), change.edited, change.after.is_some()))
        .collect();
    assert_eq!(
        listed,
        [
            ("a", true, true),
            ("b", false, true),
            ("d/gone", false, false),
            ("flake.nix", false, true),
            ("n/l", true, true),
            ("n/m/o", false, true),
            ("x", false, true),
        ]
    );
    for (name, bytes) in [("a", "my edit"), ("d/gone", "gone"), ("n/l", "not ours")] {
        let content = undo::content(&state, &record, &path(name)).unwrap();
        assert_eq!(content, bytes.as_bytes());
    }
    let first = undo::load(&state, TxId(1)).unwrap();
    assert_eq!(first.before, None);
    assert!(
        first
            .changes
            .iter()
            .all(|change| change.before == Image::Missing)
    );
}

#[test]
fn undo_never_returns_damaged_content() {
    let (world, id) = edited_then_synced();
    let state = world.open_state();
    let kept = world.state.join(format!("undo/{id}"));
    let record = undo::load(&state, id).unwrap();
    flip(&kept.join(world::id(b"my edit").to_string()));
    fs::remove_file(kept.join(world::id(b"gone").to_string())).unwrap();
    for name in ["a", "d/gone"] {
        let error = undo::content(&state, &record, &path(name)).unwrap_err();
        assert!(
            matches!(error, undo::Error::ContentDamaged { .. }),
            "{error:?}"
        );
    }
    let error = undo::content(&state, &record, &path("untouched")).unwrap_err();
    assert!(
        matches!(error, undo::Error::NotReplaced { .. }),
        "{error:?}"
    );
    flip(&kept.join("transaction"));
    let error = undo::load(&state, id).unwrap_err();
    assert!(matches!(error, undo::Error::Damaged { .. }), "{error:?}");
    let error = undo::load(&state, TxId(77)).unwrap_err();
    assert!(matches!(error, undo::Error::Gone { .. }), "{error:?}");
}

#[test]
fn the_last_ten_updates_can_be_undone() {
    let world = LibraryTarget::new();
    for number in 0..13 {
        let tree = tree([("a", file(&format!("version {number}")))]);
        world.sync(&tree, &Run::default()).unwrap();
    }
    let state = world.open_state();
    let expected: Vec<TxId> = (4..=13).rev().map(TxId).collect();
    assert_eq!(undo::list(&state).unwrap(), expected);
    let oldest = undo::load(&state, TxId(4)).unwrap();
    let content = undo::content(&state, &oldest, &path("a")).unwrap();
    assert_eq!(content, b"version 2");
}

#[test]
fn kept_updates_take_a_gigabyte_together_at_most() {
    let named_size = "000003/bytes-1073741824";
    let measured = "000004/0000000000000000000000000000000000000000";
    for (large, size) in [(named_size, 0), (measured, 1 << 30)] {
        let world = LibraryTarget::new();
        for number in 0..5 {
            let tree = tree([("a", file(&format!("version {number}")))]);
            world.sync(&tree, &Run::default()).unwrap();
        }
        let undo = world.state.join("undo");
        let update = undo.join(large.split_once('/').unwrap().0);
        let own = fs::read_dir(&update).unwrap();
        let own = own.map(|entry| entry.unwrap().path());
        let own = own.filter(|path| path.to_str().unwrap().contains("bytes-"));
        own.for_each(|path| fs::remove_file(path).unwrap());
        let file = fs::File::create(undo.join(large)).unwrap();
        file.set_len(size).unwrap();
        world.sync(&new(), &Run::default()).unwrap();
        let kept: Vec<u64> = undo::list(&world.open_state())
            .unwrap()
            .into_iter()
            .map(|id| id.0)
            .collect();
        let first: u64 = large[..6].parse().unwrap();
        assert_eq!(kept, (first + 1..=6).rev().collect::<Vec<_>>(), "{large}");
    }
}

#[test]
fn a_record_of_any_version_loads() {
    let world = LibraryTarget::new();
    let state = world.open_state();
    let kept = world.state.join("undo/000002");
    fs::create_dir_all(&kept).unwrap();
    let repository = Some("https://git.example.org/config");
    for (version, repository) in [(1, None), (2, repository), (3, repository)] {
        let data = format!("tests/data/state/transaction-v{version}");
        fs::copy(data, kept.join("transaction")).unwrap();
        let record = undo::load(&state, TxId(2)).unwrap();
        assert_eq!(record.changes.len(), 5);
        assert_eq!(record.time.to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(record.after.reference, "main");
        assert_eq!(record.after.repository.as_deref(), repository);
    }
}
