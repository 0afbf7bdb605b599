//! Route × host: the same sequence of syncs over every kind of host.

use super::*;
use crate::common::forge::{BarePost, Suffix};

/// A repository like a real one, with every kind of file.
fn repo() -> Repo {
    let repo = Repo::with_history(11);
    // None of this may take effect: the bytes of the commit are written, not a checkout.
    repo.write(
        ".gitattributes",
        "* text eol=crlf ident filter=lfs export-ignore working-tree-encoding=UTF-16\n",
    )
    .write("docs/ident.txt", "$Id$ \r\n and \n $Format:%H$")
    .write(
        ".gitmodules",
        "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% x\n",
    )
    .write(".lfsconfig", "[lfs]\n\turl = https://example.org\n")
    .commit("attributes");
    allow_filters(&repo);
    repo
}

/// Uses every route once. Each line is a step: its route, the requests and the downloaded files.
///
/// After each step the target is the commit, and the host has seen as many requests as the report says.
fn journey(machine: &Machine, forge: Option<&Forge>) -> String {
    let repo = &machine.repo;
    let mut lines = Vec::new();
    let mut step = |name: &str, args: &[&str]| {
        if let Some(forge) = forge {
            forge.reset();
        }
        let report = machine.sync(args);
        if let Some(forge) = forge {
            let lines = forge.request_lines();
            assert_eq!(lines.len() as u64, report.requests, "{name}: {lines:#?}");
            // The body of a refusal is not read.
            let answers = forge.requests().into_iter();
            let read = answers.filter(|seen| seen.status == 200);
            let read: u64 = read.map(|seen| seen.response_bytes).sum();
            assert_eq!(read, report.received, "{name}");
        }
        let Report {
            route,
            requests,
            downloaded,
            fallbacks,
            ..
        } = report;
        lines.push(format!(
            "{name}: {route}, {requests} requests, {downloaded} files"
        ));
        lines.extend(fallbacks.iter().map(|fallback| format!("  {fallback}")));
    };
    step("empty target", &[]);
    step("nothing new", &[]);
    step("nothing new, checked", &["--check-only"]);
    repo.write("new/one.nix", "{ one = 1; }\n")
        .write("flake.nix", "{ second = true; }\n")
        .commit("one commit");
    step("one commit", &[]);
    for round in 0..3 {
        repo.write("new/one.nix", format!("{{ round = {round}; }}\n"))
            .write_exec(format!("new/{round}.sh"), format!("echo {round}\n"))
            .commit("several commits");
    }
    step("three commits", &[]);
    repo.write("new/one.nix", "{ after = 1; }\n")
        .write("new/two.nix", "{ after = 2; }\n")
        .commit("while the state was lost");
    machine.lose_state();
    // Without its state a machine cannot distinguish an old file from an edited one.
    step("lost state", &["--local-edits", "replace"]);
    fs::remove_dir_all(machine.store()).unwrap();
    repo.write("flake.nix", "{ third = true; }\n")
        .commit("while the store was lost");
    step("lost store", &[]);
    repo.rename("new", "old").commit("moved");
    // The API has no way to send everything.
    if !machine.arguments.contains(&"api".to_owned()) {
        step("full", &["--force-full"]);
        step("full again", &["--force-full"]);
    }
    machine.fsck();
    machine.sync(&[]);
    // One commit that the store has, one that it has never seen, and the root.
    for back in [1, 5, 16] {
        machine.refuses_to_go_back(back);
    }
    let text = lines
        .join("\n")
        .replace(&repo.path().display().to_string(), "[repo]");
    forge.map_or(text.clone(), |forge| text.replace(&forge.host(), "[forge]"))
}

