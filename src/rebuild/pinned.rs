//! One build of exactly what was synced.
//!
//! The snapshot takes the place of the target during evaluation: by a mount namespace for everything that names its
//! path, and by `--override-input` for an input, because Nix does not read an input in place but copies it by its lock.
//! The hash that Nix reports is then compared with the snapshot, so that a build of anything else is an error.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::context::RebuildContext;
use super::error::ErrorKind;
use super::flake::{HOSTS, HostFlake, path_reference};
use super::machine;
use super::outcome::{Durations, UnpinnedReason};
use super::output::Verdict;
use super::revision::Revision;
use super::snapshot::{Filter, Snapshot};
use crate::fs::Target;
use crate::git::{CommitId, RelPath};
use crate::nix::{FlakeLock, Layout};
use crate::patterns::Patterns;
use crate::process::{Command, Finished, Output};
use crate::settings::Action;

mod lock;

pub(super) use lock::refresh_lock;

/// The warning of Nix about `--override-input` with a name that the flake does not have; Nix ignores the option then.
const NO_SUCH_INPUT: &str = "does not match any input";

/// The program that draws a build (nix-output-monitor), and the options with which Nix logs what it reads.
const VIEWER: &str = "nom";
const VIEWED: [&str; 3] = ["--log-format", "internal-json", "-v"];
/// Options of Nix in `rebuild.extra_args` by which the user has chosen how its log is.
const LOG_OPTIONS: &[&str] = &["--log-format", "--print-build-logs", "-L", "--quiet", "-q"];

/// A build that is pinned to a snapshot.
pub(super) struct Pin<'a> {
    context: &'a RebuildContext<'a>,
    flake: &'a HostFlake,
    nix: PathBuf,
    args: Vec<OsString>,
    tree: Snapshot,
    /// The commit that the snapshot is exactly.
    revision: Option<Revision>,
    /// A snapshot of the host flake, if that is outside the target and in no git repository.
    flake_snapshot: Option<Snapshot>,
    namespace: Option<Namespace>,
    /// What Nix has reported of the flake and its inputs.
    metadata: Option<Finished>,
}

impl<'a> Pin<'a> {
    /// Prepares a pinned build, or returns why it is not possible.
    pub(super) fn new(
        context: &'a RebuildContext<'a>,
        flake: &'a HostFlake,
        tree: Snapshot,
        revision: Option<Revision>,
    ) -> Result<Self, UnpinnedReason> {
        let request = context.request;
        let nix = context.find("nix").map_err(|_| UnpinnedReason::NoNix)?;
        if !context.is_root && request.action != Action::Build {
            return Err(UnpinnedReason::NotRoot);
        }
        let mut args = build_arguments(&request.settings.extra_args)?;
        let binds = vec![(tree.path.clone(), flake.target.clone())];
        let namespace = context
            .is_root
            .then(|| Namespace::new(context, binds))
            .flatten();
        match &flake.layout {
            // Nix reads literal paths in place: only a namespace can put the snapshot there.
            Some(Layout::Literal) | None if namespace.is_none() => {
                return Err(UnpinnedReason::NoNamespace);
            }
            Some(Layout::Literal) if !context.is_impure() => args.push("--impure".into()),
            _ => {}
        }
        if request.verbose {
            args.push("--show-trace".into());
        }
        Ok(Self {
            context,
            flake,
            nix,
            args,
            tree,
            revision,
            flake_snapshot: None,
            namespace,
            metadata: None,
        })
    }

    /// Builds the system of a host, after [`update_lock`](Self::update_lock).
    pub(super) fn build(&mut self, host: &str) -> Result<(PathBuf, Durations), ErrorKind> {
        self.snapshot_flake();
        self.check_tree_hash()?;
        let action = self.context.request.action;

        let installable = format!(
            "{}#{HOSTS}.\"{host}\".config.system.build.toplevel",
            self.reference()
        );
        let viewer = self.viewer();
        let mut args: Vec<OsString> = vec!["build".into(), "--print-out-paths".into()];
        if viewer.is_some() {
            args.extend(VIEWED.map(Into::into));
        }
        // This link protects the system from the garbage collector until the next build.
        args.push("--out-link".into());
        args.push(self.context.request.state.path().join("result").into());
        args.extend(self.evaluation());
        args.push(installable.into());
        let command = self
            .command(args)
            .output(Output::Answer)
            .mark(ends_evaluation)
            .viewer(viewer);
        let (code, finished) = self.context.run(&command)?;
        let durations = Durations::of_build(finished.lasted, finished.marked);
        if code != 0 {
            let path = missing_path(&finished.tail, &self.flake.target);
            let path = path.filter(|path| self.context.request.exclude.matches_directory(path));
            return Err(match path {
                Some(path) => ErrorKind::LeftOut { path },
                None => Verdict::NotBuilt.into_error(action, finished),
            });
        }
        // A changed snapshot means that something else was built.
        if finished.tail.contains(NO_SUCH_INPUT) || !self.tree.is_intact() {
            return Err(self.other_tree(None));
        }
        let out = finished.text();
        let out = out.lines().last().map(PathBuf::from);
        out.filter(|out| out.is_absolute())
            .map(|out| (out, durations))
            .ok_or_else(|| Verdict::NotBuilt.into_error(action, finished))
    }

