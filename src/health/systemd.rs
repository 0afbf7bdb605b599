//! Questions to systemd.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::process::{Command, End, Environment, Output, Runner};
use crate::text;

/// The unit in which `nixos-rebuild`, and hyper-sync, run `switch-to-configuration`. Some versions append a number.
pub(crate) const ACTIVATION: &str = "nixos-rebuild-switch-to-configuration";

/// Our own units: how an update has ended is not how the system runs.
pub(super) const OWN: &[&str] = &["hyper-sync.service", "hyper-sync-fetch.service"];

/// A question to systemd is answered at once, or systemd is not there to answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How many lines of a unit's journal are shown.
const LINES: &str = "--lines=10";

/// The units that `systemctl list-units` names with these arguments.
pub(crate) fn list(
    runner: &dyn Runner,
    environment: &Environment,
    args: &[&str],
) -> Result<BTreeSet<String>, String> {
    let fixed = [
        "list-units",
        "--all",
        "--full",
        "--plain",
        "--no-legend",
        "--no-pager",
    ];
    let answer = ask(runner, environment, &[&fixed, args].concat())?;
    let units = answer
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.contains('.')));
    Ok(units.map(str::to_owned).collect())
}

/// What `systemctl` answers, or why it does not.
pub(crate) fn ask(
    runner: &dyn Runner,
    environment: &Environment,
    args: &[&str],
) -> Result<String, String> {
    let answer = run(runner, environment, "systemctl", args);
    answer.map_err(|cause| format!("systemd cannot be asked: {cause}"))
}

/// The last lines that a unit has printed; none where the journal cannot be read.
pub(super) fn last_lines(
    runner: &dyn Runner,
    environment: &Environment,
    unit: &str,
) -> Vec<String> {
    let unit = format!("--unit={unit}");
    let args = [&unit, LINES, "--output=cat", "--no-pager", "--quiet"];
    let printed = run(runner, environment, "journalctl", &args).unwrap_or_default();
    printed.lines().map(str::to_owned).collect()
}

fn run(
    runner: &dyn Runner,
    environment: &Environment,
    program: &str,
    args: &[&str],
) -> Result<String, String> {
    let Some(path) = runner.find(program, environment) else {
        return Err(format!("`{program}` is not in the search path"));
    };
    let command = Command::new(path, args, environment, Path::new("/"), TIMEOUT)
        .output(Output::Quiet)
        .regardless();
    match runner.run(&command) {
        Ok(finished) if finished.end.is_success() => Ok(finished.text()),
        Ok(finished) if finished.end == End::TimedOut || finished.tail.is_empty() => {
            Err(format!("`{program}`: {}", finished.end))
        }
        Ok(finished) => Err(format!("`{program}`: {}", text::words(finished.tail))),
        Err(error) => Err(format!("`{program}`: {error}")),
    }
}
