//! Records the failures of a rebuild, and reads those of earlier ones.

use super::{RebuildPipeline, activates};
use crate::rebuild::error::ErrorKind;
use crate::rebuild::quarantine::{BuildId, FailureClass};
use crate::settings::Action;

impl RebuildPipeline<'_> {
    pub(super) fn id<'a>(&'a self, key: Option<&'a str>) -> BuildId<'a> {
        BuildId {
            commit: self.context.request.commit,
            host: &self.host,
            key,
        }
    }

    /// Refuses a build that failed before and whose pause is not over.
    pub(super) fn refuse_failed(&self) -> Result<(), ErrorKind> {
        let request = self.context.request;
        if request.retry {
            return Ok(());
        }
        let key = self.key();
        let (activates, now) = (activates(request.action), self.context.now());
        match self
            .quarantine
            .waiting(self.id(key.as_deref()), activates, now)
        {
            Some(entry) => Err(ErrorKind::Quarantined(Box::new(entry.clone()))),
            None => Ok(()),
        }
    }

    /// Records a failure that another try of the same build would repeat. Returns the error, with the proof of a lack
    /// of memory if there is one.
    pub(super) fn failed(&mut self, key: Option<&str>, error: ErrorKind) -> ErrorKind {
        let kills = self
            .context
            .machine
            .oom_kills()
            .saturating_sub(self.oom_kills);
        let error = match error {
            ErrorKind::OutOfMemory { tail, .. } => ErrorKind::OutOfMemory { kills, tail },
            // The process that was killed may be a child of one that then failed.
            ErrorKind::Build { tail, .. } if kills > 0 => ErrorKind::OutOfMemory { kills, tail },
            error => error,
        };
        let class = FailureClass::of(&error)
            .filter(|class| activates(self.context.request.action) || !class.activates());
        if let Some(class) = class {
            let mut quarantine = self.quarantine.clone();
            let now = self.context.now();
            quarantine.add(self.id(key), class, &error.to_string(), now);
            if let Err(error) = quarantine.save(self.context.request.state) {
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
    pub(super) fn end_quarantine(&mut self, key: Option<&str>) -> Result<(), ErrorKind> {
        let mut quarantine = self.quarantine.clone();
        let request = self.context.request;
        // A new boot default, where more is wanted, proves nothing about the units that it starts.
        let activated = matches!(request.action, Action::Test | Action::Switch)
            || (activates(request.action) && request.action == request.settings.action);
        quarantine.remove(self.id(key), activated);
        if quarantine != self.quarantine {
            quarantine.save(self.context.request.state)?;
            self.quarantine = quarantine;
        }
        Ok(())
    }
}
