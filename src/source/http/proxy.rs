//! The proxies of the environment, by the variables that curl and git read.
//!
//! A proxy that cannot be used is an error for the requests that would go through it, and for no other: a machine that
//! sets `ALL_PROXY` for the world still reaches what is on its own network.

use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use reqwest::{NoProxy, Proxy, Url};

use super::{Error, SetupError};
use crate::settings::Env;
use crate::text;

/// Never through a proxy: plain http with a token is allowed to these because it does not leave the machine.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";
/// Any proxy at all, for the question whether one applies to an address.
const SOME_PROXY: &str = "http://proxy";

/// The proxies that the environment names.
#[derive(Clone, Default)]
pub struct Proxies {
    https: Option<Variable>,
    http: Option<Variable>,
    none_for: String,
}

/// A variable of the environment that names a proxy.
#[derive(Clone)]
struct Variable {
    name: String,
    /// May hold a password.
    value: String,
}

impl Proxies {
    /// By the variables that curl and git read, lower case first.
    #[must_use]
    pub fn from_env(env: &Env) -> Self {
        let get = |names: &[&str]| {
            names.iter().find_map(|name| {
                let value = text::decode(env.get(name)?.as_encoded_bytes()).into_owned();
                let name = (*name).to_owned();
                (!value.is_empty()).then_some(Variable { name, value })
            })
        };
        let all = get(&["all_proxy", "ALL_PROXY"]);
        let none_for = get(&["no_proxy", "NO_PROXY"]);
        Self {
            https: get(&["https_proxy", "HTTPS_PROXY"]).or_else(|| all.clone()),
            http: get(&["http_proxy", "HTTP_PROXY"]).or(all),
            none_for: none_for.map_or_else(
                || LOOPBACK.to_owned(),
                |variable| format!("{LOOPBACK},{}", variable.value),
            ),
        }
    }

    /// Those that can be used.
    pub(super) fn usable(&self) -> Vec<Proxy> {
        let none_for = NoProxy::from_string(&self.none_for);
        let make = |variable: &Option<Variable>, make: fn(Url) -> reqwest::Result<Proxy>| {
            let url = variable.as_ref()?.address().ok()?;
            keep_password(&url);
            Some(make(url).ok()?.no_proxy(none_for.clone()))
        };
        let https = make(&self.https, Proxy::https);
        let http = make(&self.http, Proxy::http);
        https.into_iter().chain(http).collect()
    }

    /// An error where a request to this address would go through a proxy that cannot be used.
    pub(super) fn check(&self, url: &Url) -> Result<(), Error> {
        let variable = if url.scheme() == "https" {
            &self.https
        } else {
            &self.http
        };
        let Some(variable) = variable else {
            return Ok(());
        };
        match variable.address() {
            Err(problem) if self.applies_to(url) => Err(SetupError::Proxy {
                variable: variable.name.clone(),
                problem,
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// Whether the address is not among those that are reached directly.
    fn applies_to(&self, url: &Url) -> bool {
        let matcher = Matcher::builder()
            .all(SOME_PROXY)
            .no(self.none_for.as_str())
            .build();
        let uri = url.as_str().parse();
        uri.is_ok_and(|uri| matcher.intercept(&uri).is_some())
    }
}

impl Variable {
    /// The proxy's address, or what is wrong with it.
    fn address(&self) -> Result<Url, &'static str> {
        // As curl does: an address without a scheme is one of an HTTP proxy.
        let address = if self.value.contains("://") {
            self.value.clone()
        } else {
            format!("http://{}", self.value)
        };
        let url = Url::parse(&address).map_err(|_| "is not a URL")?;
        // Anything else would be left out without a word, and the connection made directly.
        let schemes = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];
        if !schemes.contains(&url.scheme()) {
            return Err("is neither an http(s) nor a SOCKS proxy");
        }
        Proxy::all(url.clone()).map_err(|_| "is not the address of a proxy")?;
        Ok(url)
    }
}

/// A proxy is sent its password, and may repeat it.
fn keep_password(proxy: &Url) {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    if let Some(password) = proxy.password() {
        let (user, password) = (decoded(proxy.username()), decoded(password));
        let pair = format!("{user}:{password}");
        text::keep_secret(&password);
        text::keep_secret(&data_encoding::BASE64.encode(pair.as_bytes()));
    }
}

/// A proxy's address may hold a password.
impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |variable: &Option<Variable>| variable.as_ref().map(|it| it.name.clone());
        f.debug_struct("Proxies")
            .field("https", &name(&self.https))
            .field("http", &name(&self.http))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPOSITORY: &str = "https://git.example.org/a";

    fn with(variables: &[(&str, &str)]) -> Proxies {
        let env = variables
            .iter()
            .fold(Env::empty(), |env, (name, value)| env.with(*name, *value));
        Proxies::from_env(&env)
    }

    fn check(proxies: &Proxies, url: &str) -> Result<(), Error> {
        proxies.check(&url.parse().unwrap())
    }

    #[test]
    fn proxies_come_from_the_variables_that_curl_reads() {
        for (variables, usable) in [
            (&[][..], 0),
            (&[("no_proxy", "*")], 0),
            (&[("https_proxy", "")], 0),
            (&[("HTTPS_PROXY", "proxy.example:3128")], 1),
            (&[("ALL_PROXY", "http://u:p@proxy.example")], 2),
            (&[("ALL_PROXY", "socks5h://127.0.0.1:1080")], 2),
            (&[("https_proxy", "ftp://p"), ("ALL_PROXY", "http://p")], 1),
        ] {
            let proxies = with(variables);
            assert_eq!(proxies.usable().len(), usable, "{variables:?}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_and_its_password_is_not_shown() {
        for value in [
            "quic://u:canary@p:1",
            "http://u:canary@:99999",
            "ftp://canary",
        ] {
            let proxies = with(&[("https_proxy", value)]);
            let error = check(&proxies, REPOSITORY).unwrap_err();
            let Error::Setup(SetupError::Proxy { variable, .. }) = &error else {
                unreachable!("{error}")
            };
            assert_eq!(variable, "https_proxy");
            assert!(!format!("{error} {error:?} {proxies:?}").contains("canary"));
        }
    }

    #[test]
    fn an_unusable_proxy_stops_only_its_own_requests() {
        let proxies = with(&[
            ("https_proxy", "quic://p"),
            ("no_proxy", "internal.example,10.0.0.0/8"),
        ]);
        for direct in [
            "https://127.0.0.1:8443/a",
            "https://[::1]/a",
            "https://localhost/a",
            "https://git.internal.example/a",
            "https://10.1.2.3/a",
            "http://git.example.org/a",
        ] {
            assert!(check(&proxies, direct).is_ok(), "{direct}");
        }
        for through in [REPOSITORY, "https://11.0.0.1/a"] {
            assert!(check(&proxies, through).is_err(), "{through}");
        }
        let everywhere = with(&[("all_proxy", "quic://p"), ("no_proxy", "*")]);
        assert!(check(&everywhere, REPOSITORY).is_ok());
    }
}
