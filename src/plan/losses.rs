//! What a commit must not take away unasked: most of the files, or one that is required. And what is required must be a
//! file, or a symlink to one: the system is built from it.

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
    let mut required = policy.require.iter();
    if let Some(path) =
        required.find(|path| base.contains_key(*path) && !remote.contains_key(*path))
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

/// Refuses a commit in which something required is a symlink that leads to no file, as far as `leads_to_file` can tell.
pub(super) fn check_links(
    remote: &BTreeMap<RelPath, File>,
    policy: &Policy,
    leads_to_file: &dyn Fn(&RelPath) -> Option<bool>,
) -> Result<(), Error> {
    if policy.mass_delete == MassDelete::Allow {
        return Ok(());
    }
    let is_link = |path: &RelPath| {
        let file = remote.get(path);
        file.is_some_and(|file| file.mode == FileMode::Symlink)
    };
    let mut links = policy.require.iter().filter(|path| is_link(path));
    match links.find(|path| leads_to_file(path) == Some(false)) {
        Some(path) => Err(Error::RequiredGone { path: path.clone() }),
        None => Ok(()),
    }
}
