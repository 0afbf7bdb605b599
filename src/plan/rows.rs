//! The three maps of a plan, side by side: each is walked once, and no path is looked up in another.

use std::collections::BTreeMap;

use crate::git::{File, RelPath};
use crate::scan::Local;

/// A path, and what each map has there.
#[derive(Clone, Copy)]
pub(super) struct PathStates<'a> {
    pub(super) path: &'a RelPath,
    pub(super) base: Option<&'a File>,
    pub(super) local: &'a Local,
    pub(super) remote: Option<&'a File>,
}

/// Every path of any of the maps, in order.
pub(super) fn rows<'a>(
    base: &'a BTreeMap<RelPath, File>,
    local: &'a BTreeMap<RelPath, Local>,
    remote: &'a BTreeMap<RelPath, File>,
) -> impl Iterator<Item = PathStates<'a>> {
    let mut base = base.iter().peekable();
    let mut local = local.iter().peekable();
    let mut remote = remote.iter().peekable();
    std::iter::from_fn(move || {
        let next = [
            base.peek().map(|(path, _)| *path),
            local.peek().map(|(path, _)| *path),
            remote.peek().map(|(path, _)| *path),
        ];
        let path = next.into_iter().flatten().min()?;
        let base = base.next_if(|(known, _)| *known == path);
        let local = local.next_if(|(known, _)| *known == path);
        let remote = remote.next_if(|(known, _)| *known == path);
        Some(PathStates {
            path,
            base: base.map(|(_, file)| file),
            local: local.map_or(&Local::Missing, |(_, local)| local),
            remote: remote.map(|(_, file)| file),
        })
    })
}
