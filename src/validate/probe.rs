//! The target, the state directory and the rest of the system, opened once for all checks.
//!
//! The system outside the target is read below a root directory. Symlinks are followed as if that directory were `/`
//! (`RESOLVE_IN_ROOT`), so that they do not lead out of the root of a test. FIFOs are not opened for reading.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::CheckContext;
use crate::fs::{self, FileKind, PathTarget, Stat, Target, content};
use crate::git::RelPath;
use crate::patterns::Patterns;
use crate::process::SearchPath;
use crate::settings::{Env, HYPER_NIXOS_TARGET, Settings};
use crate::state::{self, Found, Index, StateDir};
use rustix::fs::{self as sys, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

/// How many entries of the target are inspected: it may contain any number of unmanaged files.
const WALK_MAX: usize = 200_000;
/// The maximum size of a text file in the target.
const READ_MAX: u64 = 16 << 20;

/// The input of the checks.
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
    /// A path below it.
    Below(RelPath),
}

/// Everything in the target that is not excluded.
#[derive(Debug, Default)]
pub(super) struct TargetWalk {
    pub(super) entries: BTreeMap<RelPath, Stat>,
    /// Whether there are more entries than were inspected.
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

    /// The part of the target at a path; `None` if the path is outside.
    pub(super) fn in_target(&self, path: &Path) -> Option<Part> {
        let below = path.strip_prefix(&self.settings().target).ok()?;
        if below.as_os_str().is_empty() {
            return Some(Part::Whole);
        }
        let below = RelPath::new(below.as_os_str().as_encoded_bytes()).ok()?;
        Some(Part::Below(below))
    }

    /// The path relative to the target; `None` if it is not below it.
    pub(super) fn below_target(&self, path: &Path) -> Option<RelPath> {
        match self.in_target(path)? {
            Part::Below(below) => Some(below),
            Part::Whole => None,
        }
    }

    pub(super) fn is_excluded(&self, path: &RelPath) -> bool {
        self.settings().exclude.matches(path)
    }

    /// The text of a file of the target, following symlinks inside the target; `None` if it is missing.
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

    /// The text of a file, in the target or elsewhere; `None` if it is missing.
    pub(super) fn read(&self, path: &Path) -> std::io::Result<Option<String>> {
        match self.below_target(path) {
            Some(below) => self.read_target(&below),
            None => self.system.read(path),
        }
    }

    /// `lstat` in the target; `None` also if it fails.
    pub(super) fn target_stat(&self, path: &RelPath) -> Option<Stat> {
        self.target.as_ref().ok()?.stat(path).ok()?
    }

    /// The kind of file at a path, following symlinks, but none that leads out of the target.
    pub(super) fn kind(&self, path: &Path) -> Option<FileKind> {
        match self.below_target(path) {
            Some(below) => {
                let target = self.target.as_ref().ok()?;
                target.stat_led(&below).ok()?.map(|stat| stat.kind)
            }
            None => self.system.stat(path).map(|node| node.kind),
        }
    }

    /// The index of the last sync, if it can be read.
    pub(super) fn index(&self) -> Option<&Index> {
        match self.load_index() {
            Ok(Found::Whole(index)) => Some(index),
            Ok(Found::Absent | Found::Damaged(_)) | Err(_) => None,
        }
    }

    pub(super) fn load_index(&self) -> Result<&Found<Index>, &state::Error> {
        let load = || match &self.state {
            Ok(Some(state)) => Index::load(state),
            // The check `state` reports it.
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
            let managed = index.files.keys().filter(|path| !self.is_excluded(path));
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
            // A name that is not valid in a tree is not managed.
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

/// The maximum size of a text file outside the target.
const SYSTEM_READ_MAX: u64 = 8 << 20;

pub(super) const NOT_REGULAR: &str = "it is not a regular file";

/// The system outside the target, read-only.
pub(super) struct System<'a> {
    root: &'a Path,
    fd: Option<OwnedFd>,
}

/// What is at a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct SystemPath {
    pub(super) kind: FileKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
}

impl SystemPath {
    fn of(stat: &sys::Stat) -> Self {
        Self {
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => FileKind::File,
                FileType::Directory => FileKind::Directory,
                FileType::Symlink => FileKind::Symlink,
                _ => FileKind::Special,
            },
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
        }
    }
}

/// A file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    /// Bytes that this user can still write.
    pub(super) free: u64,
    pub(super) read_only: bool,
    /// Identifies the file system.
    pub(super) device: u64,
}

impl<'a> System<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self {
            root,
            fd: sys::open(root, flags, Mode::empty()).ok(),
        }
    }

    /// A path of the system, below the root directory.
    pub(super) fn real(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// `stat` of a path; `None` if it fails.
    pub(super) fn stat(&self, path: &Path) -> Option<SystemPath> {
        let stat = sys::fstat(self.open(path, OFlags::PATH).ok()?).ok()?;
        Some(SystemPath::of(&stat))
    }

    pub(super) fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.stat(path.as_ref()).is_some()
    }

    /// The text of a regular file; `None` if it is missing.
    pub(super) fn read(&self, path: &Path) -> std::io::Result<Option<String>> {
        // Checked before opening, because opening some devices has an effect, and after, because it may be another
        // file.
        let is_regular = |node: SystemPath| match node.kind {
            FileKind::File => Ok(()),
            FileKind::Symlink | FileKind::Directory | FileKind::Special => {
                Err(std::io::Error::other(NOT_REGULAR))
            }
        };
        match self.stat(path) {
            None => return Ok(None),
            Some(node) => is_regular(node)?,
        }
        let fd = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        is_regular(SystemPath::of(&sys::fstat(&fd)?))?;
        content::text(&File::from(fd), SYSTEM_READ_MAX).map(Some)
    }

    /// The file system of a path, or of the nearest directory above it that exists.
    pub(super) fn space(&self, path: &Path) -> Option<Space> {
        let fd = path
            .ancestors()
            .find_map(|path| self.open(path, OFlags::PATH).ok())?;
        let space = sys::fstatvfs(&fd).ok()?;
        Some(Space {
            free: space.f_bavail.saturating_mul(space.f_frsize),
            read_only: space.f_flag.contains(StatVfsMountFlags::RDONLY),
            device: sys::fstat(&fd).ok()?.st_dev,
        })
    }

    fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let root = self.fd.as_ref().ok_or(Errno::NOENT)?;
        let below = path.strip_prefix("/").unwrap_or(path);
        let below = if below.as_os_str().is_empty() {
            Path::new(".")
        } else {
            below
        };
        loop {
            match sys::openat2(
                root,
                below.as_os_str().as_bytes(),
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            ) {
                // A rename elsewhere on the system raced with the lookup (openat2(2)).
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }
}
