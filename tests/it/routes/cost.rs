//! What an update costs, beside real git's own figures for the same pair of commits.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::*;
use crate::common::forge::Seen;
use crate::common::forge::fault::{Action, When};
use crate::common::forge::pack::{change_pack, pkt_line};
use crate::common::repo::History;

/// Request and answer of a `fetch` of git's protocol.
fn fetches(forge: &Forge) -> Vec<Seen> {
    let requests = forge.requests().into_iter();
    requests
        .filter(|seen| seen.text().contains("command=fetch"))
        .collect()
}

/// The ids that a `fetch` asks for.
fn wants(seen: &Seen) -> BTreeSet<String> {
    let text = seen.text();
    let lines = text.lines().filter_map(|line| line.split_once("want "));
    lines.map(|(_, id)| id.to_owned()).collect()
}

fn blobs(repo: &Repo, revision: &str) -> BTreeSet<String> {
    let rows = repo.ls_tree(revision).into_iter();
    rows.filter(|row| row.kind == "blob")
        .map(|row| row.id)
        .collect()
}

/// The packs that are sent from now on, by their bytes: an answer's own length also depends on how git's processes
/// were scheduled, for each read of the pack becomes a packet.
fn record_packs(forge: &Forge) -> Arc<Mutex<Vec<usize>>> {
    let packs = Arc::new(Mutex::new(Vec::new()));
    let record = packs.clone();
    let look = Action::mutate(move |body| {
        change_pack(&body, |pack| {
            record.lock().unwrap().push(pack.len());
            pack
        });
        body
    });
    forge.clear_faults().fault(When::fetch(), look);
    packs
}

#[test]
fn an_update_receives_no_more_than_git_itself() {
    let repo = Repo::new();
    let commits = History::of(24).extend(&repo);
    let forge = Forge::serve(&repo);
    let url = forge.git_url();
    for (from, to, requests) in [(11, 12, 2), (11, 23, 3)] {
        let start = || {
            repo.update_ref("refs/heads/main", &commits[from]);
        };
        let advance = || {
            repo.update_ref("refs/heads/main", &commits[to]);
            forge.reset();
            record_packs(&forge)
        };

        start();
        let clone = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| git::succeeds(git::git(clone.path()).args(args));
        git(&["init", "--quiet", "--bare"]);
        let fetch = ["fetch", "--quiet", "--depth", "1", &url, "+main:main"];
        git(&fetch);
        let theirs = advance();
        git(&fetch);
        let theirs = theirs.lock().unwrap()[0];
        assert_eq!(forge.count(), 3, "that is git's way");
        let (their_up, their_down) = forge.wire_bytes();

        start();
        let machine = Machine::git(&forge, &repo);
        machine.sync(&[]);
        let ours = advance();
        let report = machine.sync(&[]);
        assert_eq!(
            (report.route.as_str(), report.requests),
            ("delta", requests)
        );
        assert_eq!(forge.count() as u64, requests);
        let ours = ours.lock().unwrap();
        assert!(
            ours[0] <= theirs,
            "from {from} to {to}: a pack of {} bytes, and of {theirs} by git",
            ours[0]
        );
        // The commits between, which git does not fetch: they prove that the branch was not rewritten.
        let proof = ours.get(1).copied().unwrap_or_default();
        assert!(proof <= 300 * (to - from), "{proof} bytes");
        let (up, down) = forge.wire_bytes();
        if requests == 2 {
            assert!(
                down < their_down && up < their_up,
                "{up} up and {down} down, and {their_up} up and {their_down} down by git"
            );
        }
    }
}

