//! The scan of the target, and what it remembers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::mpsc;

use hyper_sync::fs::Target;
use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::{BlobId, CommitId, File, FileMode, Oid, RelPath, TreeId};
use hyper_sync::scan::{Belief, Local, Locals, Scanner};
use hyper_sync::state::{FILES_A_BLOCK, Index, Owned, StatData, SyncPoint};

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn id(content: &str) -> BlobId {
    BlobId(Oid::of(ObjectKind::Blob, content.as_bytes()).unwrap())
}

/// A target with files whose content is their path.
fn target(directory: &tempfile::TempDir, files: &[RelPath]) -> Target {
    for file in files {
        let file = directory.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
    }
    for file in files {
        fs::write(directory.path().join(file), file.as_str()).unwrap();
    }
    Target::open(&directory.path().canonicalize().unwrap()).unwrap()
}

/// An index of one path, by which it is `content` as long as its stat data do not change.
fn index(target: &Target, path: &RelPath, mode: FileMode, content: &str) -> Index {
    let stat = target.stat(path).unwrap().unwrap();
    let owned = Owned {
        mode,
        id: id(content),
        seen: Some(StatData {
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
            ino: stat.ino,
        }),
    };
    let point = SyncPoint {
        commit: CommitId(id("").0),
        tree: TreeId(id("").0),
        reference: "main".to_owned(),
        repository: None,
    };
    Index::of(point, [(path.clone(), owned)])
}

fn ids(local: &Locals) -> Vec<(&str, Option<BlobId>)> {
    let ids = local
        .iter()
        .map(|(path, local)| (path.as_str(), local.id()));
    ids.collect()
}

#[test]
fn a_second_inspection_returns_the_first_result_until_it_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    // More than one thread reads at a time.
    let files: Vec<RelPath> = (0..300).map(|n| path(&format!("{}/{n}", n % 7))).collect();
    let target = target(&directory, &files);
    let scanner = Scanner::new(&target, None, Belief::Unchanged);
    let some: Vec<&RelPath> = files.iter().step_by(3).rev().collect();
    let _ = scanner.inspect(some.iter().copied()).unwrap();
    assert_eq!(scanner.content(id("0/0")).unwrap(), b"0/0");
    let first = scanner
        .inspect(some.iter().copied().chain([&path("none")]))
        .unwrap();
    assert_eq!(first.len(), 101);
    assert_eq!(first.get("none"), Some(&Local::Missing));

    for file in &files {
        fs::write(directory.path().join(file), format!("new {file}")).unwrap();
    }
    let second = scanner.inspect(files.iter().chain(&files)).unwrap();
    for (n, file) in files.iter().enumerate() {
        let old = n % 3 == 0;
        let content = if old {
            file.to_string()
        } else {
            format!("new {file}")
        };
        assert_eq!(second[file].id(), Some(id(&content)), "{file}");
    }
    assert_eq!(second.len(), 300);
    assert_eq!(scanner.content(id("new 1/1")).unwrap(), b"new 1/1");
    assert_eq!(scanner.content(id("0/0")), None, "it changed since");
    assert_eq!(
        scanner.content(id("new 0/0")),
        None,
        "it was not read since"
    );

    let since = scanner.since();
    scanner.forget();
    assert!(scanner.since() > since);
    assert_eq!(scanner.content(id("new 1/1")), None);
    let third = scanner.inspect(&files).unwrap();
    assert!(
        third
            .iter()
            .all(|(file, local)| local.id() == Some(id(&format!("new {file}"))))
    );
    assert_eq!(scanner.content(id("new 0/0")).unwrap(), b"new 0/0");
}

