//! The object store, with real git as the reference: git makes what it takes in, and git checks what it holds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use sha1::Digest;

use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::{CommitId, Oid};
use hyper_sync::objects::{Added, IngestBounds, IngestError, Ingested, RepackOutcome, Store};

use crate::common::git;

mod order;

const BLOB_LIMIT: u64 = 1 << 20;
const BOUNDS: IngestBounds = IngestBounds {
    bytes: 16 << 20,
    deadline: None,
};

/// A repository of git's with three commits, and a state directory. The store is the
/// library's: no binary runs here.
struct Origin {
    directory: tempfile::TempDir,
    commits: Vec<String>,
}

impl Origin {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut world = Self {
            directory,
            commits: Vec::new(),
        };
        fs::create_dir_all(world.origin().join("modules/deep")).unwrap();
        git(&world.origin(), &["init", "--quiet", "-b", "main"]);
        for version in 0..3 {
            world.commit(version);
        }
        world
    }

    /// Changes one large file a little and adds a small one.
    fn commit(&mut self, version: usize) -> String {
        let origin = self.origin();
        let large: Vec<String> = (0..400)
            .map(|line| {
                let changed = if line == 7 { version } else { 0 };
                format!("option{line} = {};\n", line * 7919 + changed)
            })
            .collect();
        fs::write(origin.join("modules/deep/large.nix"), large.concat()).unwrap();
        fs::write(
            origin.join(format!("v{version}")),
            format!("version {version}"),
        )
        .unwrap();
        fs::write(origin.join("empty"), "").unwrap();
        git(&origin, &["add", "-A"]);
        git(
            &origin,
            &["commit", "--quiet", "-m", &format!("version {version}")],
        );
        let commit = git(&origin, &["rev-parse", "HEAD"]).trim().to_owned();
        self.commits.push(commit.clone());
        commit
    }

    fn origin(&self) -> PathBuf {
        self.directory.path().join("origin")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn store(&self) -> Store {
        Store::open(&self.state(), BLOB_LIMIT).unwrap()
    }

    fn git_dir(&self) -> PathBuf {
        self.state().join("objects.git")
    }

    /// A pack of what `rev-list` makes of these arguments, one line each.
    fn pack(&self, revisions: &[&str], options: &[&str]) -> Vec<u8> {
        let mut child = git_command(&self.origin())
            .args(["pack-objects", "--revs", "--stdout", "-q"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        for revision in revisions {
            writeln!(stdin, "{revision}").unwrap();
        }
        drop(stdin);
        child.wait_with_output().unwrap().stdout
    }

    /// The store with all commits in it, marked.
    fn filled(&self) -> Store {
        let store = self.store();
        for (index, commit) in self.commits.iter().enumerate() {
            let pack = match index.checked_sub(1) {
                None => self.pack(&[commit], &[]),
                Some(before) => {
                    let not = format!("^{}", self.commits[before]);
                    self.pack(&[commit, &not], &["--thin"])
                }
            };
            ingest(&store, &pack).unwrap();
            store.mark_complete(id(commit), false).unwrap();
        }
        store.make_durable().unwrap();
        store
    }

    /// Every object of the repository, as git prints it.
    fn objects(&self) -> BTreeMap<Oid, (ObjectKind, Vec<u8>)> {
        let listed = git(
            &self.origin(),
            &[
                "cat-file",
                "--batch-all-objects",
                "--batch-check=%(objectname) %(objecttype)",
            ],
        );
        listed
            .lines()
            .map(|line| {
                let (id, kind) = line.split_once(' ').unwrap();
                let content = git_raw(&self.origin(), &["cat-file", kind, id]);
                let kind = match kind {
                    "blob" => ObjectKind::Blob,
                    "tree" => ObjectKind::Tree,
                    _ => ObjectKind::Commit,
                };
                (id.parse().unwrap(), (kind, content))
            })
            .collect()
    }

    /// The names below the store, packs by their ending only.
    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in ["", "objects/pack", "refs/hyper-sync"] {
            for entry in fs::read_dir(self.git_dir().join(directory)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let name = match name.rsplit_once('.') {
                    Some((stem, extension)) if stem.starts_with("pack-") => {
                        format!("*.{extension}")
                    }
                    _ => name,
                };
                names.push(name);
            }
        }
        names.sort();
        names
    }

    fn fsck(&self) {
        let printed = git(
            &self.git_dir(),
            &["fsck", "--full", "--strict", "--no-dangling"],
        );
        assert_eq!(printed, "", "git fsck complains");
    }
}

fn git_command(directory: &Path) -> Command {
    let mut command = Command::new(git::program());
    command
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "A")
        .env("GIT_AUTHOR_EMAIL", "a@example.org")
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_NAME", "C")
        .env("GIT_COMMITTER_EMAIL", "c@example.org")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000");
    command
}

