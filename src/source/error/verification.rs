//! What is wrong with a commit: bytes that do not hash to their ids, objects that are missing, entries that are refused.

use miette::Diagnostic;

use super::super::LinkFault;
use super::Error;
use super::phrases::{place, way_out};
use crate::exit::Exit;
use crate::git::{BlobId, CommitId, Oid, TreeId, commit, tree};
use crate::text;

/// Why a commit is not accepted.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum VerificationError {
    /// Bytes that are not the commit they were asked for.
    #[error("commit {commit} fails verification: {fault}")]
    #[diagnostic(
        code(hyper_sync::source::commit_mismatch),
        help(
            "the remote, or something between, sent bytes that do not have this id; nothing was written; run again, and report it if it stays"
        )
    )]
    Commit {
        /// The commit.
        commit: CommitId,
        /// What is wrong.
        fault: commit::CommitFault,
    },
    /// A commit whose bytes cannot be rebuilt from what an API returned.
    #[error(
        "commit {commit} cannot be proven: the API of {remote} leaves parts of it out, or returns them wrong"
    )]
    #[diagnostic(
        code(hyper_sync::source::unproven),
        help(
            "use git (`--transport git`, or `auto` when git gets through), which sends a commit's own bytes; `trust.forge = true` trusts the forge for its content; nothing was written"
        )
    )]
    Unproven {
        /// Host or repository.
        remote: String,
        /// The commit.
        commit: CommitId,
    },
    /// Commits between two of a branch, returned by an API, that cannot be proven.
    #[error(
        "nothing proves that {new} descends from {old}: the API of {remote} leaves out commits between them"
    )]
    #[diagnostic(
        code(hyper_sync::source::unproven_descent),
        help(
            "use git (`--transport git`, or `auto` when git gets through); `--allow-rewind` takes the commit whatever it descends from, `trust.forge = true` trusts the forge; nothing was written"
        )
    )]
    UnprovenDescent {
        /// Host or repository.
        remote: String,
        /// The commit that the branch is at.
        new: CommitId,
        /// The commit that it was at.
        old: CommitId,
    },
    /// A tree object that fails verification or is unsafe.
    #[error("commit {commit} is refused: {fault}")]
    #[diagnostic(
        code(hyper_sync::source::tree_refused),
        help("{}; nothing was written", way_out(.fault))
    )]
    Tree {
        /// The commit.
        commit: CommitId,
        /// What is wrong.
        fault: tree::TreeFault,
    },
    /// A blob whose bytes are not those of its id.
    #[error("`{}` does not match its git id: expected {expected}, got {actual}", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::source::blob_mismatch),
        help(
            "the remote, or something between, sent bytes that do not have this id; nothing was written; run again, and report it if it stays"
        )
    )]
    Blob {
        /// A path that has the blob, or the id where no path is known.
        path: String,
        /// What was requested.
        expected: BlobId,
        /// What came.
        actual: Oid,
    },
    /// SHA-1 collision attack.
    #[error("the blob {expected} is part of a SHA-1 collision attack")]
    #[diagnostic(
        code(hyper_sync::source::collision),
        help(
            "such content is not made by accident: find out who added it to the repository, and remove it; nothing was written"
        )
    )]
    Collision {
        /// What was requested.
        expected: BlobId,
    },
    /// The remote did not send all of the commit: a listing that lies by omission ends here.
    #[error("{remote} did not send {kind} {id}, which commit {commit} needs")]
    #[diagnostic(
        code(hyper_sync::source::incomplete),
        help(
            "the remote's answer contradicts the commit's own ids; nothing was written; run again, and report it if it stays"
        )
    )]
    Incomplete {
        /// Host or repository.
        remote: String,
        /// The commit.
        commit: CommitId,
        /// `tree`, `blob` or `commit`.
        kind: &'static str,
        /// The object.
        id: Oid,
    },
    /// The listing contradicts itself.
    #[error("{remote} sent a listing that contradicts itself: {}, tree {expected}, adds up to {actual}", place(.path))]
    #[diagnostic(
        code(hyper_sync::source::listing_mismatch),
        help(
            "the listing is incomplete or was altered; nothing was written; run again, and report it if it stays"
        )
    )]
    Listing {
        /// Host or repository.
        remote: String,
        /// The directory, empty for the root.
        path: String,
        /// The id that it must have.
        expected: TreeId,
        /// The id of what is listed in it.
        actual: TreeId,
    },
    /// A symlink whose target is no path, or leaves the tree against the settings.
    #[error("the symlink `{}` {fault}", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::source::symlink_refused),
        help("correct it in the repository{}; nothing was written", fault.way_out())
    )]
    Symlink {
        /// Its path.
        path: String,
        /// What is wrong with it.
        fault: LinkFault,
    },
    /// Two names that the target's file system takes for one.
    #[error("{} are the same name on the target's file system", text::twins(.path, .other))]
    #[diagnostic(
        code(hyper_sync::source::case_collision),
        help(
            "rename one of them in the repository, or keep the target on a file system that minds case; nothing was written"
        )
    )]
    CaseCollision {
        /// One of them.
        path: String,
        /// The other.
        other: String,
    },
}

impl VerificationError {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Commit { fault, .. } => fault.exit(),
            Self::Tree { fault, .. } => fault.exit(),
            Self::Unproven { .. }
            | Self::UnprovenDescent { .. }
            | Self::Blob { .. }
            | Self::Collision { .. }
            | Self::Incomplete { .. }
            | Self::Listing { .. } => Exit::Verification,
            Self::Symlink { .. } | Self::CaseCollision { .. } => Exit::UnsafeTree,
        }
    }
}

impl Error {
    /// The remote did not send an object that the commit needs.
    pub(in crate::source) fn incomplete(
        remote: &str,
        commit: CommitId,
        kind: &'static str,
        id: Oid,
    ) -> Self {
        VerificationError::Incomplete {
            remote: remote.to_owned(),
            commit,
            kind,
            id,
        }
        .into()
    }
}
