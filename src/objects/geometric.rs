//! Which packs stay when the store is tidied: the geometric rule.
//!
//! A pack stays while at least half of it is needed, and while all smaller ones together have no more that is needed
//! than it has; what the others have becomes one pack. So an object is written again only into a pack of about twice
//! the size, what stays is at most twice what is needed, and those that stay halve from one to the next, so they are
//! few. `git repack --geometric` goes by the second half only, and forgets nothing.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::git::Oid;

use super::pack::Pack;

/// What a pack has of what is needed, and no larger pack has.
pub(super) struct Share {
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
    pub(super) fn into_path(self) -> PathBuf {
        self.path
    }

    /// Size of the whole pack.
    pub(super) fn bytes(&self) -> u64 {
        self.extent.whole
    }

    /// In the order they lie in.
    pub(super) fn objects(&self) -> &[Oid] {
        &self.objects
    }
}

/// Deals the objects out to the packs, the largest first. What is left in `needed` has no pack.
pub(super) fn assign(packs: &[Pack], needed: &mut HashSet<Oid>) -> Vec<Share> {
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
pub(super) fn split(shares: Vec<Share>, max: usize) -> (Vec<Share>, Vec<Share>) {
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
