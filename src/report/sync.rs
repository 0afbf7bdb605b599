//! Renders a sync as text, and by [`Document`] as JSON.

use std::borrow::Cow;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::commit::CommitDocument;
use super::{Report, Verbosity};
use crate::apply::{Applied, Fate};
use crate::git::{CommitId, RelPath, TreeId};
use crate::plan::{InTheWay, Kept, Operation, PutBack, SkipReason};
use crate::signature::Signer;
use crate::source::{Notice, Route, Traffic};
use crate::sync::{OpenMode, Outcome, Passage, StandIn, StateNote, SyncMode};
use crate::text::{self, shell_word, twins};

mod summary;

use summary::{Change, Summary};

/// Prints how a sync of this target went: what needs attention on stderr, the result on stdout.
///
/// `rebuild_is_left`: nothing rebuilds the new tree by itself.
pub fn human(report: &mut Report, outcome: &Outcome, target: &Path, rebuild_is_left: bool) {
    for note in &outcome.notes {
        match note {
            StateNote::WorkTree { .. } | StateNote::GitParked { .. } => report.note(&about(note)),
            _ => report.warning(&about(note)),
        }
    }
    if let Some(recovered) = &outcome.recovered {
        report.note(&recovered.to_string());
    }
    for fallback in &outcome.fallbacks {
        report.detail(&format!(
            "{} was given up: {}",
            fallback.from, fallback.cause
        ));
    }
    let known = match report.verbosity() {
        Verbosity::Verbose => &outcome.known_notices[..],
        _ => &[],
    };
    let (notices, more) = listed(report, outcome.notices.iter().chain(known));
    for notice in notices {
        report.note(&notice.to_string());
    }
    if let Some(more) = more {
        report.note(&format!("{more} of this kind; `--verbose` names them"));
    }
    edits(report, outcome);
    let summary = Summary::new(outcome, target, rebuild_is_left, report);
    report.text(summary.text());
}

/// What is named, and how many are not; with `--verbose`, everything is.
fn listed<T>(report: &Report, items: impl Iterator<Item = T>) -> (Vec<T>, Option<String>) {
    let listed = match report.verbosity() {
        Verbosity::Verbose => usize::MAX,
        _ => text::LISTED,
    };
    text::first(items, listed)
}

fn edits(report: &mut Report, outcome: &Outcome) {
    let done = outcome.mode == SyncMode::Apply;
    merged(report, outcome);
    put_back(report, outcome);
    let edited = outcome.plan.operations().iter();
    let is_replaced = |known: &&Operation| {
        let put_back = outcome.plan.puts_back(&known.path);
        known.edited && put_back.is_none() && !outcome.plan.merges(&known.path)
    };
    let (replaced, more) = listed(report, edited.filter(is_replaced));
    for operation in replaced {
        let path = &operation.path;
        match outcome.applied.as_ref().and_then(|applied| applied.id) {
            Some(id) if done && outcome.before.is_none() => report.warning(&format!(
                "`{path}` was here before and was replaced; it is kept as transaction {id}, `hyper-sync restore {}` puts it back",
                word(path)
            )),
            Some(id) if done => report.warning(&format!(
                "the local edit of `{path}` was replaced; it is kept as transaction {id}, `hyper-sync restore {}` puts it back",
                word(path)
            )),
            _ if outcome.before.is_none() => report.warning(&format!("`{path}` is here already; it would be replaced, and kept aside")),
            _ => report.warning(&format!("the local edit of `{path}` would be replaced, and kept aside")),
        }
    }
    if let Some(more) = more {
        report.warning(&if done {
            format!("{more} local edits were; `hyper-sync history --verbose` names them, `hyper-sync restore .` puts all back, and each by its path")
        } else {
            format!("{more} local edits would be; `--verbose` names them")
        });
    }
    // Where nothing was done, the summary counts them.
    let is_counted = outcome.does_nothing() && report.verbosity() < Verbosity::Verbose;
    let named = outcome.plan.kept().iter().filter(|_| !is_counted);
    let (kept, more) = listed(report, named);
    for kept in kept {
        let path = &kept.path;
        report.note(&format!("`{path}` stays as it is: {}", because(kept)));
    }
    if let Some(more) = more {
        report.note(&format!("{more} stay as they are; `--verbose` names them"));
    }
    for InTheWay { path, .. } in outcome.plan.in_the_way() {
        report.warning(&format!(
            "the local edit of `{path}` is not put back, for its place is taken; `hyper-sync restore {}` says where it is kept",
            word(path)
        ));
    }
    if let Some(applied) = &outcome.applied {
        late(report, applied);
    }
    modes(report, outcome);
}

