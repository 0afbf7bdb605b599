//! The REST API, the raw host and the archive host: who is answered, how names resolve, what it costs.

use serde_json::json;

use super::client::{get, get_with};
use crate::common::{forge::Forge, git, repo::Repo};

const SHA: (&str, &str) = ("accept", "application/vnd.github.sha");

fn repo_url(forge: &Forge) -> String {
    format!("{}/repos/{}", forge.api_url(), forge.owner_name())
}

#[test]
fn resolves_every_way_to_name_a_commit() {
    let repo = Repo::small();
    repo.branch("feature/x").tag("v1");
    repo.annotated_tag("v2");
    let forge = Forge::serve(&repo);
    let (url, tip) = (repo_url(&forge), repo.tip().unwrap());
    for name in [
        "main",
        "heads/main",
        "heads%2Fmain",
        "refs/heads/main",
        "feature%2Fx",
        "feature/x",
        "v1",
        "tags/v1",
        "v2",
        "tags/v2",
        "HEAD",
        &tip,
        &tip[..8],
    ] {
        let answer = get_with(&format!("{url}/commits/{name}"), &[SHA]);
        assert_eq!(
            (answer.status, answer.text()),
            (200, tip.as_str()),
            "{name}"
        );
        assert_eq!(answer.header("etag"), format!("\"{tip}\""));
    }
    let tag = repo.id("refs/tags/v2");
    let tree = repo.id("main^{tree}");
    for name in [
        "missing",
        "beef0011",
        &tag,
        &tree,
        "0000000000000000000000000000000000000001",
        "main~0",
    ] {
        let answer = get_with(&format!("{url}/commits/{name}"), &[SHA]);
        assert_eq!(answer.status, 422, "{name}");
        assert_eq!(
            answer.json()["message"],
            json!(format!("No commit found for SHA: {name}"))
        );
        assert_eq!(answer.json()["status"], json!("422"));
    }
}

#[test]
fn answers_304_to_who_has_it_and_takes_no_quota() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let url = format!("{}/commits/main", repo_url(&forge));
    let tip = repo.tip().unwrap();
    let known = format!("\"{tip}\"");
    let answer = get_with(&url, &[SHA, ("if-none-match", &known)]);
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    assert_eq!(answer.header("x-ratelimit-remaining"), "5000");
    repo.write("x", "x").commit("next");
    let answer = get_with(&url, &[SHA, ("if-none-match", &known)]);
    assert_eq!(
        (answer.status, answer.header("x-ratelimit-remaining")),
        (200, "4999")
    );

    let tree = format!("{}/git/trees/{}", repo_url(&forge), repo.id("main^{tree}"));
    let tag = get(&tree).header("etag").to_owned();
    assert_eq!(get_with(&tree, &[("if-none-match", &tag)]).status, 304);
    // Compressed, the validator is weak; both forms match.
    let packed = get_with(&tree, &[("accept-encoding", "gzip")]);
    assert_eq!(
        (packed.header("content-encoding"), packed.header("etag")),
        ("gzip", format!("W/{tag}").as_str())
    );
    assert_eq!(
        get_with(&tree, &[("if-none-match", packed.header("etag"))]).status,
        304
    );
}

#[test]
fn compare_distinguishes_ahead_from_diverged() {
    let repo = Repo::small();
    let old = repo.tip().unwrap();
    repo.write("x", "1").commit("two");
    let new = repo.tip().unwrap();
    let amended = repo.write("x", "2").amend("other two");
    let forge = Forge::serve(&repo);
    let status = |a: &str, b: &str| {
        get(&format!("{}/compare/{a}...{b}", repo_url(&forge))).json()["status"].clone()
    };
    assert_eq!(status(&old, &amended), json!("ahead"));
    assert_eq!(status(&new, &old), json!("behind"));
    assert_eq!(status(&new, &amended), json!("diverged"));
    assert_eq!(status(&new, &new), json!("identical"));
}

#[test]
fn the_quota_runs_out() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    forge.configure(|c| c.rate.remaining = 1);
    let url = format!("{}/git/ref/heads/main", repo_url(&forge));
    assert_eq!(get(&url).header("x-ratelimit-remaining"), "0");
    let refused = get(&url);
    assert_eq!(
        (refused.status, refused.header("x-ratelimit-reset")),
        (403, "1900000000")
    );
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .starts_with("API rate limit exceeded")
    );
    let limits = get(&format!("{}/rate_limit", forge.api_url()));
    assert_eq!(
        (
            limits.status,
            &limits.json()["resources"]["core"]["remaining"]
        ),
        (200, &json!(0))
    );
}

