//! Git over HTTP: real git as the client.

use std::path::Path;

use reqwest::Method;

use super::client::{get, get_with, send};
use crate::common::{
    forge::{BarePost, Forge, Suffix},
    git,
    repo::Repo,
};

/// Real git in an empty directory.
fn client(directory: &Path) -> std::process::Command {
    git::git(directory)
}

fn ls_remote(url: &str) -> std::process::Output {
    let directory = tempfile::tempdir().unwrap();
    git::output(client(directory.path()).args(["ls-remote", url, "main"]))
}

const V2: [(&str, &str); 2] = [
    ("git-protocol", "version=2"),
    ("content-type", "application/x-git-upload-pack-request"),
];

fn ls_refs() -> Vec<u8> {
    b"0014command=ls-refs\n0001001bref-prefix refs/heads/\n0000".to_vec()
}

#[test]
fn real_git_lists_clones_and_fetches() {
    let repo = Repo::with_history(4);
    let forge = Forge::serve(&repo);
    let tip = repo.tip().unwrap();
    let listed = ls_remote(&forge.git_url());
    assert_eq!(
        String::from_utf8(listed.stdout).unwrap(),
        format!("{tip}\trefs/heads/main\n")
    );
    assert_eq!(
        forge.request_lines(),
        [
            "GET /acme/machines.git/info/refs?service=git-upload-pack",
            "POST /acme/machines.git/git-upload-pack",
        ]
    );
    assert!(forge.requests()[1].text().contains("command=ls-refs"));
    assert!(
        forge
            .requests()
            .iter()
            .all(|seen| seen.status == 200 && seen.response_bytes > 0)
    );

    forge.reset();
    let directory = tempfile::tempdir().unwrap();
    git::succeeds(client(directory.path()).args([
        "clone",
        "-q",
        "--bare",
        &forge.web_url(),
        "full.git",
    ]));
    assert_eq!(
        git::line(
            git::git(&directory.path().join("full.git")).args(["rev-list", "--count", "main"])
        ),
        "4"
    );
    assert!(forge.bytes_down() > 10_000);
    let (up, down) = forge.wire_bytes();
    assert!(down > forge.bytes_down() && up > 500);

    git::succeeds(client(directory.path()).args(["init", "-q", "--bare", "partial.git"]));
    let partial = directory.path().join("partial.git");
    forge.reset();
    git::succeeds(git::git(&partial).args([
        "fetch",
        "-q",
        "--no-tags",
        "--depth",
        "1",
        "--filter=blob:none",
        &forge.git_url(),
        &tip,
    ]));
    assert_eq!(forge.count(), 2);
    let missing =
        git::succeeds(git::git(&partial).args(["rev-list", "--objects", "--missing=print", &tip]));
    assert!(
        String::from_utf8(missing)
            .unwrap()
            .lines()
            .any(|line| line.starts_with('?')),
        "blobs were filtered out"
    );
}

#[test]
fn a_bare_post_in_protocol_v2_is_enough() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let url = format!("{}/git-upload-pack", forge.git_url());
    let answer = send(Method::POST, &url, &V2, ls_refs()).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        "application/x-git-upload-pack-result"
    );
    assert!(
        answer
            .text()
            .contains(&format!("{} refs/heads/main", repo.tip().unwrap()))
    );
    assert_eq!(forge.count(), 1);
}

#[test]
fn a_compressed_request_is_understood() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let url = format!("{}/git-upload-pack", forge.git_url());
    let body = crate::common::forge::fault::gzip(&ls_refs());
    let answer = send(
        Method::POST,
        &url,
        &[V2[0], V2[1], ("content-encoding", "gzip")],
        body,
    )
    .unwrap();
    assert!(answer.text().contains("refs/heads/main"));
    assert!(forge.requests()[0].text().contains("command=ls-refs"));
}

#[test]
fn a_host_can_insist_on_discovery() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    forge.configure(|c| c.bare_post = BarePost::Refused(405));
    let url = format!("{}/git-upload-pack", forge.git_url());
    assert_eq!(
        send(Method::POST, &url, &V2, ls_refs()).unwrap().status,
        405
    );
    assert!(ls_remote(&forge.git_url()).status.success());
    assert_eq!(
        send(Method::POST, &url, &V2, ls_refs()).unwrap().status,
        200
    );
}

#[test]
fn a_host_can_speak_only_the_old_protocol() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    forge.configure(|c| c.protocol_v2 = false);
    let info = format!("{}/info/refs?service=git-upload-pack", forge.git_url());
    let answer = get_with(&info, &[V2[0]]);
    assert!(answer.text().starts_with("001e# service=git-upload-pack\n"));
    assert!(ls_remote(&forge.git_url()).status.success());
}

