//! Errors of a sync that belong to no single stage.
//!
//! They are beside the union because a sync ends with an error of any stage: so `sync` uses `error`, and `error` does not
//! use `sync`.

use miette::Diagnostic;

use crate::apply::undo::Back;
use crate::exit::Exit;
use crate::git::CommitId;
use crate::source::RefKind;
use crate::state::Unreached;
use crate::text;

/// A policy about commits, or the interplay of stages.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SyncError {
    /// The branch was rewritten, or the forge serves an old commit.
    #[error("`{}` moved from {} to {}, which does not descend from it", text::name(.reference), .from.short(), .to.short())]
    #[diagnostic(
        code(hyper_sync::sync::rewind),
        help(
            "if the branch was rewritten on purpose, `--allow-rewind` follows it; else find out why the repository shows an older or foreign commit; nothing was written"
        )
    )]
    Rewind {
        /// The branch.
        reference: String,
        /// The commit that was applied last.
        from: CommitId,
        /// The commit the branch is at.
        to: CommitId,
    },
    /// A clone whose branch has commits that the repository does not have.
    #[error("`{}` is a clone whose `{}` is at {}, which the repository's `{}` does not have", text::path(.target), text::name(.reference), .head.short(), text::name(.reference))]
    #[diagnostic(
        code(hyper_sync::sync::unpushed),
        help(
            "push what was committed there; `--allow-rewind` takes the files of the repository, and the commits of the clone stay in its `.git`; nothing was written"
        )
    )]
    Unpushed {
        /// The target.
        target: std::path::PathBuf,
        /// The branch.
        reference: String,
        /// The commit that the clone is at.
        head: CommitId,
    },
    /// A base that the repository does not have.
    #[error("the repository has no `{}`, which `--base` names", text::name(.base))]
    #[diagnostic(
        code(hyper_sync::sync::unknown_base),
        help(
            "name a commit by its full id (`git rev-parse HEAD` prints it in a clone), a tag or a branch of the repository; nothing was written"
        )
    )]
    UnknownBase {
        /// What was given.
        base: String,
    },
    /// A base for a target whose files are known.
    #[error("`{}` is at {} since its last sync, so `--base` has no meaning", text::path(.target), .commit.short())]
    #[diagnostic(
        code(hyper_sync::sync::base_known),
        help(
            "leave out `--base`: it says what a directory has before its first sync; nothing was written"
        )
    )]
    BaseKnown {
        /// The target.
        target: std::path::PathBuf,
        /// The commit that it is at.
        commit: CommitId,
    },
    /// `.git` could not be moved into the state directory.
    #[error("`{}` could not be moved into the state directory", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::sync::not_parked),
        help(
            "correct the cause and run `hyper-sync sync --adopt` again; the target is synced, and `.git` is where it was"
        )
    )]
    NotParked {
        /// Its path.
        path: std::path::PathBuf,
        /// What failed.
        source: crate::fs::Failure,
    },
    /// Another repository than the target follows.
    #[error("`{}` follows {followed}, not {}", text::path(.target), text::words(.given))]
    #[diagnostic(
        code(hyper_sync::sync::other_repo),
        help(
            "remove `repo` (`--repo`) to stay with {followed}; `--allow-other-repo` replaces its files by those of the other repository, which is followed from then on; nothing was written"
        )
    )]
    OtherRepo {
        /// The target.
        target: std::path::PathBuf,
        /// The repository that it follows.
        followed: String,
        /// The one of this run.
        given: String,
    },
    /// The directory is in another target, which manages files there.
    #[error("`{}` is in the target `{}`, which has files there", text::path(.target), text::path(.outer))]
    #[diagnostic(
        code(hyper_sync::sync::nested_target),
        help(
            "two targets would undo each other: choose a directory outside, or one that the other target's commit does not have; nothing was written"
        )
    )]
    NestedTarget {
        /// The directory.
        target: std::path::PathBuf,
        /// The target that it is in.
        outer: std::path::PathBuf,
    },
    /// A target that no state directory is about.
    #[error("no state of a target `{}` is known to this user", text::path(.target))]
    #[diagnostic(
        code(hyper_sync::sync::unknown_target),
        help("`hyper-sync targets` lists those that are known; nothing was written")
    )]
    UnknownTarget {
        /// The target.
        target: std::path::PathBuf,
    },
    /// What is to be removed has the only copies of local edits, or a `.git` that was moved there.
    #[error("the state of `{}` has the only copies of: {}", text::path(.target), text::list(.kept))]
    #[diagnostic(
        code(hyper_sync::sync::edits_kept),
        help(
            "`hyper-sync history` lists them and `hyper-sync restore .` puts them back; late edits and a parked `.git` are at the paths named here; `--discard-edits` removes them with the rest; nothing was written"
        )
    )]
    EditsKept {
        /// The target.
        target: std::path::PathBuf,
        /// Where they are.
        kept: Vec<String>,
    },
    /// A new system runs that has not passed its health checks, and the run that checked them has died.
    #[error("the system{} is on trial, and the run that checked it has died", .commit.map(|commit| format!(" of {}", commit.short())).unwrap_or_default())]
    #[diagnostic(
        code(hyper_sync::sync::on_trial),
        help(
            "`hyper-sync revert` activates the former system now, systemd does so at {until}; then run it again; nothing was written"
        )
    )]
    OnTrial {
        /// The commit of the system.
        commit: Option<CommitId>,
        /// When systemd starts the revert.
        until: jiff::Timestamp,
    },
    /// A tag was set anew.
    #[error("the tag `{}` was {} and is {} now", text::name(.reference), .from.short(), .to.short())]
    #[diagnostic(
        code(hyper_sync::sync::moved_tag),
        help(
            "a tag is set once: find out who set it anew; if it was meant, `--allow-rewind` follows it this time, and `trust.moving_tags = true` always; nothing was written"
        )
    )]
    MovedTag {
        /// The tag.
        reference: String,
        /// The commit that it was.
        from: CommitId,
        /// The commit that it is.
        to: CommitId,
    },
    /// A branch took the name of a tag, or a tag that of a branch.
    #[error("`{}` was {was} and is {is} now", text::name(.reference))]
    #[diagnostic(
        code(hyper_sync::sync::ref_kind),
        help(
            "write `refs/heads/{reference}` or `refs/tags/{reference}` to say which one is meant, or follow it as it is now by `--allow-rewind`; nothing was written",
            reference = text::name(.reference)
        )
    )]
    RefKind {
        /// The name.
        reference: String,
        /// What it was.
        was: RefKind,
        /// What it is.
        is: RefKind,
    },
    /// The store was lost, and with it what the last commit had there.
    #[error("the content that the last commit has at `{path}` is not here any more")]
    #[diagnostic(
        code(hyper_sync::sync::content_gone),
        help("`hyper-sync sync` brings it back; nothing was written")
    )]
    ContentGone {
        /// Where.
        path: crate::git::RelPath,
    },
    /// The store was lost, and with it the commit to go back to.
    #[error("the commit {}, to which it would go back, is not here any more", .commit.short())]
    #[diagnostic(
        code(hyper_sync::sync::commit_gone),
        help(
            "`hyper-sync sync --ref {commit}` brings it from the repository; nothing was written"
        )
    )]
    CommitGone {
        /// The commit.
        commit: CommitId,
    },
    /// Nothing is kept that would lead there.
    #[error("{}", no_such(.0))]
    #[diagnostic(
        code(hyper_sync::sync::no_such_update),
        help("`hyper-sync history` lists what is kept; nothing was written")
    )]
    NoSuchUpdate(Back),
    /// A path of somewhere else.
    #[error("`{}` is not in the target `{}`", text::path(.path), text::path(.target))]
    #[diagnostic(
        code(hyper_sync::sync::outside),
        help("name a path of the target, or its place in it; nothing was written")
    )]
    Outside {
        /// The path.
        path: std::path::PathBuf,
        /// The target.
        target: std::path::PathBuf,
    },
    /// No update replaced an edit there.
    #[error("no update that is kept has replaced a local edit{}", of(.path.as_ref()))]
    #[diagnostic(
        code(hyper_sync::sync::no_such_edit),
        help("`hyper-sync history` lists what is kept; nothing was written")
    )]
    NoSuchEdit {
        /// Where; `None`: anywhere.
        path: Option<crate::git::RelPath>,
    },
    /// The commit has something else there now.
    #[error("the local edit of `{path}` cannot be put back: {}", taken(.path, .by))]
    #[diagnostic(
        code(hyper_sync::sync::in_the_way),
        help("move it away first, or take the edit from `{}`; nothing was written", text::path(.kept))
    )]
    InTheWay {
        /// Where the edit was.
        path: crate::git::RelPath,
        /// What stands in its way.
        by: crate::git::RelPath,
        /// The bytes of the edit.
        kept: std::path::PathBuf,
    },
    /// The repository was not reached for longer than `failure_grace`.
    #[error("no sync has ended well since {:.0}; {} did not reach the repository, the last one at {:.0} because {}", .0.since, syncs(.0.count), .0.last, text::message(&.0.cause))]
    #[diagnostic(
        code(hyper_sync::sync::overdue),
        help(
            "run `hyper-sync sync` to see whether it still is so, and correct the cause; `failure_grace` is how long this is not a failure; nothing was written"
        )
    )]
    Overdue(Unreached),
}

