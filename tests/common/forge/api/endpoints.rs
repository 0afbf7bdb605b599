//! What `/repos/owner/name/…` answers.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    super::{
        Shared, archive,
        message::{Reply, Request},
        resolve::{default_branch, is_id, resolve},
    },
    answers::{error, not_found, ok},
    shapes,
};
use crate::common::git::{self, Object};

/// `base` is the repository's address in the API, `web` the one for people.
pub(super) fn repository(
    shared: &Shared,
    request: &Request,
    base: &str,
    web: &str,
    rest: &[&str],
) -> Reply {
    let config = shared.config().clone();
    let empty = shared
        .repo
        .git()
        .args(["for-each-ref", "--count=1"])
        .output()
        .is_ok_and(|o| o.stdout.is_empty());
    match rest {
        [] => ok(&json!({
            "id": 1000, "full_name": config.owner_name, "private": config.private,
            "default_branch": default_branch(shared).trim_start_matches("refs/heads/"),
            "clone_url": format!("{web}.git"), "html_url": web, "url": base,
        })),
        ["tarball"] => archive::redirect(shared, request, ""),
        ["tarball", reference @ ..] => archive::redirect(shared, request, &reference.join("/")),
        // A trailing slash is another address, and there is nothing there.
        [.., ""] => not_found(""),
        ["commits" | "git", ..] if empty => {
            error(409, "Git Repository is empty.", "git/trees#get-a-tree")
        }
        ["commits"] => commits(shared, request, base, web),
        ["commits", reference @ ..] => commit(shared, request, base, web, &reference.join("/")),
        ["git", "ref", name @ ..] => reference(shared, base, &format!("refs/{}", name.join("/"))),
        ["git", "matching-refs", prefix @ ..] => {
            matching(shared, base, &format!("refs/{}", prefix.join("/")))
        }
        ["git", "tags", id] => match object(shared, id, "tag") {
            Some(object) => ok(&shapes::tag(base, &object)),
            None => not_found("git/tags#get-a-tag"),
        },
        ["git", "commits", id] => match object(shared, id, "commit") {
            Some(object) => ok(&shapes::git_commit(base, web, &object)),
            None => not_found("git/commits#get-a-commit-object"),
        },
        ["git", "trees", asked] => tree(shared, request, base, asked),
        ["git", "blobs", id] => blob(shared, request, base, id),
        ["compare", range] => compare(shared, base, web, range),
        _ => not_found(""),
    }
}

fn commit(shared: &Shared, request: &Request, base: &str, web: &str, asked: &str) -> Reply {
    let docs = "commits/commits#get-a-commit";
    let Some(id) = resolve(shared, asked) else {
        return error(422, &format!("No commit found for SHA: {asked}"), docs);
    };
    if accepts(request, "sha") {
        let tag = format!("\"{id}\"");
        return Reply::new(200, "application/vnd.github.sha; charset=utf-8", id).with("etag", tag);
    }
    let object = object(shared, &id, "commit").expect("a resolved commit exists");
    let listing = git::succeeds(shared.repo.git().args([
        "diff-tree",
        "-r",
        "-z",
        "--root",
        "--no-commit-id",
        &id,
    ]));
    let fields: Vec<String> = listing
        .split(|b| *b == 0)
        .map(|f| String::from_utf8_lossy(f).into_owned())
        .collect();
    let files: Vec<(String, String, String)> = fields
        .chunks_exact(2)
        .map(|pair| {
            let words: Vec<&str> = pair[0].split(' ').collect();
            let (status, id) = match words.as_slice() {
                [_, _, _, new, "A"] => ("added", new),
                [_, _, old, _, "D"] => ("removed", old),
                [_, _, _, new, ..] => ("modified", new),
                _ => ("changed", &""),
            };
            (status.to_owned(), (*id).to_owned(), pair[1].clone())
        })
        .collect();
    ok(&shapes::commit(base, web, &object, &files))
}

/// `commits?sha=…`: from there back, the newest first, page by page.
fn commits(shared: &Shared, request: &Request, base: &str, web: &str) -> Reply {
    let number = |name: &str, default: usize| {
        let given = request.parameter(name).and_then(|given| given.parse().ok());
        given.unwrap_or(default)
    };
    let size = number("per_page", 30).min(100);
    let skipped = size * number("page", 1).saturating_sub(1);
    let asked = request
        .parameter("sha")
        .unwrap_or_else(|| "HEAD".to_owned());
    let Some(from) = resolve(shared, &asked) else {
        return not_found("commits/commits#list-commits");
    };
    let printed = git::succeeds(shared.repo.git().args(["rev-list", &from]));
    let ids = String::from_utf8_lossy(&printed);
    let listed: Vec<Value> = ids
        .lines()
        .skip(skipped)
        .take(size)
        .filter_map(|id| object(shared, id, "commit"))
        .map(|object| shapes::commit(base, web, &object, &[]))
        .collect();
    ok(&Value::from(listed))
}

