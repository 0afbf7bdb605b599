//! Trees as git writes them, and as it never would.

use super::*;

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

fn walk_one(raw: &[u8]) -> Result<Tree, Fault> {
    let root = TreeId(Oid::of(Kind::Tree, raw).unwrap());
    Tree::walk(root, ANY, |_| Ok::<_, ()>(raw.to_vec())).map_err(|error| match error {
        WalkError::Fault(fault) => fault,
        WalkError::Read(()) => unreachable!(),
    })
}

#[test]
fn walks_from_the_root_and_keeps_every_kind() {
    let entry = |mode, name: &str, id| Entry {
        mode,
        name: name.into(),
        id,
    };
    let blob: Oid = BLOB.parse().unwrap();
    let inner = encode(vec![entry(
        EntryMode::File(FileMode::Executable),
        "run",
        blob,
    )]);
    let inner_id = Oid::of(Kind::Tree, &inner).unwrap();
    let outer = encode(vec![
        entry(EntryMode::Tree, "a", inner_id),
        entry(EntryMode::File(FileMode::Symlink), "link", blob),
        entry(EntryMode::Gitlink, "module", blob),
        entry(EntryMode::File(FileMode::Regular), "a.txt", blob),
        entry(EntryMode::File(FileMode::Regular), "a0", blob),
    ]);
    let root = TreeId(Oid::of(Kind::Tree, &outer).unwrap());
    let tree = Tree::walk(root, ANY, |id| {
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
    let root = TreeId(Oid::of(Kind::Tree, b"").unwrap());
    let walked = Tree::walk(root, ANY, |_| Ok::<_, ()>(good.clone()));
    assert!(matches!(
        walked,
        Err(WalkError::Fault(Fault::OtherId { .. }))
    ));
    for bytes in [&b"100644"[..], b"100644 a", b"100644 a\0short", b"\0\0\0"] {
        assert!(
            matches!(walk_one(bytes), Err(Fault::Malformed { .. })),
            "{bytes:?}"
        );
    }
}

#[test]
fn refuses_hostile_entries() {
    let fault = |entries: &[(&str, &[u8])]| walk_one(&raw(entries)).unwrap_err();
    assert!(matches!(
        fault(&[("100644", b"b"), ("100644", b"a")]),
        Fault::Unsorted { .. }
    ));
    assert!(matches!(
        fault(&[("40000", b"a"), ("100644", b"a.b")]),
        Fault::Unsorted { .. }
    ));
    assert!(matches!(
        fault(&[("100644", b"a"), ("100644", b"a")]),
        Fault::Duplicate { .. }
    ));
    assert!(matches!(
        fault(&[("100644", b"a"), ("100644", b"a.b"), ("40000", b"a")]),
        Fault::Duplicate { .. }
    ));
    assert!(matches!(
        fault(&[("120000", b"a"), ("40000", b"a")]),
        Fault::Duplicate { .. }
    ));
    assert!(matches!(fault(&[("104755", b"a")]), Fault::Mode { .. }));
    assert!(matches!(
        fault(&[("100644", b"a/b")]),
        Fault::Path {
            fault: path::Fault::Empty,
            ..
        }
    ));
    assert!(matches!(
        fault(&[("40000", b".GIT")]),
        Fault::Path {
            fault: path::Fault::DotGit,
            ..
        }
    ));
    assert!(matches!(
        fault(&[
            ("100644", "cafe\u{301}".as_bytes()),
            ("100644", "caf\u{e9}".as_bytes())
        ]),
        Fault::SameName { .. }
    ));
    assert!(walk_one(&raw(&[("100644", "cafe\u{301}".as_bytes())])).is_ok());
    let mut null = b"100644 a\0".to_vec();
    null.extend_from_slice(&[0; 20]);
    assert!(matches!(walk_one(&null), Err(Fault::NullId { .. })));
}

#[test]
fn stops_at_the_limit_even_where_a_tree_repeats_itself() {
    // A tree of ten equal subtrees, eight levels deep, is a hundred million entries in nine small objects.
    let mut level = raw(&[("100644", b"x")]);
    let mut objects = std::collections::HashMap::new();
    for _ in 0..8 {
        let id = Oid::of(Kind::Tree, &level).unwrap();
        objects.insert(TreeId(id), level);
        level = encode(
            (0..10u8)
                .map(|n| Entry {
                    mode: EntryMode::Tree,
                    name: vec![b'a' + n],
                    id,
                })
                .collect(),
        );
    }
    let root = TreeId(Oid::of(Kind::Tree, &level).unwrap());
    objects.insert(root, level);
    let walked = Tree::walk(root, ANY, |id| objects.get(&id).cloned().ok_or(()));
    assert!(matches!(
        walked,
        Err(WalkError::Fault(Fault::TooLarge { limit: 1000 }))
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
