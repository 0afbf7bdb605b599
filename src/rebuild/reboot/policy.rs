//! Whether the machine may reboot now: it does so once for a system, inside the window, while nothing and nobody is in
//! the way.
//!
//! The stage is recorded before `shutdown` is asked, so that a reboot that we have scheduled can be cancelled, and the
//! next boot be judged. A shutdown that somebody else has scheduled is left alone.
//!
//! Limits: logind is asked who is in the way; without it nothing is rebooted. Between the answer and the reboot, a
//! minute later, somebody may log in.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Time;
use serde::Serialize;

use super::{Reboot, RebootStage, await_boot, changes, logind};
use crate::health::systemd::Systemctl;
use crate::rebuild::context::RebuildContext;
use crate::rebuild::error::ErrorKind;
use crate::rebuild::machine::Machine;
use crate::rebuild::quarantine::BuildId;
use crate::rebuild::record::RebuildRecord;
use crate::settings;
use crate::state::{StateDir, Suspended};
use crate::text;

/// The timer that decides again while a reboot waits.
const TIMER: &str = "hyper-sync-reboot.timer";
/// When the machine goes down after `shutdown` was asked, and what users read until then.
pub(super) const SHUTDOWN: [&str; 3] = ["-r", "+1", "the system was updated and needs a reboot"];

/// How a decision about a reboot ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reboot", rename_all = "kebab-case")]
pub enum RebootDecision {
    /// None is needed.
    NotNeeded {
        /// Whether one waited before.
        ended: bool,
        /// Whether it was scheduled already, and is no more.
        cancelled: bool,
    },
    /// The machine came up with another system after the one that there was, and is not rebooted again for this one.
    NotAgain,
    /// It waits.
    Waits {
        /// What only the reboot replaces.
        changes: Vec<String>,
        /// For what it waits.
        #[serde(serialize_with = "text::as_words")]
        waits_for: String,
    },
    /// The machine reboots within a minute or so.
    Scheduled {
        /// What only the reboot replaces.
        changes: Vec<String>,
    },
}

impl fmt::Display for RebootDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNeeded { ended: false, .. } => f.write_str("no reboot is needed"),
            Self::NotNeeded {
                cancelled: false, ..
            } => f.write_str("the reboot is not needed any more"),
            Self::NotNeeded { .. } => {
                f.write_str("the reboot is not needed any more, and was cancelled")
            }
            Self::NotAgain => f.write_str(
                "the machine came up with another system than the boot default, and is not rebooted again for it",
            ),
            Self::Waits { changes, waits_for } => write!(
                f,
                "a reboot is needed, because these change: {}; it waits {}",
                names(changes),
                text::words(waits_for)
            ),
            Self::Scheduled { changes } => write!(
                f,
                "the machine reboots in a minute, because these change: {}",
                names(changes)
            ),
        }
    }
}

/// What only a boot replaces, as text.
#[must_use]
pub fn names(changes: &[String]) -> String {
    text::list(changes.iter().map(|name| format!("`{}`", text::name(name))))
}

/// Decides about a reboot, and asks for it. The caller has judged the last boot.
pub(in crate::rebuild) fn run(
    context: &RebuildContext<'_>,
    settings: &settings::Reboot,
    time: Time,
) -> Result<RebootDecision, ErrorKind> {
    let decision = decide(context, settings, time)?;
    let verb = match decision {
        RebootDecision::Waits { .. } if settings.allow => "start",
        // The shutdown may be cancelled, or be kept back.
        RebootDecision::Scheduled { .. } => "start",
        _ => "stop",
    };
    if let Err(cause) = context.systemctl().ask(&[verb, TIMER]) {
        tracing::debug!(cause, "`{verb} {TIMER}` failed");
    }
    Ok(decision)
}

fn decide(
    context: &RebuildContext<'_>,
    settings: &settings::Reboot,
    time: Time,
) -> Result<RebootDecision, ErrorKind> {
    let (state, systemctl) = (context.request.state, context.systemctl());
    let before = Reboot::load(state)?;
    let Some(mut reboot) = needed(context, before.as_ref())? else {
        let cancelled = end_if_over(context)?;
        return Ok(RebootDecision::NotNeeded {
            ended: before.is_some_and(|before| !before.changes.is_empty())
                && Reboot::load(state)?.is_none(),
            cancelled,
        });
    };
    if reboot.stage == RebootStage::Missed {
        return Ok(RebootDecision::NotAgain);
    }
    let changes = reboot.changes.clone();
    let waits_for = match obstacle(systemctl, settings, time) {
        Ok(waits_for) => waits_for,
        // Without an answer nobody knows who is in the way.
        Err(cause) => Some(format!("for logind: {cause}")),
    };
    // Scheduled by us before, or by somebody else: either takes place without us.
    if let Ok(Some(what)) = logind::scheduled(systemctl) {
        if is_ours(&reboot, context.machine) {
            return Ok(RebootDecision::Scheduled { changes });
        }
        let waits_for = format!(
            "because a shutdown (`{}`) is scheduled already",
            text::name(&what)
        );
        return wait(state, reboot, waits_for);
    }
    if let Some(waits_for) = waits_for {
        return wait(state, reboot, waits_for);
    }
    reboot.stage = RebootStage::Rebooting;
    reboot.waits_for = None;
    reboot.boot.clone_from(&context.machine.boot);
    reboot.save(state)?;
    if let Err(cause) = systemctl.shutdown(&SHUTDOWN) {
        reboot.stage = RebootStage::Waiting;
        reboot.save(state)?;
        return Err(ErrorKind::NoReboot { cause });
    }
    // Somebody may have suspended updates since this run began, when there was nothing to cancel yet.
    if Suspended::active(state, Timestamp::now())?.is_some() {
        cancel(state, context.machine, systemctl)?;
        return wait(state, reboot, "because updates are suspended".to_owned());
    }
    Ok(RebootDecision::Scheduled { changes })
}

