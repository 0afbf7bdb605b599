//! A rebuild by `nixos-rebuild` on the live tree, as by hand, where a build cannot be pinned.

use super::boot::{BootReasons, Waited};
use super::{RebuildPipeline, activates, compare, take};
use crate::rebuild::activate;
use crate::rebuild::error::ErrorKind;
use crate::rebuild::outcome::{LockChange, Outcome, RebuildNote, RebuildStatus, UnpinnedReason};
use crate::rebuild::output::Verdict;
use crate::rebuild::{key, pinned, switch_check};
use crate::settings::Action;

impl RebuildPipeline<'_> {
    /// `nixos-rebuild` on the live tree.
    pub(super) fn live(mut self, reason: UnpinnedReason) -> Result<Outcome, ErrorKind> {
        let context = self.context;
        let action = context.request.action;
        context.find("nixos-rebuild")?;
        self.notes.push(RebuildNote::NotPinned { reason });
        match pinned::refresh_lock(self.flake) {
            Ok(false) => {}
            Ok(true) => self.notes.push(RebuildNote::Lock {
                change: LockChange::Refreshed,
            }),
            Err(cause) => self.notes.push(RebuildNote::LockFailed { cause }),
        }
        let key = self.key();
        let mut reasons = BootReasons::default();
        let mut built = None;
        let is_boot_on_trial = context.request.confirmation.is_some() && action == Action::Boot;
        let is_needed = context.request.timer.is_some() || context.request.reboots;
        if (is_needed && activates(action)) || is_boot_on_trial {
            let (verdict, finished) = activate::nixos_rebuild(context, &self.host, Action::Build)?;
            if verdict != Verdict::Done {
                self.finish(None, RebuildStatus::Failed, None)?;
                return Err(self.failed(key.as_deref(), verdict.into_error(action, finished)));
            }
            if let Some(system) =
                activate::live_system(context, Action::Build, RebuildStatus::Built)
            {
                if let Err(error) = self.keeps_timer(&system) {
                    return Err(self.failed(key.as_deref(), error));
                }
                reasons = BootReasons::of_parts(context, action, &system);
                built = Some(system);
            }
        }
        let host = self.host.clone();
        let possible = if reasons.is_empty() {
            action
        } else {
            Action::Boot
        };
        if context.request.confirmation.is_some() && possible == Action::Switch {
            self.notes.push(RebuildNote::NotOnTrial);
        }
        let waited = match &built {
            Some(system) => self.begin_boot(possible, system, key.as_deref(), &reasons)?,
            None => Waited::Unchanged,
        };
        let attempt = self.activate(possible, None, || {
            activate::nixos_rebuild(context, &host, possible)
        });
        if let Some(system) = &built {
            waited.end_unless_default(context, system)?;
        }
        let mut activated = match attempt {
            Ok(activated) => activated.for_boot(reasons),
            // The build is part of it.
            Err(error) => return Err(self.failed(key.as_deref(), error)),
        };
        if possible == Action::Switch
            && let Some(inhibitors) = switch_check::printed_inhibitors(&activated.finished)
        {
            let boot = Action::Boot;
            activated =
                self.activate(boot, None, || activate::nixos_rebuild(context, &host, boot))?;
            activated = activated.for_boot(BootReasons::of_inhibitors(inhibitors));
        }
        let status =
            RebuildStatus::of(activated.verdict, action, activated.newly_failed.is_empty());
        let system = status
            .is_done()
            .then(|| activate::live_system(context, action, status))
            .flatten();
        // An edit made during the build may be in the system, which then is not the one of the key.
        let tree = take(context, self.flake).ok();
        let revision = tree
            .as_ref()
            .and_then(|tree| compare(context, self.flake, tree).revision);
        let hash = tree.map(|tree| tree.nar);
        let again = key::of(context, self.flake, hash, revision, &self.host);
        let key = key.filter(|key| again.as_ref() == Some(key));
        self.conclude(activated, key.as_deref(), system)
    }
}
