//! Opens the source of a repository.

use std::sync::Arc;
use std::time::Duration;

use super::git::{GitSource, Identity, Options};
use super::github::GitHub;
use super::http::{self, Client, Url};
use super::ladder::Ladder;
use super::{Error, Interrupt, Meter, Source};
use crate::git::CommitId;
use crate::settings::{Env, Repo, Settings, Transport};
use crate::state::StateDir;
use crate::token::{Token, TokenSearch};

/// The longest that a rate limit is waited out where there is another route.
const ASIDE: Duration = Duration::from_secs(5);

/// What a source is opened with besides the settings.
pub struct Opening<'a> {
    /// The environment: tokens, proxies, certificates, programs.
    pub env: &'a Env,
    /// Set by a signal.
    pub interrupt: &'a Interrupt,
    /// Stores what each host turned out to require; `None`: nothing is read or written.
    pub state: Option<&'a StateDir>,
    /// A commit that the name may still point to; a host need not count a conditional request that names it.
    pub known: Option<CommitId>,
    /// Counts what is received.
    pub meter: Arc<Meter>,
    /// Whether one self-contained download is required.
    pub force_full: bool,
}

/// Opens a repository by the transports that the settings allow. No request is sent yet.
pub fn open(
    repo: &Repo,
    settings: &Settings,
    opening: &Opening<'_>,
) -> Result<Box<dyn Source>, Error> {
    let options = Options {
        force_full: opening.force_full,
        meter: opening.meter.clone(),
        ..Options::new(settings.limits, opening.interrupt.clone())
    };
    match repo {
        Repo::Local(path) => {
            no_api(repo, settings)?;
            Ok(Box::new(GitSource::local(path, opening.env, options)))
        }
        Repo::Ssh(address) => {
            no_api(repo, settings)?;
            let identity = Identity {
                key_file: settings.ssh_key_file.clone(),
                known_hosts_file: settings.known_hosts_file.clone(),
            };
            Ok(Box::new(GitSource::ssh(
                address,
                identity,
                opening.env,
                options,
            )?))
        }
        Repo::Http(_) => {
            no_api(repo, settings)?;
            let web = Web::new(repo, settings, opening)?;
            Ok(Box::new(web.git(opening, options)))
        }
        Repo::GitHub { owner, name } => {
            let web = Web::new(repo, settings, opening)?;
            let api = || {
                let repository = (owner.as_str(), name.as_str());
                let (api_url, token) = (settings.api_url.as_deref(), web.token.as_ref());
                GitHub::new(
                    web.client.clone(),
                    repository,
                    api_url,
                    token,
                    settings.limits,
                    opening.known,
                )
                .map(|api| api.trusting(settings.trust.forge))
            };
            Ok(match settings.transport {
                Transport::Git => Box::new(web.git(opening, options)),
                Transport::Api if opening.force_full => {
                    return Err(Error::Unsuited {
                        remote: repo.to_string(),
                        problem: "cannot be downloaded whole by its API",
                    });
                }
                Transport::Api => Box::new(api()?),
                Transport::Auto => Box::new(Ladder::new(
                    web.git(opening, options),
                    api()?,
                    opening.force_full,
                )),
            })
        }
    }
}

/// What git over HTTP and the API share.
struct Web {
    client: Client,
    url: Url,
    token: Option<Token>,
}

impl Web {
    fn new(repo: &Repo, settings: &Settings, opening: &Opening<'_>) -> Result<Self, Error> {
        let url = http::url(&repo.git_url(settings.api_url.as_deref()))?;
        let search = TokenSearch::of(settings, opening.env);
        let token = search.map(|search| search.run()).transpose()?.flatten();
        let mut options =
            http::Options::new(settings.ca_file.as_deref(), settings.limits, opening.env);
        options.meter = opening.meter.clone();
        if matches!(repo, Repo::GitHub { .. }) && settings.transport == Transport::Auto {
            options.max_wait = options.max_wait.min(ASIDE);
        }
        let client = Client::new(options, opening.interrupt.clone())?;
        Ok(Self { client, url, token })
    }

    fn git(&self, opening: &Opening<'_>, options: Options) -> GitSource {
        let memory = opening.state.map(StateDir::path);
        GitSource::http(
            self.client.clone(),
            &self.url,
            self.token.as_ref(),
            memory,
            options,
        )
    }
}

/// Only the API of GitHub is implemented.
fn no_api(repo: &Repo, settings: &Settings) -> Result<(), Error> {
    match settings.transport {
        Transport::Api => Err(Error::NoSuchRoute {
            remote: repo.to_string(),
            transport: "api",
        }),
        Transport::Auto | Transport::Git => Ok(()),
    }
}
