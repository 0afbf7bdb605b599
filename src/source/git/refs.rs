//! From a name to a commit id.

use crate::git::CommitId;
use crate::source::error::{by_short_id, of_clone};
use crate::source::{Error, Head, Instead, RefKind, ResolvedRef};
use crate::text::{Nearest, name, words};

use super::answer::{self, Ref};
use super::{Classified, GitSource, request};

impl GitSource {
    /// A full id is a commit and costs nothing; else a branch, then a tag, in one request.
    pub(super) fn resolve_ref(&self, reference: &str) -> Result<ResolvedRef, Error> {
        // As git does, in either case.
        if let Ok(commit) = reference.to_ascii_lowercase().parse() {
            return Ok(ResolvedRef {
                commit,
                kind: RefKind::Commit,
                is_tag_too: false,
            });
        }
        let candidates = candidates(reference);
        // What a clone calls `origin/main` is `main` here.
        let meant = of_clone(reference).map(|branch| format!("refs/heads/{branch}"));
        // `HEAD` too: where even that is missing, the repository may be empty.
        let mut names = vec!["HEAD"];
        names.extend(candidates.iter().map(|(name, _)| name.as_str()));
        names.extend(meant.as_deref());
        let (refs, listed) = self.list(&names)?;
        for (name, kind) in &candidates {
            if let Some(found) = refs.iter().find(|found| found.name == *name) {
                let commit = self.commit_of(found)?;
                let kind = *kind;
                let tag = format!("refs/tags/{reference}");
                let is_tag_too =
                    kind == RefKind::Branch && refs.iter().any(|found| found.name == tag);
                return Ok(ResolvedRef {
                    commit,
                    kind,
                    is_tag_too,
                });
            }
        }
        let remote = self.remote.clone();
        if listed == 0 && self.list(&["HEAD", "refs/"])?.1 == 0 {
            return Err(Error::EmptyRepository { remote });
        }
        let is_there = |name: &str| refs.iter().any(|found| found.name == name);
        let instead = match meant.filter(|branch| is_there(branch)) {
            Some(branch) => Instead {
                branch: of_branch(&branch),
                ..Instead::default()
            },
            None => self.others(reference, is_there("HEAD")),
        };
        Err(Error::UnknownRef {
            remote,
            reference: reference.to_owned(),
            instead: Box::new(instead),
        })
    }

    /// The branch or tag that is most like a name, the branch at the commit whose id begins with it, and what `HEAD`
    /// points to, if the server reports it; errors are ignored, because it is only for a message.
    fn others(&self, reference: &str, has_head: bool) -> Instead {
        let mut first = 0;
        let mut near = Nearest::to(reference);
        let mut tips: Vec<CommitId> = Vec::new();
        let listed = self.ask_for_refs(&request::all_names(), |name, id| {
            if let Some(tag) = name.strip_prefix("refs/tags/") {
                near.offer(tag);
                return false;
            }
            let Some(branch) = name.strip_prefix("refs/heads/") else {
                return name == "HEAD";
            };
            near.offer(branch);
            tips.extend(id.parse::<CommitId>());
            first += 1;
            first <= Head::BRANCHES
        });
        let Ok((refs, _)) = listed else {
            return Instead::default();
        };
        let head = if has_head {
            symref(&refs).map_or(Head::Unknown, Head::Branch)
        } else {
            let branches = refs.iter().filter_map(|found| of_branch(&found.name));
            Head::Dangling {
                name: symref(&refs),
                branches: branches.collect(),
            }
        };
        Instead {
            near: near.name(),
            commit: by_short_id(reference, tips),
            head,
            branch: None,
        }
    }

    fn list(&self, names: &[&str]) -> Result<(Vec<Ref>, usize), Error> {
        self.ask_for_refs(&request::ls_refs(names), |name, _| names.contains(&name))
    }

    fn ask_for_refs(
        &self,
        request: &[u8],
        wanted: impl FnMut(&str, &str) -> bool,
    ) -> Result<(Vec<Ref>, usize), Error> {
        let mut connection = self.connection();
        let answer = connection.command(request)?;
        let trouble = match answer::refs(answer, wanted) {
            Ok(listing) => return Ok(listing),
            Err(trouble) => trouble,
        };
        match self.explain(connection.as_mut(), trouble) {
            Classified::Error(error) => Err(error),
            Classified::BaseMissing | Classified::NotOurRef(_) => Err(self.unexpected_answer()),
        }
    }

    fn commit_of(&self, found: &Ref) -> Result<CommitId, Error> {
        let id = found.peeled.as_ref().unwrap_or(&found.id);
        let remote = self.remote.clone();
        id.parse().map_err(|_| {
            // 64 digits, as SHA-256 has.
            if id.len() == 64 {
                return Error::Sha256 { remote };
            }
            let detail = format!("`{}` as the id of `{}`", words(id), name(&found.name));
            Error::Protocol { remote, detail }
        })
    }
}

/// The branch that a symbolic `HEAD` among the refs points to.
fn symref(refs: &[Ref]) -> Option<String> {
    let mut targets = refs.iter().filter_map(|found| found.symref.as_deref());
    targets.next().and_then(of_branch)
}

/// The name of a branch by its ref.
fn of_branch(name: &str) -> Option<String> {
    name.strip_prefix("refs/heads/").map(str::to_owned)
}

/// What a name may resolve to, the first that exists wins: `refs/…` and `HEAD` as they are, a branch before a tag.
fn candidates(reference: &str) -> Vec<(String, RefKind)> {
    let mut candidates = Vec::new();
    if reference == "HEAD" || reference.starts_with("refs/") {
        let kind = if reference.starts_with("refs/tags/") {
            RefKind::Tag
        } else {
            RefKind::Branch
        };
        candidates.push((reference.to_owned(), kind));
    }
    candidates.push((format!("refs/heads/{reference}"), RefKind::Branch));
    candidates.push((format!("refs/tags/{reference}"), RefKind::Tag));
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_come_before_tags() {
        let names = |reference| -> Vec<String> {
            let found = candidates(reference).into_iter();
            found
                .map(|(name, kind)| format!("{name} {kind:?}"))
                .collect()
        };
        assert_eq!(
            names("main"),
            ["refs/heads/main Branch", "refs/tags/main Tag"]
        );
        assert_eq!(names("refs/tags/v1")[0], "refs/tags/v1 Tag");
        assert_eq!(names("HEAD")[0], "HEAD Branch");
    }
}
