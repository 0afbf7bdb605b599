//! What systemd says: which units have failed, and whether a system is being activated.
//!
//! Where there is no systemd, nothing has failed and nothing is being activated.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::environment::Environment;
use super::runner::{Command, Output, Runner};

/// The unit in which `nixos-rebuild`, and hyper-sync, run `switch-to-configuration`. Some versions append a number.
pub(super) const ACTIVATION: &str = "nixos-rebuild-switch-to-configuration";

/// A question to systemd is answered at once, or systemd is not there to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The units that are in a failed state now, or wait to be started again because they ended: one that fails over and
/// over (`Restart=`) is not in the failed state in between, and `switch-to-configuration` counts it all the same.
pub(super) fn failed(runner: &dyn Runner, environment: &Environment) -> BTreeSet<String> {
    list(runner, environment, &["--state=failed,auto-restart"])
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
