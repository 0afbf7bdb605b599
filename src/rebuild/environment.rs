//! What the programs of a rebuild get of the caller's environment.
//!
//! Whoever calls may have set anything (`sudo -E`, a token, `GIT_DIR`, `LD_PRELOAD`); none of it reaches Nix, git or
//! the system being activated. What is let through is what Nix needs to work on this machine and what a person needs
//! to read its output.

use std::ffi::{OsStr, OsString};

use crate::process::Environment;
use crate::settings::Env;

/// The caller's variables that pass: how to reach caches (proxies, CA bundles), where Nix finds its settings and its
/// daemon, language and terminal. `nixos-rebuild` itself reads `NIX_PATH`, `NIXOS_*` and `LOCALE_ARCHIVE`.
const PASSED: &[&str] = &[
    "ALL_PROXY",
    "COLORTERM",
    "CURL_CA_BUNDLE",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LC_MESSAGES",
    "LOCALE_ARCHIVE",
    "NIXOS_INSTALL_BOOTLOADER",
    "NIXOS_NO_CHECK",
    "NIX_CONFIG",
    "NIX_CONF_DIR",
    "NIX_PATH",
    "NIX_REMOTE",
    "NIX_SSL_CERT_FILE",
    "NIX_USER_CONF_FILES",
    "NO_COLOR",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "TERM",
    "TZ",
    "TZDIR",
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// What flakes need. `extra-` leaves the features that are on already alone.
const FEATURES: &str = "extra-experimental-features = nix-command flakes";

/// What Nix, `nixos-rebuild` and the system being activated get.
pub(super) fn of(env: &Env) -> Environment {
    let environment = Environment::new(env, PASSED);
    let home = match env.get("HOME") {
        Some(home) if !env.is_root() => home,
        // `sudo -E` keeps the user's home, and root would leave files there that the user cannot remove.
        _ => OsStr::new("/root"),
    };
    let mut config = OsString::new();
    if let Some(given) = environment.get("NIX_CONFIG") {
        config.push(given);
        config.push("\n");
    }
    config.push(FEATURES);
    environment.with("HOME", home).with("NIX_CONFIG", config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(caller: &[(&str, &str)], is_root: bool) -> Vec<(String, String)> {
        let env = caller
            .iter()
            .fold(Env::empty().as_root(is_root), |env, (name, value)| {
                env.with(name, value)
            });
        of(&env)
            .iter()
            .map(|(name, value)| {
                let text = |text: &OsStr| text.to_str().unwrap().to_owned();
                (text(name), text(value))
            })
            .collect()
    }

    fn value(variables: &[(String, String)], name: &str) -> Option<String> {
        let found = variables.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.clone())
    }

    #[test]
    fn tokens_and_what_redirects_git_or_the_linker_do_not_pass() {
        let variables = clean(
            &[
                ("GITHUB_TOKEN", "canary"),
                ("GH_TOKEN", "canary"),
                ("HYPER_SYNC_TOKEN_FILE", "canary"),
                ("CREDENTIALS_DIRECTORY", "canary"),
                ("GIT_DIR", "canary"),
                ("GIT_CONFIG_GLOBAL", "canary"),
                ("GIT_TRACE_CURL", "canary"),
                ("LD_PRELOAD", "canary"),
                ("SSLKEYLOGFILE", "canary"),
                ("RUST_LOG", "canary"),
                ("TMPDIR", "canary"),
                ("https_proxy", "http://proxy:3128"),
                ("SSL_CERT_FILE", "/etc/ca.pem"),
            ],
            true,
        );
        let names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["HOME", "NIX_CONFIG", "PATH", "SSL_CERT_FILE", "https_proxy"]
        );
        assert!(!variables.iter().any(|(_, value)| value.contains("canary")));
    }

    #[test]
    fn root_has_its_own_home_and_a_user_keeps_theirs() {
        let home = |is_root| value(&clean(&[("HOME", "/home/ada")], is_root), "HOME").unwrap();
        assert_eq!(home(true), "/root");
        assert_eq!(home(false), "/home/ada");
    }

    #[test]
    fn the_callers_nix_settings_are_added_to_not_replaced() {
        let config = |caller: &[(&str, &str)]| value(&clean(caller, true), "NIX_CONFIG").unwrap();
        assert_eq!(
            config(&[]),
            "extra-experimental-features = nix-command flakes"
        );
        assert_eq!(
            config(&[("NIX_CONFIG", "cores = 3")]),
            "cores = 3\nextra-experimental-features = nix-command flakes"
        );
    }
}
