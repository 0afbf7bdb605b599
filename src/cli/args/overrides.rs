//! The settings that a command line gives.

use super::{Activation, Cli, Command, Global, Remote};
use crate::settings::Overrides;

impl Global {
    fn overrides(&self, overrides: Overrides) -> Overrides {
        overrides
            .with("repo", "--repo", self.repo.as_ref())
            .with("target", "--target", self.target.as_ref())
            .with("state_dir", "--state-dir", self.state_dir.as_ref())
            .with("state_file", "--state-file", self.state_file.as_ref())
            .with("token_file", "--token-file", self.token_file.as_ref())
            .with("api_url", "--api-url", self.api_url.as_ref())
    }
}

impl Remote {
    fn overrides(&self, overrides: Overrides) -> Overrides {
        overrides
            .with("ref", "--ref", self.reference.as_ref())
            .with("transport", "--transport", self.transport.as_ref())
            .with("local_edits", "--local-edits", self.local_edits.as_ref())
            .with(
                "trust.rewind",
                "--allow-rewind",
                self.allow_rewind.then_some("true"),
            )
    }
}

impl Activation {
    fn overrides(&self, overrides: Overrides) -> Overrides {
        overrides.with(
            "rebuild.action",
            "--rebuild-action",
            self.rebuild_action.as_ref(),
        )
    }
}

impl Cli {
    /// The settings the command line gives.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        let overrides = self.global.overrides(Overrides::none());
        match &self.command {
            None => {
                let overrides = self.update.remote.overrides(overrides);
                self.update.activation.overrides(overrides)
            }
            Some(Command::Sync(sync)) => sync.remote.overrides(overrides),
            Some(Command::Rollback(rollback)) => overrides.with(
                "local_edits",
                "--local-edits",
                rollback.local_edits.as_ref(),
            ),
            Some(Command::Rebuild(rebuild)) => rebuild.activation.overrides(overrides),
            Some(
                Command::Validate(_)
                | Command::Status
                | Command::Overdue
                | Command::Diff(_)
                | Command::History
                | Command::Restore(_)
                | Command::Config(_)
                | Command::Completions { .. }
                | Command::Man { .. },
            ) => overrides,
        }
    }
}
