//! Tree and commit objects.
//!
//! The first byte of the input is 0 before a commit; else trees follow, divided by two bytes of 255. The first is the
//! root; where an id begins with `@@`, it becomes that of the tree whose number is the third byte, as far as it comes
//! later.
#![no_main]

use std::collections::{BTreeSet, HashMap};

use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::tree::Bounds;
use hyper_sync::git::{Commit, CommitId, RelPath, Tree, TreeId};
use hyper_sync_fuzz::{pack, parts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| match data.split_first() {
    Some((0, raw)) => commit(raw),
    Some((_, raw)) => trees(raw),
    None => {}
});

fn commit(raw: &[u8]) {
    let id = CommitId(pack::id(ObjectKind::Commit, raw));
    let Ok(commit) = Commit::verify(id, raw) else {
        return;
    };
    assert_eq!(commit.id, id);
    // As git reads it: the tree, then the parents, before anything else, digits in either case.
    let mut head = vec![format!("tree {}\n", commit.tree)];
    head.extend(commit.parents.iter().map(|id| format!("parent {id}\n")));
    let head = head.concat();
    let (begin, rest) = raw.split_at_checked(head.len()).unwrap_or((raw, b""));
    assert!(
        begin.eq_ignore_ascii_case(head.as_bytes()),
        "{}",
        begin.escape_ascii()
    );
    assert!(!rest.starts_with(b"parent "), "a parent that was not read");
    assert!(!commit.subject.contains(char::is_control));
}

fn trees(data: &[u8]) {
    let mut raws: Vec<Vec<u8>> = parts(data, b"\xff\xff").map(<[u8]>::to_vec).collect();
    let mut known: HashMap<TreeId, Vec<u8>> = HashMap::new();
    let mut ids = vec![None; raws.len()];
    for number in (0..raws.len()).rev() {
        let raw = &mut raws[number];
        let mut at = 0;
        while let Some(end) = raw[at..].iter().position(|&byte| byte == 0) {
            at += end + 1;
            let Some(object) = raw.get_mut(at..at + 20) else {
                break;
            };
            if object.starts_with(b"@@")
                && let Some(Some(TreeId(id))) = ids.get(usize::from(object[2]))
            {
                object.copy_from_slice(id.as_bytes());
            }
            at += 20;
        }
        let id = TreeId(pack::id(ObjectKind::Tree, raw));
        ids[number] = Some(id);
        known.insert(id, raw.clone());
    }
    let Some(Some(root)) = ids.first().copied() else {
        return;
    };
    let bounds = Bounds { entries: 1000 };
    let walked = Tree::walk(root, bounds, None, |id| {
        known.get(&id).cloned().ok_or("is not here")
    });
    let Ok(tree) = walked else {
        return;
    };
    let directories = tree.directories();
    let paths = || {
        let files = tree.files().keys();
        files
            .chain(directories.keys())
            .chain(tree.gitlinks().keys())
    };
    assert_eq!(tree.root(), root);
    assert_eq!(paths().collect::<BTreeSet<_>>().len(), paths().count());
    for path in paths() {
        assert_eq!(RelPath::new(path.as_str().as_bytes()).as_ref(), Ok(path));
        let above = path.parent();
        assert!(above.is_none_or(|above| directories.contains_key(&above)));
    }
    let _ = tree.case_collisions();
}
