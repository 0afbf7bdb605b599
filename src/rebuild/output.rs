//! Interprets the exit codes and the output of Nix, `nixos-rebuild` and `switch-to-configuration`.
//!
//! `switch-to-configuration` distinguishes its failures by its exit code; `nixos-rebuild` passes the code on in some
//! versions, and exits with 1 and an error message in others. A failed Nix build may exit with any code, also 100.
//!
//! An error message of Nix is the text after `error:`, or below it if Nix prints a trace first: a line `error:`, the
//! trace, and at the end another `error:` with the message in the following lines (as for a failed assertion). Nix
//! indents all lines of a message but the first. Of several errors, the first is the cause of the others.

use super::error::ErrorKind;
use crate::process::{End, Finished};
use crate::settings::Action;
use crate::text;

/// How `nixos-rebuild` or `switch-to-configuration` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// With success.
    Done,
    /// Nothing was activated: evaluation or build failed.
    NotBuilt,
    /// The activation failed.
    NotActivated,
    /// The system is active, units failed.
    UnitsFailed,
    /// The new system has another init: only a reboot can start it.
    RebootNeeded,
    /// Another process has the lock of `switch-to-configuration`, or its unit.
    Busy,
}

/// Only the kernel sends it to the programs that we start.
const SIGKILL: i32 = 9;

/// Exit codes of `switch-to-configuration`: 2 activation script, 3 reload of systemd, 4 units, 100 another init.
const ACTIVATION_SCRIPT: i32 = 2;
const RELOAD: i32 = 3;
const UNITS: i32 = 4;
const OTHER_INIT: i32 = 100;

impl Verdict {
    /// From the exit code and output of `switch-to-configuration`.
    pub(super) fn of_activation(code: i32, text: &str) -> Self {
        match code {
            0 => Self::Done,
            UNITS => Self::UnitsFailed,
            OTHER_INIT => Self::RebootNeeded,
            _ if is_busy(text) => Self::Busy,
            _ => Self::NotActivated,
        }
    }

    /// From the exit code and output of `nixos-rebuild`, for an action that activates.
    pub(super) fn of_rebuild(code: i32, text: &str) -> Self {
        if code == 0 {
            return Self::Done;
        }
        if is_busy(text) {
            return Self::Busy;
        }
        if let Some(code) = reported_code(text) {
            return Self::of_activation(code, text);
        }
        if text.contains("error(s) occurred while switching") {
            return if text.contains("the following units failed") {
                Self::UnitsFailed
            } else {
                Self::NotActivated
            };
        }
        // Nix prints `error:`, the activation `Error:` or `warning:`.
        let is_nix_error = text
            .lines()
            .any(|line| line.trim_start().starts_with("error:"));
        match code {
            ACTIVATION_SCRIPT | RELOAD | UNITS | OTHER_INIT if !is_nix_error => {
                Self::of_activation(code, text)
            }
            _ => Self::NotBuilt,
        }
    }

    /// The error of a failed rebuild.
    pub(super) fn into_error(self, action: Action, finished: Finished) -> ErrorKind {
        let Finished { end, tail, .. } = finished;
        match self {
            Self::RebootNeeded => ErrorKind::RebootNeeded {
                inhibitors: Vec::new(),
            },
            Self::Busy => ErrorKind::Busy { unit: None },
            Self::NotBuilt if end == End::Killed(SIGKILL) || lacks_memory(&tail) => {
                ErrorKind::OutOfMemory { kills: 0, tail }
            }
            Self::NotBuilt => ErrorKind::Build { end, tail },
            Self::NotActivated | Self::Done | Self::UnitsFailed => {
                ErrorKind::Activation { action, end, tail }
            }
        }
    }
}

/// Whether the lock of `switch-to-configuration` is held, or its unit exists.
fn is_busy(text: &str) -> bool {
    text.contains("Could not acquire lock")
        || (text.contains("switch-to-configuration") && text.contains("already loaded"))
}

/// The exit code of `switch-to-configuration`, if `nixos-rebuild` prints it in its error message.
fn reported_code(text: &str) -> Option<i32> {
    let line = text
        .lines()
        .rfind(|line| line.contains("/bin/switch-to-configuration"))?;
    let (_, rest) = line.rsplit_once("non-zero exit status ")?;
    let digits = rest.trim_end_matches(|c: char| !c.is_ascii_digit());
    digits.parse().ok()
}

