//! SIGINT, SIGTERM and SIGHUP set a flag, and the run stops where that is safe.
//!
//! Before the commit point of an apply nothing has changed; after it the apply is finished first, which takes a moment.
//! A second signal changes nothing, because a run must not stop in the middle.
//!
//! A signal that is ignored when the program starts stays ignored: `nohup` needs that, and a shell for its background
//! jobs. The programs that a rebuild starts inherit it.
#![expect(
    clippy::disallowed_methods,
    reason = "which signals are ignored is read before anything is run"
)]

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::source::Interrupt;

/// Sets `interrupt` on a signal.
pub fn watch(interrupt: &Interrupt) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if !is_ignored(signal, &status) {
            // Refused only for signals that cannot be caught, which these are not; without it the signal ends the
            // process at once, and the next run recovers.
            let _ = signal_hook::flag::register(signal, interrupt.clone());
        }
    }
}

/// Whether a process with this `/proc/PID/status` ignores a signal: bit N-1 of `SigIgn` (`proc_pid_status(5)`).
fn is_ignored(signal: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_ignored_from_the_status_of_the_process() {
        let nohup = "Name:\thyper-sync\nSigBlk:\t0000000000000003\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(SIGHUP, nohup));
        assert!(!is_ignored(SIGINT, nohup) && !is_ignored(SIGTERM, nohup));
        let background = "SigIgn:\t0000000000000006\nSigCgt:\t0000000000000001\n";
        assert!(is_ignored(SIGINT, background));
        assert!(!is_ignored(SIGHUP, background));
        for nothing in ["", "SigIgn:\n", "SigIgn:\tx\n"] {
            assert!(!is_ignored(SIGHUP, nothing));
        }
    }
}
