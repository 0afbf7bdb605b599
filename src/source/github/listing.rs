//! Rebuilds the tree objects that a listing describes.
//!
//! Each directory's rows are encoded as git does, and must hash to the id the directory is listed under. A listing
//! that leaves something out, adds something or changes a mode is found out here, and named. Whether the names and
//! modes of a tree may be written is not checked here, but once the tree is proven.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::git::id::ObjectKind;
use crate::git::tree::{self, TreeEntry};
use crate::git::{BlobId, Oid, TreeId};
use crate::text;

/// A response to `git/trees/{id}`.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    /// The id that was asked for.
    pub(super) sha: TreeId,
    /// Its entries; those of its directories too, where that was requested.
    pub(super) tree: Rows,
    /// Whether it is more than one response holds.
    pub(super) truncated: bool,
}

/// The most entries that GitHub puts into one response; a listing of more is cut off there, and says so.
const ROWS_MAX: usize = 100_000;

/// All rows of one response.
#[derive(Debug)]
pub(super) struct Rows(pub(super) Vec<ListingRow>);

/// One entry.
#[derive(Debug, Deserialize)]
pub(super) struct ListingRow {
    pub(super) path: String,
    pub(super) mode: OctalMode,
    #[serde(rename = "type")]
    pub(super) kind: Type,
    pub(super) sha: Oid,
    pub(super) size: Option<u64>,
}

/// What the API calls the kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    Blob,
    Tree,
    Commit,
}

/// A mode, which the API writes in six octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OctalMode(pub(super) u32);

impl ListingRow {
    /// Whether mode and type say the same.
    pub(super) fn is_consistent(&self) -> bool {
        self.kind
            == match self.mode.0 & 0o170_000 {
                0o040_000 => Type::Tree,
                0o160_000 => Type::Commit,
                _ => Type::Blob,
            }
    }
}

impl<'de> Deserialize<'de> for OctalMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = OctalMode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mode of six octal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<OctalMode, E> {
                let is_mode = text.len() == 6 && text.bytes().all(|digit| digit.is_ascii_digit());
                let mode = is_mode.then(|| u32::from_str_radix(text, 8).ok()).flatten();
                mode.map(OctalMode)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoundedRows;
        impl<'de> Visitor<'de> for BoundedRows {
            type Value = Rows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {ROWS_MAX} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Rows, A::Error> {
                let mut all = Vec::new();
                while let Some(row) = rows.next_element()? {
                    if all.len() == ROWS_MAX {
                        return Err(A::Error::invalid_length(ROWS_MAX + 1, &self));
                    }
                    all.push(row);
                }
                Ok(Rows(all))
            }
        }
        deserializer.deserialize_seq(BoundedRows)
    }
}

/// What listings came to.
#[derive(Debug, Default)]
pub(super) struct Rebuilt {
    /// Tree objects by their proven ids.
    pub(super) trees: HashMap<TreeId, Vec<u8>>,
    /// Sizes as the API states them.
    pub(super) sizes: HashMap<BlobId, u64>,
    /// The directories directly in the listed one, with their paths.
    pub(super) directories: Vec<(String, TreeId)>,
}

/// Why a listing is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ListingFault {
    /// A tree object with a collision attack.
    Tree(tree::TreeFault),
    /// An entry that contradicts itself.
    Odd(String),
    /// A directory whose entries do not hash to its id.
    Mismatch {
        path: String,
        expected: TreeId,
        actual: TreeId,
    },
}

/// A directory, and what is listed in it.
struct ListedDirectory<'a> {
    id: TreeId,
    entries: Vec<TreeEntry<'a>>,
}

