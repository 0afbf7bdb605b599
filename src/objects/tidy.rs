//! Keeping the store small and sound by rewriting: the kept commits into one new pack, then the rest away.
//!
//! Old packs cannot simply be dropped, because the blobs of a commit lie in many packs; and `git gc` would need a
//! git binary. A crash between any two steps leaves both old and new packs, which is harmless.

use std::collections::HashSet;
use std::sync::PoisonError;

use crate::git::id::Kind;
use crate::git::{CommitId, Oid};

use super::pack::Pack;
use super::{Added, Error, Store};

/// More packs than this are rewritten into one. Every lookup asks each pack, and each keeps two files mapped.
const PACKS_MAX: usize = 20;

/// What [`Store::tidy`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tidied {
    /// The store is within its bounds.
    Nothing,
    /// The newest commits were kept, this many.
    Rewritten {
        /// How many.
        commits: usize,
    },
    /// A single commit is larger than the limit: nothing is kept, and the next update will be no delta.
    Emptied,
}

/// How a rewrite ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewrite {
    Done,
    TooLarge,
    Unreadable,
}

/// A commit with everything below it that is here.
struct Closure {
    objects: Vec<(Kind, Oid)>,
    /// Blobs that are nowhere.
    missing: bool,
}

impl Store {
    /// Brings the store back within its bounds: the newest `keep` commits, fewer where these exceed `max_bytes`.
    ///
    /// Meant for the end of a run, after the state is written; an error leaves the store usable as it was.
    pub fn tidy(&self, keep: usize, max_bytes: u64) -> Result<Tidied, Error> {
        if self.is_within(max_bytes) {
            return Ok(Tidied::Nothing);
        }
        self.settle()?;
        let mut commits = self.commits();
        let mut keep = keep.max(1);
        loop {
            commits.drain(..commits.len().saturating_sub(keep));
            match self.rewrite(&commits, max_bytes)? {
                Rewrite::Done => {
                    return Ok(Tidied::Rewritten {
                        commits: commits.len(),
                    });
                }
                Rewrite::TooLarge => {}
                // The next open keeps what can be proven.
                Rewrite::Unreadable => return Ok(Tidied::Nothing),
            }
            if commits.len() <= 1 {
                self.keep_marks(&[])?;
                self.keep_packs(&HashSet::new())?;
                return Ok(Tidied::Emptied);
            }
            keep = commits.len() / 2;
        }
    }

    fn is_within(&self, max_bytes: u64) -> bool {
        let packs = self.packs();
        let bytes: u64 = packs.iter().map(Pack::bytes).sum();
        packs.len() <= PACKS_MAX && bytes <= max_bytes
    }

    /// Rewrites the commits that can be read to their last object. False where there is none.
    pub(super) fn keep_intact(&self) -> Result<bool, Error> {
        let intact: Vec<CommitId> = self
            .commits()
            .into_iter()
            .filter(|commit| {
                let closure = self.closure(*commit);
                closure.is_some_and(|closure| {
                    let readable = |(kind, id): &(Kind, Oid)| self.read(*kind, *id).is_some();
                    !closure.missing && closure.objects.iter().all(readable)
                })
            })
            .collect();
        if intact.is_empty() {
            return Ok(false);
        }
        Ok(self.rewrite(&intact, u64::MAX)? == Rewrite::Done)
    }

    /// Makes one pack of the commits and removes everything else; changes nothing where that cannot be done.
    fn rewrite(&self, commits: &[CommitId], max_bytes: u64) -> Result<Rewrite, Error> {
        let mut writer = self.writer()?;
        let mut left_out = false;
        for commit in commits {
            let Some(closure) = self.closure(*commit) else {
                return Ok(Rewrite::Unreadable);
            };
            left_out |= closure.missing;
            for (kind, id) in closure.objects {
                if writer.contains(id) {
                    continue;
                }
                let Some(content) = self.read(kind, id) else {
                    return Ok(Rewrite::Unreadable);
                };
                if writer.add(kind, id, &content)? != Added::Stored {
                    return Ok(Rewrite::Unreadable);
                }
            }
            if writer.bytes() > max_bytes {
                return Ok(Rewrite::TooLarge);
            }
        }
        let (_, path) = writer.complete()?;
        // Before what it stands for goes.
        self.settle()?;
        if left_out {
            self.set_promisor()?;
        }
        self.keep_marks(commits)?;
        self.keep_packs(&path.into_iter().collect())?;
        Ok(Rewrite::Done)
    }

    /// The commit, its trees and its blobs; `None` where commit or trees are not readable.
    fn closure(&self, commit: CommitId) -> Option<Closure> {
        let parsed = self.commit(commit).ok()??;
        let mut closure = Closure {
            objects: vec![(Kind::Commit, commit.0)],
            missing: false,
        };
        let mut seen = HashSet::from([parsed.tree.0]);
        let mut pending = vec![parsed.tree.0];
        while let Some(tree) = pending.pop() {
            let raw = self.read(Kind::Tree, tree)?;
            closure.objects.push((Kind::Tree, tree));
            for entry in gix_object::TreeRefIter::from_bytes(&raw, gix_hash::Kind::Sha1) {
                let entry = entry.ok()?;
                let id = Oid::from_gix(entry.oid)?;
                if entry.mode.is_commit() || !seen.insert(id) {
                    continue;
                }
                if entry.mode.is_tree() {
                    pending.push(id);
                } else if self.contains(id) {
                    closure.objects.push((Kind::Blob, id));
                } else {
                    closure.missing = true;
                }
            }
        }
        Some(closure)
    }

    /// Removes every pack but these from disk.
    fn keep_packs(&self, keep: &HashSet<std::path::PathBuf>) -> Result<(), Error> {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        for pack in packs.iter().filter(|pack| !keep.contains(pack.path())) {
            pack.unlink()?;
        }
        packs.retain(|pack| keep.contains(pack.path()));
        super::durable::sync_dir(&self.pack_dir())
    }
}
