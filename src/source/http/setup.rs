//! What a client is made of: certificates, runtime.

use std::time::Duration;

use reqwest::Certificate;
use reqwest::redirect::Policy;
use tokio::runtime::{Builder, Runtime};

use super::{Error, Options, SetupError};
use crate::text::with_causes;
use crate::vetted::{self, FileRequirements};

/// The largest bundle of certificates that is read; that of Mozilla has 250 kB.
const CA_MAX: u64 = 16 << 20;
/// What hosts see of us, but for requests that speak git.
const USER_AGENT: &str = concat!("hyper-sync/", env!("CARGO_PKG_VERSION"));
/// Time for name lookup, TCP and TLS. With the retries, a machine without network knows within a minute.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The HTTP client, and whether it can check a certificate.
pub(super) fn client(options: &Options) -> Result<(reqwest::Client, bool), Error> {
    let proxies = options.proxies.usable();
    // A second call finds it installed: that is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIME)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy();
        for proxy in &proxies {
            builder = builder.proxy(proxy.clone());
        }
        builder
    };
    let build = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| failed(&error));
    if let Some((path, origin)) = &options.ca_file {
        let refuse = |cause| {
            Error::from(SetupError::CaFile {
                path: path.clone(),
                origin,
                cause,
            })
        };
        let pem = vetted::read(path, &FileRequirements::anyone(CA_MAX))
            .map_err(|refusal| refuse(refusal.to_string()))?;
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|error| refuse(with_causes(&error)))?;
        if certificates.is_empty() {
            return Err(refuse("it holds none".to_owned()));
        }
        let client = builder().tls_certs_only(certificates).build();
        return Ok((client.map_err(|error| refuse(with_causes(&error)))?, true));
    }
    match builder().build() {
        Ok(client) => Ok((client, true)),
        // A system without certificates (a build sandbox) can still reach plain http; https is refused by name.
        Err(_) => Ok((build(builder().tls_certs_only([]))?, false)),
    }
}

/// One worker: the program waits for the network in one place, and so does the runtime.
pub(super) fn runtime() -> Result<Runtime, Error> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("network")
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> Error {
    SetupError::Client {
        cause: with_causes(error),
    }
    .into()
}
