//! Detects units that have failed since a baseline.
//!
//! A service that fails repeatedly (`Restart=`) is not in the failed state in between, and is even active for moments.
//! It is detected by its restart counter and a second query some seconds later: if it runs by then, it has not failed;
//! if it was restarted again, it has. A service that first fails after both queries is not detected.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::systemd::{ACTIVATION, OWN, Systemctl, property};
use crate::process::{Environment, Runner};

/// How long a service that was restarted may take to run or to fail for good: with systemd's defaults (a try each
/// 100 ms, five tries) one that cannot run has failed for good in one second.
const SETTLING: Duration = Duration::from_secs(5);

/// The state of the units before a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baseline {
    /// The units in the failed state.
    failed: BTreeSet<String>,
    /// The units that wait for a restart because they failed.
    restarting: BTreeSet<String>,
    /// How often systemd has restarted a service by itself, and which of its runs this is; only of those it has.
    restarts: BTreeMap<String, (u64, String)>,
}

impl Baseline {
    /// The current state of the units. If systemd does not respond, none counts as failed.
    #[must_use]
    pub fn take(runner: &dyn Runner, environment: &Environment) -> Self {
        Self::inspect(runner, environment).unwrap_or_default()
    }

    /// From a record of the units that had failed.
    #[must_use]
    pub fn of(failed: impl IntoIterator<Item = String>) -> Self {
        Self {
            failed: failed.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The units that have failed or wait for a restart.
    #[must_use]
    pub fn failing(&self) -> BTreeSet<String> {
        self.failed.union(&self.restarting).cloned().collect()
    }

    /// The units that have failed since, and still do; or the reason why systemd cannot be queried.
    pub fn failed_since(
        &self,
        runner: &dyn Runner,
        environment: &Environment,
    ) -> Result<BTreeSet<String>, String> {
        let known = self.failing();
        let first = Self::inspect(runner, environment)?;
        let mut unsettled = first.tried_again_since(self);
        unsettled.retain(|unit| !known.contains(unit));
        let mut failed = first.failed.clone();
        if !unsettled.is_empty() {
            // After an interrupt, it returns what is known by now.
            runner.pause(SETTLING);
            let second = Self::inspect(runner, environment)?;
            unsettled.retain(|unit| second.goes_on_since(&first, unit));
            failed.extend(unsettled);
            failed.extend(second.failed);
        }
        failed.retain(|unit| !known.contains(unit));
        Ok(failed)
    }

    /// Queries systemd.
    fn inspect(runner: &dyn Runner, environment: &Environment) -> Result<Self, String> {
        let systemctl = Systemctl {
            runner,
            environment,
        };
        let mut failed = systemctl.list(&["--state=failed"])?;
        // Its result is reported by its starter; the unit exists for a moment longer.
        failed.retain(|unit| !unit.starts_with(ACTIVATION) && !OWN.contains(&unit.as_str()));
        let mut states = Self {
            failed,
            ..Self::default()
        };
        let show = [
            "show",
            "--property=Id,SubState,Result,NRestarts,InvocationID",
            "--no-pager",
            "*.service",
        ];
        for service in systemctl.ask(&show)?.split("\n\n") {
            let value = |name| property(service, name);
            let Some(id) = value("Id") else { continue };
            // A service that succeeds and is always restarted is configured that way.
            if value("SubState").is_some_and(|state| state.starts_with("auto-restart"))
                && value("Result") != Some("success")
            {
                states.restarting.insert(id.to_owned());
            }
            let restarts = value("NRestarts").and_then(|count| count.parse().ok());
            if let Some(count @ 1..) = restarts {
                let run = value("InvocationID").unwrap_or_default().to_owned();
                states.restarts.insert(id.to_owned(), (count, run));
            }
        }
        Ok(states)
    }

    /// Whether a service still waits for a restart, or was restarted more often than the one time it waited for.
    fn goes_on_since(&self, before: &Self, unit: &str) -> bool {
        let count = |states: &Self| states.restarts.get(unit).map_or(0, |(count, _)| *count);
        self.restarting.contains(unit)
            || count(self) > count(before) + u64::from(before.restarting.contains(unit))
    }

    /// The services that wait for a restart, or were restarted by systemd since `before`. A manual start resets the
    /// counter.
    fn tried_again_since(&self, before: &Self) -> BTreeSet<String> {
        let counts = self.restarts.iter();
        let restarted = counts.filter(|(unit, run)| before.restarts.get(*unit) != Some(run));
        let restarted = restarted.map(|(unit, _)| unit.clone());
        self.restarting.iter().cloned().chain(restarted).collect()
    }
}
