//! Local edits: what is not as the last sync wrote it.

use std::collections::BTreeMap;

use super::sorted_cursor::SortedCursor;
use super::{Error, Local, Scanner};
use crate::git::{File, FileMode, RelPath};
use crate::patterns::Patterns;

impl Scanner<'_> {
    /// What of `base` is not as it was written: each such path with what is there now.
    ///
    /// Where `executable` matches, the execute bit is ours to set, and a file that differs in nothing else is no edit.
    pub fn edits(
        &self,
        base: &BTreeMap<RelPath, File>,
        executable: &Patterns,
    ) -> Result<BTreeMap<RelPath, Local>, Error> {
        let mut local = self.inspect(base.keys())?;
        let mut written = SortedCursor::new(base);
        local.retain(|path, local| {
            let is_same = written.get(path).is_some_and(|file| {
                local.is(file) || (local.has_content_of(file) && executable.matches(path))
            });
            !is_same
        });
        Ok(local)
    }
}

impl Local {
    /// Whether both are regular files of the same content.
    fn has_content_of(&self, file: &File) -> bool {
        let are_files = matches!(self, Self::File { .. }) && file.mode != FileMode::Symlink;
        are_files && self.id() == Some(file.id)
    }
}
