//! `hyper-sync reboot`: decides whether the machine reboots into its new system now. A unit runs it after each update, and
//! another one every few minutes while a reboot waits.

use clap::Args;
use jiff::Zoned;

use super::rebuild::{PATIENCE, RebuildPolicy, with_request};
use super::suspend::{self, Starter};
use super::{CliCommand, Run, revert};
use crate::Error;
use crate::exit::Exit;
use crate::lock::RunLock;
use crate::rebuild;
use crate::report::OutputFormat;
use crate::settings::Settings;
use crate::state::StateDir;

/// Reboot into the new system if that is needed, allowed and possible now
///
/// Nothing is done while updates are suspended, and nothing is rebooted twice for one system.
#[derive(Args)]
pub(super) struct Arguments {}

impl CliCommand for Arguments {
    fn may_change(&self) -> bool {
        true
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        if suspend::ends_run(Starter::Unit, settings, run)? {
            return Ok(Exit::Done);
        }
        let state = StateDir::open(&settings.state_dir)?;
        state.refuse_other(&settings.target)?;
        revert::first(settings, &state, run)?;
        let decision = {
            let _lock = RunLock::acquire(&state, PATIENCE, run.interrupt)?;
            let time = Zoned::now().time();
            let policy = RebuildPolicy::of_revert();
            with_request(
                policy,
                settings,
                &state,
                run,
                |request, machine, env, runner| {
                    rebuild::reboot(request, &settings.reboot, time, machine, env, runner)
                },
            )??
        };
        match run.report.format() {
            OutputFormat::Human => run.report.text(format!("{decision}\n")),
            OutputFormat::Json => run.report.json(&decision),
        }
        Ok(Exit::Done)
    }
}