/// Messages of programs that were killed or had no memory: of Nix about a builder, of Python about Nix, of the C
/// library, of C++ and of Nix itself.
const NO_MEMORY: &[&str] = &[
    "due to signal 9",
    "signals.sigkill",
    "cannot allocate memory",
    "std::bad_alloc",
    "error: out of memory",
];

/// Messages about a full disk: of the C library and of `SQLite`.
const NO_SPACE: &[&str] = &[
    "no space left on device",
    "disk quota exceeded",
    "database or disk is full",
];

/// Messages about failures that may pass by themselves: of curl, the resolver, git and ssh about the network, and of
/// Nix about hosts that refuse for now, its database, its daemon and an interrupt.
const MAY_PASS: &[&str] = &[
    "could not resolve host",
    "couldn't resolve host",
    "temporary failure in name resolution",
    "could not connect",
    "couldn't connect",
    "failed to connect",
    "connection refused",
    "connection reset",
    "connection timed out",
    "operation timed out",
    "resolving timed out",
    "timeout was reached",
    "network is unreachable",
    "no route to host",
    "ssl connect error",
    "http error 429",
    "http error 50",
    "rate limit exceeded",
    "database is busy",
    "disconnected unexpectedly",
    "interrupted by the user",
];

/// Whether a build failed for something that may pass by itself: the network, or a full disk.
///
/// A warning does not count: Nix prints one for each cache that it does not reach, and then builds. Neither does the
/// log of a build that did not fail.
pub(super) fn may_pass(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let messages = (0..lines.len())
        .filter_map(|at| message(&lines[at..]))
        .flatten();
    let programs = lines.iter().copied().filter(|line| {
        let line = line.trim_start();
        ["curl:", "fatal:", "ssh:"]
            .iter()
            .any(|name| line.starts_with(name))
    });
    lacks_space(text)
        || messages
            .chain(programs)
            .any(|line| contains(line, MAY_PASS))
}

/// Whether a program printed that the disk is full.
pub(super) fn lacks_space(text: &str) -> bool {
    contains(text, NO_SPACE)
}

fn lacks_memory(text: &str) -> bool {
    contains(text, NO_MEMORY)
}

/// Whether a derivation was not built, after an evaluation that succeeded.
pub(super) fn is_builder_failure(text: &str) -> bool {
    let phrases = [
        "builder for '",
        "failed to build",
        "error: cannot build",
        "timed out after",
        "hash mismatch in fixed-output derivation",
    ];
    contains(text, &phrases)
}

fn contains(text: &str, phrases: &[&str]) -> bool {
    let text = text.to_lowercase();
    phrases.iter().any(|phrase| text.contains(phrase))
}

/// How many lines of a message are repeated; all of it was shown when Nix printed it.
const MESSAGE_LINES: usize = 12;
/// How many lines of a builder's log are repeated: it ends soon after the failure.
const LOG_LINES: usize = 3;

/// The first error message of Nix in its output, on one line.
pub(super) fn error_message(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let messages = (0..lines.len()).filter_map(|at| message(&lines[at..]));
    let lines = messages
        .map(|message| without_old_log(&message))
        .find(|message| !message.is_empty());
    let mut lines = lines?;
    let is_cut = lines.len() > MESSAGE_LINES;
    lines.truncate(MESSAGE_LINES);
    let words: Vec<String> = lines.into_iter().map(text::words).collect();
    let more = if is_cut { " …" } else { "" };
    Some(format!("{}{more}", words.join(" ")))
}

/// The lines of the message that starts at the first line, if one does.
fn message<'a>(lines: &[&'a str]) -> Option<Vec<&'a str>> {
    let (first, rest) = lines.split_first()?;
    let indent = indent(first);
    let mut message = vec![first.trim().strip_prefix("error:")?.trim()];
    for line in rest {
        let words = line.trim();
        let continues = words.is_empty() || self::indent(line) >= indent.max(1);
        if !continues || ends_message(words) {
            break;
        }
        message.push(words);
        // The position is followed by an excerpt of the source.
        if is_position(words) {
            break;
        }
    }
    // Including empty lines of a log.
    message.retain(|line| !matches!(*line, "" | ">"));
    Some(message)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether a trace, another error or a remark of Nix starts here.
