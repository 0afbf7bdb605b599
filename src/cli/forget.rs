//! `hyper-sync forget`: removes what is known of a target, never the target.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::args::Global;
use super::targets::known;
use crate::apply::{self, undo};
use crate::exit::Exit;
use crate::lock::RunLock;
use crate::rebuild::Trial;
use crate::report::{OutputFormat, Report};
use crate::settings::{Env, default_state_dir};
use crate::source::Interrupt;
use crate::state::StateDir;
use crate::sync;
use crate::text;
use crate::{Error, SyncError};

/// Remove what is known of a target: downloaded objects, history, replaced edits
///
/// The target itself stays as it is. It can be synced again, as if for the first time: then files that differ from the
/// commit count as edited. Refused while a run is active, while a system is on trial, before an interrupted update is
/// finished, and where the state has the only copies of local edits.
#[derive(Args)]
pub(super) struct Arguments {
    /// The target, as `hyper-sync targets` lists it
    #[arg(value_name = "TARGET", value_hint = ValueHint::DirPath)]
    forgotten: PathBuf,
    /// Remove also the only copies of local edits that updates have replaced, and a `.git` that was moved there
    #[arg(long)]
    discard_edits: bool,
}

impl Arguments {
    pub(super) fn run(
        &self,
        global: &Global,
        env: &Env,
        interrupt: &Interrupt,
        report: &mut Report,
    ) -> Result<Exit, Error> {
        let path = env
            .current_dir()
            .map_or_else(|| self.forgotten.clone(), |here| here.join(&self.forgotten));
        // Without redundant parts such as a slash at the end.
        let target: PathBuf = path.components().collect();
        let unknown = || SyncError::UnknownTarget {
            target: target.clone(),
        };
        let mut known = known(global, env)?.known.into_iter();
        let known = known.find(|known| known.record.target == target);
        // A preview, or a first sync that was refused, leaves a state that no target is recorded in yet.
        let state_dir = known
            .map(|known| known.state_dir)
            .or_else(|| default_state_dir(&target, env))
            .ok_or_else(unknown)?;
        let state = StateDir::find(&state_dir, &target)?.ok_or_else(unknown)?;
        let _lock = RunLock::acquire(&state, Duration::ZERO, interrupt)?;
        self.check(&state, target.clone())?;
        state.forget()?;
        match report.format() {
            OutputFormat::Json => report.json(&serde_json::json!({
                "forgotten": target,
                "state_dir": state_dir,
            })),
            OutputFormat::Human => report.text(format!(
                "`{}` is forgotten; its files stay as they are\n",
                text::path(&target)
            )),
        }
        Ok(Exit::Done)
    }

    /// Refuses to remove what is still needed.
    fn check(&self, state: &StateDir, target: PathBuf) -> Result<(), Error> {
        if let Some(trial) = Trial::load(state)? {
            return Err(SyncError::OnTrial {
                commit: trial.commit,
                until: trial.until,
            }
            .into());
        }
        if apply::is_active(state)? {
            return Err(apply::Error::RecoveryFirst.into());
        }
        if self.discard_edits {
            return Ok(());
        }
        let replaced = undo::with_edits(state)?.into_iter();
        let replaced = replaced.map(|id| format!("edits of update {id}"));
        let late = apply::late_edits(state)?.into_iter();
        let places = late.chain(sync::parked(state)?);
        let places = places.map(|path| format!("`{}`", text::path(path)));
        let kept: Vec<String> = replaced.chain(places).collect();
        if kept.is_empty() {
            return Ok(());
        }
        Err(SyncError::EditsKept { target, kept }.into())
    }
}
