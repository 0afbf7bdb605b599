//! The context of one rebuild: the request, the machine, the remaining time, and the environment of its programs.
//!
//! The caller may have set anything (`sudo -E`, a token, `GIT_DIR`, `LD_PRELOAD`); none of it reaches Nix, git or the
//! system being activated. Only variables that Nix needs on this machine, or a person needs to read its output, pass.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::RebuildRequest;
use super::error::{Error, ErrorKind, RunningSystem, SystemState};
use super::half_state::HalfState;
use super::machine::{self, Machine};
use super::record::RebuildRecord;
use super::trial::Trial;
use crate::health::Baseline;
use crate::health::systemd::Systemctl;
use crate::process::{Command, End, Environment, Finished, Runner};
use crate::settings::Env;

/// The context of one rebuild.
pub(super) struct RebuildContext<'a> {
    pub(super) request: &'a RebuildRequest<'a>,
    pub(super) machine: &'a Machine,
    pub(super) runner: &'a dyn Runner,
    pub(super) environment: Environment,
    pub(super) is_root: bool,
    begun: Instant,
}

impl<'a> RebuildContext<'a> {
    pub(super) fn new(
        request: &'a RebuildRequest<'a>,
        machine: &'a Machine,
        env: &Env,
        runner: &'a dyn Runner,
    ) -> Self {
        Self {
            request,
            machine,
            runner,
            environment: environment(env),
            is_root: env.is_root(),
            begun: Instant::now(),
        }
    }

    /// The error of a failed rebuild, with the state of the machine.
    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        // The error that is reported matters more than an unreadable record.
        let record = RebuildRecord::load(self.request.state).unwrap_or_default();
        let running = self.machine.systems().current.map(|system| RunningSystem {
            commit: record.commit_of(&system),
            system,
        });
        Error {
            state: SystemState {
                tree: self.request.commit,
                running: running.map(Box::new),
                half_state: self.half_state(&kind, &record).map(Box::new),
            },
            kind,
        }
    }

    /// The state between two systems that an error leaves. A trial, and the error about such a state, report it themselves.
    fn half_state(&self, error: &ErrorKind, record: &RebuildRecord) -> Option<HalfState> {
        let is_on_trial = Trial::load(self.request.state).is_ok_and(|trial| trial.is_some());
        if is_on_trial || matches!(error, ErrorKind::ChangedSince { .. }) {
            return None;
        }
        HalfState::of(self, record).ok().flatten()
    }

    /// A program's path.
    pub(super) fn find(&self, program: &'static str) -> Result<PathBuf, ErrorKind> {
        self.runner
            .find(program, &self.environment)
            .ok_or(ErrorKind::ProgramMissing { program })
    }

    /// A program, to run in the state directory and for the remaining time.
    ///
    /// `nixos-rebuild build` writes its `result` link into the working directory, where it protects the system from the
    /// garbage collector.
    pub(super) fn command(&self, program: &Path, args: Vec<OsString>) -> Command<'_> {
        Command::new(
            program,
            args,
            &self.environment,
            self.request.state.path(),
            self.remaining(),
        )
    }

    /// The remaining time.
    pub(super) fn remaining(&self) -> Duration {
        self.request
            .settings
            .timeout
            .saturating_sub(self.begun.elapsed())
    }

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        let elapsed = self.runner.elapsed(self.begun).as_secs();
        let elapsed = SignedDuration::from_secs(elapsed.cast_signed());
        let now = self.request.now.saturating_add(elapsed);
        now.unwrap_or(self.request.now)
    }

    /// Whether the evaluation may read files outside the flake.
    pub(super) fn is_impure(&self) -> bool {
        let args = &self.request.settings.extra_args;
        args.iter().any(|arg| arg == "--impure")
    }

    /// How the units are now.
    pub(super) fn baseline(&self) -> Baseline {
        Baseline::take(self.runner, &self.environment)
    }

    /// The units that have failed since `before` and still fail; without systemd, none.
    pub(super) fn failed_since(&self, before: &Baseline) -> BTreeSet<String> {
        let failed = before.failed_since(self.runner, &self.environment);
        failed.unwrap_or_default()
    }

    pub(super) fn systemctl(&self) -> Systemctl<'_> {
        Systemctl {
            runner: self.runner,
            environment: &self.environment,
        }
    }

    /// Runs a program that activates a system. It is not killed while it does; an activation that exceeds its limit is
    /// stopped as a unit, so that systemd records that.
    pub(super) fn activate(&self, command: Command<'_>) -> Result<(i32, Finished), ErrorKind> {
        let limit = self.request.settings.activation_timeout;
        let mut command = command.unless(machine::is_activating);
        command.timeout = limit;
        let ended = self.run(&command);
        let systemctl = self.systemctl();
        let Err(ErrorKind::TimedOut { activating, .. }) = &ended else {
            return ended;
        };
        let jobs = systemctl.running_jobs();
        let stopped = if activating.is_empty() {
            Ok(())
        } else {
            systemctl.stop_activation()
        };
        match stopped {
            Ok(()) => Err(ErrorKind::ActivationTimedOut { after: limit, jobs }),
            Err(_) => ended,
        }
    }

    /// Runs a program and returns its exit code; a timeout or an interrupt is an error.
    pub(super) fn run(&self, command: &Command<'_>) -> Result<(i32, Finished), ErrorKind> {
        let finished = self
            .runner
            .run(command)
            .map_err(|source| ErrorKind::Spawn {
                program: command.program.clone(),
                source,
            })?;
        match finished.end {
            End::Exited(code) => Ok((code, finished)),
            // As a shell reports it.
            End::Killed(signal) => Ok((128 + signal, finished)),
            End::TimedOut => Err(ErrorKind::TimedOut {
                after: self.request.settings.timeout,
                activating: self.systemctl().activating(),
            }),
            End::Interrupted => Err(ErrorKind::Interrupted {
                activating: self.systemctl().activating(),
            }),
        }
    }
}

/// The caller's variables that pass: for access to caches (proxies, CA bundles), for the settings and the daemon of
/// Nix, for language and terminal. `nixos-rebuild` itself reads `NIX_PATH`, `NIXOS_*` and `LOCALE_ARCHIVE`.
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

/// Enables flakes; `extra-` adds to the enabled features.
const FEATURES: &str = "extra-experimental-features = nix-command flakes";

/// The environment of Nix, `nixos-rebuild` and the system being activated.
pub(super) fn environment(env: &Env) -> Environment {
    let environment = Environment::new(env, PASSED);
    let mut config = OsString::new();
    if let Some(given) = environment.get("NIX_CONFIG") {
        config.push(given);
        config.push("\n");
    }
    config.push(FEATURES);
    environment.with_home(env).with("NIX_CONFIG", config)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn clean(caller: &[(&str, &str)], is_root: bool) -> Vec<(String, String)> {
        let env = caller
            .iter()
            .fold(Env::empty().as_root(is_root), |env, (name, value)| {
                env.with(name, value)
            });
        environment(&env)
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
    fn secrets_and_variables_of_git_and_the_linker_do_not_pass() {
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
    fn the_features_are_added_to_the_callers_nix_settings() {
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
