//! The REST API: who may ask, what it costs, and the endpoints a sync can use.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Shared, archive, json,
    message::{Reply, Request},
};
use crate::common::git::{self, Object};

/// The repository's number: the address it keeps through renames.
pub(super) const REPOSITORY_ID: &str = "1000";

const DOCS: &str = "https://docs.github.com/rest";

/// Answers a request below the API's base.
pub(super) fn answer(shared: &Shared, request: &Request, segments: &[&str]) -> Reply {
    let config = shared.config().clone();
    if !config.api {
        return Reply::text(404, "404 page not found\n");
    }
    let mut reply = admit(shared, request).unwrap_or_else(|| {
        let free = segments == ["rate_limit"];
        if !free && config.rate.remaining == 0 {
            return rate_limited(config.rate.limit, config.rate.reset);
        }
        let reply = conditional(request, route(shared, request, segments));
        if !free && reply.status != 304 {
            let mut config = shared.config();
            config.rate.remaining = config.rate.remaining.saturating_sub(1);
        }
        reply
    });
    let rate = shared.config().rate;
    for (name, value) in [
        ("x-ratelimit-limit", rate.limit),
        ("x-ratelimit-remaining", rate.remaining),
        (
            "x-ratelimit-used",
            rate.limit.saturating_sub(rate.remaining),
        ),
        ("x-ratelimit-reset", rate.reset),
    ] {
        reply.set(name, value.to_string());
    }
    reply.set("x-ratelimit-resource", "core");
    reply.set("x-github-request-id", "F0F0:0001:0002");
    reply.set("x-github-media-type", "github.v3; format=json");
    reply.set(
        "vary",
        "Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding",
    );
    reply.compress = true;
    reply
}

/// Who is turned away before the route matters.
fn admit(shared: &Shared, request: &Request) -> Option<Reply> {
    if request.header("user-agent").is_none_or(str::is_empty) {
        let text = "\r\nRequest forbidden by administrative rules. Please make sure your request has a User-Agent header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). Check https://developer.github.com for other possible causes.\r\n";
        return Some(Reply::text(403, text));
    }
    if let Some(version) = request.header("x-github-api-version")
        && !["2022-11-28", "2026-03-10"].contains(&version)
    {
        return Some(error(
            400,
            &format!(
                "{version} is not a supported version. Supported versions are: 2022-11-28, 2026-03-10."
            ),
            "",
        ));
    }
    let config = shared.config().clone();
    let wrong = config.token.is_some()
        && request.header("authorization").is_some()
        && token(request) != config.token.as_deref();
    wrong.then(|| error(401, "Bad credentials", ""))
}

fn route(shared: &Shared, request: &Request, segments: &[&str]) -> Reply {
    let config = shared.config().clone();
    if segments == ["rate_limit"] {
        let rate = config.rate;
        let core = json!({
            "limit": rate.limit, "remaining": rate.remaining, "reset": rate.reset,
            "used": rate.limit.saturating_sub(rate.remaining), "resource": "core",
        });
        return ok(&json!({ "resources": { "core": core }, "rate": core }));
    }
    let (base, rest) = match segments {
        ["repos", owner, name, rest @ ..] => {
            let asked = format!("{owner}/{name}");
            if config.former_names.contains(&asked) {
                return renamed(request);
            }
            if asked != config.owner_name {
                return not_found("");
            }
            (asked, rest)
        }
        ["repositories", REPOSITORY_ID, rest @ ..] => (config.owner_name.clone(), rest),
        _ => return not_found(""),
    };
    if config.private && token(request) != config.token.as_deref() {
        return not_found("");
    }
    if request.method != "GET" && request.method != "HEAD" {
        return not_found("");
    }
    let web = format!("{}/{base}", request.origin);
    let base = format!("{}/repos/{base}", api_base(request));
    repository(shared, request, &base, &web, rest)
}

