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
    /// How many commits the target has which that lacks, if the target descends from it.
    pub lacks: Option<u64>,
}

/// Resolves the reference, and if it is at another commit than `here`, asks how many lie between: two small
/// requests, and one more where it does not descend from `here`. No lock is taken, and nothing is written but a temporary directory.
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
    let (ahead, lacks) = match here {
        Some(here) if here == commit => {
            let ahead = Ahead {
                descends: Some(true),
                commits: Some(0),
            };
            (ahead, None)
        }
        Some(here) => {
            let (store, _directory) = Store::temporary(settings.limits.blob)?;
            let ahead = source.ahead(commit, here, &store)?;
            // A repository that does not have this commit any more cannot say.
            let back = (ahead.descends == Some(false))
                .then(|| source.ahead(here, commit, &store).ok())
                .flatten();
            (ahead, back.and_then(|back| back.commits))
        }
        None => (Ahead::default(), None),
    };
    Ok(Behind {
        commit,
        ahead,
        lacks,
    })
}
