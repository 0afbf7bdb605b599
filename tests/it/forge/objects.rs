//! Commits, refs, trees and blobs of the REST API against what git says of them.

use serde_json::json;

use super::client::{get, get_with};
use crate::common::{
    forge::Forge,
    git,
    repo::{Entry, Repo},
};

fn repo_url(forge: &Forge) -> String {
    format!("{}/repos/{}", forge.api_url(), forge.owner_name())
}

#[test]
fn a_commit_has_its_documented_shape() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let tip = repo.tip().unwrap();
    let answer = get(&format!("{}/git/commits/{tip}", repo_url(&forge))).json();
    assert_eq!(answer["sha"], json!(tip));
    assert_eq!(answer["tree"]["sha"], json!(repo.id("main^{tree}")));
    assert_eq!(answer["parents"][0]["sha"], json!(repo.id("main~1")));
    assert_eq!(
        answer["message"],
        json!("change 2\n\nWith a body – and a dash.")
    );
    let date = git::line(repo.git().args([
        "log",
        "-1",
        "--format=%cd",
        "--date=format-local:%Y-%m-%dT%H:%M:%SZ",
        "main",
    ]));
    assert_eq!(
        answer["committer"],
        json!({ "name": "Fixture Author", "email": "author@example.org", "date": date })
    );
    assert_eq!(
        answer["verification"],
        json!({ "verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null })
    );
    let full = get(&format!("{}/commits/main", repo_url(&forge))).json();
    assert_eq!(full["commit"]["tree"], answer["tree"]);
    assert!(
        full["files"]
            .as_array()
            .is_some_and(|files| !files.is_empty())
    );
    assert_eq!(
        get(&format!(
            "{}/git/commits/{}",
            repo_url(&forge),
            repo.id("main^{tree}")
        ))
        .status,
        404
    );
}

#[test]
fn a_signed_commit_carries_all_that_its_id_is_computed_from() {
    let repo = Repo::small();
    let signature = "-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----";
    let commit = repo.signed_commit(&repo.id("main^{tree}"), &[], "signed", |_| {
        signature.to_owned()
    });
    repo.update_ref("refs/heads/main", &commit);
    let forge = Forge::serve(&repo);
    let answer = get(&format!("{}/git/commits/{commit}", repo_url(&forge))).json();
    let payload = answer["verification"]["payload"].as_str().unwrap();
    assert_eq!(answer["verification"]["signature"], json!(signature));
    let header = format!("gpgsig {}\n\n", signature.replace('\n', "\n "));
    assert_eq!(
        payload
            .replacen("\n\n", &format!("\n{header}"), 1)
            .into_bytes(),
        repo.cat(&commit)
    );
}

#[test]
fn refs_and_tags_are_exact() {
    let repo = Repo::small();
    repo.branch("main-2").tag("light");
    let tag = repo.annotated_tag("v1");
    let forge = Forge::serve(&repo);
    let (url, tip) = (repo_url(&forge), repo.tip().unwrap());
    let main = get(&format!("{url}/git/ref/heads/main")).json();
    assert_eq!(
        (&main["ref"], &main["object"]["type"]),
        (&json!("refs/heads/main"), &json!("commit"))
    );
    assert_eq!(main["object"]["sha"], json!(tip));
    assert_eq!(get(&format!("{url}/git/ref/heads/mai")).status, 404);
    assert_eq!(get(&format!("{url}/git/ref/{tip}")).status, 404);
    let annotated = get(&format!("{url}/git/ref/tags/v1")).json();
    assert_eq!(
        (&annotated["object"]["type"], &annotated["object"]["sha"]),
        (&json!("tag"), &json!(tag))
    );
    let object = get(&format!("{url}/git/tags/{tag}")).json();
    assert_eq!(
        (&object["tag"], &object["object"]["sha"]),
        (&json!("v1"), &json!(tip))
    );
    let matching = get(&format!("{url}/git/matching-refs/heads/main")).json();
    assert_eq!(matching.as_array().map(Vec::len), Some(2));
}

#[test]
fn a_tree_is_listed_as_git_lists_it() {
    let repo = Repo::with_history(12);
    let forge = Forge::serve(&repo);
    let tree = repo.id("main^{tree}");
    let answer = get(&format!(
        "{}/git/trees/{tree}?recursive=0",
        repo_url(&forge)
    ))
    .json();
    assert_eq!(
        (&answer["sha"], &answer["truncated"]),
        (&json!(tree), &json!(false))
    );
    let listed: Vec<String> = answer["tree"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let size = row.get("size").map_or("-".to_owned(), ToString::to_string);
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            format!(
                "{} {} {} {size}\t{}",
                text("mode"),
                text("type"),
                text("sha"),
                text("path")
            )
        })
        .collect();
    let git =
        git::succeeds(
            repo.git()
                .args(["ls-tree", "-r", "-t", "-l", "-z", "--full-tree", &tree]),
        );
    let git = String::from_utf8(git).unwrap();
    let expected: Vec<String> = git
        .trim_end_matches('\0')
        .split('\0')
        .map(|row| {
            let (head, path) = row.split_once('\t').unwrap();
            let words: Vec<&str> = head.split_whitespace().collect();
            format!("{}\t{path}", words.join(" "))
        })
        .collect();
    assert_eq!(listed, expected);

    let flat = get(&format!("{}/git/trees/{tree}", repo_url(&forge))).json();
    assert!(
        flat["tree"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| !row["path"].as_str().unwrap().contains('/'))
    );
    // Asked by another name, the answer's id is not the tree's.
    let by_name = get(&format!("{}/git/trees/main?recursive=1", repo_url(&forge))).json();
    assert_eq!(by_name["sha"], json!(repo.tip().unwrap()));
    assert_eq!(by_name["tree"], answer["tree"]);
    assert_eq!(
        get(&format!(
            "{}/git/trees/{}",
            repo_url(&forge),
            "0".repeat(40)
        ))
        .status,
        404
    );
    assert_eq!(
        get(&format!("{}/git/trees/{tree}/", repo_url(&forge))).status,
        404,
        "a trailing slash"
    );
}

