//! The directories above something that root relies on: nobody else may be able to change what is in them.
//!
//! Whoever may write into a directory can put another one in the place of any that is in it, whatever the modes of that.
//! So each is judged on the way from `/`, by the handle through which the next one is then opened. For anybody but root
//! nothing is judged: they can only harm themselves, and homes are laid out in many ways.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self as sys, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Links that are followed before it counts as a loop, as the kernel does (`MAXSYMLINKS`).
const HOPS: u32 = 40;

const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Who else could change what is in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposure {
    /// Nobody, or this is not judged.
    None,
    /// A group, or everybody.
    Others,
    /// This user, to whom it belongs.
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

/// A place that nobody else can exchange.
#[derive(Debug)]
pub(crate) struct TrustedParent {
    /// The directory it is in, for looking up names.
    pub(crate) directory: OwnedFd,
    /// Its name there, at which perhaps nothing is.
    pub(crate) name: OsString,
}

/// Whether a symlink at the very place is followed; those above it are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastSymlink {
    Followed,
    Kept,
}

/// Why a place is not relied on.
#[derive(Debug)]
pub(crate) enum UnsafeParent {
    /// This, which is above it or a symlink on the way, can be changed by somebody else.
    Exposed(PathBuf),
    /// The system refuses, or something above it is not there.
    Io(Errno),
}

/// Goes the way to a path. What is on it may belong to root and to `also`.
pub(crate) fn judged(
    path: &Path,
    last: LastSymlink,
    also: Option<u32>,
) -> Result<TrustedParent, UnsafeParent> {
    let path = std::path::absolute(path).map_err(|_| UnsafeParent::Io(Errno::INVAL))?;
    let mut way = PathWalk {
        stack: Vec::new(),
        also,
    };
    let root = sys::open("/", LOOK | OFlags::DIRECTORY, Mode::empty()).map_err(UnsafeParent::Io)?;
    way.enter(root, PathBuf::from("/"))?;
    let mut pending = components(&path);
    let mut hops = 0;
    while let Some(name) = pending.pop() {
        if name == ".." {
            way.stack.truncate((way.stack.len() - 1).max(1));
            continue;
        }
        let is_last = pending.is_empty();
        let Some((here, at)) = way.stack.last() else {
            break;
        };
        let found = match sys::openat(here, &name, LOOK, Mode::empty()) {
            Ok(found) => found,
            Err(Errno::NOENT) if is_last => return way.arrived(name),
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
                // In a directory where everybody may make names, it can lead to another place at any time.
                let is_root = rustix::process::geteuid().is_root();
                if is_root && stat.st_uid != 0 && Some(stat.st_uid) != also {
                    return Err(UnsafeParent::Exposed(at));
                }
                let text = sys::readlinkat(&found, "", Vec::new()).map_err(UnsafeParent::Io)?;
                let text = PathBuf::from(OsString::from_vec(text.into_bytes()));
                if text.is_absolute() {
                    way.stack.truncate(1);
                }
                pending.extend(components(&text));
            }
            _ if is_last => return way.arrived(name),
            FileType::Directory => way.enter(found, at)?,
            _ => return Err(UnsafeParent::Io(Errno::NOTDIR)),
        }
    }
    // `/` itself, or a link that ends in `..`: a directory.
    way.arrived(OsString::from("."))
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
