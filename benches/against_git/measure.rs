//! Runs commands one after the other and measures their time and memory.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Between two samples of the memory.
const SAMPLE: Duration = Duration::from_millis(1);

/// Runs the commands and returns the seconds from the start of the first to the end of the last.
pub fn time(commands: &mut [Command]) -> f64 {
    let begun = Instant::now();
    for command in commands.iter_mut() {
        let child = start(command);
        finish(command, child);
    }
    begun.elapsed().as_secs_f64()
}

/// Runs the commands and returns the largest memory that one of their processes had, in bytes.
///
/// The kernel keeps the maximum of a process but forgets it with its end, and only a parent could ask for it by a call
/// that safe code does not have: so it is read every millisecond, in a run that is not timed.
pub fn memory(commands: &mut [Command]) -> u64 {
    let mut most = 0;
    for command in commands.iter_mut() {
        // A group of its own, so that git's helpers are counted and nothing else.
        let child = start(command.process_group(0));
        let group = child.id();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let sampling = scope.spawn(|| {
                let mut most = 0;
                while !done.load(Ordering::Relaxed) {
                    most = most.max(largest(group));
                    thread::sleep(SAMPLE);
                }
                most
            });
            finish(command, child);
            done.store(true, Ordering::Relaxed);
            most = most.max(sampling.join().unwrap());
        });
    }
    most
}

fn start(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"))
}

fn finish(command: &Command, child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} failed with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The largest process of a group, by its maximum so far.
fn largest(group: u32) -> u64 {
    let own = fs::read_link("/proc/self/exe").unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| peak(&entry.ok()?.path(), group, &own))
        .max()
        .unwrap_or(0)
}

/// `None` for what is not a process of the group, and for one that has not executed its program yet.
fn peak(process: &Path, group: u32, own: &Path) -> Option<u64> {
    let name = process.file_name()?.to_str()?;
    name.parse::<u32>().ok()?;
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // `PID (NAME) STATE PPID PGRP …`, and the name may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    if rest.split(' ').nth(2)?.parse::<u32>().ok()? != group {
        return None;
    }
    if fs::read_link(process.join("exe")).ok()? == own {
        return None;
    }
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
