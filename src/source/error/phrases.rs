//! Parts of messages that depend on what an error holds.

use crate::git::tree;
use crate::text;

/// A limit as people read it: binary units, or a number of entries.
pub(super) fn amount(limit: u64, setting: &str) -> String {
    if setting == "limits.files" {
        format!("{limit} entries")
    } else {
        indicatif::BinaryBytes(limit).to_string()
    }
}

/// A directory by its path, which is empty for the root.
pub(super) fn place(path: &str) -> String {
    if path.is_empty() {
        "the root".to_owned()
    } else {
        format!("`{}`", text::name(path))
    }
}

/// What the remote was asked with, in words; "none" is no token.
pub(super) fn with(token: &str) -> String {
    if token == "none" {
        "without credentials".to_owned()
    } else {
        format!("with the credentials ({token})")
    }
}

/// Damage is the remote's, to be asked again; what git could store is the repository's, to be corrected there.
pub(super) fn way_out(fault: &tree::Fault) -> &'static str {
    match fault {
        tree::Fault::OtherId { .. }
        | tree::Fault::Collision { .. }
        | tree::Fault::Malformed { .. }
        | tree::Fault::Unsorted { .. } => {
            "the remote, or something between, sent what git does not make: run again, and report it if it stays"
        }
        tree::Fault::TooLarge { .. } => "raise `limits.files` if this is right",
        tree::Fault::Duplicate { .. }
        | tree::Fault::SameName { .. }
        | tree::Fault::Path { .. }
        | tree::Fault::Mode { .. }
        | tree::Fault::NullId { .. } => {
            "one bad entry refuses the whole commit: correct it in the repository"
        }
    }
}
