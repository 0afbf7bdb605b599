//! The remote of the tests: an HTTP server over a real bare repository, on loopback, in a thread of its own.
//!
//! One origin serves what three of GitHub's hosts do: the REST API (under `/` and, as GitHub Enterprise has it, under
//! `/api/v3/`), the raw files (`/raw/…`), the archives (`/codeload/…`), and git itself (`/owner/name[.git]/…`, by the
//! real `git http-backend`). Every request is recorded with the bytes of its answer, every answer can be made a lie
//! ([`fault`]), and [`Config`] turns the server into another kind of host: private, rate limited, without filters,
//! without protocol v2, without an API.
//!
//! It is no GitHub: it answers what GitHub documents for the requests of a sync, and 404 for everything else.

mod api;
mod archive;
mod config;
pub mod fault;
mod git_http;
mod json;
mod message;
mod wire;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
    http,
};
use tokio::runtime::{Builder, Handle, Runtime};

pub use self::{
    config::{BarePost, Config, Link, Suffix},
    message::Seen,
};
use self::{
    fault::{Action, Hits, Rule, When},
    message::{Outgoing, Reply, Request},
    wire::{Door, Peer, Traffic},
};
use super::repo::Repo;

/// The repository's owner and name, where a test does not choose another.
pub const OWNER_NAME: &str = "acme/machines";

/// A running server. It ends, with every connection, when this is dropped.
pub struct Forge {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

/// What the handlers know.
struct Shared {
    repo: Repo,
    address: SocketAddr,
    config: Mutex<Config>,
    record: Mutex<Vec<Record>>,
    rules: Mutex<Vec<Rule>>,
    hook: Mutex<Option<Hook>>,
    /// Somebody asked for `info/refs`.
    discovered: AtomicBool,
    traffic: Arc<Traffic>,
}

type Hook = Box<dyn FnMut(&Repo) + Send>;

struct Record {
    seen: Seen,
    sent: Arc<AtomicU64>,
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

    fn start(repo: &Repo, ip: Ipv4Addr, config: Config) -> Self {
        // Listening before the thread exists: the port is known at once and no early connection is refused.
        let listener = TcpListener::bind((ip, 0)).expect("a loopback port");
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            repo: repo.clone(),
            address: listener.local_addr().unwrap(),
            config: Mutex::new(config),
            record: Mutex::default(),
            rules: Mutex::default(),
            hook: Mutex::default(),
            discovered: AtomicBool::new(false),
            traffic: Arc::default(),
        });
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("forge")
            .enable_all()
            .build()
            .unwrap();
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let traffic = shared.traffic.clone();
        runtime.spawn(async move {
            let door = Door::new(listener, traffic);
            let service = router.into_make_service_with_connect_info::<Peer>();
            axum::serve(door, service)
                .await
                .expect("the forge serves until it is dropped");
        });
        Self {
            shared,
            runtime: Some(runtime),
        }
    }

    // ---- addresses ----

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.host())
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.shared.address.to_string()
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
        let record = lock(&self.shared.record);
        let load = |r: &Record| Seen {
            response_bytes: r.sent.load(Ordering::SeqCst),
            ..r.seen.clone()
        };
        record.iter().map(load).collect()
    }

    /// `METHOD /path` of every request so far, for a readable assertion.
    pub fn request_lines(&self) -> Vec<String> {
        self.requests().iter().map(Seen::line).collect()
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        lock(&self.shared.record).len()
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

    /// Forgets the requests so far; configuration, faults and hook stay.
    pub fn reset(&self) -> &Self {
        lock(&self.shared.record).clear();
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

impl Shared {
    fn config(&self) -> MutexGuard<'_, Config> {
        lock(&self.config)
    }

    /// The honest answer.
    fn answer(&self, request: &Request) -> Reply {
        let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["api", "v3", rest @ ..] => api::answer(self, request, rest),
            [first @ ("repos" | "repositories" | "rate_limit"), rest @ ..] => {
                api::answer(self, request, &[&[*first], rest].concat())
            }
            ["raw", rest @ ..] => archive::raw(self, request, rest),
            ["codeload", rest @ ..] => archive::codeload(self, request, rest),
            [owner, name, rest @ ..] => git_http::answer(self, request, owner, name, rest),
            _ => Reply::text(404, "Not Found"),
        }
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: http::Request<Body>,
) -> http::Response<Outgoing> {
    let Ok(request) = Request::read(request, shared.address).await else {
        // The client left before its request was whole; nobody reads this.
        return Outgoing::response(
            Reply::text(400, "incomplete request"),
            None,
            &peer,
            Arc::default(),
        );
    };
    let sent = Arc::new(AtomicU64::new(0));
    let seen = request.seen();
    let action = fault::choose(&mut lock(&shared.rules), &seen);
    let index = {
        let mut record = lock(&shared.record);
        record.push(Record {
            seen,
            sent: sent.clone(),
        });
        record.len() - 1
    };
    let link = shared.config().link;
    if let Some(link) = link {
        link.round_trips(if peer.first_use() { link.handshakes } else { 0 } + 1)
            .await;
    }
    let work = {
        let (shared, action) = (shared.clone(), action.clone());
        move || {
            let reply = match &action {
                Some(action) if action.replaces() => Reply::text(200, ""),
                _ => shared.answer(&request),
            };
            let reply = fault::alter(reply, action.as_deref(), &request);
            if let Some(hook) = lock(&shared.hook).as_mut() {
                hook(&shared.repo);
            }
            let gzip = shared.config().gzip && request.accepts_gzip();
            if gzip { reply.compressed() } else { reply }
        }
    };
    let reply = tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| {
            // Seen by the test as a 500 with the reason, and on stderr by the panic itself.
            Reply::text(500, &format!("the forge panicked: {panic}"))
        });
    if let Some(record) = lock(&shared.record).get_mut(index) {
        record.seen.status = reply.status;
    }
    let silent = matches!(action.as_deref(), Some(Action::Silence));
    if silent {
        std::future::pending::<()>().await;
    }
    let mut response = Outgoing::response(reply, action.as_deref(), &peer, sent);
    response.body_mut().pace(link);
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking hook or handler must not hide the first failure behind a second one.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
