//! `hyper-sync confirm`: judges the last boot. A unit runs it after each boot; the next run of another command does the
//! same if that one has not.

use clap::Args;

use super::suspend::{self, Starter};
use super::{CliCommand, Run, metrics, revert};
use crate::Error;
use crate::exit::Exit;
use crate::rebuild::Reboot;
use crate::settings::Settings;
use crate::state::StateDir;

/// Check the system that was booted, if it is on trial
///
/// One that passes the health checks stays the boot default. If one fails, the former system is the boot default again,
/// and the machine is rebooted into it.
#[derive(Args)]
pub(super) struct Arguments {}

impl CliCommand for Arguments {
    /// Writes the metrics itself, if it changes anything: a switch that starts its unit would wait for their lock.
    fn may_change(&self) -> bool {
        false
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        if suspend::ends_run(Starter::Unit, settings, run)? {
            return Ok(Exit::Done);
        }
        let state = StateDir::open(&settings.state_dir)?;
        state.refuse_other(&settings.target)?;
        if Reboot::load(&state)?.is_none() {
            return Ok(Exit::Done);
        }
        let judged = revert::judge_boot(settings, &state, run);
        let ended = judged.map(|()| Exit::Done);
        metrics::write(&ended, settings, run);
        ended
    }
}
