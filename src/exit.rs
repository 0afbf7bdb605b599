//! The exit codes: one table, for the process, the documentation and the tests.

use std::process::ExitCode;

use crate::git::{commit, tree};
use crate::{
    Error, apply, fs, lock, objects, plan, rebuild, scan, settings, signature, source, state, sync,
    token, validate,
};

/// How a run ended, as the process tells it. The numbers never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Validation found critical failures, or hyper-sync itself failed.
    Failure = 1,
    /// A setting is wrong; for `validate`: warnings only.
    Configuration = 2,
    /// The remote could not be reached or answered nonsense.
    Network = 3,
    /// The remote wants other credentials, or none of ours may read the repository.
    Authentication = 4,
    /// The remote's rate limit is used up.
    RateLimited = 5,
    /// What the remote sent is not what its ids say, or not signed by whom it must be.
    Verification = 6,
    /// The commit holds something that must not be written.
    UnsafeTree = 7,
    /// Local files, or a policy about them, stand against the update.
    Conflict = 8,
    /// The local file system refused.
    FileSystem = 9,
    /// Another run is active.
    Busy = 10,
    /// The rebuild failed; the report says which commit the tree is at.
    Rebuild = 11,
    /// A broken state that needs a person.
    NeedsPerson = 12,
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
        (Self::Failure, "failure: validation, or hyper-sync itself"),
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

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error {
            Error::Usage(_) => Exit::Usage,
            Error::Settings(error) => of_settings(error),
            Error::Token(error) => of_token(error),
            Error::Target(error) => of_target(error),
            Error::State(error) => of_state(error),
            Error::Lock(error) => of_lock(error),
            Error::Signature(error) => of_signature(error),
            Error::Source(error) => of_source(error),
            Error::Store(error) => of_store(error),
            Error::Scan(error) => of_scan(error),
            Error::Plan(error) => of_plan(error),
            Error::Sync(error) => of_sync(error),
            Error::Apply(error) => of_apply(error),
            Error::Undo(error) => of_undo(error),
            Error::Rebuild(error) => of_rebuild(error),
            Error::Validate(error) => of_validate(error),
        }
    }
}

fn of_settings(error: &settings::Error) -> Exit {
    if error.is_usage() {
        Exit::Usage
    } else {
        Exit::Configuration
    }
}

fn of_token(error: &token::Error) -> Exit {
    match error {
        token::Error::Missing { .. }
        | token::Error::Io { .. }
        | token::Error::NotAFile { .. }
        | token::Error::Mode { .. }
        | token::Error::Owner { .. }
        | token::Error::Exposed { .. }
        | token::Error::TooLarge { .. }
        | token::Error::Content { .. } => Exit::Configuration,
    }
}

fn of_target(error: &fs::Error) -> Exit {
    match error {
        fs::Error::TargetMissing { .. }
        | fs::Error::TargetSymlink { .. }
        | fs::Error::TargetNotADirectory { .. }
        | fs::Error::TargetParentMissing { .. }
        | fs::Error::TargetExposed { .. } => Exit::Configuration,
        fs::Error::UnsupportedKernel
        | fs::Error::TargetIo { .. }
        | fs::Error::ForeignMount { .. }
        | fs::Error::Change(_)
        | fs::Error::Io { .. } => Exit::FileSystem,
    }
}

fn of_state(error: &state::Error) -> Exit {
    match error {
        state::Error::NotADirectory { .. }
        | state::Error::ForeignOwner { .. }
        | state::Error::Writable { .. }
        | state::Error::Exposed { .. }
        | state::Error::OtherTarget { .. }
        | state::Error::Newer { .. } => Exit::Configuration,
        state::Error::Io(_) => Exit::FileSystem,
    }
}

fn of_lock(error: &lock::Error) -> Exit {
    match error {
        lock::Error::Busy { .. } => Exit::Busy,
        lock::Error::Interrupted => Exit::Interrupted,
        lock::Error::Io { .. } => Exit::FileSystem,
    }
}

