//! One client for every byte of HTTP, with blocking calls.
//!
//! Redirects, size caps, time limits, the rate gate, CA certificates, proxies and the token are handled here and
//! nowhere else. The client owns a small runtime, so that the rest of the program stays straight-line code: a body is
//! a [`std::io::Read`] that feeds a pack indexer as it arrives.
//!
//! - **Redirects** are followed by our own code, for `GET` only, at most five of them, within the same
//!   host (a renamed repository); the token goes with them only within one origin. A `POST` is never redirected.
//! - **Time**: a stall ends a request, the run's time ends them all, and a signal does so at once.
//! - **Size**: every response has a cap, on decoded bytes.
//! - **Retries** are few, for broken connections and 5xx only, and never for what a person has to correct.
//!
//! Limits: no HTTP/3, and no content encoding but gzip.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::runtime::{Handle, Runtime};

use super::{Error, Interrupt, RetryAt, Traffic};
use request::{authority, is_loopback};

mod body;
mod credentials;
mod gate;
mod proxy;
mod redirect;
mod request;
mod response;
pub mod retry;
mod setup;

pub use body::{AtWork, Body, BodyFailure};
pub use credentials::Credentials;
pub use gate::Quota;
pub use request::{Cap, Request, url};
pub use reqwest::{Url, header};
pub use response::{Reply, Response};
pub use setup::{Options, SetupError};

/// The most requests under way at once. GitHub's secondary limit is a hundred; it asks for few.
const PARALLEL: usize = 8;
/// How often a wait checks the clock and for a signal.
const TICK: Duration = Duration::from_millis(100);
/// The most that is read of a response that only explains a refusal.
const EXPLANATION_MAX: u64 = 64 << 10;

/// The client. Clones share connections, gate, deadline and counts.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    options: Options,
    http: reqwest::Client,
    /// The system has certificates, or a bundle was given.
    certificates: bool,
    engine: Engine,
    deadline: Instant,
    interrupt: Interrupt,
    gate: gate::Gate,
    requests: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// The runtime; dropping it does not wait for a name lookup that hangs.
struct Engine {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    /// Makes a client; its time runs from here.
    pub fn new(options: Options, interrupt: Interrupt) -> Result<Self, Error> {
        let (http, certificates) = setup::client(&options)?;
        let runtime = setup::runtime()?;
        Ok(Self(Arc::new(Inner {
            deadline: later(Instant::now(), options.time),
            options,
            http,
            certificates,
            engine: Engine {
                handle: runtime.handle().clone(),
                runtime: Some(runtime),
            },
            interrupt,
            gate: gate::Gate::default(),
            requests: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        })))
    }

