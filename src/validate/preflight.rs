//! The checks before a sync: only what makes it unsafe, because a sync may repair everything else.

use std::path::Path;

use rustix::fs::{self as sys, Access, AtFlags};
use rustix::io::Errno;

use super::probe::System;
use super::{CheckContext, Error};
use crate::fs::Target;
use crate::state::{Index, StateDir};

/// The minimum free space, in which the record of a failure can be written. An update itself checks the space that it
/// needs.
const ROOM_MIN: u64 = 16 << 20;

/// Checks, before a sync, that its target and its state can be written and trusted. Writes nothing.
pub fn preflight(context: &CheckContext<'_>) -> Result<(), Error> {
    let settings = context.settings;
    let system = System::new(context.root);
    let target = Target::open_or_absent(&system.real(&settings.target))?;
    if let Some(state) = StateDir::find(&system.real(&settings.state_dir), &settings.target)? {
        Index::load(&state)?;
    }
    for path in [&settings.target, &settings.state_dir] {
        let Some(space) = system.space(path) else {
            continue;
        };
        let path = path.clone();
        if space.read_only {
            return Err(Error::ReadOnly { path });
        }
        if space.free < ROOM_MIN {
            let free = space.free;
            return Err(Error::NoRoom { path, free });
        }
    }
    let above = target.path().parent().unwrap_or(Path::new("/"));
    let access = Access::WRITE_OK | Access::EXEC_OK;
    let may_write = target.root().map_or_else(
        || sys::accessat(sys::CWD, above, access, AtFlags::EACCESS),
        |root| sys::accessat(root, ".", access, AtFlags::EACCESS),
    );
    may_write.map_err(|errno| {
        let path = settings.target.clone();
        match errno {
            Errno::ROFS => Error::ReadOnly { path },
            _ => Error::NotWritable { path },
        }
    })
}
