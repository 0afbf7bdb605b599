//! `ssh://…` and `user@host:path`, by the system's `ssh`, which has the user's keys, agents and hosts.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use percent_encoding::percent_decode_str;

use crate::exit::Exit;
use crate::process::Environment;
use crate::settings::Env;
use crate::source::Error;
use crate::source::error::quoted as and_words;
use crate::text;

use super::key::KeyFault;
use super::session::{self, Endpoint, Form};

/// What ssh needs of the environment: keys, agent, and a home for its configuration.
const PASSED: &[&str] = &["HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK"];

/// What holds for every host.
const OPTIONS: &[&str] = &[
    "BatchMode=yes",
    "SendEnv=GIT_PROTOCOL",
    "ConnectTimeout=30",
    "ClearAllForwardings=yes",
];

/// How a login is proven, where the user's own ssh configuration is not enough.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The private key; no other is tried then.
    pub key_file: Option<PathBuf>,
    /// The known hosts; no others count then.
    pub known_hosts_file: Option<PathBuf>,
}

/// A repository on a host that is reached by ssh.
pub(super) struct Ssh {
    address: String,
    login: String,
    port: Option<u16>,
    path: String,
    identity: Identity,
    environment: Environment,
}

impl Ssh {
    pub(super) fn new(address: &str, identity: Identity, env: &Env) -> Result<Self, Error> {
        let (login, port, path) = parse(address).map_err(|problem| Error::Address {
            url: address.to_owned(),
            problem,
        })?;
        let environment = Environment::new(env, PASSED)
            .with_all(&[("LC_ALL", "C"), ("GIT_PROTOCOL", "version=2")]);
        Ok(Self {
            address: address.to_owned(),
            login,
            port,
            path,
            identity,
            environment,
        })
    }
}

/// Login, port and path of an address. Neither host nor user may pass for an option of ssh, nor the path for one of
/// `git-upload-pack`.
fn parse(address: &str) -> Result<(String, Option<u16>, String), &'static str> {
    let (login, port, path) = if address.starts_with("ssh://") {
        let url = reqwest::Url::parse(address).map_err(|_| "is not a URL")?;
        let host = url.host_str().unwrap_or_default();
        // Brackets are for URLs; ssh takes an IPv6 address without.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let login = match url.username() {
            "" => host.to_owned(),
            user => format!("{user}@{host}"),
        };
        let path = percent_decode_str(url.path())
            .decode_utf8()
            .map_err(|_| "has a path that is not UTF-8")?;
        // `ssh://host/~user/repository`, as git reads it.
        let path = path
            .strip_prefix('/')
            .filter(|path| path.starts_with('~'))
            .unwrap_or(&path)
            .to_owned();
        (login, url.port(), path)
    } else {
        let (login, path) = address.split_once(':').ok_or("has no `:`")?;
        (login.to_owned(), None, path.to_owned())
    };
    let (user, host) = login.split_once('@').unwrap_or(("", &login));
    if host.is_empty() || path.trim_matches('/').is_empty() {
        return Err("lacks a host or a path");
    }
    if [user, host, &path].iter().any(|part| part.starts_with('-')) {
        return Err("has a part that begins with `-`");
    }
    if [&login, &path]
        .iter()
        .any(|part| part.contains(char::is_control))
    {
        return Err("has a control character in it");
    }
    Ok((login, port, path))
}

impl Endpoint for Ssh {
    fn describe(&self) -> String {
        self.address.clone()
    }

