//! What a client is made of: certificates, proxies, runtime.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::redirect::Policy;
use reqwest::{Certificate, NoProxy, Proxy, Url};
use tokio::runtime::{Builder, Runtime};

use super::response::chain;
use super::{Error, Options};
use crate::settings::Env;
use crate::text;
use crate::vetted::{self, Terms};

/// The largest bundle of certificates that is read; that of Mozilla has 250 kB.
const CA_MAX: u64 = 16 << 20;
/// What git hosts see of us.
const USER_AGENT: &str = concat!("hyper-sync/", env!("CARGO_PKG_VERSION"));
/// Time for name lookup, TCP and TLS. With the retries, a machine without network knows within a minute.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Never through a proxy: plain http with a token is allowed to these because it does not leave the machine.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxies that the environment names, as `(variable, value)`.
#[derive(Clone, Default)]
pub struct Proxies {
    https: Option<(String, String)>,
    http: Option<(String, String)>,
    none_for: String,
}

impl Proxies {
    /// By the variables that curl and git read, lower case first.
    #[must_use]
    pub fn from_env(env: &Env) -> Self {
        let get = |names: &[&str]| {
            names.iter().find_map(|name| {
                let value = text::decode(env.get(name)?.as_encoded_bytes()).into_owned();
                Some(((*name).to_owned(), value))
            })
        };
        let all = get(&["all_proxy", "ALL_PROXY"]);
        Self {
            https: get(&["https_proxy", "HTTPS_PROXY"]).or_else(|| all.clone()),
            http: get(&["http_proxy", "HTTP_PROXY"]).or(all),
            none_for: get(&["no_proxy", "NO_PROXY"])
                .map(|(_, value)| value)
                .unwrap_or_default(),
        }
    }
}

/// A proxy's address may hold a password.
impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |proxy: &Option<(String, String)>| proxy.as_ref().map(|(name, _)| name.clone());
        f.debug_struct("Proxies")
            .field("https", &name(&self.https))
            .field("http", &name(&self.http))
            .finish_non_exhaustive()
    }
}

/// The HTTP client, and whether it can check a certificate.
pub(super) fn client(options: &Options) -> Result<(reqwest::Client, bool), Error> {
    // A second call finds it installed: that is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || -> Result<reqwest::ClientBuilder, Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIME)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy();
        for proxy in proxies(&options.proxies)? {
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    };
    let build = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| failed(&error));
    if let Some((path, origin)) = &options.ca_file {
        let refuse = |cause| Error::CaFile {
            path: path.clone(),
            origin,
            cause,
        };
        let pem = vetted::read(path, &Terms::anyone(CA_MAX))
            .map_err(|refusal| refuse(refusal.to_string()))?;
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|error| refuse(chain(&error)))?;
        if certificates.is_empty() {
            return Err(refuse("it holds none".to_owned()));
        }
        let client = builder()?.tls_certs_only(certificates).build();
        return Ok((client.map_err(|error| refuse(chain(&error)))?, true));
    }
    match builder()?.build() {
        Ok(client) => Ok((client, true)),
        // A system without certificates (a build sandbox) can still reach plain http; https is refused by name.
        Err(_) => Ok((build(builder()?.tls_certs_only([]))?, false)),
    }
}

fn proxies(proxies: &Proxies) -> Result<Vec<Proxy>, Error> {
    let none_for = NoProxy::from_string(&format!("{LOOPBACK},{}", proxies.none_for));
    let make = |(variable, value): &(String, String), make: fn(Url) -> reqwest::Result<Proxy>| {
        let refuse = |problem| Error::Proxy {
            variable: variable.clone(),
            problem,
        };
        // As curl does: an address without a scheme is one of an HTTP proxy.
        let address = if value.contains("://") {
            value.clone()
        } else {
            format!("http://{value}")
        };
        let url = Url::parse(&address).map_err(|_| refuse("is not a URL"))?;
        // Anything else would be left out without a word, and the connection made directly.
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("is neither an http nor an https proxy"));
        }
        keep_password(&url);
        let proxy = make(url).map_err(|_| refuse("is not the address of a proxy"))?;
        Ok(proxy.no_proxy(none_for.clone()))
    };
    let mut list = Vec::new();
    if let Some(https) = &proxies.https {
        list.push(make(https, Proxy::https)?);
    }
    if let Some(http) = &proxies.http {
        list.push(make(http, Proxy::http)?);
    }
    Ok(list)
}

/// A proxy is sent its password, and may say it back.
fn keep_password(proxy: &Url) {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    if let Some(password) = proxy.password() {
        let (user, password) = (decoded(proxy.username()), decoded(password));
        let pair = format!("{user}:{password}");
        text::keep_secret(&password);
        text::keep_secret(&data_encoding::BASE64.encode(pair.as_bytes()));
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
    Error::Client {
        cause: chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Vec<Proxy>, Error> {
        let env = variables
            .iter()
            .fold(Env::empty(), |env, (name, value)| env.with(*name, *value));
        proxies(&Proxies::from_env(&env))
    }

    #[test]
    fn proxies_come_from_the_variables_that_curl_reads() {
        assert_eq!(with(&[]).unwrap().len(), 0);
        assert_eq!(with(&[("no_proxy", "*")]).unwrap().len(), 0);
        assert_eq!(
            with(&[("HTTPS_PROXY", "proxy.example:3128")])
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            with(&[("ALL_PROXY", "http://u:p@proxy.example")])
                .unwrap()
                .len(),
            2
        );
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_and_its_password_is_not_shown() {
        for value in [
            "socks5://u:canary@p:1080",
            "http://u:canary@:99999",
            "ftp://canary",
        ] {
            let error = with(&[("https_proxy", value)]).unwrap_err();
            let Error::Proxy { variable, .. } = &error else {
                unreachable!("{error}")
            };
            assert_eq!(variable, "https_proxy");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
        let env = Env::empty().with("https_proxy", "http://u:canary@p");
        assert!(!format!("{:?}", Proxies::from_env(&env)).contains("canary"));
    }
}
