//! The environment of every program the rebuild starts: fixed names, nothing else.
//!
//! Whoever calls may have set anything (`sudo -E`, a token, `GIT_DIR`, `LD_PRELOAD`); none of it reaches Nix, git or
//! the system being activated. What is let through is what Nix needs to work on this machine and what a person needs
//! to read its output.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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

/// Where programs are on NixOS, and then elsewhere, after the caller's own search path.
pub(crate) const PROGRAMS: &[&str] = &[
    "/run/wrappers/bin",
    "/run/current-system/sw/bin",
    "/nix/var/nix/profiles/default/bin",
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
];

/// What flakes need. `extra-` leaves the features that are on already alone.
const FEATURES: &str = "extra-experimental-features = nix-command flakes";

/// Variables for a child process; a child gets these and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    search: Vec<PathBuf>,
}

impl Environment {
    /// Takes from the caller's variables what may pass, and adds what is fixed.
    pub fn clean<'a>(
        caller: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
        is_root: bool,
    ) -> Self {
        let caller: BTreeMap<&OsStr, &OsStr> = caller
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let mut variables: BTreeMap<OsString, OsString> = PASSED
            .iter()
            .filter_map(|name| {
                let name = OsStr::new(name);
                caller.get(name).map(|value| (name.into(), (*value).into()))
            })
            .collect();

        let home = match caller.get(OsStr::new("HOME")) {
            Some(home) if !is_root => (*home).into(),
            // `sudo -E` keeps the user's home, and root would leave files there that the user cannot remove.
            _ => OsString::from("/root"),
        };
        variables.insert("HOME".into(), home);

        let mut config = variables
            .remove(OsStr::new("NIX_CONFIG"))
            .unwrap_or_default();
        if !config.is_empty() {
            config.push("\n");
        }
        config.push(FEATURES);
        variables.insert("NIX_CONFIG".into(), config);

        let mut search: Vec<PathBuf> = Vec::new();
        let given = caller.get(OsStr::new("PATH")).copied().unwrap_or_default();
        for directory in std::env::split_paths(given).chain(PROGRAMS.iter().map(PathBuf::from)) {
            // A relative entry would run whatever lies in some working directory.
            if directory.is_absolute() && !search.contains(&directory) {
                search.push(directory);
            }
        }
        let joined: Vec<&[u8]> = search
            .iter()
            .map(|directory| directory.as_os_str().as_bytes())
            .collect();
        variables.insert("PATH".into(), OsStr::from_bytes(&joined.join(&b':')).into());
        Self { variables, search }
    }

    /// The variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Whether a variable is set.
    pub(super) fn has(&self, name: &str) -> bool {
        self.variables.contains_key(OsStr::new(name))
    }

    /// The directories in which programs are looked for, in order.
    pub fn search(&self) -> impl Iterator<Item = &Path> {
        self.search.iter().map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(caller: &[(&str, &str)], is_root: bool) -> Vec<(String, String)> {
        let caller = caller
            .iter()
            .map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        Environment::clean(caller, is_root)
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

    #[test]
    fn only_absolute_directories_are_searched_the_callers_first() {
        let path = value(&clean(&[("PATH", "/a/bin:.::bin:/usr/bin")], true), "PATH").unwrap();
        assert!(path.starts_with("/a/bin:/usr/bin:/run/wrappers/bin:"));
        assert_eq!(path.matches("/usr/bin").count(), 1);
    }
}
