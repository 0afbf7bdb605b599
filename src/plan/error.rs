//! Why an update is not planned.

use std::borrow::Cow;
use std::fmt::Write as _;

use miette::Diagnostic;
use serde::Serialize;

use crate::exit::Exit;
use crate::git::{CommitId, RelPath};
use crate::text;

/// What a plan is for, as its conflicts word it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The command that was run, with its options but for `--local-edits`: run again with that, it is a way out.
    pub command: String,
    /// The commit that a rollback leads to; `None`: it is a sync.
    pub back_to: Option<CommitId>,
}

impl Attempt {
    /// What changes files.
    fn agent(&self) -> &'static str {
        match self.back_to {
            Some(_) => "the rollback",
            None => "the commit",
        }
    }

    /// As [`agent`](Self::agent), where it is named for the first time.
    fn introduced(&self) -> String {
        match self.back_to {
            Some(commit) => format!("the rollback to {}", commit.short()),
            None => "the commit".to_owned(),
        }
    }

    /// The commit that has the other files.
    fn commit(&self) -> String {
        match self.back_to {
            Some(commit) => commit.short(),
            None => "the commit".to_owned(),
        }
    }
}

/// A conflict, as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConflictDocument<'a> {
    path: &'a RelPath,
    problem: String,
}

/// A path that conflicts with the update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Where.
    pub path: RelPath,
    /// The conflict.
    pub problem: ConflictKind,
}

/// What is in the way of an update.
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
    #[must_use]
    pub fn is_edit(&self) -> bool {
        matches!(
            self,
            Self::Changed | Self::Deleted | Self::Foreign | Self::NotMerged(_)
        )
    }

    /// In words.
    #[must_use]
    pub fn describe(&self, attempt: &Attempt) -> String {
        let (agent, commit) = (attempt.agent(), attempt.commit());
        match self {
            Self::Changed => format!("it was edited here, and {agent} changes it"),
            Self::Deleted => format!("it was edited here, and {agent} deletes it"),
            Self::Foreign => format!("a file that is not ours stands where {commit} has one"),
            Self::Directory => {
                format!("a directory with local files stands where {commit} has a file")
            }
            Self::Special => {
                format!("a socket, FIFO or device stands where {commit} has a file")
            }
            Self::NoDirectory => format!("it stands where {commit} has a directory"),
            Self::NotMerged(why) => format!("{}; {why}", Self::Changed.describe(attempt)),
        }
    }

    /// The same of `count` files.
    fn of_files(&self, count: usize, attempt: &Attempt) -> String {
        let (files, were, are, have) = if count == 1 {
            ("file", "was", "is", "has")
        } else {
            ("files", "were", "are", "have")
        };
        let (agent, commit) = (attempt.introduced(), attempt.commit());
        match self {
            Self::Changed => {
                format!("{count} {files} {were} edited here and {are} changed by {agent}")
            }
            Self::Deleted => {
                format!("{count} {files} {were} edited here and {are} deleted by {agent}")
            }
            Self::Foreign => format!(
                "{count} {files} here {were} not written by a sync and {have} other content in {commit}"
            ),
            Self::Directory => format!(
                "{count} {files} of {commit} {have} a directory with local files in the way"
            ),
            Self::Special => {
                format!("{count} {files} of {commit} {have} a socket, FIFO or device in the way")
            }
            Self::NoDirectory => {
                format!("{count} {files} here {are} in the way of a directory of {commit}")
            }
            Self::NotMerged(_) => {
                format!("{count} {files} cannot be merged with the change of {agent}")
            }
        }
    }
}

