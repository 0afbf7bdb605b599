//! The store after many updates.

use super::*;
use crate::common::repo::History;

const UPDATES: usize = 50;

#[test]
fn fifty_updates_by_mixed_routes_leave_a_store_that_git_accepts_and_that_stays_small() {
    let repo = Repo::new();
    allow_filters(&repo);
    let commits = History::of(UPDATES).extend(&repo);
    let forge = Forge::serve(&repo);
    let (name, api, url) = (forge.owner_name(), forge.api_url(), forge.git_url());
    let (path, ssh) = (
        repo.file_url(),
        format!("git@host.example:{}", repo.path().display()),
    );
    let machine = Machine::new(&repo, &[]);
    machine.world.fake_ssh();
    let ways: [&[&str]; 6] = [
        &["--repo", &name, "--api-url", &api],
        &["--repo", &name, "--api-url", &api, "--transport", "api"],
        &["--repo", &url],
        &["--repo", &path],
        &["--repo", &ssh],
        &["--repo", &path, "--force-full"],
    ];
    let packs = || {
        let entries = fs::read_dir(machine.store().join("objects/pack")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".pack")).count()
    };
    let mut routes = std::collections::BTreeMap::new();
    for (i, commit) in commits.iter().enumerate() {
        repo.update_ref("refs/heads/main", commit);
        match i {
            13 => fs::remove_dir_all(machine.store()).unwrap(),
            29 => machine.lose_state(),
            _ => {}
        }
        // Every route follows every other one.
        let way = ways[(i + i / ways.len()) % ways.len()];
        let args = [way, &["--local-edits", "replace", "--allow-other-repo"]].concat();
        if i % 5 == 4 {
            machine.report(&[args.as_slice(), &["--check-only"]].concat());
        }
        let report = machine.sync(&args);
        *routes.entry(report.route).or_insert(0) += 1;
        assert!(packs() <= 21, "{} packs after {i} updates", packs());
    }
    // Back to a commit that the store has: only the name is requested.
    repo.update_ref("refs/heads/main", &commits[UPDATES - 4]);
    let back = machine.sync(&[ways[2], &["--allow-rewind", "--allow-other-repo"]].concat());
    assert_eq!((back.route.as_str(), back.requests), ("store", 1));

    assert_eq!(
        routes.keys().map(String::as_str).collect::<Vec<_>>(),
        ["delta", "full", "select-api", "select-git"],
        "a check lists and brings no file: {routes:?}"
    );
    machine.fsck();
    let mut marks = git::git(&machine.store());
    let marks = git::line(marks.args(["for-each-ref", "--format=%(objectname)"]));
    let kept = marks.lines().count();
    assert!((10..=31).contains(&kept), "{kept} commits");
    assert_eq!(
        marks.lines().next_back(),
        Some(commits[UPDATES - 4].as_str()),
        "what is applied is the last to go"
    );
}
