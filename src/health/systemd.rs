//! Queries of systemd.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::process::{Command, End, Environment, Output, Runner};
use crate::text;

/// The unit in which `nixos-rebuild`, and hyper-sync, run `switch-to-configuration`. Some versions append a number.
pub(crate) const ACTIVATION: &str = "nixos-rebuild-switch-to-configuration";

/// The units of hyper-sync, which are not checked: the result of an update does not show whether the system is healthy.
pub(super) const OWN: &[&str] = &[
    "hyper-sync.service",
    "hyper-sync-confirm.service",
    "hyper-sync-fetch.service",
    "hyper-sync-reboot.service",
    "hyper-sync-revert.service",
];

/// systemd responds at once, or it is not running.
const TIMEOUT: Duration = Duration::from_secs(20);
/// A unit has 90 seconds to stop before systemd kills it (`DefaultTimeoutStopSec=`).
const STOP_TIMEOUT: Duration = Duration::from_secs(120);
/// How many lines of a unit's journal are shown.
const LINES: &str = "--lines=10";

/// What `systemctl` says on a machine, or in a container, that has another init.
const OTHER_INIT: &str = "not been booted with systemd";
/// The reason of every query then.
const ABSENT: &str = "systemd does not run here";

/// Whether a query failed because there is no systemd, so that none will ever be answered.
pub(super) fn is_absent(cause: &str) -> bool {
    cause.starts_with(ABSENT)
}

/// A unit that is activating a system.
pub(crate) struct ActivationUnit {
    pub(crate) name: String,
    /// Its main process; `None` if it has none yet.
    pub(crate) process: Option<u32>,
    /// The property `ExecStart`.
    pub(crate) commands: String,
}

/// Access to systemd and its journal.
#[derive(Clone, Copy)]
pub(crate) struct Systemctl<'a> {
    pub(crate) runner: &'a dyn Runner,
    pub(crate) environment: &'a Environment,
}

