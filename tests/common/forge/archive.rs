//! The hosts beside the API: raw files and archives.

use sha2::{Digest, Sha256};

use super::{
    Shared, api,
    message::{Reply, Request},
    resolve,
};
use crate::common::git;

/// What a private archive's temporary address carries in place of the token.
const ARCHIVE_PASS: &str = "temporary-pass";

/// `/raw/owner/name/REF/path`.
pub(super) fn raw(shared: &Shared, request: &Request, rest: &[&str]) -> Reply {
    let missing = || Reply::text(404, "404: Not Found");
    let [owner, name, reference, path @ ..] = rest else {
        return missing();
    };
    let config = shared.config().clone();
    let allowed = !config.private || api::token(request) == config.token;
    if !config.api || !allowed || format!("{owner}/{name}") != config.owner_name {
        return missing();
    }
    let Some(commit) = resolve::resolve(shared, reference) else {
        return missing();
    };
    let path = path.join("/");
    let Some(object) = shared
        .repo
        .object_of(&format!("{commit}:{path}"))
        .filter(|o| o.kind == "blob")
    else {
        return missing();
    };
    let tag = format!(
        "\"{}\"",
        data_encoding::HEXLOWER.encode(&Sha256::digest(&object.data))
    );
    let fresh = api::matches(request, &tag);
    let mut reply = Reply::new(200, "text/plain; charset=utf-8", object.data)
        .with("etag", tag)
        .with("cache-control", "max-age=300")
        .with("x-content-type-options", "nosniff");
    if fresh {
        reply.status = 304;
        reply.body.clear();
    }
    reply.compress = true;
    reply
}

/// The API's part: a redirect to the host of the archives.
pub(super) fn redirect(shared: &Shared, request: &Request, reference: &str) -> Reply {
    let config = shared.config().clone();
    let reference = if reference.is_empty() {
        "HEAD"
    } else {
        reference
    };
    let full = ["refs/heads/", "refs/tags/"].map(|prefix| format!("{prefix}{reference}"));
    let target = full
        .into_iter()
        .find(|name| shared.repo.info(name).is_some());
    let target = match (target, reference) {
        (Some(name), _) => name,
        (None, "HEAD") => resolve::default_branch(shared),
        (None, other) if resolve::resolve(shared, other).is_some() => other.to_owned(),
        _ => return api::answers::not_found("repos/contents#download-a-repository-archive-tar"),
    };
    let origin = config
        .archive_origin
        .unwrap_or_else(|| request.origin.clone());
    let pass = if config.private {
        format!("?token={ARCHIVE_PASS}")
    } else {
        String::new()
    };
    let location = format!(
        "{origin}/codeload/{}/legacy.tar.gz/{target}{pass}",
        config.owner_name
    );
    Reply::new(302, "text/html; charset=utf-8", "")
        .with("location", location)
        .with("cache-control", "public, must-revalidate, max-age=0")
}

/// `/codeload/owner/name/legacy.tar.gz/REF`.
pub(super) fn codeload(shared: &Shared, request: &Request, rest: &[&str]) -> Reply {
    let missing = || Reply::text(404, "404: Not Found");
    let [owner, name, "legacy.tar.gz", reference @ ..] = rest else {
        return missing();
    };
    let config = shared.config().clone();
    let allowed = !config.private || request.parameter("token").as_deref() == Some(ARCHIVE_PASS);
    if !config.api || !allowed || format!("{owner}/{name}") != config.owner_name {
        return missing();
    }
    let Some(commit) = resolve::resolve(shared, &reference.join("/")) else {
        return missing();
    };
    let top = format!("{owner}-{name}-{}", &commit[..7]);
    let mut archive = shared.repo.git();
    archive.args([
        "-c",
        "tar.umask=0002",
        "archive",
        "--format=tar.gz",
        &format!("--prefix={top}/"),
        &commit,
    ]);
    let body = git::succeeds(&mut archive);
    let mut reply = Reply::new(200, "application/x-gzip", body)
        .with(
            "content-disposition",
            format!("attachment; filename={top}.tar.gz"),
        )
        .with("etag", format!("W/\"{commit}\""));
    reply.chunked = true;
    reply
}
