//! What people and programs read about the last sync.

use super::{Context, Outcome, Session};
use crate::state::{LastSync, Stats, SyncState};

/// Writes what people and programs read about the last sync.
pub(super) fn remember(
    context: &Context<'_>,
    session: &Session,
    outcome: &Outcome,
) -> Result<(), crate::Error> {
    let changed = outcome.plan.operations().len() as u64;
    let published = context.settings.state_file.as_deref();
    let kept = outcome.plan.kept();
    let known = SyncState::load(session.state())?;
    let at_it = known.filter(|known| known.last_sync.commit_sha == outcome.commit.id);
    if let (0, Some(known)) = (changed, at_it) {
        if known.kept != kept {
            let kept = kept.to_vec();
            return Ok(SyncState { kept, ..known }.save(session.state(), published)?);
        }
        if let Some(path) = published {
            known.keep_published(session.state(), path)?;
        }
        return Ok(());
    }
    let last_sync = LastSync {
        commit_sha: outcome.commit.id,
        reference: outcome.reference.clone(),
        timestamp: jiff::Timestamp::now(),
    };
    let stats = Stats {
        checked: outcome.plan.counts().checked,
        changed,
        downloaded: outcome.downloaded,
        errors: outcome
            .applied
            .as_ref()
            .map_or(0, |applied| applied.late.len() as u64),
    };
    let route = outcome.route.to_string();
    let mut summary = SyncState::new(
        last_sync,
        stats,
        outcome.repository.clone(),
        outcome.commit.tree,
        route,
    );
    summary.bytes = outcome.traffic.received;
    summary.requests = outcome.traffic.requests;
    summary.duration_ms = u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX);
    summary.kept = kept.to_vec();
    Ok(summary.save(session.state(), published)?)
}
