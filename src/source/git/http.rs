//! Git over HTTP: a bare `POST …/git-upload-pack` for every command.
//!
//! The discovery that git itself begins with (`GET …/info/refs`) is left out, because it is one of three round trips
//! and returns nothing that is needed. It is sent after all, once, where a host refuses the bare POST, or responds with
//! something else: there the repository has another address (GitLab wants `.git`, a renamed one has moved), or the
//! host insists on the order of things. What was found out is remembered for the next run.

use std::fs;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderName, HeaderValue, USER_AGENT};

use crate::fs::{Durability, replace_at};
use crate::source::http::{Body, BodyFailure, Cap, Client, Credentials, Request, Response, Url};
use crate::source::{Error, Traffic};
use crate::token::Token;

use super::answer::{self, ResponseError};
use super::connection::{Capabilities, Connection, KEPT_MAX};
use super::version_0::Advertisement;

const REQUEST: &str = "application/x-git-upload-pack-request";
const RESULT: &str = "application/x-git-upload-pack-result";
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
/// GitHub, Bitbucket, Azure DevOps and others send 404 or a login page to clients whose agent does not begin with
/// `git/`.
const AGENT: &str = concat!("git/hyper-sync-", env!("CARGO_PKG_VERSION"));
/// What has to change where version 2 is not spoken: `git http-backend` reads `GIT_PROTOCOL`, and only since 2.34 the
/// header's own variable too.
const CHANGE_FOR_VERSION_2: &str = "the server needs git 2.18 or newer and must get the header `Git-Protocol`: \
    nginx with fcgiwrap needs `fastcgi_param GIT_PROTOCOL $http_git_protocol`, Apache `SetEnvIf Git-Protocol \".*\" \
    GIT_PROTOCOL=$0`, and a proxy must not drop it";
/// What limits of git's rate are noted under.
const SERVICE: &str = "git";
/// The name of the memory in the state directory.
const MEMORY: &str = "git-base";
/// How long a redirect is followed before the configured address is requested again: the redirect of a renamed
/// repository must not be followed for ever, because somebody else may take over the old name.
const BELIEVED: Duration = Duration::from_secs(24 * 60 * 60);

/// A repository on a host that is reached by HTTP.
pub(super) struct Http {
    client: Client,
    /// As the user gave it.
    asked: Url,
    credentials: Option<Credentials>,
    place: RemoteAddress,
    /// The server's capabilities, if they were requested in this run.
    capabilities: Option<Capabilities>,
    /// What it advertised then, if it does not have version 2.
    older: Option<Arc<Advertisement>>,
    /// A command was answered.
    spoken: bool,
    /// Discovery is not to be retried: it follows an error for which the retries were spent.
    once: bool,
    memory: Option<PathBuf>,
    /// The most bytes of a response.
    bytes: u64,
    /// Whether two requests can be under way on the connection.
    is_multiplexed: bool,
    /// Brings the response to a request that was sent beside.
    beside: Option<JoinHandle<Option<Vec<u8>>>>,
    failure: Option<BodyFailure>,
}

/// Where commands go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RemoteAddress {
    base: Url,
    /// Whether the host requires a request for `info/refs` first.
    discover: bool,
}

impl Http {
    /// `state_dir` is where the address is stored that a host turned out to require.
    pub(super) fn new(
        client: Client,
        url: &Url,
        token: Option<&Token>,
        state_dir: Option<&Path>,
        bytes: u64,
    ) -> Self {
        let mut asked = url.clone();
        let path = url.path().trim_end_matches('/').to_owned();
        asked.set_path(&path);
        let memory = state_dir.map(|directory| directory.join(MEMORY));
        let remembered = memory.as_deref().and_then(|path| recall(path, &asked));
        let place = remembered.unwrap_or_else(|| RemoteAddress {
            base: asked.clone(),
            discover: false,
        });
        Self {
            client,
            credentials: token.and_then(|token| Credentials::basic(token, &asked)),
            asked,
            place,
            capabilities: None,
            older: None,
            spoken: false,
            once: false,
            memory,
            bytes,
            is_multiplexed: false,
            beside: None,
            failure: None,
        }
    }

