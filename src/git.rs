//! The git object model as this program needs it: ids, modes, paths, trees and commits.
//!
//! Pure: no files, no network. Everything from outside passes through here before any other part sees
//! it, so the types carry the proof: a [`RelPath`] cannot leave the tree, a [`Tree`] was recomputed from its root.
//!
//! Limits: SHA-1 repositories only, names must be UTF-8.

pub mod commit;
pub mod history;
pub mod id;
pub mod mode;
pub mod path;
pub mod tree;

pub use commit::Commit;
pub use id::{BlobId, CommitId, Oid, TreeId};
pub use mode::{EntryMode, FileMode};
pub use path::RelPath;
pub use tree::{File, KnownTree, Tree};
