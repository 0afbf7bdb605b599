//! Git over HTTP by the real `git http-backend`.

use std::{ffi::OsString, process::Command, sync::atomic::Ordering};

use super::{
    Shared,
    config::{BarePost, Config, Suffix},
    message::{Reply, Request, basic_parts},
};
use crate::common::git;

/// Answers `/owner/name[.git]/…`.
pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    owner: &str,
    name: &str,
    rest: &[&str],
) -> Reply {
    let config = shared.config().clone();
    // GitHub, Bitbucket and Azure DevOps answer others with 404 or a login page.
    if !request
        .header("user-agent")
        .is_some_and(|agent| agent.starts_with("git/"))
    {
        return Reply::text(404, "Not Found");
    }
    let bare = name.strip_suffix(".git");
    let asked = format!("{owner}/{}", bare.unwrap_or(name));
    if config.former_names.contains(&asked) {
        let suffix = if bare.is_some() { ".git" } else { "" };
        return moved(
            request,
            &format!("{}{suffix}/{}", config.owner_name, rest.join("/")),
        );
    }
    if let Some(refusal) = refuse(&config, request, asked == config.owner_name) {
        return refusal;
    }
    if bare.is_none() {
        match config.suffix {
            Suffix::Optional => {}
            Suffix::Required => return Reply::text(404, "Not Found"),
            Suffix::Redirected => {
                return moved(request, &format!("{asked}.git/{}", rest.join("/")));
            }
        }
    }
    if rest == ["info", "refs"] {
        shared.discovered.store(true, Ordering::SeqCst);
    } else if let BarePost::Refused(status) = config.bare_post
        && !shared.discovered.load(Ordering::SeqCst)
    {
        return Reply::text(status, "discovery first");
    }
    backend(shared, &config, request, rest)
}

/// Whether this visitor gets nothing: a wrong token always, no token where the repository is private.
fn refuse(config: &Config, request: &Request, exists: bool) -> Option<Reply> {
    let challenge =
        |body: &str| Reply::text(401, body).with("www-authenticate", "Basic realm=\"GitHub\"");
    let given = request.header("authorization");
    if let (Some(token), Some(given)) = (&config.token, given) {
        let good =
            basic_parts(given).is_some_and(|(user, password)| user == *token || password == *token);
        if !good {
            return Some(challenge(
                "Invalid username or token. Password authentication is not supported for Git operations.",
            ));
        }
    }
    if config.private && given.is_none() {
        return Some(challenge("Repository not found."));
    }
    (!exists).then(|| Reply::text(404, "Repository not found."))
}

fn moved(request: &Request, path: &str) -> Reply {
    let mark = if request.query.is_empty() { "" } else { "?" };
    Reply::text(301, "").with(
        "location",
        format!("{}/{path}{mark}{}", request.origin, request.query),
    )
}

fn backend(shared: &Shared, config: &Config, request: &Request, rest: &[&str]) -> Reply {
    let repository = shared.repo.path();
    let root = repository.parent().expect("the repository has a directory");
    let directory = repository
        .file_name()
        .expect("the repository has a name")
        .to_string_lossy();
    let mut command = Command::new(git::program());
    command
        .arg("http-backend")
        .env_clear()
        .envs(git::environment(root));
    command
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", format!("/{directory}/{}", rest.join("/")))
        .env("QUERY_STRING", &request.query)
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("SERVER_PROTOCOL", "HTTP/1.1")
        .envs(git_config(config));
    if request.method == "POST" {
        command.env("CONTENT_LENGTH", request.body.len().to_string());
    }
    for (header, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ] {
        let Some(value) = request.header(header) else {
            continue;
        };
        if variable != "GIT_PROTOCOL" || config.protocol_v2 {
            command.env(variable, value);
        }
    }
    let output = git::feed_any(&mut command, &request.body);
    parse(&output.stdout).unwrap_or_else(|| Reply::new(500, "text/plain", output.stderr))
}

/// Configuration for git by environment.
fn git_config(config: &Config) -> Vec<(String, OsString)> {
    let mut pairs = vec![
        (
            "uploadpack.allowFilter".to_owned(),
            config.filter.to_string(),
        ),
        (
            "uploadpack.allowAnySHA1InWant".to_owned(),
            config.any_want.to_string(),
        ),
        // One thread: the same pack every time.
        ("pack.threads".to_owned(), "1".to_owned()),
        ("safe.directory".to_owned(), "*".to_owned()),
    ];
    pairs.extend(config.serving_git.iter().cloned());
    let mut variables = vec![(
        "GIT_CONFIG_COUNT".to_owned(),
        pairs.len().to_string().into(),
    )];
    for (i, (key, value)) in pairs.into_iter().enumerate() {
        variables.push((format!("GIT_CONFIG_KEY_{i}"), key.into()));
        variables.push((format!("GIT_CONFIG_VALUE_{i}"), value.into()));
    }
    variables
}

/// A CGI answer: headers, an empty line, the body.
fn parse(output: &[u8]) -> Option<Reply> {
    let end = output.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&output[..end]).ok()?;
    let mut reply = Reply {
        status: 200,
        headers: Vec::new(),
        body: output[end + 4..].to_vec(),
        compress: false,
        chunked: true,
    };
    for line in head.lines() {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "status" => reply.status = value.split(' ').next()?.parse().ok()?,
            // The server that passes the answer on says how it does.
            "content-length" => {}
            name => reply.set(name, value),
        }
    }
    Some(reply)
}
