//! What the API says about the repository itself. It is used in messages only.

use serde::Deserialize;

use super::{Error, GitHub, JSON, Moved, Url};

/// The answer to `GET /repos/owner/name`, as far as it is used.
#[derive(Deserialize)]
pub(super) struct RepositoryInfo {
    full_name: Option<String>,
    pub(super) default_branch: Option<String>,
}

impl GitHub {
    pub(super) fn repository_info(&self) -> Result<RepositoryInfo, Error> {
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
