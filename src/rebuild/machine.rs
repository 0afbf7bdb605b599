//! The state of this machine: which systems it runs, booted and boots next, and whether one is being activated.
//!
//! Without systemd, no system is being activated.
#![expect(
    clippy::disallowed_methods,
    reason = "links of NixOS, outside the target, are followed; no file is opened by this"
)]

use std::path::{Path, PathBuf};

use crate::health::systemd::Systemctl;
use crate::process::{Environment, Runner};

/// Where NixOS keeps the links to its systems, and the name of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The running system.
    pub current: PathBuf,
    /// The system it was booted with.
    pub booted: PathBuf,
    /// The profile whose newest generation is booted next.
    pub profile: PathBuf,
    /// The directory that exists if systemd runs (`sd_booted(3)`).
    pub systemd: PathBuf,
    /// The host name.
    pub hostname: String,
}

/// The store paths of the systems; `None` on other distributions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Systems {
    /// The running one.
    pub current: Option<PathBuf>,
    /// The one that was booted.
    pub booted: Option<PathBuf>,
    /// The one that is booted next.
    pub profile: Option<PathBuf>,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let uname = rustix::system::uname();
        Self {
            current: "/run/current-system".into(),
            booted: "/run/booted-system".into(),
            profile: "/nix/var/nix/profiles/system".into(),
            systemd: "/run/systemd/system".into(),
            hostname: uname.nodename().to_string_lossy().into_owned(),
        }
    }

    /// Whether systemd runs.
    pub(super) fn has_systemd(&self) -> bool {
        self.systemd.is_dir()
    }

    /// Follows the links.
    #[must_use]
    pub fn systems(&self) -> Systems {
        Systems {
            current: system(&self.current),
            booted: system(&self.booted),
            profile: system(&self.profile),
        }
    }
}

/// The store path that a link leads to.
pub(super) fn system(link: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(link).ok()
}

/// Whether a path exists: a part of a system, or a file that Nix did not find. No file is opened by this.
pub(super) fn exists(path: &Path) -> bool {
    path.exists()
}

/// Whether a system is being activated. An activation must not be killed halfway, because the machine would then run
/// neither the old nor the new system.
pub(super) fn is_activating(runner: &dyn Runner, environment: &Environment) -> bool {
    !Systemctl {
        runner,
        environment,
    }
    .activating()
    .is_empty()
}
