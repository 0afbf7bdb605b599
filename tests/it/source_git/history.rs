//! Whether a commit descends from the last one.

use super::*;

/// A repository and a machine at its tip.
fn synced() -> (Repo, Machine, CommitId) {
    let repo = Repo::small();
    repo.write("a", "zero").commit("two");
    repo.write("a", "begin").commit("three");
    allow_filters(&repo);
    let mut machine = Machine::new();
    machine.sync(&source(&repo), "main").unwrap();
    let last = machine.last.unwrap();
    (repo, machine, last)
}

/// The answer for the tip after a sync, and what asking cost.
fn asked(repo: &Repo, machine: &mut Machine, old: CommitId) -> (bool, u64) {
    let source = source(repo);
    machine.sync(&source, "main").unwrap();
    let before = source.traffic();
    let new = machine.commit(&repo.tip().unwrap());
    let answer = source.descends(&new, old, &machine.store).unwrap();
    let requests = source.traffic().requests - before.requests;
    // A second time it is known.
    assert_eq!(source.descends(&new, old, &machine.store).unwrap(), answer);
    assert_eq!(source.traffic().requests - before.requests, requests);
    machine.fsck();
    (answer, requests)
}

#[test]
fn a_parent_costs_no_request() {
    let (repo, mut machine, old) = synced();
    assert_eq!(asked(&repo, &mut machine, old), (true, 0), "itself");
    repo.write("a", "a").commit("next");
    assert_eq!(asked(&repo, &mut machine, old), (true, 0));
    let middle = machine.last.unwrap();
    repo.write("a", "b").commit("after");
    assert_eq!(asked(&repo, &mut machine, middle), (true, 0));
    assert_eq!(
        asked(&repo, &mut machine, old),
        (true, 0),
        "by the commits in the store"
    );
}

#[test]
fn commits_between_cost_one_request() {
    let (repo, mut machine, old) = synced();
    for round in 0..12 {
        repo.write("a", format!("{round}")).commit("on");
    }
    assert_eq!(asked(&repo, &mut machine, old), (true, 1));
}

#[test]
fn a_merge_descends_by_either_parent() {
    let (repo, mut machine, old) = synced();
    let unrelated = repo.write("b", "b").commit_onto("unrelated", &[]);
    let ours = old.to_string();
    repo.write("c", "c")
        .commit_onto("merge", &[&unrelated, &ours]);
    repo.write("d", "d").commit("on top");
    assert_eq!(asked(&repo, &mut machine, old), (true, 1));
}

#[test]
fn an_amended_commit_does_not_descend() {
    let (repo, mut machine, _) = synced();
    repo.write("a", "a").commit("one");
    machine.sync(&source(&repo), "main").unwrap();
    let old = machine.last.unwrap();
    repo.write("a", "b").amend("other");
    assert!(!asked(&repo, &mut machine, old).0);
}

#[test]
fn a_rewind_does_not_descend() {
    let (repo, mut machine, tip) = synced();
    let earlier = repo.id("main~2");
    repo.update_ref("refs/heads/main", &earlier);
    assert!(!asked(&repo, &mut machine, tip).0);
    // The same two commits the other way round: the tip descends from the earlier one.
    let earlier = machine.last.unwrap();
    repo.update_ref("refs/heads/main", &tip.to_string());
    assert!(asked(&repo, &mut machine, earlier).0);
}

#[test]
fn an_unrelated_history_does_not_descend() {
    let (repo, mut machine, old) = synced();
    repo.write("b", "b").commit_onto("unrelated", &[]);
    assert!(!asked(&repo, &mut machine, old).0);
    for round in 0..3 {
        repo.write("a", format!("{round}")).commit("on");
    }
    assert!(!asked(&repo, &mut machine, old).0);
}

#[test]
fn a_commit_that_the_server_has_lost_is_not_an_ancestor() {
    let (repo, mut machine, _) = synced();
    repo.write("a", "a").commit("one");
    machine.sync(&source(&repo), "main").unwrap();
    let old = machine.last.unwrap();
    repo.write("a", "b").amend("other");
    repo.write("a", "c").commit("and more");
    prune(&repo);
    assert_eq!(asked(&repo, &mut machine, old), (false, 1));
}