#[test]
fn a_long_listing_is_truncated_and_its_parts_are_not() {
    let repo = Repo::with_history(1);
    let forge = Forge::serve(&repo);
    forge.configure(|c| c.tree_entries = 10);
    let tree = repo.id("main^{tree}");
    let answer = get(&format!(
        "{}/git/trees/{tree}?recursive=1",
        repo_url(&forge)
    ))
    .json();
    assert_eq!(
        (
            &answer["truncated"],
            answer["tree"].as_array().unwrap().len()
        ),
        (&json!(true), 10)
    );
    let flat = get(&format!("{}/git/trees/{tree}", repo_url(&forge))).json();
    assert_eq!(flat["truncated"], json!(false));
}

#[test]
fn a_hostile_tree_is_served_as_it_is() {
    let repo = Repo::small();
    let blob = repo.blob("x");
    let tree = repo.raw_tree(&[
        Entry::file("../evil", &blob),
        Entry::new("100666", ".GIT", &blob),
        Entry::file("gone", &"1".repeat(40)),
    ]);
    repo.commit_raw_tree(&tree, "hostile");
    let forge = Forge::serve(&repo);
    let answer = get(&format!(
        "{}/git/trees/{tree}?recursive=1",
        repo_url(&forge)
    ))
    .json();
    assert_eq!(answer["tree"][0]["path"], json!("../evil"));
    assert_eq!(
        (&answer["tree"][1]["mode"], &answer["tree"][1]["size"]),
        (&json!("100666"), &json!(1))
    );
    assert_eq!(answer["tree"][2].get("size"), None);
}

#[test]
fn a_blob_comes_as_base64_or_raw() {
    let repo = Repo::new();
    let content: Vec<u8> = (0..=255).collect();
    repo.write("bin", &content).commit("start");
    let forge = Forge::serve(&repo);
    let id = repo.id("main:bin");
    let url = format!("{}/git/blobs/{id}", repo_url(&forge));
    let answer = get(&url).json();
    let coded = answer["content"].as_str().unwrap();
    assert!(coded.contains('\n'));
    assert_eq!(
        data_encoding::BASE64
            .decode(coded.replace('\n', "").as_bytes())
            .unwrap(),
        content
    );
    assert_eq!(
        (&answer["size"], &answer["encoding"], &answer["sha"]),
        (&json!(256), &json!("base64"), &json!(id))
    );
    for accept in [
        "application/vnd.github.raw+json",
        "application/vnd.github.raw",
        "application/vnd.github.v3.raw",
    ] {
        assert_eq!(
            get_with(&url, &[("accept", accept)]).body,
            content,
            "{accept}"
        );
    }
    forge.configure(|c| c.blob_bytes = 100);
    let refused = get(&url);
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["code"]),
        (403, &json!("too_large"))
    );
    assert_eq!(
        get(&format!(
            "{}/git/blobs/{}",
            repo_url(&forge),
            repo.tip().unwrap()
        ))
        .status,
        404
    );
}

#[test]
fn very_deep_and_very_wide_trees_are_served() {
    let repo = Repo::small();
    let blob = repo.blob("x");
    let mut deep = repo.raw_tree(&[Entry::file("leaf", &blob)]);
    for _ in 0..2000 {
        deep = repo.raw_tree(&[Entry::tree("d", &deep)]);
    }
    let wide: Vec<Entry> = (0..50_000)
        .map(|i| Entry::file(format!("f{i:05}"), &blob))
        .collect();
    let wide = repo.raw_tree(&wide);
    let forge = Forge::serve(&repo);
    let rows = |tree: &str| {
        let answer = get(&format!(
            "{}/git/trees/{tree}?recursive=1",
            repo_url(&forge)
        ))
        .json();
        answer["tree"].as_array().unwrap().len()
    };
    assert_eq!(rows(&deep), 2001);
    assert_eq!(rows(&wide), 50_000);
}
