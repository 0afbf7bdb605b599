//! The targets that earlier runs have synced, and what follows from them for settings that nobody gives.
//!
//! A target is found by the state directory that is given, else by the working directory, else because no other one is
//! known. Its repository is the one that it has followed so far: a run that forgets to name it must not bring another
//! project's files.
//!
//! The settings read no file but the configuration: what the state directories say comes through [`Records`].

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{Env, HYPER_NIXOS_TARGET, Origin, Problem, Repo};

/// State of the machine's own target; `targets` in it has the state of others.
pub(super) const STATE_DIR: &str = "/var/lib/hyper-sync";

/// Reads what earlier runs recorded.
pub trait Records {
    /// The target whose state a directory has; `None` if it is no state directory of this user, or has no target yet.
    fn read(&self, state_dir: &Path) -> Option<TargetRecord>;

    /// The directories in a directory; none if it is not there.
    fn list(&self, directory: &Path) -> Vec<PathBuf>;
}

/// What a state directory says about its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRecord {
    /// The target.
    pub target: PathBuf,
    /// The repository that it follows.
    pub repo: Option<Repo>,
    /// The base of the REST API by which its host was named.
    pub api_url: Option<String>,
}

/// A target that this user has synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTarget {
    /// Its state directory.
    pub state_dir: PathBuf,
    /// What that says.
    pub record: TargetRecord,
}

/// No earlier run: for a check of settings that must not depend on this machine.
pub(super) struct NoRecords;

impl Records for NoRecords {
    fn read(&self, _: &Path) -> Option<TargetRecord> {
        None
    }

    fn list(&self, _: &Path) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// All targets that this user has synced with a state directory of the default place, by path.
#[must_use]
pub fn known_targets(env: &Env, records: &dyn Records) -> Vec<KnownTarget> {
    let mut directories = Vec::new();
    if let Some(home) = state_home(env) {
        if env.is_root() {
            directories.extend(records.list(&home.join(TARGETS)));
            directories.push(home);
        } else {
            directories.extend(records.list(&home));
        }
    }
    let known = directories.into_iter().filter_map(|state_dir| {
        let record = records.read(&state_dir)?;
        Some(KnownTarget { state_dir, record })
    });
    let mut known: Vec<KnownTarget> = known.collect();
    known.sort_by(|one, other| one.record.target.cmp(&other.record.target));
    known
}

/// The state directories of root's other targets, in its own.
pub(crate) const TARGETS: &str = "targets";

/// Where the state directories of this user are, unless they are given.
#[must_use]
pub fn state_home(env: &Env) -> Option<PathBuf> {
    if env.is_root() {
        return Some(STATE_DIR.into());
    }
    let state_home = env.path("XDG_STATE_HOME").map(Path::to_owned);
    let state_home = state_home.or_else(|| Some(env.home()?.join(".local/state")))?;
    Some(state_home.join("hyper-sync"))
}

/// The state directory of a target that has none yet.
///
/// It differs by target, because two targets that shared one would undo each other: root keeps the state of
/// Hyper-NixOS's target in `/var/lib/hyper-sync` and that of another in `/var/lib/hyper-sync/targets/HASH`; anybody else
/// in `$XDG_STATE_HOME/hyper-sync/HASH`.
#[must_use]
pub fn default_state_dir(target: &Path, env: &Env) -> Option<PathBuf> {
    let home = state_home(env)?;
    let digest = Sha256::digest(target.as_os_str().as_encoded_bytes());
    // 64 bits: two of a person's targets do not meet, and a path with it stays readable.
    let hash = HEXLOWER.encode(&digest[..8]);
    Some(if !env.is_root() {
        home.join(hash)
    } else if target == Path::new(HYPER_NIXOS_TARGET) {
        home
    } else {
        home.join(TARGETS).join(hash)
    })
}

/// The target of a run, with what goes for the settings that no layer gives.
pub(super) struct Place {
    pub(super) target: PathBuf,
    pub(super) target_origin: Origin,
    /// Why no target can be chosen.
    pub(super) problem: Option<Problem>,
    /// `None`: neither `HOME` nor `XDG_STATE_HOME` is set.
    pub(super) state_dir: Option<PathBuf>,
    record: Option<TargetRecord>,
}

impl Place {
    /// Finds the target, by what the layers give of it and of its state directory.
    pub(super) fn find(
        target: Option<PathBuf>,
        state_dir: Option<&Path>,
        env: &Env,
        records: &dyn Records,
    ) -> Self {
        let (found, target_origin, problem) = match target {
            Some(target) => (Found::Target(target), Origin::Default, None),
            None => search(state_dir, env, records),
        };
        let (target, known) = match found {
            Found::Known(known) => (known.record.target.clone(), Some(known)),
            Found::Target(target) => {
                let known = state_of(&target, state_dir, env, records);
                (target, known)
            }
        };
        let default = || default_state_dir(&target, env);
        let (state_dir, record) = match known {
            Some(KnownTarget { state_dir, record }) => (Some(state_dir), Some(record)),
            None => (default(), None),
        };
        Self {
            target,
            target_origin,
            problem,
            state_dir,
            record,
        }
    }

    /// The repository that the target has followed so far.
    pub(super) fn repo(&self) -> Option<(Repo, Origin)> {
        let repo = self.record.as_ref()?.repo.clone()?;
        Some((repo, Origin::Earlier("remembered: what the target follows")))
    }

