//! Answers every endpoint shares: JSON, and the errors as GitHub words them.

use serde_json::{Value, json};

use super::super::message::Reply;

/// Where the documentation of every error is.
pub(super) const DOCS: &str = "https://docs.github.com/rest";

/// The content type of every answer.
pub(super) const JSON: &str = "application/json; charset=utf-8";

pub(super) fn ok(value: &Value) -> Reply {
    Reply::new(200, JSON, value.to_string())
}

/// An error of the documented shape; `status` is text there.
pub(super) fn error(status: u16, message: &str, docs: &str) -> Reply {
    let url = if docs.is_empty() {
        DOCS.to_owned()
    } else {
        format!("{DOCS}/{docs}")
    };
    let body =
        json!({ "message": message, "documentation_url": url, "status": status.to_string() });
    Reply::new(status, JSON, body.to_string())
}

pub(in crate::common::forge) fn not_found(docs: &str) -> Reply {
    error(404, "Not Found", docs)
}

pub(in crate::common::forge) fn rate_limited(limit: u64, reset: u64) -> Reply {
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

pub(in crate::common::forge) fn secondary_limit(status: u16, retry_after: Option<&str>) -> Reply {
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