    fn program(&self) -> &'static str {
        "ssh"
    }

    fn environment(&self) -> &Environment {
        &self.environment
    }

    fn has_explicit_form(&self) -> bool {
        true
    }

    fn arguments(&self, form: Form) -> Vec<OsString> {
        let command = format!("git-upload-pack {}", quoted(&self.path));
        let command = match form {
            Form::Plain => command,
            // Few private servers have `AcceptEnv GIT_PROTOCOL`; a shell account works without it.
            Form::Explicit => format!("GIT_PROTOCOL=version=2 {command}"),
        };
        let mut options: Vec<OsString> = OPTIONS.iter().map(Into::into).collect();
        if let Some(key) = &self.identity.key_file {
            options.extend([option("IdentityFile", key), "IdentitiesOnly=yes".into()]);
        }
        if let Some(hosts) = &self.identity.known_hosts_file {
            options.extend([
                option("UserKnownHostsFile", hosts),
                "GlobalKnownHostsFile=/dev/null".into(),
                "StrictHostKeyChecking=yes".into(),
            ]);
        }
        let mut arguments: Vec<OsString> = ["-a", "-x", "-T"].map(Into::into).into();
        arguments.extend(options.into_iter().flat_map(|option| ["-o".into(), option]));
        if let Some(port) = self.port {
            arguments.extend(["-p".into(), port.to_string().into()]);
        }
        arguments.extend(["--".into(), (&self.login).into(), command.into()]);
        arguments
    }

    fn change_for_version_2(&self) -> &'static str {
        "write `AcceptEnv GIT_PROTOCOL` into the server's `sshd_config`; it needs git 2.18 or newer"
    }

    fn explain(&self, said: &str) -> Error {
        let remote = self.describe();
        let said_any = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let line = |words: &[&str]| {
            let mut lines = said.lines().map(str::trim);
            let line = lines.find(|line| words.iter().any(|word| line.contains(word)));
            line.map(str::to_owned)
        };
        if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            let words = line(&["Offending ", "host key for "]);
            return SshError::HostKey { remote, words }.into();
        }
        if said.contains("Host key verification failed") {
            let words = line(&["host key is known for"]);
            return SshError::HostKeyUnknown { remote, words }.into();
        }
        let token = || match &self.identity.key_file {
            Some(path) => text::path(path),
            None => "the user's ssh keys".to_owned(),
        };
        if said_any(&["Permission denied", "Too many authentication failures"]) {
            return SshError::Login {
                remote,
                key: token(),
                words: line(&["Load key "]),
            }
            .into();
        }
        if said_any(&[
            "does not appear to be a git repository",
            "epository not found",
            "could not be found",
            "not authorized",
            "access denied",
            // gitolite.
            "DENIED by",
        ]) {
            return Error::NoPermission {
                remote,
                token: token(),
            };
        }
        if said.contains("mismatched object format") {
            return Error::Sha256 { remote };
        }
        let message = session::stderr_summary(said);
        if said.contains("fatal: ") {
            return Error::Refused { remote, message };
        }
        Error::Unreachable {
            remote,
            cause: message,
            received: 0,
        }
    }
}

/// An option with a path, as ssh's configuration reads it: quoted, and `%` doubled, which would be a token.
fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(format!("{name}=\""));
    match path.to_str() {
        Some(text) => option.push(text.replace('%', "%%")),
        None => option.push(path),
    }
    option.push(OsStr::new("\""));
    option
}

/// Quotes for the remote shell as git does; restricted shells of forges parse it the same way.
fn quoted(path: &str) -> String {
    let mut text = String::from("'");
    for c in path.chars() {
        match c {
            '\'' | '!' => text.extend(["'\\", c.encode_utf8(&mut [0; 4]), "'"]),
            c => text.push(c),
        }
    }
    text.push('\'');
    text
}

/// Why ssh cannot connect to a host that responds.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SshError {
    /// The host is not in `known_hosts`.
    #[error("the host key of {remote} is not known{}", and_words(.words.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::host_key_unknown),
        help(
            "`ssh-keyscan HOST` prints its keys: compare them with the fingerprints that the host publishes (`ssh-keygen -lf`), and put one into `known_hosts_file`, or into `~/.ssh/known_hosts` of the user this runs as; nothing was written"
        )
    )]
    HostKeyUnknown {
        /// Host or repository.
        remote: String,
        /// ssh's message: the type of the key that is missing.
        words: Option<String>,
    },
    /// `known_hosts` has another key for the host.
    #[error("the host key of {remote} has changed{}", and_words(.words.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::host_key),
        help(
            "the connection may be intercepted; if the host has announced a new key, put it in the place of the old one; nothing was written"
        )
    )]
    HostKey {
        /// Host or repository.
        remote: String,
        /// ssh's message: the type of the key, and the line of the known one.
        words: Option<String>,
    },
    /// The private key for ssh cannot be used.
    #[error("the ssh key `{}` {}", text::path(.path), .fault)]
    #[diagnostic(
        code(hyper_sync::source::ssh_key),
        help("{}; nothing was written", .fault.remedy(.path))
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// The server takes none of the keys.
    #[error("{remote} refuses the login with {key}{}", and_words(.words.as_deref()))]
    #[diagnostic(
        code(hyper_sync::source::ssh_login),
        help(
            "add the public half of the key as a deploy key of the repository, or set `ssh_key_file` to the private key that it knows; nothing was written"
        )
    )]
    Login {
        /// Host or repository.
        remote: String,
        /// Which keys were tried.
        key: String,
        /// Why ssh could not use a key, where it reports that.
        words: Option<String>,
    },
}

