//! Many small updates: the object store stays small, and repacking it stays cheap.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::{CommitId, Oid};
use hyper_sync::objects::{RepackOutcome, Store};

const BLOB_LIMIT: u64 = 1 << 20;
const UNLIMITED: u64 = 1 << 30;
/// As in the store.
const PACKS_MAX: usize = 20;
const KEEP: usize = 10;

const DIRECTORIES: usize = 40;
const FILES: usize = 25;
/// Files, directories, root and commit of the tree that a history begins with.
const WHOLE: u64 = (DIRECTORIES * FILES + DIRECTORIES + 2) as u64;

/// A tree of a thousand files that changes, and the store of a machine that syncs it.
struct History {
    excluded: Range<usize>,
    state: tempfile::TempDir,
    directories: Vec<(Oid, Vec<Oid>)>,
    commits: Vec<CommitId>,
    blobs: usize,
}

/// What the updates have cost.
#[derive(Debug, Default)]
struct Cost {
    /// Objects that the updates have brought.
    brought: u64,
    /// Objects that each repack has written again.
    written: Vec<u64>,
}

impl Cost {
    fn most(&self) -> u64 {
        self.written.iter().copied().max().unwrap_or_default()
    }
}

impl History {
    /// Its first commit is in the store.
    fn new() -> Self {
        Self::without(0)
    }

    /// As [`new`](Self::new), with these files excluded, and so without their content.
    fn without(files: usize) -> Self {
        let mut history = Self {
            excluded: 0..files,
            state: tempfile::tempdir().unwrap(),
            directories: vec![(Oid::NULL, vec![Oid::NULL; FILES]); DIRECTORIES],
            commits: Vec::new(),
            blobs: 0,
        };
        let store = history.store();
        let brought = history.update(&store, 0..DIRECTORIES * FILES);
        assert_eq!(brought, WHOLE - files as u64);
        drop(store);
        history
    }

    fn store(&self) -> Store {
        Store::open(self.state.path(), BLOB_LIMIT).unwrap()
    }

    fn git_dir(&self) -> PathBuf {
        self.state.path().join("objects.git")
    }

    /// Changes these files, and ingests the new objects as one pack.
    fn update(&mut self, store: &Store, files: impl Iterator<Item = usize>) -> u64 {
        let mut new = BTreeMap::new();
        let mut add = |kind, content: Vec<u8>| {
            let id = Oid::of(kind, &content).unwrap();
            new.insert(id, (kind, content));
            id
        };
        for file in files {
            self.blobs += 1;
            let content = noise(self.blobs, 10 + file % 20);
            let (tree, blobs) = &mut self.directories[file / FILES];
            blobs[file % FILES] = if self.excluded.contains(&file) {
                Oid::of(ObjectKind::Blob, content.as_bytes()).unwrap()
            } else {
                add(ObjectKind::Blob, content.into_bytes())
            };
            *tree = Oid::NULL;
        }
        for (tree, blobs) in &mut self.directories {
            if *tree == Oid::NULL {
                *tree = add(ObjectKind::Tree, listing("100644", blobs.iter()));
            }
        }
        let trees = self.directories.iter().map(|(tree, _)| tree);
        let root = add(ObjectKind::Tree, listing("40000", trees));
        let parent = self.commits.last();
        let parent = parent.map_or(String::new(), |id| format!("parent {id}\n"));
        let who = "A <a@b> 1 +0000";
        let raw = format!("tree {root}\n{parent}author {who}\ncommitter {who}\n\nchange\n");
        let commit = CommitId(add(ObjectKind::Commit, raw.into_bytes()));
        let mut writer = store.writer().unwrap();
        for (id, (kind, content)) in &new {
            writer.add(*kind, *id, content).unwrap();
        }
        let brought = writer.finish().unwrap().objects;
        let left_out = !self.excluded.is_empty();
        store.mark_complete(commit, left_out).unwrap();
        self.commits.push(commit);
        brought
    }

    /// Makes each update as a run does, and checks the bounds after each.
    fn follow<Files: Iterator<Item = usize>>(
        &mut self,
        updates: impl Iterator<Item = Files>,
    ) -> Cost {
        let mut cost = Cost::default();
        for files in updates {
            let store = self.store();
            assert!(!store.was_rebuilt());
            cost.brought += self.update(&store, files);
            match store.repack(KEEP, UNLIMITED, &[]).unwrap() {
                RepackOutcome::Nothing => {}
                RepackOutcome::Combined { commits, objects } => {
                    assert_eq!(commits, KEEP);
                    assert!(self.packs() <= PACKS_MAX / 2);
                    cost.written.push(objects);
                    self.fsck();
                }
                RepackOutcome::Emptied => panic!("nothing is too large here"),
            }
            assert!(self.packs() <= PACKS_MAX);
            let kept = self.commits.len().saturating_sub(KEEP);
            assert!(store.commits().ends_with(&self.commits[kept..]));
        }
        cost
    }

    fn packs(&self) -> usize {
        self.sizes().len()
    }

    fn bytes(&self) -> u64 {
        self.sizes().iter().sum()
    }

