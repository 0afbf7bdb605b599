//! What can go wrong with a rebuild.
//!
//! The tree is synced before a rebuild begins, so every error says where things stand: which commit the tree is at,
//! and which system runs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;

use super::complaint;
use crate::exit::Exit;
use crate::git::{CommitId, RelPath};
use crate::nix::NarHash;
use crate::process::End;
use crate::settings::Action;
use crate::text;

/// How many lines of an activation are printed: the one that says what failed, and what led to it.
const LAST_LINES: usize = 3;

/// Where things stand when a rebuild fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The commit the tree is at.
    pub tree: Option<CommitId>,
    /// The running system, where there is NixOS.
    pub running: Option<Box<RunningSystem>>,
}

/// A running system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningSystem {
    /// Its store path.
    pub system: PathBuf,
    /// The commit it was built from, where that is known.
    pub commit: Option<CommitId>,
}

/// A rebuild that was not done, or not well.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// A program that the rebuild needs is not there.
    #[error("`{program}` is not in the search path")]
    #[diagnostic(
        code(hyper_sync::rebuild::program_missing),
        help(
            "run it on NixOS, put the program into `PATH`, or sync alone with `--skip-rebuild`; {standing}"
        )
    )]
    ProgramMissing {
        /// Its name.
        program: &'static str,
        /// Where things stand.
        standing: Standing,
    },
    /// The directory of the flake has none.
    #[error("there is no flake at `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::rebuild::flake_missing),
        help("set `rebuild.flake` to the directory that holds the host's `flake.nix`; {standing}")
    )]
    FlakeMissing {
        /// The file that should be there.
        path: PathBuf,
        /// Where things stand.
        standing: Standing,
    },
    /// What is there is not to be read: Nix would read it as root, for ever perhaps.
    #[error("`{}` cannot be read: {cause}", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::rebuild::flake_unreadable),
        help(
            "a regular file must be there, or a symlink to one, which for a target must lie in it; {standing}"
        )
    )]
    FlakeUnreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// Where things stand.
        standing: Standing,
    },
    /// Which host is meant is not known.
    #[error("`{}` {}", text::path(.flake), unclear(.names, .hostname))]
    #[diagnostic(
        code(hyper_sync::rebuild::host_unclear),
        help(
            "set `rebuild.host` to the attribute of `nixosConfigurations` that is this machine; {standing}"
        )
    )]
    HostUnclear {
        /// The flake's directory.
        flake: PathBuf,
        /// Its hosts.
        names: Vec<String>,
        /// What this machine is called.
        hostname: String,
        /// Where things stand.
        standing: Standing,
    },
    /// The host that is set is not in the flake.
    #[error("`{}` has no host `{}`, it has {}", text::path(.flake), text::name(.host), list(.names))]
    #[diagnostic(
        code(hyper_sync::rebuild::host_unknown),
        help("correct `rebuild.host`; {standing}")
    )]
    HostUnknown {
        /// The flake's directory.
        flake: PathBuf,
        /// As it is set.
        host: String,
        /// The flake's hosts.
        names: Vec<String>,
        /// Where things stand.
        standing: Standing,
    },
    /// A program could not be started or watched.
    #[error("cannot run `{}`", text::path(.program))]
    #[diagnostic(
        code(hyper_sync::rebuild::spawn),
        help("correct the cause and run `hyper-sync rebuild`; {standing}")
    )]
    Spawn {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
        /// Where things stand.
        standing: Standing,
    },
    /// The system could not be evaluated or built.
    #[error("the system was not built ({end}){}", after(complaint::cause(.tail)))]
    #[diagnostic(
        code(hyper_sync::rebuild::build),
        help("{}; {standing}", after_build(*.end))
    )]
    Build {
        /// How the program ended.
        end: End,
        /// The end of what it printed.
        tail: String,
        /// Where things stand.
        standing: Standing,
    },
    /// The configuration reads what is not part of a snapshot.
    #[error("the build needs `{path}`, which `exclude` leaves out of it")]
    #[diagnostic(
        code(hyper_sync::rebuild::left_out),
        help(
            "take it out of `exclude` and into `protect`: then it is built, and your edits of it are kept; {standing}"
        )
    )]
    LeftOut {
        /// Relative to the target.
        path: RelPath,
        /// Where things stand.
        standing: Standing,
    },
    /// Nix has built from something else than what was synced.
    #[error("Nix did not read the tree that was synced ({expected}){}", .actual.as_ref().map(|hash| format!(" but {}", text::words(hash))).unwrap_or_default())]
    #[diagnostic(
        code(hyper_sync::rebuild::other_tree),
        help(
            "see how `flake.nix` names the target, and what `rebuild.extra_args` override; nothing was activated; {standing}"
        )
    )]
    OtherTree {
        /// The hash of what was synced.
        expected: NarHash,
        /// The hash of what was read, where Nix printed one.
        actual: Option<String>,
        /// Where things stand.
        standing: Standing,
    },
    /// The new system would never be updated again.
    #[error("the new system has no `{timer}`, which has started this update")]
    #[diagnostic(
        code(hyper_sync::rebuild::self_removal),
        help(
            "enable `services.hyper-sync` where a sync does not remove it, such as the host's own `flake.nix`, or allow it with `--allow-self-removal`; nothing was activated; {standing}"
        )
    )]
    SelfRemoval {
        /// The unit.
        timer: String,
        /// Where things stand.
        standing: Standing,
    },
    /// The system was built and could not be activated.
    #[error("the system was built but `{}` failed ({end}){}", .action.as_str(), stderr_summary(.tail))]
    #[diagnostic(
        code(hyper_sync::rebuild::activation),
        help(
            "see `journalctl -u nixos-rebuild-switch-to-configuration`, correct the cause and run again; {standing}"
        )
    )]
    Activation {
        /// What was to be done.
        action: Action,
        /// How the program ended.
        end: String,
        /// The end of what it printed.
        tail: String,
        /// Where things stand.
        standing: Standing,
    },
    /// The new system runs, not all of it.
    #[error("the new system is active, but units failed that had not failed before: {}", text::list(.units.iter().map(text::name)))]
    #[diagnostic(
        code(hyper_sync::rebuild::degraded),
        help(
            "see `systemctl status` of each; `hyper-sync rollback` returns to the commit before; {standing}"
        )
    )]
    Degraded {
        /// Their names.
        units: Vec<String>,
        /// Where things stand.
        standing: Standing,
    },
    /// A system that only a boot can start was to be tried.
    #[error("the running system cannot be switched to the new one without a reboot")]
    #[diagnostic(
        code(hyper_sync::rebuild::reboot_needed),
        help("use `--rebuild-action boot` and reboot; {standing}")
    )]
    RebootNeeded {
        /// Where things stand.
        standing: Standing,
    },
    /// Too slow.
    #[error("the rebuild took more than {}s and was stopped{}", .after.as_secs(), still(.activating))]
    #[diagnostic(
        code(hyper_sync::rebuild::timeout),
        help("run again, or raise `rebuild.timeout`; {standing}")
    )]
    TimedOut {
        /// The limit.
        after: Duration,
        /// Units that go on activating a system.
        activating: Vec<String>,
        /// Where things stand.
        standing: Standing,
    },
    /// Stopped by a signal.
    #[error("the rebuild was stopped{}", still(.activating))]
    #[diagnostic(
        code(hyper_sync::rebuild::interrupted),
        help("`hyper-sync rebuild` does it again; {standing}")
    )]
    Interrupted {
        /// Units that go on activating a system.
        activating: Vec<String>,
        /// Where things stand.
        standing: Standing,
    },
    /// Somebody else activates a system.
    #[error("another rebuild is active{}", .unit.as_ref().map(|unit| format!(" (`{}`)", text::words(unit))).unwrap_or_default())]
    #[diagnostic(
        code(hyper_sync::rebuild::busy),
        help("wait for it to end, then run `hyper-sync rebuild`; {standing}")
    )]
    Busy {
        /// Its unit, where it has one.
        unit: Option<String>,
        /// Where things stand.
        standing: Standing,
    },
    /// What the rebuild remembers cannot be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    State(#[from] crate::state::Error),
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::FlakeMissing { .. }
            | Self::FlakeUnreadable { .. }
            | Self::HostUnclear { .. }
            | Self::HostUnknown { .. } => Exit::Configuration,
            Self::ProgramMissing { .. }
            | Self::Spawn { .. }
            | Self::Build { .. }
            | Self::LeftOut { .. }
            | Self::OtherTree { .. }
            | Self::SelfRemoval { .. }
            | Self::Activation { .. }
            | Self::Degraded { .. }
            | Self::RebootNeeded { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. } => Exit::Rebuild,
            Self::Busy { .. } => Exit::Busy,
            Self::State(error) => error.exit(),
        }
    }

    /// The end of what the failing program printed, where there is one.
    #[must_use]
    pub fn tail(&self) -> Option<&str> {
        match self {
            Self::Build { tail, .. } | Self::Activation { tail, .. } => Some(tail),
            Self::ProgramMissing { .. }
            | Self::FlakeMissing { .. }
            | Self::FlakeUnreadable { .. }
            | Self::HostUnclear { .. }
            | Self::HostUnknown { .. }
            | Self::Spawn { .. }
            | Self::LeftOut { .. }
            | Self::OtherTree { .. }
            | Self::SelfRemoval { .. }
            | Self::Degraded { .. }
            | Self::RebootNeeded { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. }
            | Self::Busy { .. }
            | Self::State(_) => None,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tree {
            Some(commit) => write!(f, "the tree is at {}", commit.short())?,
            None => f.write_str("the tree is at no commit that hyper-sync brought")?,
        }
        if let Some(running) = &self.running {
            write!(
                f,
                ", the running system is `{}`",
                text::path(&running.system)
            )?;
            if let Some(commit) = &running.commit {
                write!(f, " of {}", commit.short())?;
            }
        }
        Ok(())
    }
}