/// Tells which local edits were merged with the commit's changes.
fn merged(report: &mut Report, outcome: &Outcome) {
    let operations = outcome.plan.operations().iter();
    let is_merged = |known: &&Operation| outcome.plan.merges(&known.path);
    let (merged, more) = listed(report, operations.filter(is_merged));
    for Operation { path, .. } in merged {
        let word = word(path);
        report.note(&match outcome.mode {
            SyncMode::Apply => format!(
                "the local edit of `{path}` was merged with the commit's change; `hyper-sync diff {word}` shows the edit, and `hyper-sync restore {word}` puts it back as it was before"
            ),
            SyncMode::DryRun => {
                format!("the local edit of `{path}` would be merged with the commit's change")
            }
            SyncMode::Check => {
                format!("the local edit of `{path}` would be merged with the commit's change, if they are not of the same lines")
            }
        });
    }
    if let Some(more) = more {
        report.note(&format!("{more} local edits, too; `--verbose` names them"));
    }
}

/// Tells which local edits a rollback puts back, and what becomes of what is in their place.
fn put_back(report: &mut Report, outcome: &Outcome) {
    let operations = outcome.plan.operations().iter();
    let put_back =
        operations.filter_map(|known| Some((&known.path, outcome.plan.puts_back(&known.path)?)));
    let (named, more) = listed(report, put_back);
    let id = outcome.applied.as_ref().and_then(|applied| applied.id);
    for (path, over) in named {
        let kept = match id {
            Some(id) => format!(
                "is kept as transaction {id}, and `hyper-sync restore {}` puts that back",
                word(path)
            ),
            None => "would be kept aside".to_owned(),
        };
        let (is, was) = match id {
            Some(_) => ("is", "was"),
            None => ("would be", "would be"),
        };
        match over {
            PutBack::OverNothing => report.note(&format!(
                "the local edit of `{path}` {is} back, which an undone update had replaced"
            )),
            PutBack::OverItsMerge => report.note(&format!(
                "the local edit of `{path}` {is} as it was before the undone update; what the update had made of it {kept}"
            )),
            PutBack::OverAnEdit => report.warning(&format!(
                "the local edit of `{path}` {was} replaced by the one from before the undone update; it {kept}"
            )),
        }
    }
    if let Some(more) = more {
        report.note(&format!("{more} local edits, too; `--verbose` names them"));
    }
}

/// Tells of files that others could write, or that would run as their owner.
fn modes(report: &mut Report, outcome: &Outcome) {
    let (modes, more) = listed(report, outcome.modes.iter());
    for OpenMode {
        path,
        before,
        after,
        error,
    } in modes
    {
        report.warning(&match error {
            Some(error) => {
                format!("the mode of `{path}` is {before:04o} and could not be set: {error}")
            }
            None if outcome.mode == SyncMode::Apply => {
                format!("the mode of `{path}` was {before:04o} and is {after:04o} again")
            }
            None => format!("the mode of `{path}` is {before:04o} and would be {after:04o} again"),
        });
    }
    if let Some(more) = more {
        report.warning(&format!("{more} files; `--verbose` names them"));
    }
}

/// Tells what became of edits that came while the target was written.
pub fn late(report: &mut Report, applied: &Applied) {
    for late in &applied.late {
        let path = &late.path;
        report.warning(&match &late.fate {
            Fate::KeptAside(kept) => format!(
                "`{path}` was edited during the run; the edit is kept in `{}`",
                text::path(kept)
            ),
            Fate::InPlace => format!(
                "`{path}` was edited during the run; the edit is in place and counts as local"
            ),
            Fate::Blocked => format!(
                "`{path}` could not be written: something else was put above it during the run"
            ),
        });
    }
}

/// A path as one word of a command, and not as an option.
fn word(path: &RelPath) -> Cow<'_, str> {
    match path.as_str() {
        option if option.starts_with('-') => shell_word(&format!("./{option}")).into_owned().into(),
        path => shell_word(path),
    }
}

