//! The syntax of every managed Nix file.
//!
//! A fault in a file that the configuration surely reads is critical. Repositories also hold modules that nobody
//! imports, and Nix never reads those: a fault there is a warning, or a machine could never be rebuilt for the sake of
//! a file it does not use. What is read is followed from the flake through the paths that files name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Place;
use super::findings::Findings;
use super::sight::Sight;
use crate::fs::Kind;
use crate::git::RelPath;
use crate::nix::names::resolved;
use crate::nix::{Names, SyntaxError};

const HINT: &str = "correct it: Nix stops at it where the file is used";

/// Every managed `.nix` file parses.
pub(super) fn syntax(sight: &Sight<'_>, findings: &mut Findings) {
    if sight.target.is_err() {
        return findings.skip("there is no target to look at");
    }
    let mut names = BTreeMap::new();
    let mut broken = Vec::new();
    for path in sight.managed().into_iter().filter(is_nix) {
        let source = match sight.read_target(&path) {
            Ok(Some(source)) => source,
            // Missing, or no regular file: integrity tells.
            Ok(None) => continue,
            Err(error) => {
                findings.fault(
                    format!("`{path}` cannot be read: {error}"),
                    "check its permissions and the disk",
                );
                continue;
            }
        };
        match Names::parse(&source) {
            Ok(found) => {
                names.insert(path, found);
            }
            Err(error) => broken.push((path, Arc::<str>::from(source), error)),
        }
    }
    let count = names.len() + broken.len();
    let used = used(sight, &names);
    for (path, source, error) in &broken {
        tell(sight, path, source, error, used.contains(path), findings);
    }
    if broken.is_empty() {
        findings.pass(format!("{count} files parse"));
    }
}

fn tell(
    sight: &Sight<'_>,
    path: &RelPath,
    source: &Arc<str>,
    error: &SyntaxError,
    is_used: bool,
    findings: &mut Findings,
) {
    let place = Place::of(&sight.settings().target.join(path), source, error);
    if error.fault.is_limit() {
        let hint = "whether it is correct, only Nix can tell";
        return findings.place(false, format!("not checked: {}", error.fault), place, hint);
    }
    let text = if is_used {
        error.fault.to_string()
    } else {
        format!("{} (in a file that nothing leads to)", error.fault)
    };
    findings.place(is_used, text, place, HINT);
}

fn is_nix(path: &RelPath) -> bool {
    Path::new(path.name())
        .extension()
        .is_some_and(|extension| extension == "nix")
}

/// The files that are read, followed from where reading begins: the flakes of the machine and of the target, the files
/// that must be there, and then all that they name.
fn used(sight: &Sight<'_>, names: &BTreeMap<RelPath, Names>) -> BTreeSet<RelPath> {
    let settings = sight.settings();
    let mut used = BTreeSet::new();
    let mut pending: Vec<RelPath> = Vec::new();
    let flake = &settings.rebuild.flake;
    let host = sight.read(&flake.join("flake.nix")).ok().flatten();
    if let Some(host) = host.and_then(|source| Names::parse(&source).ok()) {
        pending.extend(named(sight, flake, &host));
    }
    let wanted = settings.require.iter().map(PathBuf::from);
    let wanted = wanted.chain(settings.validate.files.iter().cloned());
    let wanted = wanted.chain([PathBuf::from("flake.nix")]);
    pending.extend(wanted.filter_map(|path| sight.below_target(&settings.target.join(path))));
    while let Some(path) = pending.pop() {
        if let Some(found) = names.get(&path) {
            let above = path
                .parent()
                .map_or_else(PathBuf::new, |path| PathBuf::from(path.as_str()));
            if !used.contains(&path) {
                pending.extend(named(sight, &settings.target.join(above), found));
            }
        }
        used.insert(path);
    }
    used
}

/// The files of the target that a file in `directory` names; of a directory, its `default.nix`.
fn named(sight: &Sight<'_>, directory: &Path, names: &Names) -> Vec<RelPath> {
    let target = &sight.settings().target;
    let paths = names.paths.iter().map(|path| resolved(directory, path));
    // Below what an input or `self` is: that may be the target.
    let below = names.below.iter().map(|path| resolved(target, path));
    paths
        .chain(below)
        .filter_map(|path| sight.below_target(&path))
        .filter_map(|path| match sight.target_stat(&path)?.kind {
            Kind::File => Some(path),
            Kind::Directory => RelPath::join(Some(&path), b"default.nix").ok(),
            Kind::Symlink | Kind::Special => None,
        })
        .collect()
}