    /// The program that shows the build on the terminal, if there is one and the log of Nix is to be as usual.
    fn viewer(&self) -> Option<PathBuf> {
        let is_changed = |arg: &OsString| LOG_OPTIONS.iter().any(|option| arg == option);
        let is_shown = self.context.runner.has_terminal() && !self.args.iter().any(is_changed);
        is_shown.then(|| self.context.find(VIEWER).ok()).flatten()
    }

    /// The snapshots that the build has read.
    pub(super) fn snapshots(&self) -> Vec<&Snapshot> {
        std::iter::once(&self.tree)
            .chain(&self.flake_snapshot)
            .collect()
    }

    /// The flake reference for the evaluation.
    pub(super) fn reference(&self) -> String {
        // Without a namespace, a flake in the target can still be read from the snapshot itself.
        let target = match &self.namespace {
            Some(_) => &self.flake.target,
            None => &self.tree.path,
        };
        self.flake.reference(target, self.revision.as_ref())
    }

    /// The commit that Nix is given as the revision of the target.
    pub(super) fn revision(&self) -> Option<CommitId> {
        self.revision.map(|revision| revision.commit)
    }

    /// The arguments of every command that evaluates the flake.
    pub(super) fn evaluation(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--no-write-lock-file".into()];
        if let Some(Layout::Input { names }) = &self.flake.layout {
            for name in names {
                args.push("--override-input".into());
                args.push(name.into());
                args.push(path_reference(&self.tree.path, None, self.revision.as_ref()).into());
            }
        }
        if self.revision.is_some() {
            // Nix's cache distinguishes trees and times, but not commits with the same tree and time.
            args.extend(["--option", "eval-cache", "false"].map(Into::into));
        }
        args.extend(self.args.iter().cloned());
        args
    }

