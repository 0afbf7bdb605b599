//! From a name to a commit id; and the name that the repository itself has now.

use reqwest::header::{HeaderValue, IF_NONE_MATCH};
use serde::Deserialize;

use super::{Error, GitHub, JSON, Moved, Reply, Url};
use crate::git::CommitId;
use crate::source::error::of_clone;
use crate::source::{Head, Instead, RefKind, ResolvedRef};
use crate::text;

/// Answers with the commit's id and nothing else.
const SHA: &str = "application/vnd.github.sha";

/// One of the refs that `git/matching-refs` lists.
#[derive(Deserialize)]
struct ListedBranch {
    #[serde(rename = "ref")]
    name: String,
}

impl GitHub {
    /// As [`find`](Self::find); an error says what there is in place of a name that is missing.
    pub(super) fn resolve_name(&self, reference: &str) -> Result<ResolvedRef, Error> {
        self.find(reference)?.ok_or_else(|| Error::UnknownRef {
            remote: self.remote.clone(),
            reference: reference.to_owned(),
            instead: Box::new(self.instead(reference)),
        })
    }

    /// A full id is a commit and costs nothing; else a branch, then a tag, then a short id.
    ///
    /// Whether a branch is a tag too is not known: it would cost a request at each run. The branch is asked for as one,
    /// so that a tag is never taken for it.
    pub(in crate::source) fn find(&self, reference: &str) -> Result<Option<ResolvedRef>, Error> {
        // As git does, in either case.
        if let Ok(commit) = reference.to_ascii_lowercase().parse() {
            let kind = RefKind::Commit;
            return Ok(Some(ResolvedRef {
                commit,
                kind,
                is_tag_too: false,
            }));
        }
        for (name, kind) in candidates(reference) {
            let Some(commit) = self.resolve_candidate(&name)? else {
                continue;
            };
            // A short id that the server reads as something else is not a commit.
            if kind == RefKind::Commit && !commit.to_string().starts_with(reference) {
                continue;
            }
            return Ok(Some(ResolvedRef {
                commit,
                kind,
                is_tag_too: false,
            }));
        }
        Ok(None)
    }

    /// Errors are ignored, because it is only for a message.
    fn instead(&self, reference: &str) -> Instead {
        let branch = of_clone(reference).filter(|branch| self.has_branch(branch) == Some(true));
        let branch = branch.map(str::to_owned);
        let head = match branch {
            Some(_) => Head::Unknown,
            None => self.head().unwrap_or_default(),
        };
        Instead {
            branch,
            near: None,
            commit: None,
            head,
        }
    }

    fn head(&self) -> Option<Head> {
        let name = self.repository_info().ok()?.default_branch?;
        Some(if self.has_branch(&name)? {
            Head::Branch(name)
        } else {
            Head::Dangling {
                name: Some(name),
                branches: self.some_branches(),
            }
        })
    }

    /// `None` where the API does not say.
    fn has_branch(&self, name: &str) -> Option<bool> {
        let commit = self.resolve_candidate(&format!("heads/{name}")).ok()?;
        Some(commit.is_some())
    }

    fn some_branches(&self) -> Vec<String> {
        let reply = self.ask(&self.get(&["git", "matching-refs", "heads"], JSON));
        let listed: Option<Vec<ListedBranch>> =
            reply.ok().and_then(|reply| reply.json("branches").ok());
        let names = listed.into_iter().flatten().filter_map(|listed| {
            let name = listed.name.strip_prefix("refs/heads/")?;
            Some(name.to_owned())
        });
        names.take(Head::BRANCHES).collect()
    }

