//! Owners and modes: who may change the files that root builds the system from, and who may read the token.

use std::path::{Path, PathBuf};

use super::findings::Findings;
use super::probe::{Probe, SystemPath};
use super::repair::Repair;
use crate::fs::{FileKind, Stat};
use crate::git::RelPath;
use crate::text;
use crate::token::{self, TokenSearch};
use crate::vetted::{Untrusted, UntrustedReason};

const WRITABLE_BY_OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Checks owners, world-writable files and the token file.
pub(super) fn permissions(probe: &Probe<'_>, findings: &mut Findings) {
    above(probe, findings);
    inside(probe, findings);
    token(probe, findings);
    if findings.is_clean() {
        findings.pass("nobody else may change the target, the flake or the state");
    }
}

/// Removes excess permissions, and changes nothing else.
pub(super) fn close(probe: &Probe<'_>) -> Vec<Repair> {
    let above = open_above(probe).into_iter();
    let mut repairs: Vec<_> = above
        .map(|(path, node)| Repair::set_mode(path, node.mode & !WRITABLE_BY_OTHERS))
        .collect();
    let target = &probe.settings().target;
    repairs.extend(open_inside(probe).into_iter().map(|(path, stat)| {
        let is_managed = path.as_ref().is_some_and(|path| is_managed(probe, path));
        let path = path.map_or_else(|| target.clone(), |path| target.join(path));
        let excess = if is_managed { stat.excess() } else { 0 };
        Repair::set_mode(path, stat.mode & !(WRITABLE_BY_OTHERS | excess))
    }));
    repairs.extend(
        excess_modes(probe)
            .into_iter()
            .map(|(path, stat)| Repair::set_mode(target.join(path), stat.mode & !stat.excess())),
    );
    if let Some(token::Error::File(Untrusted {
        path,
        refusal: UntrustedReason::Mode(mode),
        ..
    })) = token_problem(probe)
    {
        let path = path
            .strip_prefix(probe.context.root)
            .map_or(path.clone(), |path| Path::new("/").join(path));
        repairs.push(Repair::set_mode(path, mode & 0o700));
    }
    repairs
}

/// The target, the flake, the state directory and all directories above them.
fn ancestors(probe: &Probe<'_>) -> Vec<(PathBuf, SystemPath)> {
    let settings = probe.settings();
    let mut paths: Vec<&Path> = Vec::new();
    for path in [
        &settings.target,
        &settings.rebuild.flake,
        &settings.state_dir,
    ] {
        for above in path.ancestors() {
            if !paths.contains(&above) {
                paths.push(above);
            }
        }
    }
    paths.sort();
    let nodes = paths
        .into_iter()
        .filter_map(|path| Some((path.to_owned(), probe.system.stat(path)?)));
    nodes.collect()
}

fn open_above(probe: &Probe<'_>) -> Vec<(PathBuf, SystemPath)> {
    let is_open =
        |node: &SystemPath| node.mode & WRITABLE_BY_OTHERS != 0 && node.mode & STICKY == 0;
    let nodes = ancestors(probe).into_iter();
    nodes
        .filter(|(path, node)| is_open(node) && *path != probe.settings().target)
        .collect()
}

fn above(probe: &Probe<'_>, findings: &mut Findings) {
    for (path, _) in open_above(probe) {
        findings.fault(
            format!("everybody may write into `{}`", text::path(&path)),
            "a user who can write there can replace the configuration; `--fix` takes the right from them",
        );
    }
    let us = rustix::process::geteuid().as_raw();
    for (path, node) in ancestors(probe) {
        if node.uid != 0 && node.uid != us {
            findings.warn(
                format!("`{}` belongs to the user with id {}", text::path(&path), node.uid),
                "that user decides what is built as root; `chown root:root` it unless you want that",
            );
        }
    }
}

/// The target and the files in it that are world-writable.
fn open_inside(probe: &Probe<'_>) -> Vec<(Option<RelPath>, Stat)> {
    let Ok(target) = &probe.target else {
        return Vec::new();
    };
    let own = target.own_stat().ok().flatten().map(|stat| (None, stat));
    let walk = probe.walk().map(|walk| &walk.entries).into_iter().flatten();
    let inside = walk.map(|(path, stat)| (Some(path.clone()), *stat));
    let is_open = |stat: &Stat| {
        // The mode of a symlink has no effect.
        matches!(stat.kind, FileKind::File | FileKind::Directory)
            && stat.mode & WRITABLE_BY_OTHERS != 0
    };
    own.into_iter()
        .chain(inside)
        .filter(|(_, stat)| is_open(stat))
        .collect()
}

/// Managed files with modes that no sync writes, except world-writable ones, which are reported separately.
fn excess_modes(probe: &Probe<'_>) -> Vec<(RelPath, Stat)> {
    let walk = probe.walk().map(|walk| &walk.entries).into_iter().flatten();
    let has_excess = |stat: &Stat| {
        stat.kind == FileKind::File && stat.excess() != 0 && stat.mode & WRITABLE_BY_OTHERS == 0
    };
    walk.filter(|(path, stat)| has_excess(stat) && is_managed(probe, path))
        .map(|(path, stat)| (path.clone(), *stat))
        .collect()
}

fn is_managed(probe: &Probe<'_>, path: &RelPath) -> bool {
    probe
        .index()
        .is_some_and(|index| index.files.contains_key(path))
}

fn inside(probe: &Probe<'_>, findings: &mut Findings) {
    findings.each(
        true,
        &open_inside(probe),
        |(path, _)| {
            format!(
                "everybody may write `{}`",
                path.as_ref().map_or(".", RelPath::as_str)
            )
        },
        "a user who can write it controls what root builds; `--fix` takes the right from them",
    );
    findings.each(
        false,
        &excess_modes(probe),
        |(path, stat)| {
            format!(
                "`{path}` has the mode {:04o}, which no sync writes",
                stat.mode
            )
        },
        "the next sync sets it back, and so does `--fix`",
    );
    let us = rustix::process::geteuid().as_raw();
    let walk = probe.walk().map(|walk| &walk.entries).into_iter().flatten();
    let foreign: Vec<_> = walk
        .filter(|(_, stat)| stat.uid != 0 && stat.uid != us)
        .collect();
    findings.each(
        false,
        &foreign,
        |(path, stat)| format!("`{path}` belongs to the user with id {}", stat.uid),
        "that user decides what is built as root; `chown root:root` it unless you want that",
    );
}

fn token(probe: &Probe<'_>, findings: &mut Findings) {
    if let Some(error) = token_problem(probe) {
        findings.error(&error);
    }
}

/// Why the token of a sync must not be used. The content of the token is never printed.
fn token_problem(probe: &Probe<'_>) -> Option<token::Error> {
    let search = TokenSearch::of(probe.settings(), probe.env())?;
    let file = search.token_file.map(|path| probe.system.real(path));
    let search = TokenSearch {
        token_file: file.as_deref(),
        root: probe.context.root,
        ..search
    };
    search.run().err()
}
