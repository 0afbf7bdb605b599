//! How many hosts are evaluated at a time.

use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;

use crate::text;
use crate::vetted::{self, FileRequirements};

/// What an evaluation of a NixOS configuration may take. Most take between half of that and that.
const EVALUATION: u64 = 2 << 30;
/// The largest size of a file of the kernel that is read.
const KERNEL_FILE_MAX: u64 = 1 << 20;

/// The number that is given, else as many as memory and processors allow; not more than there are hosts.
pub(super) fn at_a_time(given: Option<NonZero<usize>>, hosts: usize) -> usize {
    let jobs = given.map_or_else(
        || {
            allowed(
                available_memory(),
                available_parallelism().map_or(1, NonZero::get),
            )
        },
        NonZero::get,
    );
    jobs.clamp(1, hosts.max(1))
}

/// How many evaluations this much memory, in bytes, and so many processors allow.
fn allowed(memory: Option<u64>, processors: usize) -> usize {
    let fit = memory.map_or(1, |memory| memory / EVALUATION);
    usize::try_from(fit).unwrap_or(usize::MAX).min(processors)
}

/// The memory that programs can still get, in bytes: of the machine, and of the control group (cgroup v2) that this
/// process is in, which a container limits.
fn available_memory() -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|text| mem_available(&text))?;
    let group = read("/proc/self/cgroup").and_then(|groups| {
        let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let number = |name: &str| {
            let text = read(Path::new("/sys/fs/cgroup").join(group).join(name))?;
            text.trim().parse::<u64>().ok()
        };
        // Without a limit it is `max`, which is not a number.
        Some(number("memory.max")?.saturating_sub(number("memory.current")?))
    });
    Some(group.map_or(machine, |group| group.min(machine)))
}

/// `MemAvailable` of `/proc/meminfo` (`proc_meminfo(5)`), in bytes.
fn mem_available(text: &str) -> Option<u64> {
    let line = { text.lines() }.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    let content = vetted::read(path.as_ref(), &FileRequirements::anyone(KERNEL_FILE_MAX)).ok()?;
    Some(text::decode(&content).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_processors_bound_the_evaluations() {
        assert_eq!(allowed(Some(7 << 30), 8), 3);
        assert_eq!(allowed(Some(64 << 30), 4), 4);
        assert_eq!(allowed(Some(1 << 30), 4), 0);
        assert_eq!(allowed(None, 4), 1);
    }

    #[test]
    fn there_is_always_one_and_never_more_than_hosts() {
        let given = |jobs| at_a_time(NonZero::new(jobs), 3);
        assert_eq!((given(1), given(2), given(9)), (1, 2, 3));
        assert!((1..=3).contains(&at_a_time(None, 3)));
        assert_eq!(at_a_time(None, 0), 1);
    }

    #[test]
    fn the_available_memory_is_that_of_the_kernel() {
        // As Linux 6.1 prints it.
        let text = "MemTotal:        4026972 kB\nMemFree:          151236 kB\nMemAvailable:    2048000 kB\n";
        assert_eq!(mem_available(text), Some(2_097_152_000));
        assert_eq!(mem_available("MemTotal: 1 kB\n"), None);
        assert!(available_memory().is_some_and(|memory| memory > 0));
    }
}
