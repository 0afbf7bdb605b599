//! Many runs of the real binary at once, and a run with nothing to do.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use hyper_sync::lock::RunLock;
use hyper_sync::state::StateDir;

use crate::common::env::Sandbox;
use crate::common::forge::Forge;
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;

const RUNS: usize = 64;

#[test]
fn of_sixty_four_runs_one_works_and_the_others_exit_with_ten_and_name_it() {
    let repo = Repo::small();
    let world = Sandbox::new();
    let forge = Forge::serve(&repo);
    // The run that works is held at its first answer until all others have ended.
    let (release, held) = mpsc::channel::<()>();
    forge.after_each_request(move |_| {
        let _ = held.recv();
    });
    let (ended, ends) = mpsc::channel();
    let url = forge.git_url();
    std::thread::scope(|scope| {
        let mut works: Vec<u32> = Vec::new();
        for _ in 0..RUNS {
            let run = world
                .process(&[], &["sync", "--repo", &url])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            works.push(run.id());
            let ended = ended.clone();
            scope.spawn(move || {
                let id = run.id();
                ended.send((id, run.wait_with_output().unwrap())).unwrap();
            });
        }
        let mut refused = Vec::new();
        for _ in 1..RUNS {
            let (id, output) = ends.recv().unwrap();
            assert_eq!(output.status.code(), Some(10), "{output:?}");
            works.retain(|run| *run != id);
            refused.push(String::from_utf8(output.stderr).unwrap());
        }
        drop(release);
        let (id, output) = ends.recv().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(works, [id]);
        let named = format!("another run is active (process {id}, since 2");
        for message in refused {
            assert!(message.contains(&named), "{message} does not name {id}");
        }
    });
    world
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(&repo, "main"));
}

#[test]
fn a_run_that_waits_works_when_the_other_has_ended() {
    let repo = Repo::small();
    let world = Sandbox::new();
    let path = repo.path().display().to_string();
    world.link_tool("strace");
    let state = StateDir::open(&world.state()).unwrap();
    let lock = RunLock::acquire(&state, Duration::ZERO, &false.into()).unwrap();
    let log = world.root().join("log");
    let name = log.display().to_string();
    let mut run = world
        .process(
            &["strace", "-f", "-qq", "-e", "trace=flock", "-o", &name],
            &["sync", "--repo", &path, "--wait", "600"],
        )
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // It has tried to take the lock twice, and it was held.
    while std::fs::read_to_string(&log).map_or(0, |text| text.matches("EAGAIN").count()) < 2 {
        assert!(run.try_wait().unwrap().is_none(), "it did not wait");
        std::thread::yield_now();
    }
    assert!(!world.target().exists());
    drop(lock);
    assert!(run.wait().unwrap().success());
    world
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(&repo, "main"));
}

/// System calls that change a file system or open something for writing. One that fails changes nothing.
fn changes(trace: &str, root: &Path) -> Vec<String> {
    const CHANGING: [&str; 34] = [
        "write",
        "pwrite64",
        "writev",
        "pwritev",
        "pwritev2",
        "sendfile",
        "splice",
        "copy_file_range",
        "rename",
        "renameat",
        "renameat2",
        "link",
        "linkat",
        "symlink",
        "symlinkat",
        "unlink",
        "unlinkat",
        "rmdir",
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "truncate",
        "ftruncate",
        "fallocate",
        "chmod",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "chown",
        "fchown",
        "fchownat",
        "utimensat",
        "fsync",
    ];
    let root = root.to_str().unwrap();
    let lines = trace.lines().filter(|line| line.contains(root));
    let changing = lines.filter(|line| {
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        let call = call.split('(').next().unwrap_or_default();
        let opens = call.starts_with("open")
            && ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"]
                .iter()
                .any(|flag| line.contains(flag));
        (opens || CHANGING.contains(&call)) && !line.contains(" = -1 ")
    });
    changing
        .map(|line| {
            let call = line.split_once(' ').unwrap().1.trim_start();
            let name = call.split('(').next().unwrap();
            let path = call.split(['<', '"', '>']).find(|part| part.contains(root));
            let path = path.unwrap().strip_prefix(root).unwrap_or_default();
            let child = if name == "openat" {
                call.split('"').nth(1).unwrap_or_default()
            } else {
                ""
            };
            format!("{name} {path}/{child}")
        })
        .collect()
}

/// Kind, size, inode and times of everything below, by which any change is noticed.
fn stamps(root: &Path) -> BTreeMap<String, String> {
    let mut stamps = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let stat = path.symlink_metadata().unwrap();
        if stat.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        }
        let stamp = format!(
            "{:o} {} {} {}.{} {}.{}",
            stat.mode(),
            stat.size(),
            stat.ino(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.ctime(),
            stat.ctime_nsec()
        );
        stamps.insert(path.display().to_string(), stamp);
    }
    stamps
}

#[test]
fn a_run_with_nothing_to_do_writes_only_the_lock_holder() {
    let repo = Repo::small();
    let world = Sandbox::new();
    world.link_tool("strace");
    let path = repo.path().display().to_string();
    let _ = world.run(&["sync", "--repo", &path]).ok();
    // A local edit that stays makes no difference.
    world.edit("flake.nix", "{ mine = true; }\n");
    let index = world.state().join("index").display().to_string();
    let saves_no_index = || {
        let before = stamps(&world.state()).remove(&index);
        let _ = world.run(&["sync", "--repo", &path]).ok();
        before.is_some() && before == stamps(&world.state()).remove(&index)
    };
    // It is saved once more when the files are older than a tick of the clock, which ten runs take, and then no more.
    assert!((0..100).any(|_| (0..10).all(|_| saves_no_index())));
    let log = world.root().join("log").display().to_string();
    // Who holds it, and then how the run ended. Twice: for the sync, and to refresh the lock file of Nix.
    let lock = ["openat /lock", "pwrite64 /lock/", "pwrite64 /lock/"];
    let runs: [(&[&str], Vec<&str>); 5] = [
        (&["sync", "--repo", &path], [lock, lock].concat()),
        (&["sync", "--repo", &path, "--json"], [lock, lock].concat()),
        (&["sync", "--repo", &path, "--check-only"], lock.to_vec()),
        (&["sync", "--repo", &path, "--dry-run"], lock.to_vec()),
        (&["status"], Vec::new()),
    ];
    let everything = || {
        let mut stamps = [stamps(&world.target()), stamps(&world.state())];
        stamps[1].remove(&world.state().join("lock").display().to_string());
        stamps
    };
    let before = everything();
    for (args, writes) in runs {
        let mut run = world.process(&["strace", "-f", "-y", "-qq", "-o", &log], args);
        assert!(
            run.stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
        let trace = std::fs::read_to_string(&log).unwrap();
        assert!(
            trace.contains("getdents64") || trace.contains("openat"),
            "{args:?}"
        );
        let target = changes(&trace, &world.target());
        assert!(target.is_empty(), "{args:?}: {target:#?}");
        assert_eq!(changes(&trace, &world.state()), writes, "{args:?}");
        assert_eq!(everything(), before, "{args:?}");
    }
}
