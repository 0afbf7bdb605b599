//! The order in which paths change, so that a reader meanwhile finds as few dangling references as possible.

use std::collections::BTreeSet;

use super::{Change, Image, Transaction};
use crate::git::RelPath;

/// The numbers of the changes, by phase.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Phases {
    /// Removals that make room for new files.
    pub(super) room: Vec<usize>,
    /// Creations, then replacements, each with leaf files first.
    pub(super) put: Vec<usize>,
    /// All other removals.
    pub(super) rest: Vec<usize>,
}

impl Phases {
    /// Orders all changes but those of `skipped`. `tell_case`: whether `a` and `A` are two names.
    pub(super) fn of(
        transaction: &Transaction,
        skipped: &BTreeSet<usize>,
        tell_case: bool,
    ) -> Self {
        let changes = || {
            let all = transaction.changes.iter().enumerate();
            all.filter(|(number, _)| !skipped.contains(number))
        };
        let emptied: BTreeSet<&str> = changes()
            .filter(|(_, change)| change.before == Image::Directory)
            .map(|(_, change)| change.path.as_str())
            .collect();
        let put = changes().filter(|(_, change)| change.after.is_some());
        let become_directories = RelPath::above(put.map(|(_, change)| &change.path));
        let in_the_way = |change: &Change| {
            // Where `a` and `A` are one name, removing the old one last would remove the new one.
            !tell_case
                || become_directories.contains(&change.path)
                || change
                    .path
                    .ancestors_str()
                    .any(|directory| emptied.contains(directory))
        };
        let mut phases = Self::default();
        for (number, change) in changes() {
            if change.after.is_some() {
                phases.put.push(number);
            } else if in_the_way(change) {
                phases.room.push(number);
            } else {
                phases.rest.push(number);
            }
        }
        phases.put.sort_by_key(|&number| {
            let change = &transaction.changes[number];
            let replaces = change.before.file().is_some();
            (replaces, rank(&change.path), number)
        });
        phases
    }
}

/// Files of a higher rank are changed later, so that no file is referred to before it is there.
fn rank(path: &RelPath) -> u8 {
    let is_nix = || {
        std::path::Path::new(path.name())
            .extension()
            .is_some_and(|extension| extension == "nix")
    };
    match path.name() {
        "flake.lock" => 4,
        "flake.nix" => 3,
        "configuration.nix" => 2,
        _ if is_nix() => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::TxId;
    use crate::git::id::ObjectKind;
    use crate::git::{BlobId, CommitId, File, FileMode, Oid, TreeId};
    use crate::state::SyncPoint;

    /// `path: before -> after` with `-` for nothing, `d` for a directory and `f` for a file.
    fn transaction(changes: &[&str]) -> Transaction {
        let id = Oid::of(ObjectKind::Blob, b"").unwrap();
        let file = File {
            mode: FileMode::Regular,
            id: BlobId(id),
        };
        let change = |line: &&str| {
            let (path, images) = line.split_once(": ").unwrap();
            let (before, after) = images.split_once(" -> ").unwrap();
            Change {
                path: RelPath::new(path.as_bytes()).unwrap(),
                before: match before {
                    "-" => Image::Missing,
                    "d" => Image::Directory,
                    _ => Image::File(file),
                },
                after: (after == "f").then_some(file),
                edited: false,
                puts_back: false,
                base: (),
            }
        };
        Transaction {
            id: TxId(1),
            time: jiff::Timestamp::UNIX_EPOCH,
            target: "/target".to_owned(),
            before: None,
            after: SyncPoint {
                commit: CommitId(id),
                tree: TreeId(id),
                reference: "main".to_owned(),
                repository: None,
            },
            changes: changes.iter().map(change).collect(),
            index_only: std::collections::BTreeMap::default(),
            index: None,
        }
    }

    fn order(changes: &[&str], tell_case: bool) -> [Vec<String>; 3] {
        let transaction = transaction(changes);
        let phases = Phases::of(&transaction, &BTreeSet::new(), tell_case);
        [phases.room, phases.put, phases.rest].map(|numbers| {
            let path = |number: usize| transaction.changes[number].path.to_string();
            numbers.into_iter().map(path).collect()
        })
    }

    #[test]
    fn what_refers_to_others_comes_after_them() {
        let changes = [
            ".nix: f -> f",
            "a.sh: f -> f",
            "configuration.nix: f -> f",
            "flake.lock: f -> f",
            "flake.nix: f -> f",
            "modules/b.nix: f -> f",
            "new/flake.nix: - -> f",
            "old.nix: f -> -",
            "z.sh: - -> f",
        ];
        let [room, put, rest] = order(&changes, true);
        assert!(room.is_empty());
        assert_eq!(
            put,
            [
                "z.sh",
                "new/flake.nix",
                ".nix",
                "a.sh",
                "modules/b.nix",
                "configuration.nix",
                "flake.nix",
                "flake.lock"
            ]
        );
        assert_eq!(rest, ["old.nix"]);
    }

    #[test]
    fn what_is_in_the_way_goes_first() {
        let changes = [
            "a: f -> -",
            "a/b: - -> f",
            "c: d -> f",
            "c/d/e: f -> -",
            "other: f -> -",
        ];
        let [room, put, rest] = order(&changes, true);
        assert_eq!(room, ["a", "c/d/e"]);
        assert_eq!(put, ["a/b", "c"]);
        assert_eq!(rest, ["other"]);
    }

    #[test]
    fn on_a_case_insensitive_file_system_removals_go_first() {
        let [room, put, rest] = order(&["README: f -> -", "readme: - -> f"], false);
        assert_eq!(room, ["README"]);
        assert_eq!(put, ["readme"]);
        assert!(rest.is_empty());
    }
}