fn of_store(error: &objects::Error) -> Exit {
    match error {
        objects::Error::Io { .. } => Exit::FileSystem,
    }
}

fn of_source(error: &source::Error) -> Exit {
    use source::Error as E;
    match error {
        E::Address { .. }
        | E::UnknownRef { .. }
        | E::UnknownCommit { .. }
        | E::EmptyRepository { .. }
        | E::Sha256 { .. }
        | E::NoSuchRoute { .. }
        | E::Unsuited { .. }
        | E::NoRepository { .. }
        | E::OldProtocol { .. }
        | E::Program { .. } => Exit::Configuration,
        E::Unreachable { .. }
        | E::Timeout { .. }
        | E::ServerError { .. }
        | E::NotAForge { .. }
        | E::Redirect { .. }
        | E::LoginPage { .. }
        | E::Certificate { .. }
        | E::NoTls { .. }
        | E::Protocol { .. }
        | E::Refused { .. } => Exit::Network,
        E::Unauthorized { .. } | E::Forbidden { .. } | E::NoPermission { .. } => {
            Exit::Authentication
        }
        E::LoginWanted { .. } | E::RateLimited { .. } => Exit::RateLimited,
        E::Commit { fault, .. } => of_commit(fault),
        E::Tree { fault, .. } => of_tree(fault),
        E::Malformed { .. }
        | E::DamagedRepository { .. }
        | E::Pack { .. }
        | E::Unproven { .. }
        | E::UnprovenDescent { .. }
        | E::Blob { .. }
        | E::Collision { .. }
        | E::Incomplete { .. }
        | E::Listing { .. } => Exit::Verification,
        E::Symlink { .. } | E::CaseCollision { .. } | E::TooLarge { .. } => Exit::UnsafeTree,
        E::Interrupted => Exit::Interrupted,
        E::Setup(error) => of_setup(error),
        E::Ssh(error) => of_ssh(error),
        E::Store(error) => of_store(error),
        E::Scan(error) => of_scan(error),
        E::Signature(error) => of_signature(error),
    }
}

fn of_setup(error: &source::SetupError) -> Exit {
    use source::SetupError as E;
    match error {
        E::PlainHttp { .. } | E::Proxy { .. } | E::CaFile { .. } | E::NoCertificates { .. } => {
            Exit::Configuration
        }
        E::Client { .. } => Exit::Failure,
    }
}

fn of_ssh(error: &source::SshError) -> Exit {
    use source::SshError as E;
    match error {
        E::Key { .. } => Exit::Configuration,
        E::HostKeyUnknown { .. } | E::HostKey { .. } | E::Login { .. } => Exit::Authentication,
    }
}

/// A file of signers that cannot be used is a matter of configuration; a commit that none of them signed, of the commit.
fn of_signature(error: &signature::Error) -> Exit {
    use signature::Error as E;
    match error {
        E::Missing { .. }
        | E::Unreadable { .. }
        | E::NotAFile { .. }
        | E::Mode { .. }
        | E::Owner { .. }
        | E::Exposed { .. }
        | E::TooLarge { .. }
        | E::Content { .. }
        | E::Line { .. }
        | E::Program { .. } => Exit::Configuration,
        E::Scratch { .. } => Exit::FileSystem,
        E::Interrupted => Exit::Interrupted,
        E::Unfinished { .. }
        | E::Unsigned { .. }
        | E::OtherFormat { .. }
        | E::Several { .. }
        | E::Bad { .. }
        | E::Unlisted { .. }
        | E::KeyRefused { .. }
        | E::Unavailable { .. } => Exit::Verification,
    }
}

fn of_commit(fault: &commit::Fault) -> Exit {
    match fault {
        commit::Fault::OtherId { .. } | commit::Fault::Malformed | commit::Fault::Collision(_) => {
            Exit::Verification
        }
    }
}

