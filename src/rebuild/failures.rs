//! The failures of a build: those of earlier runs, because of which it is not tried now, and that of this run.

use super::context::RebuildContext;
use super::error::ErrorKind;
use super::quarantine::{BuildId, FailureClass, Quarantine};
use crate::settings::Gate;

/// What is known of failed builds during a rebuild, or during the build before an update.
pub(super) struct Failures {
    quarantine: Quarantine,
    /// The kills for lack of memory before the build.
    oom_kills: u64,
    /// Whether this is the build before an update (`rebuild.gate`).
    before_update: bool,
}

impl Failures {
    /// Reads the failures. Called before the build begins.
    pub(super) fn load(
        context: &RebuildContext<'_>,
        before_update: bool,
    ) -> Result<Self, ErrorKind> {
        Ok(Self {
            quarantine: Quarantine::load(context.request.state)?,
            oom_kills: context.machine.oom_kills(),
            before_update,
        })
    }

    /// Refuses a build that failed before and whose pause is not over.
    pub(super) fn refuse(
        &self,
        context: &RebuildContext<'_>,
        build: BuildId<'_>,
        activates: bool,
    ) -> Result<(), ErrorKind> {
        if context.request.retry {
            return Ok(());
        }
        match self.quarantine.waiting(build, activates, context.now()) {
            Some(entry) => {
                let mut entry = entry.clone();
                entry.before_update = self.before_update;
                Err(ErrorKind::Quarantined(Box::new(entry)))
            }
            None => Ok(()),
        }
    }

    /// Records a failure that another try of the same build would repeat. Returns the error, with the proof of a lack
    /// of memory if there is one.
    pub(super) fn add(
        &mut self,
        context: &RebuildContext<'_>,
        build: BuildId<'_>,
        activates: bool,
        error: ErrorKind,
    ) -> ErrorKind {
        let kills = context.machine.oom_kills().saturating_sub(self.oom_kills);
        let error = match error {
            ErrorKind::OutOfMemory { tail, .. } => ErrorKind::OutOfMemory { kills, tail },
            // The process that was killed may be a child of one that then failed.
            ErrorKind::Build { tail, .. } if kills > 0 => ErrorKind::OutOfMemory { kills, tail },
            error => error,
        };
        let class = FailureClass::of(&error).filter(|class| activates || !class.activates());
        if let Some(class) = class {
            let mut quarantine = self.quarantine.clone();
            let (reason, now) = (error.to_string(), context.now());
            quarantine.add(build, class, self.before_update, &reason, now);
            if let Err(error) = quarantine.save(context.request.state) {
                // The error of the rebuild is the one to report.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the failure could not be recorded; the next run tries again"
                );
            }
            self.quarantine = quarantine;
        }
        error
    }

    /// Removes the failures of a build that has succeeded.
    pub(super) fn end(
        &mut self,
        context: &RebuildContext<'_>,
        build: BuildId<'_>,
        activated: bool,
    ) -> Result<(), ErrorKind> {
        let mut quarantine = self.quarantine.clone();
        quarantine.remove(build, activated);
        if self.before_update || context.request.settings.gate == Gate::Off {
            quarantine.pass_gate();
        }
        if quarantine != self.quarantine {
            quarantine.save(context.request.state)?;
            self.quarantine = quarantine;
        }
        Ok(())
    }
}
