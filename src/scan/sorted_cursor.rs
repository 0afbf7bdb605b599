//! A map that is asked for many keys in their order.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;

use crate::git::RelPath;

/// Answers as [`BTreeMap::get`] does, and without a search where the key comes next after the one before.
pub(crate) struct SortedCursor<'a, V> {
    map: &'a BTreeMap<RelPath, V>,
    next: Peekable<Range<'a, RelPath, V>>,
}

impl<'a, V> SortedCursor<'a, V> {
    pub(crate) fn new(map: &'a BTreeMap<RelPath, V>) -> Self {
        Self {
            map,
            next: map.range::<RelPath, _>(..).peekable(),
        }
    }

    pub(crate) fn get(&mut self, path: &RelPath) -> Option<&'a V> {
        let is_it = |next: &(&RelPath, &V)| next.0 == path;
        if let Some((_, value)) = self.next.next_if(is_it) {
            return Some(value);
        }
        self.next = self.map.range::<RelPath, _>(path..).peekable();
        self.next.next_if(is_it).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_path() -> impl Strategy<Value = RelPath> {
        "[a-c]{1,2}(/[a-c]{1,2}){0,2}".prop_map(|path| RelPath::new(path.as_bytes()).unwrap())
    }

    proptest! {
        #[test]
        fn answers_as_the_map_does_in_whatever_order(
            map in proptest::collection::btree_map(any_path(), any::<u8>(), 0..40),
            mut asked in proptest::collection::vec(any_path(), 0..40),
            is_sorted in any::<bool>(),
        ) {
            asked.extend(map.keys().cloned());
            if is_sorted {
                asked.sort();
            }
            let mut sorted_cursor = SortedCursor::new(&map);
            for path in &asked {
                prop_assert_eq!(sorted_cursor.get(path), map.get(path), "{}", path);
            }
        }
    }
}
