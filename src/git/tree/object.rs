//! One tree object: its bytes, and the checks of its entries.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::TreeFault;
use crate::git::TreeId;
use crate::git::id::Oid;
use crate::git::mode::EntryMode;
use crate::git::path::{self, ParentPath, RelPath};
use crate::text::{self, words};

/// One entry of a tree object, unchecked: also one that no tree may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// Type and permissions, as `stat` has them.
    pub mode: u32,
    /// Its name, as bytes.
    pub name: &'a [u8],
    /// The object it points to.
    pub id: Oid,
}

impl TreeEntry<'_> {
    /// Whether the mode is one of a directory.
    #[must_use]
    pub fn is_tree(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }
}

/// Encodes entries as the raw tree object git would write; they are sorted here.
#[must_use]
pub fn encode(mut entries: Vec<TreeEntry<'_>>) -> Vec<u8> {
    entries.sort_by(|a, b| order((a.name, a.is_tree()), (b.name, b.is_tree())));
    let mut raw = Vec::with_capacity(entries.len() * 40);
    for entry in &entries {
        raw.extend_from_slice(format!("{:o} ", entry.mode).as_bytes());
        raw.extend_from_slice(entry.name);
        raw.push(0);
        raw.extend_from_slice(entry.id.as_bytes());
    }
    raw
}

/// Git compares a directory's name as if it ended in `/`.
fn order((a, a_is_tree): (&[u8], bool), (b, b_is_tree): (&[u8], bool)) -> Ordering {
    let slash = |is_tree: bool| is_tree.then_some(&b'/');
    let same = a.len().min(b.len());
    let rest_of_b = b[same..].iter().chain(slash(b_is_tree));
    a[..same]
        .cmp(&b[..same])
        .then_with(|| a[same..].iter().chain(slash(a_is_tree)).cmp(rest_of_b))
}

/// An entry that was checked, with its whole path.
pub(super) type Listed = (RelPath, EntryMode, Oid);

/// Checks every entry of a tree object that was hashed already.
pub(super) fn parse(
    id: TreeId,
    parent: Option<&RelPath>,
    raw: &[u8],
) -> Result<Vec<Listed>, TreeFault> {
    let mut listed: Vec<Listed> = Vec::new();
    let mut place = ParentPath::of(parent);
    let mut rest = raw;
    while !rest.is_empty() {
        let malformed = || TreeFault::Malformed { id };
        let space = rest
            .iter()
            .position(|&byte| byte == b' ')
            .ok_or_else(malformed)?;
        let (octal, after) = (&rest[..space], &rest[space + 1..]);
        let nul = after
            .iter()
            .position(|&byte| byte == 0)
            .ok_or_else(malformed)?;
        let (name, after) = (&after[..nul], &after[nul + 1..]);
        let (object, after) = after.split_first_chunk::<20>().ok_or_else(malformed)?;
        rest = after;

        let shown = || shown(parent, name);
        let mode = EntryMode::parse(octal).ok_or_else(|| TreeFault::Mode {
            path: shown(),
            mode: words(octal),
        })?;
        let path = place
            .join(name)
            .and_then(|path| path::check_leaf(&path, mode).map(|()| path))
            .map_err(|fault| TreeFault::Path {
                path: shown(),
                fault,
            })?;
        let object = Oid::from_bytes(*object);
        if object == Oid::NULL {
            return Err(TreeFault::NullId { path: shown() });
        }
        let is_sorted = follows(&listed, name, mode);
        if has_name(&listed, name, mode, is_sorted) {
            return Err(TreeFault::Duplicate { path: shown() });
        }
        if !is_sorted {
            return Err(TreeFault::Unsorted { id });
        }
        listed.push((path, mode, object));
    }
    check_normal_forms(&listed)?;
    Ok(listed)
}

/// Whether an entry comes after all that are `listed`, which are sorted.
fn follows(listed: &[Listed], name: &[u8], mode: EntryMode) -> bool {
    listed
        .last()
        .is_none_or(|last| order(key(last), (name, mode == EntryMode::Tree)) == Ordering::Less)
}

/// Whether one of `listed`, which are sorted, has the name. The next in order can only be the directory of a file's name.
fn has_name(listed: &[Listed], name: &[u8], mode: EntryMode, is_sorted: bool) -> bool {
    if !is_sorted {
        return listed.iter().any(|known| key(known).0 == name);
    }
    let file = (name, false);
    mode == EntryMode::Tree
        && listed
            .binary_search_by(|known| order(key(known), file))
            .is_ok()
}

fn key((path, mode, _): &Listed) -> (&[u8], bool) {
    (path.name().as_bytes(), *mode == EntryMode::Tree)
}

fn check_normal_forms(listed: &[Listed]) -> Result<(), TreeFault> {
    if listed.iter().all(|(path, ..)| path.as_str().is_ascii()) {
        // Each name is its own normal form, and none is there twice.
        return Ok(());
    }
    let mut seen = HashMap::new();
    for (path, ..) in listed {
        if let Some(other) = seen.insert(path::normalised(path.name()), path) {
            return Err(TreeFault::SameName {
                path: path.to_string(),
                other: other.to_string(),
            });
        }
    }
    Ok(())
}

fn shown(parent: Option<&RelPath>, name: &[u8]) -> String {
    let shown = text::name(name);
    parent.map_or_else(|| shown.clone(), |parent| format!("{parent}/{shown}"))
}
