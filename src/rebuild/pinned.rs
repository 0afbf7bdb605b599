//! One build of exactly what was synced.
//!
//! The snapshot stands where evaluation looks for the target: in a mount namespace for whatever names its path, and as
//! an override for an input, because an input is not read where it is but copied by its lock. What Nix then says it has
//! read is compared with the snapshot, so that a build of something else is an error and no success.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::Error;
use super::namespace::Namespace;
use super::outcome::UnpinnedReason;
use super::places::{Places, encoded};
use super::session::RebuildContext;
use super::snapshot::{Filter, Snapshot};
use super::{arguments, host, machine};
use crate::fs::Target;
use crate::git::RelPath;
use crate::nix::{FlakeLock, Layout};
use crate::patterns::Patterns;
use crate::process::{Command, Finished, Output};
use crate::settings::Action;

mod lock;

pub(super) use lock::refresh_lock;

/// What Nix says of `--override-input` with a name that the flake does not have; it goes on without it.
const NO_SUCH_INPUT: &str = "does not match any input";

/// A build that is pinned to a snapshot.
pub(super) struct Pin<'a> {
    session: &'a RebuildContext<'a>,
    places: &'a Places,
    nix: PathBuf,
    args: Vec<OsString>,
    tree: Snapshot,
    /// The host's own flake, where it lies outside the target and in no git repository.
    flake: Option<Snapshot>,
    namespace: Option<Namespace>,
}

impl<'a> Pin<'a> {
    /// Finds out whether a build can be pinned here, and if not, why.
    pub(super) fn new(
        session: &'a RebuildContext<'a>,
        places: &'a Places,
        tree: Snapshot,
    ) -> Result<Self, UnpinnedReason> {
        let request = session.request;
        let nix = session.find("nix").map_err(|_| UnpinnedReason::NoNix)?;
        if !session.is_root && request.settings.action != Action::Build {
            return Err(UnpinnedReason::NotRoot);
        }
        let mut args = arguments::of_build(&request.settings.extra_args)?;
        let binds = vec![(tree.path.clone(), places.target.clone())];
        let namespace = session
            .is_root
            .then(|| Namespace::new(session, binds))
            .flatten();
        match &places.layout {
            // Read where they are: only a namespace can put the snapshot there.
            Some(Layout::Literal) | None if namespace.is_none() => {
                return Err(UnpinnedReason::NoNamespace);
            }
            Some(Layout::Literal) if !session.is_impure() => args.push("--impure".into()),
            _ => {}
        }
        if request.verbose {
            args.push("--show-trace".into());
        }
        Ok(Self {
            session,
            places,
            nix,
            args,
            tree,
            flake: None,
            namespace,
        })
    }

    /// The names of the flake's hosts, by evaluation.
    pub(super) fn hosts(&self) -> Option<Vec<String>> {
        let mut args = host::arguments();
        args.extend(self.evaluation());
        args.push(format!("{}#{}", self.reference(), host::ATTRIBUTE).into());
        let command = self.command(args).output(Output::Quiet);
        host::answer(self.session.runner.run(&command))
    }

    /// Builds the system of a host. The lock file must have been looked after.
    pub(super) fn build(&mut self, host: &str) -> Result<PathBuf, Error> {
        self.freeze_flake();
        self.check_what_is_read()?;

        let installable = format!(
            "{}#{}.\"{host}\".config.system.build.toplevel",
            self.reference(),
            host::ATTRIBUTE
        );
        let mut args: Vec<OsString> = vec!["build".into(), "--print-out-paths".into()];
        // Where it keeps the system from the garbage collector until the next build.
        args.push("--out-link".into());
        args.push(self.session.request.state.path().join("result").into());
        args.extend(self.evaluation());
        args.push(installable.into());
        let (code, finished) = self
            .session
            .run(&self.command(args).output(Output::Answer))?;
        if code != 0 {
            let path = left_out(&finished.tail, &self.places.target);
            let path = path.filter(|path| self.session.request.exclude.matches_directory(path));
            return Err(match path {
                Some(path) => Error::LeftOut {
                    path,
                    standing: self.session.standing(),
                },
                None => self.not_built(finished),
            });
        }
        if finished.tail.contains(NO_SUCH_INPUT) {
            return Err(self.read_something_else(None));
        }
        // Whoever wrote into the snapshot has changed what was built.
        if !self.tree.is_intact() {
            return Err(self.read_something_else(None));
        }
        let out = finished.text();
        let out = out.lines().last().map(PathBuf::from);
        out.filter(|out| out.is_absolute())
            .ok_or_else(|| self.not_built(finished))
    }

