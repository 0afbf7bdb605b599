//! What a name means to the forge.

use super::Shared;
use crate::common::git;

/// The commit a name means, in the order of GitHub: a full id, then branch, tag, any ref, a unique short id.
pub(super) fn resolve(shared: &Shared, name: &str) -> Option<String> {
    let commit = |revision: &str| {
        shared
            .repo
            .info(revision)
            .filter(|info| info.kind == "commit")
            .map(|info| info.id)
    };
    if is_id(name) {
        return commit(name);
    }
    if name.is_empty()
        || name.contains([' ', ':', '^', '~', '\\', '?', '*', '[', '@', '\n'])
        || name.contains("..")
    {
        return None;
    }
    if name == "HEAD" {
        return commit("HEAD");
    }
    let refs = ["refs/heads/", "refs/tags/", "refs/", ""].map(|prefix| format!("{prefix}{name}"));
    let named = refs
        .iter()
        .filter(|name| name.starts_with("refs/"))
        .find_map(|name| commit(&format!("{name}^{{commit}}")));
    let short = || {
        (name.len() >= 4 && name.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| commit(name))
            .flatten()
    };
    named.or_else(short)
}

/// `refs/heads/…` that `HEAD` names.
pub(super) fn default_branch(shared: &Shared) -> String {
    git::line(shared.repo.git().args(["symbolic-ref", "HEAD"]))
}

/// Forty hex digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}
