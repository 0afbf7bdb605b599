//! How long another process has been running.
//!
//! The kernel counts it from the boot, so that a clock that is set forward does not make a process older. Time in which
//! the machine slept counts.

use std::path::Path;
use std::time::Duration;

use crate::text;
use crate::vetted::{self, FileRequirements};

/// The unit of times in `/proc/PID/stat`, of which a second has 100 on every architecture that NixOS runs on
/// (`proc_pid_stat(5)`, `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// A line with some fifty numbers.
const STAT_MAX: u64 = 4096;

/// How long a process has been running; `None` if there is none, or if it cannot be seen.
pub(crate) fn age(process: u32) -> Option<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = vetted::read(Path::new(&path), &FileRequirements::anyone(STAT_MAX)).ok()?;
    let uptime = u64::try_from(rustix::system::sysinfo().uptime).ok()?;
    Some(Duration::from_secs(uptime).saturating_sub(start(&text::decode(&stat))?))
}

/// When a process began, since the boot. The program's name, the second field, may have spaces and parentheses.
fn start(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    // The 22nd field is the 20th after the name.
    let ticks: u32 = fields.split_whitespace().nth(19)?.parse().ok()?;
    TICK.checked_mul(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_behind_any_name() {
        // As Linux 6.1 prints it.
        let stat =
            "4303 (a) b (c) S 1 4303 4303 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 1 0 123456 0 0";
        assert_eq!(start(stat), Some(Duration::from_millis(1_234_560)));
        assert_eq!(start("4303 (a) S 1"), None);
        assert_eq!(start(""), None);
    }

    #[test]
    fn a_process_has_an_age_until_it_ends() {
        assert!(age(std::process::id()).is_some());
        // Above the largest id (`pid_max(5)`).
        assert_eq!(age(u32::MAX), None);
    }
}
