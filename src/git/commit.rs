//! What is read from a commit object.

use super::id::{ObjectKind, Oid};
use super::{CommitId, TreeId};
use crate::exit::Exit;
use crate::text::words;

/// A commit whose raw bytes were hashed to its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// The tree it records.
    pub tree: TreeId,
    /// Its parents, first parent first.
    pub parents: Vec<CommitId>,
    /// Seconds since 1970 at which it was committed, by the committer's clock.
    pub time: i64,
    /// The name of its author, made fit to print.
    pub author: String,
    /// The first line of its message, made fit to print (`text::words`).
    pub subject: String,
}

/// Why bytes are not the commit they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitFault {
    /// They hash to another id.
    #[error("its bytes hash to {actual}")]
    OtherId {
        /// The id they hash to.
        actual: Oid,
    },
    /// They are not the text of a commit.
    #[error("it is not a commit that git could have written")]
    Malformed,
    /// They carry a collision attack.
    #[error(transparent)]
    Collision(#[from] super::id::Collision),
}

impl CommitFault {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::OtherId { .. } | Self::Malformed | Self::Collision(_) => Exit::Verification,
        }
    }
}

impl Commit {
    /// Parses raw bytes and proves that they are commit `id`.
    pub fn verify(id: CommitId, raw: &[u8]) -> Result<Self, CommitFault> {
        let actual = Oid::of(ObjectKind::Commit, raw)?;
        if actual != id.0 {
            return Err(CommitFault::OtherId { actual });
        }
        let parsed = gix_object::CommitRef::from_bytes(raw, gix_hash::Kind::Sha1)
            .map_err(|_| CommitFault::Malformed)?;
        let own = |id: gix_hash::ObjectId| Oid::from_gix(&id).ok_or(CommitFault::Malformed);
        let time = parsed
            .committer()
            .map_err(|_| CommitFault::Malformed)?
            .seconds();
        let author = parsed.author().map_err(|_| CommitFault::Malformed)?.name;
        let subject = parsed
            .message
            .split(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        Ok(Self {
            id,
            tree: TreeId(own(parsed.tree())?),
            parents: parsed
                .parents()
                .map(|id| own(id).map(CommitId))
                .collect::<Result<_, _>>()?,
            time,
            author: words(author),
            subject: words(subject),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
        parent 1111111111111111111111111111111111111111\n\
        author A <a@example.org> 1700000000 +0100\n\
        committer C <c@example.org> 1700000100 -0230\n\nSubject line\n\nBody\n";

    #[test]
    fn a_commit_with_its_id_is_read() {
        let id = CommitId(Oid::of(ObjectKind::Commit, RAW).unwrap());
        let commit = Commit::verify(id, RAW).unwrap();
        assert_eq!(
            commit.tree.to_string(),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
        assert_eq!(commit.parents.len(), 1);
        assert_eq!(commit.time, 1_700_000_100);
        assert_eq!(commit.author, "A");
        assert_eq!(commit.subject, "Subject line");
    }

    #[test]
    fn bytes_with_another_id_are_refused() {
        let id = CommitId(Oid::of(ObjectKind::Commit, RAW).unwrap());
        let mut other = RAW.to_vec();
        other[6] ^= 1;
        assert!(matches!(
            Commit::verify(id, &other),
            Err(CommitFault::OtherId { .. })
        ));
        let garbage = b"tree nonsense";
        let id = CommitId(Oid::of(ObjectKind::Commit, garbage).unwrap());
        assert_eq!(Commit::verify(id, garbage), Err(CommitFault::Malformed));
    }
}
