//! Every setting, once: its field, and the row with its name, its type and its default.
//!
//! Defaults are those of Hyper-NixOS where the target is Hyper-NixOS's. For any other target nothing is assumed
//! about the repository or the machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::git::RelPath;
use crate::patterns::Patterns;

use super::amount::{Count, Size};
use super::known::{NoRecords, Place, Records, STATE_DIR};
use super::layers::{Layers, Origin};
use super::value::{ApiUrl, Argument, CheckedPath, OptionalAction, Pattern, Reference};
use super::{
    Action, ConfigFile, Env, Error, Gate, HYPER_NIXOS_TARGET, Health, Hooks, LocalEdits, Overrides,
    Problem, Reboot, Repo, ResolvedSettings, Symlinks, Transport,
};
use super::{health, hooks, paths, reboot};

/// The path of `sync-state.json` in the guide of Hyper-NixOS.
const HYPER_NIXOS_STATE_FILE: &str = "/var/lib/hypervisor/cache/sync-state.json";
/// The host flake of Hyper-NixOS.
const HYPER_NIXOS_FLAKE: &str = "/etc/hypervisor";
/// A first build on a small machine compiles for hours; what is longer hangs.
const REBUILD_TIMEOUT: Duration = Duration::from_secs(4 * 60 * 60);
/// An activation waits for the units that it starts; what takes longer waits for something that does not come.
const ACTIVATION_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// A night, a weekend's first half, or a journey without network; longer than that a machine is not up to date.
const FAILURE_GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// Below it, the validator of Hyper-NixOS fails.
const HYPER_NIXOS_MIN_FREE: u64 = 5 << 30;
/// Room for the store, the undo copies and a build's small outputs.
const MIN_FREE: u64 = 1 << 30;

/// All settings of a run, resolved.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration file that was read.
    pub config_file: Option<PathBuf>,
    /// The repository of the commits; `None`: none is given, and the target follows none yet.
    pub repo: Option<Repo>,
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
    /// Globs of paths whose execute bit is always set.
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
    /// How long an unreached repository is not a failure of the machine.
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
    /// When the machine is healthy.
    pub health: Health,
    /// The rebuild stage.
    pub rebuild: Rebuild,
    /// Whether and when the machine may reboot by itself.
    pub reboot: Reboot,
    /// What gets the report of a run.
    pub hooks: Hooks,
    /// The validate stage.
    pub validate: Validate,
    /// Bounds of what the remote may send.
    pub limits: Limits,
    /// What is accepted from the remote.
    pub trust: Trust,
}

impl Settings {
    /// Resolves every setting: `flags` over `HYPER_SYNC_*` of `env` over `file` over the defaults. No target is known.
    pub fn resolve(
        flags: &Overrides,
        env: &Env,
        file: Option<&ConfigFile>,
    ) -> Result<ResolvedSettings, Error> {
        Self::resolve_with(flags, env, file, &NoRecords)
    }

    /// As [`resolve`](Self::resolve); what nobody gives of target, state directory and repository is what earlier runs
    /// recorded, before a default applies.
    pub fn resolve_with(
        flags: &Overrides,
        env: &Env,
        file: Option<&ConfigFile>,
        records: &dyn Records,
    ) -> Result<ResolvedSettings, Error> {
        let mut layers = Layers::new(flags, env, file)?;
        let mut settings = settings(&mut layers, env, records);
        settings.config_file = file.map(|file| file.path().to_owned());
        check_places(&mut layers, &settings, env);
        let (entries, unknown_variables) = layers.finish()?;
        Ok(ResolvedSettings {
            settings,
            entries,
            unknown_variables,
        })
    }

    /// The state directory that a layer gives, for what concerns all targets.
    pub fn given_state_dir(
        flags: &Overrides,
        env: &Env,
        file: Option<&ConfigFile>,
    ) -> Result<Option<PathBuf>, Error> {
        Ok(Layers::new(flags, env, file)?.peek("state_dir"))
    }

    /// The repository, for what cannot do without one.
    pub fn repository(&self) -> Result<&Repo, Error> {
        self.repo.as_ref().ok_or_else(|| Error::NoRepository {
            target: self.target.clone(),
        })
    }
}