impl SshError {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Key { .. } => Exit::Configuration,
            Self::HostKeyUnknown { .. } | Self::HostKey { .. } | Self::Login { .. } => {
                Exit::Authentication
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(address: &str, identity: Identity) -> Vec<String> {
        let env = Env::empty().with("PATH", "/bin").with("SECRET", "x");
        let ssh = Ssh::new(address, identity, &env).unwrap();
        assert_eq!(ssh.environment().get("SECRET"), None);
        let arguments = ssh.arguments(Form::Plain).into_iter();
        arguments
            .map(|argument| argument.into_string().unwrap())
            .collect()
    }

    #[test]
    fn addresses_become_the_arguments_git_gives_ssh() {
        for (address, tail) in [
            (
                "git@example.org:acme/machines.git",
                &[
                    "--",
                    "git@example.org",
                    "git-upload-pack 'acme/machines.git'",
                ][..],
            ),
            (
                "ssh://git@example.org/acme/machines",
                &["--", "git@example.org", "git-upload-pack '/acme/machines'"],
            ),
            (
                "ssh://example.org:2222/~me/a%20b",
                &[
                    "-p",
                    "2222",
                    "--",
                    "example.org",
                    "git-upload-pack '~me/a b'",
                ],
            ),
            (
                "ssh://git@[::1]:22/r",
                &["-p", "22", "--", "git@::1", "git-upload-pack '/r'"],
            ),
            (
                "git@h:it's!",
                &["--", "git@h", r"git-upload-pack 'it'\''s'\!''"],
            ),
        ] {
            let arguments = arguments(address, Identity::default());
            assert_eq!(
                arguments[arguments.len() - tail.len()..],
                *tail,
                "{address}"
            );
            assert!(
                arguments
                    .windows(2)
                    .any(|pair| pair == ["-o", "BatchMode=yes"])
            );
        }
    }

    #[test]
    fn nothing_in_an_address_becomes_an_option() {
        for address in [
            "-oProxyCommand=x@h:r",
            "git@-oProxyCommand=x:r",
            "ssh://-oProxyCommand=x/r",
            "git@h:-x",
            "git@h:",
            "ssh://h/",
            "no-colon",
            "git@h:a\nb",
        ] {
            assert!(
                Ssh::new(address, Identity::default(), &Env::empty()).is_err(),
                "{address}"
            );
        }
    }

    #[test]
    fn a_key_and_known_hosts_replace_the_users() {
        let identity = Identity {
            key_file: Some("/run/keys/100% mine".into()),
            known_hosts_file: Some("/etc/hosts file".into()),
        };
        let arguments = arguments("git@h:r", identity);
        for expected in [
            "IdentityFile=\"/run/keys/100%% mine\"",
            "IdentitiesOnly=yes",
            "UserKnownHostsFile=\"/etc/hosts file\"",
            "StrictHostKeyChecking=yes",
        ] {
            assert!(
                arguments.iter().any(|argument| argument == expected),
                "{expected}"
            );
        }
    }

    #[test]
    fn stderr_of_ssh_is_classified() {
        let ssh = Ssh::new("git@h:r", Identity::default(), &Env::empty()).unwrap();
        let code = |said| Diagnostic::code(&ssh.explain(said)).unwrap().to_string();
        assert_eq!(
            code("git@h: Permission denied (publickey).\r\n"),
            "hyper_sync::source::ssh_login"
        );
        assert_eq!(
            code("No ED25519 host key is known for h\r\nHost key verification failed.\r\n"),
            "hyper_sync::source::host_key_unknown"
        );
        assert_eq!(
            code("ssh: connect to host h port 22: Connection refused\r\n"),
            "hyper_sync::source::unreachable"
        );
        assert_eq!(
            code("ERROR: Repository not found.\nfatal: x"),
            "hyper_sync::source::no_permission"
        );
        assert_eq!(
            code("fatal: 'r' does not appear to be a git repository"),
            "hyper_sync::source::no_permission"
        );
        assert_eq!(
            code("fatal: unexpected line: 'filter x'"),
            "hyper_sync::source::refused"
        );
    }
}