    /// The snapshots that the build has read.
    pub(super) fn snapshots(&self) -> Vec<&Snapshot> {
        [Some(&self.tree), self.flake.as_ref()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The flake, as evaluation is given it.
    fn reference(&self) -> String {
        // Without a namespace a flake of its own can still be read from the snapshot itself.
        let target = match &self.namespace {
            Some(_) => &self.places.target,
            None => &self.tree.path,
        };
        self.places.reference(target)
    }

    /// The arguments of everything that evaluates the flake.
    fn evaluation(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--no-write-lock-file".into()];
        if let Some(Layout::Input { names }) = &self.places.layout {
            for name in names {
                args.push("--override-input".into());
                args.push(name.into());
                args.push(format!("path:{}", encoded(&self.tree.path)).into());
            }
        }
        args.extend(self.args.iter().cloned());
        args
    }

    /// Nix with arguments, in the namespace.
    fn command(&self, args: Vec<OsString>) -> Command<'_> {
        match &self.namespace {
            Some(namespace) => namespace.command(self.session, &self.nix, args),
            None => self.session.command(&self.nix, args),
        }
    }

    /// Puts a snapshot of the host's own flake over it: no edit of it gets half into the build, and no FIFO that lies
    /// beside it makes Nix refuse it.
    ///
    /// Where that cannot be, the flake is read where it is, as by hand.
    fn freeze_flake(&mut self) {
        let places = self.places;
        if places.is_own() || places.in_git || self.namespace.is_none() {
            return;
        }
        // A flake that lies above the target holds it; the snapshot of the target goes there.
        let hole = places.target.strip_prefix(&places.flake).ok();
        let hole = match hole.map(|path| RelPath::new(path.as_os_str().as_encoded_bytes())) {
            None => None,
            Some(Ok(path)) => Some(path),
            Some(Err(_)) => return,
        };
        let filter = Filter {
            exclude: &Patterns::default(),
            hole: hole.as_ref(),
        };
        let state_dir = self.session.request.state.path();
        let Ok(source) = Target::open(&places.flake) else {
            return;
        };
        let Ok(flake) = Snapshot::take(&source, &filter, state_dir, "flake") else {
            return;
        };
        let binds = vec![
            (flake.path.clone(), places.flake.clone()),
            (self.tree.path.clone(), places.target.clone()),
        ];
        if let Some(namespace) = Namespace::new(self.session, binds) {
            self.namespace = Some(namespace);
            self.flake = Some(flake);
        }
    }

    /// Asks Nix what it takes the target for, and compares.
    fn check_what_is_read(&self) -> Result<(), Error> {
        let finished = self.metadata()?;
        if !finished.end.is_success() {
            return Err(self.not_built(finished));
        }
        if finished.tail.contains(NO_SUCH_INPUT) {
            return Err(self.read_something_else(None));
        }
        let metadata: Value = serde_json::from_slice(&finished.answer).unwrap_or_default();
        let expected = self.tree.nar.to_string();
        let wrong = match &self.places.layout {
            Some(Layout::Own) => hash_of(&metadata).filter(|hash| *hash != expected),
            Some(Layout::Input { names }) => {
                let locks = FlakeLock::of_metadata(&finished.answer);
                names.iter().find_map(|name| {
                    let hash = locks.as_ref()?.nar_hash(name).map(str::to_owned);
                    hash.filter(|hash| *hash != expected)
                })
            }
            // Read where they are, and the namespace has made sure of what is there.
            Some(Layout::Literal) | None => None,
        };
        match wrong {
            Some(hash) => Err(self.read_something_else(Some(hash))),
            None => Ok(()),
        }
    }

    /// What Nix takes the flake and its inputs for.
    fn metadata(&self) -> Result<Finished, Error> {
        let mut args: Vec<OsString> = ["flake", "metadata", "--json"].map(Into::into).to_vec();
        args.extend(self.evaluation());
        args.push(self.reference().into());
        let (_, finished) = self
            .session
            .run(&self.command(args).output(Output::Quiet))?;
        Ok(finished)
    }

    fn not_built(&self, finished: Finished) -> Error {
        Error::Build {
            end: finished.end,
            tail: finished.tail,
            standing: self.session.standing(),
        }
    }

    fn read_something_else(&self, hash: Option<String>) -> Error {
        Error::OtherTree {
            expected: self.tree.nar,
            actual: hash,
            standing: self.session.standing(),
        }
    }
}

/// The hash of the flake itself in the answer of `nix flake metadata`.
fn hash_of(metadata: &Value) -> Option<String> {
    let hash = metadata.get("locked")?.get("narHash")?.as_str()?;
    Some(hash.to_owned())
}

/// The path in the target that Nix did not find in the snapshot, though it is there.
fn left_out(tail: &str, target: &Path) -> Option<RelPath> {
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
    machine::is_there(&target.join(&inside)).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nix_misses_is_told_from_its_sentence() {
        let target = Path::new("/proc/self");
        let told = |sentence: &str| left_out(sentence, target).map(|path| path.to_string());
        for sentence in [
            "error: path '/proc/self/status' does not exist",
            "       error: path '/nix/store/0c1-source/status' does not exist",
            "error: getting status of '/proc/self/status': No such file or directory",
        ] {
            assert_eq!(told(sentence).as_deref(), Some("status"), "{sentence}");
        }
        assert_eq!(
            told("error: path '/proc/self/no-such-file' does not exist"),
            None
        );
        assert_eq!(told("error: attribute 'x' missing"), None);
    }
}
