//! From a listing back to the tree objects it stands for.
//!
//! Each directory's rows are encoded as git does, and must hash to the id the directory is listed under. A listing
//! that leaves something out, adds something or changes a mode is found out here, and named.

use std::collections::HashMap;

use serde::Deserialize;

use crate::git::id::Kind;
use crate::git::tree::{self, Entry};
use crate::git::{BlobId, EntryMode, Oid, RelPath, TreeId};

/// An answer to `git/trees/{id}`.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    /// The id that was asked for.
    pub(super) sha: TreeId,
    /// Its entries; those of its directories too, where that was asked for.
    pub(super) tree: Vec<Row>,
    /// Whether it is more than one answer holds.
    pub(super) truncated: bool,
}

/// One entry.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) path: String,
    pub(super) mode: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) sha: Oid,
    pub(super) size: Option<u64>,
}

/// What listings came to.
#[derive(Debug, Default)]
pub(super) struct Rebuilt {
    /// Tree objects by their proven ids.
    pub(super) trees: HashMap<TreeId, Vec<u8>>,
    /// Sizes as they are told.
    pub(super) sizes: HashMap<BlobId, u64>,
    /// The directories directly in the listed one, with their paths.
    pub(super) directories: Vec<(RelPath, TreeId)>,
}

/// Why a listing is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An entry that no tree may have.
    Tree(tree::Fault),
    /// An entry that contradicts itself.
    Odd(String),
    /// The mode 100664: what git hashed is not known, for some hosts tell it as 100644.
    LegacyMode,
    /// A directory whose entries do not hash to its id.
    Mismatch {
        path: String,
        expected: TreeId,
        actual: TreeId,
    },
}

/// Rebuilds tree objects from the rows of one listing of `root`, which is the directory `at`.
///
/// Not `deep`: the rows are those of `root` alone, and what its directories hold stays open.
pub(super) fn rebuild(
    root: TreeId,
    at: Option<&RelPath>,
    rows: Vec<Row>,
    deep: bool,
) -> Result<Rebuilt, Fault> {
    let mut rebuilt = Rebuilt::default();
    let mut directories: HashMap<String, (TreeId, Vec<Entry>)> = HashMap::new();
    directories.insert(String::new(), (root, Vec::new()));
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let (mode, path) = check(&row, at)?;
        let (parent, name) = row.path.rsplit_once('/').unwrap_or(("", &row.path));
        match mode {
            EntryMode::Tree => {
                let id = TreeId(row.sha);
                if parent.is_empty() {
                    rebuilt.directories.push((path, id));
                }
                if deep {
                    directories
                        .entry(row.path.clone())
                        .or_insert((id, Vec::new()));
                }
            }
            EntryMode::File(_) => {
                if let Some(size) = row.size {
                    rebuilt.sizes.insert(BlobId(row.sha), size);
                }
            }
            EntryMode::Gitlink => {}
        }
        let entry = Entry {
            mode,
            name: name.as_bytes().to_vec(),
            id: row.sha,
        };
        entries.push((parent.to_owned(), entry));
    }
    for (parent, entry) in entries {
        let Some((_, listed)) = directories.get_mut(&parent) else {
            return Err(Fault::Odd(format!(
                "it lists something in `{parent}`, but not that directory itself"
            )));
        };
        listed.push(entry);
    }
    for (path, (expected, entries)) in directories {
        let raw = tree::encode(entries);
        let actual = Oid::of(Kind::Tree, &raw).map_err(|source| {
            Fault::Tree(tree::Fault::Collision {
                id: expected,
                source,
            })
        })?;
        if actual != expected.0 {
            let path = at.map_or_else(|| path.clone(), |at| format!("{at}/{path}"));
            return Err(Fault::Mismatch {
                path,
                expected,
                actual: TreeId(actual),
            });
        }
        rebuilt.trees.insert(expected, raw);
    }
    Ok(rebuilt)
}

