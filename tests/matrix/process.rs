//! The real binary: killed by the kernel, without file descriptors, and on a file system that is really full.
//!
//! Needs `strace`, and for the full disk root or user namespaces.

use std::fs;
use std::io::{Write as _, stderr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::snapshot::TreeSnapshot;
use crate::common::world::World;

/// The calls that change what is on a disk.
const CHANGING: [&str; 8] = [
    "renameat2",
    "renameat",
    "unlinkat",
    "mkdirat",
    "symlinkat",
    "fchmod",
    "fsync",
    "write",
];

const EDITED: &str = "modules/base.nix";
const MINE: &str = "{ mine = true; }\n";

const SYNC: &[&str] = &["sync"];
const ROLLBACK: &[&str] = &["rollback"];

/// A target at the second of three commits, where an edit was replaced and another is made, and a copy of all that.
/// Both are in a directory over which a small file system is mounted.
struct SmallDisk {
    world: World,
    disk: PathBuf,
    saved: PathBuf,
}

impl SmallDisk {
    fn new() -> Self {
        let world = World::small().with("local_edits = 'replace'");
        let [disk, saved] = ["disk", "saved"].map(|name| world.root().join(name));
        fs::create_dir(&disk).unwrap();
        let machine = Self { world, disk, saved };
        machine.succeed(SYNC);
        machine.commit("second");
        machine.edit("{ earlier = true; }\n");
        machine.succeed(SYNC);
        machine.commit("third");
        machine.edit(MINE);
        copy(&machine.disk, &machine.saved);
        machine
    }

    /// Every file changes; what is in them cannot be compressed to nothing.
    fn commit(&self, name: &str) {
        let mut state = name.len() as u64;
        let mut noise = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            format!("{state:x}\n")
        };
        for number in 0..4 {
            let text: String = (0..1200).map(|_| noise()).collect();
            self.world.repo.write(format!("data/{number}"), &text);
        }
        self.world
            .repo
            .write("flake.nix", format!("{{ {name} = true; }}\n"))
            .write(EDITED, format!("{{ {name} = true; }}\n"))
            .write(format!("modules/{name}.nix"), "{ }\n")
            .commit(name);
    }

    fn edit(&self, content: &str) {
        fs::write(self.disk.join("target").join(EDITED), content).unwrap();
    }

    fn command(&self, wrapper: &[&str], args: &[&str]) -> Command {
        let mut command = self.world.process(wrapper, args);
        command
            .env("HYPER_SYNC_TARGET", self.disk.join("target"))
            .env("HYPER_SYNC_STATE_DIR", self.disk.join("state"));
        command
    }

    fn succeed(&self, args: &[&str]) {
        let output = self.command(&[], args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn restore(&self) {
        fs::remove_dir_all(&self.disk).unwrap();
        copy(&self.saved, &self.disk);
    }

    /// Whether a target is at a commit, but for the edited file.
    fn is_at(&self, target: &Path, revision: &str) -> bool {
        let wanted =
            TreeSnapshot::of_commit(&self.world.repo, revision).without(|path| path == EDITED);
        let found = TreeSnapshot::of(target).without(|path| path == EDITED);
        wanted.difference(&found).is_empty()
    }

    /// Nothing is left over, and what somebody wrote is in the target or kept.
    fn check(disk: &Path, context: &str) {
        let (target, state) = (disk.join("target"), disk.join("state"));
        let trees = [&target, &state].map(|path| TreeSnapshot::of(path));
        let names = trees.iter().flat_map(|tree| tree.nodes().keys());
        for name in names.map(|name| String::from_utf8_lossy(name)) {
            let left = [".hyper-sync", ".part", "incoming-", "tmp"]
                .iter()
                .any(|part| name.contains(part));
            assert!(
                !left && !name.starts_with("tx/"),
                "{context}: {name} is left"
            );
        }
        let is_mine = |path: PathBuf| fs::read(path).is_ok_and(|bytes| bytes == MINE.as_bytes());
        let kept = fs::read_dir(state.join("undo")).unwrap();
        let kept = kept.flat_map(|update| fs::read_dir(update.unwrap().path()).unwrap());
        let kept = kept.map(|entry| entry.unwrap().path());
        let found = kept.chain([target.join(EDITED)]).any(is_mine);
        assert!(found, "{context}: an edit is lost");
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

/// A process that really dies: what the kernel keeps of it is what the next run finds.
#[test]
fn killed_at_any_system_call_the_next_run_has_the_old_commit_or_the_new() {
    let machine = SmallDisk::new();
    machine.world.link_tool("strace");
    let log = machine.world.root().join("log");
    let log = log.to_str().unwrap();
    let mut points = 0;
    let runs = [(SYNC, "main"), (ROLLBACK, "main~2")];
    for ((args, to), call) in runs
        .into_iter()
        .flat_map(|run| CHANGING.map(|call| (run, call)))
    {
        for when in 1.. {
            machine.restore();
            let inject = format!("inject={call}:signal=SIGKILL:when={when}");
            let trace = format!("trace={call}");
            let strace = ["strace", "-qq", "-o", log, "-e", &trace, "-e", &inject];
            let output = machine.command(&strace, args).output().unwrap();
            let context = format!("{} killed at {call} {when}", args[0]);
            if output.status.signal().is_none() {
                assert!(output.status.success(), "{context}: {output:?}");
                break;
            }
            points += 1;
            // It recovers, and finds nothing to restore.
            let _ = machine
                .command(&[], &["restore", "nothing/here"])
                .output()
                .unwrap();
            let target = machine.disk.join("target");
            let is_old = machine.is_at(&target, "main~1");
            assert!(is_old || machine.is_at(&target, to), "{context}: neither");
            SmallDisk::check(&machine.disk, &context);
            if is_old {
                machine.succeed(args);
                assert!(machine.is_at(&target, to), "{context}");
                SmallDisk::check(&machine.disk, &context);
            }
        }
    }
    writeln!(stderr(), "{points:>7} processes killed").unwrap();
    assert!(points > 100, "only {points}");
}

#[test]
fn without_file_descriptors_nothing_is_changed_or_the_next_run_finishes() {
    let machine = SmallDisk::new();
    machine.world.link_tool("sh");
    let args = ROLLBACK;
    let mut points = 0;
    for limit in 4.. {
        machine.restore();
        let limited = format!("ulimit -n {limit}; exec \"$@\"");
        let output = machine
            .command(&["sh", "-c", &limited, "sh"], args)
            .output()
            .unwrap();
        let context = format!("{limit} descriptors: {output:?}");
        let target = machine.disk.join("target");
        if output.status.success() {
            assert!(machine.is_at(&target, "main~2"), "{context}");
            break;
        }
        points += 1;
        assert_eq!(output.status.code(), Some(9), "{context}");
        machine.succeed(args);
        assert!(machine.is_at(&target, "main~2"), "{context}");
        SmallDisk::check(&machine.disk, &context);
    }
    writeln!(stderr(), "{points:>7} limits of file descriptors").unwrap();
    assert!(points > 10, "only {points}");
}

/// What runs where a small file system is mounted that only this process sees.
const FULL: &str = r#"
set -eu
mount -t tmpfs -o size=4m tmpfs "$DISK"
cp -a "$SAVED/." "$DISK"
dd if=/dev/zero of="$DISK/filler" bs=4096 2>/dev/null || true
truncate -s "-$ROOM" "$DISK/filler"
code=0
"$@" 2>"$OUT/stderr" || code=$?
echo "$code" >"$OUT/code"
rm "$DISK/filler"
cp -a "$DISK" "$OUT/full"
"$@"
cp -a "$DISK" "$OUT/after"
"#;

#[test]
fn on_a_disk_that_is_full_an_update_changes_nothing_or_is_finished_by_the_next_run() {
    let machine = SmallDisk::new();
    for tool in ["unshare", "sh", "mount", "cp", "dd", "truncate", "rm"] {
        machine.world.link_tool(tool);
    }
    let namespace = if rustix::process::geteuid().is_root() {
        "-m"
    } else {
        "-rm"
    };
    let mut points = 0;
    for pages in (0..).step_by(3) {
        let out = machine.world.root().join(format!("out-{pages}"));
        fs::create_dir(&out).unwrap();
        let output = machine
            .command(&["unshare", namespace, "sh", "-c", FULL, "sh"], SYNC)
            .env("DISK", &machine.disk)
            .env("SAVED", &machine.saved)
            .env("OUT", &out)
            .env("ROOM", (pages * 4096).to_string())
            .output()
            .unwrap();
        let context = format!("{pages} pages free: {output:?}");
        assert!(output.status.success(), "{context}");
        let stderr = fs::read_to_string(out.join("stderr")).unwrap();
        let context = format!("{pages} pages free: {stderr}");
        assert!(
            machine.is_at(&out.join("after/target"), "main"),
            "{context}"
        );
        SmallDisk::check(&out.join("after"), &context);
        let full = out.join("full/target");
        let code = fs::read_to_string(out.join("code")).unwrap();
        if code.trim() == "0" {
            break;
        }
        points += 1;
        assert_eq!(code.trim(), "9", "{context}");
        let unfinished = stderr.contains("apply::unfinished");
        assert!(unfinished || machine.is_at(&full, "main~1"), "{context}");
        fs::remove_dir_all(&out).unwrap();
    }
    writeln!(stderr(), "{points:>7} full disks").unwrap();
    assert!(points > 10, "only {points}");
}
