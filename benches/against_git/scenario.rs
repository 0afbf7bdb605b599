//! What is measured: which history, and where each run starts.

use crate::common::repo::History;

use super::contestants::{Contestant, Start};

/// One situation.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// For the table.
    pub name: &'static str,
    /// Where each run starts.
    pub start: Start,
    /// By how many commits the branch moves before each run.
    pub commits: usize,
    /// Files edited by each of them, besides one change of another kind.
    edits: usize,
    /// Whether the last update was long ago: then hyper-sync expects more than one commit.
    pub is_old: bool,
    /// Who takes part, in pairs with the first.
    pub contestants: &'static [Contestant],
}

const UPDATE: &[Contestant] = &[Contestant::HyperSync, Contestant::Git, Contestant::Bare];
/// Over files of which nothing is known: the programs need different requests, so there is no lower bound.
const FORGOTTEN: &[Contestant] = &[Contestant::HyperSync, Contestant::Git];
const INSTALL: &[Contestant] = &[
    Contestant::HyperSync,
    Contestant::Git,
    Contestant::Clone,
    Contestant::Archive,
];

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "check, no change",
        start: Start::Check,
        commits: 0,
        edits: 3,
        is_old: false,
        contestants: UPDATE,
    },
    Scenario {
        name: "sync, no change",
        start: Start::Same,
        commits: 0,
        edits: 3,
        is_old: false,
        contestants: UPDATE,
    },
    Scenario {
        name: "1 commit, 4 files",
        start: Start::Behind,
        commits: 1,
        edits: 3,
        is_old: false,
        contestants: UPDATE,
    },
    Scenario {
        name: "12 commits, 76 files",
        start: Start::Behind,
        commits: 12,
        edits: 5,
        is_old: true,
        contestants: UPDATE,
    },
    Scenario {
        name: "1 commit, 100 files",
        start: Start::Behind,
        commits: 1,
        edits: 99,
        is_old: false,
        contestants: UPDATE,
    },
    Scenario {
        name: "fresh install",
        start: Start::Nothing,
        commits: 0,
        edits: 3,
        is_old: false,
        contestants: INSTALL,
    },
    Scenario {
        name: "lost state",
        start: Start::Forgotten,
        commits: 0,
        edits: 3,
        is_old: false,
        contestants: FORGOTTEN,
    },
];

impl Scenario {
    /// The history that `runs` runs need.
    pub fn history(&self, files: usize, runs: usize) -> History {
        History::of(1 + self.commits * runs)
            .files(files)
            .edits(self.edits)
    }
}
