//! The base of the first plan: the commit whose files a target already has, where that is known.
//!
//! Without it, each file that is not as in the commit counts as edited. A target that is a git work tree has the files of
//! its `HEAD`; of any other directory `--base` says which commit it was filled from. Ids are compared; content is read only
//! of files that were edited, to merge them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::SyncError;
use crate::fs::Target;
use crate::git::id::ObjectKind;
use crate::git::{BlobId, CommitId, File, RelPath};
use crate::git_dir::{GitDir, Unread};
use crate::objects::ForeignObjects;
use crate::plan::{self, MassDelete};
use crate::scan::Scanner;
use crate::settings::{Env, LocalEdits, Settings};
use crate::source::{self, Depth, Source};
use crate::sync::inventory::{Inventory, policy};
use crate::sync::{Options, Session, StateNote, SyncContext, SyncMode};

/// The commit that a target was filled from before its first sync.
#[derive(Debug)]
pub struct FirstBase {
    /// The commit.
    pub commit: CommitId,
    /// The branch that the work tree is at.
    pub branch: Option<String>,
    /// Its managed files.
    pub files: Arc<BTreeMap<RelPath, File>>,
    /// What the work tree's `.git` has.
    objects: Option<ForeignObjects>,
}

impl FirstBase {
    /// Finds it; `None` if a sync was done already, or if it is not known. A note tells where it is from.
    pub(in crate::sync) fn find(
        context: &SyncContext<'_>,
        options: &Options,
        session: &Session,
        scanner: &Scanner<'_>,
        source: &dyn Source,
    ) -> Result<(Option<Self>, Option<StateNote>), crate::Error> {
        match (session.index(), &options.base) {
            (Some(index), Some(_)) => Err(SyncError::BaseKnown {
                target: context.settings.target.clone(),
                commit: index.point.commit,
            }
            .into()),
            (Some(_), None) => Ok((None, None)),
            (None, Some(name)) => {
                match Self::of_repository(name, context, options, session, scanner, source) {
                    Err(crate::Error::Source(
                        source::Error::UnknownCommit { .. } | source::Error::UnknownRef { .. },
                    )) => Err(SyncError::UnknownBase { base: name.clone() }.into()),
                    base => Ok((Some(base?), None)),
                }
            }
            (None, None) => Ok(
                match Self::of_work_tree(session.target(), context.settings, context.env) {
                    Ok(None) => (None, None),
                    Ok(Some(base)) => {
                        base.complete(context, options, session, scanner, source)?;
                        let note = StateNote::WorkTree {
                            commit: base.commit,
                            branch: base.branch.clone(),
                        };
                        (Some(base), Some(note))
                    }
                    Err(error) => (None, Some(StateNote::WorkTreeUnread(error.to_string()))),
                },
            ),
        }
    }

    /// The commit that `--base` names, with its trees from the repository.
    fn of_repository(
        name: &str,
        context: &SyncContext<'_>,
        options: &Options,
        session: &Session,
        scanner: &Scanner<'_>,
        source: &dyn Source,
    ) -> Result<Self, crate::Error> {
        let policy = policy(context.settings, options.mass_delete);
        let store = session.store();
        let need = Inventory::new(scanner, &policy, depth(context, options));
        let commit = source.resolve(name)?.commit;
        let obtained = source.obtain(commit, None, store, &need)?;
        let commit = obtained.commit.commit();
        let tree = match obtained.tree {
            Some(tree) if tree.root() == commit.tree => tree,
            _ => {
                let limits = context.settings.limits;
                source::walk(store, commit, limits, &source.describe(), None)?
            }
        };
        Ok(Self {
            commit: commit.id,
            branch: None,
            files: plan::managed(&tree, &policy),
            objects: None,
        })
    }

    /// The commit of the work tree that the target is; `None` if it is none.
    pub fn of_work_tree(
        target: &Target,
        settings: &Settings,
        env: &Env,
    ) -> Result<Option<Self>, Unread> {
        let Some(found) = GitDir::find(target, env)? else {
            return Ok(None);
        };
        let head = found.head()?;
        let (commit, tree) = found.commit(head.commit, settings.limits.files)?;
        Ok(Some(Self {
            commit: commit.id,
            branch: head.branch,
            files: plan::managed(&tree, &policy(settings, MassDelete::Allow)),
            objects: found.objects().ok(),
        }))
    }

    /// Brings from the repository what the work tree's `.git` does not have of the files that were edited, as a clone without
    /// blobs may not: where the repository does not have the commit, they are not merged.
    fn complete(
        &self,
        context: &SyncContext<'_>,
        options: &Options,
        session: &Session,
        scanner: &Scanner<'_>,
        source: &dyn Source,
    ) -> Result<(), crate::Error> {
        let depth = depth(context, options);
        if depth == Depth::Listing {
            return Ok(());
        }
        let here = scanner.hashes(&self.files)?;
        let mut edited = { self.files.values().zip(here) }
            .filter(|(file, here)| here.is_some_and(|here| here != file.id));
        if edited.all(|(file, _)| self.content(file.id).is_some()) {
            return Ok(());
        }
        let policy = policy(context.settings, options.mass_delete);
        let need = Inventory::new(scanner, &policy, depth);
        match source.obtain(self.commit, None, session.store(), &need) {
            Ok(_) | Err(source::Error::UnknownCommit { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The content of one of its files, if the work tree's `.git` has it.
    #[must_use]
    pub fn content(&self, id: BlobId) -> Option<Vec<u8>> {
        self.objects.as_ref()?.read(ObjectKind::Blob, id.0)
    }
}

/// Whether the contents of what was edited are needed: now, or by a merge after this sync.
fn depth(context: &SyncContext<'_>, options: &Options) -> Depth {
    match (context.settings.local_edits, options.mode) {
        (LocalEdits::Merge | LocalEdits::Keep, SyncMode::Apply | SyncMode::DryRun) => {
            Depth::Content
        }
        _ => Depth::Listing,
    }
}
