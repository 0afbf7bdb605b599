//! What reading many objects of a pack has in common: the memory of the inflater, and the bases that deltas share.
//!
//! Servers chain deltas fifty deep, and each is read from the begin of its chain: without the bases that were made
//! before, a tree of some hundred directories costs thousands of them.
//!
//! gitoxide's own cache (`pack-cache-lru-dynamic`) takes as long, keeps the memory of entries that are too large for it,
//! and brings another `hashbrown`.

use std::collections::HashMap;

use gix_pack::cache::DecodeEntry;

/// Larger ones are rarely bases of many: directories and most configuration files are smaller.
const BASE_MAX: usize = 64 << 10;
/// Of one decoder. Those of a tree of ten thousand files take less.
const BASES_MAX: usize = 2 << 20;

/// For one pack, and one thread.
#[derive(Default)]
pub(super) struct Decoder {
    pub(super) inflate: gix_zlib::Inflate,
    pub(super) bases: BaseCache,
}

/// Results of deltas by where they lie. Not proven: what is made of them is.
#[derive(Default)]
pub(super) struct BaseCache {
    known: HashMap<u64, CachedBase>,
    bytes: usize,
}

struct CachedBase {
    kind: gix_object::Kind,
    content: Box<[u8]>,
    compressed_size: usize,
}

impl DecodeEntry for BaseCache {
    fn put(
        &mut self,
        _pack: u32,
        offset: u64,
        content: &[u8],
        kind: gix_object::Kind,
        compressed_size: usize,
    ) {
        if content.len() > BASE_MAX {
            return;
        }
        if self.bytes + content.len() > BASES_MAX {
            *self = Self::default();
        }
        self.bytes += content.len();
        let base = CachedBase {
            kind,
            content: content.into(),
            compressed_size,
        };
        self.known.insert(offset, base);
    }

    fn get(
        &mut self,
        _pack: u32,
        offset: u64,
        content: &mut Vec<u8>,
    ) -> Option<(gix_object::Kind, usize)> {
        let base = self.known.get(&offset)?;
        content.clear();
        content.extend_from_slice(&base.content);
        Some((base.kind, base.compressed_size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_kept_as_long_as_there_is_room() {
        let mut bases = BaseCache::default();
        let kind = gix_object::Kind::Tree;
        let mut found = Vec::new();
        bases.put(0, 0, &vec![1; BASE_MAX + 1], kind, 9);
        assert_eq!(bases.get(0, 0, &mut found), None);
        for offset in 1_u64..1000 {
            let content = vec![offset.to_le_bytes()[0]; BASE_MAX];
            bases.put(0, offset, &content, kind, 9);
            assert!(bases.bytes <= BASES_MAX);
            assert_eq!(bases.get(0, offset, &mut found), Some((kind, 9)));
            assert_eq!(found, content);
        }
        assert_eq!(bases.get(0, 1, &mut found), None);
        assert!(bases.get(0, 998, &mut found).is_some());
    }
}