fn settings(layers: &mut Layers<'_>, env: &Env, records: &dyn Records) -> Settings {
    let place = Place::find(
        layers.peek("target"),
        layers.peek::<PathBuf>("state_dir").as_deref(),
        env,
        records,
    );
    let of = Defaults {
        hyper_nixos: place.target == Path::new(HYPER_NIXOS_TARGET),
    };
    let remembered = place.repo();
    // The address of its host belongs to a repository that is remembered, and to no other.
    let is_remembered = remembered.is_some() && layers.peek::<Repo>("repo").is_none();
    let api_url = place.api_url().filter(|_| is_remembered);
    let default_repo = || {
        let (owner, name) = ("MasterofNull".to_owned(), "Hyper-NixOS".to_owned());
        Some((of.only(Repo::GitHub { owner, name })?, Origin::Default))
    };
    let repo = layers.value_if("repo", remembered.or_else(default_repo));
    let reference = layers.value("ref", Reference("main".to_owned())).0;
    let target = layers.value_or("target", place.target.clone(), place.target_origin.clone());
    if let Some(problem) = place.problem.clone() {
        layers.refuse("target", problem);
    }
    Settings {
        config_file: None,
        repo,
        reference,
        transport: layers.value("transport", Transport::Auto),
        local_edits: layers.value(
            "local_edits",
            of.either(LocalEdits::Replace, LocalEdits::Refuse),
        ),
        protect: patterns(
            layers,
            "protect",
            of.either(
                &[
                    "modules/*-local.nix",
                    "hardware-configuration.nix",
                    "scripts/hardware_detect.sh",
                ],
                &["hardware-configuration.nix"],
            ),
        ),
        exclude: patterns(
            layers,
            "exclude",
            of.either(
                &[
                    "/.git/",
                    "result",
                    "/target/",
                    "tools/target/",
                    "/var/",
                    "*.socket",
                ],
                &["/.git/", "/result"],
            ),
        ),
        executable: patterns(layers, "executable", of.either(&["scripts/**/*.sh"], &[])),
        require: layers.value(
            "require",
            ["flake.nix", "configuration.nix"]
                .iter()
                .filter_map(|path| RelPath::new(path.as_bytes()).ok())
                .collect(),
        ),
        state_dir: state_dir(layers, &place),
        state_file: layers.optional("state_file", of.only(HYPER_NIXOS_STATE_FILE.into())),
        metrics_file: layers.optional("metrics_file", None),
        failure_grace: layers.value("failure_grace", FAILURE_GRACE),
        token_file: layers.optional("token_file", None),
        api_url: layers
            .optional_or("api_url", api_url.map(|(url, from)| (ApiUrl(url), from)))
            .map(|ApiUrl(url)| url),
        ssh_key_file: layers.optional("ssh_key_file", None),
        known_hosts_file: layers.optional("known_hosts_file", None),
        ca_file: layers.optional("ca_file", None),
        health: health::resolve(layers),
        rebuild: rebuild(layers, &target, of),
        reboot: reboot::resolve(layers),
        hooks: hooks::resolve(layers),
        validate: validate(layers, of),
        limits: limits(layers),
        trust: trust(layers),
        target,
    }
}

/// Settings of the rebuild stage.
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// What to do with the built system; `None`: nothing is rebuilt.
    pub action: Option<Action>,
    /// The flake's directory.
    pub flake: PathBuf,
    /// The attribute of `nixosConfigurations`; `None`: found out.
    pub host: Option<String>,
    /// Arguments handed to the build.
    pub extra_args: Vec<String>,
    /// What is required of a commit before it is brought into the target.
    pub gate: Gate,
    /// How long a rebuild may take.
    pub timeout: Duration,
    /// How long the activation of a system may take.
    pub activation_timeout: Duration,
}

