//! A repository of two commits, whose objects and answers the targets change.

use hyper_sync::git::Oid;
use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::tree::{TreeEntry, encode};

use crate::pack;

/// Two commits of an honest repository, as raw objects.
pub struct Honest {
    /// Of the first commit.
    pub old: Vec<(ObjectKind, Vec<u8>)>,
    /// Of the second, those of the first left out.
    pub new: Vec<(ObjectKind, Vec<u8>)>,
}

impl Honest {
    /// Makes them; the same bytes each time.
    pub fn make() -> Self {
        let flake = |text: &str| (ObjectKind::Blob, text.as_bytes().to_vec());
        let tree = |entries: &[(u32, &str, Oid)]| {
            let entries = entries.iter().map(|&(mode, name, id)| TreeEntry {
                mode,
                name: name.as_bytes(),
                id,
            });
            (ObjectKind::Tree, encode(entries.collect()))
        };
        let commit = |tree: Oid, parent: Option<Oid>| {
            let parent = parent.map_or_else(String::new, |id| format!("parent {id}\n"));
            let person = "A <a@example.org> 1700000000 +0000";
            let text = format!("tree {tree}\n{parent}author {person}\ncommitter {person}\n\nx\n");
            (ObjectKind::Commit, text.into_bytes())
        };
        let id = |object: &(ObjectKind, Vec<u8>)| pack::id(object.0, &object.1);
        let (one, two, same) = (flake("{ a = 1; }\n"), flake("{ a = 2; }\n"), flake("x\n"));
        let below = tree(&[(0o100_755, "run", id(&same))]);
        let root = |flake: Oid| {
            tree(&[
                (0o100_644, "flake.nix", flake),
                (0o040_000, "d", id(&below)),
            ])
        };
        let (first_root, second_root) = (root(id(&one)), root(id(&two)));
        let first = commit(id(&first_root), None);
        let second = commit(id(&second_root), Some(id(&first)));
        Self {
            old: vec![first, first_root, below, one, same],
            new: vec![second, second_root, two],
        }
    }

    /// The id of the first of these objects, which is the commit.
    pub fn commit(objects: &[(ObjectKind, Vec<u8>)]) -> Oid {
        pack::id(objects[0].0, &objects[0].1)
    }

    /// Objects as a pack.
    pub fn pack<'a>(objects: impl IntoIterator<Item = &'a (ObjectKind, Vec<u8>)>) -> Vec<u8> {
        let entries: Vec<_> = objects
            .into_iter()
            .map(|(kind, content)| pack::whole(*kind, content))
            .collect();
        pack::of(u32::try_from(entries.len()).expect("a handful"), &entries)
    }
}
