//! Every file of the state directory truncated, flipped and removed: the next run of the real binary is at the commit,
//! or says what a person must do.
//!
//! The same in the middle of an update, with the journal: [`crate::recover`].

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyper_sync::fs::Target;
use hyper_sync::git::RelPath;
use hyper_sync::state::{Found, Index, StatData, StateDir};

use crate::apply::update::flip;
use crate::common::git;
use crate::common::snapshot::TreeSnapshot;
use crate::common::world::World;
use crate::objects::pack_files;
use crate::recover::seal;

type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 3] = [
    ("truncated", |path| {
        let bytes = fs::read(path).unwrap();
        rewrite(path, &bytes[..bytes.len() / 2]);
    }),
    ("flipped", |path| {
        if fs::metadata(path).unwrap().len() > 0 {
            rewrite(path, &fs::read(path).unwrap());
            flip(path);
        }
    }),
    ("removed", |path| fs::remove_file(path).unwrap()),
];

const EDITED: &str = "modules/base.nix";
/// What no commit after the first one changes.
const UNCHANGED: &str = "scripts/run.sh";
const MINE: &str = "{ mine = true; }\n";

/// Whatever its mode: git's objects may not be written to.
fn rewrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A target at the second of three commits, and a copy of all that hyper-sync knows of it.
struct Saved {
    world: World,
    copy: PathBuf,
}

impl Saved {
    fn new() -> Self {
        let world = World::small().synced();
        let change = |flake: &str, name: &str, message: &str| {
            world
                .repo
                .write("flake.nix", flake)
                .write(name, "{ }\n")
                .commit(message);
        };
        change("{ second = true; }\n", "modules/second.nix", "second");
        world.edit(EDITED, MINE);
        let _ = world.sync(&["--local-edits", "replace"]).ok();
        change("{ third = true; }\n", "modules/third.nix", "third");
        let saved = world.root().join("saved");
        fs::create_dir(&saved).unwrap();
        copy(&world.state(), &saved.join("state"));
        copy(&world.target(), &saved.join("target"));
        Self { world, copy: saved }
    }

    /// Every file of the state directory but the lock, whose content means nothing.
    fn files(&self) -> Vec<PathBuf> {
        fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, files);
                } else if !path.ends_with("lock") {
                    files.push(path);
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.state(), &mut files);
        files.sort();
        files
    }

    fn restore(&self) {
        for directory in [self.state(), self.target()] {
            fs::remove_dir_all(&directory).unwrap();
            copy(&self.copy.join(directory.file_name().unwrap()), &directory);
        }
    }

    /// The target is at a commit, but for what somebody edits.
    fn assert_unedited_at(&self, revision: &str, context: &str) {
        let wanted = TreeSnapshot::of_commit(&self.repo, revision).without(|path| path == EDITED);
        let found = self.target_tree().without(|path| path == EDITED);
        let difference = wanted.difference(&found);
        assert!(difference.is_empty(), "{difference:?} after {context}");
    }
}

