//! Where the symlinks of a commit lead.

use std::collections::BTreeMap;

use super::{Error, Notice, VerificationError, blob};

use crate::git::id::ObjectKind;
use crate::git::{BlobId, CommitId, File, FileMode, RelPath, path};
use crate::objects::Store;
use crate::settings::Symlinks;
use crate::text;

/// Why a symlink is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// Nothing to point to.
    #[error("has an empty target")]
    Empty,
    /// More than `symlink(2)` takes (`PATH_MAX` with its NUL).
    #[error("has a target of more than 4095 bytes")]
    Long,
    /// A target that deceives a terminal or a reader.
    #[error("has the target `{}`, which {fault}", text::name(.target))]
    Target {
        /// As it is written there.
        target: Vec<u8>,
        /// What is wrong with it.
        fault: path::PathFault,
    },
    /// A target outside of the tree, where that is not allowed.
    #[error("is absolute or leaves the tree, with the target `{}`", text::name(.target))]
    Leaves {
        /// As it is written there.
        target: Vec<u8>,
    },
}

impl LinkFault {
    /// What may be done besides correcting it, for the help.
    pub(in crate::source) fn way_out(&self) -> &'static str {
        match self {
            Self::Leaves { .. } => {
                ", or allow links that leave the tree with `trust.symlinks = \"any\"`"
            }
            Self::Empty | Self::Long | Self::Target { .. } => "",
        }
    }
}

/// Checks the target of every symlink, and reports those that leave the tree where that is allowed.
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
        let refuse = |fault| -> Error {
            let path = path.to_string();
            VerificationError::Symlink { path, fault }.into()
        };
        // The bounds of symlink(2).
        if target.is_empty() {
            return Err(refuse(LinkFault::Empty));
        }
        if target.len() > 4095 {
            return Err(refuse(LinkFault::Long));
        }
        if let Err(fault) = check_visible(&target) {
            return Err(refuse(LinkFault::Target { target, fault }));
        }
        if leaves(path, &target, files, store, commit)? {
            if policy == Symlinks::Within {
                return Err(refuse(LinkFault::Leaves { target }));
            }
            notices.push(Notice::SymlinkOutside {
                path: path.clone(),
                target: text::name(&target),
            });
        }
    }
    Ok(())
}

/// Refuses what a name must not have either. A target may lead to where names are not UTF-8, so only the text in it is
/// judged; the rest is shown by its bytes wherever it is shown.
fn check_visible(target: &[u8]) -> Result<(), path::PathFault> {
    target.utf8_chunks().try_for_each(|chunk| {
        if let Some(c) = chunk.valid().chars().find(|c| c.is_control()) {
            return Err(path::PathFault::Control(c));
        }
        path::check_visible(chunk.valid())
    })
}

/// Whether a path leads to a regular file of the commit, be it one or a link to one. `None` where that is not known,
/// for the text of a link is not here.
pub(super) fn leads_to_file(
    store: &Store,
    files: &BTreeMap<RelPath, File>,
    path: &RelPath,
) -> Option<bool> {
    let text = |id: BlobId| store.read(ObjectKind::Blob, id.0).ok_or(());
    let start = split(path.as_str().as_bytes());
    let led = follow(Vec::new(), start, files, text).ok()?;
    Some(match led {
        LinkTarget::To(path) => files
            .get(path.as_str())
            .is_some_and(|file| file.mode != FileMode::Symlink),
        LinkTarget::Out | LinkTarget::Around => false,
    })
}

/// Whether a link leads out of the tree, also by way of other links.
fn leaves(
    link: &RelPath,
    target: &[u8],
    files: &BTreeMap<RelPath, File>,
    store: &Store,
    commit: CommitId,
) -> Result<bool, Error> {
    if target.starts_with(b"/") {
        return Ok(true);
    }
    let at = link
        .parent()
        .map(|parent| parent.components().map(str::to_owned).collect())
        .unwrap_or_default();
    let led = follow(at, split(target), files, |id| blob(store, commit, id))?;
    Ok(matches!(led, LinkTarget::Out))
}

/// Where a path leads.
enum LinkTarget {
    /// To this place in the tree, whatever is there.
    To(String),
    /// Out of the tree.
    Out,
    /// In a loop, which stays where it is.
    Around,
}

/// Links that are followed before it counts as a loop, as the kernel does (`MAXSYMLINKS`).
const HOPS: usize = 40;

/// Follows a path, whose components are `pending` with the last first, from a directory: in the commit, not on the disk.
fn follow<E>(
    mut at: Vec<String>,
    mut pending: Vec<Vec<u8>>,
    files: &BTreeMap<RelPath, File>,
    text: impl Fn(BlobId) -> Result<Vec<u8>, E>,
) -> Result<LinkTarget, E> {
    let mut hops = 0;
    while let Some(component) = pending.pop() {
        match component.as_slice() {
            b"" | b"." => {}
            b".." => {
                if at.pop().is_none() {
                    return Ok(LinkTarget::Out);
                }
            }
            name => {
                at.push(text::decode(name).into_owned());
                let here = at.join("/");
                if let Some(File {
                    mode: FileMode::Symlink,
                    id,
                }) = files.get(here.as_str())
                {
                    hops += 1;
                    let next = text(*id)?;
                    if next.starts_with(b"/") {
                        return Ok(LinkTarget::Out);
                    }
                    if hops > HOPS {
                        return Ok(LinkTarget::Around);
                    }
                    at.pop();
                    pending.extend(split(&next));
                }
            }
        }
    }
    Ok(LinkTarget::To(at.join("/")))
}

/// The components of a link's target, last first.
fn split(target: &[u8]) -> Vec<Vec<u8>> {
    target
        .split(|&byte| byte == b'/')
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}
