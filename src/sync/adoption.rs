//! A directory that had files before it became a target: what counts as edited in its first sync, and what of the time
//! before is in the way afterwards.

use super::pipeline::SyncPipeline;
use super::{Outcome, StateNote, SyncMode};
use crate::fs::content;
use crate::git::RelPath;
use crate::git_dir;
use crate::nix::OtherHardware;
use crate::rebuild::{Machine, likely_host};
use crate::source::Staged;

mod base;
mod park;

pub use base::FirstBase;
pub use park::parked;

/// Parks the `.git` of the target if that is asked for. Otherwise notes what git and Nix would read of it, and a hardware
/// configuration that the host does not use, before anything is built.
pub(super) fn finish(
    pipeline: &SyncPipeline<'_>,
    staged: &Staged<'_>,
    outcome: &Outcome,
) -> Result<Vec<StateNote>, crate::Error> {
    let is_news = outcome.has_changes() || pipeline.session.index().is_none();
    let mut notes = Vec::new();
    notes.extend(git_note(pipeline, outcome, is_news)?);
    if is_news && rebuilds(pipeline) && outcome.mode != SyncMode::Check {
        notes.extend(other_hardware(pipeline, staged, outcome).map(StateNote::Hardware));
    }
    Ok(notes)
}

/// Whether the target is for NixOS.
fn rebuilds(pipeline: &SyncPipeline<'_>) -> bool {
    pipeline.context.settings.rebuild.action.is_some()
}

fn git_note(
    pipeline: &SyncPipeline<'_>,
    outcome: &Outcome,
    is_news: bool,
) -> Result<Option<StateNote>, crate::Error> {
    let (target, context) = (pipeline.session.target(), pipeline.context);
    if pipeline.options.adopt {
        if outcome.mode != SyncMode::Apply {
            return Ok(None);
        }
        let parked = park::park(target, pipeline.session.state())?;
        return Ok(parked.map(|to| StateNote::GitParked {
            from: target.path().join(git_dir::NAME),
            to,
        }));
    }
    // It is in the way of Nix alone.
    let is_left = is_news
        && rebuilds(pipeline)
        && git_dir::is_left(target, context.env, outcome.point.commit);
    Ok(is_left.then(|| StateNote::GitLeft {
        target: target.path().to_owned(),
    }))
}

/// Compares the hardware configurations as they are after the plan, whether or not that is carried out.
fn other_hardware(
    pipeline: &SyncPipeline<'_>,
    staged: &Staged<'_>,
    outcome: &Outcome,
) -> Option<OtherHardware> {
    let settings = pipeline.context.settings;
    let operations = outcome.plan.operations();
    let planned = |path: &RelPath| {
        let at = operations.binary_search_by(|known| known.path.cmp(path));
        at.ok().map(|at| operations[at].after)
    };
    let read = |path: &RelPath| {
        if let Some(after) = planned(path) {
            return staged.blob(after?.id).ok();
        }
        let (file, _) = pipeline.session.target().open_file(path).ok()??;
        content::read(&file, settings.limits.blob).ok()
    };
    let flake = RelPath::new(b"flake.nix").ok().and_then(|path| read(&path));
    let host = settings.rebuild.host.as_deref();
    let host = likely_host(host, flake.as_deref(), &Machine::here());
    OtherHardware::find(&host, &read)
}
