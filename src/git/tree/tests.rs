//! Trees as git writes them, and as it never would.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::object::parse;
use super::*;
use crate::git::id::ObjectKind;
use proptest::prelude::*;

const BLOB: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
const ANY: Bounds = Bounds { entries: 1000 };

fn raw(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut raw = Vec::new();
    for (mode, name) in entries {
        raw.extend_from_slice(mode.as_bytes());
        raw.push(b' ');
        raw.extend_from_slice(name);
        raw.push(0);
        raw.extend_from_slice(BLOB.parse::<Oid>().unwrap().as_bytes());
    }
    raw
}

fn walk_one(raw: &[u8]) -> Result<Tree, TreeFault> {
    let root = TreeId(Oid::of(ObjectKind::Tree, raw).unwrap());
    Tree::walk(root, ANY, None, |_| Ok::<_, ()>(raw.to_vec())).map_err(|error| match error {
        WalkError::Fault(fault) => fault,
        WalkError::Read(()) => unreachable!(),
    })
}

#[test]
fn walks_from_the_root_and_keeps_every_kind() {
    let entry = |mode, name: &'static str, id| TreeEntry {
        mode,
        name: name.as_bytes(),
        id,
    };
    let blob: Oid = BLOB.parse().unwrap();
    let inner = encode(vec![entry(0o100_755, "run", blob)]);
    let inner_id = Oid::of(ObjectKind::Tree, &inner).unwrap();
    let outer = encode(vec![
        entry(0o040_000, "a", inner_id),
        entry(0o120_000, "link", blob),
        entry(0o160_000, "module", blob),
        entry(0o100_644, "a.txt", blob),
        entry(0o100_644, "a0", blob),
    ]);
    let root = TreeId(Oid::of(ObjectKind::Tree, &outer).unwrap());
    let tree = Tree::walk(root, ANY, None, |id| {
        if id == root {
            Ok::<_, ()>(outer.clone())
        } else {
            Ok(inner.clone())
        }
    })
    .unwrap();
    let files: Vec<_> = tree
        .files()
        .iter()
        .map(|(path, file)| (path.as_str(), file.mode))
        .collect();
    assert_eq!(
        files,
        [
            ("a.txt", FileMode::Regular),
            ("a/run", FileMode::Executable),
            ("a0", FileMode::Regular),
            ("link", FileMode::Symlink),
        ]
    );
    assert_eq!(tree.directories().len(), 1);
    assert_eq!(tree.gitlinks().len(), 1);
    assert_eq!(tree.root(), root);
}

#[test]
fn the_empty_tree_is_a_tree() {
    assert!(walk_one(b"").unwrap().files().is_empty());
}

#[test]
fn refuses_objects_that_are_not_what_they_were_asked_for() {
    let good = raw(&[("100644", b"a")]);
    let root = TreeId(Oid::of(ObjectKind::Tree, b"").unwrap());
    let walked = Tree::walk(root, ANY, None, |_| Ok::<_, ()>(good.clone()));
    assert!(matches!(
        walked,
        Err(WalkError::Fault(TreeFault::OtherId { .. }))
    ));
    for bytes in [&b"100644"[..], b"100644 a", b"100644 a\0short", b"\0\0\0"] {
        assert!(
            matches!(walk_one(bytes), Err(TreeFault::Malformed { .. })),
            "{bytes:?}"
        );
    }
}