/// Bytes that cannot be the tree are the remote's fault; a tree that git could store, the commit's.
fn of_tree(fault: &tree::Fault) -> Exit {
    match fault {
        tree::Fault::OtherId { .. }
        | tree::Fault::Collision { .. }
        | tree::Fault::Malformed { .. }
        | tree::Fault::Unsorted { .. } => Exit::Verification,
        tree::Fault::Duplicate { .. }
        | tree::Fault::SameName { .. }
        | tree::Fault::Path { .. }
        | tree::Fault::Mode { .. }
        | tree::Fault::NullId { .. }
        | tree::Fault::TooLarge { .. } => Exit::UnsafeTree,
    }
}

fn of_scan(error: &scan::Error) -> Exit {
    match error {
        scan::Error::Target(error) => of_target(error),
        scan::Error::Read { .. } => Exit::FileSystem,
    }
}

fn of_plan(error: &plan::Error) -> Exit {
    match error {
        plan::Error::Conflicts { .. }
        | plan::Error::RequiredGone { .. }
        | plan::Error::MassDelete { .. } => Exit::Conflict,
    }
}

fn of_sync(error: &sync::Error) -> Exit {
    match error {
        sync::Error::Rewind { .. }
        | sync::Error::MovedTag { .. }
        | sync::Error::RefKind { .. }
        | sync::Error::InTheWay { .. } => Exit::Conflict,
        sync::Error::ContentGone { .. }
        | sync::Error::CommitGone { .. }
        | sync::Error::NoSuchUpdate(_)
        | sync::Error::NoSuchEdit { .. } => Exit::Failure,
        sync::Error::Outside { .. } => Exit::Usage,
        sync::Error::Overdue(record) if record.rate_limited => Exit::RateLimited,
        sync::Error::Overdue(_) => Exit::Network,
    }
}

fn of_apply(error: &apply::Error) -> Exit {
    use apply::Error as E;
    match error {
        E::Interrupted => Exit::Interrupted,
        E::Stale { .. } => Exit::Conflict,
        E::CaseCollision { .. } => Exit::UnsafeTree,
        E::TargetReplaced { .. }
        | E::Immutable { .. }
        | E::Denied { .. }
        | E::ReadOnly { .. }
        | E::NoSpace { .. }
        | E::UnsupportedFileSystem { .. }
        | E::StagingBlocked { .. }
        | E::Content { .. }
        | E::RecoveryFirst
        | E::Unfinished { .. } => Exit::FileSystem,
        E::NeedsPerson { .. } => Exit::NeedsPerson,
        E::State(error) => of_state(error),
        E::Store(error) => of_store(error),
        E::Target(error) => of_target(error),
    }
}

fn of_undo(error: &apply::undo::Error) -> Exit {
    use apply::undo::Error as E;
    match error {
        E::NotReplaced { .. } => Exit::Configuration,
        E::Gone { .. } | E::Damaged { .. } | E::ContentDamaged { .. } => Exit::NeedsPerson,
        E::State(error) => of_state(error),
    }
}

fn of_rebuild(error: &rebuild::Error) -> Exit {
    use rebuild::Error;
    match error {
        Error::FlakeMissing { .. }
        | Error::FlakeUnreadable { .. }
        | Error::HostUnclear { .. }
        | Error::HostUnknown { .. } => Exit::Configuration,
        Error::ProgramMissing { .. }
        | Error::Spawn { .. }
        | Error::Build { .. }
        | Error::LeftOut { .. }
        | Error::OtherTree { .. }
        | Error::SelfRemoval { .. }
        | Error::Activation { .. }
        | Error::Degraded { .. }
        | Error::RebootNeeded { .. }
        | Error::TimedOut { .. }
        | Error::Interrupted { .. } => Exit::Rebuild,
        Error::Busy { .. } => Exit::Busy,
        Error::State(error) => of_state(error),
    }
}

fn of_validate(error: &validate::Error) -> Exit {
    use validate::Error;
    match error {
        Error::Target(error) => of_target(error),
        Error::State(error) => of_state(error),
        Error::ReadOnly { .. } | Error::NotWritable { .. } | Error::NoRoom { .. } => {
            Exit::FileSystem
        }
        Error::Critical { .. } => Exit::Failure,
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
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 64, 75, 130]
        );
    }
}
