//! Which source a repository is read by.

use std::time::Instant;

use super::git::{GitSource, Identity, Options};
use super::{Error, Interrupt, Source};
use crate::settings::{Env, Repo, Settings, Transport};

/// Opens the repository that the settings name, by the ways that they allow. Nothing is asked of it yet.
pub fn open(
    settings: &Settings,
    env: &Env,
    interrupt: &Interrupt,
    force_full: bool,
) -> Result<Box<dyn Source>, Error> {
    let options = Options {
        limits: settings.limits,
        deadline: Instant::now() + settings.limits.time,
        interrupt: interrupt.clone(),
        force_full,
    };
    match &settings.repo {
        Repo::Local(path) => {
            no_api(settings)?;
            Ok(Box::new(GitSource::local(path, env, options)))
        }
        Repo::Ssh(address) => {
            no_api(settings)?;
            let identity = Identity {
                key_file: settings.ssh_key_file.clone(),
                known_hosts_file: settings.known_hosts_file.clone(),
            };
            Ok(Box::new(GitSource::ssh(address, identity, env, options)?))
        }
        Repo::GitHub { .. } | Repo::Http(_) => Err(Error::NoSuchRoute {
            remote: settings.repo.to_string(),
            transport: "api",
        }),
    }
}

/// Only GitHub has an API that is spoken here.
fn no_api(settings: &Settings) -> Result<(), Error> {
    match settings.transport {
        Transport::Api => Err(Error::NoSuchRoute {
            remote: settings.repo.to_string(),
            transport: "api",
        }),
        Transport::Auto | Transport::Git => Ok(()),
    }
}
