//! How far a target is behind its repository, without bringing anything.

use super::SyncContext;
use super::pipeline::open_and_resolve;
use crate::git::CommitId;
use crate::objects::Store;
use crate::source::{Ahead, Opening};

/// Where the repository is, as seen from the commit of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// The commit that the reference resolves to.
    pub commit: CommitId,
    /// How far that is ahead of the target.
    pub ahead: Ahead,
}

/// Resolves the reference, and if it is at another commit than `here`, asks how many lie between: two small requests. No
/// lock is taken, and nothing is written but a temporary directory.
pub fn behind(context: &SyncContext<'_>, here: Option<CommitId>) -> Result<Behind, crate::Error> {
    let settings = context.settings;
    let opening = Opening {
        env: context.env,
        interrupt: context.interrupt,
        state: None,
        known: here,
        force_full: false,
        meter: context.observer.meter(),
    };
    let repo = settings.repository()?;
    let (source, resolved) = open_and_resolve(repo, settings, &opening)?;
    let commit = resolved.commit;
    let ahead = match here {
        Some(here) if here == commit => Ahead {
            descends: Some(true),
            commits: Some(0),
        },
        Some(here) => {
            let (store, _directory) = Store::temporary(settings.limits.blob)?;
            source.ahead(commit, here, &store)?
        }
        None => Ahead::default(),
    };
    Ok(Behind { commit, ahead })
}
