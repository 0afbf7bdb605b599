//! Lookups of ascending keys in a sorted map, as in a merge join.
//!
//! A run compares a few maps of all paths with each other. A search for each path from the root of a map compares a dozen
//! paths, most of which begin with the same directories; this was a tenth of the time of a sync without a change.

use std::cmp::Ordering;
use std::iter::Peekable;

/// Finds the values of keys that ascend, in one pass over entries that do.
pub(crate) struct AscendingLookup<I: Iterator> {
    entries: Peekable<I>,
}

impl<'a, K: Ord + 'a, V, I: Iterator<Item = (&'a K, V)>> AscendingLookup<I> {
    pub(crate) fn new(entries: impl IntoIterator<IntoIter = I>) -> Self {
        Self {
            entries: entries.into_iter().peekable(),
        }
    }

    /// The value of `key`, which must be greater than each key before it.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        loop {
            match self.next_key()?.cmp(key) {
                Ordering::Less => drop(self.entries.next()),
                Ordering::Equal => return self.entries.next().map(|(_, value)| value),
                Ordering::Greater => return None,
            }
        }
    }

    /// The smallest key that was neither asked for nor passed.
    pub(crate) fn next_key(&mut self) -> Option<&'a K> {
        self.entries.peek().map(|(key, _)| *key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_search_finds(
            map in proptest::collection::btree_map(0_u8..40, any::<u8>(), 0..40),
            keys in proptest::collection::btree_set(0_u8..40, 0..40),
        ) {
            let keys: BTreeSet<u8> = keys;
            let mut lookup = AscendingLookup::new(&map);
            for key in &keys {
                prop_assert_eq!(lookup.get(key), map.get(key));
            }
            let mut lookup = keys.first().map(|first| AscendingLookup::new(map.range(first..)));
            for key in &keys {
                prop_assert_eq!(lookup.as_mut().unwrap().get(key), map.get(key));
            }
        }
    }
}
