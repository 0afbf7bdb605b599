//! The remote of the tests: an HTTP server over a real bare repository, on loopback, in a thread of its own.
//!
//! One origin serves what three of GitHub's hosts do: the REST API (under `/` and, as GitHub Enterprise has it, under
//! `/api/v3/`), the raw files (`/raw/…`), the archives (`/codeload/…`), and git itself (`/owner/name[.git]/…`, by the
//! real `git http-backend`). Every request is recorded with the bytes of its answer, every answer can be made a lie
//! ([`fault`]), and [`Config`] turns the server into another kind of host: private, rate limited, without filters,
//! without protocol v2, without an API.
//!
//! It is not a GitHub: it answers what GitHub documents for the requests of a sync, and 404 for everything else.

mod api;
mod archive;
mod config;
pub mod fault;
mod git_http;
mod journal;
mod message;
pub mod pack;
mod resolve;
mod server;
mod tls;
mod wire;

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::runtime::{Builder, Handle, Runtime};

pub use self::{
    config::{BarePost, Config, Rate, Suffix},
    message::Seen,
    tls::{Certificate, ca_file},
};
use self::{
    fault::{Action, Hits, Rule, When},
    server::Shared,
};
use super::repo::Repo;

/// The repository's owner and name, where a test does not choose another.
pub const OWNER_NAME: &str = "acme/machines";

/// A running server. It ends, with every connection, when this is dropped.
pub struct Forge {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Forge {
    /// Serves `repo` as [`OWNER_NAME`], public, with everything a modern host has.
    pub fn serve(repo: &Repo) -> Self {
        Self::start(repo, Ipv4Addr::LOCALHOST, Config::default())
    }

    /// Serves `repo`, private: only who brings `token` sees that it exists.
    pub fn private(repo: &Repo, token: &str) -> Self {
        let config = Config {
            token: Some(token.to_owned()),
            private: true,
            ..Config::default()
        };
        Self::start(repo, Ipv4Addr::LOCALHOST, config)
    }

    /// Another origin, with another host name (`127.0.0.2`), that serves the same repository to everybody. What it
    /// recorded shows whether a secret travelled there.
    pub fn other_host(&self) -> Self {
        let config = Config {
            owner_name: self.owner_name(),
            ..Config::default()
        };
        Self::start(&self.shared.repo, Ipv4Addr::new(127, 0, 0, 2), config)
    }

    /// As [`Forge::serve`], over TLS with this certificate; HTTP/2 for who asks for it.
    pub fn tls(repo: &Repo, certificate: Certificate) -> Self {
        let config = Config {
            certificate: Some(certificate),
            ..Config::default()
        };
        Self::start(repo, Ipv4Addr::LOCALHOST, config)
    }

    fn start(repo: &Repo, ip: Ipv4Addr, config: Config) -> Self {
        // Listening before the thread exists: the port is known at once and no early connection is refused.
        let listener = TcpListener::bind((ip, 0)).expect("a loopback port");
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared::new(repo, listener.local_addr().unwrap(), config));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("forge")
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(server::run(listener, shared.clone()));
        Self {
            shared,
            runtime: Some(runtime),
        }
    }

    // ---- addresses ----

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        self.shared.origin.clone()
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.shared.host.clone()
    }

    /// Base of the REST API in the shape of GitHub Enterprise: `http://127.0.0.1:PORT/api/v3`.
    pub fn api_url(&self) -> String {
        format!("{}/api/v3", self.origin())
    }

    /// The repository's git URL, with `.git`.
    pub fn git_url(&self) -> String {
        format!("{}.git", self.web_url())
    }

    /// The repository's URL without `.git`: what people paste; git is served there too.
    pub fn web_url(&self) -> String {
        format!("{}/{}", self.origin(), self.owner_name())
    }

    /// `owner/name`.
    pub fn owner_name(&self) -> String {
        self.shared.config().owner_name.clone()
    }

    // ---- behaviour ----

    /// Changes what kind of host this is, at any time.
    pub fn configure(&self, change: impl FnOnce(&mut Config)) -> &Self {
        change(&mut self.shared.config());
        self
    }

    /// The present configuration, as far as it was used up (rate limit).
    pub fn config(&self) -> Config {
        self.shared.config().clone()
    }

    /// Answers the requests that match by `action`. Of several matching rules the first added wins.
    pub fn fault(&self, when: When, action: Action) -> Hits {
        let rule = Rule::new(when, action);
        let hits = rule.hits();
        lock(&self.shared.rules).push(rule);
        hits
    }

    /// Honest again.
    pub fn clear_faults(&self) -> &Self {
        lock(&self.shared.rules).clear();
        self
    }

    /// Runs after each answer is made and before it is sent: what the next request finds is decided here.
    pub fn after_each_request(&self, hook: impl FnMut(&Repo) + Send + 'static) -> &Self {
        *lock(&self.shared.hook) = Some(Box::new(hook));
        self
    }

    // ---- what happened ----

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.journal.all()
    }

    /// `METHOD /path` of every request so far, for a readable assertion.
    pub fn request_lines(&self) -> Vec<String> {
        self.requests().iter().map(Seen::line).collect()
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.shared.journal.count()
    }

    /// Bytes of response bodies that were sent, as encoded.
    pub fn bytes_down(&self) -> u64 {
        self.requests().iter().map(|seen| seen.response_bytes).sum()
    }

    /// Bytes that went over the sockets, headers included: (up, down).
    pub fn wire_bytes(&self) -> (u64, u64) {
        self.shared.traffic.get()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> u64 {
        self.shared.traffic.connections()
    }

    /// Blocks until `test` holds for the requests so far, their answers included as far as they were sent.
    pub fn wait_until(&self, test: impl Fn(&[Seen]) -> bool) {
        self.shared.journal.wait_until(test);
    }

    /// Forgets the requests so far; configuration, faults and hook stay.
    pub fn reset(&self) -> &Self {
        self.shared.journal.clear();
        self.shared.traffic.reset();
        self
    }

    /// Whether `secret`, plain or in base64 as Basic authentication sends it, was in any part of any request.
    pub fn saw(&self, secret: &str) -> bool {
        self.requests().iter().any(|seen| seen.contains(secret))
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if Handle::try_current().is_ok() {
            // Waiting is not allowed inside another runtime.
            runtime.shutdown_background();
        } else {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking hook or handler must not hide the first failure behind a second one.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
