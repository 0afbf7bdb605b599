//! The state of this machine: which systems it runs, booted and boots next, and which systemd units have failed.
//!
//! Without systemd, no unit has failed and no system is being activated.
#![expect(
    clippy::disallowed_methods,
    reason = "links of NixOS, outside the target, are followed; no file is opened by this"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Command, Environment, Output, Runner};

/// Where NixOS keeps the links to its systems, and the name of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The running system.
    pub current: PathBuf,
    /// The system it was booted with.
    pub booted: PathBuf,
    /// The profile whose newest generation is booted next.
    pub profile: PathBuf,
    /// The directory that exists if systemd runs (`sd_booted(3)`).
    pub systemd: PathBuf,
    /// The host name.
    pub hostname: String,
}

/// The store paths of the systems; `None` on other distributions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Systems {
    /// The running one.
    pub current: Option<PathBuf>,
    /// The one that was booted.
    pub booted: Option<PathBuf>,
    /// The one that is booted next.
    pub profile: Option<PathBuf>,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let uname = rustix::system::uname();
        Self {
            current: "/run/current-system".into(),
            booted: "/run/booted-system".into(),
            profile: "/nix/var/nix/profiles/system".into(),
            systemd: "/run/systemd/system".into(),
            hostname: uname.nodename().to_string_lossy().into_owned(),
        }
    }

    /// Whether systemd runs.
    pub(super) fn has_systemd(&self) -> bool {
        self.systemd.is_dir()
    }

    /// Follows the links.
    #[must_use]
    pub fn systems(&self) -> Systems {
        Systems {
            current: system(&self.current),
            booted: system(&self.booted),
            profile: system(&self.profile),
        }
    }
}

/// The store path that a link leads to.
pub(super) fn system(link: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(link).ok()
}

/// Whether a path exists: a part of a system, or a file that Nix did not find. No file is opened by this.
pub(super) fn exists(path: &Path) -> bool {
    path.exists()
}

/// The unit in which `nixos-rebuild`, and hyper-sync, run `switch-to-configuration`. Some versions append a number.
pub(super) const ACTIVATION: &str = "nixos-rebuild-switch-to-configuration";

/// systemd responds at once, or it is not running.
const SYSTEMCTL_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a restarted service may take to run or to fail for good: with systemd's defaults (one try per 100 ms, five
/// tries) a service that cannot run has failed for good after one second.
const SETTLING: Duration = Duration::from_secs(5);

/// Access to systemd.
#[derive(Clone, Copy)]
pub(super) struct Systemctl<'a> {
    pub(super) runner: &'a dyn Runner,
    pub(super) environment: &'a Environment,
}

/// The units that do not run well.
///
/// A service that fails repeatedly (`Restart=`) is not in the failed state between the tries, and for a moment it even
/// runs. It is detected by its restart counter and by a second check after some seconds: a service that runs by then is
/// not reported, one that still fails is. A service that first fails after the second check is not detected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// Units in the failed state.
    failed: BTreeSet<String>,
    /// Services that wait for a restart because they failed.
    restarting: BTreeSet<String>,
    /// Of each service that systemd has restarted: how often, and the id of its current run.
    restarts: BTreeMap<String, (u64, String)>,
}