    fn post(&self, command: &[u8]) -> Result<Response, Error> {
        // What comes is counted as a pack where it is taken; here, with its wrapping, and as a last resort.
        let bytes = answer::with_packets(self.bytes);
        self.client.send(&self.request(command, bytes))
    }

    /// The request for a command whose response has so many bytes at most.
    fn request(&self, command: &[u8], bytes: u64) -> Request {
        let url = below(&self.place.base, "git-upload-pack");
        let cap = Cap {
            bytes,
            what: "the answer".to_owned(),
            setting: Some("limits.bytes"),
        };
        let mut request = Request::post(url, REQUEST, command.to_vec())
            .service(SERVICE)
            .header(USER_AGENT, HeaderValue::from_static(AGENT))
            .accept(RESULT)
            .credentials(self.credentials.as_ref())
            .cap(cap);
        if self.older.is_none() {
            request = request.header(protocol(), version_2());
        }
        request
    }

    /// Asks for `info/refs`, at the address as it was given and then with `.git`, and stores what it advertises.
    fn discover(&mut self) -> Result<(), Error> {
        let mut response = self.advertisement(&self.asked)?;
        if response.status == 404 && !has_suffix(&self.asked) {
            let mut suffixed = self.asked.clone();
            suffixed.set_path(&format!("{}.git", self.asked.path()));
            response = self.advertisement(&suffixed)?;
        }
        let base = base_of(&response.url);
        let Some(base) = base.filter(|_| is(&response, ADVERTISEMENT)) else {
            return Err(self.refusal(response));
        };
        let remote = self.describe();
        let failure = response.body.failure();
        let greeting = match answer::greeting(response.body) {
            Ok(greeting) => greeting,
            Err(ResponseError::Refused(message)) => return Err(Error::Refused { remote, message }),
            Err(trouble) => {
                let detail = format!("{trouble:?}");
                return Err(failure.take().unwrap_or(Error::Protocol { remote, detail }));
            }
        };
        let (capabilities, older) = greeting.check(&remote, CHANGE_FOR_VERSION_2)?;
        self.capabilities = Some(capabilities);
        self.place.base = base;
        self.older = older;
        if self.older.is_some() {
            self.place.discover = true;
            self.remember();
        }
        Ok(())
    }

    /// Whether a server turns out not to have version 2. Its `info/refs` is requested once, without retries.
    fn is_older(&mut self) -> bool {
        self.once = true;
        let discovered = self.discover();
        self.once = false;
        discovered.is_ok() && self.older.is_some()
    }

    /// Whether the version is not known yet: no command was answered, and nothing discovered.
    fn may_be_older(&self) -> bool {
        !self.spoken && self.capabilities.is_none()
    }

    fn advertisement(&self, base: &Url) -> Result<Response, Error> {
        let mut url = below(base, "info/refs");
        url.set_query(Some("service=git-upload-pack"));
        let request = Request::get(url)
            .service(SERVICE)
            .header(USER_AGENT, HeaderValue::from_static(AGENT))
            .accept(ADVERTISEMENT)
            .header(protocol(), version_2())
            .credentials(self.credentials.as_ref());
        if self.once {
            self.client.send_once(&request)
        } else {
            self.client.send(&request)
        }
    }

    fn refusal(&self, response: Response) -> Error {
        match response.refusal() {
            // It has just described the repository, so that the name is right.
            Error::Unauthorized { words, .. }
                if self.credentials.is_none() && self.capabilities.is_some() =>
            {
                Error::LoginWanted {
                    remote: self.describe(),
                    words,
                }
            }
            // Hosts request credentials for a repository that does not exist, too: they do not reveal which it is.
            Error::Unauthorized { token, .. } if self.credentials.is_none() => {
                Error::NoPermission {
                    remote: self.describe(),
                    token,
                }
            }
            Error::NoPermission { token, .. } => Error::NoPermission {
                remote: self.describe(),
                token,
            },
            Error::Forbidden {
                token, words, sso, ..
            } => Error::Forbidden {
                remote: self.describe(),
                token,
                words,
                sso,
            },
            error => error,
        }
    }