    /// What all clones have moved so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.0.requests.load(Ordering::Relaxed),
            received: self.0.received.load(Ordering::Relaxed),
            sent: self.0.sent.load(Ordering::Relaxed),
        }
    }

    /// Runs `work` for every item, at most eight at once, and hands each result to `take` in the caller's
    /// thread, in the order they come. After the first error nothing new is begun; what was under way is still taken.
    pub fn each<T: Sync, R: Send, E: Send>(
        &self,
        items: &[T],
        work: impl Fn(&Self, &T) -> Result<R, E> + Sync,
        mut take: impl FnMut(&T, R) -> Result<(), E>,
    ) -> Result<(), E> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        // Without a buffer a finished worker waits for `take`: what is in memory stays bounded.
        let (sender, results) = mpsc::sync_channel(0);
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL.min(items.len()) {
                let (sender, next, stop, work) = (sender.clone(), &next, &stop, &work);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else {
                            break;
                        };
                        if sender.send((item, work(self, item))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut outcome = Ok(());
            for (item, result) in results {
                if let Err(error) = result.and_then(|result| take(item, result)) {
                    stop.store(true, Ordering::Relaxed);
                    outcome = outcome.and(Err(error));
                }
            }
            outcome
        })
    }

    /// How many requests the quota of the host's API still allows, by its last response.
    #[must_use]
    pub fn quota(&self, url: &Url) -> Option<Quota> {
        self.0.gate.quota(&authority(url))
    }

    /// Sends a request and returns as soon as the response begins.
    ///
    /// Statuses that answer the request are returned as they are: 2xx, 304, 4xx, and for a `POST` 3xx.
    /// [`Response::refusal`] turns one that is of no use into its error.
    pub fn send(&self, request: &Request) -> Result<Response, Error> {
        let mut tries = retry::Tries::new(&self.0.options);
        tries.show(&self.0.options.meter);
        self.send_within(request, &mut tries)
    }

    /// As [`send`](Self::send), without retries.
    pub fn send_once(&self, request: &Request) -> Result<Response, Error> {
        self.send_within(request, &mut retry::Tries::none())
    }

    /// The status of the response, whatever it is: there is no retry, no redirect is followed and no body is read.
    pub fn status(&self, request: &Request) -> Result<StatusCode, Error> {
        self.check(request)?;
        Ok(self.transmit(request, &request.url)?.status())
    }

    /// Sends a request and reads the whole response; a broken body is requested again too.
    pub fn fetch(&self, request: &Request) -> Result<Reply, Error> {
        self.fetch_as(request, Response::into_reply)
    }

    /// As [`fetch`](Self::fetch), for a response that is not to be kept in memory as it arrived.
    pub fn fetch_as<T>(
        &self,
        request: &Request,
        mut read: impl FnMut(Response) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut tries = retry::Tries::new(&self.0.options);
        tries.show(&self.0.options.meter);
        loop {
            match read(self.send_within(request, &mut tries)?) {
                Err(error @ Error::Unreachable { .. }) => self.again(error, None, &mut tries)?,
                result => return result,
            }
        }
    }

    fn send_within(&self, request: &Request, tries: &mut retry::Tries) -> Result<Response, Error> {
        self.check(request)?;
        let mut url = request.url.clone();
        let mut hops = 0;
        let mut limited = 0;
        loop {
            self.wait_for_limit(request, &url)?;
            let asked = Instant::now();
            let mut response = match self.exchange(request, &url) {
                Err(error @ Error::Unreachable { .. }) => {
                    self.again(error, None, tries)?;
                    continue;
                }
                result => result?,
            };
            let status = response.status;
            // A server that does not implement a request will not do so the next time either, and a login needs a person.
            if status.is_server_error()
                && !matches!(
                    status,
                    StatusCode::NOT_IMPLEMENTED | StatusCode::NETWORK_AUTHENTICATION_REQUIRED
                )
            {
                let error = Error::ServerError {
                    remote: authority(&url),
                    status: status.as_u16(),
                };
                let wait = gate::retry_after(&response.headers, SystemTime::now());
                self.again(error, wait, tries)?;
            } else if is_followed(status) && request.method == Method::GET {
                hops += 1;
                url = redirect::next(&url, &response.headers, hops)?;
            } else {
                if matches!(status.as_u16(), 403 | 429) {
                    response.buffer(EXPLANATION_MAX);
                }
                let answer = gate::LimitHeaders {
                    status: status.as_u16(),
                    headers: &response.headers,
                    body: response.buffered(),
                };
                match self
                    .0
                    .gate
                    .note(&request.gate(&url), &answer, asked, self.0.options.pause)
                {
                    None => return Ok(response),
                    Some(limit) if limited == gate::WAITS => {
                        return Err(rate_limited(request, &url, limit));
                    }
                    Some(_) => limited += 1,
                }
            }
        }
    }

    /// What must not be sent at all.
    fn check(&self, request: &Request) -> Result<(), Error> {
        let url = url(request.url.as_str())?;
        self.0.options.proxies.check(&url)?;
        if url.scheme() == "http" {
            if request.credentials.is_some() && !is_loopback(&url) {
                return Err(SetupError::PlainHttp {
                    remote: authority(&url),
                }
                .into());
            }
        } else if !self.0.certificates {
            return Err(SetupError::NoCertificates {
                remote: authority(&url),
            }
            .into());
        }
        Ok(())
    }

    /// Waits until the gate is open.
    fn wait_for_limit(&self, request: &Request, url: &Url) -> Result<(), Error> {
        let (gate, host) = (request.gate(url), authority(url));
        while let Some(limit) = self.0.gate.closed_for(&gate) {
            let wait = limit.wait;
            let left = self.0.deadline.saturating_duration_since(Instant::now());
            if wait > self.0.options.max_wait || wait > left {
                return Err(rate_limited(request, url, limit));
            }
            let wait = if limit.stated {
                spread(wait, left)
            } else {
                wait
            };
            tracing::info!(host, seconds = wait.as_secs(), "waiting for the rate limit");
            self.0.pause(wait, &host)?;
        }
        Ok(())
    }

    /// Waits before a retry, or gives the error back where there is none left.
    fn again(
        &self,
        error: Error,
        wait: Option<Duration>,
        tries: &mut retry::Tries,
    ) -> Result<(), Error> {
        let Some(pause) = tries.next() else {
            return Err(error);
        };
        let least = wait.map_or(pause, |wait| wait.max(pause));
        let left = self.0.deadline.saturating_duration_since(Instant::now());
        if least > left || least > self.0.options.max_wait {
            return Err(error);
        }
        let pause = wait.map_or(pause, |wait| spread(wait, left).max(pause));
        tracing::debug!(%error, "trying again");
        tries.show(&self.0.options.meter);
        self.0.pause(pause, "the network")
    }

    /// Sends one request.
    fn transmit(&self, request: &Request, url: &Url) -> Result<reqwest::Response, Error> {
        let inner = &self.0;
        let mut built = reqwest::Request::new(request.method.clone(), url.clone());
        *built.headers_mut() = request.headers.clone();
        built
            .headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let credentials = request
            .credentials
            .as_ref()
            .filter(|credentials| credentials.belong_to(url));
        if let Some(credentials) = credentials {
            built
                .headers_mut()
                .insert(AUTHORIZATION, credentials.header());
        }
        if request.method == Method::POST {
            *built.body_mut() = Some(request.body.clone().into());
        }
        inner.requests.fetch_add(1, Ordering::Relaxed);
        inner
            .sent
            .fetch_add(request.body.len() as u64, Ordering::Relaxed);
        let remote = authority(url);
        tracing::debug!(method = %request.method, %url, "request");
        inner
            .drive(inner.http.execute(built), &remote)?
            .map_err(|error| response::broken(&remote, 0, error))
    }

    /// One request and the head of its answer.
    fn exchange(&self, request: &Request, url: &Url) -> Result<Response, Error> {
        Response::new(
            self.0.clone(),
            self.transmit(request, url)?,
            url.clone(),
            request.cap.clone(),
            request.credentials.clone(),
        )
    }
}