#[test]
fn refuses_hostile_entries() {
    let fault = |entries: &[(&str, &[u8])]| walk_one(&raw(entries)).unwrap_err();
    assert!(matches!(
        fault(&[("100644", b"b"), ("100644", b"a")]),
        TreeFault::Unsorted { .. }
    ));
    assert!(matches!(
        fault(&[("40000", b"a"), ("100644", b"a.b")]),
        TreeFault::Unsorted { .. }
    ));
    assert!(matches!(
        fault(&[("100644", b"a"), ("100644", b"a")]),
        TreeFault::Duplicate { .. }
    ));
    assert!(matches!(
        fault(&[("100644", b"a"), ("100644", b"a.b"), ("40000", b"a")]),
        TreeFault::Duplicate { .. }
    ));
    assert!(matches!(
        fault(&[("120000", b"a"), ("40000", b"a")]),
        TreeFault::Duplicate { .. }
    ));
    assert!(matches!(fault(&[("104755", b"a")]), TreeFault::Mode { .. }));
    assert!(matches!(
        fault(&[("100644", b"a/b")]),
        TreeFault::Path {
            fault: path::PathFault::Empty,
            ..
        }
    ));
    assert!(matches!(
        fault(&[("40000", b".GIT")]),
        TreeFault::Path {
            fault: path::PathFault::DotGit,
            ..
        }
    ));
    assert!(matches!(
        fault(&[
            ("100644", "cafe\u{301}".as_bytes()),
            ("100644", "caf\u{e9}".as_bytes())
        ]),
        TreeFault::SameName { .. }
    ));
    assert!(walk_one(&raw(&[("100644", "cafe\u{301}".as_bytes())])).is_ok());
    let mut null = b"100644 a\0".to_vec();
    null.extend_from_slice(&[0; 20]);
    assert!(matches!(walk_one(&null), Err(TreeFault::NullId { .. })));
}

#[test]
fn stops_at_the_limit_even_where_a_tree_repeats_itself() {
    // A tree of ten equal subtrees, eight levels deep, is a hundred million entries in nine small objects.
    let mut level = raw(&[("100644", b"x")]);
    let mut objects = HashMap::new();
    for _ in 0..8 {
        let id = Oid::of(ObjectKind::Tree, &level).unwrap();
        objects.insert(TreeId(id), level);
        level = encode(
            (0..10)
                .map(|n| TreeEntry {
                    mode: 0o040_000,
                    name: &b"abcdefghij"[n..=n],
                    id,
                })
                .collect(),
        );
    }
    let root = TreeId(Oid::of(ObjectKind::Tree, &level).unwrap());
    objects.insert(root, level);
    let walked = Tree::walk(root, ANY, None, |id| objects.get(&id).cloned().ok_or(()));
    assert!(matches!(
        walked,
        Err(WalkError::Fault(TreeFault::TooLarge { limit: 1000 }))
    ));
}

#[test]
fn names_paths_that_differ_only_in_case() {
    let tree = walk_one(&raw(&[
        ("100644", b"README"),
        ("100644", b"other"),
        ("100644", b"readme"),
    ]))
    .unwrap();
    let pairs = tree.case_collisions();
    assert_eq!(pairs.len(), 1);
    assert_eq!(
        (pairs[0].0.as_str(), pairs[0].1.as_str()),
        ("README", "readme")
    );
}

#[test]
fn what_is_refused_is_shown_by_its_bytes_and_code_points() {
    for (names, shown) in [
        (&[&b"caf\xe9.nix"[..]][..], "`caf\\xE9.nix` is not UTF-8"),
        (
            &["a\u{200b}b".as_bytes()],
            "`a\\u{200b}b` has the invisible or direction-changing character U+200B",
        ),
        (
            &["a\u{a0}b".as_bytes()],
            "`a\\u{a0}b` has the blank character U+00A0, which is not the space",
        ),
        (
            &["cafe\u{301}".as_bytes(), "caf\u{e9}".as_bytes()],
            "`caf\\u{e9}` and `cafe\\u{301}` are the same name in Unicode",
        ),
    ] {
        let entries: Vec<_> = names.iter().map(|name| ("100644", *name)).collect();
        assert_eq!(walk_one(&raw(&entries)).unwrap_err().to_string(), shown);
    }
}