#[test]
fn a_machine_that_does_not_know_its_commit_requests_only_what_it_lacks() {
    let repo = Repo::with_history(11);
    let forge = Forge::serve(&repo);
    for transport in ["git", "api"] {
        let machine = Machine::github(&forge, &repo, transport);
        machine.sync(&[]);
        let here = blobs(&repo, "main");
        machine.lose_state();
        repo.write("flake.nix", format!("{{ by = \"{transport}\"; }}"))
            .write("new/one.nix", transport)
            // Twice the same content, and one that is here under another name.
            .write("new/two.nix", transport)
            .write("new/readme.md", repo.cat("main:README.md"))
            .commit("next");
        forge.reset();
        let report = machine.sync(&["--local-edits", "replace"]);
        let lacking: BTreeSet<String> = blobs(&repo, "main").difference(&here).cloned().collect();
        assert_eq!(report.downloaded, lacking.len() as u64);
        let asked = if transport == "git" {
            let fetches = fetches(&forge);
            assert_eq!((fetches.len(), forge.count()), (2, 3));
            assert!(fetches[0].text().contains("filter blob:none"));
            wants(&fetches[1])
        } else {
            assert_eq!(forge.count(), 3 + lacking.len());
            let lines = forge.request_lines();
            let ids = lines.iter().filter_map(|line| line.split_once("/blobs/"));
            ids.map(|(_, id)| id.to_owned()).collect()
        };
        assert_eq!(asked, lacking, "{transport}");
    }
}

#[test]
fn a_full_download_is_one_pack_even_if_most_is_stored_already() {
    let repo = Repo::with_history(11);
    let forge = Forge::serve(&repo);
    let machine = Machine::github(&forge, &repo, "auto");
    machine.sync(&[]);
    for _ in 0..2 {
        forge.reset();
        let report = machine.sync(&["--force-full"]);
        assert_eq!((report.route.as_str(), report.requests), ("full", 2));
        let fetches = fetches(&forge);
        assert_eq!(fetches.len(), 1);
        assert_eq!(wants(&fetches[0]), BTreeSet::from([repo.id("main")]));
        for absent in ["have ", "filter ", "shallow "] {
            assert!(!fetches[0].text().contains(absent), "{absent}");
        }
    }
    // The API has no full route.
    let refused = Machine::github(&forge, &repo, "api")
        .run(&["--force-full", "--json"])
        .code(2);
    let code = &refused.json()["error"]["code"];
    assert_eq!(code, "hyper_sync::source::unsuited");
}

#[test]
fn the_exact_id_of_a_commit_costs_one_request_less() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let machine = Machine::git(&forge, &repo);
    let tip = repo.id("main");
    let report = machine.sync(&["--ref", &tip]);
    assert_eq!((report.route.as_str(), report.requests), ("full", 1));
    let report = machine.sync(&["--ref", &tip]);
    assert_eq!((report.route.as_str(), report.requests), ("store", 0));
    let tip = repo.write("flake.nix", "{ }").commit("next");
    let report = machine.sync(&["--ref", &tip]);
    assert_eq!((report.route.as_str(), report.requests), ("delta", 1));
}

#[test]
fn the_api_resolves_an_abbreviated_id() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let machine = Machine::github(&forge, &repo, "auto");
    let old = repo.id("main~1");
    let report = machine.report(&["--ref", &old[..9]]);
    machine.assert_at(&old);
    assert_eq!(report.route, "full");
    let unknown = machine.run(&["--ref", "abcdef0", "--json"]).code(2);
    let code = &unknown.json()["error"]["code"];
    assert_eq!(code, "hyper_sync::source::unknown_ref");
}

#[test]
fn a_commit_that_one_server_of_a_forge_lacks_is_requested_once_more() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let machine = Machine::git(&forge, &repo);
    machine.sync(&[]);
    let tip = repo.write("flake.nix", "{ }").commit("next");
    let not_here = pkt_line(format!("ERR upload-pack: not our ref {tip}"));
    let hits = forge.fault(
        When::fetch().first(1),
        Action::ReplaceBody(not_here.clone()),
    );
    let report = machine.sync(&[]);
    assert_eq!(
        (report.route.as_str(), report.requests, hits.count()),
        ("delta", 4, 1)
    );
    // Once only.
    let tip = repo.write("flake.nix", "{ more = 1; }").commit("more");
    forge
        .clear_faults()
        .fault(When::fetch(), Action::ReplaceBody(not_here));
    forge.reset();
    let before = machine.world.target_tree();
    let refused = machine.run(&["--json"]).code(2);
    let code = &refused.json()["error"]["code"];
    assert_eq!(code, "hyper_sync::source::unknown_commit");
    assert_eq!(forge.count(), 4);
    machine.world.target_tree().assert_same(&before);
    // An id is an id: there is nothing to resolve again.
    forge.reset();
    let _ = machine.run(&["--ref", &tip]).code(2);
    assert_eq!(forge.count(), 1);
}
