//! The updates that are tried with every fault.

use super::world::{LibraryTarget, Node, Tree, executable, file, link, tree};

/// An update: the commits, what somebody changed in between, and which of that may be replaced.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) old: Tree,
    pub(crate) new: Tree,
    pub(crate) edit: fn(&LibraryTarget),
}

/// Every kind of change there is, alone and together.
pub(crate) fn shapes() -> Vec<Shape> {
    [whole_trees(), kinds(), edits(), contents()].concat()
}

fn small() -> Tree {
    tree([
        ("a", file("old a")),
        ("b", file("b")),
        ("flake.nix", file("old")),
    ])
}

fn many(content: &str) -> Tree {
    let node = |number: usize| (format!("d{}/f{number}.nix", number % 3), file(content));
    (0..12).map(node).collect()
}

fn nothing(_: &LibraryTarget) {}

/// Trees that come, change and go.
fn whole_trees() -> Vec<Shape> {
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
            edit: nothing,
        },
        Shape {
            name: "replace, create and delete",
            old: small(),
            new: tree([
                ("a", file("new a")),
                ("c/d", file("d")),
                ("flake.nix", file("new")),
            ]),
            edit: nothing,
        },
        Shape {
            name: "everything goes",
            old: tree([("x/y/z", file("z")), ("x/w", file("w")), ("v", link("x"))]),
            new: tree([("one", file("one"))]),
            edit: nothing,
        },
        Shape {
            name: "directories come beside and below others",
            old: tree([("a/x", file("x")), ("c", link("a"))]),
            new: tree([
                ("a/n/l", link("../x")),
                ("a/n/o/p", executable("p")),
                ("a/x", file("new x")),
                ("a/z/q", file("q")),
                ("b/r", file("r")),
                ("c/s", file("s")),
            ]),
            edit: |world| world.write("a/z/.keep/mine", &file("mine")),
        },
    ]
}

/// What is at a path becomes something else.
fn kinds() -> Vec<Shape> {
    vec![
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
            edit: nothing,
        },
        Shape {
            name: "a directory moves",
            old: tree([("a/b/c/x", file("x")), ("a/b/c/y", executable("y"))]),
            new: tree([("z/b/c/x", file("x")), ("z/b/c/y", executable("y"))]),
            edit: nothing,
        },
    ]
}

/// What somebody has changed meanwhile.
fn edits() -> Vec<Shape> {
    vec![
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
            name: "links change, edited and deleted ones too",
            old: tree([("l", link("a")), ("m", link("b")), ("n", link("c"))]),
            new: tree([("l", link("x")), ("m", link("y")), ("n", file("z"))]),
            edit: |world| {
                world.write("m", &link("mine"));
                world.remove("n");
            },
        },
    ]
}

/// Contents that are alike, many, empty or large.
fn contents() -> Vec<Shape> {
    vec![
        Shape {
            name: "same content in many places",
            old: tree([("a", file("s")), ("b", file("s")), ("c", file("t"))]),
            new: tree([
                ("a", file("t")),
                ("b", file("t")),
                ("c", file("s")),
                ("d/e", file("s")),
            ]),
            edit: nothing,
        },
        Shape {
            name: "contents change places",
            old: tree([("a", file("1")), ("b", file("2")), ("c/a", file("3"))]),
            new: tree([("a", file("2")), ("b", file("3")), ("c/a", file("1"))]),
            edit: |world| world.write("c/b", &link("a")),
        },
        Shape {
            name: "many files in few directories",
            old: many("old"),
            new: many("new"),
            edit: |world| world.write("d1/mine", &file("mine")),
        },
        Shape {
            name: "empty and large files",
            old: tree([("empty", file("")), ("large", file(&"l".repeat(200_000)))]),
            new: tree([("large", file("")), ("empty", file(&"e".repeat(200_000)))]),
            edit: nothing,
        },
    ]
}

impl Shape {
    /// The target before the update.
    pub(crate) fn world(&self) -> LibraryTarget {
        let world = LibraryTarget::at(&self.old, self.edit);
        world.store.add(&self.new);
        world
    }

    /// What the target is after the update, from what it was before.
    pub(crate) fn expected(&self, before: &Tree) -> Tree {
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
