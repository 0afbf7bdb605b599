//! What is done at each path, in the order in which one decides about another.

use std::collections::{BTreeMap, BTreeSet};

use super::{Conflict, Counts, Error, Kept, Operation, Plan, Policy, Reason};
use crate::git::{File, FileMode, RelPath};
use crate::scan::Local;
use crate::settings::LocalEdits;

/// A plan in the making.
pub(super) struct Planner<'a> {
    base: &'a BTreeMap<RelPath, File>,
    local: &'a BTreeMap<RelPath, Local>,
    remote: &'a BTreeMap<RelPath, File>,
    policy: &'a Policy,
    plan: Plan,
    conflicts: Vec<Conflict>,
    /// Local files that stay though the commit has nothing there.
    staying: BTreeSet<RelPath>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        base: &'a BTreeMap<RelPath, File>,
        local: &'a BTreeMap<RelPath, Local>,
        remote: &'a BTreeMap<RelPath, File>,
        policy: &'a Policy,
    ) -> Self {
        let plan = Plan {
            index: remote.clone(),
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
            policy,
            plan,
            conflicts: Vec::new(),
            staying: BTreeSet::new(),
        }
    }

    /// Plans every path.
    pub(super) fn run(mut self) -> Result<Plan, Error> {
        // What goes comes first: whether a directory can make room for a file, and a file for a directory, depends on
        // it.
        for path in self
            .base
            .keys()
            .filter(|path| !self.remote.contains_key(*path))
        {
            self.leave(path);
        }
        for (path, file) in self.remote {
            self.want(path, *file);
        }
        let Self {
            mut plan,
            conflicts,
            ..
        } = self;
        if !conflicts.is_empty() {
            return Err(Error::Conflicts { conflicts });
        }
        plan.operations.sort_by(|a, b| a.path.cmp(&b.path));
        plan.kept.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(plan)
    }

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
