//! Whether the store has the blobs that a commit needs: proof that a route brought them.
//!
//! What came in this run has an id that was computed from its content, so it is not read here. What the store had before is
//! read and hashed: if it is damaged, a route can still bring it. Either is hashed again when it is written.

use crate::git::BlobId;
use crate::git::id::ObjectKind;
use crate::objects::Store;

/// Which of the blobs that a commit needs are in the store.
#[derive(Debug, Clone, Default)]
pub struct StoredBlobs {
    missing: Vec<BlobId>,
    bytes: u64,
}

impl StoredBlobs {
    /// Looks for all of these.
    #[must_use]
    pub fn of(store: &Store, ids: &[BlobId]) -> Self {
        let mut stored = Self::default();
        for &id in ids {
            let size = store.size_if_new(ObjectKind::Blob, id.0).or_else(|| {
                let content = store.read(ObjectKind::Blob, id.0)?;
                Some(content.len() as u64)
            });
            match size {
                Some(size) => stored.bytes = stored.bytes.saturating_add(size),
                None => stored.missing.push(id),
            }
        }
        stored
    }

    /// Those that the store cannot read.
    #[must_use]
    pub fn missing(&self) -> &[BlobId] {
        &self.missing
    }

    /// Bytes of all others.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