#[test]
fn a_clock_that_goes_backwards_hides_nothing() {
    let (repo, mut machine, old) = synced();
    let tree = repo.id("main^{tree}");
    let mut tip = old.to_string();
    for time in [1000, 900, 800, 700] {
        let body = format!(
            "tree {tree}\nparent {tip}\nauthor A <a@example.org> {time} +0000\ncommitter A <a@example.org> {time} +0000\n\nback\n"
        );
        tip = repo.object("commit", body.as_bytes());
    }
    repo.update_ref("refs/heads/main", &tip);
    assert!(asked(&repo, &mut machine, old).0);
}

#[test]
fn a_server_without_filters_is_asked_too() {
    let repo = Repo::small();
    let mut machine = Machine::new();
    machine.sync(&source(&repo), "main").unwrap();
    let old = machine.last.unwrap();
    for round in 0..3 {
        repo.write("a", format!("{round}")).commit("on");
    }
    assert_eq!(asked(&repo, &mut machine, old), (true, 1));
}

#[test]
fn a_branch_set_back_does_not_descend_though_the_store_has_its_commits() {
    for filters in [true, false] {
        let repo = Repo::small();
        for round in 0..6 {
            repo.write("a", format!("{round}")).commit("on");
        }
        if filters {
            allow_filters(&repo);
        }
        let mut machine = Machine::new();
        machine.sync(&source(&repo), "main").unwrap();
        let old = machine.last.unwrap();
        for back in ["main~1", "main~2", "main~2"] {
            let earlier = repo.id(back);
            repo.update_ref("refs/heads/main", &earlier);
            assert!(!asked(&repo, &mut machine, old).0, "{back}");
        }
    }
}

#[test]
fn a_branch_set_back_in_a_shallow_repository_does_not_descend() {
    let repo = Repo::small();
    for round in 0..6 {
        repo.write("a", format!("{round}")).commit("on");
    }
    let cut = repo.id("main~3");
    std::fs::write(repo.path().join("shallow"), format!("{cut}\n")).unwrap();
    let mut machine = Machine::new();
    machine.sync(&source(&repo), "main").unwrap();
    let old = machine.last.unwrap();
    let earlier = repo.id("main~2");
    repo.update_ref("refs/heads/main", &earlier);
    assert!(!asked(&repo, &mut machine, old).0);
}

#[test]
fn the_answer_is_the_same_where_it_was_asked_beside() {
    type Move = fn(&Repo, &str);
    let moves: [(&str, Move, (bool, u64)); 6] = [
        ("one commit", |repo, _| commits(repo, 1), (true, 0)),
        ("twelve commits", |repo, _| commits(repo, 12), (true, 0)),
        (
            "a merge",
            |repo, old| {
                let unrelated = repo.write("b", "b").commit_onto("unrelated", &[]);
                repo.write("c", "c")
                    .commit_onto("merge", &[&unrelated, old]);
                commits(repo, 1);
            },
            (true, 0),
        ),
        (
            "a branch set back",
            |repo, _| {
                repo.update_ref("refs/heads/main", &repo.id("main~1"));
            },
            (false, 0),
        ),
        (
            "another history, for which the server wants `done`",
            |repo, _| {
                repo.write("b", "b").commit_onto("unrelated", &[]);
                commits(repo, 3);
            },
            (false, 1),
        ),
        (
            "a commit that was pruned",
            |repo, _| {
                repo.write("a", "b").amend("other");
                commits(repo, 2);
                prune(repo);
            },
            (false, 0),
        ),
    ];
    for (what, advance, expected) in moves {
        let (repo, mut machine, old) = synced();
        advance(&repo, &old.to_string());
        let source = source(&repo);
        source.expect_commits_since(old);
        machine.sync(&source, "main").unwrap();
        let before = source.traffic().requests;
        let new = machine.commit(&repo.tip().unwrap());
        let answer = source.descends(&new, old, &machine.store).unwrap();
        let requests = source.traffic().requests - before;
        assert_eq!((answer, requests), expected, "{what}");
        machine.fsck();
    }
}

fn commits(repo: &Repo, commits: u32) {
    for round in 0..commits {
        repo.write("a", format!("{round}")).commit("on");
    }
}