fn git_raw(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = git_command(directory).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    String::from_utf8(git_raw(directory, arguments)).unwrap()
}

fn id(commit: &str) -> CommitId {
    commit.parse().unwrap()
}

/// Takes a pack in, durable when this returns.
fn ingest(store: &Store, pack: &[u8]) -> Result<Ingested, IngestError> {
    let ingested = store.ingest(&mut &pack[..], &|_| None, BOUNDS, &AtomicBool::new(false));
    store.make_durable()?;
    ingested
}

pub(crate) fn pack_files(git_dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(git_dir.join("objects/pack"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

const EMPTY: &[&str] = &["HEAD", "config", "objects", "refs"];

#[test]
fn an_empty_store_is_a_repository_of_git() {
    let world = Origin::new();
    let store = world.store();
    assert!(!store.was_rebuilt());
    assert!(store.commits().is_empty());
    assert_eq!(
        git(&world.git_dir(), &["rev-parse", "--is-bare-repository"]),
        "true\n"
    );
    world.fsck();
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(world.git_dir()).unwrap());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn git_reads_objects_from_thin_packs() {
    let world = Origin::new();
    let store = world.filled();
    assert_eq!(pack_files(&world.git_dir(), "pack").len(), 3);
    assert!(pack_files(&world.git_dir(), "keep").is_empty());
    world.fsck();
    let subjects = git(&world.git_dir(), &["log", "--format=%s"]);
    assert_eq!(subjects, "version 2\nversion 1\nversion 0\n");
    let changed = git(&world.git_dir(), &["diff", "--name-only", "HEAD~2", "HEAD"]);
    assert_eq!(changed, "modules/deep/large.nix\nv1\nv2\n");
    for (id, (kind, content)) in world.objects() {
        assert_eq!(store.read(kind, id).as_ref(), Some(&content));
        assert!(store.contains(id));
    }
    let newest = store.commit(id(&world.commits[2])).unwrap().unwrap();
    assert_eq!(newest.subject, "version 2");
    assert_eq!(newest.parents, [id(&world.commits[1])]);
}

#[test]
fn an_object_of_another_kind_is_not_there() {
    let world = Origin::new();
    let store = world.filled();
    let commit = id(&world.commits[0]);
    assert!(store.read(ObjectKind::Blob, commit.0).is_none());
    assert!(store.read(ObjectKind::Commit, Oid::NULL).is_none());
    assert!(
        store.is_complete(commit),
        "a request for an object that is missing is not damage"
    );
}

#[test]
fn takes_bases_from_outside_and_proves_them() {
    let world = Origin::new();
    let thin = world.pack(
        &[&world.commits[1], &format!("^{}", world.commits[0])],
        &["--thin"],
    );
    let objects = world.objects();
    let store = world.store();
    let taken = store.ingest(
        &mut &thin[..],
        &|id| objects.get(&id).cloned(),
        BOUNDS,
        &AtomicBool::new(false),
    );
    assert!(
        taken.unwrap().objects > 3,
        "the bases become part of the pack"
    );
    let raw = store.read(ObjectKind::Commit, id(&world.commits[1]).0);
    assert!(raw.is_some());

    // Bytes that do not hash to the id are not its base.
    let other = Origin::new();
    let store = other.store();
    let lying = store.ingest(
        &mut &thin[..],
        &|id| objects.get(&id).map(|(kind, _)| (*kind, b"other".to_vec())),
        BOUNDS,
        &AtomicBool::new(false),
    );
    assert!(matches!(lying, Err(IngestError::BaseMissing { .. })));
    assert_eq!(other.files(), EMPTY);
}

#[test]
fn a_missing_base_is_an_error_of_its_own_and_leaves_nothing() {
    let world = Origin::new();
    let store = world.store();
    let thin = world.pack(
        &[&world.commits[1], &format!("^{}", world.commits[0])],
        &["--thin"],
    );
    let error = ingest(&store, &thin).unwrap_err();
    let IngestError::BaseMissing { id } = error else {
        panic!("{error:?}");
    };
    assert!(world.objects().contains_key(&id));
    assert_eq!(world.files(), EMPTY);
}

#[test]
fn an_empty_pack_is_accepted() {
    let world = Origin::new();
    let store = world.store();
    let tip = &world.commits[2];
    let empty = world.pack(&[tip, &format!("^{tip}")], &[]);
    assert_eq!(ingest(&store, &empty).unwrap().objects, 0);
    assert_eq!(world.files(), EMPTY);
}

#[test]
fn the_same_pack_twice_is_one_pack() {
    let world = Origin::new();
    let store = world.store();
    let pack = world.pack(&[&world.commits[0]], &[]);
    ingest(&store, &pack).unwrap();
    ingest(&store, &pack).unwrap();
    assert_eq!(pack_files(&world.git_dir(), "pack").len(), 1);
    assert!(store.commit(id(&world.commits[0])).unwrap().is_some());
}

#[test]
fn damaged_packs_are_refused_and_leave_nothing() {
    let world = Origin::new();
    let store = world.store();
    let pack = world.pack(&[&world.commits[2]], &["--delta-base-offset"]);
    for cut in [
        0,
        3,
        11,
        12,
        13,
        pack.len() / 2,
        pack.len() - 21,
        pack.len() - 1,
    ] {
        let error = ingest(&store, &pack[..cut]).unwrap_err();
        assert!(
            matches!(error, IngestError::Corrupt { .. }),
            "cut at {cut}: {error:?}"
        );
    }
    let positions = (0..pack.len()).step_by(17).chain(0..40);
    for (position, bit) in positions.flat_map(|at| [(at, 0x10), (at, 0x80), (at, 0x01)]) {
        let mut flipped = pack.clone();
        flipped[position] ^= bit;
        let error = ingest(&store, &flipped).unwrap_err();
        assert!(
            matches!(
                error,
                // A flipped base asks for what is not here.
                IngestError::Corrupt { .. } | IngestError::BaseMissing { .. }
            ),
            "flipped at {position}: {error:?}"
        );
    }
    assert_eq!(world.files(), EMPTY);
}

/// The checksum at the end is made to fit.
#[test]
fn forged_packs_yield_nothing_that_does_not_hash() {
    let world = Origin::new();
    let store = world.store();
    let honest = world.objects();
    let pack = world.pack(&[&world.commits[2]], &["--delta-base-offset"]);
    let body = pack.len() - 20;
    let mut taken = 0;
    for position in (0..body).step_by(19) {
        let mut forged = pack[..body].to_vec();
        forged[position] ^= 0x21;
        let checksum: [u8; 20] = sha1::Sha1::digest(&forged).into();
        forged.extend_from_slice(&checksum);
        if ingest(&store, &forged).is_ok() {
            taken += 1;
        }
    }
    // Zlib's own checksums leave few forgeries whole; of those, every object is what it says, or is not read.
    for (id, (kind, content)) in &honest {
        if let Some(read) = store.read(*kind, *id) {
            assert_eq!(&read, content);
        }
    }
    assert_eq!(pack_files(&world.git_dir(), "pack").len(), taken);
    assert!(
        !world
            .files()
            .iter()
            .any(|name| name.starts_with("incoming-"))
    );
    world.fsck();
}

#[test]
fn is_read_by_many_threads_at_once() {
    let world = Origin::new();
    let store = world.filled();
    let objects = world.objects();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (id, (kind, content)) in &objects {
                    assert_eq!(store.read(*kind, *id).as_ref(), Some(content));
                }
            });
        }
    });
}

