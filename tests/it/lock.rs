//! One run at a time.

use std::os::unix::process::ExitStatusExt;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper_sync::lock::{Error, RunLock};
use hyper_sync::state::StateDir;
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::common::repo::Repo;
use crate::common::world::World;

fn state(directory: &tempfile::TempDir) -> StateDir {
    StateDir::open(&directory.path().join("state")).unwrap()
}

fn acquire(state: &StateDir, wait: Duration) -> Result<RunLock, Error> {
    RunLock::acquire(state, wait, &AtomicBool::new(false))
}

#[test]
fn one_of_sixty_four_runs_gets_the_lock_and_the_others_name_it() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(&directory);
    let (started, ended) = (Barrier::new(64), Barrier::new(64));
    let won = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    started.wait();
                    let result = acquire(&state, Duration::ZERO);
                    ended.wait();
                    match result {
                        Ok(_) => 1,
                        Err(Error::Busy { .. }) => 0,
                        Err(error) => panic!("{error:?}"),
                    }
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum::<u32>()
    });
    assert_eq!(won, 1);

    let _held = acquire(&state, Duration::ZERO).unwrap();
    let error = acquire(&state, Duration::ZERO).unwrap_err();
    let text = error.to_string();
    let expected = format!(
        "another run is active (process {}, since 2",
        std::process::id()
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn a_dropped_lock_is_free_and_a_dead_process_file_means_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(&directory);
    std::fs::write(
        state.path().join("lock"),
        "process 1, since 1970-01-01T00:00:00Z\n",
    )
    .unwrap();
    drop(acquire(&state, Duration::ZERO).unwrap());
    drop(acquire(&state, Duration::ZERO).unwrap());
}

#[test]
fn a_waiting_run_gets_the_lock_when_it_is_freed() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(&directory);
    let held = acquire(&state, Duration::ZERO).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| acquire(&state, Duration::from_mins(1)));
        drop(held);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn an_interrupt_ends_a_waiting_run() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(&directory);
    let _held = acquire(&state, Duration::ZERO).unwrap();
    let interrupted = RunLock::acquire(&state, Duration::MAX, &AtomicBool::new(true));
    assert!(
        matches!(interrupted, Err(Error::Interrupted)),
        "{interrupted:?}"
    );
}

/// Whoever holds the lock overwrites what the run before it has left, however long that is.
#[test]
fn only_the_holder_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(&directory);
    let path = state.path().join("lock");
    for left in [
        "",
        "process 1",
        &"x".repeat(5000),
        "\n\n",
        &format!("process 4294967295, since 2026-11-24T08:05:59Z{:>17}\n", ""),
    ] {
        std::fs::write(&path, left).unwrap();
        let _held = acquire(&state, Duration::ZERO).unwrap();
        let error = acquire(&state, Duration::ZERO).unwrap_err().to_string();
        let named = error
            .strip_prefix(&format!(
                "another run is active (process {}, since ",
                std::process::id()
            ))
            .unwrap_or_else(|| panic!("{error}"));
        assert_eq!(named.len(), "2026-11-24T08:05:59Z)".len(), "{error}");
    }
}

#[test]
fn a_removed_lock_file_does_not_let_a_second_run_start() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(&directory);
    let _held = acquire(&state, Duration::ZERO).unwrap();
    let path = state.path().join("lock");
    std::fs::remove_file(&path).unwrap();
    // Whoever comes now locks the file that has the name, and so do all after it.
    let _second = acquire(&state, Duration::ZERO).unwrap();
    assert!(matches!(
        acquire(&state, Duration::ZERO),
        Err(Error::Busy { .. })
    ));
}

#[test]
fn children_do_not_inherit_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(&directory);
    let _held = acquire(&state, Duration::ZERO).unwrap();
    let child = std::process::Command::new("ls")
        .args(["-l", "/proc/self/fd"])
        .output()
        .unwrap();
    let open = String::from_utf8(child.stdout).unwrap();
    assert!(open.contains("/proc/"), "{open}");
    let lock = state.path().join("lock");
    assert!(!open.contains(lock.to_str().unwrap()), "{open}");
}

/// A run that hangs with the lock, as a process that was stopped does.
#[test]
fn only_the_run_that_is_named_is_killed_for_its_lock() {
    let repo = Repo::small();
    let world = World::at(&repo, None, "repo = 'ssh://git@host/repo'");
    // Its parent is the run.
    world.tool("ssh", "kill -STOP $PPID; read -r _");
    let mut run = world.process(&[], &["sync"]).spawn().unwrap();
    let pid = Pid::from_child(&run);
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");

    let state = StateDir::open(&world.state()).unwrap();
    let busy = acquire(&state, Duration::ZERO);
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
    assert!(!RunLock::kill_holder(&state, std::process::id()));
    let busy = acquire(&state, Duration::ZERO);
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
    assert!(RunLock::kill_holder(&state, run.id()));
    assert_eq!(run.wait().unwrap().signal(), Some(9));
    drop(acquire(&state, Duration::from_mins(1)).unwrap());
    // It has ended.
    assert!(!RunLock::kill_holder(&state, u32::MAX));
}
