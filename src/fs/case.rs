//! Whether the target's file system ignores case.

use rustix::fs::{self as sys, AtFlags};

use super::{Error, Target};

/// `f_type` of file systems that ignore case whatever is set (statfs(2)): vfat and exFAT.
const IGNORING: [u64; 2] = [0x4d44, 0x2011_bab0];

impl Target {
    /// Searches for one of its entries in the other case; writes nothing.
    ///
    /// If no name has a letter, the type of the file system decides, and a
    /// directory of ext4 with case folding goes unnoticed until it has a first file.
    pub fn ignores_case(&self) -> Result<bool, Error> {
        let Some(root) = self.root() else {
            return Ok(false);
        };
        for name in self.list(None)? {
            let Ok(name) = String::from_utf8(name) else {
                continue;
            };
            let other = swap_case(&name);
            if other == name {
                continue;
            }
            let inode = |name: &str| {
                sys::statat(root, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_ino)
            };
            return Ok(match (inode(&name), inode(&other)) {
                (Ok(one), Ok(other)) => one == other,
                _ => false,
            });
        }
        let kind = sys::fstatfs(root)
            .map_err(|errno| Error::open_target(self.path(), errno))?
            .f_type;
        Ok(IGNORING
            .iter()
            .any(|known| u64::try_from(kind).is_ok_and(|kind| kind == *known)))
    }
}

fn swap_case(name: &str) -> String {
    let swap = |c: char| {
        if c.is_ascii_lowercase() {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        }
    };
    name.chars().map(swap).collect()
}
