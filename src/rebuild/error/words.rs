//! The words of an error that depend on what is known of the failure.

use miette::Diagnostic as _;

use super::{ErrorKind, QuarantineEntry};
use crate::text;

/// How many lines of an activation's output are in the message: the failure, and what led to it.
const LAST_LINES: usize = 3;

/// Why a build is taken for one without memory.
pub(super) fn killed(kills: u64) -> String {
    if kills == 0 {
        return "killed by signal 9, or no memory was left".to_owned();
    }
    format!("processes that the kernel killed for it meanwhile: {kills}")
}

/// What to do after a failed build of an update that was not carried out.
pub(super) fn before_update(cause: &ErrorKind) -> String {
    let help = cause.help().map(|help| help.to_string());
    format!("{}; {UNCHANGED}", help.unwrap_or_default())
}

/// The state after a build before an update failed.
const UNCHANGED: &str = "the target was not changed, because `rebuild.gate` is `build`";

/// The commit that the target is not brought to because of a failure.
pub(super) fn refused(entry: &QuarantineEntry) -> String {
    match &entry.commit {
        Some(commit) if entry.before_update => {
            format!("{} was not brought into the target: ", commit.short())
        }
        _ => String::new(),
    }
}

/// What tries a failed build now.
pub(super) fn retry(entry: &QuarantineEntry) -> String {
    if entry.before_update {
        return format!(
            "`hyper-sync` tries it now, and a newer commit is tried at once; {UNCHANGED}"
        );
    }
    "`hyper-sync rebuild --retry` tries it now, and a newer commit is tried at once".to_owned()
}

/// The state after the machine has come up with another system.
pub(super) fn after_missed_boot(is_default: bool) -> &'static str {
    if is_default {
        "that system is the boot default again"
    } else {
        "the machine is not rebooted again for the new system, which is still the boot default"
    }
}

/// Where a machine has no NixOS.
pub(super) const NOTHING_REBUILT: &str = "where nothing is to be rebuilt, `rebuild.action = \"none\"` in the configuration file says so for good, and `--rebuild-action none` for one run";

/// What to do where the host is not clear.
pub(super) fn choose_host(names: &[String]) -> String {
    if names.is_empty() {
        return format!(
            "set `rebuild.flake` to the directory of the flake that has this machine; {NOTHING_REBUILT}"
        );
    }
    "set `rebuild.host` to the attribute of `nixosConfigurations` that is this machine".to_owned()
}

pub(super) fn unclear(names: &[String], hostname: &str) -> String {
    if names.is_empty() {
        return "has no hosts (`nixosConfigurations`)".to_owned();
    }
    format!(
        "has several hosts and none is called `{}` like this machine: {}",
        text::name(hostname),
        list(names)
    )
}

pub(super) fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    text::list(names.iter().map(|name| format!("`{}`", text::name(name))))
}

pub(super) fn after(cause: Option<String>) -> String {
    cause.map(|cause| format!(": {cause}")).unwrap_or_default()
}

/// How the lines begin in which `switch-to-configuration` says which units it stops, starts and leaves alone.
const PROGRESS: [&str; 7] = [
    "NOT restarting the following",
    "reloading the following",
    "restarting sysinit-reactivation.target",
    "restarting the following",
    "starting the following",
    "stopping the following",
    "the following new units were started",
];

/// The last lines of an activation's output, for the message: an activation ends soon after the failure, and marks it
/// with no fixed word.
pub(super) fn stderr_summary(tail: &str) -> String {
    // Progress, and the command that `nixos-rebuild` ran.
    let is_noise = |line: &str| {
        line.ends_with("...")
            || line.contains("non-zero exit status")
            || line.starts_with("Pre-switch check")
            || PROGRESS.iter().any(|begin| line.starts_with(begin))
    };
    let lines = tail.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !is_noise(line));
    let lines: Vec<String> = lines.map(text::words).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    if last.is_empty() {
        return String::new();
    }
    format!(": {}", last.join("; "))
}

pub(super) fn waits_for(jobs: &[String]) -> String {
    if jobs.is_empty() {
        return String::new();
    }
    format!("; it waits for {}", list(jobs))
}

pub(super) fn still(activating: &[String]) -> String {
    if activating.is_empty() {
        return String::new();
    }
    format!("; the activation goes on in {}", list(activating))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::WORDS_MAX;

    #[test]
    fn the_summary_of_an_activation_is_bounded_and_escaped() {
        let tail = "stopping units\nboot loader: x\nactivating...\n\ncat: No space left on device\nFailed to install \u{202e}it\n\
            Command 'systemd-run /nix/store/x' returned non-zero exit status 1.";
        assert_eq!(
            stderr_summary(tail),
            ": boot loader: x; cat: No space left on device; Failed to install \\u{202e}it"
        );
        // As switch-to-configuration-ng prints it.
        let tail = "stopping the following units: web.service\n\
            NOT restarting the following changed units: hyper-sync.service\nactivating the configuration...\n\
            Failed to run activate script\nrestarting sysinit-reactivation.target\n\
            starting the following units: web.service\nthe following new units were started: x.service\n";
        assert_eq!(stderr_summary(tail), ": Failed to run activate script");
        assert_eq!(stderr_summary("\n"), "");
        let long = stderr_summary(&"ä".repeat(WORDS_MAX + 1));
        assert_eq!(long, format!(": {}…", "ä".repeat(WORDS_MAX - 1)));
    }
}