fn rebuild(layers: &mut Layers<'_>, target: &Path, of: Defaults) -> Rebuild {
    let flake = of.either(Path::new(HYPER_NIXOS_FLAKE), target);
    // The host flake of Hyper-NixOS names its modules by absolute paths, which pure evaluation refuses.
    let impure = of.either(&["--impure"][..], &[]);
    let extra_args = impure
        .iter()
        .map(|&text| Argument(text.to_owned()))
        .collect();
    Rebuild {
        action: layers
            .value("rebuild.action", OptionalAction(Some(Action::Switch)))
            .0,
        flake: layers.value("rebuild.flake", flake.to_owned()),
        host: layers.optional("rebuild.host", None),
        extra_args: layers
            .value::<Vec<Argument>>("rebuild.extra_args", extra_args)
            .into_iter()
            .map(|argument| argument.0)
            .collect(),
        gate: layers.value("rebuild.gate", Gate::Off),
        timeout: layers.value("rebuild.timeout", REBUILD_TIMEOUT),
        activation_timeout: layers.value("rebuild.activation_timeout", ACTIVATION_TIMEOUT),
    }
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

/// For Hyper-NixOS: what its validator checked.
fn validate(layers: &mut Layers<'_>, of: Defaults) -> Validate {
    let directories = of.either(
        &["/etc/hypervisor", HYPER_NIXOS_TARGET, "/var/lib/hypervisor"][..],
        &[],
    );
    let files = of.either(
        &[
            "/etc/hypervisor/flake.nix",
            "configuration.nix",
            "/etc/nixos/hardware-configuration.nix",
        ][..],
        &[],
    );
    let tools = of.either(&["curl", "wget", "git", "jq", "rsync", "virsh"][..], &[]);
    let services = of.either(&["libvirtd.service"][..], &[]);
    Validate {
        directories: checked_paths(layers, "validate.directories", directories),
        files: checked_paths(layers, "validate.files", files),
        tools: layers.value("validate.tools", strings(tools)),
        kvm: layers.value("validate.kvm", of.hyper_nixos),
        bridge: layers.optional("validate.bridge", of.only("br0".to_owned())),
        services: layers.value("validate.services", strings(services)),
        min_free: layers
            .value(
                "validate.min_free",
                Size(of.either(HYPER_NIXOS_MIN_FREE, MIN_FREE)),
            )
            .0,
    }
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

fn limits(layers: &mut Layers<'_>) -> Limits {
    let default = Limits::default();
    Limits {
        files: layers.value("limits.files", Count(default.files)).0,
        bytes: layers.value("limits.bytes", Size(default.bytes)).0,
        blob: layers.value("limits.blob", Size(default.blob)).0,
        time: layers.value("limits.time", default.time),
    }
}

/// What is accepted from the remote.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Whose signature the commit that is synced needs (OpenSSH `allowed_signers` or a GPG keyring); `None`: none is
    /// required.
    pub signers: Option<PathBuf>,
    /// Whether symlinks may lead out of the tree.
    pub symlinks: Symlinks,
    /// Whether a branch may move to a commit that does not descend from the last one.
    pub rewind: bool,
    /// Whether a tag may be set anew.
    pub moving_tags: bool,
    /// Whether a forge's API is trusted where its responses cannot be proven by the commit's id.
    pub forge: bool,
}

fn trust(layers: &mut Layers<'_>) -> Trust {
    Trust {
        signers: layers.optional("trust.signers", None),
        symlinks: layers.value("trust.symlinks", Symlinks::Any),
        rewind: layers.value("trust.rewind", false),
        moving_tags: layers.value("trust.moving_tags", false),
        forge: layers.value("trust.forge", false),
    }
}

fn state_dir(layers: &mut Layers<'_>, place: &Place) -> PathBuf {
    let default = place.state_dir.clone();
    let nowhere = default.is_none();
    let state_dir = layers.value("state_dir", default.unwrap_or_default());
    if nowhere && state_dir.as_os_str().is_empty() {
        layers.refuse("state_dir", Problem::NoStateDir);
    }
    state_dir
}

/// What no single value shows: places that must be apart, and secrets in the open.
fn check_places(layers: &mut Layers<'_>, settings: &Settings, env: &Env) {
    let target = &settings.target;
    let target_problem = if target.starts_with(STATE_DIR) {
        Err(Problem::Protected {
            path: target.clone(),
            why: "where hyper-sync keeps its own state",
        })
    } else {
        paths::refuse_protected(target, env.home())
    };
    if let Err(problem) = target_problem {
        layers.refuse("target", problem);
        return;
    }
    let state_dir = &settings.state_dir;
    if !state_dir.as_os_str().is_empty() {
        if let Err(problem) = paths::refuse_protected(state_dir, env.home()) {
            layers.refuse("state_dir", problem);
        } else if let Some(relation) = paths::relation(state_dir, target) {
            layers.refuse("state_dir", overlap(state_dir, relation, target));
        }
    }
    for (name, file, is_secret) in [
        ("state_file", &settings.state_file, false),
        ("metrics_file", &settings.metrics_file, false),
        ("token_file", &settings.token_file, true),
        ("ssh_key_file", &settings.ssh_key_file, true),
        // A commit must not choose who may sign the next one.
        ("trust.signers", &settings.trust.signers, false),
    ] {
        let Some(file) = file else { continue };
        if is_secret && paths::is_in_store(file) {
            let path = file.clone();
            layers.refuse(name, Problem::SecretInStore { path });
        } else if let Some(relation) = paths::relation(file, target) {
            layers.refuse(name, overlap(file, relation, target));
        }
    }
}

fn overlap(path: &Path, relation: &'static str, target: &Path) -> Problem {
    Problem::Overlap {
        path: path.to_owned(),
        relation,
        other: "target",
        other_path: target.to_owned(),
    }
}

/// Chooses between the defaults of Hyper-NixOS and those for any repository.
#[derive(Clone, Copy)]
struct Defaults {
    hyper_nixos: bool,
}

impl Defaults {
    fn either<T>(self, hyper_nixos: T, other: T) -> T {
        if self.hyper_nixos { hyper_nixos } else { other }
    }

    fn only<T>(self, hyper_nixos: T) -> Option<T> {
        self.hyper_nixos.then_some(hyper_nixos)
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn patterns(layers: &mut Layers<'_>, name: &'static str, default: &[&str]) -> Patterns {
    let default = default.iter().map(|&text| Pattern(text.to_owned()));
    let patterns = layers.value(name, default.collect::<Vec<_>>());
    let patterns: Vec<_> = patterns.into_iter().map(|pattern| pattern.0).collect();
    // Each of them is a pattern; all of them together can be too large.
    Patterns::new(&patterns).unwrap_or_else(|fault| {
        layers.refuse(name, Problem::Pattern(fault));
        Patterns::default()
    })
}

fn checked_paths(layers: &mut Layers<'_>, name: &'static str, default: &[&str]) -> Vec<PathBuf> {
    let default = default.iter().map(|&path| CheckedPath(path.into()));
    let paths = layers.value(name, default.collect::<Vec<_>>());
    paths.into_iter().map(|path| path.0).collect()
}
