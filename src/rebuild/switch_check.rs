//! Whether the running system can be switched to the new one, found out before the profile or the boot loader is
//! changed.
//!
//! A NixOS system of nixpkgs 26.05 or later contains `switch-inhibitors`, a JSON object of the components that cannot
//! be replaced while the system runs (`system.switch.inhibitors`; `dbus` is one). Where both systems have an entry with
//! different values, only a boot can start the new system. `switch-to-configuration check` makes the same comparison,
//! but prints it for people; read as data, each inhibitor can be named, and the system becomes the boot default
//! instead of failing at each run.
//!
//! `switch-to-configuration check` then runs the other checks of the new system (`system.preSwitchChecks`). It
//! changes nothing. Systems older than nixpkgs 24.11 do not know `check`; for them the activation itself is the check.

use std::collections::BTreeMap;
use std::path::Path;

use super::context::RebuildContext;
use super::error::ErrorKind;
use crate::process::{End, Finished, Output};
use crate::vetted::{self, FileRequirements};

/// The table of inhibitors, relative to a system.
const INHIBITORS: &str = "switch-inhibitors";
/// The table names a handful of components.
const INHIBITORS_MAX: u64 = 1 << 20;
/// The check that nixpkgs makes of the table.
const INHIBITORS_CHECK: &str = "switchInhibitors";
/// With this variable at `1`, `switch-to-configuration` makes no checks.
const NO_CHECK: &str = "NIXOS_NO_CHECK";

/// The components that keep the running system from being switched to the new one, by name.
///
/// Empty where one of the systems has no table, or where the administrator has turned the checks off.
pub(super) fn inhibitors(context: &RebuildContext<'_>, system: &Path) -> Vec<String> {
    if is_off(context) {
        return Vec::new();
    }
    let running = table(&context.machine.current);
    let new = table(system);
    running
        .into_iter()
        .filter(|(name, value)| new.get(name).is_some_and(|new| new != value))
        .map(|(name, _)| name)
        .collect()
}

/// Runs the pre-switch checks of the new system.
pub(super) fn run(context: &RebuildContext<'_>, system: &Path) -> Result<(), ErrorKind> {
    if is_off(context) {
        return Ok(());
    }
    let program = system.join("bin/switch-to-configuration");
    let command = context.command(&program, vec!["check".into()]);
    let (_, finished) = context.run(&command.output(Output::Quiet))?;
    match failed_check(&finished) {
        Some(name) => Err(ErrorKind::PreSwitchCheck {
            name,
            tail: finished.tail,
        }),
        // Another activation holds the lock, or an older program that does not know `check`: neither says anything
        // against the switch.
        None => Ok(()),
    }
}

/// The check that failed, from the output of `switch-to-configuration`, where one did.
fn failed_check(finished: &Finished) -> Option<String> {
    if finished.end == End::Exited(0) {
        return None;
    }
    let failed = |line: &str| {
        let name = line.trim().strip_prefix("Pre-switch check '")?;
        Some(name.strip_suffix("' failed")?.to_owned())
    };
    finished.tail.lines().rev().find_map(failed)
}

/// The inhibitors that `switch-to-configuration` prints where its check of them failed: a line `NAME : OLD -> NEW` for
/// each.
pub(super) fn printed_inhibitors(finished: &Finished) -> Option<Vec<String>> {
    if failed_check(finished)? != INHIBITORS_CHECK {
        return None;
    }
    let name = |line: &str| {
        let (name, change) = line.split_once(" : ")?;
        change.contains(" -> ").then(|| name.trim().to_owned())
    };
    Some(finished.tail.lines().filter_map(name).collect())
}

fn is_off(context: &RebuildContext<'_>) -> bool {
    context
        .environment
        .get(NO_CHECK)
        .is_some_and(|value| value == "1")
}

/// The table of a system; empty where it has none that can be read.
fn table(system: &Path) -> BTreeMap<String, String> {
    let requirements = FileRequirements::anyone(INHIBITORS_MAX);
    let content = vetted::read(&system.join(INHIBITORS), &requirements);
    let content = content.unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn finished(code: i32, tail: &str) -> Finished {
        Finished {
            end: End::Exited(code),
            answer: Vec::new(),
            tail: tail.to_owned(),
            marked: None,
            lasted: Duration::ZERO,
        }
    }

    #[test]
    fn the_failed_check_is_read_from_its_sentence() {
        let text = "checking\nPre-switch check 'disk' failed\nPre-switch checks failed\n";
        assert_eq!(failed_check(&finished(1, text)).as_deref(), Some("disk"));
        assert_eq!(failed_check(&finished(0, text)), None);
        assert_eq!(failed_check(&finished(1, "Usage: check")), None);
    }

    #[test]
    fn printed_inhibitors_are_those_of_the_table() {
        let text = "Checking switch inhibitors...\n\
            There are changes to critical components of the system:\n\n\
            dbus-implementation : dbus -> broker\n\n\
            Switching into this system is not recommended.\n\
            Pre-switch check 'switchInhibitors' failed\n";
        let names = printed_inhibitors(&finished(1, text)).unwrap();
        assert_eq!(names, ["dbus-implementation"]);
        let other = "a : 1 -> 2\nPre-switch check 'disk' failed";
        assert_eq!(printed_inhibitors(&finished(1, other)), None);
    }
}