#[test]
fn a_pack_over_the_limit_is_cut_off() {
    let world = Origin::new();
    let store = world.store();
    let pack = world.pack(&[&world.commits[2]], &[]);
    let bounds = IngestBounds {
        bytes: 200,
        deadline: None,
    };
    let error = store
        .ingest(&mut &pack[..], &|_| None, bounds, &AtomicBool::new(false))
        .unwrap_err();
    assert!(
        matches!(error, IngestError::PackTooLarge { limit: 200 }),
        "{error:?}"
    );
    assert_eq!(world.files(), EMPTY);
}

#[test]
fn an_object_over_the_limit_is_refused() {
    let mut world = Origin::new();
    // Compresses to nothing, so only its size can stop it; the floor for bookkeeping is 64 MiB.
    let bomb = fs::File::create(world.origin().join("bomb")).unwrap();
    bomb.set_len(65 << 20).unwrap();
    let commit = world.commit(9);
    let store = world.store();
    let error = ingest(&store, &world.pack(&[&commit], &[])).unwrap_err();
    assert!(
        matches!(error, IngestError::ObjectTooLarge { .. }),
        "{error:?}"
    );
    assert_eq!(world.files(), EMPTY);
}

#[test]
fn a_broken_stream_is_not_the_packs_fault() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::TimedOut, "stalled"))
        }
    }
    let world = Origin::new();
    let store = world.store();
    let pack = world.pack(&[&world.commits[2]], &[]);
    let mut stream = BufReader::new(io::Read::chain(&pack[..100], Broken));
    let error = store
        .ingest(&mut stream, &|_| None, BOUNDS, &AtomicBool::new(false))
        .unwrap_err();
    let IngestError::Stream(source) = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    assert_eq!(world.files(), EMPTY);
}

