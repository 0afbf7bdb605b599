//! `sync-state.json`: how the last sync went, for people with `jq` and for monitoring.
//!
//! Nothing is decided by it, so it is plain JSON without a seal; one that cannot be read is as good as none. The
//! fields of the tool that came before come first, under their names.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::publish::{is_published, publish, replace, temporary};
use super::{Error, StateDir, SyncPoint};
use crate::fs::Failure;
use crate::git::{CommitId, File, RelPath, TreeId};
use crate::text::json;

const NAME: &str = "sync-state.json";

/// The format's number, in the file.
const VERSION: u32 = 1;

/// More than this is not ours: there is room for half a million files that stay as they are.
const SIZE_MAX: u64 = 64 << 20;

/// How the last sync went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncState {
    /// What the target is at, since when.
    pub last_sync: LastSync,
    /// How many files.
    pub stats: FileCounts,
    /// The format; [`SyncState::new`] sets it.
    pub version: u32,
    /// The repository, without credentials.
    pub repository: String,
    /// The address that was read, if the repository has moved from that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_from: Option<String>,
    /// The commit's tree.
    pub tree_sha: TreeId,
    /// The NAR hash of the snapshot that the rebuild of this commit read; absent until one has ended, and where it read
    /// the live tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nar_hash: Option<String>,
    /// How the objects came, as `source::Route` is written.
    pub route: String,
    /// Bytes received.
    pub bytes: u64,
    /// Requests sent.
    pub requests: u64,
    /// How long the sync took.
    pub duration_ms: u64,
    /// What stayed as it was, against the commit.
    #[serde(default)]
    pub kept: Vec<Kept>,
    /// What a reader should know about the commit: submodules, symlinks that leave the tree, names that are one where
    /// case is ignored.
    #[serde(default)]
    pub notices: Vec<String>,
    /// How the rebuild of this commit ended, as `rebuild::Status` is written; absent until one has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<String>,
}

/// A path that stays as it is, against the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where.
    pub path: RelPath,
    /// Why.
    pub reason: SkipReason,
    /// Whether a commit has changed or deleted it since it was edited: what is here is of an older state, and that change
    /// is not here.
    #[serde(default)]
    pub withheld: bool,
    /// Of what is withheld: the file of a commit that was edited, and with which a later merge compares. Absent where no
    /// commit's file was edited, and where an earlier version wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<File>,
}

impl Kept {
    /// The paths whose change is withheld, each with the file that was edited, where that is known.
    #[must_use]
    pub fn withheld(kept: &[Self]) -> BTreeMap<RelPath, Option<File>> {
        let withheld = kept.iter().filter(|kept| kept.withheld);
        withheld
            .map(|kept| (kept.path.clone(), kept.base))
            .collect()
    }
}

/// Why a path stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// A pattern of `protect` matches.
    Protected,
    /// `local_edits = "keep"`.
    Policy,
    /// `local_edits` is `refuse` or `merge`, and the update does not change the path; or what it changes is in the edit already.
    Untouched,
    /// An earlier sync has kept it against a change of the commit, and this one changes nothing there.
    KeptBefore,
    /// A local file that stays stands at the place of a directory above it.
    Blocked,
}

/// What the target is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSync {
    /// The commit.
    pub commit_sha: CommitId,
    /// The branch, tag or id by which it was requested.
    #[serde(rename = "ref")]
    pub reference: String,
    /// When: RFC 3339, UTC, whole seconds, as the tool before wrote it.
    pub timestamp: jiff::Timestamp,
}

/// How many files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCounts {
    /// Managed files that were compared.
    pub checked: u64,
    /// Files that were written or removed.
    pub changed: u64,
    /// Files that were downloaded.
    pub downloaded: u64,
    /// Files that could not be brought to the commit.
    pub errors: u64,
}

impl SyncState {
    /// A state of this version.
    #[must_use]
    pub fn new(
        point: SyncPoint,
        timestamp: jiff::Timestamp,
        stats: FileCounts,
        route: String,
    ) -> Self {
        Self {
            last_sync: LastSync {
                commit_sha: point.commit,
                reference: point.reference,
                timestamp,
            },
            stats,
            version: VERSION,
            repository: point.repository.unwrap_or_default(),
            read_from: None,
            tree_sha: point.tree,
            nar_hash: None,
            route,
            bytes: 0,
            requests: 0,
            duration_ms: 0,
            kept: Vec::new(),
            notices: Vec::new(),
            rebuild: None,
        }
    }

    /// Reads it; `None` where there is none that can be read.
    pub fn load(state: &StateDir) -> Result<Option<Self>, Error> {
        let directory = state.directory();
        let Some((file, stat)) = directory.open_file(NAME)? else {
            return Ok(None);
        };
        if stat.size > SIZE_MAX {
            return Ok(None);
        }
        let read = serde_json::from_reader(std::io::BufReader::new(file));
        let mut known: Option<Self> = read.ok();
        for kept in known.iter_mut().flat_map(|known| &mut known.kept) {
            // Version 0.1.0 wrote this for both.
            if kept.withheld && kept.reason == SkipReason::Untouched {
                kept.reason = SkipReason::KeptBefore;
            }
        }
        Ok(known)
    }

    /// Writes it into the state directory, and a copy that all can read to `published`, whose directory is made
    /// where it is missing.
    pub fn save(&self, state: &StateDir, published: Option<&Path>) -> Result<(), Error> {
        let text = self.text(state)?;
        replace(state.directory(), NAME, text.as_bytes(), 0o600)?;
        match published {
            Some(path) => publish(path, text.as_bytes(), state.faults()),
            None => Ok(()),
        }
    }

    /// Writes the copy at `published` if it is missing: the path may be new, or on a file system that does not outlive a
    /// boot.
    pub fn keep_published(&self, state: &StateDir, published: &Path) -> Result<(), Error> {
        let text = self.text(state)?;
        if is_published(published, text.as_bytes(), state.faults()) {
            return Ok(());
        }
        publish(published, text.as_bytes(), state.faults())
    }

    /// Records how the rebuild of `commit` ended. Where the file is about another commit, that stays.
    pub fn record_rebuild(
        state: &StateDir,
        published: Option<&Path>,
        commit: CommitId,
        rebuild: String,
        nar_hash: Option<String>,
    ) -> Result<(), Error> {
        let known = Self::load(state)?.filter(|known| known.last_sync.commit_sha == commit);
        let Some(mut known) = known else {
            return Ok(());
        };
        let ended = (Some(rebuild), nar_hash);
        if (&known.rebuild, &known.nar_hash) != (&ended.0, &ended.1) {
            (known.rebuild, known.nar_hash) = ended;
            return known.save(state, published);
        }
        match published {
            Some(path) => known.keep_published(state, path),
            None => Ok(()),
        }
    }

    fn text(&self, state: &StateDir) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::from_io("write", &state.path().join(NAME), error.into()))?;
        Ok(json(&text) + "\n")
    }
}

/// Whether a file of the state directory is one that was not written to its end.
pub(super) fn is_unfinished(name: &str) -> bool {
    name == temporary(NAME)
}
