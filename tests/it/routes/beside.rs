//! The commits between two updates, requested beside the update where both can travel at once.

use std::sync::{Arc, Barrier};

use super::*;
use crate::common::forge::fault::{Action, When};
use crate::common::forge::{Certificate, Seen, ca_file};

/// A machine that is at the tip and follows a host that has HTTP/2.
fn world() -> (Repo, Forge, Machine) {
    let repo = Repo::with_history(3);
    let forge = Forge::tls(&repo, Certificate::Good);
    let machine = Machine::git(&forge, &repo);
    let trusted = format!("ca_file = '{}'\n", ca_file().display());
    machine.world.config(&trusted);
    machine.sync(&[]);
    (repo, forge, machine)
}

fn commit(repo: &Repo, commits: u32) {
    for round in 0..commits {
        let text = format!("{{ commits = {commits}; round = {round}; }}\n");
        repo.write("flake.nix", text).commit("next");
    }
}

fn asks_for_commits(seen: &Seen) -> bool {
    seen.text().contains("filter tree:0")
}

#[test]
fn many_commits_come_in_two_round_trips() {
    let (repo, forge, machine) = world();
    commit(&repo, 12);
    machine.world.age();
    // Neither is answered before the other was asked.
    let both = Arc::new(Barrier::new(2));
    for request in ["deepen 1", "filter tree:0"] {
        let both = both.clone();
        let wait = Action::mutate(move |body| {
            both.wait();
            body
        });
        forge.fault(When::fetch().body(request), wait);
    }
    forge.reset();
    let report = machine.sync(&[]);
    assert_eq!((report.route.as_str(), report.requests), ("delta", 3));
    assert_eq!(forge.connections(), 1);
}

#[test]
fn what_is_asked_beside_costs_less_than_a_kilobyte() {
    let (repo, forge, machine) = world();
    // Two commits, because the answer for one is not waited for.
    commit(&repo, 2);
    machine.world.age();
    forge.reset();
    assert_eq!(machine.sync(&[]).requests, 3);
    let requests = forge.requests();
    let beside: Vec<&Seen> = { requests.iter() }
        .filter(|seen| asks_for_commits(seen))
        .collect();
    assert_eq!(beside.len(), 1);
    let headers: usize = { beside[0].headers.iter() }
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let bytes = beside[0].body.len() as u64 + beside[0].response_bytes;
    assert!(bytes + headers as u64 <= 1000, "{bytes} and {headers}");
}

#[test]
fn nothing_is_asked_beside_soon_after_an_update_or_over_http_1() {
    let (repo, forge, machine) = world();
    commit(&repo, 1);
    forge.reset();
    assert_eq!(machine.sync(&[]).requests, 2);
    assert_eq!(forge.count(), 2);

    let forge = Forge::serve(&repo);
    let machine = Machine::git(&forge, &repo);
    machine.sync(&[]);
    commit(&repo, 1);
    machine.world.age();
    forge.reset();
    assert_eq!(machine.sync(&[]).requests, 2);
    assert_eq!(forge.count(), 2);
}

#[test]
fn a_branch_that_went_back_is_refused() {
    let (repo, forge, machine) = world();
    commit(&repo, 5);
    machine.sync(&[]);
    for back in [1, 4] {
        machine.world.age();
        forge.reset();
        machine.refuses_to_go_back(back);
        assert!(forge.requests().iter().any(asks_for_commits));
    }
}

#[test]
fn a_failure_beside_costs_one_more_request() {
    let failures: [fn() -> Action; 4] = [
        || Action::status(403, "no"),
        || Action::ReplaceBody(b"0000".to_vec()),
        || Action::Cut { after_bytes: 60 },
        || Action::Html,
    ];
    for failure in failures {
        let (repo, forge, machine) = world();
        commit(&repo, 3);
        machine.world.age();
        let hits = forge.fault(When::fetch().body("filter tree:0").first(1), failure());
        let report = machine.sync(&[]);
        assert_eq!((report.route.as_str(), report.requests), ("delta", 4));
        assert_eq!(hits.count(), 1);
        assert!(report.fallbacks.is_empty(), "{:?}", report.fallbacks);
    }
}

#[test]
fn ssh_needs_one_connection() {
    let repo = Repo::with_history(3);
    allow_filters(&repo);
    let way = format!("git@host.example:{}", repo.path().display());
    let machine = Machine::new(&repo, &["--repo", &way]);
    machine.world.fake_ssh();
    machine.sync(&[]);
    for (is_old, connections) in [(true, 1), (false, 2)] {
        commit(&repo, 12);
        if is_old {
            machine.world.age();
        }
        let before = machine.world.ssh_calls().len();
        let report = machine.sync(&[]);
        assert_eq!((report.route.as_str(), report.requests), ("delta", 3));
        assert_eq!(machine.world.ssh_calls().len() - before, connections);
    }
    machine.world.age();
    machine.refuses_to_go_back(7);
    machine.fsck();
}

#[test]
fn a_server_that_ends_because_of_the_question_is_asked_again() {
    let repo = Repo::with_history(3);
    allow_filters(&repo);
    // It offers filters and dies of this one.
    git::succeeds(
        repo.git()
            .args(["config", "uploadpackfilter.tree.allow", "false"]),
    );
    let way = format!("git@host.example:{}", repo.path().display());
    let machine = Machine::new(&repo, &["--repo", &way]);
    machine.world.fake_ssh();
    machine.sync(&[]);
    commit(&repo, 3);
    machine.world.age();
    let report = machine.sync(&[]);
    assert_eq!(report.route, "delta");
    assert!(report.fallbacks.is_empty(), "{:?}", report.fallbacks);
    commit(&repo, 1);
    machine.world.age();
    assert_eq!(machine.sync(&[]).route, "delta");
}
