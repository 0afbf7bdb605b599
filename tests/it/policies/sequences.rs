//! Random sequences of what a person, the repository and the program do: no edit is lost, and a refused run changes
//! nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::remove;
use crate::common::snapshot::{Node, TreeSnapshot};
use crate::common::world::World;

const PATHS: [&str; 6] = ["a", "d", "d/a", "d/e/f", "d/e", "x-local.nix"];

#[derive(Debug, Clone)]
enum Step {
    /// A person writes a file with content that is new.
    Edit(&'static str),
    /// A person deletes what is there.
    Delete(&'static str),
    /// The repository has a file there, or none.
    Commit(&'static str, bool),
    Sync(&'static str),
    Rollback(u8, &'static str),
    Restore(&'static str),
}

fn step() -> impl Strategy<Value = Step> {
    let path = || prop::sample::select(PATHS.to_vec());
    let policy = || prop::sample::select(vec!["replace", "keep", "refuse", "merge"]);
    prop_oneof![
        4 => path().prop_map(Step::Edit),
        1 => path().prop_map(Step::Delete),
        4 => (path(), any::<bool>()).prop_map(|(path, is_there)| Step::Commit(path, is_there)),
        5 => policy().prop_map(Step::Sync),
        2 => (1..4u8, policy()).prop_map(|(count, policy)| Step::Rollback(count, policy)),
        2 => path().prop_map(Step::Restore),
    ]
}

/// A world in which the steps of one sequence are done, with the edits that must not be lost.
struct Sequence {
    world: World,
    /// Every edit that exists somewhere, by its content.
    edits: BTreeSet<Vec<u8>>,
    count: usize,
}

impl Sequence {
    fn new() -> Self {
        Self {
            world: World::small().with("protect = ['*-local.nix']"),
            edits: BTreeSet::new(),
            count: 0,
        }
    }

    /// All contents in the target and in what the program has kept.
    fn contents(&self) -> BTreeSet<Vec<u8>> {
        let aside = ["undo", "conflicts"].map(|name| self.world.state().join(name));
        [self.world.target(), aside[0].clone(), aside[1].clone()]
            .iter()
            .flat_map(|root| TreeSnapshot::of(root).nodes().clone())
            .filter_map(|(_, node)| match node {
                Node::File(_, content) => Some(content),
                _ => None,
            })
            .collect()
    }

    fn take(&mut self, step: &Step) {
        self.count += 1;
        let target = self.world.target();
        match step {
            Step::Edit(path) => {
                let content = format!("edit {}", self.count);
                if write(&target, path, &content) {
                    self.edits.insert(content.into_bytes());
                }
                self.forget_what_somebody_destroyed();
            }
            Step::Delete(path) => {
                remove(&target.join(path));
                self.forget_what_somebody_destroyed();
            }
            Step::Commit(path, is_there) => {
                self.world.repo.remove(path);
                if *is_there {
                    // In git a file takes the place of a directory, and the other way round.
                    for above in ["d", "d/e"].iter().filter(|above| path.len() > above.len()) {
                        if self.is_file_in_repo(above) {
                            self.world.repo.remove(above);
                        }
                    }
                    self.world
                        .repo
                        .write(path, format!("commit {}", self.count));
                }
                self.world.repo.commit(&format!("step {}", self.count));
            }
            Step::Sync(policy) => {
                let anything = ["--allow-mass-delete", "--resume"];
                self.run(&[&["sync", "--local-edits", policy], &anything[..]].concat());
            }
            Step::Rollback(count, policy) => {
                self.run(&["rollback", &count.to_string(), "--local-edits", policy]);
            }
            Step::Restore(path) => self.run(&["restore", path]),
        }
    }

    fn is_file_in_repo(&self, path: &str) -> bool {
        let rows = self.world.repo.ls_tree("main");
        rows.iter().any(|row| row.path == path.as_bytes())
    }

    /// An edit that a person has overwritten or deleted before a run counts as gone.
    fn forget_what_somebody_destroyed(&mut self) {
        let contents = self.contents();
        self.edits.retain(|edit| contents.contains(edit));
    }

    fn run(&self, args: &[&str]) {
        let before = self.world.target_tree();
        let output = self.world.run(args);
        match output.code {
            Some(0) => {}
            // A conflict, or nothing that could be undone or put back.
            Some(8 | 1) => self.world.target_tree().assert_same(&before),
            _ => panic!("{args:?}: {}", output.masked()),
        }
        let contents = self.contents();
        for edit in &self.edits {
            let edit_text = String::from_utf8_lossy(edit);
            assert!(contents.contains(edit), "{args:?} lost `{edit_text}`");
        }
        let left = self.world.target_tree().files();
        assert!(
            !left.iter().any(|name| name.contains(".hyper-sync")),
            "{left:?}"
        );
    }
}

/// Writes as an editor would: not through a file, and not over a directory.
fn write(target: &Path, path: &str, content: &str) -> bool {
    let path = target.join(path);
    path.parent()
        .is_some_and(|above| fs::create_dir_all(above).is_ok())
        && fs::write(path, content).is_ok()
}

/// A case takes a second or so: `PROPTEST_CASES` makes them more.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.div_ceil(64),
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_edit_is_lost_and_a_refused_run_changes_nothing(
        steps in prop::collection::vec(step(), 4..16),
    ) {
        let mut world = Sequence::new();
        world.take(&Step::Sync("refuse"));
        for step in &steps {
            world.take(step);
        }
        // Whatever the sequence has led to, `replace` brings the target to the commit, except for what blocks it.
        world.take(&Step::Sync("replace"));
    }
}
