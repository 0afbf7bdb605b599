//! Keeping the store small: packs are combined, and what no kept commit needs is dropped.
//!
//! Old packs cannot simply be dropped, because the blobs of a commit are in many packs; and `git gc` would need a git
//! binary. Combining everything would write the whole store again with every 21st update, which is as much as the first
//! download. So large packs stay, by a geometric rule: a pack stays while at least half of it is needed, and while all
//! smaller ones together have no more that is needed than it has; what the others have becomes one pack. An object is
//! then written again only into a pack of about twice the size, what stays is at most twice what is needed, and those
//! that stay halve from one to the next, so they are few. `git repack --geometric` applies the second half of the rule
//! only, and drops nothing.
//!
//! A crash between any two steps leaves both old and new packs, which is harmless.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::git::id::ObjectKind;
use crate::git::{BlobId, CommitId, Oid};
use crate::threads;

use super::pack::Pack;
use super::{Error, Store};

/// More packs than this are combined. Every lookup searches each pack, and each keeps two files mapped.
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
    /// Brings the store back within its bounds: the newest `keep` commits, fewer where these exceed `max_bytes`, and blobs
    /// that are needed `also`.
    ///
    /// Meant for the end of a run, after the state is written; an error leaves the store usable as it was.
    pub fn repack(
        &self,
        keep: usize,
        max_bytes: u64,
        also: &[BlobId],
    ) -> Result<RepackOutcome, Error> {
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
            match (self.combine(&commits, also, scope, max_bytes)?, scope) {
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
        let combined = self.combine(&intact, &[], Scope::Everything, u64::MAX)?;
        Ok(matches!(combined, Combination::Done { .. }))
    }

    /// Makes one pack of what the commits need and the packs that stay do not have, and removes all other packs;
    /// changes nothing where that cannot be done.
    fn combine(
        &self,
        commits: &[CommitId],
        also: &[BlobId],
        scope: Scope,
        max_bytes: u64,
    ) -> Result<Combination, Error> {
        let Some(mut needed) = self.closure(commits) else {
            return Ok(Combination::Unreadable);
        };
        let also = also.iter().map(|blob| blob.0);
        needed.extend(also.filter(|blob| self.contains(*blob)));
        let shares = assign(&self.packs(), &mut needed);
        // A marked commit lacks nothing but that.
        let left_out = !needed.is_empty();
        let (staying, combined) = match scope {
            Scope::SmallPacks => split(shares, STAYING_MAX),
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
        let mut packs = threads::write(&self.packs);
        for pack in packs.iter().filter(|pack| !keep.contains(pack.path())) {
            pack.unlink()?;
        }
        packs.retain(|pack| keep.contains(pack.path()));
        super::durable::sync(&self.pack_dir())
    }
}

/// What a pack has of what is needed, and no larger pack has.
struct Share {
    path: PathBuf,
    extent: Extent,
    objects: Vec<Oid>,
}

/// Bytes of a pack.
#[derive(Debug, Clone, Copy)]
struct Extent {
    whole: u64,
    needed: u64,
}

impl Share {
    /// Where the pack is.
    fn into_path(self) -> PathBuf {
        self.path
    }

    /// Size of the whole pack.
    fn bytes(&self) -> u64 {
        self.extent.whole
    }

    /// In the order they lie in.
    fn objects(&self) -> &[Oid] {
        &self.objects
    }
}

/// Deals the objects out to the packs, the largest first. What is left in `needed` has no pack.
fn assign(packs: &[Pack], needed: &mut HashSet<Oid>) -> Vec<Share> {
    let mut packs: Vec<&Pack> = packs.iter().collect();
    packs.sort_by_key(|pack| std::cmp::Reverse(pack.bytes()));
    let share = |pack: &Pack| {
        let mut places = pack.places();
        places.retain(|place| needed.remove(&place.id));
        Share {
            path: pack.path().to_owned(),
            extent: Extent {
                whole: pack.bytes(),
                needed: places.iter().map(|place| place.bytes).sum(),
            },
            objects: places.into_iter().map(|place| place.id).collect(),
        }
    };
    packs.into_iter().map(share).collect()
}

/// Parts the packs into those that stay, at most `max`, and those that are combined.
fn split(shares: Vec<Share>, max: usize) -> (Vec<Share>, Vec<Share>) {
    let extents: Vec<Extent> = shares.iter().map(|share| share.extent).collect();
    let mut stays = kept_packs(&extents, max).into_iter();
    shares.into_iter().partition(|_| stays.next() == Some(true))
}

/// The rule, for packs from the largest to the smallest.
fn kept_packs(extents: &[Extent], max: usize) -> Vec<bool> {
    let mut rest: u64 = extents.iter().map(|extent| extent.needed).sum();
    let mut stays = vec![false; extents.len()];
    let mostly_needed = extents
        .iter()
        .enumerate()
        .filter(|(_, extent)| extent.needed >= extent.whole / 2);
    for (number, extent) in mostly_needed.take(max) {
        rest -= extent.needed;
        if extent.needed < rest {
            break;
        }
        stays[number] = true;
    }
    stays
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extents(packs: &[(u64, u64)]) -> Vec<Extent> {
        let extent = |(whole, needed): &(u64, u64)| Extent {
            whole: *whole,
            needed: *needed,
        };
        packs.iter().map(extent).collect()
    }

    #[test]
    fn a_large_pack_stays_and_small_ones_are_combined() {
        let stays = |packs: &[(u64, u64)]| kept_packs(&extents(packs), 10);
        assert_eq!(
            stays(&[(9, 9), (2, 2), (2, 2), (2, 2)]),
            [true, false, false, false]
        );
        assert_eq!(stays(&[(8, 8), (4, 4), (2, 2)]), [true, true, true]);
        // Together they have more than it does.
        assert_eq!(stays(&[(8, 8), (5, 5), (4, 4)]), [false, false, false]);
        // Most of it is garbage, and what is not counts with the rest.
        assert_eq!(stays(&[(900, 300), (500, 400)]), [false, true]);
        assert_eq!(stays(&[(900, 300), (500, 250)]), [false, false]);
        assert_eq!(stays(&[(9, 0)]), [false]);
    }

    proptest! {
        #[test]
        fn what_stays_is_mostly_needed_and_halves(
            packs in prop::collection::vec((1_u64..1 << 30, 0_u64..=100), 0..40),
            max in 1_usize..20,
        ) {
            let mut packs: Vec<(u64, u64)> = packs
                .into_iter()
                .map(|(whole, percent)| (whole, whole * percent / 100))
                .collect();
            packs.sort_by_key(|(whole, _)| std::cmp::Reverse(*whole));
            let stays = kept_packs(&extents(&packs), max);
            let part = |stay: bool| packs.iter().zip(&stays).filter(move |(_, is)| **is == stay);
            let sum = |packs: &[u64]| packs.iter().sum::<u64>();
            let kept: Vec<u64> = part(true).map(|((_, needed), _)| *needed).collect();
            let combined: Vec<u64> = part(false).map(|((_, needed), _)| *needed).collect();
            let whole: u64 = part(true).map(|((whole, _), _)| *whole).sum();
            prop_assert!(kept.len() <= max);
            prop_assert!(whole <= 2 * sum(&kept) + kept.len() as u64);
            for (number, needed) in kept.iter().enumerate() {
                prop_assert!(*needed >= sum(&kept[number + 1..]) + sum(&combined));
            }
        }
    }
}