#[test]
fn a_host_can_lack_filters() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let info = format!("{}/info/refs?service=git-upload-pack", forge.git_url());
    assert!(
        get_with(&info, &[V2[0]])
            .text()
            .contains("fetch=shallow wait-for-done filter\n")
    );
    forge.configure(|c| c.filter = false);
    assert!(
        get_with(&info, &[V2[0]])
            .text()
            .contains("fetch=shallow wait-for-done\n")
    );
}

#[test]
fn an_old_server_refuses_ids_it_did_not_advertise() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let old = repo.parents(&repo.tip().unwrap())[0].clone();
    let fetch = || {
        let directory = tempfile::tempdir().unwrap();
        git::succeeds(client(directory.path()).args(["init", "-q", "--bare", "."]));
        git::output(client(directory.path()).args([
            "fetch",
            "-q",
            "--depth",
            "1",
            &forge.git_url(),
            &old,
        ]))
    };
    forge.configure(|c| {
        c.protocol_v2 = false;
        c.any_want = false;
    });
    assert!(!fetch().status.success());
    forge.configure(|c| c.any_want = true);
    assert!(fetch().status.success());
}

#[test]
fn the_suffix_is_optional_required_or_redirected() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let info = format!("{}/info/refs?service=git-upload-pack", forge.web_url());
    assert_eq!(get(&info).status, 200);
    forge.configure(|c| c.suffix = Suffix::Required);
    assert_eq!(get(&info).status, 404);
    forge.configure(|c| c.suffix = Suffix::Redirected);
    let answer = get(&info);
    assert_eq!(answer.status, 301);
    assert_eq!(
        answer.header("location"),
        format!("{}/info/refs?service=git-upload-pack", forge.git_url())
    );
    assert!(ls_remote(&forge.web_url()).status.success());
}

#[test]
fn a_renamed_repository_redirects() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    forge.configure(|c| c.former_names.push("acme/old".to_owned()));
    assert!(
        ls_remote(&format!("{}/acme/old.git", forge.origin()))
            .status
            .success()
    );
    assert_eq!(forge.requests()[0].status, 301);
}

#[test]
fn a_private_repository_asks_for_the_token() {
    let repo = Repo::small();
    let forge = Forge::private(&repo, "s3cret-token");
    let info = format!("{}/info/refs?service=git-upload-pack", forge.git_url());
    let answer = get(&info);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), "Basic realm=\"GitHub\"");
    let basic = |user: &str, password: &str| {
        let coded = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
        get_with(&info, &[("authorization", &format!("Basic {coded}"))]).status
    };
    assert_eq!(basic("x-access-token", "s3cret-token"), 200);
    assert_eq!(basic("s3cret-token", ""), 200);
    assert_eq!(basic("x-access-token", "wrong"), 401);
    assert!(forge.saw("s3cret-token"));
    assert!(!forge.saw("another-token"));
}

#[test]
fn the_other_host_is_another_origin_and_records_its_requests() {
    let repo = Repo::small();
    let forge = Forge::private(&repo, "s3cret-token");
    let other = forge.other_host();
    assert!(other.git_url().starts_with("http://127.0.0.2:"));
    assert!(ls_remote(&other.git_url()).status.success());
    assert!(!other.saw("s3cret-token"));
    assert_eq!(forge.count(), 0);
    assert_eq!(other.count(), 2);
}

#[test]
fn the_hook_moves_the_ref_between_requests() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let mut n = 0;
    forge.after_each_request(move |repo| {
        n += 1;
        repo.write("moving", n.to_string()).commit("moved");
    });
    let url = format!("{}/git-upload-pack", forge.git_url());
    let mut tips = vec![repo.tip().unwrap()];
    for _ in 0..2 {
        let answer = send(Method::POST, &url, &V2, ls_refs()).unwrap();
        assert!(
            answer.text().contains(tips.last().unwrap().as_str()),
            "answered as it was before the hook"
        );
        tips.push(repo.tip().unwrap());
    }
    tips.dedup();
    assert_eq!(tips.len(), 3);
}

#[test]
fn an_unknown_repository_is_not_found() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    assert_eq!(
        get(&format!(
            "{}/acme/other.git/info/refs?service=git-upload-pack",
            forge.origin()
        ))
        .status,
        404
    );
    assert_eq!(get(&forge.origin()).status, 404);
}