fn check(row: &Row, at: Option<&RelPath>) -> Result<(EntryMode, RelPath), Fault> {
    let whole = at.map_or_else(|| row.path.clone(), |at| format!("{at}/{}", row.path));
    let path = RelPath::new(whole.as_bytes()).map_err(|fault| {
        Fault::Tree(tree::Fault::Path {
            path: whole.clone(),
            fault,
        })
    })?;
    if row.mode == "100664" {
        return Err(Fault::LegacyMode);
    }
    // The API pads a directory's mode to six digits, git does not.
    let octal = if row.mode == "040000" {
        "40000"
    } else {
        &row.mode
    };
    let mode = EntryMode::parse(octal.as_bytes()).ok_or_else(|| {
        Fault::Tree(tree::Fault::Mode {
            path: whole.clone(),
            mode: row.mode.clone(),
        })
    })?;
    let kind = match mode {
        EntryMode::File(_) => "blob",
        EntryMode::Tree => "tree",
        EntryMode::Gitlink => "commit",
    };
    if row.kind != kind {
        return Err(Fault::Odd(format!(
            "`{whole}` is told to be a {} of mode {}",
            row.kind, row.mode
        )));
    }
    Ok((mode, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";

    fn row(mode: &str, kind: &str, path: &str, sha: &str) -> Row {
        Row {
            path: path.to_owned(),
            mode: mode.to_owned(),
            kind: kind.to_owned(),
            sha: sha.parse().unwrap(),
            size: (kind == "blob").then_some(0),
        }
    }

    fn tree_id(entries: Vec<Entry>) -> TreeId {
        TreeId(Oid::of(Kind::Tree, &tree::encode(entries)).unwrap())
    }

    fn entry(mode: EntryMode, name: &str, id: Oid) -> Entry {
        Entry {
            mode,
            name: name.into(),
            id,
        }
    }

    /// `a.txt`, `dir/run`, `dir/sub` (a submodule), and the ids of `dir` and of the root.
    fn sample() -> (Vec<Row>, TreeId, TreeId) {
        let blob: Oid = BLOB.parse().unwrap();
        let file = EntryMode::parse(b"100644").unwrap();
        let exec = EntryMode::parse(b"100755").unwrap();
        let dir = tree_id(vec![
            entry(exec, "run", blob),
            entry(EntryMode::Gitlink, "sub", blob),
        ]);
        let root = tree_id(vec![
            entry(file, "a.txt", blob),
            entry(EntryMode::Tree, "dir", dir.0),
        ]);
        let rows = vec![
            row("100644", "blob", "a.txt", BLOB),
            row("040000", "tree", "dir", &dir.to_string()),
            row("100755", "blob", "dir/run", BLOB),
            row("160000", "commit", "dir/sub", BLOB),
        ];
        (rows, dir, root)
    }

    #[test]
    fn a_whole_listing_yields_every_tree_in_any_order() {
        for reverse in [false, true] {
            let (mut rows, dir, root) = sample();
            if reverse {
                rows.reverse();
            }
            let rebuilt = rebuild(root, None, rows, true).unwrap();
            assert_eq!(rebuilt.trees.len(), 2);
            assert!(rebuilt.trees.contains_key(&dir) && rebuilt.trees.contains_key(&root));
            assert_eq!(rebuilt.sizes.len(), 1);
        }
    }

    #[test]
    fn a_listing_of_one_directory_leaves_the_others_open() {
        let (mut rows, dir, root) = sample();
        rows.truncate(2);
        let at = RelPath::new(b"outer").unwrap();
        let rebuilt = rebuild(root, Some(&at), rows, false).unwrap();
        assert_eq!(rebuilt.trees.len(), 1);
        assert_eq!(
            rebuilt.directories,
            [(RelPath::new(b"outer/dir").unwrap(), dir)]
        );
    }

    #[test]
    fn a_listing_that_lies_is_named_by_its_directory() {
        let mismatch = |change: &dyn Fn(&mut Vec<Row>)| {
            let (mut rows, _, root) = sample();
            change(&mut rows);
            match rebuild(root, None, rows, true).unwrap_err() {
                Fault::Mismatch { path, .. } => path,
                fault => panic!("{fault:?}"),
            }
        };
        assert_eq!(mismatch(&|rows| drop(rows.remove(0))), "");
        assert_eq!(mismatch(&|rows| drop(rows.pop())), "dir");
        assert_eq!(mismatch(&|rows| rows[2].mode = "100644".into()), "dir");
        assert_eq!(mismatch(&|rows| rows[0].path = "b.txt".into()), "");
        assert_eq!(
            mismatch(&|rows| rows.push(row("100644", "blob", "dir/more", BLOB))),
            "dir"
        );
        assert_eq!(mismatch(&|rows| rows.clear()), "");
    }

    #[test]
    fn rows_that_no_tree_may_have_are_refused() {
        let fault = |index: usize, change: &dyn Fn(&mut Row)| {
            let (mut rows, _, root) = sample();
            change(&mut rows[index]);
            rebuild(root, None, rows, true).unwrap_err()
        };
        for path in [
            "../x",
            "/etc/passwd",
            "a//b",
            "a/",
            "",
            ".git",
            "dir/.GIT",
            "a\0b",
            "a\u{1b}[2J",
            "caf\u{fffd}",
        ] {
            let fault = fault(0, &|row| row.path = path.into());
            assert!(
                matches!(fault, Fault::Tree(tree::Fault::Path { .. })),
                "{path:?}: {fault:?}"
            );
        }
        for mode in ["104755", "100600", "0100644", "abc", ""] {
            let fault = fault(0, &|row| row.mode = mode.into());
            assert!(
                matches!(fault, Fault::Tree(tree::Fault::Mode { .. })),
                "{mode}"
            );
        }
        assert_eq!(
            fault(0, &|row| row.mode = "100664".into()),
            Fault::LegacyMode
        );
        assert!(matches!(
            fault(0, &|row| row.mode = "040000".into()),
            Fault::Odd(_)
        ));
        assert!(matches!(
            fault(1, &|row| row.kind = "blob".into()),
            Fault::Odd(_)
        ));
        assert!(matches!(
            fault(3, &|row| row.kind = "tree".into()),
            Fault::Odd(_)
        ));
        assert!(matches!(
            fault(2, &|row| row.path = "elsewhere/run".into()),
            Fault::Odd(_)
        ));
    }
}