#[test]
fn git_over_http() {
    let repo = repo();
    let forge = Forge::serve(&repo);
    let machine = Machine::git(&forge, &repo);
    insta::assert_snapshot!(journey(&machine, Some(&forge)), @r#"
    empty target: full, 2 requests, 53 files
    nothing new: store, 1 requests, 0 files
    nothing new, checked: store, 1 requests, 0 files
    one commit: delta, 2 requests, 2 files
    three commits: delta, 3 requests, 4 files
    lost state: select-git, 3 requests, 2 files
    lost store: select-git, 3 requests, 1 files
    full: full, 2 requests, 58 files
    full again: full, 2 requests, 58 files
    "#);
}

#[test]
fn git_over_http_without_filters() {
    let repo = repo();
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.filter = false);
    let machine = Machine::git(&forge, &repo);
    insta::assert_snapshot!(journey(&machine, Some(&forge)), @r#"
    empty target: full, 2 requests, 53 files
    nothing new: store, 1 requests, 0 files
    nothing new, checked: store, 1 requests, 0 files
    one commit: delta, 2 requests, 2 files
    three commits: delta, 4 requests, 4 files
    lost state: full, 3 requests, 58 files
      select-git: http://[forge]/acme/machines.git sent something that git's protocol does not allow: the answer ends too early
    lost store: full, 3 requests, 58 files
      select-git: http://[forge]/acme/machines.git sent something that git's protocol does not allow: the answer ends too early
    full: full, 2 requests, 58 files
    full again: full, 2 requests, 58 files
    "#);
}

#[test]
fn a_check_over_http_without_filters_does_not_fetch_everything() {
    let repo = repo();
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.filter = false);
    let machine = Machine::git(&forge, &repo);
    machine.sync(&[]);
    repo.write("new/one.nix", "{ one = 1; }\n").commit("second");
    let report = machine.report(&["--check-only"]);
    assert_eq!((report.route.as_str(), report.requests), ("delta", 3));
    assert!(report.fallbacks.is_empty(), "{:?}", report.fallbacks);
}

