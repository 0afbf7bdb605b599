//! The first sync: one pack, where the whole commit is missing.

use super::*;
use crate::common::forge::Seen;
use crate::common::forge::fault::{Action, When};
use crate::common::repo::History;

/// The lines of the `fetch` requests.
fn fetches(forge: &Forge) -> Vec<String> {
    let requests = forge.requests().into_iter();
    requests
        .map(|seen: Seen| seen.text())
        .filter(|text| text.contains("command=fetch"))
        .collect()
}

fn wants(fetch: &str) -> Vec<&str> {
    let lines = fetch.lines().filter_map(|line| line.split_once("want "));
    lines.map(|(_, id)| id).collect()
}

fn world() -> (Repo, Forge) {
    let repo = Repo::with_history(11);
    let forge = Forge::serve(&repo);
    (repo, forge)
}

#[test]
fn an_empty_target_takes_one_pack_and_names_the_commit_alone() {
    let (repo, forge) = world();
    // As many files as git asks for in a clone.
    let clone = tempfile::tempdir().unwrap();
    let mut git = git::git(clone.path());
    git::succeeds(git.args([
        "clone",
        "--quiet",
        "--bare",
        "--depth",
        "1",
        &forge.git_url(),
    ]));
    let theirs = forge.bytes_down();
    for is_there in [false, true] {
        let machine = Machine::git(&forge, &repo);
        if is_there {
            fs::create_dir(machine.world.target()).unwrap();
        }
        forge.reset();
        let report = machine.sync(&[]);
        assert_eq!((report.route.as_str(), report.requests), ("full", 2));
        assert!(report.fallbacks.is_empty(), "{:?}", report.fallbacks);
        let fetches = fetches(&forge);
        assert_eq!(fetches.len(), 1);
        assert_eq!(wants(&fetches[0]), [repo.id("main")]);
        for absent in ["filter ", "have ", "shallow "] {
            assert!(!fetches[0].contains(absent), "{absent}");
        }
        let ours = forge.bytes_down();
        assert!(ours <= theirs, "{ours} bytes, and {theirs} by git");
        machine.fsck();
    }
}

#[test]
fn a_target_with_files_is_listed_first() {
    let (repo, forge) = world();
    let machine = Machine::git(&forge, &repo);
    let here = repo.cat("main:flake.nix");
    fs::create_dir(machine.world.target()).unwrap();
    fs::write(machine.world.target().join("flake.nix"), here).unwrap();
    let report = machine.sync(&[]);
    assert_eq!((report.route.as_str(), report.requests), ("select-git", 3));
    let fetches = fetches(&forge);
    assert!(fetches[0].contains("filter blob:none"));
    assert!(!wants(&fetches[1]).contains(&repo.id("main:flake.nix").as_str()));
    assert_eq!(wants(&fetches[1]).len() as u64, report.downloaded);
}

#[test]
fn what_exclude_leaves_out_is_not_downloaded() {
    let (repo, forge) = world();
    let large = "left/out.bin";
    repo.write(large, "x".repeat(100_000)).commit("large");
    let machine = Machine::git(&forge, &repo);
    machine.world.config("exclude = [\"/left/\"]\n");
    let report = machine.report(&[]);
    assert_eq!((report.route.as_str(), report.requests), ("select-git", 3));
    let left_out = repo.id(&format!("main:{large}"));
    assert!(!wants(&fetches(&forge)[1]).contains(&left_out.as_str()));
    // Where it turns out to leave out nothing, one pack follows the listing.
    let machine = Machine::git(&forge, &repo);
    machine.world.config("exclude = [\"*.none\"]\n");
    forge.reset();
    let report = machine.sync(&[]);
    assert_eq!((report.route.as_str(), report.requests), ("select-git", 3));
    assert_eq!(wants(&fetches(&forge)[1]), [repo.id("main")]);
}

#[test]
fn a_pack_that_breaks_off_is_followed_by_its_parts() {
    let (repo, forge) = world();
    let machine = Machine::git(&forge, &repo);
    let cut = || Action::Cut { after_bytes: 5000 };
    let is_whole = |seen: &Seen| {
        let text = seen.text();
        text.contains("deepen") && !text.contains("filter")
    };
    let hits = forge.fault(When::fetch().test(is_whole), cut());
    let report = machine.sync(&[]);
    assert_eq!(hits.count(), 2, "it is requested once more");
    assert_eq!((report.route.as_str(), report.requests), ("select-git", 5));
    assert!(
        report.fallbacks[0].starts_with("full: "),
        "{:?}",
        report.fallbacks
    );

    // What has come stays: the next run does not begin with the whole again.
    let machine = Machine::git(&forge, &repo);
    let parts = forge.fault(When::fetch().body("command=fetch").from(4), cut());
    let failed = machine.run(&["--json"]).code(3).json();
    assert_eq!(failed["error"]["code"], "hyper_sync::source::unreachable");
    assert!(parts.count() > 0);
    forge.clear_faults().reset();
    let report = machine.sync(&[]);
    assert_eq!((report.route.as_str(), report.requests), ("select-git", 2));
    assert_eq!(wants(&fetches(&forge)[0]).len() as u64, report.downloaded);
}

#[test]
fn a_pack_beyond_the_limit_is_refused_with_its_setting() {
    let repo = History::of(1).files(400).repo();
    let forge = Forge::serve(&repo);
    let machine = Machine::git(&forge, &repo);
    machine.world.config("[limits]\nbytes = \"20 kB\"\n");
    let refused = machine.run(&["--json"]).code(7).json();
    assert_eq!(refused["error"]["code"], "hyper_sync::source::too_large");
    let help = refused["error"]["help"].as_str().unwrap();
    assert!(help.contains("limits.bytes"), "{help}");
    assert_eq!(fetches(&forge).len(), 1, "it is not tried again");
    assert!(machine.world.target_tree().is_empty());
}
