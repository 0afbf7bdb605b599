//! See [`crate::fuzzing`].

use super::commit::{Budget, CommitAnswer, Described};
use super::listing::{self, Listing};
use crate::git::{Commit, CommitId, TreeId};

/// Bytes that may be hashed to find a commit again: enough for a few hundred attempts.
const BUDGET: u64 = 1 << 16;

/// Reads a listing and rebuilds its trees, which are returned with their ids.
pub fn listing(json: &[u8], at: Option<&str>, deep: bool) -> Vec<(TreeId, Vec<u8>)> {
    let Ok(listing) = serde_json::from_slice::<Listing>(json) else {
        return Vec::new();
    };
    let rebuilt = listing::rebuild(listing.sha, at, &listing.tree.0, deep);
    rebuilt.map_or_else(
        |_| Vec::new(),
        |rebuilt| rebuilt.trees.into_iter().collect(),
    )
}

/// Reads a commit, or a list of them, and rebuilds each; those that came out, with the id that was stated and their bytes.
pub fn commits(json: &[u8]) -> Vec<(CommitId, Commit, Vec<u8>)> {
    let one = || serde_json::from_slice::<Described>(json).map(|described| vec![described]);
    let described: Vec<Described> = serde_json::from_slice(json)
        .or_else(|_| one())
        .unwrap_or_default();
    let mut answers: Vec<CommitAnswer> = described.into_iter().map(CommitAnswer::from).collect();
    answers.extend(serde_json::from_slice::<CommitAnswer>(json).ok());
    let mut budget = Budget::of(BUDGET);
    let mut rebuilt = Vec::new();
    for answer in answers {
        answer.unproven();
        if let Some((commit, raw)) = answer.rebuild(&mut budget) {
            rebuilt.push((answer.id(), commit, raw));
        }
    }
    rebuilt
}