#[test]
fn stops_for_a_signal_and_for_the_deadline() {
    /// Sets the flag in the middle of the pack.
    struct Signal<'a>(&'a AtomicBool);
    impl io::Read for Signal<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            buffer[0] = 0;
            Ok(1)
        }
    }
    let world = Origin::new();
    let store = world.store();
    let pack = world.pack(&[&world.commits[2]], &[]);
    let interrupt = AtomicBool::new(false);
    let mut stream = BufReader::new(io::Read::chain(&pack[..100], Signal(&interrupt)));
    let error = store
        .ingest(&mut stream, &|_| None, BOUNDS, &interrupt)
        .unwrap_err();
    assert!(matches!(error, IngestError::Interrupted), "{error:?}");
    let bounds = IngestBounds {
        deadline: Some(Instant::now()),
        ..BOUNDS
    };
    let error = store
        .ingest(&mut &pack[..], &|_| None, bounds, &AtomicBool::new(false))
        .unwrap_err();
    assert!(matches!(error, IngestError::Deadline), "{error:?}");
    assert_eq!(world.files(), EMPTY);
}

#[test]
fn a_peek_keeps_nothing() {
    let world = Origin::new();
    let store = world.store();
    let pack = world.pack(&[&world.commits[2]], &[]);
    let seen = store
        .peek(&mut &pack[..], BOUNDS, &AtomicBool::new(false))
        .unwrap();
    let tip = id(&world.commits[2]).0;
    assert!(seen.read(ObjectKind::Commit, tip).is_some());
    assert!(seen.read(ObjectKind::Tree, tip).is_none());
    drop(seen);
    assert!(!store.contains(tip));
    assert_eq!(world.files(), EMPTY);
}

#[test]
fn writes_whole_objects_that_hash_to_their_ids() {
    let world = Origin::new();
    let store = world.store();
    let mut writer = store.writer().unwrap();
    let objects = world.objects();
    for (id, (kind, content)) in &objects {
        assert_eq!(writer.add(*kind, *id, content).unwrap(), Added::Stored);
        assert_eq!(writer.add(*kind, *id, content).unwrap(), Added::Stored);
    }
    let refused = writer.add(ObjectKind::Blob, Oid::NULL, b"").unwrap();
    assert!(matches!(refused, Added::OtherId(_)));
    let tip = id(&world.commits[2]);
    assert!(!store.contains(tip.0), "nothing is there before the end");
    assert_eq!(writer.finish().unwrap().objects, objects.len() as u64);
    for commit in &world.commits {
        store.mark_complete(id(commit), false).unwrap();
    }
    store.make_durable().unwrap();
    world.fsck();
    for (id, (kind, content)) in &objects {
        assert_eq!(store.read(*kind, *id).as_ref(), Some(content));
    }

    let mut dropped = store.writer().unwrap();
    dropped
        .add(
            ObjectKind::Blob,
            "bd9dbf5aae1a3862dd1526723246b20206e5fc37".parse().unwrap(),
            b"what is up, doc?",
        )
        .unwrap();
    drop(dropped);
    assert_eq!(store.writer().unwrap().finish().unwrap().objects, 0);
    assert_eq!(pack_files(&world.git_dir(), "pack").len(), 1);
}