    /// The answer to a command of version 2, after whatever discovery it needs; `None` where that finds a server without
    /// version 2.
    fn ask(&mut self, command: &[u8]) -> Result<Option<Response>, Error> {
        let before = self.place.clone();
        let response = match self.post(command) {
            Ok(response) => response,
            Err(error) => return self.unless_older(error),
        };
        if is(&response, RESULT) {
            return Ok(Some(response));
        }
        if self.capabilities.is_some() || !may_be_elsewhere(&response) {
            return Err(self.refusal(response));
        }
        self.discover()?;
        if self.older.is_some() {
            return Ok(None);
        }
        let response = self.post(command)?;
        if !is(&response, RESULT) {
            return Err(self.refusal(response));
        }
        // The same address works now: then it was the discovery that the host missed.
        self.place.discover = self.place.base == before.base;
        self.remember();
        Ok(Some(response))
    }

    /// Takes the response's first bytes, none where it is empty.
    fn begin(&mut self, response: Response) -> Result<(Vec<u8>, Body), Error> {
        self.is_multiplexed = response.is_multiplexed;
        let mut body = response.body;
        body.at_work(answer::is_at_work);
        self.failure = Some(body.failure());
        let mut begin = vec![0; 4096];
        match body.read(&mut begin) {
            Ok(read) => {
                begin.truncate(read);
                self.spoken |= read > 0;
                Ok((begin, body))
            }
            Err(error) => Err(self.reset().unwrap_or_else(|| self.broken(&error))),
        }
    }

    /// A command of version 2; `None` where the server turns out not to have that version.
    fn version_2(&mut self, request: &[u8]) -> Result<Option<Box<dyn Read>>, Error> {
        let Some(response) = self.ask(request)? else {
            return Ok(None);
        };
        let is_first = self.may_be_older();
        let (begin, body) = match self.begin(response) {
            Ok(answer) => answer,
            Err(error) => return self.unless_older(error),
        };
        if is_first && begin.is_empty() {
            // Its git exited without output: another hash or version, which discovery shows.
            self.discover()?;
        } else if is_first && refuses_the_command(&begin) {
            self.is_older();
        }
        Ok(self
            .older
            .is_none()
            .then(|| -> Box<dyn Read> { Box::new(Cursor::new(begin).chain(body)) }))
    }

    /// `None` where the error is that of a server without version 2.
    fn unless_older<T>(&mut self, error: Error) -> Result<Option<T>, Error> {
        // 503 means that a server, or a proxy, cannot serve any request now.
        let is_reason = match error {
            Error::ServerError { status, .. } => status != 503,
            Error::Timeout { .. } => true,
            _ => false,
        };
        if is_reason && self.may_be_older() && self.is_older() {
            return Ok(None);
        }
        Err(error)
    }

    /// A command for a server without version 2, which has advertised `older`.
    fn version_0(&mut self, older: &Advertisement, request: &[u8]) -> Result<Box<dyn Read>, Error> {
        let remote = self.describe();
        older.command(request, remote, CHANGE_FOR_VERSION_2, |request| {
            let response = self.post(request)?;
            if !is(&response, RESULT) {
                return Err(self.refusal(response));
            }
            let (begin, body) = self.begin(response)?;
            Ok(Cursor::new(begin).chain(body))
        })
    }

    /// Best effort: what is not remembered is found out again.
    fn remember(&self) {
        let Some(path) = &self.memory else { return };
        let RemoteAddress { base, discover } = &self.place;
        let text = format!("{}\n{base}\n{discover}\n{}\n", self.asked, seconds());
        // Left behind, it is swept with the other files of the state directory that were not written to their end.
        let temporary = format!("{MEMORY}.tmp");
        let written = replace_at(path, &temporary, Durability::Unflushed, text.as_bytes());
        if let Err(error) = written {
            tracing::debug!(%error, "the repository's address is not remembered");
        }
    }
}

/// Since 1970.
fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn protocol() -> HeaderName {
    HeaderName::from_static("git-protocol")
}

fn version_2() -> HeaderValue {
    HeaderValue::from_static("version=2")
}

impl Connection for Http {
    fn describe(&self) -> String {
        self.asked.to_string()
    }

    /// What the client has transferred, for all its users.
    fn traffic(&self) -> Traffic {
        self.client.traffic()
    }

    fn filters(&mut self) -> Result<Option<bool>, Error> {
        Ok(self.capabilities.map(|capabilities| capabilities.filters))
    }

