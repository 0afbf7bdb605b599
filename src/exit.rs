//! The exit codes: one table, for the process, the documentation and the tests. Which one an error has stands beside
//! the error.

use std::process::ExitCode;

/// How a run ended, as the exit code of the process. The numbers never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Validation found critical failures, a health check failed, or hyper-sync itself did.
    Failure = 1,
    /// A setting is wrong; for `validate`: warnings only.
    Configuration = 2,
    /// The remote could not be reached or answered nonsense.
    Network = 3,
    /// The remote wants other credentials, or none of ours may read the repository.
    Authentication = 4,
    /// The remote's rate limit is used up.
    RateLimited = 5,
    /// What the remote sent does not match its ids, or has no good signature by a required key.
    Verification = 6,
    /// The commit holds something that must not be written.
    UnsafeTree = 7,
    /// Local files, or a policy about them, conflict with the update.
    Conflict = 8,
    /// The local file system refused.
    FileSystem = 9,
    /// Another run is active.
    Busy = 10,
    /// The rebuild failed; the report names the commit that the tree is at.
    Rebuild = 11,
    /// A broken state that needs a person.
    NeedsPerson = 12,
    /// The system was rolled back, or a commit that failed is not tried again.
    RolledBack = 13,
    /// `--exit-code`: changes wait.
    ChangesWait = 20,
    /// The command line is wrong (`EX_USAGE` of `sysexits.h`).
    Usage = 64,
    /// `overdue`: the repository was not reached, and not for long (`EX_TEMPFAIL` of `sysexits.h`).
    TryAgain = 75,
    /// Stopped by a signal before anything was changed (what a shell calls 128 + SIGINT).
    Interrupted = 130,
}

impl Exit {
    /// Every code, in order, with the words the documentation prints.
    pub const TABLE: &[(Self, &str)] = &[
        (Self::Done, "done, or nothing to do"),
        (
            Self::Failure,
            "failure: validation, a health check, or hyper-sync itself",
        ),
        (
            Self::Configuration,
            "configuration (for `validate`: warnings only)",
        ),
        (
            Self::Network,
            "network: the remote was not reached or answered nonsense",
        ),
        (
            Self::Authentication,
            "authentication refused, or no permission",
        ),
        (Self::RateLimited, "rate limited"),
        (
            Self::Verification,
            "verification failed: bytes that are not what their ids say, or no good signature",
        ),
        (
            Self::UnsafeTree,
            "unsafe tree: the commit holds something that must not be written",
        ),
        (
            Self::Conflict,
            "conflict with local files or with a policy about them",
        ),
        (Self::FileSystem, "local file system"),
        (Self::Busy, "another run is active"),
        (Self::Rebuild, "rebuild failed"),
        (Self::NeedsPerson, "recovery needs a person"),
        (
            Self::RolledBack,
            "rolled back, or a commit that failed is not tried again",
        ),
        (Self::ChangesWait, "changes wait (`--exit-code`)"),
        (Self::Usage, "usage: the command line is wrong"),
        (
            Self::TryAgain,
            "`overdue`: the last sync did not reach the repository, but not for long: try again soon",
        ),
        (
            Self::Interrupted,
            "stopped by a signal before anything was changed",
        ),
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_in_order() {
        let codes: Vec<u8> = Exit::TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(
            codes,
            [
                0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 20, 64, 75, 130
            ]
        );
    }
}