    /// Nix with arguments, in the namespace.
    pub(super) fn command(&self, args: Vec<OsString>) -> Command<'_> {
        match &self.namespace {
            Some(namespace) => namespace.command(self.context, &self.nix, args),
            None => self.context.command(&self.nix, args),
        }
    }

    /// Mounts a snapshot of the host flake over it, so that an edit during the build does not get half into it, and no
    /// FIFO beside the flake makes Nix refuse it.
    ///
    /// If that is not possible, Nix reads the flake in place.
    fn snapshot_flake(&mut self) {
        let flake = self.flake;
        if flake.is_own() || flake.in_git || self.namespace.is_none() {
            return;
        }
        // A flake above the target contains it; the snapshot of the target is mounted there.
        let replaced = flake.target.strip_prefix(&flake.directory).ok();
        let replaced = match replaced.map(|path| RelPath::new(path.as_os_str().as_encoded_bytes()))
        {
            None => None,
            Some(Ok(path)) => Some(path),
            Some(Err(_)) => return,
        };
        let filter = Filter {
            exclude: &Patterns::default(),
            replaced: replaced.as_ref(),
        };
        let state_dir = self.context.request.state.path();
        let Ok(source) = Target::open(&flake.directory) else {
            return;
        };
        let Ok(snapshot) = Snapshot::take(&source, &filter, state_dir, "flake") else {
            return;
        };
        let binds = vec![
            (snapshot.path.clone(), flake.directory.clone()),
            (self.tree.path.clone(), flake.target.clone()),
        ];
        if let Some(namespace) = Namespace::new(self.context, binds) {
            self.namespace = Some(namespace);
            self.flake_snapshot = Some(snapshot);
        }
    }

    /// Compares the hash that Nix reports for the target with the snapshot's.
    fn check_tree_hash(&mut self) -> Result<(), ErrorKind> {
        if !matches!(self.flake.layout, Some(Layout::Own | Layout::Input { .. })) {
            // Nix reads literal paths in place, and the namespace guarantees their content.
            return Ok(());
        }
        // The snapshot does not change: what Nix reported for the lock file is not asked again.
        let finished = match self.metadata.take() {
            Some(finished) => finished,
            None => self.metadata()?,
        };
        if !finished.end.is_success() {
            let action = self.context.request.action;
            return Err(Verdict::NotBuilt.into_error(action, finished));
        }
        if finished.tail.contains(NO_SUCH_INPUT) {
            return Err(self.other_tree(None));
        }
        let metadata: Value = serde_json::from_slice(&finished.answer).unwrap_or_default();
        let expected = self.tree.nar.to_string();
        let wrong = match &self.flake.layout {
            Some(Layout::Own) => hash_of(&metadata).filter(|hash| *hash != expected),
            Some(Layout::Input { names }) => {
                let locks = FlakeLock::of_metadata(&finished.answer);
                names.iter().find_map(|name| {
                    let hash = locks.as_ref()?.nar_hash(name).map(str::to_owned);
                    hash.filter(|hash| *hash != expected)
                })
            }
            Some(Layout::Literal) | None => None,
        };
        match wrong {
            Some(hash) => Err(self.other_tree(Some(hash))),
            None => Ok(()),
        }
    }

    /// `nix flake metadata`: the hashes of the flake and of its inputs.
    fn metadata(&self) -> Result<Finished, ErrorKind> {
        let mut args: Vec<OsString> = ["flake", "metadata", "--json"].map(Into::into).to_vec();
        args.extend(self.evaluation());
        args.push(self.reference().into());
        let (_, finished) = self
            .context
            .run(&self.command(args).output(Output::Quiet))?;
        Ok(finished)
    }

    fn other_tree(&self, actual: Option<String>) -> ErrorKind {
        ErrorKind::OtherTree {
            expected: self.tree.nar,
            actual,
        }
    }
}

/// Whether Nix prints a line when it has evaluated, and before it builds: `these 3 derivations will be built:`. If there is
/// nothing to do, it prints none.
fn ends_evaluation(line: &str) -> bool {
    line.contains(" will be built:") || line.contains(" will be fetched")
}

/// The hash of the flake itself in the output of `nix flake metadata`.
fn hash_of(metadata: &Value) -> Option<String> {
    let hash = metadata.get("locked")?.get("narHash")?.as_str()?;
    Some(hash.to_owned())
}

/// The path that Nix did not find in the snapshot although it exists in the target.
fn missing_path(tail: &str, target: &Path) -> Option<RelPath> {
    let missing = tail.lines().find(|line| {
        line.contains("does not exist") || line.contains("No such file or directory")
    })?;
    let path = Path::new(missing.split('\'').nth(1)?);
    let inside = match path.strip_prefix(target) {
        Ok(inside) => inside.to_owned(),
        // A copy in the store: /nix/store/HASH-source/…
        Err(_) => path.components().skip(4).collect(),
    };
    let inside = RelPath::new(inside.as_os_str().as_encoded_bytes()).ok()?;
    machine::exists(&target.join(&inside)).then_some(inside)
}

/// Bind-mounts each pair of paths up to `--`, checks each mount, and executes the program after it.
const SCRIPT: &str = r#"
while [ "$1" != -- ]; do
    mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" && [ "$1" -ef "$2" ] || exit 121
    shift 2
done
shift
exec "$@"
"#;

/// A private mount namespace in which snapshots are mounted, read-only, over the live directories.
///
/// However an evaluation reaches the target, by a literal path, an input or a computed path, it finds the snapshot; all
/// other processes see the live directory. `unshare` of util-linux is used because its child stays in our process group
/// and unit, and is stopped with us. A transient systemd unit would outlive us, and every user could read its
/// environment, which contains proxies and access tokens.
#[derive(Debug, Clone)]
struct Namespace {
    unshare: PathBuf,
    sh: PathBuf,
    binds: Vec<(PathBuf, PathBuf)>,
}

