//! Which systems this machine runs, booted and boots next.
#![expect(
    clippy::disallowed_methods,
    reason = "links of NixOS, outside the target, are followed; nothing is opened by that"
)]

use std::path::{Path, PathBuf};

/// Where NixOS keeps the links to its systems, and what the machine is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The running system.
    pub current: PathBuf,
    /// The system it was booted with.
    pub booted: PathBuf,
    /// The profile whose newest generation is booted next.
    pub profile: PathBuf,
    /// What exists where systemd runs (`sd_booted(3)`).
    pub systemd: PathBuf,
    /// The host name.
    pub hostname: String,
}

/// The systems themselves, by their store paths; `None` where there is none, as on another distribution.
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

/// The store path a link leads to.
pub(super) fn system(link: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(link).ok()
}

/// Whether something is at a path: part of a system, or what Nix did not find. Nothing is opened by that.
pub(super) fn is_there(path: &Path) -> bool {
    path.exists()
}
