//! What the state directories of this user say about their targets, for the settings that nobody gives.
//!
//! A directory that cannot be read, or that another user could have prepared, is none: a run that is to use it opens it
//! again and reports why.

use std::path::{Path, PathBuf};

use super::{FollowedRepo, StateDir};
use crate::fs::{Directory, Faults, FileKind};
use crate::settings::{Records, TargetRecord};

/// The state directories of this machine.
#[derive(Debug, Clone, Copy)]
pub struct StateRecords;

impl Records for StateRecords {
    fn read(&self, state_dir: &Path) -> Option<TargetRecord> {
        let state = StateDir::check(state_dir).ok()?;
        let target = state.target().ok()??;
        let repo = FollowedRepo::load(&state).ok().flatten();
        Some(TargetRecord {
            target,
            repo: repo.as_ref().and_then(FollowedRepo::repo),
            api_url: repo
                .as_ref()
                .and_then(|repo| repo.api_url().map(str::to_owned)),
        })
    }

    fn list(&self, directory: &Path) -> Vec<PathBuf> {
        let Ok(directory) = Directory::open_following(directory, Faults::default()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for name in directory.list().unwrap_or_default() {
            let is_directory = |stat: &crate::fs::Stat| stat.kind == FileKind::Directory;
            if directory
                .stat(&name)
                .is_ok_and(|stat| stat.as_ref().is_some_and(is_directory))
            {
                found.push(directory.path().join(name));
            }
        }
        found.sort();
        found
    }
}
