//! Detects placeholders: files that are in the repository instead of others, namely git LFS pointers and files that
//! git-crypt has encrypted.
//!
//! They are written unchanged, which is seldom intended and causes errors elsewhere, so they are reported. They are
//! recognized by their first bytes, when their content is read to be written.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::StateNote;
use crate::apply::{Content, ContentError};
use crate::git::BlobId;
use crate::plan::Plan;
use crate::threads;

/// The kind of a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StandIn {
    /// A pointer of git LFS.
    Lfs,
    /// Encrypted by git-crypt.
    GitCrypt,
}

impl StandIn {
    /// The first line of a pointer, and its maximum size: `docs/spec.md` of git LFS.
    const LFS: (&'static [u8], usize) = (b"version https://git-lfs.github.com/spec/v1\n", 1024);
    /// The first bytes of a file that git-crypt has encrypted: `ENCRYPTED_FILE_HEADER` of its `commands.cpp`.
    const GIT_CRYPT: &'static [u8] = b"\0GITCRYPT\0";

    fn of(content: &[u8]) -> Option<Self> {
        let (version, bound) = Self::LFS;
        if content.starts_with(version) && content.len() < bound {
            Some(Self::Lfs)
        } else if content.starts_with(Self::GIT_CRYPT) {
            Some(Self::GitCrypt)
        } else {
            None
        }
    }
}

/// Content that records which placeholders were read from it.
pub(super) struct ObservedContent<'a> {
    content: &'a dyn Content,
    stand_ins: Mutex<BTreeMap<BlobId, StandIn>>,
}

impl<'a> ObservedContent<'a> {
    pub(super) fn new(content: &'a dyn Content) -> Self {
        Self {
            content,
            stand_ins: Mutex::default(),
        }
    }

    /// A note for each kind of placeholder that the plan has written.
    pub(super) fn notes(&self, plan: &Plan) -> Vec<StateNote> {
        let seen = threads::lock(&self.stand_ins);
        let mut counts = BTreeMap::new();
        let written = plan.operations().iter().filter_map(|known| known.after);
        for kind in written.filter_map(|file| seen.get(&file.id)) {
            *counts.entry(*kind).or_insert(0) += 1;
        }
        let notes = counts.into_iter();
        notes
            .map(|(kind, files)| StateNote::StandIns { kind, files })
            .collect()
    }
}

impl Content for ObservedContent<'_> {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
        let content = self.content.blob(id)?;
        if let Some(kind) = StandIn::of(&content) {
            threads::lock(&self.stand_ins).insert(id, kind);
        }
        Ok(content)
    }

    fn size(&self, id: BlobId) -> Result<u64, ContentError> {
        self.content.size(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_are_known_by_how_they_begin() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
        assert_eq!(StandIn::of(pointer.as_bytes()), Some(StandIn::Lfs));
        let long = format!("{pointer}{}", "x".repeat(1024));
        assert_eq!(StandIn::of(long.as_bytes()), None, "a text about pointers");
        assert_eq!(
            StandIn::of(b"\0GITCRYPT\0\x01\x02"),
            Some(StandIn::GitCrypt)
        );
        assert_eq!(StandIn::of(b"GITCRYPT"), None);
        assert_eq!(StandIn::of(b""), None);
    }
}
