//! The plan against its table, cell by cell.

use super::*;
use crate::fs::{FileKind, Stat};
use crate::git::{BlobId, Oid};
use crate::scan::Below;

mod properties;

type Files = BTreeMap<RelPath, File>;

fn plan(base: &Files, local: &Locals, remote: &Files, policy: &Policy) -> Result<Plan, Error> {
    super::plan(base, local, &Arc::new(remote.clone()), policy)
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn id(content: u8) -> BlobId {
    BlobId(Oid::from_bytes([content; 20]))
}

fn file(content: u8) -> File {
    File {
        mode: FileMode::Regular,
        id: id(content),
    }
}

fn stat(kind: FileKind) -> Stat {
    Stat {
        kind,
        mode: 0o644,
        size: 0,
        mtime: 0,
        ctime: 0,
        ino: 0,
        uid: 0,
    }
}

fn on_disk(file: File) -> Local {
    match file.mode {
        FileMode::Symlink => Local::Symlink {
            id: file.id,
            stat: stat(FileKind::Symlink),
        },
        mode => Local::File {
            executable: mode == FileMode::Executable,
            id: Some(file.id),
            stat: stat(FileKind::File),
        },
    }
}

fn directory(paths: &[&str]) -> Local {
    let below = Below {
        paths: paths.iter().map(|text| path(text)).collect(),
        foreign: None,
    };
    Local::Directory {
        stat: stat(FileKind::Directory),
        below: Box::new(below),
    }
}

fn policy(local_edits: LocalEdits) -> Policy {
    Policy {
        local_edits,
        protect: Patterns::new(&["*-local.nix"]).unwrap(),
        exclude: Patterns::new(&["/var/"]).unwrap(),
        executable: Patterns::new(&["scripts/**/*.sh"]).unwrap(),
        require: vec![path("flake.nix")],
        mass_delete: MassDelete::Refuse,
    }
}

fn files(entries: &[(&str, File)]) -> Files {
    entries
        .iter()
        .map(|(text, file)| (path(text), *file))
        .collect()
}

fn locals(entries: &[(&str, Local)]) -> Locals {
    entries
        .iter()
        .map(|(text, local)| (path(text), local.clone()))
        .collect()
}

/// What the plan does at its only path.
#[derive(Debug, PartialEq)]
enum Done {
    Nothing,
    Adopted,
    Write { edited: bool },
    Delete { edited: bool },
    Keep(SkipReason),
    Conflict,
}

fn cell(
    name: &str,
    base: Option<u8>,
    local: Option<u8>,
    remote: Option<u8>,
    edits: LocalEdits,
) -> Done {
    let tree = |content: Option<u8>| {
        content
            .map(|content| (path(name), file(content)))
            .into_iter()
            .collect::<Files>()
    };
    let local = local
        .map(|content| (path(name), on_disk(file(content))))
        .into_iter()
        .collect();
    let policy = Policy {
        mass_delete: MassDelete::Allow,
        ..policy(edits)
    };
    match plan(&tree(base), &local, &tree(remote), &policy) {
        Err(other) => panic!("{other}"),
        Ok(plan) if !plan.conflicts().is_empty() => {
            assert_eq!(plan.conflicts().len(), 1);
            Done::Conflict
        }
        Ok(plan) => match (plan.operations(), plan.kept()) {
            ([], []) if plan.counts().adopted == 1 => Done::Adopted,
            ([], []) => Done::Nothing,
            (
                [
                    Operation {
                        after: None,
                        edited,
                        ..
                    },
                ],
                [],
            ) => Done::Delete { edited: *edited },
            (
                [
                    Operation {
                        after: Some(_),
                        edited,
                        ..
                    },
                ],
                [],
            ) => Done::Write { edited: *edited },
            ([], [kept]) => Done::Keep(kept.reason),
            other => panic!("{other:?}"),
        },
    }
}

/// Base, local and remote content, and what is done under replace, keep and refuse.
type Case = (Option<u8>, Option<u8>, Option<u8>, [Done; 3]);

#[test]
fn every_cell_of_the_table_has_its_action() {
    use Done::{Adopted, Conflict, Delete, Keep, Nothing, Write};
    use LocalEdits::{Keep as K, Refuse as F, Replace as R};
    let (write, rewrite) = (|| Write { edited: false }, || Write { edited: true });
    let table: [Case; 15] = [
        (Some(1), Some(1), Some(1), [Nothing, Nothing, Nothing]),
        (Some(1), Some(1), Some(2), [write(), write(), write()]),
        (
            Some(1),
            Some(1),
            None,
            [
                Delete { edited: false },
                Delete { edited: false },
                Delete { edited: false },
            ],
        ),
        (
            Some(1),
            Some(9),
            Some(1),
            [
                rewrite(),
                Keep(SkipReason::Policy),
                Keep(SkipReason::Untouched),
            ],
        ),
        (
            Some(1),
            Some(9),
            Some(2),
            [rewrite(), Keep(SkipReason::Policy), Conflict],
        ),
        (
            Some(1),
            Some(9),
            None,
            [Delete { edited: true }, Keep(SkipReason::Policy), Conflict],
        ),
        (Some(1), Some(2), Some(2), [Adopted, Adopted, Adopted]),
        (Some(1), None, Some(1), [write(), write(), write()]),
        (Some(1), None, Some(2), [write(), write(), write()]),
        (Some(1), None, None, [Nothing, Nothing, Nothing]),
        (None, None, Some(1), [write(), write(), write()]),
        (None, Some(1), Some(1), [Adopted, Adopted, Adopted]),
        (
            None,
            Some(9),
            Some(1),
            [rewrite(), Keep(SkipReason::Policy), Conflict],
        ),
        (None, Some(9), None, [Nothing, Nothing, Nothing]),
        (None, None, None, [Nothing, Nothing, Nothing]),
    ];
    for (base, local, remote, expected) in table {
        for (edits, expected) in [R, K, F].into_iter().zip(expected) {
            let done = cell("a", base, local, remote, edits);
            assert_eq!(done, expected, "{base:?} {local:?} {remote:?} {edits:?}");
        }
    }
}

#[test]
fn a_protected_edit_wins_under_every_policy_and_an_unedited_file_follows() {
    for edits in [LocalEdits::Replace, LocalEdits::Keep, LocalEdits::Refuse] {
        let protected = |base, local, remote| cell("perf-local.nix", base, local, remote, edits);
        for remote in [Some(1), Some(2), None] {
            assert_eq!(
                protected(Some(1), Some(9), remote),
                Done::Keep(SkipReason::Protected),
                "{edits:?} {remote:?}"
            );
        }
        assert_eq!(
            protected(None, Some(9), Some(1)),
            Done::Keep(SkipReason::Protected)
        );
        assert_eq!(
            protected(Some(1), Some(1), Some(2)),
            Done::Write { edited: false }
        );
        assert_eq!(
            protected(Some(1), Some(1), None),
            Done::Delete { edited: false }
        );
    }
}

#[test]
fn a_foreign_file_that_stays_does_not_become_ours() {
    let remote = files(&[("x-local.nix", file(1))]);
    let local = locals(&[("x-local.nix", on_disk(file(9)))]);
    let plan = plan(&Files::new(), &local, &remote, &policy(LocalEdits::Replace)).unwrap();
    assert!(plan.index().is_empty());
    let base = files(&[("x-local.nix", file(1))]);
    let plan = self::plan(
        &base,
        &local,
        &files(&[("x-local.nix", file(2))]),
        &policy(LocalEdits::Replace),
    )
    .unwrap();
    assert_eq!(
        plan.index()[&path("x-local.nix")],
        file(2),
        "an edited file of ours is measured against the new commit"
    );
}

#[test]
fn modes_and_types_count_as_content() {
    let executable = File {
        mode: FileMode::Executable,
        ..file(1)
    };
    let link = File {
        mode: FileMode::Symlink,
        ..file(1)
    };
    for (from, to) in [
        (file(1), executable),
        (executable, file(1)),
        (file(1), link),
        (link, file(1)),
    ] {
        let plan = plan(
            &files(&[("a", from)]),
            &locals(&[("a", on_disk(from))]),
            &files(&[("a", to)]),
            &policy(LocalEdits::Refuse),
        )
        .unwrap();
        assert_eq!(plan.operations().len(), 1, "{from:?} {to:?}");
        assert!(!plan.operations()[0].edited);
    }
}

#[test]
fn the_execute_bit_of_executable_patterns_is_ours() {
    let script = files(&[("scripts/a.sh", file(1))]);
    let executable = File {
        mode: FileMode::Executable,
        ..file(1)
    };
    let wanted = files(&[("scripts/a.sh", executable)]);
    for (base, local) in [
        (&script, file(1)),
        (&wanted, file(1)),
        (&Files::new(), file(1)),
    ] {
        let local = locals(&[("scripts/a.sh", on_disk(local))]);
        let plan = plan(base, &local, &wanted, &policy(LocalEdits::Refuse)).unwrap();
        assert!(!plan.operations()[0].edited, "{base:?}");
    }
    let local = locals(&[("scripts/a.sh", on_disk(executable))]);
    assert!(
        plan(&wanted, &local, &wanted, &policy(LocalEdits::Refuse))
            .unwrap()
            .operations()
            .is_empty()
    );
}

#[test]
fn a_directory_makes_room_for_a_file_only_when_all_of_it_is_ours() {
    let base = files(&[("d/a", file(1)), ("keep", file(1))]);
    let remote = files(&[("d", file(2)), ("keep", file(1))]);
    let kept = ("keep", on_disk(file(1)));
    let ours = locals(&[
        ("d/a", on_disk(file(1))),
        ("d", directory(&["d/a"])),
        kept.clone(),
    ]);
    let foreign = locals(&[
        ("d/a", on_disk(file(1))),
        ("d", directory(&["d/a", "d/theirs"])),
        kept,
    ]);
    for edits in [LocalEdits::Replace, LocalEdits::Refuse] {
        let plan = plan(&base, &ours, &remote, &policy(edits)).unwrap();
        assert_eq!(plan.operations().len(), 2);
        let refused = self::plan(&base, &foreign, &remote, &policy(edits)).unwrap();
        assert!(!refused.conflicts().is_empty(), "{edits:?}");
    }
    let plan = plan(&base, &foreign, &remote, &policy(LocalEdits::Keep)).unwrap();
    assert_eq!(plan.kept()[0].path, path("d"));
}

/// The error that a sync ends with.
fn refusal(plan: &Plan) -> Error {
    Error::Conflicts {
        conflicts: plan.conflicts().to_vec(),
        attempt: Attempt {
            command: "hyper-sync sync".to_owned(),
            back_to: None,
        },
    }
}

#[test]
fn a_file_makes_room_for_a_directory_only_when_it_is_ours() {
    let base = files(&[("d", file(1)), ("keep", file(1))]);
    let remote = files(&[("d/a", file(2)), ("keep", file(1))]);
    let kept = ("keep", on_disk(file(1)));
    let ours = locals(&[("d", on_disk(file(1))), kept.clone()]);
    let edited = locals(&[("d", on_disk(file(9))), kept.clone()]);
    let link = locals(&[
        (
            "d",
            on_disk(File {
                mode: FileMode::Symlink,
                ..file(9)
            }),
        ),
        kept,
    ]);
    assert_eq!(
        plan(&base, &ours, &remote, &policy(LocalEdits::Refuse))
            .unwrap()
            .operations()
            .len(),
        2
    );
    assert!(
        plan(&base, &edited, &remote, &policy(LocalEdits::Replace))
            .unwrap()
            .operations()[0]
            .edited
    );
    let refused = plan(&base, &edited, &remote, &policy(LocalEdits::Refuse)).unwrap();
    assert!(!refused.conflicts().is_empty());
    let kept = plan(&base, &edited, &remote, &policy(LocalEdits::Keep)).unwrap();
    assert_eq!(
        kept.kept()
            .iter()
            .map(|kept| kept.reason)
            .collect::<Vec<_>>(),
        [SkipReason::Policy, SkipReason::Blocked]
    );
    assert!(!kept.index().contains_key(&path("d/a")));
    let not_ours = files(&[("keep", file(1))]);
    for edits in [LocalEdits::Replace, LocalEdits::Refuse] {
        let refused = refusal(&plan(&not_ours, &link, &remote, &policy(edits)).unwrap());
        assert!(
            refused
                .to_string()
                .contains("in the way of a directory of the commit:\n  d"),
            "{refused}"
        );
    }
}

#[test]
fn conflicts_of_every_kind_are_sorted_by_path() {
    let base = files(&[("z", file(1)), ("m", file(1))]);
    let remote = files(&[("a", file(2)), ("m", file(2))]);
    let edited = locals(&[
        ("a", on_disk(file(3))),
        ("m", on_disk(file(3))),
        ("z", on_disk(file(3))),
    ]);
    let policy = Policy {
        mass_delete: MassDelete::Allow,
        ..policy(LocalEdits::Refuse)
    };
    let plan = plan(&base, &edited, &remote, &policy).unwrap();
    let conflicts = plan.conflicts().iter();
    let paths: Vec<_> = conflicts.map(|conflict| conflict.path.as_str()).collect();
    assert_eq!(paths, ["a", "m", "z"]);
}

#[test]
fn a_socket_in_the_way_is_a_conflict_and_one_elsewhere_is_not_looked_at() {
    let socket = Local::Special {
        stat: stat(FileKind::Special),
    };
    let base = files(&[("a", file(1)), ("b", file(1))]);
    let local = locals(&[("a", socket), ("b", on_disk(file(1)))]);
    let remote = files(&[("a", file(2)), ("b", file(1))]);
    let refused = plan(&base, &local, &remote, &policy(LocalEdits::Replace)).unwrap();
    assert_eq!(refused.conflicts()[0].problem, ConflictKind::Special);
    let plan = plan(
        &base,
        &local,
        &files(&[("b", file(1))]),
        &policy(LocalEdits::Replace),
    )
    .unwrap();
    assert!(plan.operations().is_empty());
}

#[test]
fn refuses_to_lose_most_of_the_tree_or_a_required_file() {
    let many = |count: usize| {
        let mut files: Files = (0..count)
            .map(|n| (path(&format!("{n}.nix")), file(1)))
            .collect();
        files.insert(path("flake.nix"), file(1));
        files
    };
    let base = many(20);
    let local = base
        .iter()
        .map(|(path, file)| (path.clone(), on_disk(*file)))
        .collect();
    let planned = |remote: &Files| plan(&base, &local, remote, &policy(LocalEdits::Replace));
    assert!(matches!(
        planned(&many(9)).unwrap_err(),
        Error::MassDelete {
            before: 21,
            after: 10
        }
    ));
    assert_eq!(planned(&many(10)).unwrap().operations().len(), 10);
    let mut without_flake = many(20);
    without_flake.remove(&path("flake.nix"));
    assert!(matches!(
        planned(&without_flake).unwrap_err(),
        Error::RequiredGone { .. }
    ));
    let mut linked = many(20);
    linked.insert(
        path("flake.nix"),
        File {
            mode: FileMode::Symlink,
            ..file(1)
        },
    );
    let asked_for = Policy {
        mass_delete: MassDelete::Allow,
        ..policy(LocalEdits::Replace)
    };
    let led = |policy: &Policy, leads: Option<bool>| check_required(&linked, policy, &|_| leads);
    let refused = led(&policy(LocalEdits::Replace), Some(false)).unwrap_err();
    assert!(matches!(refused, Error::RequiredGone { .. }));
    for leads in [Some(true), None] {
        assert!(led(&policy(LocalEdits::Replace), leads).is_ok());
    }
    assert!(led(&asked_for, Some(false)).is_ok());
    let all = plan(&base, &local, &Files::new(), &asked_for).unwrap();
    assert_eq!(all.operations().len(), 21);
}

#[test]
fn a_small_tree_may_lose_most_but_not_all() {
    let base = files(&[("a", file(1)), ("b", file(1)), ("c", file(1))]);
    let local = base
        .iter()
        .map(|(path, file)| (path.clone(), on_disk(*file)))
        .collect();
    let planned = |remote: Files| plan(&base, &local, &remote, &policy(LocalEdits::Replace));
    assert!(planned(files(&[("a", file(1))])).is_ok());
    assert!(matches!(
        planned(Files::new()).unwrap_err(),
        Error::MassDelete { .. }
    ));
}
