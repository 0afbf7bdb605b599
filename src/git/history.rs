//! The commits between two, as far as commits are known here.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::{Commit, CommitId};

/// The most commits that are walked: more than that are not counted.
const WALK_MAX: usize = 5_000;

/// The commits that one commit has and another one has not, newest first; it begins with the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Between {
    /// Those that are known; where they are not all, only those that the other commit surely does not have.
    pub commits: Vec<Commit>,
    /// Whether these are all of them.
    pub is_whole: bool,
}

impl Between {
    /// No commit.
    #[must_use]
    pub fn none() -> Self {
        Self {
            commits: Vec::new(),
            is_whole: true,
        }
    }

    /// Those of the commits below which some are missing here: a parent is not among them.
    #[must_use]
    pub fn gaps(&self) -> HashSet<CommitId> {
        let known: HashSet<CommitId> = self.commits.iter().map(|commit| commit.id).collect();
        let lacks = |commit: &&Commit| commit.parents.iter().any(|parent| !known.contains(parent));
        { self.commits.iter() }
            .filter(lacks)
            .map(|commit| commit.id)
            .collect()
    }
}

/// The commits of `new` that `old` does not have. `known` reads a commit, where it is here.
///
/// They are whole if they are a line that ends at `old`, or if all ancestors of both commits are known.
pub fn between(
    new: &Commit,
    old: CommitId,
    mut known: impl FnMut(CommitId) -> Option<Commit>,
) -> Between {
    let mut left = HashSet::from([old]);
    let line = walk(vec![new.clone()], &left, &mut known);
    // Without a merge, nothing was passed that the old commit has.
    if line.is_whole && line.commits.iter().all(|commit| commit.parents.len() == 1) {
        return line;
    }
    let mut is_known = false;
    if let Some(old) = known(old) {
        let ancestors = walk(vec![old], &HashSet::new(), &mut known);
        left.extend(ancestors.commits.iter().map(|commit| commit.id));
        is_known = ancestors.is_whole;
    }
    let mut found = walk(vec![new.clone()], &left, &mut known);
    found.is_whole &= is_known;
    if !found.is_whole {
        // Others may be ancestors of the old commit.
        let certain = surely_after(&found.commits, old);
        found.commits.retain(|commit| certain.contains(&commit.id));
    }
    found
}

/// Of commits that begin with the newest one: the line that leads to it, and those that descend from `old`.
fn surely_after(commits: &[Commit], old: CommitId) -> HashSet<CommitId> {
    let mut certain = HashSet::new();
    let by_id: HashMap<CommitId, &Commit> =
        commits.iter().map(|commit| (commit.id, commit)).collect();
    // The old commit is below each of them, unless history was rewritten.
    let mut next = commits.first();
    while let Some(commit) = next {
        certain.insert(commit.id);
        next = match commit.parents.as_slice() {
            [parent] => by_id.get(parent).copied(),
            _ => None,
        };
    }
    let mut descend = HashSet::from([old]);
    loop {
        let before = descend.len();
        for commit in commits.iter().rev() {
            if commit.parents.iter().any(|parent| descend.contains(parent)) {
                descend.insert(commit.id);
            }
        }
        if descend.len() == before {
            break;
        }
    }
    certain.extend(descend);
    certain
}

/// These commits and their known ancestors, newest first.
pub fn ancestors(
    starts: Vec<Commit>,
    mut known: impl FnMut(CommitId) -> Option<Commit>,
) -> Between {
    walk(starts, &HashSet::new(), &mut known)
}

/// The commits and their ancestors but for those in `without`, and what only they have.
fn walk(
    mut starts: Vec<Commit>,
    without: &HashSet<CommitId>,
    known: &mut impl FnMut(CommitId) -> Option<Commit>,
) -> Between {
    let mut found = Between::none();
    starts.retain(|start| !without.contains(&start.id));
    let mut seen: HashSet<CommitId> = starts.iter().map(|start| start.id).collect();
    let mut pending: BinaryHeap<ByTime> = starts.into_iter().map(ByTime).collect();
    while let Some(ByTime(commit)) = pending.pop() {
        if found.commits.len() == WALK_MAX {
            found.is_whole = false;
            break;
        }
        for parent in &commit.parents {
            if without.contains(parent) || !seen.insert(*parent) {
                continue;
            }
            match known(*parent) {
                Some(parent) => pending.push(ByTime(parent)),
                None => found.is_whole = false,
            }
        }
        found.commits.push(commit);
    }
    found
}

/// The order of `git log`: a commit after those that descend from it, and of these the newest first.
struct ByTime(Commit);

impl Ord for ByTime {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |commit: &Commit| (commit.time, commit.id);
        key(&self.0).cmp(&key(&other.0))
    }
}

impl PartialOrd for ByTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByTime {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{Oid, TreeId};

    fn id(name: u8) -> CommitId {
        CommitId(format!("{name:02x}").repeat(20).parse::<Oid>().unwrap())
    }

    fn commit(name: u8, parents: &[u8]) -> Commit {
        Commit {
            id: id(name),
            tree: TreeId(id(0).0),
            parents: parents.iter().map(|name| id(*name)).collect(),
            time: name.into(),
            author: "A".to_owned(),
            subject: format!("commit {name}"),
        }
    }

    /// The names of the commits between, and whether they are whole.
    fn names(commits: &[Commit], new: u8, old: u8) -> (Vec<i64>, bool) {
        let known: HashMap<CommitId, Commit> = commits
            .iter()
            .map(|commit| (commit.id, commit.clone()))
            .collect();
        let found = between(&known[&id(new)], id(old), |id| known.get(&id).cloned());
        let names = found.commits.iter().map(|commit| commit.time).collect();
        (names, found.is_whole)
    }

    #[test]
    fn a_line_is_whole_down_to_the_old_commit_also_where_that_is_not_here() {
        let line = [commit(4, &[3]), commit(3, &[2])];
        assert_eq!(names(&line, 4, 2), (vec![4, 3], true));
        assert_eq!(names(&line, 4, 1), (vec![4, 3], false));
        assert_eq!(names(&line, 4, 4), (vec![], true));
    }

    #[test]
    fn a_merge_has_both_sides_and_nothing_of_the_old_commit() {
        let merge = [
            commit(6, &[5, 4]),
            commit(5, &[2]),
            commit(4, &[3]),
            commit(3, &[1]),
            commit(2, &[1]),
            commit(1, &[]),
        ];
        assert_eq!(names(&merge, 6, 2), (vec![6, 5, 4, 3], true));
        // What is missing between the two may join them.
        let parted = [commit(3, &[2]), commit(1, &[])];
        assert_eq!(names(&parted, 1, 3), (vec![1], false));
        // The side branch begins at a commit before the old one, which is not here.
        assert_eq!(names(&merge[..4], 6, 2), (vec![6, 5], false));
        // The last of a line may be a merge whose sides are not known.
        let line = [commit(8, &[7]), commit(7, &[6, 5]), commit(6, &[3])];
        assert_eq!(names(&line, 8, 2), (vec![8, 7], false));
    }
}
