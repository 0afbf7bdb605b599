//! Why an update is not planned.

use std::borrow::Cow;
use std::fmt::Write as _;

use miette::Diagnostic;
use serde::Serialize;

use crate::exit::Exit;
use crate::git::RelPath;
use crate::text;

/// A path that conflicts with the update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// Where.
    pub path: RelPath,
    /// The conflict.
    pub problem: Cow<'static, str>,
}

/// The update conflicts with local files, or against a policy about them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Error {
    /// Local files.
    #[error("{}", listed(.conflicts))]
    #[diagnostic(
        code(hyper_sync::plan::conflicts),
        help(
            "put your changes into the repository, move them away, or choose with `--local-edits`: `keep` leaves them, `merge` takes changes of both sides that are not of the same lines, `replace` keeps edited files aside and takes the commit's (what else is in the way is yours to move); nothing was written"
        )
    )]
    Conflicts {
        /// All of them, by path.
        conflicts: Vec<Conflict>,
    },
    /// A file that must be there would go, or is a symlink that leads to none.
    #[error(
        "the commit has no regular file `{path}`, nor a symlink to one of its files, and `require` lists it"
    )]
    #[diagnostic(
        code(hyper_sync::plan::required_gone),
        help(
            "check that `--ref` is right; `--allow-mass-delete` takes the commit all the same; nothing was written"
        )
    )]
    RequiredGone {
        /// The file.
        path: RelPath,
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

fn listed(conflicts: &[Conflict]) -> String {
    let mut text = match conflicts.len() {
        1 => "1 local file conflicts with the update".to_owned(),
        count => format!("{count} local files conflict with the update"),
    };
    let (named, more) = text::first(conflicts, text::LISTED);
    let named = named.iter();
    let lines = named.map(|Conflict { path, problem }| format!("{path}: {problem}"));
    for line in lines.chain(more) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {line}");
    }
    text
}
