//! Signals that ask a run to stop: they set a flag, and the run stops where that is safe.
//!
//! Before the commit point of an apply nothing has changed; after it the apply is finished first, which takes a moment.
//! A second signal changes nothing, for stopping in the middle is what must not happen.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::source::Interrupt;

/// Sets `interrupt` when the process is asked to stop.
pub fn watch(interrupt: &Interrupt) {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Refused only for signals that cannot be caught, which these are not; without it the signal ends the
        // process at once, and the next run recovers.
        let _ = signal_hook::flag::register(signal, interrupt.clone());
    }
}