    fn resolve_candidate(&self, name: &str) -> Result<Option<CommitId>, Error> {
        let mut request = self.get(&["commits", name], SHA);
        // The id itself serves as the entity tag.
        let tag = self
            .known
            .map(|known| HeaderValue::from_str(&format!("\"{known}\"")));
        if let Some(Ok(tag)) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let reply = self.ask(&request)?;
        match (reply.status.as_u16(), self.known) {
            (200, _) => self.commit_id(&reply).map(Some),
            (304, Some(known)) => Ok(Some(known)),
            (409, _) => Err(Error::EmptyRepository {
                remote: self.remote.clone(),
            }),
            // Anything that is not a commit: no such name, another kind of object, an ambiguous short id.
            (422, _) if reply.media_type().contains("json") => Ok(None),
            _ => Err(self.refusal(&reply)),
        }
    }

    fn commit_id(&self, reply: &Reply) -> Result<CommitId, Error> {
        let text = text::decode(&reply.body);
        let text = text.trim();
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::Sha256 {
                remote: self.remote.clone(),
            });
        }
        text.parse().map_err(|_| reply.not_a_forge())
    }
}

/// What a name may resolve to, in the order of the requests; the usual branch costs one request.
fn candidates(reference: &str) -> Vec<(String, RefKind)> {
    if let Some(name) = reference.strip_prefix("refs/") {
        let is_tag = name.starts_with("tags/");
        let kind = if is_tag {
            RefKind::Tag
        } else {
            RefKind::Branch
        };
        let short = is_tag || name.starts_with("heads/");
        return vec![(if short { name } else { reference }.to_owned(), kind)];
    }
    if reference == "HEAD" {
        return vec![(reference.to_owned(), RefKind::Branch)];
    }
    let mut candidates = vec![
        (format!("heads/{reference}"), RefKind::Branch),
        (format!("tags/{reference}"), RefKind::Tag),
    ];
    if is_short_id(reference) {
        candidates.push((reference.to_owned(), RefKind::Commit));
    }
    candidates
}

/// Whether a name may be the beginning of a commit's id. Git takes four digits for the shortest.
pub(in crate::source) fn is_short_id(reference: &str) -> bool {
    (4..40).contains(&reference.len())
        && reference
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The response to `GET /repos/owner/name`, as far as it is used: in messages only.
#[derive(Deserialize)]
struct RepositoryInfo {
    full_name: Option<String>,
    default_branch: Option<String>,
}

impl GitHub {
    fn repository_info(&self) -> Result<RepositoryInfo, Error> {
        let reply = self.ask(&self.get(&[], JSON))?;
        if !reply.status.is_success() {
            return Err(self.refusal(&reply));
        }
        reply.json("repository")
    }

    /// By its present name; by the number that it answers under, where that name cannot be had.
    pub(super) fn moved(&self, base: &Url) -> Moved {
        let name = self
            .repository_info()
            .ok()
            .and_then(|about| about.full_name);
        let name = name.filter(|name| is_owner_name(name));
        Moved {
            read_from: name.clone().unwrap_or_else(|| base.to_string()),
            repo: name,
        }
    }
}

/// Whether a forge's word can be written as `repo`, as it stands.
fn is_owner_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !matches!(part, "" | "." | "..") && !part.starts_with('-') && part.bytes().all(is_of_names)
    };
    name.split_once('/')
        .is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_comes_before_a_tag_and_both_before_a_short_id() {
        let names = |reference| {
            candidates(reference)
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("main"), ["heads/main", "tags/main"]);
        assert_eq!(
            names("abc1234"),
            ["heads/abc1234", "tags/abc1234", "abc1234"]
        );
        assert_eq!(names("abc"), ["heads/abc", "tags/abc"]);
        assert_eq!(names("ABC1234").len(), 2);
        assert_eq!(names("HEAD"), ["HEAD"]);
        assert_eq!(
            candidates("refs/heads/x"),
            [("heads/x".to_owned(), RefKind::Branch)]
        );
        assert_eq!(
            candidates("refs/tags/x"),
            [("tags/x".to_owned(), RefKind::Tag)]
        );
        assert_eq!(
            candidates("refs/pull/1/head"),
            [("refs/pull/1/head".to_owned(), RefKind::Branch)]
        );
    }
}