impl Systemctl<'_> {
    /// Reads the state of all units.
    pub(super) fn health(self) -> Health {
        let mut failed = self.list(&["--state=failed"]);
        // The process that started it reports its result; its unit exists for a moment longer.
        failed.retain(|unit| !unit.starts_with(ACTIVATION));
        let mut health = Health {
            failed,
            ..Health::default()
        };
        let show = [
            "show",
            "--property=Id,SubState,Result,NRestarts,InvocationID",
            "--no-pager",
            "*.service",
        ];
        for service in self.run(&show).split("\n\n") {
            let value = |name: &str| {
                let mut pairs = service.lines().filter_map(|line| line.split_once('='));
                pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
            };
            let Some(id) = value("Id") else { continue };
            // A service that succeeds and is restarted is configured so.
            if value("SubState").is_some_and(|state| state.starts_with("auto-restart"))
                && value("Result") != Some("success")
            {
                health.restarting.insert(id.to_owned());
            }
            let restarts = value("NRestarts").and_then(|count| count.parse().ok());
            if let Some(count @ 1..) = restarts {
                let run = value("InvocationID").unwrap_or_default().to_owned();
                health.restarts.insert(id.to_owned(), (count, run));
            }
        }
        health
    }

    /// The units that have failed since `before` and still fail.
    pub(super) fn failed_since(self, before: &Health) -> BTreeSet<String> {
        let known = before.failing();
        let first = self.health();
        let mut unsettled = first.restarted_since(before);
        unsettled.retain(|unit| !known.contains(unit));
        let mut failed = first.failed.clone();
        if !unsettled.is_empty() {
            // Interrupted by a signal, the pause ends early and what is known by then is reported.
            self.runner.pause(SETTLING);
            let second = self.health();
            unsettled.retain(|unit| second.still_fails(&first, unit));
            failed.extend(unsettled);
            failed.extend(second.failed);
        }
        failed.retain(|unit| !known.contains(unit));
        failed
    }

    /// The units that are activating a system now.
    pub(super) fn activating(self) -> Vec<String> {
        let pattern = format!("{ACTIVATION}*.service");
        let states = "--state=active,activating,deactivating,reloading";
        self.list(&[states, &pattern]).into_iter().collect()
    }

    /// Resets failed activation units: a new unit of the same name could not be started.
    pub(super) fn reset_failed_activation(self) {
        self.run(&["reset-failed", &format!("{ACTIVATION}*.service")]);
    }

    fn list(self, args: &[&str]) -> BTreeSet<String> {
        let fixed = [
            "list-units",
            "--all",
            "--full",
            "--plain",
            "--no-legend",
            "--no-pager",
        ];
        self.run(&[&fixed, args].concat())
            .lines()
            .filter_map(|line| line.split_whitespace().find(|word| word.contains('.')))
            .map(str::to_owned)
            .collect()
    }

    /// The output of `systemctl`; empty if it fails.
    fn run(self, args: &[&str]) -> String {
        let Some(systemctl) = self.runner.find("systemctl", self.environment) else {
            return String::new();
        };
        let directory = Path::new("/");
        let command = Command::new(
            systemctl,
            args,
            self.environment,
            directory,
            SYSTEMCTL_TIMEOUT,
        )
        .output(Output::Quiet)
        .regardless();
        match self.runner.run(&command) {
            Ok(finished) if finished.end.is_success() => finished.text(),
            Ok(_) | Err(_) => String::new(),
        }
    }
}

impl Health {
    /// The units that have failed, or wait for a restart because they failed.
    pub(super) fn failing(&self) -> BTreeSet<String> {
        self.failed.union(&self.restarting).cloned().collect()
    }

    /// Whether a service waits for a restart, or was restarted more often than the restart it waited for.
    fn still_fails(&self, before: &Self, unit: &str) -> bool {
        let count = |health: &Self| health.restarts.get(unit).map_or(0, |(count, _)| *count);
        self.restarting.contains(unit)
            || count(self) > count(before) + u64::from(before.restarting.contains(unit))
    }

    /// The services that wait for a restart, or were restarted by systemd since `before`. A start by somebody else
    /// resets the counter.
    fn restarted_since(&self, before: &Self) -> BTreeSet<String> {
        let counts = self.restarts.iter();
        let restarted = counts.filter(|(unit, run)| before.restarts.get(*unit) != Some(run));
        let restarted = restarted.map(|(unit, _)| unit.clone());
        self.restarting.iter().cloned().chain(restarted).collect()
    }
}

/// Whether a system is being activated. An activation must not be killed halfway, because the machine would then run
/// neither the old nor the new system.
pub(super) fn is_activating(runner: &dyn Runner, environment: &Environment) -> bool {
    !Systemctl {
        runner,
        environment,
    }
    .activating()
    .is_empty()
}