/// The reboot that the machine needs, as the record has it or as a comparison shows it. Its record is up to date after
/// that.
fn needed(
    context: &RebuildContext<'_>,
    before: Option<&Reboot>,
) -> Result<Option<Reboot>, ErrorKind> {
    let systems = context.machine.systems();
    if let Some(reboot) = before.filter(|reboot| !reboot.is_over(&systems)) {
        let is_needed = reboot.is_before_boot() && !reboot.changes.is_empty();
        return Ok(is_needed.then(|| reboot.clone()));
    }
    let changed = systems.profile.as_deref();
    let changed = changed.map(|profile| changes(&systems, profile));
    let (Some(profile), Some(changed)) = (&systems.profile, changed.filter(|all| !all.is_empty()))
    else {
        return Ok(None);
    };
    // Somebody else has made it the boot default.
    let record = RebuildRecord::load(context.request.state)?;
    let host = record.last.as_ref().map(|last| last.host.as_str());
    let build = BuildId {
        commit: record.commit_of(profile),
        host: host.unwrap_or_default(),
        key: record.key_of(profile),
    };
    await_boot(context, build, profile, changed, None).map(Some)
}

/// What is in the way of a reboot now; continues "it waits".
fn obstacle(
    systemctl: Systemctl<'_>,
    settings: &settings::Reboot,
    time: Time,
) -> Result<Option<String>, String> {
    if !settings.allow {
        return Ok(Some(
            "for a person, because `reboot.allow` is false".to_owned(),
        ));
    }
    if let Some(window) = settings.window
        && !window.contains(time)
    {
        return Ok(Some(format!("for its window, {window}")));
    }
    let inhibitors = logind::inhibitors(systemctl)?;
    if !inhibitors.is_empty() {
        let each = inhibitors.iter().map(|lock| {
            let (who, why) = (text::name(&lock.who), text::words(&lock.why));
            format!("`{who}` ({why})")
        });
        return Ok(Some(format!(
            "for programs that keep the machine from a shutdown: {}",
            text::list(each)
        )));
    }
    if settings.when_idle {
        let users = logind::users(systemctl)?;
        if !users.is_empty() {
            let users = text::list(users.iter().map(|user| format!("`{}`", text::name(user))));
            return Ok(Some(format!("until nobody is logged in: {users}")));
        }
    }
    Ok(None)
}

/// Records what a reboot waits for.
fn wait(
    state: &StateDir,
    mut reboot: Reboot,
    waits_for: String,
) -> Result<RebootDecision, ErrorKind> {
    let before = reboot.clone();
    reboot.stage = RebootStage::Waiting;
    reboot.waits_for = Some(waits_for.clone());
    // The timer decides every few minutes, mostly the same.
    if reboot != before {
        reboot.save(state)?;
    }
    Ok(RebootDecision::Waits {
        changes: reboot.changes,
        waits_for,
    })
}

/// Removes the record if nothing is left to wait for; before that, cancels the reboot if it is scheduled. Returns whether
/// it was.
pub(in crate::rebuild) fn end_if_over(context: &RebuildContext<'_>) -> Result<bool, ErrorKind> {
    let state = context.request.state;
    let systems = context.machine.systems();
    match Reboot::load(state)? {
        Some(reboot) if reboot.is_over(&systems) => {
            let cancelled = cancel(state, context.machine, context.systemctl())?;
            Reboot::remove(state)?;
            Ok(cancelled)
        }
        _ => Ok(false),
    }
}

/// Whether we have asked for it in this boot.
fn is_ours(reboot: &Reboot, machine: &Machine) -> bool {
    let is_asked = matches!(
        reboot.stage,
        RebootStage::Rebooting | RebootStage::Reverting
    );
    is_asked && !reboot.has_booted(machine)
}

/// Cancels the reboot that we have scheduled, if there is one. Returns whether there was. It needs no lock: a run that
/// schedules one looks for a suspension after that, and logind, not the record, knows whether one is scheduled.
pub(in crate::rebuild) fn cancel(
    state: &StateDir,
    machine: &Machine,
    systemctl: Systemctl<'_>,
) -> Result<bool, ErrorKind> {
    match Reboot::load(state)? {
        Some(reboot) if is_ours(&reboot, machine) => {
            cancel_scheduled(systemctl).map_err(|cause| ErrorKind::RebootNotCancelled { cause })
        }
        _ => Ok(false),
    }
}

fn cancel_scheduled(systemctl: Systemctl<'_>) -> Result<bool, String> {
    let is_scheduled = logind::scheduled(systemctl)?.is_some_and(|what| what == "reboot");
    if is_scheduled {
        systemctl.shutdown(&["-c"])?;
    }
    Ok(is_scheduled)
}
