//! The three-way plan: what is done at each path, by the last sync (base), the target (local) and the commit (remote).
//!
//! Pure: no files, no network, no clock. The rules:
//!
//! | base → local | base → remote | action |
//! |---|---|---|
//! | same | same | nothing |
//! | same | changed, deleted | replace, delete |
//! | edited | same, changed, deleted | by [`LocalEdits`]: replace (the edit is kept aside), keep, merge, or refuse |
//! | missing | any | written again |
//! | equal to remote | any | adopted |
//! | not ours, in the way | wanted | equal: adopted; else as edited |
//! | not ours | not wanted | never read |
//!
//! In protected paths a local edit always wins. Under no policy is an unmanaged file in a directory removed to put a file
//! in the directory's place, or a path written through a symlink.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::git::{File, FileMode, RelPath, Tree};
use crate::patterns::Patterns;
use crate::scan::{Local, Locals};
use crate::settings::LocalEdits;
pub use crate::state::{Kept, SkipReason};

mod error;
mod merge;
mod planner;

pub use error::{Attempt, Conflict, ConflictDocument, ConflictKind, Error};
pub use merge::{Unmerged, merge};

use planner::Planner;

/// Fewer lost files than this are not a mass deletion, however small the tree is.
const MANY: usize = 10;

/// The policy of a plan.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What happens to local edits.
    pub local_edits: LocalEdits,
    /// Where a local edit always wins.
    pub protect: Patterns,
    /// What is not managed.
    pub exclude: Patterns,
    /// Where the execute bit is ours to set.
    pub executable: Patterns,
    /// Paths that must stay once they were there, and must be regular files or symlinks to such.
    pub require: Vec<RelPath>,
    /// Whether a commit may lose more than half of the files.
    pub mass_delete: MassDelete,
}

/// Whether an update may take away most of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MassDelete {
    /// Refused: most often a mistake, or the wrong branch.
    Refuse,
    /// Asked for.
    Allow,
}

/// What is to be done, and what is ours afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    operations: Vec<Operation>,
    kept: Vec<Kept>,
    index: Arc<BTreeMap<RelPath, File>>,
    counts: Counts,
    in_the_way: Vec<InTheWay>,
    merged: BTreeSet<RelPath>,
    conflicts: Vec<Conflict>,
    put_back: BTreeMap<RelPath, PutBack>,
}

/// What is at the path of a local edit that is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutBack {
    /// No edit.
    OverNothing,
    /// What an update that is undone has made of the same edit: a merge, or an earlier rollback of one.
    OverItsMerge,
    /// Another edit.
    OverAnEdit,
}

/// A local edit that cannot be put back, because its path is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTheWay {
    /// The path of the edit.
    pub path: RelPath,
    /// What takes the path: a file above it, or a directory with files in its place.
    pub by: RelPath,
}

/// One path that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Where.
    pub path: RelPath,
    /// What must be there when it is carried out.
    pub before: Local,
    /// What is there afterwards; `None`: nothing.
    pub after: Option<File>,
    /// Whether it replaces a local edit, which no commit has.
    pub edited: bool,
}

/// A file that was edited here and that the commit changes, to be merged.
#[derive(Debug, Clone, Copy)]
pub struct EditedFile<'a> {
    /// The path.
    pub path: &'a RelPath,
    /// What was edited; `None` where an earlier sync has kept the edit, and has not recorded it.
    pub base: Option<&'a File>,
    /// What is there now.
    pub local: &'a Local,
    /// What the commit has.
    pub remote: &'a File,
}

/// What a plan may need besides the three trees.
pub struct Details<'a> {
    /// Files of the last commit that it did not write, because other files were at their paths: where the commit has not
    /// changed such a file since, it does not touch the path.
    pub left: &'a BTreeMap<RelPath, File>,
    /// Edits against which an earlier sync has withheld a change, each with the file that was edited, where that is known:
    /// the base is the commit of then, so by itself it does not show that change.
    pub withheld: &'a BTreeMap<RelPath, Option<File>>,
    /// Merges an edit under [`LocalEdits::Merge`]: the file that results, or why there is none.
    pub merge: &'a dyn Fn(EditedFile<'_>) -> Result<File, Cow<'static, str>>,
}

/// How many paths were treated how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Managed files of the commit.
    pub checked: u64,
    /// Of these, those that were right already but not known as ours.
    pub adopted: u64,
}

impl Plan {
    /// The operations, by path.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Local edits that stay.
    #[must_use]
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Whether the operation at the path merges a local edit with the commit's change.
    #[must_use]
    pub fn merges(&self, path: &RelPath) -> bool {
        self.merged.contains(path)
    }

    /// What is in the way, by path. A plan with conflicts is shown, and never carried out: its operations are those of the
    /// other paths.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// Whether the operation at the path puts a local edit back, and what it replaces.
    #[must_use]
    pub fn puts_back(&self, path: &RelPath) -> Option<PutBack> {
        self.put_back.get(path).copied()
    }

