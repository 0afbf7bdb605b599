//! A commit in a directory of its own, to look at it apart from any target.
//!
//! It is resolved, obtained and proven as for a sync, with the same requirements (`require`, `trust`, `limits`), and
//! written as the repository has it: `exclude`, `protect` and `executable` are about a target. No target and no state
//! directory is read or made, and the directory goes with its value.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pipeline::open_and_resolve;
use super::{Step, SyncContext};
use crate::check;
use crate::git::{BlobId, Commit, RelPath, Tree};
use crate::objects::Store;
use crate::rebuild;
use crate::settings::{Repo, Transport};
use crate::signature::Signers;
use crate::source::{self, Depth, Need, Notice, Opening, Staged, VerificationPolicy};

/// A commit in a temporary directory.
#[derive(Debug)]
pub struct Checkout {
    /// The commit.
    pub commit: Commit,
    /// Whether its tree is proven to be that of its id.
    pub is_proven: bool,
    /// The repository, without credentials.
    pub repository: String,
    /// What its reader should know.
    pub notices: Vec<Notice>,
    files: PathBuf,
    _scratch: tempfile::TempDir,
}

/// The name of the directory of the files.
const FILES: &str = "commit";

impl Checkout {
    /// Brings the commit of the settings here.
    pub fn make(context: &SyncContext<'_>, repo: &Repo) -> Result<Self, crate::Error> {
        let settings = context.settings;
        context.observer.step(Step::Resolve);
        let opening = Opening {
            env: context.env,
            interrupt: context.interrupt,
            meter: context.observer.meter(),
            state: None,
            known: None,
            // Nothing is here yet. The API has no download of a whole commit.
            force_full: settings.transport != Transport::Api,
        };
        let (source, resolved) = open_and_resolve(repo, settings, &opening)?;
        context.observer.step(Step::Obtain);
        let scratch = { tempfile::Builder::new() }.prefix("hyper-sync-").tempdir();
        let scratch = scratch.map_err(check::Error::Scratch)?;
        let store = Store::open(scratch.path(), settings.limits.blob)?;
        let obtained = source.obtain(resolved.commit, None, &store, &AllFiles)?;
        let load = |path| Signers::load(path, context.env, context.interrupt);
        let signers = settings.trust.signers.as_deref().map(load).transpose()?;
        let terms = VerificationPolicy {
            limits: settings.limits,
            symlinks: settings.trust.symlinks,
            signers: signers.as_ref(),
            ignores_case: false,
            managed: &|tree| Arc::clone(tree.files()),
        };
        let repository = source.describe();
        let staged = source::prove(
            &store,
            obtained,
            Depth::Content,
            &AllFiles,
            &terms,
            &repository,
        )?;
        check_required(&staged, &settings.require)?;
        let files = scratch.path().join(FILES);
        rebuild::write_tree(staged.files(), &staged, &files).map_err(check::Error::Scratch)?;
        Ok(Self {
            commit: staged.commit().clone(),
            is_proven: staged.is_proven(),
            notices: staged.notices().to_vec(),
            repository,
            files,
            _scratch: scratch,
        })
    }

    /// The directory of the files.
    #[must_use]
    pub fn files(&self) -> &Path {
        &self.files
    }
}

/// Every required path is a file of the commit.
fn check_required(staged: &Staged<'_>, require: &[RelPath]) -> Result<(), check::Error> {
    let leads_to_file = |path: &RelPath| {
        staged.files().contains_key(path) && staged.leads_to_file(path) != Some(false)
    };
    match require.iter().find(|path| !leads_to_file(path)) {
        Some(path) => Err(check::Error::Required { path: path.clone() }),
        None => Ok(()),
    }
}

/// All blobs of the commit are missing.
struct AllFiles;

impl Need for AllFiles {
    fn missing(&self, tree: &Tree) -> Result<Vec<BlobId>, crate::scan::Error> {
        let ids: BTreeSet<BlobId> = tree.files().values().map(|file| file.id).collect();
        Ok(ids.into_iter().collect())
    }

    fn content(&self, _: BlobId) -> Option<Vec<u8>> {
        None
    }
}
