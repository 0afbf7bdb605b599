//! The decision for each path, removals first because other decisions depend on them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::iter;
use std::sync::Arc;

use super::{
    Conflict, ConflictKind, Counts, Details, EditedFile, Kept, Operation, Plan, Policy, SkipReason,
};
use crate::git::{File, FileMode, RelPath};
use crate::lookup::AscendingLookup;
use crate::scan::{Local, Locals};
use crate::settings::LocalEdits;

/// A plan in the making.
pub(super) struct Planner<'a> {
    base: &'a BTreeMap<RelPath, File>,
    local: &'a Locals,
    remote: &'a BTreeMap<RelPath, File>,
    details: &'a Details<'a>,
    policy: &'a Policy,
    plan: Plan,
    conflicts: Vec<Conflict>,
    /// The paths that the plan deletes.
    deleted: HashSet<&'a RelPath>,
    /// Files that stay though the commit does not have them. Only these can take the path of a directory, because no path
    /// of a commit is above another.
    obstructions: BTreeMap<&'a RelPath, Stays>,
}

/// A path, and what each of the three trees has there.
#[derive(Clone, Copy)]
struct PathStates<'a> {
    path: &'a RelPath,
    base: Option<&'a File>,
    local: &'a Local,
    remote: Option<&'a File>,
}

/// Whether a local file at the place of a directory stays because of what it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stays {
    Anyhow,
    ByPolicy,
}

