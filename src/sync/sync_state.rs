//! What people and programs read about the last sync.

use super::{Outcome, Session, SyncContext};
use crate::source::Notice;
use crate::state::{self, FileCounts, SyncState};

/// Writes what people and programs read about the last sync.
pub(super) fn write(
    context: &SyncContext<'_>,
    session: &Session,
    outcome: &Outcome,
) -> Result<(), crate::Error> {
    let changed = outcome.plan.operations().len() as u64;
    let published = context.settings.state_file.as_deref();
    let kept = outcome.plan.kept();
    let notices = notices(outcome);
    let known = SyncState::load(session.state())?;
    let at_it = known.filter(|known| known.last_sync.commit_sha == outcome.commit.id);
    if let (0, Some(known)) = (changed, at_it) {
        let now = SyncState {
            kept: kept.to_vec(),
            notices,
            repository: outcome.point.repository.clone().unwrap_or_default(),
            read_from: outcome.read_from.clone(),
            ..known.clone()
        };
        if now != known {
            return Ok(now.save(session.state(), published)?);
        }
        if let Some(path) = published {
            known.keep_published(session.state(), path)?;
        }
        return Ok(());
    }
    let stats = FileCounts {
        checked: outcome.plan.counts().checked,
        changed,
        downloaded: outcome.downloaded,
        errors: outcome
            .applied
            .as_ref()
            .map_or(0, |applied| applied.late.len() as u64),
    };
    let route = outcome.route.to_string();
    let mut summary = SyncState::new(outcome.point.clone(), state::now(), stats, route);
    summary.bytes = outcome.traffic.received;
    summary.requests = outcome.traffic.requests;
    summary.duration_ms = u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX);
    summary.read_from.clone_from(&outcome.read_from);
    summary.kept = kept.to_vec();
    summary.notices = notices;
    Ok(summary.save(session.state(), published)?)
}

/// What is reported of a commit once, and not again while it holds. How the commit came is reported each time.
fn notices(outcome: &Outcome) -> Vec<String> {
    let all = outcome.notices.iter().chain(&outcome.known_notices);
    let of_tree = all.filter(|notice| **notice != Notice::CommitFromForge);
    let mut notices: Vec<String> = of_tree.map(ToString::to_string).collect();
    notices.sort_unstable();
    notices
}
