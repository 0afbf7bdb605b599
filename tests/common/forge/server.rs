//! What happens to a request: recorded, delayed, answered, falsified, sent.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
    http,
};

use super::{
    api, archive,
    config::Config,
    fault::{self, Action, Rule},
    git_http,
    journal::Journal,
    lock,
    message::{Outgoing, Reply, Request},
    wire::{Door, Peer, Traffic},
};
use crate::common::repo::Repo;

/// What the handlers know.
pub(super) struct Shared {
    pub(super) repo: Repo,
    /// `127.0.0.1:PORT`.
    pub(super) host: String,
    /// `http://127.0.0.1:PORT`.
    pub(super) origin: String,
    config: Mutex<Config>,
    pub(super) journal: Arc<Journal>,
    pub(super) rules: Mutex<Vec<Rule>>,
    pub(super) hook: Mutex<Option<Hook>>,
    /// There was a request for `info/refs`.
    pub(super) discovered: AtomicBool,
    pub(super) traffic: Arc<Traffic>,
}

type Hook = Box<dyn FnMut(&Repo) + Send>;

impl Shared {
    pub(super) fn new(repo: &Repo, address: SocketAddr, config: Config) -> Self {
        let scheme = if config.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        Self {
            repo: repo.clone(),
            host: address.to_string(),
            origin: format!("{scheme}://{address}"),
            config: Mutex::new(config),
            journal: Arc::default(),
            rules: Mutex::default(),
            hook: Mutex::default(),
            discovered: AtomicBool::new(false),
            traffic: Arc::default(),
        }
    }

    pub(super) fn config(&self) -> MutexGuard<'_, Config> {
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

/// Serves until the runtime ends.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let door = Door::new(
        listener,
        shared.traffic.clone(),
        shared.config().certificate,
    );
    let router = Router::new().fallback(handle).with_state(shared);
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(door, service)
        .await
        .expect("the forge serves until it is dropped");
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: http::Request<Body>,
) -> http::Response<Outgoing> {
    let Ok(request) = Request::read(request, &shared.origin).await else {
        // The client left before its request was whole; nobody reads this.
        return Outgoing::response(Reply::text(400, "incomplete request"), None, &peer, None);
    };
    let seen = request.seen();
    let action = fault::choose(&mut lock(&shared.rules), &seen);
    let entry = shared.journal.note(seen);
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
    if matches!(action.as_deref(), Some(Action::Silence)) {
        std::future::pending::<()>().await;
    }
    entry.answered(reply.status);
    Outgoing::response(reply, action.as_deref(), &peer, Some(entry))
}
