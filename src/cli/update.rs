//! The root command: validate, sync, rebuild.

use clap::Args;
use serde::Serialize;

use super::choice::Stay;
use super::rebuild::{Activation, RebuildPolicy};
use super::suspend::{self, Starter};
use super::sync::Remote;
use super::{CliCommand, Run, rebuild, sync, validate};
use crate::Error;
use crate::exit::Exit;
use crate::metrics::Stage;
use crate::report::{OutputFormat, sync as render};
use crate::settings::{Overrides, Settings};
use crate::sync::SyncMode;

/// Options of the update.
#[derive(Args, Default)]
#[command(next_help_heading = "Update options")]
pub(super) struct Arguments {
    /// The sync.
    #[command(flatten)]
    remote: Remote,
    /// Bring the target to the commit, but do not rebuild
    #[arg(long)]
    skip_rebuild: bool,
    /// Leave out what the sandboxed unit cannot see or write; the unit of the rebuild does it
    #[arg(long, hide = true, requires = "skip_rebuild")]
    sandboxed: bool,
    /// The rebuild.
    #[command(flatten)]
    activation: Activation,
}

/// What `--json` prints: one object a stage.
#[derive(Serialize)]
struct Document<'a> {
    validate: Option<validate::Document>,
    sync: render::Document<'a>,
    rebuild: Option<crate::rebuild::Outcome>,
}

impl Arguments {
    /// The command for advice. The sandboxed unit is no command for a person: the update is.
    fn command(&self) -> &'static str {
        if self.skip_rebuild && !self.sandboxed {
            "hyper-sync --skip-rebuild"
        } else {
            "hyper-sync"
        }
    }
}

impl CliCommand for Arguments {
    fn overrides(&self, global: Overrides) -> Overrides {
        self.activation.overrides(self.remote.overrides(global))
    }

    fn may_change(&self) -> bool {
        !self.remote.is_preview()
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let mut options = sync::options(&self.remote, self.command());
        options.retry = !self.sandboxed || self.activation.retry;
        let applies = options.mode == SyncMode::Apply;
        let policy = RebuildPolicy::after_sync(&self.activation, settings)
            .filter(|_| applies && !self.skip_rebuild);
        let rebuilds = policy.is_some();
        let starter = Starter::unit_if(self.sandboxed);
        if applies && suspend::ends_run(starter, settings, run)? {
            return Ok(Exit::Done);
        }
        run.progress.begin(Stage::Sync);
        // Checked now, before anything has changed.
        let state = policy
            .map(|policy| rebuild::preflight(policy, settings, run))
            .transpose()?;
        let checked = if applies {
            Some(validate::before_sync(
                rebuilds,
                self.skip_rebuild,
                self.sandboxed,
                settings,
                run,
            )?)
        } else {
            None
        };
        let stay = if applies {
            Stay::begin(starter, self.remote.length, settings, run)?
        } else {
            Stay::Unchanged
        };
        let outcome = stay.settle(sync::sync(&options, settings, run))?;
        if run.report.format() == OutputFormat::Human {
            let is_rebuilt = rebuilds || settings.rebuild.action.is_none();
            let rebuild_is_left = !is_rebuilt && !self.sandboxed && !outcome.does_nothing();
            render::human(run.report, &outcome, &settings.target, rebuild_is_left);
        }
        sync::refused(&outcome, run)?;
        stay.print(&outcome, settings, run);
        let exit = sync::exit(&self.remote, &outcome);
        if applies && !rebuilds && !self.sandboxed {
            rebuild::refresh_lock(settings, run)?;
        }
        if let Some(checked) = &checked {
            run.report.done(&serde_json::json!({
                "validate": checked,
                "sync": render::Document::new(&outcome, run.report),
            }));
        }
        let wanted = policy.zip(state).filter(|_| exit == Exit::Done);
        let rebuilt = if let Some((policy, state)) = wanted {
            Some(rebuild::after_sync(policy, settings, &state, run)?)
        } else {
            None
        };
        let has_rebuilt = { &rebuilt }
            .as_ref()
            .is_some_and(|rebuilt| rebuilt.status.changes_system());
        let document = Document {
            validate: checked,
            sync: render::Document::new(&outcome, run.report),
            rebuild: rebuilt,
        };
        if has_rebuilt || (applies && outcome.has_changes()) {
            run.has_changed(settings, &document);
        }
        if run.report.format() == OutputFormat::Json {
            run.report.json(&document);
        }
        Ok(exit)
    }
}