#[test]
fn no_token_and_a_wrong_token_get_different_answers() {
    let repo = Repo::small();
    let forge = Forge::private(&repo, "s3cret");
    let url = repo_url(&forge);
    let status = |authorization: &str| get_with(&url, &[("authorization", authorization)]).status;
    assert_eq!(status(""), 404);
    assert_eq!(status("Bearer s3cret"), 200);
    assert_eq!(status("token s3cret"), 200);
    let basic = data_encoding::BASE64.encode(b"anybody:s3cret");
    assert_eq!(status(&format!("Basic {basic}")), 200);
    let wrong = get_with(&url, &[("authorization", "token wrong")]);
    assert_eq!(
        (wrong.status, &wrong.json()["message"]),
        (401, &json!("Bad credentials"))
    );
    assert_eq!(
        get_with(&url, &[("user-agent", "")]).status,
        403,
        "no user agent"
    );
    let version = [
        ("authorization", "token s3cret"),
        ("x-github-api-version", "1999-01-01"),
    ];
    assert_eq!(get_with(&url, &version).status, 400);
}

#[test]
fn a_renamed_repository_moves_to_its_number() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    forge.configure(|c| c.former_names.push("acme/old".to_owned()));
    let answer = get_with(
        &format!("{}/repos/acme/old/commits/heads%2Fmain", forge.api_url()),
        &[SHA],
    );
    let location = format!("{}/repositories/1000/commits/heads%2Fmain", forge.api_url());
    assert_eq!(
        (answer.status, answer.header("location")),
        (301, location.as_str())
    );
    assert_eq!(answer.json()["message"], json!("Moved Permanently"));
    assert_eq!(get_with(&location, &[SHA]).text(), repo.tip().unwrap());
}

#[test]
fn an_empty_repository_is_a_conflict() {
    let forge = Forge::serve(&Repo::new());
    let answer = get(&format!("{}/commits/main", repo_url(&forge)));
    assert_eq!(
        (answer.status, &answer.json()["message"]),
        (409, &json!("Git Repository is empty."))
    );
    assert_eq!(get(&repo_url(&forge)).status, 200);
}

#[test]
fn the_api_is_served_without_its_prefix_too_and_can_be_absent() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let url = format!("{}/repos/acme/machines", forge.origin());
    assert_eq!(get(&url).json()["url"], json!(url));
    forge.configure(|c| c.api = false);
    assert_eq!(get(&url).status, 404);
    assert_eq!(get(&repo_url(&forge)).status, 404);
}

#[test]
fn raw_files_are_addressed_by_commit_and_path() {
    let repo = Repo::new();
    repo.write("dir/with space/größe#1.txt", "raw\r\n")
        .commit("start");
    let forge = Forge::serve(&repo);
    let tip = repo.tip().unwrap();
    let url = format!("{}/raw/acme/machines/{tip}", forge.origin());
    let answer = get(&format!("{url}/dir/with%20space/gr%C3%B6%C3%9Fe%231.txt"));
    assert_eq!((answer.status, answer.text()), (200, "raw\r\n"));
    assert_eq!(get(&format!("{url}/dir")).status, 404);
    forge.configure(|c| {
        c.private = true;
        c.token = Some("s3cret".to_owned());
    });
    assert_eq!(
        get(&format!("{url}/dir/with%20space/gr%C3%B6%C3%9Fe%231.txt")).status,
        404
    );
}

#[test]
fn an_archive_is_a_redirect_to_its_own_host() {
    let repo = Repo::small();
    let forge = Forge::private(&repo, "s3cret");
    let archives = forge.other_host();
    archives.configure(|c| {
        c.private = true;
        c.token = Some("s3cret".to_owned());
    });
    forge.configure(|c| c.archive_origin = Some(archives.origin()));
    let answer = get_with(
        &format!("{}/tarball/main", repo_url(&forge)),
        &[("authorization", "token s3cret")],
    );
    assert_eq!(answer.status, 302);
    let location = answer.header("location").to_owned();
    assert!(location.starts_with(&format!(
        "{}/codeload/acme/machines/legacy.tar.gz/refs/heads/main?token=",
        archives.origin()
    )));
    let archive = get(&location);
    assert_eq!(
        (archive.status, archive.header("content-type")),
        (200, "application/x-gzip")
    );
    let mut list = std::process::Command::new("tar");
    let names = String::from_utf8(git::feed(list.args(["-tz"]), &archive.body)).unwrap();
    assert!(names.contains(&format!(
        "acme-machines-{}/flake.nix",
        &repo.tip().unwrap()[..7]
    )));
    assert_eq!(
        get(location.split('?').next().unwrap()).status,
        404,
        "without the pass"
    );
    assert!(!archives.saw("s3cret"));
}
