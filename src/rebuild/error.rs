//! The errors of a rebuild.
//!
//! The tree is synced before a rebuild begins, so every error also reports the state of the machine: the commit of the
//! tree, and the running system.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use miette::Diagnostic;

use super::half_state::HalfState;
use super::outcome::{UnpinnedReason, because_of, waited_for};
use super::output;
use super::quarantine::QuarantineEntry;
use crate::exit::Exit;
use crate::git::{CommitId, RelPath};
use crate::health::HealthReport;
use crate::nix::NarHash;
use crate::process::End;
use crate::settings::Action;
use crate::text;

mod words;

use words::{
    NOTHING_REBUILT, after, after_missed_boot, before_update, choose_host, killed, list, refused,
    retry, stderr_summary, still, unclear, waits_for,
};

/// A failed rebuild, and the state of the machine after it.
#[derive(Debug)]
pub struct Error {
    /// What failed.
    pub kind: ErrorKind,
    /// The tree and the running system.
    pub state: SystemState,
}

/// The tree and the running system when a rebuild fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemState {
    /// The commit the tree is at.
    pub tree: Option<CommitId>,
    /// The running system, on NixOS.
    pub running: Option<Box<RunningSystem>>,
    /// The state between two systems that the machine is in, if it is in one.
    pub half_state: Option<Box<HalfState>>,
}

/// A running system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningSystem {
    /// Its store path.
    pub system: PathBuf,
    /// The commit it was built from, if known.
    pub commit: Option<CommitId>,
}

