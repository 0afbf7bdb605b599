//! What a new system changes: its packages, and the units that its activation stops, starts, restarts or reloads.
//!
//! Both are for people to read, and found out before the activation: the packages by `nix store diff-closures` between
//! the running system and the new one, the units by `switch-to-configuration dry-activate` of the new one. A program
//! that fails, takes too long or prints something else leaves its part out; it never fails a rebuild.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::context::RebuildContext;
use super::machine;
use crate::process::Output;
use crate::settings::Action;
use crate::text;

/// The most time for one of the two programs; both take seconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a new system changes against the one that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SystemChanges {
    /// The packages whose versions or sizes differ; `None` if that is not known.
    pub packages: Option<Vec<PackageChange>>,
    /// What its activation does to units; `None` if that is not known, or if nothing is activated in this boot.
    pub units: Option<UnitChanges>,
}

/// A package that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// How it differs, as Nix writes it: `1.26.2 → 1.26.3, +12.0 KiB`.
    pub change: String,
}

/// Units that an activation acts on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UnitChanges {
    /// Those that it stops.
    pub stop: Vec<String>,
    /// Those that it starts.
    pub start: Vec<String>,
    /// Those that it restarts.
    pub restart: Vec<String>,
    /// Those that it reloads.
    pub reload: Vec<String>,
}

impl SystemChanges {
    /// What an action with a built system changes; nothing if that system runs already, or if none is known to run.
    pub(super) fn of(context: &RebuildContext<'_>, action: Action, system: &Path) -> Self {
        let Some(running) = context.machine.systems().current else {
            return Self::default();
        };
        if running == system {
            return Self::default();
        }
        Self {
            packages: packages(context, &running, system),
            units: match action {
                Action::Test | Action::Switch => units(context, system),
                // `dry-activate` prints it itself.
                Action::Build | Action::Boot | Action::DryActivate => None,
            },
        }
    }
}

/// The packages in which two systems differ.
fn packages(
    context: &RebuildContext<'_>,
    running: &Path,
    system: &Path,
) -> Option<Vec<PackageChange>> {
    let nix = context.find("nix").ok()?;
    let mut args: Vec<OsString> = ["store", "diff-closures"].map(Into::into).into();
    args.extend([running, system].map(Into::into));
    let printed = ask(context, &nix, args)?.0;
    let changes = printed.lines().filter_map(|line| {
        let (name, change) = line.split_once(": ")?;
        Some(PackageChange {
            name: text::words(name),
            change: text::words(change),
        })
    });
    Some(changes.collect())
}

/// What the activation of a system would do to units.
fn units(context: &RebuildContext<'_>, system: &Path) -> Option<UnitChanges> {
    let program = system.join("bin/switch-to-configuration");
    if !context.machine.has_systemd() || !machine::exists(&program) {
        return None;
    }
    let (answer, errors) = ask(context, &program, vec!["dry-activate".into()])?;
    Some(UnitChanges::of(&(answer + "\n" + &errors)))
}

/// What a program prints on its standard output and as errors, if it succeeds in time. Nothing of it is shown.
fn ask(
    context: &RebuildContext<'_>,
    program: &Path,
    args: Vec<OsString>,
) -> Option<(String, String)> {
    let mut command = context.command(program, args).output(Output::Quiet);
    command.timeout = command.timeout.min(TIMEOUT);
    let finished = context.runner.run(&command).ok()?;
    let is_done = finished.end.is_success();
    is_done.then(|| (finished.text(), finished.tail))
}

impl UnitChanges {
    /// From the output of `switch-to-configuration dry-activate`, in Perl or Rust: `would stop the following units: a, b`.
    fn of(printed: &str) -> Self {
        let mut changes = Self::default();
        for line in printed.lines() {
            let Some((verb, units)) = line
                .trim()
                .strip_prefix("would ")
                .and_then(|rest| rest.split_once(" the following units: "))
            else {
                continue;
            };
            let list = match verb {
                "stop" => &mut changes.stop,
                "start" => &mut changes.start,
                "restart" => &mut changes.restart,
                "reload" => &mut changes.reload,
                _ => continue,
            };
            list.extend(units.split(", ").map(text::name));
        }
        changes
    }

    /// Whether no unit is acted on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_are_read_from_the_dry_activation() {
        // As switch-to-configuration-ng of nixpkgs 25.11 prints it.
        let printed = "would stop the following units: old.service, old.timer\n\
             would NOT stop the following changed units: getty@tty1.service\n\
             would activate the configuration...\n\
             would restart systemd\n\
             would reload the following units: dbus.service\n\
             would restart the following units: nginx.service, sshd.service\n\
             would start the following units: new.service\n";
        let units = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            UnitChanges::of(printed),
            UnitChanges {
                stop: units(&["old.service", "old.timer"]),
                start: units(&["new.service"]),
                restart: units(&["nginx.service", "sshd.service"]),
                reload: units(&["dbus.service"]),
            }
        );
        assert!(UnitChanges::of("would activate the configuration...\n").is_empty());
    }
}
