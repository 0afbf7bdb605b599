//! Renders a sync as JSON.

use serde::Serialize;

use super::{about, verb};
use crate::git::{CommitId, RelPath, TreeId};
use crate::plan::{Kept, Operation};
use crate::signature::Signer;
use crate::source::{Route, Traffic};
use crate::sync::{OpenMode, Outcome, SyncMode};

/// What `--json` prints about a sync.
#[derive(Serialize)]
pub struct Document<'a> {
    mode: SyncMode,
    repository: Option<&'a str>,
    #[serde(rename = "ref")]
    reference: &'a str,
    before: Option<CommitId>,
    commit: CommitId,
    tree: TreeId,
    subject: &'a str,
    committed_at: i64,
    proven: bool,
    signer: Option<&'a Signer>,
    changed: bool,
    operations: Vec<ChangeDocument<'a>>,
    kept: &'a [Kept],
    modes: &'a [OpenMode],
    late_edits: Vec<&'a RelPath>,
    not_put_back: Vec<&'a RelPath>,
    transaction: Option<String>,
    recovered: Option<String>,
    checked: u64,
    adopted: u64,
    excluded: u64,
    downloaded: u64,
    tree_bytes: Option<u64>,
    route: Route,
    fallbacks: Vec<GivenUp<'a>>,
    notices: Vec<String>,
    /// Told already when the commit before was applied.
    known_notices: Vec<String>,
    traffic: Traffic,
    duration_ms: u64,
}

#[derive(Serialize)]
struct ChangeDocument<'a> {
    path: &'a RelPath,
    action: &'static str,
    edited: bool,
}

#[derive(Serialize)]
struct GivenUp<'a> {
    route: Route,
    cause: &'a str,
}

impl<'a> From<&'a Outcome> for Document<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        let operations = outcome.plan.operations().iter();
        let change = |operation: &'a Operation| ChangeDocument {
            path: &operation.path,
            action: verb(operation),
            edited: operation.edited,
        };
        let counts = outcome.plan.counts();
        let applied = outcome.applied.as_ref();
        Self {
            mode: outcome.mode,
            repository: outcome.point.repository.as_deref(),
            reference: &outcome.point.reference,
            before: outcome.before,
            commit: outcome.point.commit,
            tree: outcome.point.tree,
            subject: &outcome.commit.subject,
            committed_at: outcome.commit.time,
            proven: outcome.proven,
            signer: outcome.signer.as_ref(),
            changed: outcome.has_changes(),
            operations: operations.map(change).collect(),
            kept: outcome.plan.kept(),
            modes: &outcome.modes,
            late_edits: applied
                .iter()
                .flat_map(|applied| &applied.late)
                .map(|late| &late.path)
                .collect(),
            not_put_back: { outcome.plan.in_the_way().iter() }
                .map(|known| &known.path)
                .collect(),
            transaction: applied
                .and_then(|applied| applied.id)
                .map(|id| id.to_string()),
            recovered: outcome.recovered.as_ref().map(ToString::to_string),
            checked: counts.checked,
            adopted: counts.adopted,
            excluded: counts.excluded,
            downloaded: outcome.downloaded,
            tree_bytes: outcome.tree_size,
            route: outcome.route,
            fallbacks: outcome
                .fallbacks
                .iter()
                .map(|given_up| GivenUp {
                    route: given_up.from,
                    cause: &given_up.cause,
                })
                .collect(),
            notices: outcome
                .notices
                .iter()
                .map(ToString::to_string)
                .chain(outcome.notes.iter().map(about))
                .collect(),
            known_notices: { outcome.known_notices.iter() }
                .map(ToString::to_string)
                .collect(),
            traffic: outcome.traffic,
            duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