fn reference(shared: &Shared, base: &str, name: &str) -> Reply {
    match refs(shared, name)
        .into_iter()
        .find(|(found, ..)| found == name)
    {
        Some((name, id, kind)) => ok(&shapes::reference(base, &name, &id, &kind)),
        None => not_found("git/refs#get-a-reference"),
    }
}

fn matching(shared: &Shared, base: &str, prefix: &str) -> Reply {
    let all = refs(shared, "refs/");
    let matching = all.iter().filter(|(name, ..)| name.starts_with(prefix));
    ok(&matching
        .map(|(name, id, kind)| shapes::reference(base, name, id, kind))
        .collect())
}

fn tree(shared: &Shared, request: &Request, base: &str, asked: &str) -> Reply {
    let known = if is_id(asked) {
        Some(asked.to_owned())
    } else {
        resolve(shared, asked)
    };
    let tree = known
        .as_ref()
        .and_then(|id| shared.repo.info(&format!("{id}^{{tree}}")));
    let (Some(known), Some(tree)) = (known, tree) else {
        return not_found("git/trees#get-a-tree");
    };
    // Present with any value, `0` included, it recurses.
    let recursive = request.parameter("recursive").is_some();
    let limit = if recursive {
        shared.config().tree_entries
    } else {
        usize::MAX - 1
    };
    ok(&shapes::tree(
        shared, base, &known, &tree.id, recursive, limit,
    ))
}

fn blob(shared: &Shared, request: &Request, base: &str, id: &str) -> Reply {
    let docs = "git/blobs#get-a-blob";
    let Some(object) = object(shared, id, "blob") else {
        return not_found(docs);
    };
    if object.data.len() as u64 > shared.config().blob_bytes {
        let mut reply = error(
            403,
            "This API returns blobs up to 100 MB in size. The requested blob is too large to fetch via the API, but you can always clone the repository via Git in order to obtain it.",
            docs,
        );
        let mut body: Value = serde_json::from_slice(&reply.body).expect("made here");
        body["errors"] = json!([{ "resource": "Blob", "field": "data", "code": "too_large" }]);
        reply.body = body.to_string().into_bytes();
        return reply;
    }
    if accepts(request, "raw") {
        let tag = format!(
            "\"{}\"",
            data_encoding::HEXLOWER.encode(&Sha256::digest(&object.data))
        );
        return Reply::new(
            200,
            "application/vnd.github.raw+json; charset=utf-8",
            object.data,
        )
        .with("etag", tag);
    }
    ok(&shapes::blob(base, &object))
}

fn compare(shared: &Shared, base: &str, web: &str, range: &str) -> Reply {
    let ends = range
        .split_once("...")
        .and_then(|(a, b)| Some((resolve(shared, a)?, resolve(shared, b)?)));
    let Some((old, new)) = ends else {
        return not_found("commits/commits#compare-two-commits");
    };
    let list = |range: String| -> Vec<String> {
        let printed = git::succeeds(shared.repo.git().args(["rev-list", "--reverse", &range]));
        String::from_utf8_lossy(&printed)
            .lines()
            .map(str::to_owned)
            .collect()
    };
    let (ahead, behind) = (list(format!("{old}..{new}")), list(format!("{new}..{old}")));
    let status = match (ahead.len(), behind.len()) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let show = |id: &String| {
        object(shared, id, "commit").map(|object| shapes::commit(base, web, &object, &[]))
    };
    let commits: Vec<Value> = ahead.iter().take(250).filter_map(show).collect();
    ok(&json!({
        "status": status, "ahead_by": ahead.len(), "behind_by": behind.len(), "total_commits": ahead.len(),
        "base_commit": show(&old), "commits": commits, "files": [],
    }))
}

/// `application/vnd.github[.v3].KIND[+json]`.
fn accepts(request: &Request, kind: &str) -> bool {
    let accept = request.header("accept").unwrap_or_default();
    accept
        .split(',')
        .map(|media| media.split(';').next().unwrap_or_default().trim())
        .any(|media| {
            let media = media
                .strip_prefix("application/vnd.github.")
                .unwrap_or_default();
            let media = media.strip_prefix("v3.").unwrap_or(media);
            media == kind || media.strip_suffix("+json") == Some(kind)
        })
}

fn refs(shared: &Shared, prefix: &str) -> Vec<(String, String, String)> {
    let format = "--format=%(refname) %(objectname) %(objecttype)";
    let printed = git::succeeds(shared.repo.git().args(["for-each-ref", format, prefix]));
    let line = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next()?))
    };
    String::from_utf8_lossy(&printed)
        .lines()
        .filter_map(line)
        .collect()
}

fn object(shared: &Shared, id: &str, kind: &str) -> Option<Object> {
    let info = is_id(id)
        .then(|| shared.repo.info(id))
        .flatten()
        .filter(|info| info.kind == kind)?;
    shared.repo.object_of(&info.id)
}