/// What was found and mended, or should be known.
#[must_use]
pub fn about(note: &StateNote) -> String {
    match note {
        StateNote::IndexSetAside(path) => format!(
            "the index was damaged and is now `{}`; files that differ from the commit count as edited in this run",
            text::path(path)
        ),
        StateNote::RecordSetAside(path) => format!(
            "the record of an interrupted update was damaged and is now `{}`; if it is damaged again, check the disk",
            text::path(path)
        ),
        StateNote::Held(commit) => format!(
            "{} was rolled back from and is held; the next commit ends that, or `hyper-sync sync --resume`",
            commit.short()
        ),
        StateNote::Moved(moved) => {
            let advice = match &moved.repo {
                Some(repo) => format!("`repo = \"{}\"`", text::words(repo)),
                None => "`repo` to its new name".to_owned(),
            };
            format!(
                "the repository has moved, and was read from {}: set {advice}, for its old name may become another one's",
                text::words(&moved.read_from)
            )
        }
        StateNote::BranchAndTag(reference) => {
            let name = text::name(reference);
            format!(
                "`{name}` is a branch and a tag, and the branch was taken; `refs/heads/{name}` and `refs/tags/{name}` say which one is meant"
            )
        }
        StateNote::WorkTree { commit, branch } => {
            let branch = branch
                .as_deref()
                .map(|branch| format!(" (`{}`)", text::name(branch)));
            format!(
                "the target is a git work tree at {}{}: files that are as in that commit are not edited",
                commit.short(),
                branch.unwrap_or_default()
            )
        }
        StateNote::WorkTreeUnread(cause) => format!(
            "the target is a git work tree whose commit is not known, so files that differ from the new commit count as edited: {cause}; `--base` names the commit that they are of"
        ),
        StateNote::GitLeft { target } => {
            let shown = text::path(target);
            format!(
                "`{shown}/.git` is not updated, so git, and with it `nixos-rebuild --flake {shown}`, does not see new files: `hyper-sync sync --adopt` moves it into the state directory; or build by hand with `--flake path:{shown}`"
            )
        }
        StateNote::GitParked { from, to } => {
            let [from, to] = [from, to].map(|path| path.display().to_string());
            let (from, to) = (shell_word(&from), shell_word(&to));
            format!("`.git` was moved into the state directory; `mv {to} {from}` brings it back")
        }
        StateNote::Hardware(other) => format!(
            "{other}: a machine with another one's file systems does not boot; compare them before the rebuild"
        ),
        StateNote::StandIns { kind, files } => {
            let files = match files {
                1 => "1 file that was written is".to_owned(),
                count => format!("{count} files that were written are"),
            };
            match kind {
                StandIn::Lfs => format!(
                    "{files} for git LFS: a pointer in place of the content, which is not downloaded"
                ),
                StandIn::GitCrypt => format!("{files} encrypted by git-crypt, and not decrypted"),
            }
        }
        StateNote::StoreRebuilt => {
            "the object store was damaged and has been mended; what it lost is downloaded again"
                .to_owned()
        }
    }
}

/// Why a path stays as it is, be it an edit or a file that was never ours.
#[must_use]
pub fn because(kept: &Kept) -> String {
    let rule = match kept.reason {
        SkipReason::Protected => "a pattern of `protect` matches",
        SkipReason::Policy => "`local_edits` is \"keep\"",
        SkipReason::KeptBefore => "an earlier sync has kept what is here",
        SkipReason::Untouched => {
            return "it was edited here, and the commit does not change it".to_owned();
        }
        SkipReason::Blocked => {
            return "a local file stands in place of a directory above it".to_owned();
        }
    };
    if kept.withheld {
        format!(
            "the commit's version is NOT here, because {rule}; `hyper-sync diff {}` shows the difference",
            word(&kept.path)
        )
    } else {
        format!("it is not as in the commit, and {rule}")
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gitlink(path) => write!(f, "`{path}` is a submodule and is left out"),
            Self::SymlinkOutside { path, target } => {
                write!(
                    f,
                    "the symlink `{path}` leads out of the tree, to `{target}`"
                )
            }
            Self::CaseCollision(path, other) => {
                let both = twins(path.as_str(), other.as_str());
                write!(f, "{both} are one name on a file system that ignores case")
            }
            Self::CommitFromForge => f.write_str(
                "the commit is not proven: its bytes could not be had, and `trust.forge` trusts the forge for its content",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::git::RelPath;

    #[test]
    fn a_path_is_one_word_of_a_command() {
        let words = ["a/b.nix", "-rf", "a b", "-a b", "it's", "$(x)", "ünï"]
            .map(|path| super::word(&RelPath::new(path.as_bytes()).unwrap()).into_owned());
        assert_eq!(
            words,
            [
                "a/b.nix",
                "./-rf",
                "'a b'",
                "'./-a b'",
                r"'it'\''s'",
                "'$(x)'",
                "ünï"
            ]
        );
    }
}

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
    committed_at: Option<Timestamp>,
    /// Those that came in; `None` if they are not all known.
    commits: Option<Vec<CommitDocument<'a>>>,
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
    /// Reported already for the commit before.
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

/// The commits that came in, newest first; `None` if they are not all known.
fn commits(outcome: &Outcome) -> Option<Vec<CommitDocument<'_>>> {
    match &outcome.passage {
        Some(Passage::Forward(between)) => between
            .is_whole
            .then(|| between.commits.iter().map(CommitDocument::from).collect()),
        Some(Passage::Back(_)) => Some(Vec::new()),
        None => { outcome.before }
            .filter(|before| *before == outcome.commit.id)
            .map(|_| Vec::new()),
    }
}

impl<'a> Document<'a> {
    /// Of a sync or a rollback, printed by this report.
    #[must_use]
    pub fn new(outcome: &'a Outcome, report: &Report) -> Self {
        let operations = outcome.plan.operations().iter();
        let change = |operation: &'a Operation| ChangeDocument {
            path: &operation.path,
            action: Change::of(operation, &outcome.plan).action(),
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
            committed_at: Timestamp::from_second(outcome.commit.time).ok(),
            commits: commits(outcome),
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
            excluded: outcome.excluded,
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
                .map(|notice| report.with_options(&notice).into_owned())
                .collect(),
            known_notices: { outcome.known_notices.iter() }
                .map(ToString::to_string)
                .collect(),
            traffic: outcome.traffic,
            duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
