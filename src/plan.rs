//! The three-way plan: what is done at each path, from what we wrote, what is there, and what the commit has.
//!
//! Pure: no files, no network, no clock. The rules are the table of the design, §7:
//!
//! | base → local | base → remote | action |
//! |---|---|---|
//! | same | same | nothing |
//! | same | changed, deleted | replace, delete |
//! | edited | same, changed, deleted | by [`LocalEdits`]: replace (the edit is kept aside), keep, or refuse |
//! | missing | any | written again |
//! | equal to remote | any | adopted |
//! | not ours, in the way | wanted | equal: adopted; else as edited |
//! | not ours | not wanted | never looked at |
//!
//! In protected paths a local edit always wins. What never happens under any policy: a file of somebody else inside a
//! directory is removed because a file should stand there, or a path is written through a symlink.

use std::collections::{BTreeMap, BTreeSet};

use crate::git::{File, FileMode, RelPath, Tree};
use crate::patterns::Patterns;
use crate::scan::Local;
use crate::settings::LocalEdits;

mod error;
mod put_back;

pub use error::{Conflict, Error};
pub use put_back::InTheWay;

/// What the plan goes by besides the three trees.
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
    /// Paths that must stay regular files once they were.
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
    index: BTreeMap<RelPath, File>,
    counts: Counts,
    in_the_way: Vec<InTheWay>,
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
    /// Whether what is there is somebody's work that no commit holds.
    pub edited: bool,
}

/// A path that stays as it is, against the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where.
    pub path: RelPath,
    /// Why.
    pub reason: Reason,
}

/// Why a path stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A pattern of `protect` matches.
    Protected,
    /// `local_edits = "keep"`.
    Policy,
    /// `local_edits = "refuse"`, and the update does not touch the path.
    Untouched,
    /// A local file that stays stands at the place of a directory above it.
    Blocked,
}

/// How many paths were treated how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Managed files of the commit.
    pub checked: u64,
    /// Of these, those that were right already but not known as ours.
    pub adopted: u64,
    /// Files of the commit that `exclude` leaves out.
    pub excluded: u64,
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

    /// What is ours after the operations: the base of the next plan.
    #[must_use]
    pub fn index(&self) -> &BTreeMap<RelPath, File> {
        &self.index
    }

    /// How many paths were treated how.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

impl Plan {
    /// Nothing is done, and what is ours stays ours.
    #[must_use]
    pub fn unchanged(base: &BTreeMap<RelPath, File>) -> Self {
        Self {
            index: base.clone(),
            ..Self::default()
        }
    }
}

/// The files of a commit that are managed, as they should be on disk.
#[must_use]
pub fn managed(tree: &Tree, policy: &Policy) -> BTreeMap<RelPath, File> {
    let wanted = tree
        .files()
        .iter()
        .filter(|(path, _)| !policy.exclude.matches(path));
    wanted
        .map(|(path, file)| {
            let mut file = *file;
            if file.mode == FileMode::Regular && policy.executable.matches(path) {
                file.mode = FileMode::Executable;
            }
            (path.clone(), file)
        })
        .collect()
}

/// Plans the way from `local` to `remote`.
///
/// `base` is what we wrote last, `local` a [`survey`](crate::scan::Scanner::survey) of every path of both.
pub fn plan(
    base: &BTreeMap<RelPath, File>,
    local: &BTreeMap<RelPath, Local>,
    remote: &BTreeMap<RelPath, File>,
    policy: &Policy,
) -> Result<Plan, Error> {
    check_losses(base, remote, policy)?;
    let mut planner = Planner {
        base,
        local,
        remote,
        policy,
        plan: Plan::default(),
        conflicts: Vec::new(),
        staying: BTreeSet::new(),
    };
    planner.plan.counts.checked = remote.len() as u64;
    planner.plan.index.clone_from(remote);
    // What goes comes first: whether a directory can make room for a file, and a file for a directory, depends on it.
    for path in base.keys().filter(|path| !remote.contains_key(*path)) {
        planner.leave(path);
    }
    for (path, file) in remote {
        planner.want(path, *file);
    }
    let Planner {
        mut plan,
        conflicts,
        ..
    } = planner;
    if !conflicts.is_empty() {
        return Err(Error::Conflicts { conflicts });
    }
    plan.operations.sort_by(|a, b| a.path.cmp(&b.path));
    plan.kept.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(plan)
}

/// Fewer lost files than this are no mass deletion, however small the tree is.
const MANY: usize = 10;

fn check_losses(
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

struct Planner<'a> {
    base: &'a BTreeMap<RelPath, File>,
    local: &'a BTreeMap<RelPath, Local>,
    remote: &'a BTreeMap<RelPath, File>,
    policy: &'a Policy,
    plan: Plan,
    conflicts: Vec<Conflict>,
    /// Local files that stay though the commit has nothing there.
    staying: BTreeSet<RelPath>,
}