    fn sizes(&self) -> Vec<u64> {
        let directory = fs::read_dir(self.git_dir().join("objects/pack")).unwrap();
        directory
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().extension().unwrap() == "pack")
            .map(|entry| entry.metadata().unwrap().len())
            .collect()
    }

    /// Packs and marks.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        ["objects/pack", "refs/hyper-sync"]
            .into_iter()
            .flat_map(|directory| fs::read_dir(self.git_dir().join(directory)).unwrap())
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }

    /// The bytes of the kept commits alone.
    fn needed_bytes(&self) -> u64 {
        let store = self.store();
        let over = store.repack(KEEP, self.bytes() - 1, &[]).unwrap();
        assert!(matches!(
            over,
            RepackOutcome::Combined { commits: KEEP, .. }
        ));
        assert_eq!(self.packs(), 1);
        self.fsck();
        self.bytes()
    }

    fn fsck(&self) {
        let output = Command::new("git")
            .arg("--git-dir")
            .arg(self.git_dir())
            .args(["fsck", "--full", "--strict", "--no-dangling"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

/// Text that does not compress well, so that the size of a pack shows how much is in it.
fn noise(seed: usize, lines: usize) -> String {
    let line = |line: usize| {
        let id = Oid::of(ObjectKind::Blob, format!("{seed} {line}").as_bytes());
        format!("{}\n", id.unwrap())
    };
    let lines: Vec<String> = (0..lines).map(line).collect();
    lines.concat()
}

fn listing<'a>(mode: &str, ids: impl Iterator<Item = &'a Oid>) -> Vec<u8> {
    let entry = |(number, id): (usize, &Oid)| {
        let name = format!("{mode} {number:03}\0").into_bytes();
        [&name[..], id.as_bytes()].concat()
    };
    ids.enumerate().flat_map(entry).collect()
}

/// As most configurations: the files that change are those that have changed before.
#[test]
fn repacking_files_that_change_often_never_rewrites_the_others() {
    let mut history = History::new();
    let cost = history.follow((0..120).map(|update| (0..3).map(move |file| (update + file) % 40)));
    assert!(cost.written.len() >= 4, "{cost:?}");
    assert!(cost.most() < WHOLE / 8, "{cost:?}");
    assert!(history.bytes() < 2 * history.needed_bytes());
}

#[test]
fn changes_all_over_the_tree_are_repacked_a_few_times_at_most() {
    let mut history = History::new();
    let place = |change: usize| change * 37 % (DIRECTORIES * FILES);
    let updates = (0..120).map(|update| (0..4).map(move |file| place(update * 4 + file)));
    let cost = history.follow(updates);
    let whole = cost.written.iter().filter(|objects| **objects >= WHOLE / 2);
    assert!(whole.count() <= 1, "{cost:?}");
    assert!(
        cost.written.iter().sum::<u64>() < 2 * cost.brought,
        "{cost:?}"
    );
    assert!(history.bytes() < 2 * history.needed_bytes());
}

#[test]
fn a_large_pack_that_is_mostly_garbage_is_replaced() {
    let mut history = History::new();
    let before = history.bytes();
    history.directories.truncate(DIRECTORIES / 8);
    let cost = history.follow((0..25).map(|update| [update].into_iter()));
    assert_eq!(cost.written.len(), 1);
    assert!(history.bytes() < before / 4, "{}", history.bytes());
}

#[test]
fn excluded_blobs_stay_declared_after_a_repack() {
    let mut history = History::without(FILES);
    let updates = (0..60).map(|update| [update, update * 7].into_iter());
    let cost = history.follow(updates);
    assert!(cost.written.len() >= 2);
    assert!(cost.most() < WHOLE / 2, "{cost:?}");
}

/// Between any two steps of it.
#[test]
fn an_interrupted_repack_leaves_the_store_complete() {
    let mut history = History::new();
    let few = (1..PACKS_MAX).map(|update| [update].into_iter());
    assert!(history.follow(few).written.is_empty());
    history.update(&history.store(), [0].into_iter());
    let before = history.files();
    let tidied = history.store().repack(KEEP, UNLIMITED, &[]).unwrap();
    assert!(matches!(tidied, RepackOutcome::Combined { .. }));
    let after = history.files();
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    let (packs, marks): (Vec<&PathBuf>, Vec<&PathBuf>) =
        gone.partition(|path| path.extension().is_some());
    assert_eq!(
        (packs.len() / 2, marks.len()),
        (PACKS_MAX, PACKS_MAX + 1 - KEEP)
    );
    // The new pack is there. Then the marks go, and then the packs, each with its index first: so its name sorts.
    let order = [marks, packs].concat();
    for removed in 0..=order.len() {
        let left = before.iter().chain(&after);
        for (path, _) in left.clone() {
            let _ = fs::remove_file(path);
        }
        for (path, content) in left.filter(|(path, _)| !order[..removed].contains(path)) {
            fs::write(path, content).unwrap();
        }
        let store = history.store();
        assert!(!store.was_rebuilt(), "{removed} removed");
        let kept = history.commits.len() - KEEP;
        assert!(store.commits().ends_with(&history.commits[kept..]));
        history.fsck();
    }
}