fn ends_message(words: &str) -> bool {
    ["error:", "… ", "(stack trace truncated", "For full logs"]
        .iter()
        .any(|begin| words.starts_with(begin))
}

/// Whether a line is a position: `at /etc/nixos/flake.nix:3:5:`, or of a source without a path.
fn is_position(words: &str) -> bool {
    words.starts_with("at /") || words.starts_with("at «")
}

/// Drops all but the last lines of a builder's log.
fn without_old_log<'a>(message: &[&'a str]) -> Vec<&'a str> {
    let log = message.iter().filter(|line| line.starts_with('>')).count();
    let mut old = log.saturating_sub(LOG_LINES);
    let is_kept = |line: &&&str| {
        let is_old = line.starts_with('>') && old > 0;
        old -= usize::from(is_old);
        !is_old
    };
    message.iter().filter(is_kept).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn exit_codes_of_the_activation_are_distinguished() {
        let of = |code| Verdict::of_activation(code, "");
        assert_eq!(of(0), Verdict::Done);
        assert_eq!(of(1), Verdict::NotActivated);
        assert_eq!(of(2), Verdict::NotActivated);
        assert_eq!(of(3), Verdict::NotActivated);
        assert_eq!(of(4), Verdict::UnitsFailed);
        assert_eq!(of(100), Verdict::RebootNeeded);
        assert_eq!(
            Verdict::of_activation(11, "Could not acquire lock"),
            Verdict::Busy
        );
    }

    #[test]
    fn the_code_is_found_in_each_form_of_nixos_rebuild() {
        assert_eq!(Verdict::of_rebuild(4, ""), Verdict::UnitsFailed);
        let message = "Command 'systemd-run --unit=nixos-rebuild-switch-to-configuration \
            /nix/store/x-nixos-system/bin/switch-to-configuration test' returned non-zero exit status 4.";
        assert_eq!(Verdict::of_rebuild(1, message), Verdict::UnitsFailed);
        let hidden = "warning: error(s) occurred while switching to the new configuration";
        assert_eq!(Verdict::of_rebuild(1, hidden), Verdict::NotActivated);
        let units = format!("warning: the following units failed: a.service\n{hidden}");
        assert_eq!(Verdict::of_rebuild(1, &units), Verdict::UnitsFailed);
    }

    #[test]
    fn a_failed_build_with_code_100_is_not_a_reboot() {
        let text = "error: builder for '/nix/store/x.drv' failed with exit code 1";
        assert_eq!(Verdict::of_rebuild(100, text), Verdict::NotBuilt);
        assert_eq!(Verdict::of_rebuild(1, text), Verdict::NotBuilt);
        assert_eq!(Verdict::of_rebuild(100, ""), Verdict::RebootNeeded);
        assert_eq!(Verdict::of_rebuild(1, ""), Verdict::NotBuilt);
    }

    #[test]
    fn a_held_lock_and_a_unit_that_exists_are_busy() {
        for text in [
            "Could not acquire lock",
            "Failed to start transient service unit: Unit nixos-rebuild-switch-to-configuration.service was already loaded or has a fragment file.",
        ] {
            assert_eq!(Verdict::of_rebuild(1, text), Verdict::Busy);
        }
    }

    fn cause(text: &str) -> String {
        error_message(text).unwrap_or_default()
    }

    #[test]
    fn a_message_is_returned_with_its_position() {
        let text = "evaluating\nerror: syntax error, unexpected ';'\n       at /etc/nixos/s.nix:1:7:\n            1| { a = ; }\n             |       ^\n            2|\n";
        assert_eq!(
            cause(text),
            "syntax error, unexpected ';' at /etc/nixos/s.nix:1:7:"
        );
        assert_eq!(cause("error: one\nerror: two\n"), "one");
        assert_eq!(cause("nothing\n"), "");
        assert_eq!(cause("error:\n"), "");
    }

    /// As Nix 2.26 prints it.
    #[test]
    fn a_message_below_a_trace_is_returned_without_the_trace() {
        let text = "error:\n       … while evaluating the option `x':\n\n       … while calling the 'throw' builtin\n         at /lib/modules.nix:1246:5:\n         1245|     # Type-check\n             |     ^\n\n       (stack trace truncated; use '--show-trace' to show the full, detailed trace)\n\n       error:\n       Failed assertions:\n       - `services.x` is a\n         and b.\n       Use c.\n\n       - second\nCommand 'nix build' returned non-zero exit status 1.\n";
        assert_eq!(
            cause(text),
            "Failed assertions: - `services.x` is a and b. Use c. - second"
        );
        assert_eq!(
            cause(
                "error:\n       … while x\n\n       error: The option `foo' does not exist. Definition values:\n       - In `<unknown-file>': 1\n"
            ),
            "The option `foo' does not exist. Definition values: - In `<unknown-file>': 1"
        );
    }

    #[test]
    fn the_end_of_a_builders_log_is_returned() {
        let text = "error: builder for '/nix/store/x.drv' failed with exit code 3;\n       last 5 log lines:\n       > a\n       > b\n       > c\n       > error: d\n       > e\n       For full logs, run:\n         nix log /nix/store/x.drv\nerror: 1 dependencies of derivation '/nix/store/y.drv' failed to build\n";
        assert_eq!(
            cause(text),
            "builder for '/nix/store/x.drv' failed with exit code 3; last 5 log lines: > c > error: d > e"
        );
    }

    #[test]
    fn failures_that_may_pass_are_distinguished() {
        for text in [
            "error: unable to download 'https://x/a.tar.gz': Could not resolve host: x (6) Could not resolve hostname",
            "error: unable to download 'https://x/a.tar.gz': HTTP error 503",
            "fatal: unable to access 'https://x/': Failed to connect to x port 443\nerror: Failed to fetch git repository",
            "error: builder for '/nix/store/x.drv' failed with exit code 1;\n       last 2 log lines:\n       > curl: (6) Could not resolve host: x\n       For full logs, run:",
            "error: writing to file: No space left on device",
            "cp: error writing 'x': No space left on device",
        ] {
            assert!(may_pass(text), "{text}");
        }
        for text in [
            "warning: error: unable to download 'https://cache/x': Couldn't resolve host name (6); retrying in 250 ms\nerror: attribute 'x' missing",
            "error: unable to download 'https://x/a.tar.gz': HTTP error 404",
            "test> connection refused\nerror: builder for '/nix/store/x.drv' failed with exit code 1",
            "",
        ] {
            assert!(!may_pass(text), "{text}");
        }
    }

    #[test]
    fn a_builder_that_was_killed_had_no_memory() {
        let error = |end, tail: &str| {
            let finished = Finished {
                end,
                answer: Vec::new(),
                tail: tail.to_owned(),
                marked: None,
                lasted: Duration::ZERO,
            };
            Verdict::NotBuilt.into_error(Action::Switch, finished)
        };
        for (end, tail) in [
            (End::Killed(9), ""),
            (
                End::Exited(1),
                "error: builder for '/nix/store/x.drv' failed due to signal 9 (Killed)",
            ),
            (
                End::Exited(1),
                "Command 'nix build' died with <Signals.SIGKILL: 9>.",
            ),
        ] {
            let error = error(end, tail);
            assert!(matches!(error, ErrorKind::OutOfMemory { .. }), "{error}");
        }
        for (end, tail) in [(End::Exited(9), ""), (End::Killed(15), "")] {
            let error = error(end, tail);
            assert!(matches!(error, ErrorKind::Build { .. }), "{error}");
        }
    }

    /// As Nix 2.34 prints it.
    #[test]
    fn the_reason_of_a_failed_build_is_returned() {
        let text = "error: Cannot build '/nix/store/x.drv'.\n       Reason: builder failed with exit code 1.\n       Last 3 log lines:\n       > structuredAttrs is enabled\n       >\n       > no such file\n       For full logs, run:\n         nix log /nix/store/x.drv\nerror: Cannot build '/nix/store/y.drv'.\n       Reason: 1 dependency failed.\n";
        assert_eq!(
            cause(text),
            "Cannot build '/nix/store/x.drv'. Reason: builder failed with exit code 1. Last 3 log lines: > structuredAttrs is enabled > no such file"
        );
    }

    #[test]
    fn a_long_message_is_cut() {
        let lines = "       - one of many\n".repeat(MESSAGE_LINES);
        let message = cause(&format!("error: Failed assertions:\n{lines}"));
        assert_eq!(message.matches("one of many").count(), MESSAGE_LINES - 1);
        assert!(message.ends_with("one of many …"), "{message}");
    }
}