impl Planner<'_> {
    fn local(&self, path: &RelPath) -> &Local {
        self.local.get(path).unwrap_or(&Local::Missing)
    }

    /// A path that is ours and that the commit does not have.
    fn leave(&mut self, path: &RelPath) {
        let local = self.local(path).clone();
        let unedited = self.base.get(path).is_some_and(|file| local.is(file))
            || self.only_executable_bit(path, &local, None);
        match local {
            // Somebody made a directory of it: that is not ours, and nothing is wanted here.
            Local::Missing | Local::Directory { .. } => {}
            _ if unedited => self.operate(path, local, None, false),
            Local::Special { .. } => {
                self.staying.insert(path.clone());
            }
            _ => match self.verdict(path, true) {
                Verdict::Replace => self.operate(path, local, None, true),
                Verdict::Keep(reason) => {
                    self.staying.insert(path.clone());
                    self.keep(path, reason);
                }
                Verdict::Refuse => {
                    self.conflict(path, "it was edited here, and the commit deletes it");
                }
            },
        }
    }

    /// A path that the commit has.
    fn want(&mut self, path: &RelPath, file: File) {
        if self.blocked(path) {
            return;
        }
        let local = self.local(path).clone();
        if local.is(&file) {
            if self.base.get(path) != Some(&file) {
                self.plan.counts.adopted += 1;
            }
            return;
        }
        let base = self.base.get(path);
        let unedited = base.is_some_and(|base| local.is(base))
            || self.only_executable_bit(path, &local, Some(&file));
        match &local {
            Local::Missing => self.operate(path, local, Some(file), false),
            _ if unedited => self.operate(path, local, Some(file), false),
            Local::Directory { below, .. } => {
                let cleared =
                    below.foreign.is_none() && below.paths.iter().all(|path| self.deletes(path));
                if cleared {
                    self.operate(path, local, Some(file), false);
                } else {
                    self.stand_in_the_way(
                        path,
                        "a directory with local files stands where the commit has a file",
                    );
                }
            }
            Local::Special { .. } => {
                self.stand_in_the_way(
                    path,
                    "a socket, FIFO or device stands where the commit has a file",
                );
            }
            Local::File { .. } | Local::Symlink { .. } => {
                match self.verdict(path, base != Some(&file)) {
                    Verdict::Replace => self.operate(path, local, Some(file), true),
                    Verdict::Keep(reason) => self.keep(path, reason),
                    Verdict::Refuse if base.is_some() => {
                        self.conflict(path, "it was edited here, and the commit changes it");
                    }
                    Verdict::Refuse => self.conflict(
                        path,
                        "a file that is not ours stands where the commit has one",
                    ),
                }
            }
        }
    }

    /// What is done about somebody's work at a path, which the update `touches` or not.
    fn verdict(&self, path: &RelPath, touches: bool) -> Verdict {
        if self.policy.protect.matches(path) {
            return Verdict::Keep(Reason::Protected);
        }
        match self.policy.local_edits {
            LocalEdits::Replace => Verdict::Replace,
            LocalEdits::Keep => Verdict::Keep(Reason::Policy),
            LocalEdits::Refuse if touches => Verdict::Refuse,
            LocalEdits::Refuse => Verdict::Keep(Reason::Untouched),
        }
    }

    /// Something that is never taken away, whatever the policy says about edits.
    fn stand_in_the_way(&mut self, path: &RelPath, problem: &'static str) {
        match self.verdict(path, true) {
            Verdict::Keep(reason) => self.keep(path, reason),
            Verdict::Replace | Verdict::Refuse => self.conflict(path, problem),
        }
    }

    /// Whether a local file that stays, or that is not ours, is at the place of a directory above the path.
    fn blocked(&mut self, path: &RelPath) -> bool {
        for directory in path.ancestors() {
            let local = self.local(&directory);
            if matches!(local, Local::Missing | Local::Directory { .. }) || self.deletes(&directory)
            {
                continue;
            }
            let keeps = self.staying.contains(&directory)
                || self.policy.protect.matches(&directory)
                || self.policy.local_edits == LocalEdits::Keep;
            if keeps {
                self.plan.index.remove(path);
                self.plan.kept.push(Kept {
                    path: path.clone(),
                    reason: Reason::Blocked,
                });
            } else if !self.conflicts.iter().any(|known| known.path == directory) {
                self.conflict(&directory, "it stands where the commit has a directory");
            }
            return true;
        }
        false
    }

    /// Whether the plan takes away what is at the path.
    fn deletes(&self, path: &RelPath) -> bool {
        !self.remote.contains_key(path)
            && !self.staying.contains(path)
            && self.base.contains_key(path)
            && self
                .plan
                .operations
                .iter()
                .any(|known| known.path == *path && known.after.is_none())
    }

    /// Where the execute bit is ours to set, a local file that differs in nothing else is not edited.
    fn only_executable_bit(&self, path: &RelPath, local: &Local, remote: Option<&File>) -> bool {
        let same = |known: &File| local.id() == Some(known.id) && known.mode != FileMode::Symlink;
        matches!(local, Local::File { .. })
            && self.policy.executable.matches(path)
            && (remote.is_some_and(same) || self.base.get(path).is_some_and(same))
    }

    fn operate(&mut self, path: &RelPath, before: Local, after: Option<File>, edited: bool) {
        self.plan.operations.push(Operation {
            path: path.clone(),
            before,
            after,
            edited,
        });
    }

    fn keep(&mut self, path: &RelPath, reason: Reason) {
        if !self.base.contains_key(path) {
            // Never ours, so it does not become ours by staying: or a later commit could delete it.
            self.plan.index.remove(path);
        }
        self.plan.kept.push(Kept {
            path: path.clone(),
            reason,
        });
    }

    fn conflict(&mut self, path: &RelPath, problem: &'static str) {
        self.conflicts.push(Conflict {
            path: path.clone(),
            problem,
        });
    }
}

enum Verdict {
    Replace,
    Keep(Reason),
    Refuse,
}

#[cfg(test)]
mod tests;