impl Namespace {
    /// A namespace with each snapshot (the first of a pair) over its live directory, if this process may make one.
    ///
    /// The pairs are mounted in order: a directory before one inside it.
    fn new(context: &RebuildContext<'_>, binds: Vec<(PathBuf, PathBuf)>) -> Option<Self> {
        let namespace = Self {
            unshare: context.find("unshare").ok()?,
            sh: context.find("sh").ok()?,
            binds,
        };
        let true_ = context.find("true").ok()?;
        context.find("mount").ok()?;
        let probe = namespace.command(context, &true_, Vec::new());
        let finished = context.runner.run(&probe.output(Output::Quiet)).ok()?;
        finished.end.is_success().then_some(namespace)
    }

    /// A program in the namespace.
    fn command<'a>(
        &self,
        context: &'a RebuildContext<'_>,
        program: &Path,
        args: Vec<OsString>,
    ) -> Command<'a> {
        let mut all: Vec<OsString> = vec![
            "--mount".into(),
            self.sh.clone().into(),
            "-c".into(),
            SCRIPT.into(),
            "sh".into(),
        ];
        for (snapshot, live) in &self.binds {
            all.push(snapshot.clone().into());
            all.push(live.clone().into());
        }
        all.push("--".into());
        all.push(program.to_owned().into());
        all.extend(args);
        context.command(&self.unshare, all)
    }
}

/// Arguments of `nixos-rebuild` that mean nothing to `nix build`, such as not to start a newer `nixos-rebuild`.
const DROPPED: &[&str] = &[
    "--fast",
    "--no-reexec",
    "--no-build-nix",
    "--no-build-output",
    "-Q",
];

/// Arguments that only `nixos-rebuild` implements: other machines, other profiles, other users, other sources.
const ONLY_REBUILD: &[&str] = &[
    "--ask-sudo-password",
    "--attr",
    "--build-host",
    "--file",
    "--flake",
    "--install-bootloader",
    "--install-grub",
    "--no-flake",
    "--profile-name",
    "--rollback",
    "--specialisation",
    "--store-path",
    "--substitute-on-destination",
    "--sudo",
    "--target-host",
    "--upgrade",
    "--upgrade-all",
    "--use-remote-sudo",
    "--use-substitutes",
    "-A",
    "-S",
    "-c",
    "-f",
    "-p",
    "-s",
];

/// `rebuild.extra_args` for `nix build`, or the argument that only `nixos-rebuild` has.
fn build_arguments(args: &[String]) -> Result<Vec<OsString>, UnpinnedReason> {
    let name = |arg: &str| arg.split('=').next().unwrap_or(arg).to_owned();
    if let Some(argument) = args
        .iter()
        .find(|arg| ONLY_REBUILD.contains(&name(arg).as_str()))
    {
        return Err(UnpinnedReason::Argument {
            argument: argument.clone(),
        });
    }
    Ok(args
        .iter()
        .filter(|arg| !DROPPED.contains(&arg.as_str()))
        .map(OsString::from)
        .collect())
}

/// The `--option`s among `rebuild.extra_args`, which every command of Nix accepts.
pub(super) fn nix_options(args: &[String]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--option" {
            kept.push(arg.into());
            kept.extend(rest.by_ref().take(2).map(OsString::from));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_path_is_parsed_from_the_error_of_nix() {
        let target = Path::new("/proc/self");
        let missing = |sentence: &str| missing_path(sentence, target).map(|path| path.to_string());
        for sentence in [
            "error: path '/proc/self/status' does not exist",
            "       error: path '/nix/store/0c1-source/status' does not exist",
            "error: getting status of '/proc/self/status': No such file or directory",
        ] {
            assert_eq!(missing(sentence).as_deref(), Some("status"), "{sentence}");
        }
        assert_eq!(
            missing("error: path '/proc/self/no-such-file' does not exist"),
            None
        );
        assert_eq!(missing("error: attribute 'x' missing"), None);
    }

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|&arg| arg.to_owned()).collect()
    }

    #[test]
    fn arguments_of_nix_pass_and_meaningless_ones_are_dropped() {
        let args = strings(&["--impure", "--fast", "--option", "cores", "3", "-L"]);
        let passed = build_arguments(&args).unwrap();
        assert_eq!(passed, ["--impure", "--option", "cores", "3", "-L"]);
        assert_eq!(nix_options(&args), ["--option", "cores", "3"]);
    }

    #[test]
    fn an_argument_of_nixos_rebuild_alone_is_reported() {
        for arg in ["--target-host", "--sudo", "--profile-name=x", "-p"] {
            let args = strings(&["--impure", arg, "x"]);
            let argument = arg.to_owned();
            assert_eq!(
                build_arguments(&args),
                Err(UnpinnedReason::Argument { argument })
            );
        }
    }
}