#[test]
fn marks_keep_their_order_and_survive_a_restart() {
    let world = Origin::new();
    let store = world.filled();
    let [zero, one, two] = [0, 1, 2].map(|index| id(&world.commits[index]));
    assert_eq!(store.commits(), [zero, one, two]);
    store.mark_complete(zero, false).unwrap();
    drop(store);
    let store = world.store();
    assert!(!store.was_rebuilt());
    assert_eq!(store.commits(), [one, two, zero]);
    assert!(store.is_complete(one));
    assert_eq!(
        git(&world.git_dir(), &["rev-parse", "HEAD"]),
        format!("{zero}\n")
    );
    world.fsck();
}

#[test]
fn a_commit_without_its_parent_is_shallow() {
    let world = Origin::new();
    let store = world.store();
    let [old, new] = [0, 2].map(|index| world.commits[index].clone());
    for commit in [&old, &new] {
        let listed = git(&world.origin(), &["ls-tree", "-rt", commit]);
        let tree = git(
            &world.origin(),
            &["rev-parse", &format!("{commit}^{{tree}}")],
        );
        let wanted: Vec<&str> = listed
            .lines()
            .map(|line| line.split([' ', '\t']).nth(2).unwrap())
            .chain([commit.as_str(), tree.trim()])
            .collect();
        let objects = world.objects();
        let mut writer = store.writer().unwrap();
        for id in wanted {
            let id = id.parse().unwrap();
            let (kind, content) = &objects[&id];
            writer.add(*kind, id, content).unwrap();
        }
        writer.finish().unwrap();
        store.mark_complete(id(commit), false).unwrap();
    }
    store.make_durable().unwrap();
    // The first commit has no parent, the third lacks its own.
    assert_eq!(
        fs::read_to_string(world.git_dir().join("shallow")).unwrap(),
        format!("{new}\n")
    );
    world.fsck();
    assert_eq!(
        git(&world.git_dir(), &["log", "--format=%s"]),
        "version 2\n"
    );
}

#[test]
fn blobs_left_out_on_purpose_are_declared() {
    let world = Origin::new();
    let store = world.store();
    let tip = &world.commits[0];
    let pack = world.pack(&[tip], &["--filter=blob:none"]);
    ingest(&store, &pack).unwrap();
    store.mark_complete(id(tip), true).unwrap();
    assert_eq!(pack_files(&world.git_dir(), "promisor").len(), 1);
    world.fsck();
    assert!(store.is_complete(id(tip)));
}

#[test]
fn files_of_a_killed_run_are_removed() {
    let world = Origin::new();
    drop(world.filled());
    let before = world.files();
    let root = world.git_dir();
    let pack = pack_files(&root, "pack").remove(0);
    fs::create_dir(root.join("incoming-abc")).unwrap();
    fs::write(root.join("incoming-abc/objects"), "PACK").unwrap();
    fs::write(root.join(".tmp-abc"), "").unwrap();
    fs::write(root.join("objects/pack/.tmp-abc"), "").unwrap();
    fs::write(root.join("objects/pack/tmp_pack_abc"), "").unwrap();
    fs::write(pack.with_extension("keep"), "").unwrap();
    fs::write(root.join("objects/pack/pack-0123.pack"), "PACK").unwrap();
    fs::write(root.join("objects/pack/pack-4567.promisor"), "").unwrap();
    fs::write(root.join("refs/hyper-sync/0000000099"), "").unwrap();
    fs::write(root.join("refs/hyper-sync/.tmp-abc"), "").unwrap();
    let store = world.store();
    assert!(!store.was_rebuilt());
    assert_eq!(world.files(), before);
    assert_eq!(store.commits().len(), 3);
    world.fsck();
}

#[test]
fn something_else_in_its_place_is_replaced() {
    for plant in [0, 1, 2] {
        let world = Origin::new();
        let root = world.git_dir();
        fs::create_dir_all(world.state()).unwrap();
        match plant {
            0 => fs::write(&root, "a file").unwrap(),
            1 => std::os::unix::fs::symlink("/nonexistent", &root).unwrap(),
            _ => {
                fs::create_dir_all(root.join("objects")).unwrap();
                fs::write(root.join("objects/pack"), "a file").unwrap();
            }
        }
        let store = world.store();
        assert!(store.was_rebuilt(), "plant {plant}");
        assert_eq!(world.files(), EMPTY);
        drop(store);
        world.filled();
        world.fsck();
    }
}