fn repository(shared: &Shared, request: &Request, base: &str, web: &str, rest: &[&str]) -> Reply {
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
        ["commits", reference @ ..] => commit(shared, request, base, web, &reference.join("/")),
        ["git", "ref", name @ ..] => reference(shared, base, &format!("refs/{}", name.join("/"))),
        ["git", "matching-refs", prefix @ ..] => {
            matching(shared, base, &format!("refs/{}", prefix.join("/")))
        }
        ["git", "tags", id] => match object(shared, id, "tag") {
            Some(object) => ok(&json::tag(base, &object)),
            None => not_found("git/tags#get-a-tag"),
        },
        ["git", "commits", id] => match object(shared, id, "commit") {
            Some(object) => ok(&json::git_commit(base, web, &object)),
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
    ok(&json::commit(base, web, &object, &files))
}

fn reference(shared: &Shared, base: &str, name: &str) -> Reply {
    match refs(shared, name)
        .into_iter()
        .find(|(found, ..)| found == name)
    {
        Some((name, id, kind)) => ok(&json::reference(base, &name, &id, &kind)),
        None => not_found("git/refs#get-a-reference"),
    }
}

fn matching(shared: &Shared, base: &str, prefix: &str) -> Reply {
    let all = refs(shared, "refs/");
    let matching = all.iter().filter(|(name, ..)| name.starts_with(prefix));
    ok(&matching
        .map(|(name, id, kind)| json::reference(base, name, id, kind))
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
    ok(&json::tree(
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
    ok(&json::blob(base, &object))
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
        object(shared, id, "commit").map(|object| json::commit(base, web, &object, &[]))
    };
    let commits: Vec<Value> = ahead.iter().take(250).filter_map(show).collect();
    ok(&json!({
        "status": status, "ahead_by": ahead.len(), "behind_by": behind.len(), "total_commits": ahead.len(),
        "base_commit": show(&old), "commits": commits, "files": [],
    }))
}

/// The commit a name means, in the order of GitHub: a full id, then branch, tag, any ref, a unique short id.
pub(super) fn resolve(shared: &Shared, name: &str) -> Option<String> {
    let commit = |revision: &str| {
        shared
            .repo
            .info(revision)
            .filter(|info| info.kind == "commit")
            .map(|info| info.id)
    };
    if is_id(name) {
        return commit(name);
    }
    if name.is_empty()
        || name.contains([' ', ':', '^', '~', '\\', '?', '*', '[', '@', '\n'])
        || name.contains("..")
    {
        return None;
    }
    if name == "HEAD" {
        return commit("HEAD");
    }
    let refs = ["refs/heads/", "refs/tags/", "refs/", ""].map(|prefix| format!("{prefix}{name}"));
    let named = refs
        .iter()
        .filter(|name| name.starts_with("refs/"))
        .find_map(|name| commit(&format!("{name}^{{commit}}")));
    let short = || {
        (name.len() >= 4 && name.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| commit(name))
            .flatten()
    };
    named.or_else(short)
}

/// `refs/heads/…` that `HEAD` names.
pub(super) fn default_branch(shared: &Shared) -> String {
    git::line(shared.repo.git().args(["symbolic-ref", "HEAD"]))
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

fn is_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The token of `Authorization: token …`, `Bearer …` or `Basic …:…`.
pub(super) fn token(request: &Request) -> Option<&str> {
    let value = request.header("authorization")?;
    let (scheme, token) = value.split_once(' ')?;
    ["token", "bearer"]
        .contains(&scheme.to_ascii_lowercase().as_str())
        .then_some(token.trim())
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

/// Whether the client has this version already.
pub(super) fn matches(request: &Request, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    request
        .header("if-none-match")
        .is_some_and(|tags| tags.split(',').any(|t| bare(t) == bare(tag)))
}

fn conditional(request: &Request, mut reply: Reply) -> Reply {
    if reply.status != 200 {
        return reply;
    }
    let tag = reply.get("etag").map_or_else(
        || {
            format!(
                "\"{}\"",
                data_encoding::HEXLOWER.encode(&Sha256::digest(&reply.body))
            )
        },
        str::to_owned,
    );
    reply.set("etag", tag.clone());
    reply.set("cache-control", "public, max-age=60, s-maxage=60");
    if matches(request, &tag) {
        reply.status = 304;
        reply.body.clear();
    }
    reply
}

/// 301 to the address by number, the rest of the path as it was sent.
fn renamed(request: &Request) -> Reply {
    let target = request.target();
    let target = target.strip_prefix("/api/v3").unwrap_or(&target);
    let tail = target
        .splitn(5, '/')
        .nth(4)
        .map_or(String::new(), |tail| format!("/{tail}"));
    let url = format!("{}/repositories/{REPOSITORY_ID}{tail}", api_base(request));
    let docs = format!("{DOCS}/guides/best-practices-for-using-the-rest-api#follow-redirects");
    let body = json!({ "message": "Moved Permanently", "url": url, "documentation_url": docs });
    Reply::new(301, JSON, body.to_string()).with("location", url)
}

/// The base the client used: with `/api/v3` or without.
fn api_base(request: &Request) -> String {
    let v3 = if request.path.starts_with("/api/v3/") {
        "/api/v3"
    } else {
        ""
    };
    format!("{}{v3}", request.origin)
}

const JSON: &str = "application/json; charset=utf-8";

fn ok(value: &Value) -> Reply {
    Reply::new(200, JSON, value.to_string())
}

/// An error of the documented shape; `status` is text there.
fn error(status: u16, message: &str, docs: &str) -> Reply {
    let url = if docs.is_empty() {
        DOCS.to_owned()
    } else {
        format!("{DOCS}/{docs}")
    };
    let body =
        json!({ "message": message, "documentation_url": url, "status": status.to_string() });
    Reply::new(status, JSON, body.to_string())
}

pub(super) fn not_found(docs: &str) -> Reply {
    error(404, "Not Found", docs)
}

pub(super) fn rate_limited(limit: u64, reset: u64) -> Reply {
    let message = "API rate limit exceeded for 203.0.113.7. (But here's the good news: Authenticated requests get a higher rate limit. Check out the documentation for more details.)";
    error(
        403,
        message,
        "overview/resources-in-the-rest-api#rate-limiting",
    )
    .with("x-ratelimit-limit", limit.to_string())
    .with("x-ratelimit-remaining", "0")
    .with("x-ratelimit-used", limit.to_string())
    .with("x-ratelimit-reset", reset.to_string())
    .with("x-ratelimit-resource", "core")
}

pub(super) fn secondary_limit(status: u16, retry_after: Option<&str>) -> Reply {
    let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. If you reach out to GitHub Support for help, please include the request ID F0F0:0001:0002.";
    let reply = error(
        status,
        message,
        "overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
    );
    match retry_after {
        Some(seconds) => reply.with("retry-after", seconds),
        None => reply,
    }
}