/// What is wrong with entries, by the plain rules: each name is compared with all before it.
fn by_the_rules(id: TreeId, entries: &[(&str, &str)]) -> Option<TreeFault> {
    let key = |(mode, name): (&str, &str)| match mode {
        "40000" => format!("{name}/"),
        _ => name.to_owned(),
    };
    for (at, &(mode, name)) in entries.iter().enumerate() {
        let path = || text::name(name);
        if let Err(fault) = RelPath::new(name.as_bytes()) {
            return Some(TreeFault::Path {
                path: path(),
                fault,
            });
        }
        if entries[..at].iter().any(|&(_, known)| known == name) {
            return Some(TreeFault::Duplicate { path: path() });
        }
        if entries[..at]
            .last()
            .is_some_and(|&last| key(last) >= key((mode, name)))
        {
            return Some(TreeFault::Unsorted { id });
        }
    }
    entries.iter().enumerate().find_map(|(at, &(_, name))| {
        let normal = path::normalised(name);
        let mut before = entries[..at].iter();
        let (_, other) = before.find(|(_, known)| path::normalised(known) == normal)?;
        Some(TreeFault::SameName {
            path: name.to_owned(),
            other: (*other).to_owned(),
        })
    })
}

/// Writes the tree of files at these paths; where one is also above another, the directory counts.
fn write(paths: &[&[&str]], objects: &mut HashMap<TreeId, Vec<u8>>) -> TreeId {
    let mut below: BTreeMap<&str, Vec<&[&str]>> = BTreeMap::new();
    for path in paths {
        let rest = below.entry(path[0]).or_default();
        rest.extend(Some(&path[1..]).filter(|rest| !rest.is_empty()));
    }
    let entries = below.into_iter().map(|(name, rest)| {
        let (mode, id) = if rest.is_empty() {
            // Names of one letter are submodules.
            let is_module = name.len() == 1;
            let mode = if is_module { 0o160_000 } else { 0o100_644 };
            (mode, BLOB.parse().unwrap())
        } else {
            (0o040_000, write(&rest, objects).0)
        };
        let name = name.as_bytes();
        TreeEntry { mode, name, id }
    });
    let raw = encode(entries.collect());
    let id = TreeId(Oid::of(ObjectKind::Tree, &raw).unwrap());
    objects.insert(id, raw);
    id
}