impl Deref for Saved {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

#[test]
fn after_damage_to_any_file_of_the_state_the_next_sync_reaches_the_commit_or_refuses() {
    let world = Saved::new();
    let mut cases = 0;
    for file in world.files() {
        for (how, damage) in DAMAGES {
            world.restore();
            let before = world.target_tree();
            damage(&file);
            let output = world.sync(&[]);
            let context = format!("{} {how}: {}", file.display(), output.stderr);
            if file.ends_with("state/index") {
                // What is ours is not known any more, so nothing that differs is replaced without the option.
                assert_eq!(output.code, Some(8), "{context}");
                assert!(output.stderr.contains("help: "), "{context}");
                world.target_tree().assert_same(&before);
                let _ = world.sync(&["--local-edits", "replace"]).ok();
            } else {
                assert_eq!(output.code, Some(0), "{context}");
            }
            world.assert_unedited_at("main", &context);
            cases += 1;
        }
    }
    assert!(cases >= 50, "only {cases}");
}

/// The scan begins while the index is read, and what it has of the files then is right only if all of it is.
#[test]
fn what_an_index_says_of_a_file_is_not_used_if_its_end_is_damaged() {
    let world = Saved::new();
    let state = StateDir::open(&world.state()).unwrap();
    let Found::Whole(mut index) = Index::load(&state).unwrap() else {
        panic!("no index");
    };
    let edited = RelPath::new(UNCHANGED.as_bytes()).unwrap();
    world.edit(UNCHANGED, "edited\n");
    let stat = Target::open(&world.target()).unwrap().stat(&edited);
    index
        .seen
        .insert(edited, StatData::from(&stat.unwrap().unwrap()));
    index.save(&state).unwrap();
    let diff = world.run(&["diff", "--json", UNCHANGED]).ok().json();
    assert_eq!(
        diff["files"],
        serde_json::json!([]),
        "a whole index is used"
    );

    let path = world.state().join("index");
    let sealed = fs::read(&path).unwrap();
    let end = sealed.iter().position(|&byte| byte == b'\n').unwrap();
    let line = std::str::from_utf8(&sealed[..end]).unwrap();
    let (what, _) = line.rsplit_once(' ').unwrap();
    let body = [&sealed[end + 1..], b"x"].concat();
    seal(&path, what, &body);
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    world.assert_unedited_at("main", "after the damage");
}

/// Nothing is put in place that is not what was kept.
#[test]
fn a_rollback_from_damaged_copies_is_right_or_refused_with_help() {
    let world = Saved::new();
    let (mut right, mut refused) = (0, 0);
    for file in world.files() {
        if !file.starts_with(world.state().join("undo")) {
            continue;
        }
        for (how, damage) in DAMAGES {
            world.restore();
            let before = world.target_tree();
            damage(&file);
            let output = world.run(&["rollback"]);
            let context = format!("{} {how}: {}", file.display(), output.stderr);
            if output.code == Some(0) {
                world.assert_unedited_at("main~2", &context);
                let edited = fs::read_to_string(world.target().join(EDITED)).unwrap();
                assert_eq!(edited, MINE, "{context}");
                right += 1;
            } else {
                assert_eq!(output.code, Some(12), "{context}");
                assert!(output.stderr.contains("help: "), "{context}");
                world.target_tree().assert_same(&before);
                refused += 1;
            }
        }
    }
    assert!(right >= 3 && refused >= 3, "{right} and {refused}");
}

/// Or the updates before it would be taken for it.
#[test]
fn a_rollback_over_an_update_whose_record_is_damaged_is_refused() {
    let world = Saved::new();
    let _ = world.sync(&[]).ok();
    let before = world.target_tree();
    let record = world.state().join("undo/000002/transaction");
    flip(&record);
    let output = world.run(&["rollback", "2"]);
    assert_eq!(output.code, Some(12), "{}", output.stderr);
    assert!(output.stderr.contains("update 000002"), "{}", output.stderr);
    world.target_tree().assert_same(&before);
    fs::remove_file(&record).unwrap();
    let output = world.run(&["rollback", "2"]);
    assert_eq!(output.code, Some(12), "{}", output.stderr);
    let output = world.run(&["restore", EDITED]);
    assert_eq!(output.code, Some(12), "{}", output.stderr);
    world.target_tree().assert_same(&before);
    let _ = world.run(&["rollback", "1"]).ok();
    world.assert_unedited_at("main~1", "a rollback to before the last update");
}

/// What cannot be read is not damaged, and not thrown away.
#[test]
fn without_file_descriptors_the_store_stays_as_it_is() {
    let world = Saved::new();
    world.link_tool("sh");
    for limit in 5..12 {
        let limited = format!("ulimit -n {limit}; exec \"$@\"");
        let wrapper = ["sh", "-c", &limited, "sh"];
        let output = world.process(&wrapper, &["rollback"]).output().unwrap();
        assert_eq!(output.status.code(), Some(9), "{limit}: {output:?}");
    }
    let _ = world.run(&["rollback"]).ok();
    world.assert_unedited_at("main~2", "a rollback");
}

/// Of the real binary, with the object store, which no hook watches: a `fsync` that is gone is missing here.
#[test]
fn an_update_flushes_these_files_and_directories() {
    let world = Saved::new();
    world.link_tool("strace");
    let log = world.root().join("log");
    let strace = [
        "strace",
        "-f",
        "-y",
        "-qq",
        "-e",
        "trace=fsync,fdatasync",
        "-o",
    ];
    let strace = [&strace[..], &[log.to_str().unwrap()]].concat();
    let args = ["sync", "--local-edits", "replace"];
    let status = world.process(&strace, &args).status().unwrap();
    assert!(status.success());
    let root = world.root().to_str().unwrap();
    let log = fs::read_to_string(log).unwrap();
    let mut synced: Vec<String> = log
        .lines()
        .filter(|line| !line.contains(" resumed>"))
        .filter_map(|line| line.split_once('<')?.1.split_once('>'))
        .map(|(path, _)| {
            path.strip_prefix(root)
                .unwrap_or(path)
                .replace(" (deleted)", "")
        })
        .map(|path| {
            let plain = |part: &str| match part.split_once(['.', '-']) {
                _ if part.len() == 40 => "<id>".to_owned(),
                Some(("pack", rest)) => format!("pack-<id>.{}", rest.rsplit_once('.').unwrap().1),
                Some(("incoming", _)) => "incoming".to_owned(),
                Some(("", rest)) if rest.starts_with("tmp") => ".tmp".to_owned(),
                Some((number, rest)) if number.parse::<u64>().is_ok() => format!("<n>.{rest}"),
                _ if part.parse::<u64>().is_ok() => "<n>".to_owned(),
                _ => part.to_owned(),
            };
            path.split('/').map(plain).collect::<Vec<_>>().join("/")
        })
        .collect();
    synced.sort();
    synced.dedup();
    insta::assert_snapshot!(synced.join("\n"), @r#"
    /state
    /state/.sync-state.json.hyper-sync
    /state/index
    /state/objects.git/incoming/pack-<id>.idx
    /state/objects.git/incoming/pack-<id>.pack
    /state/objects.git/objects/pack
    /state/objects.git/refs/hyper-sync
    /state/objects.git/refs/hyper-sync/<n>
    /state/rebuild.json.tmp
    /state/tx
    /state/tx/<n>.plan
    /state/undo
    /state/undo/<n>.part
    /state/undo/<n>.part/<id>
    /state/undo/<n>.part/transaction
    /target
    /target/.hyper-sync.tmp
    /target/.hyper-sync.tmp/<n>
    /target/modules
    "#);
}

/// A directory with the tree that it had in the last commit is not read: there is no sign of damage to that until a run
/// that reads everything.
#[test]
fn an_update_does_not_read_the_directories_that_have_not_changed() {
    let world = World::small().synced();
    damage_object(&world, "HEAD:modules");
    world
        .repo
        .write("flake.nix", "{ other = true; }\n")
        .commit("other");
    let damaged = world.state().join("objects.git/damaged");
    let _ = world.sync(&[]).ok();
    world.assert_at("HEAD");
    assert!(!damaged.exists(), "it was read");
    let _ = world.sync(&[]).ok();
    assert!(
        damaged.exists(),
        "a run that has nothing to do has read everything"
    );
    let _ = world.sync(&[]).ok();
    world
        .repo
        .write("modules/base.nix", "{ other = true; }\n")
        .commit("another");
    let _ = world.sync(&[]).ok();
    world.assert_at("HEAD");
}

/// Flips a bit of an object in the store.
fn damage_object(world: &World, revision: &str) {
    let id = world.repo.id(revision);
    let pack = pack_files(&world.state().join("objects.git"), "pack").remove(0);
    let mut verify = world.repo.git();
    let listed = git::succeeds(verify.args(["verify-pack", "-v"]).arg(&pack));
    let listed = String::from_utf8(listed).unwrap();
    let row = listed.lines().find(|line| line.starts_with(&id)).unwrap();
    // Id, kind, size, size in the pack, offset.
    let columns: Vec<&str> = row.split_whitespace().collect();
    let [size, offset] = [3, 4].map(|column| columns[column].parse::<usize>().unwrap());
    let mut bytes = fs::read(&pack).unwrap();
    bytes[offset + size / 2] ^= 1;
    rewrite(&pack, &bytes);
}