/// The paths of the three trees in order.
fn path_states<'a>(
    base: &'a BTreeMap<RelPath, File>,
    local: &'a Locals,
    remote: &'a BTreeMap<RelPath, File>,
) -> impl Iterator<Item = PathStates<'a>> {
    let mut base = AscendingLookup::new(base);
    let mut local = AscendingLookup::new(local);
    let mut remote = AscendingLookup::new(remote);
    iter::from_fn(move || {
        let heads = [base.next_key(), local.next_key(), remote.next_key()];
        let path = heads.into_iter().flatten().min()?;
        Some(PathStates {
            path,
            base: base.get(path),
            local: local.get(path).unwrap_or(&Local::Missing),
            remote: remote.get(path),
        })
    })
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        base: &'a BTreeMap<RelPath, File>,
        local: &'a Locals,
        remote: &'a Arc<BTreeMap<RelPath, File>>,
        details: &'a Details<'a>,
        policy: &'a Policy,
    ) -> Self {
        let plan = Plan {
            index: Arc::clone(remote),
            counts: Counts {
                checked: remote.len() as u64,
                ..Counts::default()
            },
            ..Plan::default()
        };
        Self {
            base,
            local,
            remote,
            details,
            policy,
            plan,
            conflicts: Vec::new(),
            deleted: HashSet::new(),
            obstructions: BTreeMap::new(),
        }
    }

    /// Plans every path.
    pub(super) fn run(mut self) -> Plan {
        // Removals first: whether a directory can make room for a file, and a file for a directory, depends on them.
        let mut wanted = Vec::new();
        for row in path_states(self.base, self.local, self.remote) {
            match row.remote {
                // As a rule, almost all. What is in the way of a path is before it.
                Some(file) if row.local.is(file) && self.obstructions.is_empty() => {
                    self.plan.counts.adopted += u64::from(row.base != Some(file));
                }
                Some(file) => wanted.push((row, *file)),
                None => self.plan_removed(row),
            }
        }
        for (row, file) in wanted {
            self.plan_wanted(row, file);
        }
        let Self {
            mut plan,
            mut conflicts,
            ..
        } = self;
        conflicts.sort_by(|a, b| a.path.cmp(&b.path));
        plan.conflicts = conflicts;
        plan.operations.shrink_to_fit();
        plan.operations.sort_by(|a, b| a.path.cmp(&b.path));
        plan.kept.sort_by(|a, b| a.path.cmp(&b.path));
        plan
    }

    /// A path that the commit does not have.
    fn plan_removed(&mut self, row: PathStates<'a>) {
        if matches!(row.local, Local::Missing | Local::Directory { .. }) {
            // A directory there is not managed, and the commit needs nothing at this path.
            return;
        }
        let Some(base) = row.base else {
            self.obstructions.insert(row.path, Stays::ByPolicy);
            return;
        };
        if row.local.is(base) || self.only_executable_bit(row) {
            return self.delete(row, false);
        }
        let stays = match row.local {
            Local::Special { .. } => Stays::Anyhow,
            _ => match self.verdict(row.path, true) {
                Decision::Replace => return self.delete(row, true),
                Decision::Keep(reason) => {
                    self.keep(row, reason, true);
                    Stays::Anyhow
                }
                Decision::Refuse | Decision::Merge => {
                    self.conflict(row.path, ConflictKind::Deleted);
                    Stays::ByPolicy
                }
            },
        };
        self.obstructions.insert(row.path, stays);
    }

    /// A path that the commit has.
    fn plan_wanted(&mut self, row: PathStates<'a>, file: File) {
        if self.blocked(row.path) {
            return;
        }
        let PathStates {
            path, base, local, ..
        } = row;
        if local.is(&file) {
            if base != Some(&file) {
                self.plan.counts.adopted += 1;
            }
            return;
        }
        let unedited = base.is_some_and(|base| local.is(base)) || self.only_executable_bit(row);
        match local {
            Local::Missing => self.operate(row, Some(file), false),
            _ if unedited => self.operate(row, Some(file), false),
            Local::Directory { below, .. } => {
                let cleared = below.foreign.is_none()
                    && below.paths.iter().all(|path| self.deleted.contains(path));
                if cleared {
                    self.operate(row, Some(file), false);
                } else {
                    self.obstruct(row, ConflictKind::Directory);
                }
            }
            Local::Special { .. } => {
                self.obstruct(row, ConflictKind::Special);
            }
            Local::File { .. } | Local::Symlink { .. } => {
                let last = base.or_else(|| self.details.left.get(path));
                // Going to the very file that was edited changes nothing for the edit, whatever an earlier sync withheld.
                let touches = last != Some(&file) && self.edited(row) != Some(file);
                match self.verdict(path, touches) {
                    Decision::Replace => self.operate(row, Some(file), true),
                    Decision::Keep(SkipReason::Untouched)
                        if self.policy.local_edits == LocalEdits::Merge
                            && self.is_withheld(row)
                            && self.edited(row).is_some() =>
                    {
                        self.merge_late(row, &file);
                    }
                    Decision::Keep(reason) => self.keep(row, reason, touches),
                    Decision::Merge if base.is_some() => self.merge(row, &file),
                    Decision::Refuse if base.is_some() => {
                        self.conflict(path, ConflictKind::Changed);
                    }
                    Decision::Refuse | Decision::Merge => {
                        self.conflict(path, ConflictKind::Foreign);
                    }
                }
            }
        }
    }

    /// The file of a commit that was edited here: the base, or what that was when an earlier sync kept the edit; `None` where
    /// that is not known.
    fn edited(&self, row: PathStates<'_>) -> Option<File> {
        match self.details.withheld.get(row.path) {
            Some(known) => *known,
            None => row.base.copied(),
        }
    }

    /// Whether an earlier sync has withheld a change that the commit has too.
    fn is_withheld(&self, row: PathStates<'_>) -> bool {
        let earlier = self.details.withheld.get(row.path);
        earlier.is_some_and(|edited| edited.is_none() || *edited != row.remote.copied())
    }

    /// The policy's decision about a local edit, at a path that the update changes (`touches`) or not.
    fn verdict(&self, path: &RelPath, touches: bool) -> Decision {
        if self.policy.protect.matches(path) {
            return Decision::Keep(SkipReason::Protected);
        }
        match self.policy.local_edits {
            LocalEdits::Replace => Decision::Replace,
            LocalEdits::Keep => Decision::Keep(SkipReason::Policy),
            LocalEdits::Merge if touches => Decision::Merge,
            LocalEdits::Refuse if touches => Decision::Refuse,
            LocalEdits::Merge | LocalEdits::Refuse => Decision::Keep(SkipReason::Untouched),
        }
    }

    /// An edited file that the commit changes too. It stays an edit, because the base becomes the commit's file.
    fn merge(&mut self, row: PathStates<'a>, remote: &File) {
        if let Err(problem) = self.try_merge(row, remote) {
            self.conflict(row.path, ConflictKind::NotMerged(problem));
        }
    }

    /// As [`merge`](Self::merge), of a change that an earlier sync has withheld. Where it fails, the edit stays as it was
    /// kept, because this update does not touch it.
    fn merge_late(&mut self, row: PathStates<'a>, remote: &File) {
        if self.try_merge(row, remote).is_err() {
            self.keep(row, SkipReason::Untouched, true);
        }
    }

    fn try_merge(&mut self, row: PathStates<'a>, remote: &File) -> Result<(), Cow<'static, str>> {
        let PathStates { path, local, .. } = row;
        let edited = self.edited(row);
        let merged = (self.details.merge)(EditedFile {
            path,
            base: edited.as_ref(),
            local,
            remote,
        })?;
        if local.is(&merged) {
            // It has the change, so nothing is withheld any more.
            self.plan.kept.push(Kept {
                path: path.clone(),
                reason: SkipReason::Untouched,
                withheld: false,
                base: None,
            });
        } else {
            self.plan.merged.insert(path.clone());
            self.operate(row, Some(merged), true);
        }
        Ok(())
    }

    /// Something that no policy removes.
    fn obstruct(&mut self, row: PathStates<'_>, problem: ConflictKind) {
        match self.verdict(row.path, true) {
            Decision::Keep(reason) => self.keep(row, reason, row.base != row.remote),
            Decision::Replace | Decision::Merge | Decision::Refuse => {
                self.conflict(row.path, problem);
            }
        }
    }

    /// Whether a local file that stays, or that is not ours, is at the place of a directory above the path.
    fn blocked(&mut self, path: &RelPath) -> bool {
        if self.obstructions.is_empty() {
            return false;
        }
        let found = path.ancestors().find_map(|directory| {
            let stays = self.obstructions.get(&directory).copied()?;
            Some((directory, stays))
        });
        let Some((directory, stays)) = found else {
            return false;
        };
        let keeps = stays == Stays::Anyhow
            || self.policy.protect.matches(&directory)
            || self.policy.local_edits == LocalEdits::Keep;
        if keeps {
            self.disown(path);
            self.plan.kept.push(Kept {
                path: path.clone(),
                reason: SkipReason::Blocked,
                withheld: true,
                base: None,
            });
        } else if !self.conflicts.iter().any(|known| known.path == directory) {
            self.conflict(&directory, ConflictKind::NoDirectory);
        }
        true
    }

    /// Where the execute bit is ours to set, a local file that differs in nothing else is not edited.
    fn only_executable_bit(&self, row: PathStates<'_>) -> bool {
        let same =
            |known: &File| row.local.id() == Some(known.id) && known.mode != FileMode::Symlink;
        matches!(row.local, Local::File { .. })
            && [row.remote, row.base].into_iter().flatten().any(same)
            && self.policy.executable.matches(row.path)
    }

    fn delete(&mut self, row: PathStates<'a>, edited: bool) {
        self.deleted.insert(row.path);
        self.operate(row, None, edited);
    }

    fn operate(&mut self, row: PathStates<'_>, after: Option<File>, edited: bool) {
        self.plan.operations.push(Operation {
            path: row.path.clone(),
            before: row.local.clone(),
            after,
            edited,
        });
    }

    fn keep(&mut self, row: PathStates<'_>, reason: SkipReason, withheld: bool) {
        if row.base.is_none() {
            // It was not managed and stays so, or a later commit could delete it.
            self.disown(row.path);
        }
        let withheld = withheld || self.is_withheld(row);
        let reason = match reason {
            SkipReason::Untouched if withheld => SkipReason::KeptBefore,
            reason => reason,
        };
        self.plan.kept.push(Kept {
            path: row.path.clone(),
            reason,
            withheld,
            base: self.edited(row).filter(|_| withheld),
        });
    }

    fn disown(&mut self, path: &RelPath) {
        Arc::make_mut(&mut self.plan.index).remove(path);
    }

    fn conflict(&mut self, path: &RelPath, problem: ConflictKind) {
        self.conflicts.push(Conflict {
            path: path.clone(),
            problem,
        });
    }
}

enum Decision {
    Replace,
    Keep(SkipReason),
    Merge,
    Refuse,
}
