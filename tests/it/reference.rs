//! A synced target against git itself: to the byte and the mode, forward and backward, through every source.

use crate::common::env::Sandbox;
use crate::common::forge::Forge;
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;

/// Commits of the history that is walked.
const COMMITS: usize = 24;

/// Syncs to each commit in turn and compares with `git ls-tree` and `git cat-file`.
fn walk(world: &Sandbox, repo: &Repo, commits: &[String], source: &[&str]) {
    for commit in commits {
        let args = [
            &[
                "sync",
                "--ref",
                commit,
                "--allow-rewind",
                "--allow-mass-delete",
                "--quiet",
            ],
            source,
        ]
        .concat();
        let _ = world.run(&args).ok();
        world
            .target_tree()
            .assert_same(&TreeSnapshot::of_commit(repo, commit));
    }
}

fn history() -> (Repo, Vec<String>) {
    let repo = Repo::with_history(COMMITS);
    let mut log = repo.git();
    log.args(["rev-list", "--reverse", "--first-parent", "main"]);
    let commits: Vec<String> = String::from_utf8(crate::common::git::succeeds(&mut log))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(commits.len(), COMMITS);
    (repo, commits)
}

/// Forward commit by commit, back, and in jumps.
fn itinerary(commits: &[String]) -> Vec<String> {
    let back = commits.iter().rev().step_by(3);
    let jumps = [20, 1, 17, 4, 23, 0, 12].map(|at| &commits[at]);
    commits.iter().chain(back).chain(jumps).cloned().collect()
}

#[test]
fn every_commit_of_a_local_repository_is_written_to_the_byte() {
    let (repo, commits) = history();
    let world = Sandbox::new();
    let path = repo.path().display().to_string();
    walk(&world, &repo, &itinerary(&commits), &["--repo", &path]);
}

#[test]
fn every_commit_read_by_the_api_is_written_to_the_byte() {
    let (repo, commits) = history();
    let forge = Forge::serve(&repo);
    let world = Sandbox::new();
    let (name, api) = (forge.owner_name(), forge.api_url());
    walk(
        &world,
        &repo,
        &itinerary(&commits),
        &["--repo", &name, "--api-url", &api, "--transport", "api"],
    );
    assert!(
        forge
            .requests()
            .iter()
            .all(|seen| !seen.path.contains("git-upload-pack"))
    );
}

#[test]
fn the_target_is_the_tree_of_git_archive() {
    let (repo, commits) = history();
    let world = Sandbox::new();
    let path = repo.path().display().to_string();
    let tip = commits.last().unwrap();
    let _ = world.run(&["sync", "--repo", &path]).ok();
    let archive = world.root().join("archive");
    repo.archive(tip, &archive);
    // An archive has a directory for a submodule, and so for what is above it; a tree we write has neither.
    let files: Vec<String> = repo
        .ls_tree(tip)
        .into_iter()
        .filter(|row| row.kind == "blob")
        .map(|row| String::from_utf8(row.path).unwrap())
        .collect();
    let leads_to_a_file = |path: &str| {
        files
            .iter()
            .any(|file| file == path || file.starts_with(&format!("{path}/")))
    };
    let archived = TreeSnapshot::of(&archive)
        .git_modes()
        .without(|path| !leads_to_a_file(path));
    world.target_tree().assert_same(&archived);
}
