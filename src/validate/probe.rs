//! What the checks see, opened once for all of them.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::CheckContext;
use super::system::{NOT_REGULAR, System};
use crate::fs::{self, FileKind, PathTarget, Stat, Target, content};
use crate::git::RelPath;
use crate::patterns::Patterns;
use crate::process::SearchPath;
use crate::settings::{Env, HYPER_NIXOS_TARGET, Settings};
use crate::state::{self, Found, Index, StateDir};

/// How many names of the target are inspected: what lies unmanaged in it may be any number.
const WALK_MAX: usize = 200_000;
/// No text file of a configuration comes near it.
const READ_MAX: u64 = 16 << 20;

/// The surroundings of one look.
pub(super) struct Probe<'a> {
    pub(super) context: &'a CheckContext<'a>,
    pub(super) system: System<'a>,
    pub(super) target: Result<Target, fs::Error>,
    pub(super) state: Result<Option<StateDir>, state::Error>,
    index: OnceCell<Result<Found<Index>, state::Error>>,
    walk: OnceCell<Result<TargetWalk, fs::Error>>,
}

/// A part of the target.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// The target itself.
    Whole,
    /// What lies below it.
    Below(RelPath),
}

/// Everything in the target that is not excluded.
#[derive(Debug, Default)]
pub(super) struct TargetWalk {
    pub(super) entries: BTreeMap<RelPath, Stat>,
    /// There is more than was inspected.
    pub(super) is_cut: bool,
}

impl<'a> Probe<'a> {
    pub(super) fn new(context: &'a CheckContext<'a>) -> Self {
        let system = System::new(context.root);
        let settings = context.settings;
        Self {
            target: Target::open(&system.real(&settings.target)),
            state: StateDir::find(&system.real(&settings.state_dir), &settings.target),
            index: OnceCell::new(),
            walk: OnceCell::new(),
            context,
            system,
        }
    }

    pub(super) fn settings(&self) -> &'a Settings {
        self.context.settings
    }

    pub(super) fn env(&self) -> &'a Env {
        self.context.env
    }

    /// Whether the target is that of Hyper-NixOS.
    pub(super) fn is_hyper_nixos(&self) -> bool {
        self.settings().target == Path::new(HYPER_NIXOS_TARGET)
    }

    /// What of the target a path is; `None` where it lies elsewhere.
    pub(super) fn in_target(&self, path: &Path) -> Option<Part> {
        let below = path.strip_prefix(&self.settings().target).ok()?;
        if below.as_os_str().is_empty() {
            return Some(Part::Whole);
        }
        let below = RelPath::new(below.as_os_str().as_encoded_bytes()).ok()?;
        Some(Part::Below(below))
    }

    /// The path below the target, where it is one.
    pub(super) fn below_target(&self, path: &Path) -> Option<RelPath> {
        match self.in_target(path)? {
            Part::Below(below) => Some(below),
            Part::Whole => None,
        }
    }

    pub(super) fn is_excluded(&self, path: &RelPath) -> bool {
        self.settings().exclude.matches(path)
    }

    /// The text of a file of the target, or of one that a symlink leads to in it; `None` where nothing is there.
    pub(super) fn read_target(&self, path: &RelPath) -> std::io::Result<Option<String>> {
        let Ok(target) = &self.target else {
            return Ok(None);
        };
        match target.open_led(path).map_err(std::io::Error::other)? {
            PathTarget::Absent => Ok(None),
            PathTarget::File(file) => content::text(&file, READ_MAX).map(Some),
            PathTarget::Other => Err(std::io::Error::other(NOT_REGULAR)),
        }
    }

    /// The text of a file, in the target or elsewhere; `None` where nothing is there.
    pub(super) fn read(&self, path: &Path) -> std::io::Result<Option<String>> {
        match self.below_target(path) {
            Some(below) => self.read_target(&below),
            None => self.system.read(path),
        }
    }

    /// `lstat` in the target; `None` also where it cannot be inspected.
    pub(super) fn target_stat(&self, path: &RelPath) -> Option<Stat> {
        self.target.as_ref().ok()?.stat(path).ok()?
    }

    /// What is at a path, through symlinks; one that leads out of the target is not followed.
    pub(super) fn kind(&self, path: &Path) -> Option<FileKind> {
        match self.below_target(path) {
            Some(below) => {
                let target = self.target.as_ref().ok()?;
                target.stat_led(&below).ok()?.map(|stat| stat.kind)
            }
            None => self.system.stat(path).map(|node| node.kind),
        }
    }

    /// What the last sync wrote, where that is known.
    pub(super) fn index(&self) -> Option<&Index> {
        match self.load_index() {
            Ok(Found::Whole(index)) => Some(index),
            Ok(Found::Absent | Found::Damaged(_)) | Err(_) => None,
        }
    }

    pub(super) fn load_index(&self) -> Result<&Found<Index>, &state::Error> {
        let load = || match &self.state {
            Ok(Some(state)) => Index::load(state),
            // The state has a check of its own.
            Ok(None) | Err(_) => Ok(Found::Absent),
        };
        self.index.get_or_init(load).as_ref()
    }

    /// Everything in the target that is not excluded, managed or not.
    pub(super) fn walk(&self) -> Result<&TargetWalk, &fs::Error> {
        let walk = || match &self.target {
            Ok(target) => walk(target, &self.settings().exclude),
            Err(_) => Ok(TargetWalk::default()),
        };
        self.walk.get_or_init(walk).as_ref()
    }

    /// The managed files; before the first sync, all that are not excluded.
    pub(super) fn managed(&self) -> Vec<RelPath> {
        if let Some(index) = self.index() {
            let managed = index.entries.keys().filter(|path| !self.is_excluded(path));
            return managed.cloned().collect();
        }
        let entries = self.walk().map(|walk| &walk.entries).into_iter().flatten();
        let files = entries.filter(|(_, stat)| stat.kind != FileKind::Directory);
        files.map(|(path, _)| path.clone()).collect()
    }

    /// The path of a program.
    pub(super) fn find_program(&self, name: &str) -> Option<PathBuf> {
        SearchPath::of(self.env()).find_by(name, |path| {
            let node = self.system.stat(path);
            node.is_some_and(|node| node.kind == FileKind::File && node.mode & 0o111 != 0)
        })
    }
}

fn walk(target: &Target, exclude: &Patterns) -> Result<TargetWalk, fs::Error> {
    let mut walk = TargetWalk::default();
    let mut pending = vec![None];
    while let Some(directory) = pending.pop() {
        for name in target.list(directory.as_ref())? {
            // A name that no tree can have is nobody's that we know.
            let Ok(path) = RelPath::join(directory.as_ref(), &name) else {
                continue;
            };
            let Some(stat) = target.stat(&path)? else {
                continue;
            };
            let is_directory = stat.kind == FileKind::Directory;
            let is_excluded = if is_directory {
                exclude.matches_directory(&path)
            } else {
                exclude.matches(&path)
            };
            if is_excluded {
                continue;
            }
            if is_directory {
                pending.push(Some(path.clone()));
            }
            walk.entries.insert(path, stat);
            if walk.entries.len() >= WALK_MAX {
                walk.is_cut = true;
                return Ok(walk);
            }
        }
    }
    Ok(walk)
}
