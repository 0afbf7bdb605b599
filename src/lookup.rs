//! Lookups of ascending keys in a sorted map, as in a merge join.
//!
//! A run compares a few maps of all paths with each other. A search for each path from the root of a map compares a dozen
//! paths, most of which begin with the same directories; this was a tenth of the time of a sync without a change.

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;

/// Finds the values of keys that ascend, in one pass over the map.
#[derive(Debug)]
pub(crate) struct AscendingLookup<'a, K, V> {
    entries: Peekable<btree_map::Range<'a, K, V>>,
}

impl<'a, K: Ord, V> AscendingLookup<'a, K, V> {
    pub(crate) fn new(map: &'a BTreeMap<K, V>) -> Self {
        Self {
            entries: map.range(..).peekable(),
        }
    }

    /// Finds those from `first` on.
    pub(crate) fn from(map: &'a BTreeMap<K, V>, first: &K) -> Self {
        Self {
            entries: map.range(first..).peekable(),
        }
    }

    /// The value of `key`, which must be greater than each key before it.
    pub(crate) fn get(&mut self, key: &K) -> Option<&'a V> {
        loop {
            let (next, value) = self.entries.peek()?;
            match (*next).cmp(key) {
                Ordering::Less => drop(self.entries.next()),
                Ordering::Equal => {
                    let value = *value;
                    self.entries.next();
                    return Some(value);
                }
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
            let mut lookup = keys.first().map(|first| AscendingLookup::from(&map, first));
            for key in &keys {
                prop_assert_eq!(lookup.as_mut().unwrap().get(key), map.get(key));
            }
        }
    }
}
