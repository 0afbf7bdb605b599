//! Activations that run now: by another process, or by a run of ours that has died.
//!
//! An activation is a unit in which `nixos-rebuild` or hyper-sync runs `switch-to-configuration`, or a process that holds
//! the lock of `switch-to-configuration`, which a person may run without a unit.
//!
//! Limits: an activation that begins after the question is detected by the lock of `switch-to-configuration` alone.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::context::RebuildContext;
use super::error::ErrorKind;
use super::outcome::RebuildNote;
use super::output::Verdict;
use super::record::{BegunActivation, RebuildRecord};
use crate::health::systemd::ActivationUnit;
use crate::process::{self, Finished};

/// The waits between the questions whether another process still activates a system, which takes seconds to minutes.
const WAITS: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// An activation that runs now.
pub(super) struct RunningActivation {
    /// The unit, or `process 12`.
    name: String,
    /// Its process; `None` if systemd has not started it yet.
    process: Option<u32>,
    /// The commands of the unit.
    commands: String,
}

impl RunningActivation {
    /// How long it has been running, if that is more than `limit`.
    fn beyond(&self, limit: Duration) -> Option<Duration> {
        let age = self.process.and_then(process::age);
        age.filter(|age| *age > limit)
    }

    /// Whether it activates this system.
    fn is_of(&self, system: &Path) -> bool {
        let program = system.join("bin/switch-to-configuration");
        // `path=PROGRAM ; argv[]=PROGRAM switch ; …`, or as an argument of another program.
        let mut words = self.commands.split([' ', '=']);
        words.any(|word| Path::new(word) == program)
    }
}

/// The activations that run now.
fn find(context: &RebuildContext<'_>) -> Vec<RunningActivation> {
    let units = context.systemctl().activations().into_iter();
    let units = units.map(|unit: ActivationUnit| RunningActivation {
        name: unit.name,
        process: unit.process,
        commands: unit.commands,
    });
    let mut found: Vec<RunningActivation> = units.collect();
    // The process of a unit has the lock too.
    if found.is_empty()
        && let Some(process) = context.machine.switching_process()
    {
        found.push(RunningActivation {
            name: format!("process {process}"),
            process: Some(process),
            commands: String::new(),
        });
    }
    found
}

/// Waits until no other process activates a system. Returns the names of those that did.
pub(super) fn wait(context: &RebuildContext<'_>) -> Result<Vec<String>, ErrorKind> {
    wait_within(context, &mut WAITS.into_iter())
}

fn wait_within(
    context: &RebuildContext<'_>,
    waits: &mut impl Iterator<Item = Duration>,
) -> Result<Vec<String>, ErrorKind> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let active = find(context);
        if active.is_empty() {
            return Ok(names);
        }
        let active: Vec<String> = active.into_iter().map(|active| active.name).collect();
        pause(context, waits, &active)?;
        names.extend(active);
        names.dedup();
    }
}

/// Waits for a moment, as long as time remains.
fn pause(
    context: &RebuildContext<'_>,
    waits: &mut impl Iterator<Item = Duration>,
    active: &[String],
) -> Result<(), ErrorKind> {
    let wait = waits.next().filter(|wait| *wait < context.remaining());
    let Some(wait) = wait else {
        return Err(ErrorKind::Busy {
            unit: active.first().cloned(),
        });
    };
    if context.runner.pause(wait) {
        return Ok(());
    }
    Err(ErrorKind::Interrupted {
        activating: active.to_vec(),
    })
}

/// Retries while another process activates a system and time remains.
pub(super) fn retry_while_busy(
    context: &RebuildContext<'_>,
    mut attempt: impl FnMut() -> Result<(Verdict, Finished), ErrorKind>,
) -> Result<(Verdict, Finished), ErrorKind> {
    let mut waits = WAITS.into_iter();
    loop {
        wait_within(context, &mut waits)?;
        match attempt()? {
            (Verdict::Busy, _) => pause(context, &mut waits, &[])?,
            done => return Ok(done),
        }
        // A failed unit that systemd keeps is also reported as "already loaded".
        context.systemctl().reset_failed_activation();
    }
}

/// Waits for an activation of somebody else, and finds the units that have failed by then. `None` if there is none.
pub(super) fn wait_for_others(
    context: &RebuildContext<'_>,
    record: &RebuildRecord,
) -> Result<Option<RebuildNote>, ErrorKind> {
    let before = match record.baseline() {
        Some(before) => before,
        None if find(context).is_empty() => return Ok(None),
        None => context.baseline(),
    };
    let activations = wait(context)?;
    if activations.is_empty() {
        return Ok(None);
    }
    let failed = context.failed_since(&before);
    Ok(Some(RebuildNote::Waited {
        activations,
        failed: failed.into_iter().collect(),
    }))
}

/// Stops an earlier activation of ours that hangs: its run has died, and nobody else ends it.
pub(super) fn stop_hanging(
    context: &RebuildContext<'_>,
    record: &RebuildRecord,
) -> Option<RebuildNote> {
    let system = record.begun()?.system.as_deref()?;
    let limit = context.request.settings.activation_timeout;
    let hangs = |active: &RunningActivation| active.is_of(system) && active.beyond(limit).is_some();
    let active = find(context).into_iter().find(hangs)?;
    let jobs = context.systemctl().running_jobs();
    // One that cannot be stopped is waited for, and named.
    context.systemctl().stop(&active.name).ok()?;
    Some(RebuildNote::Stopped {
        unit: active.name,
        after: limit,
        jobs,
    })
}

/// The unit in which an activation goes on.
pub(super) fn of_begun(context: &RebuildContext<'_>, begun: &BegunActivation) -> Option<String> {
    let is_it = |active: &RunningActivation| {
        { begun.system.as_deref() }.is_none_or(|system| active.is_of(system))
    };
    let active = find(context).into_iter().find(is_it)?;
    Some(active.name)
}

/// The error of an activation, by anybody, that takes longer than one may.
pub(super) fn hanging(context: &RebuildContext<'_>) -> Option<ErrorKind> {
    let limit = context.request.settings.activation_timeout;
    find(context).into_iter().find_map(|active| {
        let age = SignedDuration::try_from(active.beyond(limit)?).ok()?;
        Some(ErrorKind::ActivationHangs {
            name: active.name,
            since: { context.now().checked_sub(age) }.unwrap_or(Timestamp::MIN),
            limit,
            jobs: context.systemctl().running_jobs(),
        })
    })
}