impl SyncError {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::OtherRepo { .. }
            | Self::NestedTarget { .. }
            | Self::EditsKept { .. }
            | Self::Rewind { .. }
            | Self::Unpushed { .. }
            | Self::MovedTag { .. }
            | Self::RefKind { .. }
            | Self::InTheWay { .. } => Exit::Conflict,
            Self::ContentGone { .. }
            | Self::CommitGone { .. }
            | Self::NoSuchUpdate(_)
            | Self::NoSuchEdit { .. } => Exit::Failure,
            Self::NotParked { .. } => Exit::FileSystem,
            Self::OnTrial { .. } => Exit::Busy,
            Self::Outside { .. }
            | Self::UnknownTarget { .. }
            | Self::BaseKnown { .. }
            | Self::UnknownBase { .. } => Exit::Usage,
            Self::Overdue(record) if record.rate_limited => Exit::RateLimited,
            Self::Overdue(_) => Exit::Network,
        }
    }
}

fn syncs(count: u32) -> String {
    match count {
        1 => "1 sync".to_owned(),
        count => format!("{count} syncs"),
    }
}

fn taken(path: &crate::git::RelPath, by: &crate::git::RelPath) -> String {
    if path == by {
        "there is a directory in its place now".to_owned()
    } else {
        format!("`{by}` is not a directory any more")
    }
}

fn of(path: Option<&crate::git::RelPath>) -> String {
    path.map_or_else(String::new, |path| format!(" of `{path}`"))
}

fn no_such(back: &Back) -> String {
    match back {
        Back::Updates(1) => "no update is kept that led here from another commit".to_owned(),
        Back::Updates(count) => {
            format!("the updates that are kept lead back to fewer than {count} other commits")
        }
        Back::Commit(begin) => {
            format!("neither an update that is kept nor the object store has a commit `{begin}`")
        }
        Back::At(time) => {
            format!("no update is kept from before {time:.0} that another one came after")
        }
        Back::Before(id, _) => {
            format!(
                "update {id} has no state before it that is kept (the first sync has none), and no commit has an id that begins so"
            )
        }
    }
}
