//! Checks the directories above a file that root relies on: no other user may be able to change their entries.
//!
//! A user who may write into a directory can replace any directory in it, whatever its mode. So each directory is
//! checked from `/` on, by the descriptor through which the next one is opened. For other users than root nothing is
//! checked: they can only harm themselves, and home directories are set up in many ways.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self as sys, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Links that are followed before it counts as a loop, as the kernel does (`MAXSYMLINKS`).
const HOPS: u32 = 40;

const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Which other users could change the entries of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposure {
    /// None, or it is not checked.
    None,
    /// A group, or everybody.
    Others,
    /// The user who owns it.
    User(u32),
}

/// Checks a directory by what `fstat` returned.
pub(super) fn exposure(stat: &sys::Stat) -> Exposure {
    if !rustix::process::geteuid().is_root() {
        return Exposure::None;
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    let others = mode.contains(Mode::WOTH) || (mode.contains(Mode::WGRP) && stat.st_gid != 0);
    if others && !mode.contains(Mode::SVTX) {
        Exposure::Others
    } else if stat.st_uid != 0 {
        Exposure::User(stat.st_uid)
    } else {
        Exposure::None
    }
}

/// A path that no other user can replace.
#[derive(Debug)]
pub(crate) struct TrustedParent {
    /// The directory it is in, for looking up names.
    pub(crate) directory: OwnedFd,
    /// Its name there, which may not exist.
    pub(crate) name: OsString,
}

/// Whether a symlink at the path itself is followed; those above are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastSymlink {
    Followed,
    Kept,
}

/// Why a path is not trusted.
#[derive(Debug)]
pub(crate) enum UnsafeParent {
    /// This directory above it, or symlink in the path, can be changed by another user.
    Exposed(PathBuf),
    /// The system refuses, or something above it is not there.
    Io(Errno),
}

/// Walks a path and checks each component, which may belong to root and to `also`.
pub(crate) fn judged(
    path: &Path,
    last: LastSymlink,
    also: Option<u32>,
) -> Result<TrustedParent, UnsafeParent> {
    let path = std::path::absolute(path).map_err(|_| UnsafeParent::Io(Errno::INVAL))?;
    let mut walk = PathWalk {
        stack: Vec::new(),
        also,
    };
    let root = sys::open("/", LOOK | OFlags::DIRECTORY, Mode::empty()).map_err(UnsafeParent::Io)?;
    walk.enter(root, PathBuf::from("/"))?;
    let mut pending = components(&path);
    let mut hops = 0;
    while let Some(name) = pending.pop() {
        if name == ".." {
            walk.stack.truncate((walk.stack.len() - 1).max(1));
            continue;
        }
        let is_last = pending.is_empty();
        let Some((here, at)) = walk.stack.last() else {
            break;
        };
        let found = match sys::openat(here, &name, LOOK, Mode::empty()) {
            Ok(found) => found,
            Err(Errno::NOENT) if is_last => return walk.arrived(name),
            Err(errno) => return Err(UnsafeParent::Io(errno)),
        };
        let stat = sys::fstat(&found).map_err(UnsafeParent::Io)?;
        let at = at.join(&name);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink if !is_last || last == LastSymlink::Followed => {
                hops += 1;
                if hops > HOPS {
                    return Err(UnsafeParent::Io(Errno::LOOP));
                }
                // In a directory where everybody may create names, its owner can change where it leads.
                let is_root = rustix::process::geteuid().is_root();
                if is_root && stat.st_uid != 0 && Some(stat.st_uid) != also {
                    return Err(UnsafeParent::Exposed(at));
                }
                let text = sys::readlinkat(&found, "", Vec::new()).map_err(UnsafeParent::Io)?;
                let text = PathBuf::from(OsString::from_vec(text.into_bytes()));
                if text.is_absolute() {
                    walk.stack.truncate(1);
                }
                pending.extend(components(&text));
            }
            _ if is_last => return walk.arrived(name),
            FileType::Directory => walk.enter(found, at)?,
            _ => return Err(UnsafeParent::Io(Errno::NOTDIR)),
        }
    }
    // `/` itself, or a link that ends in `..`: a directory.
    walk.arrived(OsString::from("."))
}

struct PathWalk {
    stack: Vec<(OwnedFd, PathBuf)>,
    also: Option<u32>,
}

impl PathWalk {
    fn enter(&mut self, directory: OwnedFd, path: PathBuf) -> Result<(), UnsafeParent> {
        let stat = sys::fstat(&directory).map_err(UnsafeParent::Io)?;
        match exposure(&stat) {
            Exposure::None => {}
            Exposure::User(uid) if Some(uid) == self.also => {}
            Exposure::Others | Exposure::User(_) => return Err(UnsafeParent::Exposed(path)),
        }
        self.stack.push((directory, path));
        Ok(())
    }

    fn arrived(mut self, name: OsString) -> Result<TrustedParent, UnsafeParent> {
        let (directory, _) = self.stack.pop().ok_or(UnsafeParent::Io(Errno::NOENT))?;
        Ok(TrustedParent { directory, name })
    }
}

/// The components of a path, last first, without those that lead nowhere.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::from_bytes(b"..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<OsString> = names.map(OsStr::to_owned).collect();
    names.reverse();
    names
}