    fn command(&mut self, request: &[u8]) -> Result<Box<dyn Read + '_>, Error> {
        self.failure = None;
        if self.place.discover && self.capabilities.is_none() {
            self.discover()?;
        }
        if self.older.is_none()
            && let Some(answer) = self.version_2(request)?
        {
            return Ok(answer);
        }
        let older = self.older.clone().unwrap_or_default();
        self.version_0(&older, request)
    }

    fn command_beside(&mut self, request: &[u8]) -> bool {
        // Over HTTP/1 it would wait for a connection of its own.
        if !self.is_multiplexed || self.older.is_some() {
            return false;
        }
        let (client, request) = (self.client.clone(), self.request(request, KEPT_MAX));
        let ask = move || {
            let response = client.send_once(&request).ok()?;
            let mut bytes = Vec::new();
            let whole = is(&response, RESULT) && { response.body }.read_to_end(&mut bytes).is_ok();
            whole.then_some(bytes)
        };
        self.beside = thread::Builder::new().spawn(ask).ok();
        self.beside.is_some()
    }

    fn take_beside(&mut self) -> Option<Vec<u8>> {
        self.beside.take()?.join().ok().flatten()
    }

    fn reset(&mut self) -> Option<Error> {
        self.failure.take().and_then(|failure| failure.take())
    }

    fn moved_to(&self) -> Option<String> {
        let base = self.place.base.as_str();
        // A host that requires the suffix has not moved the repository.
        let is_same = base.trim_end_matches(".git") == self.asked.as_str().trim_end_matches(".git");
        (!is_same).then(|| base.to_owned())
    }

    fn token(&self) -> String {
        Credentials::name_at(self.credentials.as_ref(), &self.place.base)
    }

    fn forget(&mut self) {
        if let Some(path) = &self.memory
            && let Err(error) = remove(path)
        {
            tracing::debug!(%error, "the repository's address is remembered still");
        }
    }
}

impl Http {
    fn broken(&self, error: &io::Error) -> Error {
        Error::Unreachable {
            remote: self.describe(),
            cause: error.to_string(),
            received: 0,
        }
    }
}

/// Whether an answer is an error that repeats the first line of the request: "expected 'want', got 'command=ls-refs'", as
/// JGit 4 has it.
fn refuses_the_command(begin: &[u8]) -> bool {
    begin.get(4..8) == Some(b"ERR ") && begin.windows(8).any(|words| words == b"command=")
}

fn is(response: &Response, media_type: &str) -> bool {
    response.status == 200 && response.media_type() == media_type
}

/// Whether the repository may be at another address, or the host requires another order of requests (a file server does
/// not implement `POST`: 501). A permanent refusal (403) or an unexpected status is not a reason to try again.
fn may_be_elsewhere(response: &Response) -> bool {
    !response.leaves_host()
        && matches!(
            response.status.as_u16(),
            200..=399 | 400 | 401 | 404 | 405 | 411 | 501
        )
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

fn has_suffix(url: &Url) -> bool {
    Path::new(url.path())
        .extension()
        .is_some_and(|extension| extension == "git")
}

/// The repository of a discovery's final address.
fn base_of(url: &Url) -> Option<Url> {
    let path = url.path().strip_suffix("/info/refs")?.to_owned();
    let mut base = url.clone();
    base.set_path(&path);
    base.set_query(None);
    Some(base)
}

/// What was remembered, if it is about this address and on the same host.
fn recall(path: &Path, asked: &Url) -> Option<RemoteAddress> {
    let text = read(path)?;
    let mut lines = text.lines();
    let (about, base, discover) = (lines.next()?, lines.next()?, lines.next()?);
    // A clock that was set back makes it as old as one that is over.
    let age = seconds().checked_sub(lines.next()?.parse().ok()?)?;
    if age >= BELIEVED.as_secs() {
        return None;
    }
    let base: Url = base.parse().ok()?;
    let place = RemoteAddress {
        discover: discover == "true",
        base,
    };
    (about == asked.as_str() && place.base.host() == asked.host()).then_some(place)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a small file of the state directory, which is ours, 0700"
)]
fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a small file of the state directory, which is ours, 0700"
)]
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
