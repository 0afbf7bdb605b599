//! Whose files may decide something that root does: the rule of git's `safe.directory`.

use super::Stat;

/// The users who may have written what is read: root, the user this runs as, and the one who called `sudo`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrustedOwners {
    user: u32,
    caller: Option<u32>,
}

impl TrustedOwners {
    /// With the user who called `sudo`, if root runs this for somebody.
    pub(crate) fn with_caller(caller: Option<u32>) -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            caller,
        }
    }

    /// Whether only they can have written it, or into it.
    pub(crate) fn trust(&self, stat: &Stat) -> bool {
        let known = [Some(0), Some(self.user), self.caller];
        known.contains(&Some(stat.uid)) && stat.mode & 0o002 == 0
    }
}