    /// The managed files after the operations: the base of the next plan.
    #[must_use]
    pub fn index(&self) -> &Arc<BTreeMap<RelPath, File>> {
        &self.index
    }

    /// How many paths were treated how.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

impl Plan {
    /// The plan for a target that is known to equal its commit, which is never carried out and so needs no base.
    #[must_use]
    pub fn nothing(counts: Counts) -> Self {
        Self {
            counts,
            ..Self::default()
        }
    }

    /// A plan without operations, with this base.
    #[must_use]
    pub fn unchanged(base: &Arc<BTreeMap<RelPath, File>>) -> Self {
        Self {
            index: Arc::clone(base),
            ..Self::default()
        }
    }

    /// Puts local edits back. They stay local edits, because the base stays the commit's.
    ///
    /// `written` is `base` with what undone updates have made of edits.
    ///
    /// A path with a newer edit (one that the plan keeps or merges) is not changed, nor is one that something else takes once the
    /// plan is carried out: see [`in_the_way`](Self::in_the_way).
    pub fn put_back(
        &mut self,
        files: &BTreeMap<RelPath, File>,
        base: &BTreeMap<RelPath, File>,
        written: &BTreeMap<RelPath, File>,
        local: &Locals,
    ) {
        let is_of = |files: &BTreeMap<RelPath, File>, path: &RelPath, here: &Local| {
            files.get(path).is_some_and(|file| here.is(file))
        };
        for (path, file) in files {
            if self.merges(path) || self.kept.iter().any(|kept| kept.path == *path) {
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
                let edited = *here != Local::Missing && !is_of(base, path, here);
                let over = match edited {
                    false => PutBack::OverNothing,
                    true if is_of(written, path, here) => PutBack::OverItsMerge,
                    true => PutBack::OverAnEdit,
                };
                self.put_back.insert(path.clone(), over);
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

    /// The edits that cannot be put back.
    #[must_use]
    pub fn in_the_way(&self) -> &[InTheWay] {
        &self.in_the_way
    }

    /// What takes the place of a file at `path` once the plan is carried out.
    fn taken(&self, path: &RelPath, local: &Locals) -> Option<RelPath> {
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

/// The files of a commit that are managed, as they should be on disk. As a rule these are all that it has.
#[must_use]
pub fn managed(tree: &Tree, policy: &Policy) -> Arc<BTreeMap<RelPath, File>> {
    let managed = || {
        let mut is_excluded = policy.exclude.sorted_cursor();
        let mut is_executable = policy.executable.sorted_cursor();
        tree.files().iter().map(move |(path, file)| {
            let mut managed = *file;
            if file.mode == FileMode::Regular && is_executable(path) {
                managed.mode = FileMode::Executable;
            }
            (path, file, (!is_excluded(path)).then_some(managed))
        })
    };
    if managed().all(|(_, file, managed)| managed == Some(*file)) {
        return Arc::clone(tree.files());
    }
    let managed = managed().filter_map(|(path, _, managed)| Some((path.clone(), managed?)));
    Arc::new(managed.collect())
}

/// Refuses a commit in which a required file is a symlink that does not lead to a file. `leads_to_file` returns `None`
/// if the commit's content is not here.
pub fn check_required(
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
        Some(path) => Err(Error::RequiredGone {
            path: path.clone(),
            is_link: true,
        }),
        None => Ok(()),
    }
}

/// Plans how `local` becomes `remote`.
///
/// `base` is what the last sync wrote, `local` a [`survey`](crate::scan::Scanner::survey) of every path of both. `remote` is
/// shared with the plan, which as a rule makes all of it ours. What conflicts is in the plan.
pub fn plan(
    base: &BTreeMap<RelPath, File>,
    local: &Locals,
    remote: &Arc<BTreeMap<RelPath, File>>,
    policy: &Policy,
) -> Result<Plan, Error> {
    let details = Details {
        left: &BTreeMap::new(),
        withheld: &BTreeMap::new(),
        merge: &|_| Err("there is nothing to merge it with".into()),
    };
    plan_with(base, local, remote, &details, policy)
}

/// As [`plan`], with what it may need besides.
pub fn plan_with(
    base: &BTreeMap<RelPath, File>,
    local: &Locals,
    remote: &Arc<BTreeMap<RelPath, File>>,
    details: &Details<'_>,
    policy: &Policy,
) -> Result<Plan, Error> {
    check_losses(base, remote, policy)?;
    Ok(Planner::new(base, local, remote, details, policy).run())
}

/// Refuses a commit that would, unless that is allowed.
fn check_losses(
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
        return Err(Error::RequiredGone {
            path: path.clone(),
            is_link: false,
        });
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

#[cfg(test)]
mod tests;