/// The tree objects of files at these paths, and the id of the root.
fn objects_of(paths: &[Vec<&'static str>]) -> (TreeId, HashMap<TreeId, Vec<u8>>) {
    let mut objects = HashMap::new();
    let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
    let root = write(&paths, &mut objects);
    (root, objects)
}

/// The tree of files at these paths.
fn tree_of(paths: &[Vec<&'static str>]) -> Result<Tree, TreeFault> {
    let (root, objects) = objects_of(paths);
    let tree = Tree::walk(root, ANY, None, |id| objects.get(&id).cloned().ok_or(()));
    match tree {
        Ok(tree) => Ok(tree),
        Err(WalkError::Fault(fault)) => Err(fault),
        Err(WalkError::Read(())) => unreachable!(),
    }
}

/// Names that sort around the slash, that are one but for case or normal form, and two that are refused.
fn any_name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(
        &[
            "a",
            "A",
            "a-",
            "a.b",
            "A.B",
            "a0",
            "aa",
            "k",
            "K",
            "\u{212a}",
            "\u{e9}",
            "\u{c9}",
            "e\u{301}",
            "E\u{301}",
            "\u{3a3}",
            "\u{3c2}",
            "\u{3c3}",
            "..",
            "x\u{200b}",
        ][..],
    )
}

proptest! {
    #[test]
    fn a_tree_object_is_refused_as_the_plain_rules_have_it(
        mut entries in proptest::collection::vec(
            (proptest::sample::select(&["100644", "120000", "40000", "160000"][..]), any_name()), 0..7),
        is_sorted in any::<bool>(),
    ) {
        if is_sorted {
            entries.sort_by_key(|(mode, name)| format!("{name}{}", if *mode == "40000" { "/" } else { "" }));
        }
        let bytes: Vec<_> = entries.iter().map(|(mode, name)| (*mode, name.as_bytes())).collect();
        let bytes = raw(&bytes);
        let id = TreeId(Oid::of(ObjectKind::Tree, &bytes).unwrap());
        let parsed = parse(id, None, &bytes);
        let expected = by_the_rules(id, &entries);
        prop_assert_eq!(parsed.as_ref().err(), expected.as_ref());
        if let Ok(listed) = parsed {
            let names = listed.iter().map(|(path, mode, _)| (mode.as_str(), path.as_str()));
            prop_assert!(names.eq(entries.iter().copied()));
        }
    }

    #[test]
    fn a_tree_has_the_paths_it_was_made_of_and_the_pairs_among_them(
        paths in proptest::collection::vec(proptest::collection::vec(any_name(), 1..4), 0..12),
    ) {
        let Ok(tree) = tree_of(&paths) else {
            return Ok(());
        };
        let is_above = |path: &Vec<&str>| paths.iter().any(|other| other.len() > path.len() && other.starts_with(path));
        let files: BTreeSet<String> =
            paths.iter().filter(|path| !is_above(path)).map(|path| path.join("/")).collect();
        let found: BTreeSet<String> =
            tree.files().keys().chain(tree.gitlinks().keys()).map(RelPath::to_string).collect();
        prop_assert_eq!(found, files);

        let mut seen = BTreeMap::new();
        let mut pairs = Vec::new();
        for path in tree.files().keys().chain(tree.directories().keys()).chain(tree.gitlinks().keys()) {
            let first = *seen
                .entry(path::folded(path.as_str()))
                .or_insert(path);
            if first != path {
                pairs.push((first.clone(), path.clone()));
            }
        }
        prop_assert_eq!(tree.case_collisions(), pairs);
    }

    #[test]
    fn a_tree_is_the_same_where_directories_of_it_are_known(
        before in proptest::collection::vec(proptest::collection::vec(any_name(), 1..4), 0..12),
        more in proptest::collection::vec(proptest::collection::vec(any_name(), 1..4), 0..3),
        not_managed in any::<proptest::sample::Index>(),
        limit in 0_u64..30,
    ) {
        let paths = [before.clone(), more].concat();
        let (Ok(before), Ok(tree)) = (tree_of(&before), tree_of(&paths)) else {
            return Ok(());
        };
        // One file is as it is in the commit in no directory above it.
        let mut files = BTreeMap::clone(before.files());
        if !files.is_empty() {
            let path = files.keys().nth(not_managed.index(files.len() * 2));
            let path = path.cloned();
            path.map(|path| files.remove(&path));
        }
        let files = Arc::new(files);
        let directories = before.directories_as_in(&files);
        let known = KnownTree { files: &files, directories: &directories };
        let (_, objects) = objects_of(&paths);
        let mut read = BTreeSet::new();
        let walk = |bounds, known, read: &mut BTreeSet<TreeId>| {
            let walked = Tree::walk(tree.root(), bounds, known, |id| {
                read.insert(id);
                objects.get(&id).cloned().ok_or(())
            });
            walked.map_err(|error| format!("{error:?}"))
        };
        let walked = walk(ANY, Some(known), &mut read);
        prop_assert_eq!(walked.as_ref(), Ok(&tree));
        let is_unknown = |(path, id): &(&RelPath, &TreeId)| directories.get(*path) != Some(*id);
        let unknown = tree.directories().iter().filter(is_unknown);
        let unknown: BTreeSet<TreeId> = unknown.map(|(_, id)| *id).chain([tree.root()]).collect();
        prop_assert!(read.is_subset(&unknown));
        let bounds = Bounds { entries: limit };
        let whole = walk(bounds, None, &mut BTreeSet::new());
        prop_assert_eq!(walk(bounds, Some(known), &mut BTreeSet::new()), whole);
    }
}
