//! The REST API: who may ask, what it costs, and the endpoints a sync can use.

pub(super) mod answers;
mod endpoints;
mod shapes;

use serde_json::json;
use sha2::{Digest, Sha256};

use self::answers::{DOCS, JSON, error, not_found, ok, rate_limited};
use super::{
    Shared,
    message::{Reply, Request, basic_parts},
};

/// The repository's number: the address it keeps through renames.
pub(super) const REPOSITORY_ID: &str = "1000";

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
        && token(request) != config.token;
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
    if config.private && token(request) != config.token {
        return not_found("");
    }
    if request.method != "GET" && request.method != "HEAD" {
        return not_found("");
    }
    let web = format!("{}/{base}", request.origin);
    let base = format!("{}/repos/{base}", api_base(request));
    endpoints::repository(shared, request, &base, &web, rest)
}

/// The token of `Authorization: token …`, `Bearer …` or `Basic …:…`.
pub(super) fn token(request: &Request) -> Option<String> {
    let value = request.header("authorization")?;
    if let Some((_, password)) = basic_parts(value) {
        return Some(password);
    }
    let (scheme, token) = value.split_once(' ')?;
    let known = ["token", "bearer"].contains(&scheme.to_ascii_lowercase().as_str());
    known.then(|| token.trim().to_owned())
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
