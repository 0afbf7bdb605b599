//! Keeping the store small: packs are combined, and what no kept commit needs goes.
//!
//! Old packs cannot simply be dropped, because the blobs of a commit lie in many packs; and `git gc` would need a
//! git binary. To write everything anew each time would cost as much as the first download, so the large packs stay as
//! they are, by the rule of [`shares`]. A crash between any two steps leaves both old and new packs, which is harmless.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::PoisonError;

use crate::git::id::ObjectKind;
use crate::git::{CommitId, Oid};

use super::geometric::{self, Share};
use super::pack::Pack;
use super::{Error, Store};

/// More packs than this are combined. Every lookup asks each pack, and each keeps two files mapped.
const PACKS_MAX: usize = 20;
/// So many may stay, or the bound would be met again at once. What halves from one to the next never is so many.
const STAYING_MAX: usize = PACKS_MAX / 2;

/// What [`Store::repack`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepackOutcome {
    /// The store is within its bounds.
    Nothing,
    /// The newest commits were kept.
    Combined {
        /// How many.
        commits: usize,
        /// How many objects were written again for that.
        objects: u64,
    },
    /// A single commit is larger than the limit: nothing is kept, and the next update will be no delta.
    Emptied,
}

/// What is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// What is not in one of the packs that stay.
    SmallPacks,
    Everything,
}

/// How a combination ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Combination {
    Done { objects: u64 },
    TooLarge,
    Unreadable,
}

impl Store {
    /// Brings the store back within its bounds: the newest `keep` commits, fewer where these exceed `max_bytes`.
    ///
    /// Meant for the end of a run, after the state is written; an error leaves the store usable as it was.
    pub fn repack(&self, keep: usize, max_bytes: u64) -> Result<RepackOutcome, Error> {
        let (packs, bytes) = self.extent();
        let mut scope = if bytes > max_bytes {
            Scope::Everything
        } else if packs > PACKS_MAX {
            Scope::SmallPacks
        } else {
            return Ok(RepackOutcome::Nothing);
        };
        self.make_durable()?;
        let mut commits = self.commits();
        let mut keep = keep.max(1);
        loop {
            commits.drain(..commits.len().saturating_sub(keep));
            match (self.combine(&commits, scope, max_bytes)?, scope) {
                (Combination::Done { objects }, _) => {
                    let commits = commits.len();
                    return Ok(RepackOutcome::Combined { commits, objects });
                }
                // The next open keeps what can be proven.
                (Combination::Unreadable, _) => return Ok(RepackOutcome::Nothing),
                (Combination::TooLarge, Scope::SmallPacks) => {
                    scope = Scope::Everything;
                    continue;
                }
                (Combination::TooLarge, Scope::Everything) => {}
            }
            if commits.len() <= 1 {
                self.keep_marks(&[])?;
                self.keep_packs(&HashSet::new())?;
                return Ok(RepackOutcome::Emptied);
            }
            keep = commits.len() / 2;
        }
    }

    /// Packs, and their bytes.
    fn extent(&self) -> (usize, u64) {
        let packs = self.packs();
        (packs.len(), packs.iter().map(Pack::bytes).sum())
    }

    /// Writes the commits that can be read to their last object anew. False where there is none.
    pub(super) fn keep_intact(&self) -> Result<bool, Error> {
        let mut intact = self.commits();
        intact.retain(|commit| {
            let closure = self.closure(&[*commit]);
            closure.is_some_and(|closure| closure.iter().all(|id| self.object(*id).is_some()))
        });
        if intact.is_empty() {
            return Ok(false);
        }
        let combined = self.combine(&intact, Scope::Everything, u64::MAX)?;
        Ok(matches!(combined, Combination::Done { .. }))
    }

    /// Makes one pack of what the commits need and the packs that stay do not have, and removes all other packs;
    /// changes nothing where that cannot be done.
    fn combine(
        &self,
        commits: &[CommitId],
        scope: Scope,
        max_bytes: u64,
    ) -> Result<Combination, Error> {
        let Some(mut needed) = self.closure(commits) else {
            return Ok(Combination::Unreadable);
        };
        let shares = geometric::assign(&self.packs(), &mut needed);
        // A marked commit lacks nothing but that.
        let left_out = !needed.is_empty();
        let (staying, combined) = match scope {
            Scope::SmallPacks => geometric::split(shares, STAYING_MAX),
            Scope::Everything => (Vec::new(), shares),
        };
        let mut bytes = staying.iter().map(Share::bytes).sum::<u64>();
        let mut writer = self.writer()?;
        for id in combined.iter().flat_map(Share::objects) {
            let Some(copied) = self.find(*id, |object| writer.copy(*id, &object)) else {
                return Ok(Combination::Unreadable);
            };
            bytes += copied?;
            if bytes > max_bytes {
                return Ok(Combination::TooLarge);
            }
        }
        let (written, path) = writer.complete()?;
        // Before the packs that it replaces are removed.
        self.make_durable()?;
        if left_out {
            self.set_promisor()?;
        }
        self.keep_marks(commits)?;
        let keep = staying.into_iter().map(Share::into_path).chain(path);
        self.keep_packs(&keep.collect())?;
        Ok(Combination::Done {
            objects: written.objects,
        })
    }

    /// Everything below the commits, blobs that were left out included; `None` where a commit or a tree cannot be read.
    fn closure(&self, commits: &[CommitId]) -> Option<HashSet<Oid>> {
        let mut closure = HashSet::new();
        let mut pending = Vec::new();
        for commit in commits {
            closure.insert(commit.0);
            let tree = self.commit(*commit).ok()??.tree.0;
            if closure.insert(tree) {
                pending.push(tree);
            }
        }
        while let Some(tree) = pending.pop() {
            let raw = self.read(ObjectKind::Tree, tree)?;
            for entry in gix_object::TreeRefIter::from_bytes(&raw, gix_hash::Kind::Sha1) {
                let entry = entry.ok()?;
                let id = Oid::from_gix(entry.oid)?;
                if !entry.mode.is_commit() && closure.insert(id) && entry.mode.is_tree() {
                    pending.push(id);
                }
            }
        }
        Some(closure)
    }

    /// Removes every pack but these from disk.
    fn keep_packs(&self, keep: &HashSet<PathBuf>) -> Result<(), Error> {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        for pack in packs.iter().filter(|pack| !keep.contains(pack.path())) {
            pack.unlink()?;
        }
        packs.retain(|pack| keep.contains(pack.path()));
        super::durable::sync_dir(&self.pack_dir())
    }
}
