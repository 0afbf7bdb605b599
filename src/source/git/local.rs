//! Repositories on this machine: `git upload-pack` in an environment that nothing on the machine can change.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::process::Environment;
use crate::settings::Env;
use crate::source::Error;

use super::session::{self, Endpoint, Form};

/// A path that git reads.
pub(super) struct LocalEndpoint {
    path: PathBuf,
    environment: Environment,
}

impl LocalEndpoint {
    pub(super) fn new(path: &Path, env: &Env) -> Self {
        Self {
            path: path.to_owned(),
            environment: Environment::new(env, &[]).with_all(ENVIRONMENT),
        }
    }
}

/// The environment of git: its program path, and what keeps it from reading, prompting for or fetching anything else.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("GIT_PROTOCOL", "version=2"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", ""),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    // upload-pack only reads, and the one program it would start by configuration (`uploadpack.packObjectsHook`) is
    // taken from nowhere but here; so root may read the repository of a user.
    ("GIT_CONFIG_COUNT", "3"),
    ("GIT_CONFIG_KEY_0", "safe.directory"),
    ("GIT_CONFIG_VALUE_0", "*"),
    // It is off in most repositories, and nobody but us is served.
    ("GIT_CONFIG_KEY_1", "uploadpack.allowFilter"),
    ("GIT_CONFIG_VALUE_1", "true"),
    // No delta is searched for: no network is between us, and the search takes a quarter of the time of an update.
    ("GIT_CONFIG_KEY_2", "pack.window"),
    ("GIT_CONFIG_VALUE_2", "0"),
    ("HOME", "/nonexistent"),
    ("LC_ALL", "C"),
];

impl Endpoint for LocalEndpoint {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn program(&self) -> &'static str {
        "git"
    }

    fn environment(&self) -> &Environment {
        &self.environment
    }

    fn arguments(&self, _: Form) -> Vec<OsString> {
        let path = self.path.clone().into_os_string();
        vec!["upload-pack".into(), "--".into(), path]
    }

    fn change_for_version_2(&self) -> &'static str {
        "install git 2.18 or newer"
    }

    fn explain(&self, said: &str) -> Error {
        let remote = self.describe();
        // The others are git's messages about a file.
        let no_repository = [
            "does not appear to be a git repository",
            "invalid gitfile format",
            "too large to be a .git file",
        ];
        if no_repository.iter().any(|words| said.contains(words)) {
            return Error::NoRepository { remote };
        }
        if said.contains("mismatched object format") {
            return Error::Sha256 { remote };
        }
        Error::Refused {
            remote,
            message: session::stderr_summary(said),
        }
    }
}
