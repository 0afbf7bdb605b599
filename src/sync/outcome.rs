//! How a sync ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{OpenMode, Session, StateNote, SyncContext, SyncMode};
use crate::apply::{Applied, Recovered};
use crate::git::{Commit, CommitId, RelPath};
use crate::plan::Plan;
use crate::scan::Local;
use crate::signature::Signer;
use crate::source::{Fallback, Notice, RefKind, Route, Staged, Traffic};
use crate::state::{self, FileCounts, SyncPoint, SyncState};

/// How a sync ended.
#[derive(Debug)]
pub struct Outcome {
    /// How far it went.
    pub mode: SyncMode,
    /// Where the target was brought, or would be. The reference is the requested one; of a held commit, the one it had.
    pub point: SyncPoint,
    /// How the name was understood.
    pub kind: RefKind,
    /// The commit the target was at, as far as that is known.
    pub before: Option<CommitId>,
    /// The commit.
    pub commit: Commit,
    /// Whether its tree is proven to be that of its id.
    pub proven: bool,
    /// Who has signed it, where a signature was asked for.
    pub signer: Option<Signer>,
    /// What was done, or would be.
    pub plan: Plan,
    /// What applying reported; `None` where nothing had to be done or was to be done.
    pub applied: Option<Applied>,
    /// What was finished or undone of an earlier run.
    pub recovered: Option<Recovered>,
    /// What the reader should know about the commit.
    pub notices: Vec<Notice>,
    /// What was so in the commit that was applied before, and was reported then.
    pub known_notices: Vec<Notice>,
    /// The route its objects came by.
    pub route: Route,
    /// The routes given up before.
    pub fallbacks: Vec<Fallback>,
    /// How many blobs were downloaded.
    pub downloaded: u64,
    /// What was moved over the network.
    pub traffic: Traffic,
    /// How long it took.
    pub duration: Duration,
    /// Bytes of all managed files together: what a copy of the tree would be, before compression. Not known where
    /// content is not here.
    pub tree_size: Option<u64>,
    /// Managed files with modes that no file of a commit has, which were set back.
    pub modes: Vec<OpenMode>,
    /// What was found and mended in the state directory.
    pub notes: Vec<StateNote>,
    /// The address that was read, if the repository has moved from the one that is set.
    pub read_from: Option<String>,
}

impl Outcome {
    /// Whether the target is, or would be, written to.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.plan.operations().is_empty()
    }
}

/// Parts notices into those that are new and those that were reported of the commit before.
pub(super) fn part(notices: &[Notice], last: Option<&SyncState>) -> (Vec<Notice>, Vec<Notice>) {
    let known = last.map(|last| &last.notices[..]).unwrap_or_default();
    let is_new = |notice: &Notice| !known.contains(&notice.to_string());
    notices.iter().cloned().partition(is_new)
}

/// Bytes of the managed files: what is there and stays, and what is written.
pub(super) fn tree_size(
    local: &BTreeMap<RelPath, Local>,
    plan: &Plan,
    staged: &Staged<'_>,
) -> Option<u64> {
    let written = plan.operations().iter().map(|operation| &operation.path);
    let written: BTreeSet<&RelPath> = written.collect();
    let stays = staged.files().keys();
    let stays = stays
        .filter(|path| !written.contains(path))
        .filter_map(|path| local.get(path)?.stat())
        .map(|stat| Some(stat.size));
    let comes = plan
        .operations()
        .iter()
        .filter_map(|operation| operation.after);
    let comes = comes.map(|file| staged.size(file.id));
    stays.chain(comes).sum()
}

/// Writes what people and programs read about the last sync.
pub(super) fn write_state(
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
