//! Somebody's work put back on top of a plan.

use std::collections::BTreeMap;

use super::{Operation, Plan};
use crate::git::{File, RelPath};
use crate::scan::Local;

/// Work that cannot be put back, for something else is where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTheWay {
    /// Where it was.
    pub path: RelPath,
    /// What stands there: a file above it, or a directory with files in its place.
    pub by: RelPath,
}

impl Plan {
    /// Puts somebody's work back: afterwards it counts as a local edit, for what is ours stays the commit's.
    ///
    /// A path where there is work of today (one that the plan keeps) is left alone, and so is one whose place is taken
    /// once the plan is carried out: see [`in_the_way`](Self::in_the_way).
    pub fn put_back(
        &mut self,
        files: &BTreeMap<RelPath, File>,
        base: &BTreeMap<RelPath, File>,
        local: &BTreeMap<RelPath, Local>,
    ) {
        for (path, file) in files {
            if self.kept.iter().any(|kept| kept.path == *path) {
                continue;
            }
            if let Some(by) = self.taken(path, local) {
                self.in_the_way.push(InTheWay {
                    path: path.clone(),
                    by,
                });
                continue;
            }
            self.operations.retain(|operation| operation.path != *path);
            let here = local.get(path).unwrap_or(&Local::Missing);
            if !here.is(file) {
                let edited =
                    *here != Local::Missing && !base.get(path).is_some_and(|ours| here.is(ours));
                self.operations.push(Operation {
                    path: path.clone(),
                    before: here.clone(),
                    after: Some(*file),
                    edited,
                });
            }
        }
        self.operations.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// What could not be put back.
    #[must_use]
    pub fn in_the_way(&self) -> &[InTheWay] {
        &self.in_the_way
    }

    /// What takes the place of a file at `path` once the plan is carried out.
    fn taken(&self, path: &RelPath, local: &BTreeMap<RelPath, Local>) -> Option<RelPath> {
        let planned = |path: &RelPath| self.operations.iter().find(|known| known.path == *path);
        let is_file = |path: &RelPath| match planned(path) {
            Some(operation) => operation.after.is_some(),
            None => local
                .get(path)
                .is_some_and(|local| !matches!(local, Local::Missing | Local::Directory { .. })),
        };
        let above = path.ancestors().into_iter().find(is_file);
        let comes_below = || {
            let mut created = self.operations.iter().filter(|known| known.after.is_some());
            created.any(|known| known.path != *path && known.path.starts_with(path))
        };
        let stays_below = || match local.get(path) {
            Some(Local::Directory { below, .. }) => {
                below.foreign.is_some() || below.paths.iter().any(is_file)
            }
            Some(Local::Special { .. }) => planned(path).is_none(),
            _ => false,
        };
        above.or_else(|| (comes_below() || stays_below()).then(|| path.clone()))
    }
}
