//! What systemd says: which units have failed, and whether a system is being activated.
//!
//! Where there is no systemd, nothing has failed and nothing is being activated.
//!
//! A service that fails over and over (`Restart=`) is not in the failed state in between, and for a moment it even
//! runs. It is found by its counter of restarts, and by a second check after some seconds: one that systemd has mended
//! in the meantime is no news, one that goes on failing is. A service that first fails when both looks are over is not
//! seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::process::{Command, Environment, Output, Runner};

/// The unit in which `nixos-rebuild`, and hyper-sync, run `switch-to-configuration`. Some versions append a number.
pub(super) const ACTIVATION: &str = "nixos-rebuild-switch-to-configuration";

/// A question to systemd is answered at once, or systemd is not there to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a service that was restarted may take to run or to fail for good: with systemd's defaults (a try each
/// 100 ms, five tries) one that cannot run has failed for good in one second.
const SETTLING: Duration = Duration::from_secs(5);

/// How the units are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// Those in a failed state.
    failed: BTreeSet<String>,
    /// Those that wait to be started again because they failed.
    restarting: BTreeSet<String>,
    /// How often systemd has restarted a service by itself, and which of its runs this is; only of those it has.
    restarts: BTreeMap<String, (u64, String)>,
}

impl Health {
    /// Asks systemd.
    pub(super) fn inspect(runner: &dyn Runner, environment: &Environment) -> Self {
        let mut failed = list(runner, environment, &["--state=failed"]);
        // How it ended is reported by its starter; its unit is there for a moment longer.
        failed.retain(|unit| !unit.starts_with(ACTIVATION));
        let mut health = Self {
            failed,
            ..Self::default()
        };
        let show = [
            "show",
            "--property=Id,SubState,Result,NRestarts,InvocationID",
            "--no-pager",
            "*.service",
        ];
        for service in ask(runner, environment, &show).split("\n\n") {
            let value = |name: &str| {
                let mut pairs = service.lines().filter_map(|line| line.split_once('='));
                pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
            };
            let Some(id) = value("Id") else { continue };
            // One that ended well and is started again and again is meant to be so.
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

    /// Those that fail, or try again.
    pub(super) fn failing(&self) -> BTreeSet<String> {
        self.failed.union(&self.restarting).cloned().collect()
    }

    /// The units that have failed since `before`, and do so still.
    pub(super) fn failed_since(
        before: &Self,
        runner: &dyn Runner,
        environment: &Environment,
    ) -> BTreeSet<String> {
        let known = before.failing();
        let first = Self::inspect(runner, environment);
        let mut unsettled = first.tried_again_since(before);
        unsettled.retain(|unit| !known.contains(unit));
        let mut failed = first.failed.clone();
        if !unsettled.is_empty() {
            // Asked to stop meanwhile, it reports what is known now.
            runner.pause(SETTLING);
            let second = Self::inspect(runner, environment);
            unsettled.retain(|unit| second.goes_on_since(&first, unit));
            failed.extend(unsettled);
            failed.extend(second.failed);
        }
        failed.retain(|unit| !known.contains(unit));
        failed
    }

    /// Whether a service still waits for another try, or has had more of them than the one it waited for.
    fn goes_on_since(&self, before: &Self, unit: &str) -> bool {
        let count = |health: &Self| health.restarts.get(unit).map_or(0, |(count, _)| *count);
        self.restarting.contains(unit)
            || count(self) > count(before) + u64::from(before.restarting.contains(unit))
    }

    /// Those that wait for another try, or have been restarted by systemd since `before`. A start by somebody else
    /// begins the count anew.
    fn tried_again_since(&self, before: &Self) -> BTreeSet<String> {
        let counts = self.restarts.iter();
        let restarted = counts.filter(|(unit, run)| before.restarts.get(*unit) != Some(run));
        let restarted = restarted.map(|(unit, _)| unit.clone());
        self.restarting.iter().cloned().chain(restarted).collect()
    }
}

/// The units that are activating a system now.
pub(super) fn activating(runner: &dyn Runner, environment: &Environment) -> BTreeSet<String> {
    let pattern = format!("{ACTIVATION}*.service");
    list(
        runner,
        environment,
        &[
            "--state=active,activating,deactivating,reloading",
            pattern.as_str(),
        ],
    )
}

/// Whether a system is being activated: one that is killed half-way through is neither the old nor the new one, and the
/// unit that activates it goes on without us.
pub(super) fn is_activating(runner: &dyn Runner, environment: &Environment) -> bool {
    !activating(runner, environment).is_empty()
}

/// Forgets activation units that have failed: a new one of the same name could not be started.
pub(super) fn forget_failed_activation(runner: &dyn Runner, environment: &Environment) {
    let pattern = format!("{ACTIVATION}*.service");
    ask(runner, environment, &["reset-failed", pattern.as_str()]);
}

fn list(runner: &dyn Runner, environment: &Environment, args: &[&str]) -> BTreeSet<String> {
    let fixed = [
        "list-units",
        "--all",
        "--full",
        "--plain",
        "--no-legend",
        "--no-pager",
    ];
    ask(runner, environment, &[&fixed, args].concat())
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.contains('.')))
        .map(str::to_owned)
        .collect()
}

fn ask(runner: &dyn Runner, environment: &Environment, args: &[&str]) -> String {
    let Some(systemctl) = runner.find("systemctl", environment) else {
        return String::new();
    };
    let command = Command::new(systemctl, args, environment, Path::new("/"), PATIENCE)
        .output(Output::Quiet)
        .regardless();
    match runner.run(&command) {
        Ok(finished) if finished.end.is_success() => finished.text(),
        Ok(_) | Err(_) => String::new(),
    }
}