impl Systemctl<'_> {
    /// The units that `systemctl list-units` lists with these arguments.
    pub(super) fn list(self, args: &[&str]) -> Result<BTreeSet<String>, String> {
        let fixed = [
            "list-units",
            "--all",
            "--full",
            "--plain",
            "--no-legend",
            "--no-pager",
        ];
        let answer = self.ask(&[&fixed, args].concat())?;
        let units = answer
            .lines()
            .filter_map(|line| line.split_whitespace().find(|word| word.contains('.')));
        Ok(units.map(str::to_owned).collect())
    }

    /// The output of `systemctl`, or the reason why it failed.
    pub(crate) fn ask(self, args: &[&str]) -> Result<String, String> {
        self.ask_within(args, TIMEOUT)
    }

    /// The last lines of a unit's journal; empty if it cannot be read.
    pub(super) fn last_lines(self, unit: &str) -> Vec<String> {
        let unit = format!("--unit={unit}");
        let args = [&unit, LINES, "--output=cat", "--no-pager", "--quiet"];
        let printed = self.run("journalctl", &args, TIMEOUT).unwrap_or_default();
        printed.lines().map(str::to_owned).collect()
    }

    /// The units that are activating a system now, with their processes; none without systemd.
    pub(crate) fn activations(self) -> Vec<ActivationUnit> {
        let units = self.activating();
        if units.is_empty() {
            return Vec::new();
        }
        let show = ["show", "--property=Id,MainPID,ExecStart", "--no-pager"];
        let names: Vec<&str> = units.iter().map(String::as_str).collect();
        // One whose process is not known runs all the same.
        let answer = self.ask(&[&show[..], &names].concat()).unwrap_or_default();
        let unit = |name: &String| {
            let blocks = || answer.split("\n\n");
            let shown = blocks().find(|block| property(block, "Id") == Some(name));
            let value = |key| shown.and_then(|block| property(block, key));
            ActivationUnit {
                name: name.clone(),
                process: { value("MainPID") }
                    .and_then(|id| id.parse().ok())
                    .filter(|id| *id != 0),
                commands: value("ExecStart").unwrap_or_default().to_owned(),
            }
        };
        units.iter().map(unit).collect()
    }

    /// When a timer starts its service next; `None` without systemd or the timer, if it is not active, and if the service
    /// of its name does not run in `directory`.
    pub(crate) fn next_run(self, timer: &str, directory: &Path) -> Option<Timestamp> {
        let service = format!("{}.service", timer.strip_suffix(".timer")?);
        let properties = "--property=Id,WorkingDirectory,NextElapseUSecRealtime";
        let args = ["show", properties, "--timestamp=unix", "--no-pager"];
        let answer = self.ask(&[&args[..], &[timer, &service]].concat()).ok()?;
        let value = |unit: &str, name| {
            let mut blocks = answer.split("\n\n");
            let block = blocks.find(|block| property(block, "Id") == Some(unit))?;
            property(block, name)
        };
        if Path::new(value(&service, "WorkingDirectory")?) != directory {
            return None;
        }
        let seconds = value(timer, "NextElapseUSecRealtime")?.strip_prefix('@')?;
        Timestamp::from_second(seconds.parse().ok()?).ok()
    }

    /// The units that are activating a system now; none without systemd.
    pub(crate) fn activating(self) -> Vec<String> {
        let pattern = format!("{ACTIVATION}*.service");
        let states = "--state=active,activating,deactivating,reloading";
        let units = self.list(&[states, &pattern]);
        units.unwrap_or_default().into_iter().collect()
    }

    /// Resets failed activation units: a new unit of the same name could not be started.
    pub(crate) fn reset_failed_activation(self) {
        let pattern = format!("{ACTIVATION}*.service");
        // A unit that cannot be reset fails the next activation, whose error names it.
        let _ = self.ask(&["reset-failed", &pattern]);
    }

    /// Stops the units that are activating a system.
    pub(crate) fn stop_activation(self) -> Result<(), String> {
        self.stop(&format!("{ACTIVATION}*.service"))
    }

    /// Stops units.
    pub(crate) fn stop(self, pattern: &str) -> Result<(), String> {
        self.ask_within(&["stop", pattern], STOP_TIMEOUT).map(drop)
    }

    /// The jobs that systemd is working on, such as `start of web.service`, without those for our own units.
    pub(crate) fn running_jobs(self) -> Vec<String> {
        let answer = self.ask(&["list-jobs", "--plain", "--no-legend", "--no-pager"]);
        let answer = answer.unwrap_or_default();
        let jobs = answer.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (unit, kind, state) = (words.next()?, words.next()?, words.next()?);
            // The job of hyper-sync itself waits for all others.
            let is_awaited = state == "running" && !OWN.contains(&unit);
            is_awaited.then(|| format!("{kind} of {unit}"))
        });
        jobs.collect()
    }

    /// The output of `busctl`, a line of JSON for each answer, or the reason why it failed.
    pub(crate) fn bus(self, args: &[&str]) -> Result<String, String> {
        self.run(
            "busctl",
            &[&["--json=short", "--no-pager"], args].concat(),
            TIMEOUT,
        )
    }

    /// Runs `shutdown`, which asks logind to schedule a shutdown or to cancel it.
    pub(crate) fn shutdown(self, args: &[&str]) -> Result<(), String> {
        self.run("shutdown", args, TIMEOUT).map(drop)
    }

    /// Like [`ask`](Self::ask), with a longer time limit.
    pub(crate) fn ask_within(self, args: &[&str], timeout: Duration) -> Result<String, String> {
        let answer = self.run("systemctl", args, timeout);
        answer.map_err(|cause| {
            if cause.contains(OTHER_INIT) {
                ABSENT.to_owned()
            } else if let Err(cause) = self.runner.locate("systemctl", self.environment) {
                format!("{ABSENT}: {cause}")
            } else {
                format!("systemd cannot be asked: {cause}")
            }
        })
    }

    fn run(self, program: &str, args: &[&str], timeout: Duration) -> Result<String, String> {
        let path = self.runner.locate(program, self.environment)?;
        let command = Command::new(path, args, self.environment, Path::new("/"), timeout)
            .output(Output::Quiet)
            .regardless();
        match self.runner.run(&command) {
            Ok(finished) if finished.end.is_success() => Ok(finished.text()),
            Ok(finished) if finished.end == End::TimedOut || finished.tail.is_empty() => {
                Err(format!("`{program}`: {}", finished.end))
            }
            Ok(finished) => {
                let said = text::one_line(&text::decode(finished.tail.as_ref()));
                Err(format!("`{program}`: {}", text::words(said)))
            }
            Err(error) => Err(format!("`{program}`: {error}")),
        }
    }
}

/// A property of one unit in the output of `systemctl show`.
pub(super) fn property<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = answer.lines().filter_map(|line| line.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}
