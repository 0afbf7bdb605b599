//! The state directory and its small files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_sync::git::{BlobId, CommitId, FileMode, RelPath, TreeId};
use hyper_sync::plan::{Kept, SkipReason};
use hyper_sync::state::{
    Damage, Error, FileCounts, Found, Index, Owned, StatData, StateDir, SyncPoint, SyncState,
};

/// A state directory that is opened by the library, without a repository or a target.
struct StateDirectory {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl StateDirectory {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/state");
        Self {
            _directory: directory,
            path,
        }
    }

    fn open(&self) -> StateDir {
        StateDir::open(&self.path).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn index() -> Index {
    let owned = Owned {
        mode: FileMode::Executable,
        id: id(),
        seen: Some(StatData {
            size: 7,
            mtime: 1_700_000_000_123_456_789,
            ctime: -1,
            ino: u64::MAX,
        }),
    };
    let point = SyncPoint {
        commit: CommitId(id().0),
        tree: TreeId(id().0),
        reference: "main".to_owned(),
        repository: None,
    };
    let link = Owned {
        mode: FileMode::Symlink,
        id: id(),
        seen: None,
    };
    let path = |path: &str| RelPath::new(path.as_bytes()).unwrap();
    Index::of(point, [(path("a/ü \"x\""), owned), (path("b"), link)])
}

fn id() -> BlobId {
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391".parse().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn damage(state: &StateDir) -> Damage {
    match Index::load(state).unwrap() {
        Found::Damaged(damage) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn makes_the_directory_private_and_finds_it_again() {
    let world = StateDirectory::new();
    assert!(
        StateDir::find(&world.path, Path::new("/etc/nixos"))
            .unwrap()
            .is_none()
    );
    assert!(!world.path.exists(), "finding it makes nothing");
    world.open();
    assert_eq!(mode(&world.path), 0o700);
    assert_eq!(mode(world.path.parent().unwrap()), 0o700);
    assert!(
        StateDir::find(&world.path, Path::new("/etc/nixos"))
            .unwrap()
            .is_some()
    );
    world.open();
}

#[test]
fn refuses_a_directory_that_others_could_have_written() {
    let world = StateDirectory::new();
    world.open();
    for bad in [0o770, 0o707, 0o1777] {
        fs::set_permissions(&world.path, fs::Permissions::from_mode(bad)).unwrap();
        let error = StateDir::open(&world.path).unwrap_err();
        assert!(
            matches!(error, Error::Writable { mode, .. } if mode == bad),
            "{error:?}"
        );
    }
    fs::set_permissions(&world.path, fs::Permissions::from_mode(0o755)).unwrap();
    world.open();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&world.path, Some(12345), None).unwrap();
        let error = StateDir::open(&world.path).unwrap_err();
        assert!(
            matches!(error, Error::ForeignOwner { uid: 12345, .. }),
            "{error:?}"
        );
    }
}

#[test]
fn refuses_a_symlink_or_a_file_in_its_place() {
    let world = StateDirectory::new();
    world.open();
    let link = world.path.with_file_name("link");
    symlink(&world.path, &link).unwrap();
    let file = world.path.with_file_name("file");
    fs::write(&file, "").unwrap();
    let dangling = world.path.with_file_name("dangling");
    symlink(world.path.with_file_name("nowhere"), &dangling).unwrap();
    for path in [link, file, dangling] {
        let error = StateDir::open(&path).unwrap_err();
        assert!(
            matches!(error, Error::NotADirectory { .. }),
            "{path:?}: {error:?}"
        );
    }
}

#[test]
fn the_index_comes_back_as_it_was() {
    let world = StateDirectory::new();
    let state = world.open();
    assert!(matches!(Index::load(&state).unwrap(), Found::Absent));
    for _ in 0..2 {
        index().save(&state).unwrap();
        match Index::load(&state).unwrap() {
            Found::Whole(loaded) => assert_eq!(loaded, index()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(mode(&world.file("index")), 0o600);
    assert_eq!(names(&world.path), ["index"], "nothing temporary stays");
    assert_eq!(index().files.len(), 2);
}

#[test]
fn an_index_of_version_one_still_loads() {
    let world = StateDirectory::new();
    let state = world.open();
    fs::copy("tests/data/state/index-v1", world.file("index")).unwrap();
    match Index::load(&state).unwrap() {
        Found::Whole(loaded) => assert_eq!(loaded, index()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_index_of_an_earlier_version_still_loads_and_is_written_in_version_four() {
    let world = StateDirectory::new();
    let state = world.open();
    let expected = Index {
        point: SyncPoint {
            repository: Some("https://git.example.org/config".to_owned()),
            ..index().point
        },
        ..index()
    };
    let load = |data: &str| {
        let data = Path::new("tests/data/state").join(data);
        fs::copy(data, world.file("index")).unwrap();
        match Index::load(&state).unwrap() {
            Found::Whole(loaded) => loaded,
            other => panic!("{other:?}"),
        }
    };
    // Version 2 had objects first, then arrays.
    for data in ["index-v2", "index-v2-arrays", "index-v3"] {
        assert_eq!(load(data), expected);
    }
    let directory = RelPath::new(b"a").unwrap();
    let expected = Index {
        directories: Arc::new(BTreeMap::from([(directory, TreeId(id().0))])),
        ..expected
    };
    assert_eq!(load("index-v4"), expected);
    expected.save(&state).unwrap();
    let written = fs::read(world.file("index")).unwrap();
    assert_eq!(written, fs::read("tests/data/state/index-v4").unwrap());
}

#[test]
fn the_record_of_the_target_is_written_once_and_still_loads() {
    let world = StateDirectory::new();
    let state = world.open();
    state.keep_for(Path::new("/etc/nixos")).unwrap();
    let written = fs::read(world.file("target")).unwrap();
    assert_eq!(written, fs::read("tests/data/state/target-v1").unwrap());
    let inode =
        || std::os::unix::fs::MetadataExt::ino(&fs::metadata(world.file("target")).unwrap());
    let before = inode();
    state.keep_for(Path::new("/etc/nixos")).unwrap();
    assert_eq!(inode(), before);
    for refused in [
        state.refuse_other(Path::new("/srv/nixos")),
        state.keep_for(Path::new("/srv/nixos")),
    ] {
        assert!(matches!(refused, Err(Error::OtherTarget { .. })));
    }
    assert_eq!(fs::read(world.file("target")).unwrap(), written);
}

#[test]
fn a_damaged_index_is_reported_and_set_aside() {
    let world = StateDirectory::new();
    let state = world.open();
    index().save(&state).unwrap();
    let whole = fs::read(world.file("index")).unwrap();
    for length in [0, 1, 30, whole.len() / 2, whole.len() - 1] {
        fs::write(world.file("index"), &whole[..length]).unwrap();
        assert_eq!(damage(&state), Damage::Checksum, "cut at {length}");
    }
    fs::write(world.file("index"), b"garbage\n{}").unwrap();
    assert_eq!(damage(&state), Damage::Checksum);
    assert_eq!(
        Index::set_aside(&state).unwrap(),
        world.file("index.damaged")
    );
    assert!(matches!(Index::load(&state).unwrap(), Found::Absent));
    fs::write(world.file("index"), b"garbage again").unwrap();
    assert_eq!(
        Index::set_aside(&state).unwrap(),
        world.file("index.damaged-2")
    );
    assert_eq!(names(&world.path), ["index.damaged", "index.damaged-2"]);
    assert_eq!(
        fs::read(world.file("index.damaged")).unwrap(),
        b"garbage\n{}"
    );
}

#[test]
fn only_a_file_of_our_own_is_read_as_the_index() {
    let world = StateDirectory::new();
    let state = world.open();
    index().save(&state).unwrap();
    let path = world.file("index");
    let whole = fs::read(&path).unwrap();
    let elsewhere = world.path.with_file_name("elsewhere");
    fs::write(&elsewhere, &whole).unwrap();

    let replace = |make: &dyn Fn()| {
        Index::set_aside(&state).unwrap();
        make();
        assert_eq!(damage(&state), Damage::NotOurs);
    };
    replace(&|| symlink(&elsewhere, &path).unwrap());
    replace(&|| fs::create_dir(&path).unwrap());
    replace(&|| {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
    });
    replace(&|| {
        fs::write(&path, &whole).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    });
    assert_eq!(
        fs::read(&elsewhere).unwrap(),
        whole,
        "the symlink was not followed"
    );

    Index::set_aside(&state).unwrap();
    let huge = fs::File::create(&path).unwrap();
    huge.set_len(1 << 30).unwrap();
    assert_eq!(damage(&state), Damage::TooLarge);
}

#[test]
fn an_index_of_a_newer_format_stops_the_run_and_stays() {
    let world = StateDirectory::new();
    let state = world.open();
    fs::copy(
        "tests/data/state/index-from-the-future",
        world.file("index"),
    )
    .unwrap();
    let error = Index::load(&state).unwrap_err();
    assert!(
        matches!(error, Error::Newer { version: 4711, .. }),
        "{error:?}"
    );
    assert_eq!(names(&world.path), ["index"]);
}

fn sync_state() -> SyncState {
    let mut state = SyncState::new(
        SyncPoint {
            repository: Some("https://github.com/MasterofNull/Hyper-NixOS".to_owned()),
            ..index().point
        },
        "2025-10-12T10:30:01Z".parse().unwrap(),
        FileCounts {
            checked: 150,
            changed: 5,
            downloaded: 5,
            errors: 0,
        },
        "delta".to_owned(),
    );
    state.bytes = 5914;
    state.requests = 2;
    state.duration_ms = 190;
    state
}

#[test]
fn sync_state_has_the_documented_fields_first_and_a_copy_for_all() {
    let world = StateDirectory::new();
    let state = world.open();
    let published = world
        .path
        .with_file_name("cache")
        .join("deep/sync-state.json");
    sync_state().save(&state, Some(&published)).unwrap();
    sync_state().save(&state, Some(&published)).unwrap();
    let text = fs::read_to_string(&published).unwrap();
    insta::assert_snapshot!(text, @r#"
    {
      "last_sync": {
        "commit_sha": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "ref": "main",
        "timestamp": "2025-10-12T10:30:01Z"
      },
      "stats": {
        "checked": 150,
        "changed": 5,
        "downloaded": 5,
        "errors": 0
      },
      "version": 1,
      "repository": "https://github.com/MasterofNull/Hyper-NixOS",
      "tree_sha": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
      "route": "delta",
      "bytes": 5914,
      "requests": 2,
      "duration_ms": 190,
      "kept": [],
      "notices": []
    }
    "#);
    assert_eq!(mode(&published), 0o644);
    assert_eq!(mode(published.parent().unwrap()), 0o755);
    assert_eq!(names(published.parent().unwrap()), ["sync-state.json"]);
    assert_eq!(mode(&world.file("sync-state.json")), 0o600);
    let loaded = SyncState::load(&state).unwrap().unwrap();
    assert_eq!(loaded.stats, sync_state().stats);
    assert_eq!(
        loaded.last_sync.timestamp.to_string(),
        "2025-10-12T10:30:01Z"
    );
}

/// The fields of a sync state, sorted, those of an object as `object.field`.
pub(crate) fn fields(state: &serde_json::Value) -> Vec<String> {
    let mut fields = Vec::new();
    for (name, value) in state.as_object().unwrap() {
        match value.as_object() {
            Some(inner) => fields.extend(inner.keys().map(|key| format!("{name}.{key}"))),
            None => fields.push(name.clone()),
        }
    }
    fields.sort();
    fields
}

/// The fields in the table of `docs/state.md`, sorted.
pub(crate) fn documented_fields() -> Vec<String> {
    let docs = fs::read_to_string("docs/state.md").unwrap();
    let row = |line: &str| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned());
    let mut documented: Vec<String> = docs.lines().filter_map(row).collect();
    documented.sort();
    documented
}

#[test]
fn docs_state_lists_the_fields_of_the_sync_state() {
    let mut state = sync_state();
    state.read_from = Some(String::new());
    state.nar_hash = Some(String::new());
    state.rebuild = Some(String::new());
    let state = serde_json::to_value(state).unwrap();
    assert_eq!(documented_fields(), fields(&state));
}

#[test]
fn a_sync_state_with_many_files_that_stay_can_be_read() {
    let world = StateDirectory::new();
    let state = world.open();
    let mut known = sync_state();
    let path = |number| RelPath::new(format!("a/directory/file-{number}.nix").as_bytes()).unwrap();
    let kept = (0..20_000).map(|number| Kept {
        path: path(number),
        reason: SkipReason::Protected,
        withheld: false,
        base: None,
    });
    known.kept = kept.collect();
    known.save(&state, None).unwrap();
    let loaded = SyncState::load(&state).unwrap().unwrap();
    assert!(loaded.kept == known.kept);
}

#[test]
fn an_unreadable_sync_state_counts_as_none() {
    let world = StateDirectory::new();
    let state = world.open();
    assert_eq!(SyncState::load(&state).unwrap(), None);
    for text in ["", "{", "[]", "{\"last_sync\": 3}"] {
        fs::write(world.file("sync-state.json"), text).unwrap();
        assert_eq!(SyncState::load(&state).unwrap(), None, "{text}");
    }
    fs::remove_file(world.file("sync-state.json")).unwrap();
    symlink("/etc/hostname", world.file("sync-state.json")).unwrap();
    assert_eq!(SyncState::load(&state).unwrap(), None);
    sync_state().save(&state, None).unwrap();
    assert!(SyncState::load(&state).unwrap().is_some());
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
