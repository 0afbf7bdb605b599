//! Why an update is not planned.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use miette::Diagnostic;
use serde::{Serialize, Serializer};

use crate::exit::Exit;
use crate::git::RelPath;
use crate::text;

/// A path that conflicts with the update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// Where.
    pub path: RelPath,
    /// The conflict.
    pub problem: ConflictKind,
}

/// What is in the way of an update, as [`Display`](fmt::Display) and JSON word it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConflictKind {
    /// An edited file that the commit changes.
    Changed,
    /// An edited file that the commit deletes.
    Deleted,
    /// A file that no sync has written.
    Foreign,
    /// A directory with local files in place of a file.
    Directory,
    /// A socket, FIFO or device.
    Special,
    /// A file in place of a directory.
    NoDirectory,
    /// An edited file that the commit changes, and why the two are not merged.
    NotMerged(Cow<'static, str>),
}

impl ConflictKind {
    /// Whether `local_edits` decides about it.
    fn is_edit(&self) -> bool {
        matches!(
            self,
            Self::Changed | Self::Deleted | Self::Foreign | Self::NotMerged(_)
        )
    }

    /// The same of `count` files.
    fn of_files(&self, count: usize) -> String {
        let (files, were, are, have) = if count == 1 {
            ("file", "was", "is", "has")
        } else {
            ("files", "were", "are", "have")
        };
        match self {
            Self::Changed => {
                format!("{count} {files} {were} edited here and {are} changed by the commit")
            }
            Self::Deleted => {
                format!("{count} {files} {were} edited here and {are} deleted by the commit")
            }
            Self::Foreign => format!(
                "{count} {files} here {were} not written by a sync and {have} other content in the commit"
            ),
            Self::Directory => format!(
                "{count} {files} of the commit {have} a directory with local files in the way"
            ),
            Self::Special => {
                format!("{count} {files} of the commit {have} a socket, FIFO or device in the way")
            }
            Self::NoDirectory => {
                format!("{count} {files} here {are} in the way of a directory of the commit")
            }
            Self::NotMerged(_) => {
                format!("{count} {files} cannot be merged with the change of the commit")
            }
        }
    }
}

impl fmt::Display for ConflictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "it was edited here, and the commit changes it",
            Self::Deleted => "it was edited here, and the commit deletes it",
            Self::Foreign => "a file that is not ours stands where the commit has one",
            Self::Directory => "a directory with local files stands where the commit has a file",
            Self::Special => "a socket, FIFO or device stands where the commit has a file",
            Self::NoDirectory => "it stands where the commit has a directory",
            Self::NotMerged(why) => why,
        })
    }
}

impl Serialize for ConflictKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The update conflicts with local files, or against a policy about them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Error {
    /// Local files.
    #[error("{}", listed(.conflicts))]
    #[diagnostic(
        code(hyper_sync::plan::conflicts),
        help("{}; nothing was written", what_to_do(.conflicts))
    )]
    Conflicts {
        /// All of them, by path.
        conflicts: Vec<Conflict>,
    },
    /// A file that must be there would go, or is a symlink that leads to none.
    #[error("`{path}` {}, and `require` lists it", gone(*.is_link))]
    #[diagnostic(
        code(hyper_sync::plan::required_gone),
        help(
            "check that `--ref` is right; `--allow-mass-delete` takes the commit all the same; nothing was written"
        )
    )]
    RequiredGone {
        /// The file.
        path: RelPath,
        /// The commit has a symlink there.
        is_link: bool,
    },
    /// Most of the tree would go.
    #[error("the commit has {after} managed files where there were {before}")]
    #[diagnostic(
        code(hyper_sync::plan::mass_delete),
        help(
            "check that `--repo` and `--ref` are right; `--allow-mass-delete` takes the commit all the same; nothing was written"
        )
    )]
    MassDelete {
        /// Files we have written.
        before: usize,
        /// Files of the commit.
        after: usize,
    },
}

impl Error {
    /// The exit code of a run that it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Conflicts { .. } | Self::RequiredGone { .. } | Self::MassDelete { .. } => {
                Exit::Conflict
            }
        }
    }
}

fn gone(is_link: bool) -> &'static str {
    if is_link {
        "is a symlink in the commit that leads to none of its files"
    } else {
        "is gone from the commit"
    }
}

fn listed(conflicts: &[Conflict]) -> String {
    let (named, more) = text::first(conflicts, text::LISTED);
    let is_same = |conflict: &Conflict| {
        std::mem::discriminant(&conflict.problem) == std::mem::discriminant(&conflicts[0].problem)
    };
    let same = conflicts.iter().all(is_same);
    let mut text = match (conflicts.first(), conflicts.len()) {
        (Some(first), count) if same => first.problem.of_files(count),
        (_, count) => format!("{count} local files conflict with the update"),
    };
    text.push(':');
    let lines = named.iter().map(|Conflict { path, problem }| {
        if same && !matches!(problem, ConflictKind::NotMerged(_)) {
            path.to_string()
        } else {
            format!("{path}: {problem}")
        }
    });
    for line in lines.chain(more) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {line}");
    }
    text
}

/// By the first conflict of a kind: the command that shows it, and what ends it.
fn what_to_do(conflicts: &[Conflict]) -> String {
    let of = |edited: bool| {
        conflicts
            .iter()
            .find(move |conflict| conflict.problem.is_edit() == edited)
    };
    let path = |conflict: &Conflict| text::shell_word(&conflict.path.to_string()).into_owned();
    let mut help = Vec::new();
    if let Some(conflict) = of(true) {
        let path = path(conflict);
        let shown = if conflict.problem == ConflictKind::Foreign {
            format!("`hyper-sync diff --remote {path}`")
        } else {
            format!("`hyper-sync diff {path}`")
        };
        let merge = if conflict.problem == ConflictKind::Changed {
            "`merge` in its place adds what the commit changes in other lines, "
        } else {
            ""
        };
        help.push(format!(
            "{shown} shows the difference; put what you need into the repository, or choose: `--local-edits keep` leaves your version, {merge}`--local-edits replace` takes the commit's, and `hyper-sync restore {path}` then puts yours back"
        ));
    }
    if let Some(conflict) = of(false) {
        help.push(format!(
            "move `{}` away, because no option removes it",
            text::name(conflict.path.to_string())
        ));
    }
    help.join("; ")
}
