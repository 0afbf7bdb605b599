//! The contents a commit needs, read out of the store: proof that a route has brought them, and what is written.
//!
//! They are unpacked and hashed by several threads, and kept within bounds, so that this is done once for all but the
//! largest updates. Large ones come one at a time: each is in memory several times while it is unpacked.

use std::collections::HashMap;
use std::thread;

use crate::git::BlobId;
use crate::git::id::ObjectKind;
use crate::objects::Store;

/// How many read at most.
const READERS: usize = 4;
/// Bytes from which on a blob is large.
const LARGE: u64 = 8 << 20;
/// How many blobs are worth a reader.
const WORTH: usize = 8;
/// How many bytes are kept; what is beyond is read again.
const KEPT: usize = 16 << 20;

/// What was read of the blobs that a commit needs. Each was hashed by [`Store::read`].
#[derive(Debug, Clone, Default)]
pub struct Contents {
    kept: HashMap<BlobId, Box<[u8]>>,
    lacking: Vec<BlobId>,
    bytes: u64,
}

impl Contents {
    /// Reads all of these.
    #[must_use]
    pub fn read(store: &Store, ids: &[BlobId]) -> Self {
        let is_large = |id: &BlobId| store.size(id.0).is_some_and(|size| size >= LARGE);
        let (large, small): (Vec<BlobId>, Vec<BlobId>) = ids.iter().partition(|id| is_large(id));
        let mut all = Self::read_together(store, &small);
        all.add(Self::read_share(store, &large, 0));
        all
    }

    fn read_together(store: &Store, ids: &[BlobId]) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let readers = ids.len().div_ceil(WORTH).clamp(1, cores.min(READERS));
        let limit = KEPT / readers;
        let mut shares = ids.chunks(ids.len().div_ceil(readers).max(1));
        let own = shares.next().unwrap_or_default();
        thread::scope(|scope| {
            let others: Vec<_> = shares
                .map(|ids| scope.spawn(move || Self::read_share(store, ids, limit)))
                .collect();
            let mut all = Self::read_share(store, own, limit);
            for other in others {
                let share = other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                all.add(share);
            }
            all
        })
    }

    fn add(&mut self, other: Self) {
        self.kept.extend(other.kept);
        self.lacking.extend(other.lacking);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn read_share(store: &Store, ids: &[BlobId], limit: usize) -> Self {
        let mut share = Self::default();
        let mut room = limit;
        for &id in ids {
            let Some(content) = store.read(ObjectKind::Blob, id.0) else {
                share.lacking.push(id);
                continue;
            };
            share.bytes = share.bytes.saturating_add(content.len() as u64);
            if let Some(left) = room.checked_sub(content.len()) {
                room = left;
                // A delta is unpacked in a buffer many times as large as what comes of it.
                share.kept.insert(id, content.into_boxed_slice());
            }
        }
        share
    }

    /// Those that the store cannot read.
    #[must_use]
    pub fn lacking(&self) -> &[BlobId] {
        &self.lacking
    }

    /// Bytes of all that were read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One of them, where it was kept.
    #[must_use]
    pub fn get(&self, id: BlobId) -> Option<&[u8]> {
        self.kept.get(&id).map(|content| &**content)
    }
}