/// A moment beyond the range of the clock becomes one in thirty years.
fn later(now: Instant, time: Duration) -> Instant {
    now.checked_add(time)
        .unwrap_or_else(|| now + Duration::from_secs(1 << 30))
}

/// A stated wait, spread as far as the time that is left allows.
fn spread(wait: Duration, left: Duration) -> Duration {
    let spread = retry::spread(wait, retry::random());
    // Half of what remains is for the requests themselves.
    spread.min(wait + left.saturating_sub(wait) / 2)
}

fn rate_limited(request: &Request, url: &Url, limit: gate::Limit) -> Error {
    Error::RateLimited {
        remote: authority(url),
        retry: RetryAt::after(limit.wait).filter(|_| limit.stated),
        token: Credentials::name_at(request.credentials.as_ref(), url),
    }
}

fn is_followed(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

impl Inner {
    /// Runs a future to its end, unless it stalls, the time is over or a signal came.
    fn drive<F: Future>(&self, future: F, remote: &str) -> Result<F::Output, Error> {
        let _waiting = self.options.meter.wait();
        let stalled = Instant::now() + self.options.stall;
        let tick = TICK.min(self.options.stall);
        self.engine.handle.block_on(async {
            let mut future = std::pin::pin!(future);
            loop {
                self.check_time(remote)?;
                match tokio::time::timeout(tick, &mut future).await {
                    Ok(output) => return Ok(output),
                    Err(_) if Instant::now() >= stalled => {
                        return Err(Error::Timeout {
                            remote: remote.to_owned(),
                            after: self.options.stall,
                        });
                    }
                    Err(_) => {}
                }
            }
        })
    }

    fn pause(&self, time: Duration, remote: &str) -> Result<(), Error> {
        let end = Instant::now() + time;
        loop {
            self.check_time(remote)?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TICK));
        }
    }

    fn check_time(&self, remote: &str) -> Result<(), Error> {
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        if Instant::now() >= self.deadline {
            return Err(Error::Timeout {
                remote: remote.to_owned(),
                after: self.options.time,
            });
        }
        Ok(())
    }
}
