//! Where the symlinks of a commit lead.

use std::collections::BTreeMap;

use super::{Error, Notice, blob};
use crate::git::{CommitId, File, FileMode, RelPath};
use crate::objects::Store;
use crate::settings::Symlinks;

/// Checks the target of every symlink, and tells of those that leave the tree where that is allowed.
pub(super) fn check(
    store: &Store,
    commit: CommitId,
    files: &BTreeMap<RelPath, File>,
    policy: Symlinks,
    notices: &mut Vec<Notice>,
) -> Result<(), Error> {
    for (path, file) in files
        .iter()
        .filter(|(_, file)| file.mode == FileMode::Symlink)
    {
        let target = blob(store, commit, file.id)?;
        let refuse = |problem| Error::Symlink {
            path: path.to_string(),
            problem,
        };
        // The bounds of symlink(2).
        if target.is_empty() {
            return Err(refuse("has an empty target"));
        }
        if target.len() > 4095 {
            return Err(refuse("has a target of more than 4095 bytes"));
        }
        if target.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
            return Err(refuse("has a control character in its target"));
        }
        if leaves(path, &target, files, store, commit)? {
            if policy == Symlinks::Within {
                return Err(refuse("is absolute or leaves the tree"));
            }
            notices.push(Notice::SymlinkOutside {
                path: path.clone(),
                target: String::from_utf8_lossy(&target).into_owned(),
            });
        }
    }
    Ok(())
}

/// Links that are followed from one link before it counts as leaving, as the kernel does (`MAXSYMLINKS`).
const HOPS: usize = 40;

/// Whether a link leads out of the tree, also by way of other links: resolved in the commit, not on the disk.
fn leaves(
    link: &RelPath,
    target: &[u8],
    files: &BTreeMap<RelPath, File>,
    store: &Store,
    commit: CommitId,
) -> Result<bool, Error> {
    let mut at: Vec<String> = link
        .parent()
        .map(|parent| parent.components().map(str::to_owned).collect())
        .unwrap_or_default();
    let mut pending: Vec<Vec<u8>> = split(target);
    let mut hops = 0;
    if target.starts_with(b"/") {
        return Ok(true);
    }
    while let Some(component) = pending.pop() {
        match component.as_slice() {
            b"" | b"." => {}
            b".." => {
                if at.pop().is_none() {
                    return Ok(true);
                }
            }
            name => {
                at.push(String::from_utf8_lossy(name).into_owned());
                let here = at.join("/");
                if let Some(File {
                    mode: FileMode::Symlink,
                    id,
                }) = files.get(here.as_str())
                {
                    hops += 1;
                    let next = blob(store, commit, *id)?;
                    if next.starts_with(b"/") {
                        return Ok(true);
                    }
                    if hops > HOPS {
                        // A loop stays where it is.
                        return Ok(false);
                    }
                    at.pop();
                    pending.extend(split(&next));
                }
            }
        }
    }
    Ok(false)
}

/// The components of a link's target, last first.
fn split(target: &[u8]) -> Vec<Vec<u8>> {
    target
        .split(|&byte| byte == b'/')
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}
