//! Which commits are complete, and in which order they came: refs that git reads too.

#![expect(
    clippy::disallowed_methods,
    reason = "the state directory is ours, 0700, and git reads it by path"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::fs::Durability;
use crate::git::CommitId;
use crate::threads;

use super::{Error, Store, durable};

/// Numbers have a fixed width, so that `git for-each-ref` lists them in order.
const DIGITS: usize = 10;

/// The marks by number; the highest is the newest.
#[derive(Debug, Default)]
pub(super) struct CompleteCommits {
    commits: BTreeMap<u64, CommitId>,
    /// Those that have no file yet.
    unwritten: BTreeSet<u64>,
    /// Files of those that another one has taken the place of.
    stale: BTreeSet<u64>,
}

impl CompleteCommits {
    /// Reads `refs/hyper-sync`; what is not a mark there, a torn file for example, is removed.
    pub(super) fn load(root: &Path) -> Result<Self, Error> {
        let directory = directory(root);
        let listed =
            fs::read_dir(&directory).map_err(|source| Error::io("list", &directory, source))?;
        let mut commits = BTreeMap::new();
        for entry in listed {
            let entry = entry.map_err(|source| Error::io("list", &directory, source))?;
            let name = entry.file_name();
            let name = name.to_str().filter(|name| name.len() == DIGITS);
            let number = name.and_then(|name| name.parse().ok());
            let commit = match fs::read_to_string(entry.path()) {
                Err(source) if super::is_refused(&source) => {
                    return Err(Error::io("read", &entry.path(), source));
                }
                text => text.ok().and_then(|text| text.trim_end().parse().ok()),
            };
            match (number, commit) {
                (Some(number), Some(commit)) => {
                    commits.insert(number, commit);
                }
                _ => super::remove(&entry.path())?,
            }
        }
        Ok(Self {
            commits,
            ..Self::default()
        })
    }

    /// Oldest first.
    pub(super) fn commits(&self) -> impl DoubleEndedIterator<Item = CommitId> + '_ {
        self.commits.values().copied()
    }

    fn newest(&self) -> Option<CommitId> {
        self.commits.values().next_back().copied()
    }

    fn contains(&self, commit: CommitId) -> bool {
        self.commits.values().any(|known| *known == commit)
    }
}

impl Store {
    /// Notes that every object of the commit's tree is in the store, except blobs that are left out on purpose
    /// where `left_out` says so. The commit becomes the newest. [`Store::make_durable`] writes the mark.
    pub fn mark_complete(&self, commit: CommitId, left_out: bool) -> Result<(), Error> {
        if left_out {
            self.set_promisor()?;
        }
        let mut marks = threads::write(&self.marks);
        if marks.newest() == Some(commit) {
            return Ok(());
        }
        let number = marks.commits.keys().next_back().map_or(1, |last| last + 1);
        for stale in numbers(&marks, |known| known == commit) {
            marks.commits.remove(&stale);
            if !marks.unwritten.remove(&stale) {
                marks.stale.insert(stale);
            }
        }
        marks.commits.insert(number, commit);
        marks.unwritten.insert(number);
        Ok(())
    }

    /// Writes what [`Store::mark_complete`] noted, and returns the files, which are not durable yet.
    pub(super) fn write_marks(&self) -> Result<Vec<PathBuf>, Error> {
        let mut marks = threads::write(&self.marks);
        if marks.unwritten.is_empty() {
            return Ok(Vec::new());
        }
        // `shallow` before the ref: git must never follow a parent that is not here.
        self.write_shallow(&marks)?;
        let mut written = Vec::new();
        for number in &marks.unwritten {
            let path = mark(&self.root, *number);
            let commit = &marks.commits[number];
            durable::write(
                &path,
                format!("{commit}\n").as_bytes(),
                Durability::Unflushed,
            )?;
            written.push(path);
        }
        for number in &marks.stale {
            super::remove(&mark(&self.root, *number))?;
        }
        marks.unwritten.clear();
        marks.stale.clear();
        Ok(written)
    }

    /// What they mark may not be here.
    pub(super) fn forget_unwritten_marks(&self) {
        let mut marks = threads::write(&self.marks);
        for number in std::mem::take(&mut marks.unwritten) {
            marks.commits.remove(&number);
        }
    }

    /// Whether the commit was marked, and no damage was seen since: only then may it be sent to a server as `have`.
    #[must_use]
    pub fn is_complete(&self, commit: CommitId) -> bool {
        let marks = threads::read(&self.marks);
        marks.contains(commit) && !self.is_damaged()
    }

    /// The marked commits, newest last.
    #[must_use]
    pub fn commits(&self) -> Vec<CommitId> {
        let marks = threads::read(&self.marks);
        marks.commits().collect()
    }

    /// Forgets every mark but these.
    pub(super) fn keep_marks(&self, keep: &[CommitId]) -> Result<(), Error> {
        let mut marks = threads::write(&self.marks);
        for number in numbers(&marks, |known| !keep.contains(&known)) {
            super::remove(&mark(&self.root, number))?;
            marks.commits.remove(&number);
        }
        self.write_shallow(&marks)?;
        durable::sync(&directory(&self.root))
    }

    /// Makes `shallow` and `HEAD` (the newest commit, so that `git log` needs no name) what the marks say. Every open
    /// does, so neither has to survive a power cut.
    pub(super) fn write_entry_points(&self) -> Result<(), Error> {
        let marks = threads::read(&self.marks);
        self.write_shallow(&marks)
    }

    /// A commit is shallow unless all its parents are marked: a parent may be here
    /// without its trees, and git would trip over them.
    fn write_shallow(&self, marks: &CompleteCommits) -> Result<(), Error> {
        let mut shallow: Vec<CommitId> = marks
            .commits()
            .filter(|commit| {
                let parsed = self.commit(*commit).ok().flatten();
                parsed.is_none_or(|parsed| !parsed.parents.iter().all(|id| marks.contains(*id)))
            })
            .collect();
        shallow.sort();
        shallow.dedup();
        let lines = |mut text: String, commit: &CommitId| {
            text.push_str(&commit.to_string());
            text.push('\n');
            text
        };
        let text = shallow.iter().fold(String::new(), lines);
        let head = marks.newest().map_or_else(
            // A branch that does not exist: an empty repository.
            || "ref: refs/heads/none\n".to_owned(),
            |commit| format!("{commit}\n"),
        );
        for (name, text) in [("shallow", text), ("HEAD", head)] {
            let path = self.root.join(name);
            if fs::read_to_string(&path).ok().unwrap_or_default() == text {
                continue;
            }
            if text.is_empty() {
                super::remove(&path)?;
            } else {
                durable::write(&path, text.as_bytes(), Durability::Unflushed)?;
            }
        }
        Ok(())
    }
}

fn numbers(marks: &CompleteCommits, mut which: impl FnMut(CommitId) -> bool) -> Vec<u64> {
    let matching = marks.commits.iter().filter(|(_, commit)| which(**commit));
    matching.map(|(number, _)| *number).collect()
}

fn directory(root: &Path) -> PathBuf {
    root.join("refs/hyper-sync")
}

fn mark(root: &Path, number: u64) -> PathBuf {
    directory(root).join(format!("{number:0DIGITS$}"))
}
