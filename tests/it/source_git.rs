//! Commits by the git protocol: every answer a real `git upload-pack` gives, and some that it never would.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::{BlobId, Commit, CommitId, Oid};
use hyper_sync::objects::Store;
use hyper_sync::settings::{Env, Limits};
use hyper_sync::source::git::{Connection, GitSource, Options};
use hyper_sync::source::{Error, RefKind, Route, Source, Traffic};

use crate::common::git;
use crate::common::machine::Machine;
use crate::common::repo::{Entry, History, Repo};

mod answers;
mod history;
mod http;
mod resolve;
mod routes;
mod ssh;

/// The result of a sync.
#[derive(Debug)]
struct Synced {
    route: Route,
    /// `from: cause`, one a line.
    fallbacks: String,
    blobs: u64,
    requests: u64,
    received: u64,
}

impl Machine {
    /// One whose target has this file alone.
    fn holding(repo: &Repo, file: &str) -> Self {
        let mut machine = Self::new();
        let id = BlobId(repo.id(file).parse().unwrap());
        machine.held.insert(id, repo.cat(file));
        machine
    }

    /// Resolves, obtains and proves, and adds the files to the target.
    fn sync(&mut self, source: &GitSource, reference: &str) -> Result<Synced, Error> {
        let before = source.traffic();
        let resolved = source.resolve(reference)?;
        let staged = self.stage(source, &resolved)?;
        let after = source.traffic();
        let synced = Synced {
            route: staged.route(),
            fallbacks: staged
                .fallbacks()
                .iter()
                .map(|fallback| format!("{:?}: {}", fallback.from, fallback.cause))
                .collect::<Vec<_>>()
                .join("\n"),
            blobs: staged.downloaded(),
            requests: after.requests - before.requests,
            received: after.received - before.received,
        };
        let held: HashMap<BlobId, Vec<u8>> = staged
            .files()
            .values()
            .map(|file| {
                let held = self.held.get(&file.id).cloned();
                (
                    file.id,
                    held.unwrap_or_else(|| staged.blob(file.id).unwrap()),
                )
            })
            .collect();
        drop(staged);
        self.store.make_durable()?;
        self.held = held;
        self.last = Some(resolved.commit);
        Ok(synced)
    }

    /// Asserts that every object of the commit is as git has it, and that `git fsck` accepts the store.
    fn check(&self, repo: &Repo, revision: &str) {
        for row in repo.ls_tree(revision) {
            let path = String::from_utf8_lossy(&row.path);
            if row.kind != "blob" || (self.excluded)(&path) {
                continue;
            }
            let id: Oid = row.id.parse().unwrap();
            assert_eq!(
                self.store.read(ObjectKind::Blob, id),
                Some(repo.cat(&row.id))
            );
        }
        self.fsck();
    }

    fn fsck(&self) {
        self.store.make_durable().unwrap();
        let complaints =
            git::line(git::git(self.store.path()).args(["fsck", "--full", "--no-dangling"]));
        assert_eq!(complaints, "", "git fsck complains");
    }

    fn commit(&self, id: &str) -> Commit {
        self.store.commit(id.parse().unwrap()).unwrap().unwrap()
    }
}

fn env() -> Env {
    Env::empty().with("PATH", std::env::var_os("PATH").unwrap())
}

fn options() -> Options {
    Options::new(Limits::default(), Arc::default())
}

fn source(repo: &Repo) -> GitSource {
    GitSource::local(repo.path(), &env(), options())
}

fn forced(repo: &Repo) -> GitSource {
    let options = Options {
        force_full: true,
        ..options()
    };
    GitSource::local(repo.path(), &env(), options)
}

/// The repository lets clients leave objects out.
fn allow_filters(repo: &Repo) {
    git::succeeds(
        repo.git()
            .args(["config", "uploadpack.allowFilter", "true"]),
    );
}

/// Prunes the objects that no ref reaches.
fn prune(repo: &Repo) {
    git::succeeds(
        repo.git()
            .args(["reflog", "expire", "--expire=now", "--all"]),
    );
    git::succeeds(repo.git().args(["repack", "-adq"]));
    git::succeeds(repo.git().args(["prune", "--expire=now"]));
}

/// A connection that asks a real `git upload-pack`, one process a request as over HTTP, and may change what is asked
/// and what is answered.
struct Altered {
    repo: Repo,
    request: fn(&[u8]) -> Vec<u8>,
    answer: Box<dyn FnMut(usize, Vec<u8>) -> Vec<u8> + Send>,
    traffic: Traffic,
}

impl Altered {
    fn requests(repo: &Repo, request: fn(&[u8]) -> Vec<u8>) -> GitSource {
        Self::source(repo, request, |_, answer| answer)
    }

    fn answers(
        repo: &Repo,
        answer: impl FnMut(usize, Vec<u8>) -> Vec<u8> + Send + 'static,
    ) -> GitSource {
        Self::source(repo, <[u8]>::to_vec, answer)
    }

    fn source(
        repo: &Repo,
        request: fn(&[u8]) -> Vec<u8>,
        answer: impl FnMut(usize, Vec<u8>) -> Vec<u8> + Send + 'static,
    ) -> GitSource {
        let altered = Self {
            repo: repo.clone(),
            request,
            answer: Box::new(answer),
            traffic: Traffic::default(),
        };
        GitSource::new(Box::new(altered), options())
    }
}

impl Connection for Altered {
    fn describe(&self) -> String {
        "the altered server".to_owned()
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn filters(&mut self) -> Result<Option<bool>, Error> {
        Ok(None)
    }

    fn command(&mut self, request: &[u8]) -> Result<Box<dyn Read + '_>, Error> {
        let request = (self.request)(request);
        let mut command = git::git(self.repo.path());
        command
            .env("GIT_PROTOCOL", "version=2")
            .args(["upload-pack", "--stateless-rpc", "."]);
        let answer = git::feed_any(&mut command, &request).stdout;
        let number = usize::try_from(self.traffic.requests).unwrap();
        let answer = (self.answer)(number, answer);
        self.traffic.requests += 1;
        self.traffic.received += answer.len() as u64;
        Ok(Box::new(Cursor::new(answer)))
    }

    fn reset(&mut self) -> Option<Error> {
        None
    }
}

/// The packet lines of a request, without those that begin like this.
fn without(request: &[u8], prefix: &str) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut rest = request;
    while rest.len() >= 4 {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..4]).unwrap(), 16).unwrap();
        let (line, after) = rest.split_at(length.max(4));
        if !line[4..].starts_with(prefix.as_bytes()) {
            kept.extend_from_slice(line);
        }
        rest = after;
    }
    kept
}

fn code(error: &Error) -> String {
    let code = miette::Diagnostic::code(error).unwrap().to_string();
    code.trim_start_matches("hyper_sync::").to_owned()
}