/// Rebuilds tree objects from the rows of one listing of `root`, which is the directory `at`.
///
/// Not `deep`: the rows are those of `root` alone, and what its directories hold stays open.
pub(super) fn rebuild(
    root: TreeId,
    at: Option<&str>,
    rows: &[ListingRow],
    deep: bool,
) -> Result<Rebuilt, ListingFault> {
    let whole = |path: &str| match (at, path) {
        (None, path) => path.to_owned(),
        (Some(at), "") => at.to_owned(),
        (Some(at), path) => format!("{at}/{path}"),
    };
    let mut rebuilt = Rebuilt::default();
    let mut directories: HashMap<&str, ListedDirectory<'_>> = HashMap::new();
    let directory = |id| ListedDirectory {
        id,
        entries: Vec::new(),
    };
    directories.insert("", directory(root));
    for row in rows {
        if !row.is_consistent() {
            return Err(ListingFault::Odd(format!(
                "`{}` has the mode {:06o} and is listed as a {:?}",
                whole(&row.path),
                row.mode.0,
                row.kind
            )));
        }
        match row.kind {
            Type::Tree => {
                let id = TreeId(row.sha);
                if !row.path.contains('/') {
                    rebuilt.directories.push((whole(&row.path), id));
                }
                if deep {
                    directories
                        .entry(&row.path)
                        .or_insert_with(|| directory(id));
                }
            }
            Type::Blob => {
                if let Some(size) = row.size {
                    rebuilt.sizes.insert(BlobId(row.sha), size);
                }
            }
            Type::Commit => {}
        }
    }
    for row in rows {
        let (parent, name) = row.path.rsplit_once('/').unwrap_or(("", &row.path));
        let Some(listed) = directories.get_mut(parent) else {
            return Err(ListingFault::Odd(format!(
                "it lists something in `{}`, but not that directory itself",
                text::name(whole(parent))
            )));
        };
        listed.entries.push(TreeEntry {
            mode: row.mode.0,
            name: name.as_bytes(),
            id: row.sha,
        });
    }
    for (path, ListedDirectory { id, entries }) in directories {
        let raw = tree::encode(entries);
        let actual = Oid::of(ObjectKind::Tree, &raw)
            .map_err(|source| ListingFault::Tree(tree::TreeFault::Collision { id, source }))?;
        if actual != id.0 {
            return Err(ListingFault::Mismatch {
                path: whole(path),
                expected: id,
                actual: TreeId(actual),
            });
        }
        rebuilt.trees.insert(id, raw);
    }
    Ok(rebuilt)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";

    fn row(mode: &str, kind: &str, path: &str, sha: &str) -> ListingRow {
        let size = (kind == "blob").then_some(0);
        let row = serde_json::json!({ "path": path, "mode": mode, "type": kind, "sha": sha, "size": size });
        serde_json::from_value(row).unwrap()
    }

    fn tree_id(entries: Vec<TreeEntry<'_>>) -> TreeId {
        TreeId(Oid::of(ObjectKind::Tree, &tree::encode(entries)).unwrap())
    }

    fn entry(mode: u32, name: &str, id: Oid) -> TreeEntry<'_> {
        TreeEntry {
            mode,
            name: name.as_bytes(),
            id,
        }
    }

    /// `a.txt`, `dir/run`, `dir/sub` (a submodule), and the ids of `dir` and of the root.
    fn sample() -> (Vec<ListingRow>, TreeId, TreeId) {
        let blob: Oid = BLOB.parse().unwrap();
        let dir = tree_id(vec![
            entry(0o100_755, "run", blob),
            entry(0o160_000, "sub", blob),
        ]);
        let root = tree_id(vec![
            entry(0o100_644, "a.txt", blob),
            entry(0o040_000, "dir", dir.0),
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
            let rebuilt = rebuild(root, None, &rows, true).unwrap();
            assert_eq!(rebuilt.trees.len(), 2);
            assert!(rebuilt.trees.contains_key(&dir) && rebuilt.trees.contains_key(&root));
            assert_eq!(rebuilt.sizes.len(), 1);
        }
    }

    #[test]
    fn a_listing_of_one_directory_leaves_the_others_open() {
        let (mut rows, dir, root) = sample();
        rows.truncate(2);
        let rebuilt = rebuild(root, Some("outer"), &rows, false).unwrap();
        assert_eq!(rebuilt.trees.len(), 1);
        assert_eq!(rebuilt.directories, [("outer/dir".to_owned(), dir)]);
    }

    #[test]
    fn a_wrong_listing_is_reported_by_its_directory() {
        let mismatch = |change: &dyn Fn(&mut Vec<ListingRow>)| {
            let (mut rows, _, root) = sample();
            change(&mut rows);
            match rebuild(root, None, &rows, true).unwrap_err() {
                ListingFault::Mismatch { path, .. } => path,
                fault => panic!("{fault:?}"),
            }
        };
        assert_eq!(mismatch(&|rows| drop(rows.remove(0))), "");
        assert_eq!(mismatch(&|rows| drop(rows.pop())), "dir");
        assert_eq!(mismatch(&|rows| rows[2].mode = rows[0].mode), "dir");
        assert_eq!(mismatch(&|rows| rows[0].path = "b.txt".into()), "");
        assert_eq!(
            mismatch(&|rows| rows.push(row("100644", "blob", "dir/more", BLOB))),
            "dir"
        );
        assert_eq!(mismatch(&|rows| rows.clear()), "");
    }

    #[test]
    fn an_impossible_path_is_refused_as_a_wrong_listing() {
        let fault = |index: usize, change: &dyn Fn(&mut ListingRow)| {
            let (mut rows, _, root) = sample();
            change(&mut rows[index]);
            rebuild(root, None, &rows, true).unwrap_err()
        };
        for path in [
            "/etc/passwd",
            "../x",
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
                matches!(fault, ListingFault::Mismatch { .. } | ListingFault::Odd(_)),
                "{path:?}: {fault:?}"
            );
        }
        for mode in [0o104_755, 0o100_600, 0o100_664, 0] {
            let fault = fault(0, &|row| row.mode.0 = mode);
            assert!(
                matches!(fault, ListingFault::Mismatch { .. } | ListingFault::Odd(_)),
                "{mode:o}: {fault:?}"
            );
        }
        for (index, mode, kind) in [
            (0, 0o040_000, Type::Blob),
            (1, 0o040_000, Type::Blob),
            (3, 0o160_000, Type::Tree),
            (0, 0o100_644, Type::Commit),
        ] {
            let fault = fault(index, &|row| {
                row.mode.0 = mode;
                row.kind = kind;
            });
            assert!(matches!(fault, ListingFault::Odd(_)), "{fault:?}");
        }
        assert!(matches!(
            fault(2, &|row| row.path = "elsewhere/run".into()),
            ListingFault::Odd(_)
        ));
    }

    #[test]
    fn a_tree_that_must_not_be_written_is_rebuilt() {
        let blob: Oid = BLOB.parse().unwrap();
        let root = tree_id(vec![
            entry(0o104_755, "../x", blob),
            entry(0o100_664, "old", blob),
        ]);
        let rows = [
            row("104755", "blob", "../x", BLOB),
            row("100664", "blob", "old", BLOB),
        ];
        // A name with a slash is listed as one in a directory, which is not listed.
        assert!(rebuild(root, None, &rows, true).is_err());
        let root = tree_id(vec![
            entry(0o104_755, "..", blob),
            entry(0o100_664, "old", blob),
        ]);
        let rows = [
            row("104755", "blob", "..", BLOB),
            row("100664", "blob", "old", BLOB),
        ];
        assert_eq!(rebuild(root, None, &rows, true).unwrap().trees.len(), 1);
    }

    const ROW: &str = r#"{"path":"a","mode":"100644","type":"blob","sha":"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391","url":null}"#;

    #[test]
    fn a_row_has_a_mode_of_six_digits_and_a_known_type() {
        let row: ListingRow = serde_json::from_str(ROW).unwrap();
        assert_eq!((row.mode, row.size), (OctalMode(0o100_644), None));
        for (from, to) in [
            ("100644", "0100644"),
            ("100644", "100648"),
            ("100644", "+10064"),
            ("100644", "40000"),
            ("100644", ""),
            ("blob", "symlink"),
        ] {
            assert!(
                serde_json::from_str::<ListingRow>(&ROW.replace(from, to)).is_err(),
                "{to}"
            );
        }
    }

    #[test]
    fn more_rows_than_an_answer_has_are_not_kept() {
        let listing = |rows: usize| format!("[{}]", vec![ROW; rows].join(","));
        let rows: Rows = serde_json::from_str(&listing(ROWS_MAX)).unwrap();
        assert_eq!(rows.0.len(), ROWS_MAX);
        assert!(serde_json::from_str::<Rows>(&listing(ROWS_MAX + 1)).is_err());
    }
}