/// What failed in a rebuild.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ErrorKind {
    /// A program that the rebuild needs is missing.
    #[error("`{program}` is not in the search path")]
    #[diagnostic(
        code(hyper_sync::rebuild::program_missing),
        help("run it on NixOS, or put the program into `PATH`; {NOTHING_REBUILT}")
    )]
    ProgramMissing {
        /// Its name.
        program: &'static str,
    },
    /// `rebuild.flake` contains no `flake.nix`.
    #[error("there is no flake at `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::rebuild::flake_missing),
        help(
            "set `rebuild.flake` to the directory that holds the host's `flake.nix`; {NOTHING_REBUILT}"
        )
    )]
    FlakeMissing {
        /// The missing file.
        path: PathBuf,
    },
    /// `flake.nix` or its lock file must not be read: Nix would read it as root, and block on a FIFO.
    #[error("`{}` cannot be read: {cause}", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::rebuild::flake_unreadable),
        help(
            "a regular file must be there, or a symlink to one, which for a target must lie in it"
        )
    )]
    FlakeUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The host cannot be determined.
    #[error("`{}` {}", text::path(.flake), unclear(.names, .hostname))]
    #[diagnostic(
        code(hyper_sync::rebuild::host_unclear),
        help("{}", choose_host(.names))
    )]
    HostUnclear {
        /// The flake's directory.
        flake: PathBuf,
        /// Its hosts.
        names: Vec<String>,
        /// The host name of this machine.
        hostname: String,
    },
    /// `rebuild.host` is not in the flake.
    #[error("`{}` has no host `{}`, it has {}", text::path(.flake), text::name(.host), list(.names))]
    #[diagnostic(
        code(hyper_sync::rebuild::host_unknown),
        help("correct `rebuild.host`")
    )]
    HostUnknown {
        /// The flake's directory.
        flake: PathBuf,
        /// The setting.
        host: String,
        /// The flake's hosts.
        names: Vec<String>,
    },
    /// A program could not be started or waited for.
    #[error("cannot run `{}`", text::path(.program))]
    #[diagnostic(
        code(hyper_sync::rebuild::spawn),
        help("correct the cause and run `hyper-sync rebuild`")
    )]
    Spawn {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system could not be evaluated or built.
    #[error("the system was not built ({end}){}", after(output::error_message(.tail)))]
    #[diagnostic(
        code(hyper_sync::rebuild::build),
        help(
            "nothing was activated; correct the configuration in the repository, or take the files back with `hyper-sync rollback`: until then every run fails again"
        )
    )]
    Build {
        /// How the program ended.
        end: End,
        /// The end of what it printed.
        tail: String,
    },
    /// A process of the build was killed, or had no memory.
    #[error("the system was not built, probably out of memory ({}){}", killed(*.kills), after(output::error_message(.tail)))]
    #[diagnostic(
        code(hyper_sync::rebuild::out_of_memory),
        help(
            "give the machine more memory or swap, lower `max-jobs` and `cores` in `nix.conf`, or build on another machine (`nix.buildMachines`), and run `hyper-sync rebuild`"
        )
    )]
    OutOfMemory {
        /// How many processes of our control group the kernel killed for lack of memory during the build, as far as
        /// known.
        kills: u64,
        /// The end of what was printed.
        tail: String,
    },
    /// The system of a commit was to be built before the target changes, and that failed.
    #[error("{} was not brought into the target: {cause}", .commit.short())]
    #[diagnostic(code(hyper_sync::rebuild::gate), help("{}", before_update(.cause)))]
    Gate {
        /// The commit.
        commit: CommitId,
        /// What failed.
        cause: Box<Self>,
    },
    /// A build would not read the snapshot that it is to read.
    #[error("its system cannot be built from a snapshot ({reason})")]
    #[diagnostic(
        code(hyper_sync::rebuild::not_pinned),
        help("remove the reason, or set `rebuild.gate` to `off`")
    )]
    NotPinned {
        /// Why.
        reason: UnpinnedReason,
    },
    /// The configuration reads an excluded file.
    #[error("the build needs `{path}`, which `exclude` leaves out of it")]
    #[diagnostic(
        code(hyper_sync::rebuild::left_out),
        help(
            "take it out of `exclude` and into `protect`: then it is built, and your edits of it are kept"
        )
    )]
    LeftOut {
        /// Relative to the target.
        path: RelPath,
    },
    /// Nix read another tree than the one that was synced.
    #[error("Nix did not read the tree that was synced ({expected}){}", .actual.as_ref().map(|hash| format!(" but {}", text::words(hash))).unwrap_or_default())]
    #[diagnostic(
        code(hyper_sync::rebuild::other_tree),
        help(
            "see how `flake.nix` names the target, and what `rebuild.extra_args` override; nothing was activated"
        )
    )]
    OtherTree {
        /// The hash of what was synced.
        expected: NarHash,
        /// The hash of what was read, if Nix printed one.
        actual: Option<String>,
    },
    /// The new system lacks the timer that started this run, so that nothing would update it again.
    #[error("the new system has no `{timer}`, which has started this update")]
    #[diagnostic(
        code(hyper_sync::rebuild::self_removal),
        help(
            "enable `services.hyper-sync` where a sync does not remove it, such as the host's own `flake.nix`, or allow it with `--allow-self-removal`; nothing was activated"
        )
    )]
    SelfRemoval {
        /// The unit.
        timer: String,
    },
    /// The system was built but not activated.
    #[error("the system was built but `{}` failed ({end}){}", .action.as_str(), stderr_summary(.tail))]
    #[diagnostic(
        code(hyper_sync::rebuild::activation),
        help(
            "see `journalctl -u nixos-rebuild-switch-to-configuration`, correct the cause and run again"
        )
    )]
    Activation {
        /// The action.
        action: Action,
        /// How the program ended.
        end: End,
        /// The end of what it printed.
        tail: String,
    },
    /// The new system is active, but units failed.
    #[error("the new system is active, but units failed that had not failed before: {}", text::list(.units.iter().map(text::name)))]
    #[diagnostic(
        code(hyper_sync::rebuild::degraded),
        help("see `systemctl status` of each; `hyper-sync rollback` returns to the commit before")
    )]
    Degraded {
        /// Their names.
        units: Vec<String>,
    },
    /// The new system needs a reboot, and the action is `test`.
    #[error("the running system cannot be switched to the new one without a reboot{}", because_of(.inhibitors))]
    #[diagnostic(
        code(hyper_sync::rebuild::reboot_needed),
        help("use `--rebuild-action boot` and reboot")
    )]
    RebootNeeded {
        /// The components that cannot be replaced while the system runs, if the systems name them.
        inhibitors: Vec<String>,
    },
    /// A check that the new system makes before a switch failed.
    #[error("the pre-switch check `{}` of the new system failed{}", text::name(.name), stderr_summary(.tail))]
    #[diagnostic(
        code(hyper_sync::rebuild::pre_switch_check),
        help(
            "correct what the check names (`system.preSwitchChecks` of the configuration); nothing was activated"
        )
    )]
    PreSwitchCheck {
        /// The name of the check.
        name: String,
        /// The end of its output.
        tail: String,
    },
    /// The activation did not end.
    #[error("the activation took more than {}s and was stopped{}", .after.as_secs(), waited_for(.jobs))]
    #[diagnostic(
        code(hyper_sync::rebuild::activation_timeout),
        help(
            "see `systemctl status` of what it waited for, correct the cause and run again, or raise `rebuild.activation_timeout`"
        )
    )]
    ActivationTimedOut {
        /// The limit.
        after: Duration,
        /// What systemd was working on.
        jobs: Vec<String>,
    },
    /// An activation that did not end is not repeated, because somebody has changed the system since.
    #[error("{state}")]
    #[diagnostic(
        code(hyper_sync::rebuild::changed_since),
        help("`hyper-sync rebuild` activates it again, and a newer commit is activated at once")
    )]
    ChangedSince {
        /// The state of the machine.
        state: Box<HalfState>,
    },
    /// An activation, by anybody, goes on for longer than one may take.
    #[error("`{}` has been activating a system since {since:.0}, for more than {}s{}", text::name(.name), .limit.as_secs(), waits_for(.jobs))]
    #[diagnostic(
        code(hyper_sync::rebuild::activation_hangs),
        help(
            "see `systemctl status` of it and of what it waits for, and end it: until then no system is activated; `rebuild.activation_timeout` is how long an activation may take"
        )
    )]
    ActivationHangs {
        /// Its unit, or its process.
        name: String,
        /// When it began.
        since: Timestamp,
        /// How long an activation may take.
        limit: Duration,
        /// What systemd is working on.
        jobs: Vec<String>,
    },
    /// The revert timer of a trial could not be started.
    #[error("the revert of the new system cannot be prepared: {}", text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::rebuild::revert_not_prepared),
        help(
            "correct the cause and run again, or switch without `health.confirm`; nothing was activated"
        )
    )]
    RevertNotPrepared {
        /// Why.
        cause: String,
    },
    /// The new system failed its trial.
    #[error("the new system was reverted: {}", text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::rebuild::reverted),
        help(
            "the former system runs again and is the boot default; correct the configuration and push it, or try this commit again with `hyper-sync sync --resume` and `hyper-sync rebuild`"
        )
    )]
    Reverted {
        /// What failed.
        cause: String,
        /// The health checks, if they decided.
        report: Option<Box<HealthReport>>,
    },
    /// Nor could the former system be activated.
    #[error(
        "the new system failed its trial ({}), and the former one cannot be activated: {}", text::words(.cause), text::words(.failure)
    )]
    #[diagnostic(
        code(hyper_sync::rebuild::not_reverted),
        help(
            "reboot, which starts the former system, or correct what failed and run `{}/bin/switch-to-configuration switch`", text::path(.former)
        )
    )]
    NotReverted {
        /// What failed in the trial.
        cause: String,
        /// What failed while reverting.
        failure: String,
        /// The former system.
        former: PathBuf,
    },
    /// The machine came up with another system than the boot default.
    #[error("the machine was to boot the new system and came up with `{}`", text::path(.booted))]
    #[diagnostic(
        code(hyper_sync::rebuild::other_system_booted),
        help(
            "see why the boot loader chose it; {}; a newer commit is tried at once, `hyper-sync rebuild` tries this one", after_missed_boot(*.is_default)
        )
    )]
    OtherSystemBooted {
        /// The system that was booted.
        booted: PathBuf,
        /// Whether that one is the boot default now.
        is_default: bool,
    },
    /// The new system failed its trial after it was booted, and the machine reboots into the former one.
    #[error("the new system failed its trial after the boot: {}", text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::rebuild::boot_reverting),
        help(
            "the machine reboots in a minute into `{}`, which is the boot default again; correct the configuration and push it", text::path(.former)
        )
    )]
    BootReverting {
        /// What failed.
        cause: String,
        /// The health checks, if they decided.
        report: Option<Box<HealthReport>>,
        /// The former system.
        former: PathBuf,
    },
    /// Nor can the machine get to the former system by itself.
    #[error(
        "the new system failed its trial after the boot ({}), and the machine is not rebooted into the former one: {}", text::words(.cause), text::words(.failure)
    )]
    #[diagnostic(
        code(hyper_sync::rebuild::boot_not_reverted),
        help(
            "run `{}/bin/switch-to-configuration boot` and reboot, or choose that system in the boot menu", text::path(.former)
        )
    )]
    BootNotReverted {
        /// What failed in the trial.
        cause: String,
        /// What keeps the machine from the former system.
        failure: String,
        /// The health checks, if they decided.
        report: Option<Box<HealthReport>>,
        /// The former system.
        former: Box<Path>,
    },
    /// The machine could not be rebooted.
    #[error("the machine cannot be rebooted: {}", text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::rebuild::no_reboot),
        help(
            "correct the cause; the new system stays the boot default, and the next run decides again"
        )
    )]
    NoReboot {
        /// Why.
        cause: String,
    },
    /// A reboot that was scheduled cannot be cancelled.
    #[error("the scheduled reboot cannot be cancelled: {}", text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::rebuild::reboot_not_cancelled),
        help("run `shutdown -c`, which does the same, or expect the machine to reboot")
    )]
    RebootNotCancelled {
        /// Why.
        cause: String,
    },
    /// The time limit was reached.
    #[error("the rebuild took more than {}s and was stopped{}", .after.as_secs(), still(.activating))]
    #[diagnostic(
        code(hyper_sync::rebuild::timeout),
        help("run again, or raise `rebuild.timeout`")
    )]
    TimedOut {
        /// The limit.
        after: Duration,
        /// Units that go on activating a system.
        activating: Vec<String>,
    },
    /// A signal stopped the rebuild.
    #[error("the rebuild was stopped{}", still(.activating))]
    #[diagnostic(
        code(hyper_sync::rebuild::interrupted),
        help("`hyper-sync rebuild` does it again")
    )]
    Interrupted {
        /// Units that go on activating a system.
        activating: Vec<String>,
    },
    /// Another process activates a system.
    #[error("another rebuild is active{}", .unit.as_ref().map(|unit| format!(" (`{}`)", text::words(unit))).unwrap_or_default())]
    #[diagnostic(
        code(hyper_sync::rebuild::busy),
        help("wait for it to end, then run `hyper-sync rebuild`")
    )]
    Busy {
        /// Its unit, if it has one.
        unit: Option<String>,
    },
    /// The build failed before and is not tried now.
    #[error("{}{_0}", refused(_0))]
    #[diagnostic(code(hyper_sync::rebuild::quarantined), help("{}", retry(_0)))]
    Quarantined(Box<QuarantineEntry>),
    /// `rebuild.json` cannot be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    State(#[from] crate::state::Error),
}