#[test]
fn a_scan_begins_while_the_index_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut files: Vec<RelPath> = (0..700).map(|n| path(&format!("{}/{n}", n % 7))).collect();
    files.sort();
    let target = target(&directory, &files);
    let change_all = || {
        for file in &files {
            fs::write(directory.path().join(file), format!("new {file}")).unwrap();
        }
    };
    let known = index(&target, &files[0], FileMode::Regular, "known");
    let is_known = |file: &RelPath| known.owned(file).map(|owned| (file.clone(), owned));
    let early = Scanner::new(&target, None, Belief::Unchanged);
    std::thread::scope(|scope| {
        let (sent, blocks) = mpsc::channel();
        let ahead = early.look_ahead(scope, blocks);
        sent.send(files.iter().filter_map(is_known).collect())
            .unwrap();
        drop(sent);
        let scanner = Scanner::new(&target, Some(&known), Belief::Unchanged).after(Some(ahead));
        let hash = |file: &RelPath| scanner.inspect([file]).unwrap()[file].id();
        assert_eq!(hash(&files[0]), Some(id("known")), "what was sent with it");
        change_all();
        assert_eq!(
            hash(&files[0]),
            Some(id("known")),
            "it is not inspected again"
        );
        assert_eq!(hash(&files[1]), Some(id(&format!("new {}", files[1]))));
        scanner.forget();
        assert_eq!(hash(&files[0]), None, "its size shows that it is edited");
    });

    // In order, whichever thread is first.
    std::thread::scope(|scope| {
        let (sent, blocks) = mpsc::channel();
        let ahead = early.look_ahead(scope, blocks);
        let owned = |file: &RelPath| {
            let (mode, id) = (FileMode::Regular, id("old"));
            let seen = None;
            (file.clone(), Owned { mode, id, seen })
        };
        for block in files.chunks(FILES_A_BLOCK) {
            sent.send(block.iter().map(owned).collect()).unwrap();
        }
        drop(sent);
        let scanner = Scanner::new(&target, None, Belief::Unchanged).after(Some(ahead));
        let found = scanner.inspect(&files).unwrap();
        let expected = files.iter().map(|file| id(&format!("new {file}")));
        assert!(found.values().map(Local::id).eq(expected.map(Some)));
    });
}

#[test]
fn the_index_is_trusted_for_files_with_unchanged_stat_data() {
    let directory = tempfile::tempdir().unwrap();
    let files = [path("a"), path("b/c"), path("d")];
    let target = target(&directory, &files);
    let seen = |index: &Index, belief| {
        let scanner = Scanner::new(&target, Some(index), belief);
        let local = scanner.inspect(&files).unwrap();
        local[&files[1]].id()
    };
    let mut known = index(&target, &files[1], FileMode::Regular, "known");
    assert_eq!(seen(&known, Belief::Unchanged), Some(id("known")));
    known.seen.get_mut(&files[1]).unwrap().ino += 1;
    assert_eq!(seen(&known, Belief::Unchanged), Some(id("b/c")));
    assert_eq!(seen(&known, Belief::SizeAndTime), Some(id("known")));

    let link = index(&target, &files[1], FileMode::Symlink, "known");
    assert_eq!(
        seen(&link, Belief::SizeAndTime),
        Some(id("b/c")),
        "it was a symlink"
    );
}

#[test]
fn a_file_of_another_size_is_edited_and_hashed_only_if_it_may_be_what_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let files = [path("a")];
    let target = target(&directory, &files);
    let mut known = index(&target, &files[0], FileMode::Regular, "known");
    known.seen.get_mut(&files[0]).unwrap().size += 1;
    let wanted = |content: &str| {
        let mode = FileMode::Regular;
        let id = id(content);
        BTreeMap::from([(files[0].clone(), File { mode, id })])
    };
    let scanner = Scanner::new(&target, Some(&known), Belief::Unchanged);
    let looked = scanner.inspect(&files).unwrap();
    assert!(matches!(looked[&files[0]], Local::File { id: None, .. }));
    assert_eq!(scanner.hashes(&wanted("known")).unwrap(), [None]);
    assert_eq!(scanner.hashes(&wanted("a")).unwrap(), [Some(id("a"))]);
    assert_eq!(
        scanner.inspect(&files).unwrap()[&files[0]].id(),
        Some(id("a"))
    );

    // Larger than any file of a commit may be.
    let huge = fs::OpenOptions::new()
        .write(true)
        .open(directory.path().join("a"));
    huge.unwrap().set_len(1 << 40).unwrap();
    for index in [None, Some(&known)] {
        let scanner = Scanner::new(&target, index, Belief::Unchanged).largest(1 << 20);
        assert_eq!(scanner.hashes(&wanted("a")).unwrap(), [None]);
        assert_eq!(scanner.read(&files[0], id("a")), None);
    }
}

#[test]
fn a_survey_finds_what_is_in_the_place_of_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let target = target(&directory, &[path("file"), path("d/here")]);
    symlink("file", directory.path().join("link")).unwrap();
    let asked: Vec<RelPath> = [
        "d/here", "d/none", "file/x/1", "file/x/2", "link/x", "none/x/y",
    ]
    .map(path)
    .into();
    let scanner = Scanner::new(&target, None, Belief::Unchanged);
    let local = scanner.survey(&asked).unwrap();
    assert_eq!(
        ids(&local),
        [
            ("d/here", Some(id("d/here"))),
            ("d/none", None),
            ("file", Some(id("file"))),
            ("file/x/1", None),
            ("file/x/2", None),
            ("link", Some(id("file"))),
            ("link/x", None),
            ("none/x/y", None),
        ]
    );
}