#[test]
fn never_yields_wrong_bytes_from_a_damaged_store() {
    let world = Origin::new();
    drop(world.filled());
    let objects = world.objects();
    let sound = tempfile::tempdir().unwrap();
    copy(&world.state(), sound.path());
    for extension in ["pack", "idx"] {
        for path in pack_files(&world.git_dir(), extension) {
            let length = fs::metadata(&path).unwrap().len();
            for position in (0..length).step_by(usize::try_from(length / 8).unwrap().max(1)) {
                let mut bytes = fs::read(&path).unwrap();
                bytes[usize::try_from(position).unwrap()] ^= 0x04;
                fs::write(&path, bytes).unwrap();
                let store = world.store();
                let mut lost = 0;
                for (id, (kind, content)) in &objects {
                    match store.read(*kind, *id) {
                        Some(read) => assert_eq!(&read, content),
                        None => lost += 1,
                    }
                }
                let complete = world
                    .commits
                    .iter()
                    .all(|commit| store.is_complete(id(commit)));
                assert!(
                    lost == 0 || !complete,
                    "{path:?} at {position}: {lost} objects lost without an error"
                );
                drop(store);
                // The next open has nothing left to repair.
                let store = world.store();
                for commit in store.commits() {
                    assert!(store.commit(commit).unwrap().is_some());
                }
                world.fsck();
                drop(store);
                fs::remove_dir_all(world.state()).unwrap();
                copy(sound.path(), &world.state());
            }
        }
    }
}

#[test]
fn after_truncation_of_a_pack_or_index_only_complete_commits_are_left() {
    let world = Origin::new();
    drop(world.filled());
    let sound = tempfile::tempdir().unwrap();
    copy(&world.state(), sound.path());
    for extension in ["pack", "idx"] {
        for path in pack_files(&world.git_dir(), extension) {
            let length = fs::metadata(&path).unwrap().len();
            for cut in [0, 31, length / 2, length - 1] {
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(cut).unwrap();
                let store = world.store();
                assert!(store.was_rebuilt(), "{path:?} cut at {cut}");
                for commit in store.commits() {
                    assert!(store.is_complete(commit));
                }
                world.fsck();
                let pack = world.pack(&[&world.commits[2]], &[]);
                ingest(&store, &pack).unwrap();
                store.mark_complete(id(&world.commits[2]), false).unwrap();
                world.fsck();
                drop(store);
                assert!(!world.store().was_rebuilt());
                fs::remove_dir_all(world.state()).unwrap();
                copy(sound.path(), &world.state());
            }
        }
    }
}

#[test]
fn keeps_the_commits_that_damage_did_not_reach() {
    let world = Origin::new();
    let store = world.store();
    // Each commit in a pack of its own, so that one can be lost without the others.
    let first = world.pack(&[&world.commits[0]], &[]);
    ingest(&store, &first).unwrap();
    store.mark_complete(id(&world.commits[0]), false).unwrap();
    let kept = pack_files(&world.git_dir(), "pack").remove(0);
    let second = world.pack(&[&world.commits[1], &format!("^{}", world.commits[0])], &[]);
    ingest(&store, &second).unwrap();
    store.mark_complete(id(&world.commits[1]), false).unwrap();
    drop(store);
    for path in pack_files(&world.git_dir(), "idx") {
        if path.with_extension("pack") != kept {
            fs::write(path, "garbage").unwrap();
        }
    }
    let store = world.store();
    assert!(store.was_rebuilt());
    assert_eq!(store.commits(), [id(&world.commits[0])]);
    assert!(store.is_complete(id(&world.commits[0])));
    world.fsck();
}

#[test]
fn tidies_many_packs_into_one() {
    let mut world = Origin::new();
    let store = world.filled();
    assert_eq!(
        store.repack(10, u64::MAX, &[]).unwrap(),
        RepackOutcome::Nothing
    );
    for version in 3..21 {
        let before = world.commits.last().unwrap().clone();
        let commit = world.commit(version);
        let pack = world.pack(&[&commit, &format!("^{before}")], &["--thin"]);
        ingest(&store, &pack).unwrap();
        store.mark_complete(id(&commit), false).unwrap();
    }
    assert_eq!(pack_files(&world.git_dir(), "pack").len(), 21);
    assert_eq!(combined(&store, 10, u64::MAX), 10);
    assert_eq!(pack_files(&world.git_dir(), "pack").len(), 1);
    assert_eq!(pack_files(&world.git_dir(), "idx").len(), 1);
    let kept: Vec<CommitId> = world.commits[11..]
        .iter()
        .map(|commit| id(commit))
        .collect();
    assert_eq!(store.commits(), kept);
    assert!(!store.contains(id(&world.commits[0]).0));
    world.fsck();
    assert_eq!(
        git(&world.git_dir(), &["log", "--oneline"]).lines().count(),
        10
    );
    drop(store);
    let store = world.store();
    assert_eq!(store.commits(), kept);
    assert!(!store.was_rebuilt());
}

