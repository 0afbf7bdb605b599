//! The outcome of a sync, and the state that is written from it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{OpenMode, Passage, Session, StateNote, SyncContext, SyncMode};
use crate::apply::{Applied, Recovered};
use crate::git::{BlobId, Commit, CommitId};
use crate::lookup::AscendingLookup;
use crate::plan::{self, Plan};
use crate::scan::{Local, Locals};
use crate::signature::Signer;
use crate::source::{Fallback, Notice, RefKind, Route, Staged, Traffic};
use crate::state::{self, FileCounts, SyncPoint, SyncState};

/// The outcome of a sync.
#[derive(Debug)]
pub struct Outcome {
    /// How far it went.
    pub mode: SyncMode,
    /// The sync point of the target afterwards. If the commit is held, its reference is that of the index.
    pub point: SyncPoint,
    /// The kind of the reference.
    pub kind: RefKind,
    /// The commit of the target before, if it is known.
    pub before: Option<CommitId>,
    /// The commit.
    pub commit: Commit,
    /// The commits between the two; `None` if it is the same one, if there was none before, and in a rollback if they are not
    /// all known.
    pub passage: Option<Passage>,
    /// Whether its tree is proven to be that of its id.
    pub proven: bool,
    /// The signer, if a signature is required.
    pub signer: Option<Signer>,
    /// The plan, whether or not it was applied.
    pub plan: Plan,
    /// Why a sync would stop, in a preview: the conflicts of the plan.
    pub refused: Option<plan::Error>,
    /// The contents of merged edits, which no commit has.
    pub merged: BTreeMap<BlobId, Vec<u8>>,
    /// The result of applying; `None` unless the mode is `Apply`.
    pub applied: Option<Applied>,
    /// How many files of the commit `exclude` leaves out.
    pub excluded: u64,
    /// What recovery finished or undid of an earlier run.
    pub recovered: Option<Recovered>,
    /// Notices of the commit that are new.
    pub notices: Vec<Notice>,
    /// Notices that were already reported for the commit before.
    pub known_notices: Vec<Notice>,
    /// The route that its objects were obtained by.
    pub route: Route,
    /// The routes that failed before.
    pub fallbacks: Vec<Fallback>,
    /// How many blobs were downloaded.
    pub downloaded: u64,
    /// The network traffic.
    pub traffic: Traffic,
    /// How long it took.
    pub duration: Duration,
    /// The total size of all managed files, uncompressed; `None` if the size of a blob is not known.
    pub tree_size: Option<u64>,
    /// Managed files whose modes were reset, because no file of a commit has them.
    pub modes: Vec<OpenMode>,
    /// Notes about the state directory and the reference.
    pub notes: Vec<StateNote>,
    /// The address that was read, if the repository has moved from the configured one.
    pub read_from: Option<String>,
}

impl Outcome {
    /// Whether the plan has operations.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.plan.operations().is_empty()
    }

    /// Whether the target was at the commit already, and nothing is or would be done.
    #[must_use]
    pub fn does_nothing(&self) -> bool {
        self.before == Some(self.commit.id) && !self.has_changes() && self.refused.is_none()
    }

    /// Whether the commit of the reference is held, so that the target stays where it is.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let mut notes = self.notes.iter();
        notes.any(|note| matches!(note, StateNote::Held(_)))
    }
}

/// Splits notices into new ones and those that were already reported for the commit before.
pub(super) fn part(notices: &[Notice], last: Option<&SyncState>) -> (Vec<Notice>, Vec<Notice>) {
    let known = last.map(|last| &last.notices[..]).unwrap_or_default();
    let is_new = |notice: &Notice| !known.contains(&notice.to_string());
    notices.iter().cloned().partition(is_new)
}

/// The total size of the managed files: those that stay, and those that are written.
pub(super) fn tree_size(
    local: &Locals,
    plan: &Plan,
    merged: &BTreeMap<BlobId, Vec<u8>>,
    staged: &Staged<'_>,
) -> Option<u64> {
    let size = |local: &Local| local.stat().map_or(0, |stat| stat.size);
    let files = staged.files();
    let mut total: u64 = if local.len() == files.len() {
        // As a rule: nothing else was inspected.
        local.values().map(size).sum()
    } else {
        let mut local = AscendingLookup::new(local);
        let managed = files.keys().filter_map(|path| local.get(path));
        managed.map(size).sum()
    };
    for operation in plan.operations() {
        let Some(after) = operation.after else {
            continue;
        };
        if files.contains_key(&operation.path) {
            total -= size(&operation.before);
        }
        total += match merged.get(&after.id) {
            Some(content) => content.len() as u64,
            None => staged.size(after.id)?,
        };
    }
    Some(total)
}

/// Writes the summary of the last sync.
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

/// The notices that are reported once, as long as they apply. How the commit was obtained is reported each time.
fn notices(outcome: &Outcome) -> Vec<String> {
    let all = outcome.notices.iter().chain(&outcome.known_notices);
    let of_tree = all.filter(|notice| **notice != Notice::CommitFromForge);
    let mut notices: Vec<String> = of_tree.map(ToString::to_string).collect();
    notices.sort_unstable();
    notices
}
