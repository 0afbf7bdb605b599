//! How it is render to a person: a line for each fact, its name first.

use std::fmt::Write as _;

use super::{Document, Edit};
use crate::git::CommitId;
use crate::plan::Kept;
use crate::rebuild::RebuildStatus;
use crate::report::sync::because;
use crate::text;

/// What is render of a commit whose bytes are not here, or have another tree.
const UNPROVEN: &str = "none: whether the files are those of this commit is not proven; the next sync by git proves or replaces them";

/// All of it.
pub(super) fn render(document: &Document) -> String {
    let mut lines = OutputLines::default();
    lines.add("target", text::path(&document.target));
    lines.commit(document);
    lines.runs(document);
    lines.systems(document);
    lines.waits(document);
    lines.files(document);
    lines.0
}

#[derive(Default)]
struct OutputLines(String);

impl OutputLines {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<10}{value}");
    }

    /// Which commit the target is at, since when.
    fn commit(&mut self, document: &Document) {
        let Some(id) = &document.commit else {
            return match &document.last_sync {
                None => self.add("commit", "none yet: nothing was synced here"),
                Some(last) => self.add(
                    "commit",
                    format!(
                        "unknown: the index is lost, and the next sync makes it anew; the last one brought {} ({} of {})",
                        last.last_sync.commit_sha.short(),
                        last.last_sync.reference,
                        last.repository
                    ),
                ),
            };
        };
        let last = document.last_sync.as_ref();
        match last.filter(|last| last.last_sync.commit_sha == *id) {
            Some(last) => {
                let (name, repository) = (&last.last_sync.reference, &last.repository);
                self.add("commit", format!("{} ({name} of {repository})", id.short()));
                if let Some(read_from) = &last.read_from {
                    let read_from = text::words(read_from);
                    self.add(
                        "read from",
                        format!("{read_from}: the repository has moved"),
                    );
                }
                let files = match last.stats.changed {
                    1 => "1 file".to_owned(),
                    count => format!("{count} files"),
                };
                self.add(
                    "changed",
                    format!("{:.0}, {files}", last.last_sync.timestamp),
                );
            }
            None => self.add("commit", id.short()),
        }
        if document.proven == Some(false) {
            self.add("proof", UNPROVEN);
        }
    }

    /// When it was last run, and whether it runs now.
    fn runs(&mut self, document: &Document) {
        if let Some(time) = &document.last_run {
            self.add("last run", time);
        }
        if let Some(record) = &document.unreached {
            let (since, count, cause) = (record.since, record.count, &record.cause);
            self.add(
                "unreached",
                format!("since {since:.0}, syncs: {count}, the last one: {cause}"),
            );
        }
        if document.active {
            self.add("active", "a run is under way");
        } else if document.unfinished {
            self.add(
                "active",
                "a run was interrupted; the next one finishes it, without the network",
            );
        }
    }

    /// The commits of the built, the running and the booted system.
    fn systems(&mut self, document: &Document) {
        for (name, commit) in [
            ("built", &document.built_commit),
            ("running", &document.running_commit),
            ("booted", &document.booted_commit),
        ] {
            let known = commit.as_ref().map(CommitId::short);
            self.add(name, known.as_deref().unwrap_or("unknown"));
        }
    }

    /// What is still to be done, and what is not to be.
    fn waits(&mut self, document: &Document) {
        if let Some(pending) = &document.pending_rebuild {
            let last = document.last_rebuild.as_ref();
            let failed = last
                .filter(|last| last.status == RebuildStatus::Failed)
                .map(|last| format!("; the last one failed at {:.0}", last.at))
                .unwrap_or_default();
            let (action, since) = (&pending.action, pending.since);
            self.add(
                "rebuild",
                format!("{action} waits since {since:.0}{failed}"),
            );
        }
        for held in &document.held {
            self.add(
                "held",
                format!(
                    "{}: it was rolled back from; the next commit ends that, or `--resume`",
                    held.short()
                ),
            );
        }
    }

    /// Files that are not as in the commit.
    fn files(&mut self, document: &Document) {
        for place in &document.late_edits {
            let place = text::path(place);
            self.add(
                "kept",
                format!("late edits in {place}, until you remove it"),
            );
        }
        let last = document.last_sync.iter();
        for notice in last.flat_map(|last| &last.notices) {
            self.add("notice", notice);
        }
        for Kept { path, reason } in &document.kept {
            self.add("kept", format!("{path}: {}", because(*reason)));
        }
        match document.local_edits.as_deref() {
            None => self.add("edits", "unknown: the target cannot be read"),
            Some([]) => self.add("edits", "none"),
            Some(edits) => {
                self.add("edits", edits.len());
                for Edit { path, edit } in edits {
                    self.add("", format!("{edit:<9}{path}"));
                }
            }
        }
    }
}