#[test]
fn keeps_fewer_commits_where_they_are_too_large() {
    let world = Origin::new();
    let store = world.filled();
    let whole: u64 = pack_files(&world.git_dir(), "pack")
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    let tip = id(&world.commits[2]);
    assert_eq!(combined(&store, 10, whole - 1), 1);
    assert_eq!(store.commits(), [tip]);
    world.fsck();
    assert_eq!(store.repack(10, 10, &[]).unwrap(), RepackOutcome::Emptied);
    assert!(store.commits().is_empty());
    assert!(pack_files(&world.git_dir(), "pack").is_empty());
    world.fsck();
}

#[test]
fn tidying_keeps_left_out_blobs_declared() {
    let world = Origin::new();
    let store = world.store();
    let tip = &world.commits[0];
    ingest(&store, &world.pack(&[tip], &["--filter=blob:none"])).unwrap();
    let objects = world.objects();
    let mut writer = store.writer().unwrap();
    for (id, (kind, content)) in &objects {
        if *kind == ObjectKind::Blob && content.starts_with(b"version") {
            writer.add(*kind, *id, content).unwrap();
        }
    }
    writer.finish().unwrap();
    store.mark_complete(id(tip), true).unwrap();
    assert_eq!(
        store.repack(10, u64::MAX, &[]).unwrap(),
        RepackOutcome::Nothing
    );
    let whole = pack_files(&world.git_dir(), "pack")
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum::<u64>();
    assert_eq!(combined(&store, 10, whole - 1), 1);
    assert_eq!(pack_files(&world.git_dir(), "promisor").len(), 1);
    world.fsck();
}

/// How many commits were kept where the store was over its bounds.
fn combined(store: &Store, keep: usize, max_bytes: u64) -> usize {
    match store.repack(keep, max_bytes, &[]).unwrap() {
        RepackOutcome::Combined { commits, .. } => commits,
        other => panic!("{other:?}"),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn marks_are_written_when_they_are_made_durable() {
    let world = Origin::new();
    let store = world.store();
    let tip = id(&world.commits[0]);
    let pack = world.pack(&[&world.commits[0]], &[]);
    store
        .ingest(&mut &pack[..], &|_| None, BOUNDS, &AtomicBool::new(false))
        .unwrap();
    store.mark_complete(tip, false).unwrap();
    assert!(store.is_complete(tip), "this run may build on it at once");
    assert_eq!(
        fs::read_dir(world.git_dir().join("refs/hyper-sync"))
            .unwrap()
            .count(),
        0
    );
    store.make_durable().unwrap();
    let written = ["*.idx", "*.pack", "0000000001"];
    assert_eq!(world.files(), [&written[..], EMPTY].concat());
    drop(store);
    assert!(world.store().is_complete(tip));
}

#[test]
fn a_pack_that_cannot_be_kept_is_an_error_and_marks_nothing() {
    let world = Origin::new();
    let store = world.store();
    let tip = id(&world.commits[0]);
    let pack = world.pack(&[&world.commits[0]], &[]);
    // Where its name should be, there is something else.
    let checksum = pack[pack.len() - 20..]
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let name = world
        .git_dir()
        .join(format!("objects/pack/pack-{checksum}.pack"));
    fs::create_dir_all(name.join("in the way")).unwrap();
    store
        .ingest(&mut &pack[..], &|_| None, BOUNDS, &AtomicBool::new(false))
        .unwrap();
    store.mark_complete(tip, false).unwrap();
    store.make_durable().unwrap_err();
    assert!(!store.is_complete(tip));
    drop(store);
    fs::remove_dir_all(name).unwrap();
    let store = world.store();
    assert!(!store.is_complete(tip));
    ingest(&store, &pack).unwrap();
    store.mark_complete(tip, false).unwrap();
    drop(store);
    assert!(world.store().is_complete(tip));
    world.fsck();
}