    /// The base of the API that belongs to it.
    pub(super) fn api_url(&self) -> Option<(String, Origin)> {
        let api_url = self.record.as_ref()?.api_url.clone()?;
        Some((api_url, Origin::Earlier("remembered: where that is")))
    }
}

enum Found {
    Known(KnownTarget),
    Target(PathBuf),
}

/// The target that is meant where none is given.
fn search(
    state_dir: Option<&Path>,
    env: &Env,
    records: &dyn Records,
) -> (Found, Origin, Option<Problem>) {
    let hyper_nixos = || Found::Target(HYPER_NIXOS_TARGET.into());
    if let Some(state_dir) = state_dir {
        return match read(state_dir, records) {
            Some(known) => {
                let origin = Origin::Earlier("found: the state directory is that of it");
                (Found::Known(known), origin, None)
            }
            None => (hyper_nixos(), Origin::Default, None),
        };
    }
    let mut known = known_targets(env, records);
    known.dedup_by(|one, other| one.record.target == other.record.target);
    let here = env.current_dir().and_then(|here| {
        let inside = known.iter().enumerate();
        let inside = inside.filter(|(_, known)| here.starts_with(&known.record.target));
        // The innermost, should there be several.
        inside.max_by_key(|(_, known)| known.record.target.components().count())
    });
    if let Some((at, _)) = here {
        let origin = Origin::Earlier("found: the working directory is in it");
        return (Found::Known(known.swap_remove(at)), origin, None);
    }
    match known.len() {
        0 => (hyper_nixos(), Origin::Default, None),
        1 => {
            let origin = Origin::Earlier("found: no other one is known");
            (Found::Known(known.swap_remove(0)), origin, None)
        }
        _ => {
            let known = known.into_iter().map(|known| known.record.target).collect();
            let problem = Problem::WhichTarget { known };
            (hyper_nixos(), Origin::Default, Some(problem))
        }
    }
}

/// The state of a target that is given.
fn state_of(
    target: &Path,
    state_dir: Option<&Path>,
    env: &Env,
    records: &dyn Records,
) -> Option<KnownTarget> {
    let is_of_it = |known: &KnownTarget| known.record.target == target;
    if let Some(state_dir) = state_dir {
        return read(state_dir, records).filter(is_of_it);
    }
    let usual = default_state_dir(target, env).and_then(|path| read(&path, records));
    // The module keeps the state of its target in root's own directory, whichever target that is.
    let elsewhere = || known_targets(env, records).into_iter().find(is_of_it);
    usual.filter(is_of_it).or_else(elsewhere)
}

fn read(state_dir: &Path, records: &dyn Records) -> Option<KnownTarget> {
    let record = records.read(state_dir)?;
    let state_dir = state_dir.to_owned();
    Some(KnownTarget { state_dir, record })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Targets by their state directories.
    struct Known(BTreeMap<PathBuf, PathBuf>);

    impl Records for Known {
        fn read(&self, state_dir: &Path) -> Option<TargetRecord> {
            Some(TargetRecord {
                target: self.0.get(state_dir)?.clone(),
                repo: None,
                api_url: None,
            })
        }

        fn list(&self, directory: &Path) -> Vec<PathBuf> {
            let all = self
                .0
                .keys()
                .filter(|path| path.parent() == Some(directory));
            all.cloned().collect()
        }
    }

    fn known(all: &[(&str, &str)]) -> Known {
        Known(
            all.iter()
                .map(|(state, target)| (state.into(), target.into()))
                .collect(),
        )
    }

    fn root() -> Env {
        Env::empty().as_root(true).with("HOME", "/root")
    }

    fn found(place: &Place) -> (&str, &str) {
        let state_dir = place.state_dir.as_deref().unwrap();
        (place.target.to_str().unwrap(), state_dir.to_str().unwrap())
    }

    /// The module keeps the state of its target there, whichever that is.
    #[test]
    fn the_state_of_a_target_is_found_in_the_directory_of_root() {
        let records = known(&[("/var/lib/hyper-sync", "/etc/nixos")]);
        let expected = ("/etc/nixos", "/var/lib/hyper-sync");
        let given = Place::find(Some("/etc/nixos".into()), None, &root(), &records);
        assert_eq!(found(&given), expected);
        let only = Place::find(None, None, &root(), &records);
        assert_eq!(found(&only), expected);
        let inside = root().in_dir("/etc/nixos/hosts");
        assert_eq!(found(&Place::find(None, None, &inside, &records)), expected);
        // Another target does not get it.
        let other = Place::find(Some("/srv/www".into()), None, &root(), &records);
        assert!(found(&other).1.starts_with("/var/lib/hyper-sync/targets/"));
    }

    #[test]
    fn a_directory_beside_a_target_is_not_in_it() {
        let records = known(&[
            ("/var/lib/hyper-sync/targets/a", "/srv/www"),
            ("/var/lib/hyper-sync/targets/b", "/srv/www2"),
        ]);
        let target = |directory: &str| {
            let place = Place::find(None, None, &root().in_dir(directory), &records);
            let problem = place.problem.is_some();
            (!problem).then(|| place.target.to_str().unwrap().to_owned())
        };
        assert_eq!(target("/srv/www").as_deref(), Some("/srv/www"));
        assert_eq!(target("/srv/www2/a").as_deref(), Some("/srv/www2"));
        assert_eq!(target("/srv/www3"), None);
        assert_eq!(target("/"), None);
    }

    #[test]
    fn without_known_targets_that_of_hyper_nixos_is_meant() {
        let place = Place::find(None, None, &root(), &NoRecords);
        assert_eq!(found(&place), (HYPER_NIXOS_TARGET, STATE_DIR));
        assert_eq!(place.target_origin, Origin::Default);
        let nobody = Place::find(None, None, &Env::empty(), &NoRecords);
        assert_eq!(nobody.state_dir, None);
    }
}