impl Error {
    /// The exit class.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.kind.exit()
    }

    /// The end of the failed program's output, if a program failed.
    #[must_use]
    pub fn tail(&self) -> Option<&str> {
        self.kind.tail()
    }

    /// Whether the run itself has reverted a trial, which a later run does not repeat.
    #[must_use]
    pub fn is_reverted(&self) -> bool {
        matches!(self.kind, ErrorKind::Reverted { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

impl Diagnostic for Error {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.kind.code()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let mut checks = self.kind.failed_checks().peekable();
        checks.peek()?;
        Some(Box::new(checks))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.kind.help()?;
        Some(match self.kind {
            ErrorKind::State(_) => help,
            _ => Box::new(format!("{help}; {}", self.state)),
        })
    }
}

impl ErrorKind {
    /// The health checks that failed in a trial.
    fn failed_checks(&self) -> impl Iterator<Item = &dyn Diagnostic> {
        let report = match self {
            Self::Reverted { report, .. }
            | Self::BootReverting { report, .. }
            | Self::BootNotReverted { report, .. } => report.as_deref(),
            _ => None,
        };
        let failed = report.into_iter().flat_map(HealthReport::failed);
        failed.map(|check| check as &dyn Diagnostic)
    }

    fn tail(&self) -> Option<&str> {
        match self {
            Self::Build { tail, .. }
            | Self::OutOfMemory { tail, .. }
            | Self::Activation { tail, .. } => Some(tail),
            Self::Gate { cause, .. } => cause.tail(),
            _ => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::FlakeMissing { .. }
            | Self::FlakeUnreadable { .. }
            | Self::HostUnclear { .. }
            | Self::HostUnknown { .. } => Exit::Configuration,
            Self::ProgramMissing { .. }
            | Self::Spawn { .. }
            | Self::Build { .. }
            | Self::OutOfMemory { .. }
            | Self::Gate { .. }
            | Self::NotPinned { .. }
            | Self::LeftOut { .. }
            | Self::OtherTree { .. }
            | Self::SelfRemoval { .. }
            | Self::Activation { .. }
            | Self::Degraded { .. }
            | Self::RebootNeeded { .. }
            | Self::PreSwitchCheck { .. }
            | Self::ActivationTimedOut { .. }
            | Self::RevertNotPrepared { .. }
            | Self::NoReboot { .. }
            | Self::BootReverting { .. }
            | Self::RebootNotCancelled { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. } => Exit::Rebuild,
            Self::NotReverted { .. }
            | Self::BootNotReverted { .. }
            | Self::ActivationHangs { .. } => Exit::NeedsPerson,
            Self::Busy { .. } => Exit::Busy,
            Self::Reverted { .. }
            | Self::OtherSystemBooted { .. }
            | Self::ChangedSince { .. }
            | Self::Quarantined(_) => Exit::RolledBack,
            Self::State(error) => error.exit(),
        }
    }
}

impl fmt::Display for SystemState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tree {
            Some(commit) => write!(f, "the tree is at {}", commit.short())?,
            None => f.write_str("nothing has been synced yet")?,
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
        if let Some(state) = &self.half_state {
            write!(f, "; {state}")?;
        }
        Ok(())
    }
}
