//! The contents that a commit needs, read out of the store: proof that a route brought them, and what is written.
//!
//! They are kept within bounds, so that each is unpacked and hashed once for all but the largest updates. Of those that are
//! beyond, what came in this run is not read here: it was hashed when it came, and is again when it is written.

use std::collections::HashMap;

use crate::git::BlobId;
use crate::git::id::ObjectKind;
use crate::objects::Store;

/// How many bytes are kept; what is beyond is read again.
const KEPT: usize = 16 << 20;

/// What was read of the blobs that a commit needs. Each was hashed by [`Store::read`], or when it came.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    kept: HashMap<BlobId, Box<[u8]>>,
    missing: Vec<BlobId>,
    bytes: u64,
}

impl Contents {
    /// Reads all of these.
    #[must_use]
    pub fn read(store: &Store, ids: &[BlobId]) -> Self {
        let mut contents = Self::default();
        let mut room = KEPT;
        for &id in ids {
            if let Some(size) = store.size_if_new(id.0).filter(|size| *size > room as u64) {
                contents.bytes = contents.bytes.saturating_add(size);
                continue;
            }
            let Some(content) = store.read(ObjectKind::Blob, id.0) else {
                contents.missing.push(id);
                continue;
            };
            contents.bytes = contents.bytes.saturating_add(content.len() as u64);
            if let Some(left) = room.checked_sub(content.len()) {
                room = left;
                // A delta is unpacked in a buffer many times as large as its result.
                contents.kept.insert(id, content.into_boxed_slice());
            }
        }
        contents
    }

    /// Those that the store cannot read.
    #[must_use]
    pub fn missing(&self) -> &[BlobId] {
        &self.missing
    }

    /// Bytes of all that are needed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The content of a blob, where it was kept.
    #[must_use]
    pub fn get(&self, id: BlobId) -> Option<&[u8]> {
        self.kept.get(&id).map(|content| &**content)
    }
}
