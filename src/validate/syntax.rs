//! The syntax of every managed Nix file, and of all other files that the configuration names.
//!
//! A fault in a file that the configuration reads is critical. Repositories also contain modules that nobody imports,
//! and Nix does not read those: a fault there is a warning, so that an unused file cannot block every rebuild. The
//! files that are read are found from the flake, through the paths that files name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FilePosition;
use super::findings::Findings;
use super::probe::Probe;
use crate::fs::FileKind;
use crate::nix::names::resolved;
use crate::nix::{Names, SyntaxError};
use crate::text;

const HINT: &str = "correct it: Nix stops at it where the file is used";

/// Every managed `.nix` file parses.
pub(super) fn syntax(probe: &Probe<'_>, findings: &mut Findings) {
    if probe.target.is_err() {
        return findings.skip("there is no target to check");
    }
    let mut files = used(probe);
    let target = &probe.settings().target;
    let managed = probe.managed().into_iter().map(|path| target.join(path));
    for path in managed.filter(|path| is_nix(path)) {
        if !files.contains_key(&path) && path != flake(probe) {
            let text = Text::read(probe, &path, IsUsed::NotSeen);
            files.insert(path, text);
        }
    }
    for (path, text) in &files {
        text.report(path, findings);
    }
    if findings.is_clean() {
        let count = files
            .values()
            .filter(|text| matches!(text.content, FileSyntax::Parsed(_)));
        findings.pass(format!("{} files parse", count.count()));
    }
}

/// A file that was read.
struct Text {
    content: FileSyntax,
    is_used: IsUsed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IsUsed {
    Surely,
    NotSeen,
}

enum FileSyntax {
    Parsed(Names),
    Broken(Arc<str>, SyntaxError),
    Unreadable(std::io::Error),
    /// Missing, or not a regular file, which other checks report.
    Absent,
}

impl Text {
    fn read(probe: &Probe<'_>, path: &Path, is_used: IsUsed) -> Self {
        let content = match probe.read(path) {
            _ if probe.kind(path) != Some(FileKind::File) => FileSyntax::Absent,
            Ok(Some(source)) => match Names::parse(&source) {
                Ok(names) => FileSyntax::Parsed(names),
                Err(error) => FileSyntax::Broken(source.into(), error),
            },
            Ok(None) => FileSyntax::Absent,
            Err(error) => FileSyntax::Unreadable(error),
        };
        Self { content, is_used }
    }

    fn report(&self, path: &Path, findings: &mut Findings) {
        let is_used = self.is_used == IsUsed::Surely;
        match &self.content {
            FileSyntax::Parsed(_) | FileSyntax::Absent => {}
            FileSyntax::Unreadable(error) => {
                let text = format!("`{}` cannot be read: {error}", text::path(path));
                findings.each(is_used, &[text], String::clone, "check its permissions");
            }
            FileSyntax::Broken(source, error) => {
                let place = FilePosition::of(path, source, error);
                let fault = &error.fault;
                if fault.is_limit() {
                    let hint = "only Nix can check whether it is correct";
                    findings.place(false, format!("not checked: {fault}"), place, hint);
                } else if is_used {
                    findings.place(true, fault.to_string(), place, HINT);
                } else {
                    let text = format!("{fault} (in a file that nothing is seen to use)");
                    findings.place(false, text, place, HINT);
                }
            }
        }
    }
}

fn is_nix(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "nix")
}

/// The host flake, whose syntax is checked by `flake`.
fn flake(probe: &Probe<'_>) -> PathBuf {
    probe.settings().rebuild.flake.join("flake.nix")
}

/// The files that the configuration reads: the flakes of the host and of the target, the required files, and all files
/// that these name.
fn used(probe: &Probe<'_>) -> BTreeMap<PathBuf, Text> {
    let settings = probe.settings();
    let flake = flake(probe);
    let mut used = BTreeMap::new();
    let wanted = settings.require.iter().map(|path| path.as_str().into());
    let wanted = wanted.chain(settings.validate.files.iter().cloned());
    let wanted = wanted.chain([PathBuf::from("flake.nix")]);
    let mut pending: Vec<_> = wanted.map(|path| settings.target.join(path)).collect();
    if let FileSyntax::Parsed(names) = Text::read(probe, &flake, IsUsed::Surely).content {
        pending.extend(named(probe, &settings.rebuild.flake, &names));
    }
    while let Some(path) = pending.pop() {
        if used.contains_key(&path) || path == flake || !is_nix(&path) {
            continue;
        }
        let text = Text::read(probe, &path, IsUsed::Surely);
        if let FileSyntax::Parsed(names) = &text.content {
            pending.extend(named(probe, path.parent().unwrap_or(&path), names));
        }
        used.insert(path, text);
    }
    used
}

/// The files that a file in `directory` names; of a directory, its `default.nix`.
fn named(probe: &Probe<'_>, directory: &Path, names: &Names) -> Vec<PathBuf> {
    let target = &probe.settings().target;
    let paths = names.paths.iter().map(|path| resolved(directory, path));
    // Relative to an input or `self`, which may be the target.
    let below = names.below.iter().map(|path| resolved(target, path));
    paths
        .chain(below)
        // Nix has read the files of the store before.
        .filter(|path| !path.starts_with("/nix"))
        .filter_map(|path| match probe.kind(&path)? {
            FileKind::File => Some(path),
            FileKind::Directory => Some(path.join("default.nix")),
            FileKind::Symlink | FileKind::Special => None,
        })
        .collect()
}
