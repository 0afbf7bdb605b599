//! What a run is to do: flags over environment over file over defaults, each value with its origin.
//!
//! [`Settings`] is the resolved value the rest of the program works with; it does not depend on clap or TOML. Each
//! setting is defined once, in `resolve`, where also the defaults are decided that depend on the target.

use std::path::PathBuf;

mod amount;
mod env;
mod error;
mod file;
mod foreign;
mod health;
mod hooks;
mod known;
mod layers;
mod meaning;
mod paths;
mod reboot;
mod redact;
mod repo;
mod resolve;
mod value;

#[cfg(test)]
mod tests;

pub use amount::duration;
pub use env::Env;
pub use error::{Error, Problem, UnknownKeyHelp, ValueError};
pub use file::{ConfigFile, DEFAULT_FILE};
pub use foreign::meant_by;
pub use health::{CheckFault, Health, HealthCheck, Probe};
pub use hooks::Hooks;
pub(crate) use known::TARGETS;
pub use known::{KnownTarget, Records, TargetRecord, default_state_dir, known_targets, state_home};
pub use layers::{Origin, Overrides, ResolvedSetting, UnknownVariable, variable};
pub use meaning::MEANINGS;
pub use reboot::{Reboot, RebootWindow};
pub use repo::AddressFault as RepoFault;
pub use resolve::{Limits, Rebuild, Settings, Trust, Validate};

/// The target of Hyper-NixOS, for which its values are the defaults.
pub const HYPER_NIXOS_TARGET: &str = "/etc/hypervisor/src";

/// The settings, and the origin of each.
#[derive(Debug, Clone)]
pub struct ResolvedSettings {
    /// For the program.
    pub settings: Settings,
    /// For people: every setting by its name, in the order of the documentation.
    pub entries: Vec<ResolvedSetting>,
    /// Variables that begin with `HYPER_SYNC_` and are not a setting, for a warning.
    pub unknown_variables: Vec<UnknownVariable>,
}

/// A repository, by how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repo {
    /// `owner/name` on GitHub, or on the host of `api_url`.
    GitHub {
        /// The owner.
        owner: String,
        /// The name, without `.git`.
        name: String,
    },
    /// `https://…` (plain `http://` too, but then no token is ever sent except to a loopback address).
    Http(String),
    /// `ssh://…` or `user@host:path`, as written.
    Ssh(String),
    /// A path, or `file://…`; absolute.
    Local(PathBuf),
}

/// Which routes `obtain` may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// The best one, then down the ladder.
    Auto,
    /// The git protocol only.
    Git,
    /// The REST API only.
    Api,
}

/// The policy for files edited since they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalEdits {
    /// The target mirrors the commit; the edit is kept in `undo/`.
    Replace,
    /// Edits win.
    Keep,
    /// An edit is merged with what the commit changes in the file; an update that cannot be merged stops.
    Merge,
    /// An update that needs an edited file stops.
    Refuse,
}

/// What a rebuild does with the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Build only.
    Build,
    /// Activate, leave the boot default.
    Test,
    /// Activate and make it the boot default.
    Switch,
    /// Make it the boot default, activate at the next boot.
    Boot,
    /// Show what activation would do.
    DryActivate,
}

/// What is required of a commit before it is brought into the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// What a sync always proves.
    Off,
    /// Its system builds.
    Build,
}

/// Policy for symlinks that are absolute or leave the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symlinks {
    /// Written as they are, with a notice.
    Any,
    /// Refused.
    Within,
}