/// The update conflicts with local files, or against a policy about them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Error {
    /// Local files.
    #[error("{}", listed(.conflicts, .attempt))]
    #[diagnostic(
        code(hyper_sync::plan::conflicts),
        help("{}", what_to_do(.conflicts, .attempt))
    )]
    Conflicts {
        /// All of them, by path.
        conflicts: Vec<Conflict>,
        /// What they are in the way of.
        attempt: Attempt,
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
    /// The conflicts, as `--json` prints them; `None` for another error.
    #[must_use]
    pub fn conflicts(&self) -> Option<Vec<ConflictDocument<'_>>> {
        let Self::Conflicts { conflicts, attempt } = self else {
            return None;
        };
        let document = |conflict: &'_ Conflict| conflict.problem.describe(attempt);
        let documents = conflicts.iter().map(|conflict| ConflictDocument {
            path: &conflict.path,
            problem: document(conflict),
        });
        Some(documents.collect())
    }

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

fn listed(conflicts: &[Conflict], attempt: &Attempt) -> String {
    let (named, more) = text::first(conflicts, text::LISTED);
    let is_same = |conflict: &Conflict| {
        std::mem::discriminant(&conflict.problem) == std::mem::discriminant(&conflicts[0].problem)
    };
    let same = conflicts.iter().all(is_same);
    let mut text = match (conflicts.first(), conflicts.len()) {
        (Some(first), count) if same => first.problem.of_files(count, attempt),
        (_, count) => {
            let what = attempt
                .back_to
                .map_or_else(|| "the update".to_owned(), |_| attempt.introduced());
            format!("{count} local files conflict with {what}")
        }
    };
    text.push(':');
    let lines = named.iter().map(|Conflict { path, problem }| {
        if same && !matches!(problem, ConflictKind::NotMerged(_)) {
            path.to_string()
        } else {
            format!("{path}: {}", problem.describe(attempt))
        }
    });
    for line in lines.chain(more) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {line}");
    }
    text
}

/// The ways out, a line each: what shows the two sides, and the commands that end it. Of edits, and of what stands in the
/// way, the first is named.
fn what_to_do(conflicts: &[Conflict], attempt: &Attempt) -> String {
    let mut edits = conflicts
        .iter()
        .filter(|conflict| conflict.problem.is_edit());
    let mut others = conflicts
        .iter()
        .filter(|conflict| !conflict.problem.is_edit());
    let mut lines = Vec::new();
    if let Some(first) = edits.next() {
        let kinds = || { std::iter::once(first).chain(edits.clone()) }.map(|known| &known.problem);
        let is_rollback = attempt.back_to.is_some();
        let path = match first.path.as_str() {
            // It would be an option.
            option if option.starts_with('-') => format!("./{option}"),
            path => path.to_owned(),
        };
        let path = text::shell_word(&path);
        let command = &attempt.command;
        // No sync has written it, so nothing is known that it was before.
        if first.problem != ConflictKind::Foreign {
            let purpose = if is_rollback {
                ""
            } else {
                ", to put into the repository"
            };
            lines.push(format!("`hyper-sync diff {path}` shows your edit{purpose}"));
        }
        if !is_rollback {
            lines.push(format!(
                "`hyper-sync diff --remote {path}` shows what the commit has in its place"
            ));
        }
        if kinds().any(|kind| *kind == ConflictKind::Changed) {
            let changes = if is_rollback {
                "keeps your edit and takes back what the updates changed in other lines"
            } else {
                "keeps your edit and takes what the commit changes in other lines"
            };
            lines.push(format!("`{command} --local-edits merge` {changes}"));
        }
        let rest = if is_rollback {
            "goes back with everything else"
        } else {
            "takes everything else"
        };
        lines.push(format!(
            "`{command} --local-edits keep` leaves your version and {rest}"
        ));
        let version = if is_rollback {
            format!("the version of {}", attempt.commit())
        } else {
            "the commit's version".to_owned()
        };
        lines.push(format!(
            "`{command} --local-edits replace` takes {version}, and `hyper-sync restore {path}` then puts yours back"
        ));
    }
    if let Some(first) = others.next() {
        lines.push(format!(
            "move `{}` away, because no option removes it",
            text::name(first.path.to_string())
        ));
    }
    match lines.as_slice() {
        [only] => format!("nothing was written; {only}"),
        _ => format!(
            "nothing was written; the ways out:\n  {}",
            lines.join("\n  ")
        ),
    }
}