#[test]
fn git_over_http_where_the_address_lacks_its_suffix() {
    for suffix in [Suffix::Required, Suffix::Redirected] {
        let repo = repo();
        let forge = Forge::serve(&repo);
        forge.configure(|config| config.suffix = suffix);
        let machine = Machine::new(&repo, &["--repo", &forge.web_url()]);
        let steps = journey(&machine, Some(&forge));
        insta::allow_duplicates! {
            insta::assert_snapshot!(steps, @r#"
            empty target: full, 5 requests, 53 files
            nothing new: store, 1 requests, 0 files
            nothing new, checked: store, 1 requests, 0 files
            one commit: delta, 2 requests, 2 files
            three commits: delta, 3 requests, 4 files
            lost state: select-git, 6 requests, 2 files
            lost store: select-git, 3 requests, 1 files
            full: full, 2 requests, 58 files
            full again: full, 2 requests, 58 files
            "#);
        }
    }
}

#[test]
fn git_over_http_at_a_former_name() {
    let repo = repo();
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.former_names = vec!["acme/before".to_owned()]);
    let former = forge.git_url().replace("acme/machines", "acme/before");
    let machine = Machine::new(&repo, &["--repo", &former]);
    insta::assert_snapshot!(journey(&machine, Some(&forge)), @r#"
    empty target: full, 5 requests, 53 files
    nothing new: store, 1 requests, 0 files
    nothing new, checked: store, 1 requests, 0 files
    one commit: delta, 2 requests, 2 files
    three commits: delta, 3 requests, 4 files
    lost state: select-git, 6 requests, 2 files
    lost store: select-git, 3 requests, 1 files
    full: full, 2 requests, 58 files
    full again: full, 2 requests, 58 files
    "#);
}

#[test]
fn git_over_http_that_needs_discovery_first() {
    for status in [401, 404] {
        let repo = repo();
        let forge = Forge::serve(&repo);
        forge.configure(|config| config.bare_post = BarePost::Refused(status));
        let machine = Machine::git(&forge, &repo);
        let steps = journey(&machine, Some(&forge));
        insta::allow_duplicates! {
            insta::assert_snapshot!(steps, @r#"
            empty target: full, 4 requests, 53 files
            nothing new: store, 2 requests, 0 files
            nothing new, checked: store, 2 requests, 0 files
            one commit: delta, 3 requests, 2 files
            three commits: delta, 4 requests, 4 files
            lost state: select-git, 3 requests, 2 files
            lost store: select-git, 3 requests, 1 files
            full: full, 2 requests, 58 files
            full again: full, 2 requests, 58 files
            "#);
        }
    }
}

#[test]
fn a_local_repository() {
    for is_url in [false, true] {
        let repo = repo();
        let way = if is_url {
            repo.file_url()
        } else {
            repo.path().display().to_string()
        };
        let machine = Machine::new(&repo, &["--repo", &way]);
        let steps = journey(&machine, None);
        insta::allow_duplicates! {
            insta::assert_snapshot!(steps, @r#"
            empty target: full, 2 requests, 53 files
            nothing new: store, 1 requests, 0 files
            nothing new, checked: store, 1 requests, 0 files
            one commit: delta, 2 requests, 2 files
            three commits: delta, 3 requests, 4 files
            lost state: select-git, 3 requests, 2 files
            lost store: select-git, 3 requests, 1 files
            full: full, 2 requests, 58 files
            full again: full, 2 requests, 58 files
            "#);
        }
    }
}

#[test]
fn ssh() {
    let repo = repo();
    let way = format!("git@host.example:{}", repo.path().display());
    let machine = Machine::new(&repo, &["--repo", &way]);
    machine.world.fake_ssh();
    insta::assert_snapshot!(journey(&machine, None), @r#"
    empty target: full, 2 requests, 53 files
    nothing new: store, 1 requests, 0 files
    nothing new, checked: store, 1 requests, 0 files
    one commit: delta, 2 requests, 2 files
    three commits: delta, 3 requests, 4 files
    lost state: select-git, 3 requests, 2 files
    lost store: select-git, 3 requests, 1 files
    full: full, 2 requests, 58 files
    full again: full, 2 requests, 58 files
    "#);
    let calls = machine.world.ssh_calls();
    assert_eq!(
        calls.len(),
        17,
        "one connection a run, and one to ask for a history: {calls:#?}"
    );
}

#[test]
fn ssh_without_filters() {
    let repo = Repo::with_history(11);
    let way = format!("git@host.example:{}", repo.path().display());
    let machine = Machine::new(&repo, &["--repo", &way]);
    machine.world.fake_ssh();
    insta::assert_snapshot!(journey(&machine, None), @r#"
    empty target: full, 2 requests, 49 files
    nothing new: store, 1 requests, 0 files
    nothing new, checked: store, 1 requests, 0 files
    one commit: delta, 2 requests, 2 files
    three commits: delta, 3 requests, 4 files
    lost state: full, 2 requests, 54 files
      select-git: git@host.example:[repo] offers no filters
    lost store: full, 2 requests, 54 files
      select-git: git@host.example:[repo] offers no filters
    full: full, 2 requests, 54 files
    full again: full, 2 requests, 54 files
    "#);
}

#[test]
fn git_over_http_that_offers_other_places() {
    let repo = repo();
    let forge = Forge::serve(&repo);
    let elsewhere = forge.other_host();
    let uri = format!("{}/bundle", elsewhere.origin());
    let settings = [
        ("uploadpack.advertiseBundleURIs", "true"),
        ("bundle.version", "1"),
        ("bundle.mode", "all"),
        ("bundle.first.uri", &uri),
        ("uploadpack.allowSidebandAll", "true"),
        ("lsrefs.unborn", "advertise"),
    ];
    forge.configure(|config| {
        config.serving_git = settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    });
    let report = Machine::git(&forge, &repo).sync(&[]);
    assert_eq!((report.route.as_str(), report.requests), ("full", 2));
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn github_by_git() {
    let repo = repo();
    let forge = Forge::serve(&repo);
    let machine = Machine::github(&forge, &repo, "auto");
    insta::assert_snapshot!(journey(&machine, Some(&forge)), @r#"
    empty target: full, 2 requests, 53 files
    nothing new: store, 1 requests, 0 files
    nothing new, checked: store, 1 requests, 0 files
    one commit: delta, 2 requests, 2 files
    three commits: delta, 3 requests, 4 files
    lost state: select-git, 3 requests, 2 files
    lost store: select-git, 3 requests, 1 files
    full: full, 2 requests, 58 files
    full again: full, 2 requests, 58 files
    "#);
    assert_eq!(forge.config().rate.remaining, 5000, "no quota was used");
}

#[test]
fn github_by_its_api() {
    let repo = repo();
    let forge = Forge::serve(&repo);
    let machine = Machine::github(&forge, &repo, "api");
    insta::assert_snapshot!(journey(&machine, Some(&forge)), @r#"
    empty target: select-api, 56 requests, 53 files
    nothing new: store, 1 requests, 0 files
    nothing new, checked: store, 1 requests, 0 files
    one commit: select-api, 5 requests, 2 files
    three commits: select-api, 8 requests, 4 files
    lost state: select-api, 5 requests, 2 files
    lost store: select-api, 4 requests, 1 files
    "#);
}

#[test]
fn git_over_http_without_version_2() {
    let repo = repo();
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.protocol_v2 = false);
    let machine = Machine::git(&forge, &repo);
    insta::assert_snapshot!(journey(&machine, Some(&forge)), @r"
    empty target: full, 3 requests, 53 files
    nothing new: store, 1 requests, 0 files
    nothing new, checked: store, 1 requests, 0 files
    one commit: delta, 2 requests, 2 files
    three commits: delta, 3 requests, 4 files
    lost state: select-git, 4 requests, 2 files
    lost store: select-git, 3 requests, 1 files
    full: full, 2 requests, 58 files
    full again: full, 2 requests, 58 files
    ");
}