/// What to do after a build that failed: the kernel kills what takes more memory than there is.
fn after_build(end: End) -> &'static str {
    match end {
        End::Killed(9) => {
            "give the machine more memory or swap, lower `max-jobs` and `cores` in `nix.conf`, or build on another machine (`nix.buildMachines`), and run `hyper-sync rebuild`"
        }
        _ => "correct the configuration and run again",
    }
}

fn unclear(names: &[String], hostname: &str) -> String {
    if names.is_empty() {
        return "has no hosts (`nixosConfigurations`)".to_owned();
    }
    format!(
        "has several hosts and none is called `{}` like this machine: {}",
        text::name(hostname),
        list(names)
    )
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    text::list(names.iter().map(|name| format!("`{}`", text::name(name))))
}

fn after(cause: Option<String>) -> String {
    cause.map(|cause| format!(": {cause}")).unwrap_or_default()
}

/// The last lines that an activation printed, for the message: it ends soon after what went wrong, and has no word
/// for it that could be looked for.
fn stderr_summary(tail: &str) -> String {
    // What is being done, and `nixos-rebuild` on the command that it ran.
    let is_noise = |line: &str| line.ends_with("...") || line.contains("non-zero exit status");
    let lines = tail.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !is_noise(line));
    let lines: Vec<String> = lines.map(text::words).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    if last.is_empty() {
        return String::new();
    }
    format!(": {}", last.join("; "))
}

fn still(activating: &[String]) -> String {
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
    fn the_last_lines_of_an_activation_are_told_bounded_and_escaped() {
        let tail = "stopping units\nboot loader: x\nactivating...\n\ncat: No space left on device\nFailed to install \u{202e}it\n\
            Command 'systemd-run /nix/store/x' returned non-zero exit status 1.";
        assert_eq!(
            stderr_summary(tail),
            ": boot loader: x; cat: No space left on device; Failed to install \\u{202e}it"
        );
        assert_eq!(stderr_summary("\n"), "");
        let long = stderr_summary(&"ä".repeat(WORDS_MAX + 1));
        assert_eq!(long, format!(": {}…", "ä".repeat(WORDS_MAX - 1)));
    }
}
