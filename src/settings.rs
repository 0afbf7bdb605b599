//! What a run is to do: flags over environment over file over defaults, each value with its origin.
//!
//! [`Settings`] is the resolved value the rest of the program works with; it knows nothing of clap or TOML. Each
//! setting is defined once, in `resolve`, where also the defaults are decided that depend on the target.

use std::path::PathBuf;
use std::time::Duration;

use crate::git::RelPath;
use crate::patterns::Patterns;

mod amount;
mod env;
mod error;
mod file;
mod layers;
mod paths;
mod problem;
mod redact;
mod reference;
mod repo;
mod resolve;
mod value;

#[cfg(test)]
mod tests;

pub use env::Env;
pub use error::{Error, UnknownKeyHelp, ValueError};
pub use file::{DEFAULT_FILE, File};
pub use layers::{Entry, Origin, Overrides, variable};
pub use problem::Problem;
pub use repo::Fault as RepoFault;

/// The target of Hyper-NixOS, for which its values are the defaults.
pub const HYPER_NIXOS_TARGET: &str = "/etc/hypervisor/src";

/// Everything a run needs to know, resolved.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the commits come from.
    pub repo: Repo,
    /// Branch, tag or commit, as written.
    pub reference: String,
    /// The directory that is kept equal to a commit, absolute.
    pub target: PathBuf,
    /// Which routes may be taken.
    pub transport: Transport,
    /// What happens to local edits.
    pub local_edits: LocalEdits,
    /// Globs of paths where a local edit always wins.
    pub protect: Patterns,
    /// Globs of paths that are not managed at all.
    pub exclude: Patterns,
    /// Globs of paths whose execute bit is ours to set.
    pub executable: Patterns,
    /// Paths that must be regular files of the commit, or symlinks to such, and stay once they were there; or the update
    /// is refused.
    pub require: Vec<RelPath>,
    /// Our own directory: store, journal, index.
    pub state_dir: PathBuf,
    /// Where the readable `sync-state.json` is published besides the state directory.
    pub state_file: Option<PathBuf>,
    /// Where metrics are written for the textfile collector of Prometheus's node exporter; `None`: nowhere.
    pub metrics_file: Option<PathBuf>,
    /// How long a repository that is not reached is no failure of the machine.
    pub failure_grace: Duration,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
    /// The REST API's base, where it is not GitHub's own.
    pub api_url: Option<String>,
    /// Private key for ssh.
    pub ssh_key_file: Option<PathBuf>,
    /// Known hosts for ssh.
    pub known_hosts_file: Option<PathBuf>,
    /// A CA bundle (PEM) in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The rebuild stage.
    pub rebuild: Rebuild,
    /// The validate stage.
    pub validate: Validate,
    /// Bounds of what the remote may send.
    pub limits: Limits,
    /// What is accepted from the remote.
    pub trust: Trust,
}

/// The settings, and where each comes from.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// For the program.
    pub settings: Settings,
    /// For people: every setting by its name, in the order of the documentation.
    pub entries: Vec<Entry>,
    /// Variables that begin like ours and are no setting, for a warning.
    pub unknown_variables: Vec<String>,
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
    /// An update that needs an edited file stops.
    Refuse,
}

/// What `nixos-rebuild` is asked to do.
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

/// Settings of the rebuild stage.
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// What to do with the built system.
    pub action: Action,
    /// The flake's directory.
    pub flake: PathBuf,
    /// The attribute of `nixosConfigurations`; `None`: found out.
    pub host: Option<String>,
    /// Arguments handed to the build.
    pub extra_args: Vec<String>,
    /// How long a rebuild may take.
    pub timeout: Duration,
}

/// Settings of the validate stage.
#[derive(Debug, Clone)]
pub struct Validate {
    /// Directories that must exist, absolute or relative to the target.
    pub directories: Vec<PathBuf>,
    /// Files that must exist, absolute or relative to the target.
    pub files: Vec<PathBuf>,
    /// Programs that must be in the search path.
    pub tools: Vec<String>,
    /// Whether `/dev/kvm` must be there.
    pub kvm: bool,
    /// A network bridge that should be up.
    pub bridge: Option<String>,
    /// systemd units that should be active.
    pub services: Vec<String>,
    /// Free space that each checked file system must have, in bytes.
    pub min_free: u64,
}

/// Bounds of what is taken from the remote; each one's error names its setting.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries of a tree.
    pub files: u64,
    /// Bytes of all files that an update needs, together, as they are on disk.
    pub bytes: u64,
    /// Bytes of one file.
    pub blob: u64,
    /// Time of one run's downloads.
    pub time: Duration,
}

/// What is accepted from the remote.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Whose signature the commit that is synced needs (OpenSSH `allowed_signers` or a GPG keyring); `None`: nobody's.
    pub signers: Option<PathBuf>,
    /// Whether symlinks may lead out of the tree.
    pub symlinks: Symlinks,
    /// Whether a branch may move to a commit that does not descend from the last one.
    pub rewind: bool,
    /// Whether a tag may be set anew.
    pub moving_tags: bool,
    /// Whether a forge's API is believed where its answers cannot be proven by the commit's id.
    pub forge: bool,
}

/// Policy for symlinks that are absolute or leave the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symlinks {
    /// Written as they are, with a notice.
    Any,
    /// Refused.
    Within,
}

/// Far above what a configuration repository needs: nixpkgs, one of the largest trees there are, has 53,000 files in
/// 37,000 directories. Of a tree of as many entries as are allowed, all files change within 256 MB of memory.
impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 150_000,
            bytes: 1 << 30,
            blob: 128 << 20,
            time: Duration::from_secs(15 * 60),
        }
    }
}
