//! What a remote has in place of a name that it does not have, and the advice that follows from it.

use crate::git::CommitId;
use crate::text;

/// What a remote has where a name is neither a branch nor a tag, as far as it could be found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instead {
    /// The branch of the remote that a clone knows by the name that was asked for.
    pub branch: Option<String>,
    /// The branch or tag whose name is most like it.
    pub near: Option<String>,
    /// The only known commit whose id begins with it.
    pub commit: Option<CommitId>,
    /// The branch that `HEAD` points to.
    pub head: Head,
}

/// What the `HEAD` of a remote points to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Head {
    /// It was not asked for, or the remote does not say.
    #[default]
    Unknown,
    /// A branch.
    Branch(String),
    /// A branch that does not exist.
    Dangling {
        /// Its name, where the remote says it.
        name: Option<String>,
        /// Branches that do exist, [`Head::BRANCHES`] at most.
        branches: Vec<String>,
    },
}

impl Head {
    /// So many branches are named in place of one that does not exist.
    pub(in crate::source) const BRANCHES: usize = 3;
}

/// The name that a branch has on the remote, where a clone's name for it was asked for.
pub(in crate::source) fn of_clone(reference: &str) -> Option<&str> {
    let prefixes = ["refs/remotes/origin/", "remotes/origin/", "origin/"];
    let mut branches = prefixes
        .iter()
        .filter_map(|prefix| reference.strip_prefix(prefix));
    branches.next().filter(|branch| !branch.is_empty())
}

/// Whether a name may be the beginning of a commit's id. Git takes four digits for the shortest.
fn is_short_id(reference: &str) -> bool {
    (4..40).contains(&reference.len()) && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// How many digits of an id name a commit by themselves: so many has the shortest that git prints.
const SHORT: usize = 7;

/// The only one of these commits whose id begins with a name, if that may be a short id.
pub(in crate::source) fn by_short_id(
    reference: &str,
    commits: impl IntoIterator<Item = CommitId>,
) -> Option<CommitId> {
    if !is_short_id(reference) || reference.len() < SHORT {
        return None;
    }
    let begin = reference.to_ascii_lowercase();
    let mut found = { commits.into_iter() }.filter(|id| id.to_string().starts_with(&begin));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

impl Instead {
    /// With a commit that is known here, where the remote's refs do not point to it.
    pub(crate) fn known(&mut self, reference: &str, commits: &[CommitId]) {
        let known = by_short_id(reference, commits.iter().copied());
        self.commit = self.commit.or(known);
    }

    /// What may have been meant by `reference`.
    pub(super) fn advice(&self, reference: &str) -> String {
        if let Some(branch) = &self.branch {
            let branch = text::name(branch);
            return format!("write the branch as the repository itself has it: `--ref {branch}`");
        }
        if let Some(commit) = self.commit {
            return format!("a commit needs its full id: write `--ref {commit}`");
        }
        if let Some(near) = &self.near {
            let near = text::name(near);
            return format!("write `--ref {near}` if that was meant");
        }
        let gone = if is_short_id(reference) {
            "check `--ref`: a commit needs its full 40 digits, and a branch or tag may have been renamed or deleted"
        } else {
            "check `--ref`: it may have been renamed or deleted"
        };
        match &self.head {
            Head::Unknown => gone.to_owned(),
            Head::Branch(name) => {
                let name = text::name(name);
                format!("{gone}; the default branch is `{name}` (`--ref {name}`)")
            }
            Head::Dangling { name, branches } => {
                let name = name.as_ref().map(|name| format!(" `{}`", text::name(name)));
                let name = name.unwrap_or_default();
                let others = others(branches);
                format!("{gone}; the default branch{name} does not exist{others}")
            }
        }
    }
}

fn others(branches: &[String]) -> String {
    let names: Vec<_> = branches.iter().map(text::name).collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => format!(", but `{name}` does (`--ref {name}`)"),
        [first, ..] => format!(", but `{}` do (`--ref {first}`)", names.join("`, `")),
    }
}
