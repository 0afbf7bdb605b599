//! What a commit must not take away unasked: most of the files, or one that is required.

use std::collections::BTreeMap;

use super::{Error, MassDelete, Policy};
use crate::git::{File, FileMode, RelPath};

/// Fewer lost files than this are no mass deletion, however small the tree is.
const MANY: usize = 10;

/// Refuses a commit that would, unless that is allowed.
pub(super) fn check(
    base: &BTreeMap<RelPath, File>,
    remote: &BTreeMap<RelPath, File>,
    policy: &Policy,
) -> Result<(), Error> {
    if policy.mass_delete == MassDelete::Allow {
        return Ok(());
    }
    let regular = |tree: &BTreeMap<RelPath, File>, path: &RelPath| {
        tree.get(path)
            .is_some_and(|file: &File| file.mode != FileMode::Symlink)
    };
    if let Some(path) = policy
        .require
        .iter()
        .find(|path| regular(base, path) && !regular(remote, path))
    {
        return Err(Error::RequiredGone { path: path.clone() });
    }
    let lost = base.len().saturating_sub(remote.len());
    let most = lost >= MANY && remote.len() * 2 < base.len();
    if most || (remote.is_empty() && !base.is_empty()) {
        return Err(Error::MassDelete {
            before: base.len(),
            after: remote.len(),
        });
    }
    Ok(())
}
